//! Packs, whose parents are in a store, and what is said of them.
#![expect(
    clippy::disallowed_methods,
    reason = "a test makes and breaks its own files"
)]

use std::{fs as system, path::PathBuf, sync::Arc};

use serde_json::{Value, json};

use super::*;
use crate::{
    base::{Attributes, ContentId, DiskId, FileTime, IoMeter, RelPath, Silent, VirtualSize},
    formats::{DiskFormat, DiskKind, NewDisk, NewParent, ParentPaths},
    manifest,
    report::Code,
};

/// A folder for one test.
struct Lab {
    folder: tempfile::TempDir,
    meter: Arc<IoMeter>,
}

impl Lab {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            meter: Arc::default(),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        RelPath::new(path).unwrap().below(self.folder.path())
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        system::create_dir_all(path.parent().unwrap()).unwrap();
        system::write(path, bytes).unwrap();
    }

    fn run(&self) -> Run<'_> {
        Run {
            progress: &Silent,
            meter: &self.meter,
        }
    }
}

const SIZE: u64 = 4 << 20;

fn id(number: u8) -> DiskId {
    DiskId::from_vhdx([number; 16])
}

fn base() -> Vec<u8> {
    let mut disk = NewDisk::new(DiskFormat::Vhdx, DiskKind::Dynamic, SIZE, id(1));
    disk.data = vec![(0, vec![1; 512])];
    disk.to_bytes().unwrap()
}

fn child() -> Vec<u8> {
    let mut disk = NewDisk::new(DiskFormat::Vhdx, DiskKind::Differencing, SIZE, id(2));
    disk.data = vec![(512, vec![2; 512])];
    disk.parent = Some(NewParent {
        id: id(1),
        paths: ParentPaths {
            relative: Some(r".\base.vhdx".to_owned()),
            ..ParentPaths::default()
        },
        timestamp: 0,
    });
    disk.to_bytes().unwrap()
}

fn digest(bytes: &[u8]) -> ContentId {
    ContentId::from(blake3::hash(bytes))
}

fn file(path: &str, bytes: &[u8], disk: Value, role: &str, place: Value) -> Value {
    json!({
        "path": path, "length": bytes.len(), "modified": FileTime(0), "attributes": Attributes::default(),
        "digest": digest(bytes), "role": role, "disk": disk, "place": place,
    })
}

/// A pack of one VM: its leaf in place, its base in the store.
fn pack(lab: &Lab, store: &str) -> String {
    let base_bytes = base();
    let leaf_bytes = child();
    let ref_id = digest(&base_bytes);
    let name = format!("base.{}.vhdx", ref_id.short());
    lab.write(&format!("{store}/{name}"), &base_bytes);
    lab.write("pack/VM/leaf.vhdx", &leaf_bytes);
    let facts = |own: u8, kind: &str| json!({ "format": "vhdx", "kind": kind, "virtual_size": VirtualSize(SIZE), "own_id": id(own) });
    let mut leaf_facts = facts(2, "differencing");
    leaf_facts["parent"] = json!({ "path": "VM/base.vhdx", "id": id(1) });
    let shared = json!({ "in": "store", "ref_disk": ref_id, "sharing": "link" });
    let files = json!([
        file(
            "VM/base.vhdx",
            &base_bytes,
            facts(1, "dynamic"),
            "parent",
            shared
        ),
        file(
            "VM/leaf.vhdx",
            &leaf_bytes,
            leaf_facts,
            "leaf",
            json!({ "in": "pack" })
        ),
    ]);
    let all = base_bytes.len() + leaf_bytes.len();
    let manifest = json!({
        "format": "labpack-manifest", "version": 1, "tool": "labpack 0.1.0",
        "created": "2026-01-01T00:00:00Z",
        "store": if store == "pack/RefDisk" { "own" } else { "shared" },
        "totals": { "vms": 1, "files": 2, "export_bytes": all, "packed_bytes": all,
                    "ref_disks": 1, "ref_disk_bytes": base_bytes.len() },
        "vms": [{ "name": "VM", "folder": "VM", "files": files }],
        "folders": [{ "path": "VM", "modified": 0 }],
        "ref_disks": [{ "id": ref_id, "file": name, "length": base_bytes.len(), "modified": 0,
                        "disk": facts(1, "dynamic"), "used_by": ["VM/base.vhdx"] }],
    });
    let bytes = serde_json::to_vec(&manifest).unwrap();
    manifest::read(&bytes).unwrap();
    lab.write("pack/labpack.json", &bytes);
    format!("{store}/{name}")
}

fn check(lab: &Lab, content: bool, store: Option<&str>) -> VerifyReport {
    let store = store.map(|store| lab.path(store));
    let options = Options { content, store };
    verify(&[lab.path("pack")], &options, &lab.run()).unwrap()
}

fn codes(report: &VerifyReport) -> Vec<Code> {
    report.all_findings().map(|f| f.code).collect()
}

#[test]
fn a_chain_of_a_pack_is_followed_into_its_store() {
    let lab = Lab::new();
    pack(&lab, "pack/RefDisk");
    let report = check(&lab, true, None);
    assert_eq!(codes(&report), []);
    assert_eq!((report.chains.ok, report.chains.broken), (1, 0));
    assert_eq!(report.content.unwrap().files, 2);
    assert_eq!(report.disks.len(), 2);
    assert_eq!(report.disks[1].levels, 2);
    assert!(!report.found_errors());
}

#[test]
fn a_shared_store_must_be_named() {
    let lab = Lab::new();
    pack(&lab, "store");
    let report = check(&lab, false, None);
    assert_eq!(codes(&report), [Code::MissingRefDisk, Code::MissingParent]);
    assert!(report.found_errors());
    assert_eq!(codes(&check(&lab, true, Some("store"))), []);
}

#[test]
fn a_byte_that_changed_in_the_pack_or_the_store_is_found_by_reading() {
    let lab = Lab::new();
    let stored = pack(&lab, "pack/RefDisk");
    for (path, code) in [
        (stored.as_str(), Code::DamagedRefDisk),
        ("pack/VM/leaf.vhdx", Code::ContentDiffers),
    ] {
        let sound = system::read(lab.path(path)).unwrap();
        let mut bytes = sound.clone();
        *bytes.last_mut().unwrap() ^= 1;
        lab.write(path, &bytes);
        assert_eq!(codes(&check(&lab, false, None)), []);
        let report = check(&lab, true, None);
        assert_eq!(codes(&report), [code]);
        assert_eq!(report.content.unwrap().differing, 1);
        lab.write(path, &sound);
    }
}

#[test]
fn what_the_manifest_names_and_the_pack_has_not_is_told_without_reading() {
    let lab = Lab::new();
    let stored = pack(&lab, "pack/RefDisk");
    system::remove_file(lab.path("pack/VM/leaf.vhdx")).unwrap();
    assert_eq!(codes(&check(&lab, true, None)), [Code::MissingFile]);
    pack(&lab, "pack/RefDisk");
    system::remove_file(lab.path(&stored)).unwrap();
    assert_eq!(
        codes(&check(&lab, true, None)),
        [Code::MissingRefDisk, Code::MissingParent]
    );
}

#[test]
fn a_manifest_that_cannot_be_used_is_told_and_the_disks_are_examined_all_the_same() {
    let lab = Lab::new();
    pack(&lab, "pack/RefDisk");
    lab.write(
        "pack/labpack.json",
        br#"{"format":"labpack-manifest","version":2}"#,
    );
    let report = check(&lab, false, None);
    assert_eq!(codes(&report), [Code::Unsupported, Code::MissingParent]);
    lab.write("pack/labpack.json", b"{");
    assert_eq!(codes(&check(&lab, false, None))[0], Code::Corrupt);
}

#[test]
fn disks_that_are_each_others_parents_are_one_broken_chain() {
    let lab = Lab::new();
    let of = |own: u8, parent: u8, name: &str| {
        let mut disk = NewDisk::new(DiskFormat::Vhdx, DiskKind::Differencing, SIZE, id(own));
        disk.parent = Some(NewParent {
            id: id(parent),
            paths: ParentPaths {
                relative: Some(format!(r".\{name}")),
                ..ParentPaths::default()
            },
            timestamp: 0,
        });
        disk.to_bytes().unwrap()
    };
    lab.write("pack/VM/a.vhdx", &of(3, 4, "b.vhdx"));
    lab.write("pack/VM/b.vhdx", &of(4, 3, "a.vhdx"));
    let circle = check(&lab, false, None).chains;
    assert_eq!((circle.ok, circle.broken), (0, 1));
    // With a leaf below them the chain is the leaf's.
    lab.write("pack/VM/leaf.vhdx", &of(5, 3, "a.vhdx"));
    let below = check(&lab, false, None).chains;
    assert_eq!((below.ok, below.broken), (0, 1));
}

#[test]
fn an_interrupted_pack_is_told() {
    let lab = Lab::new();
    pack(&lab, "pack/RefDisk");
    lab.write("pack/labpack.journal", b"{}");
    assert_eq!(codes(&check(&lab, false, None)), [Code::UnfinishedRun]);
}

#[test]
fn a_report_is_one_document_with_stable_names() {
    let lab = Lab::new();
    pack(&lab, "pack/RefDisk");
    let json = serde_json::to_value(check(&lab, true, None)).unwrap();
    assert_eq!(json["chains"]["ok"], 1);
    assert_eq!(json["disks"][1]["role"], "leaf");
    assert_eq!(json["disks"][1]["parent"], 0);
    assert!(json["io"]["read"].as_u64().unwrap() > 0);
    let schema = serde_json::to_value(schemars::schema_for!(VerifyReport)).unwrap();
    assert!(jsonschema::is_valid(&schema, &json));
}

#[test]
fn two_packs_that_share_a_store_read_each_ref_disk_once() {
    let lab = Lab::new();
    pack(&lab, "store");
    let manifest = system::read(lab.path("pack/labpack.json")).unwrap();
    lab.write("other/labpack.json", &manifest);
    lab.write("other/VM/leaf.vhdx", &child());
    let options = Options {
        content: true,
        store: Some(lab.path("store")),
    };
    let paths = [lab.path("pack"), lab.path("other")];
    let report = verify(&paths, &options, &lab.run()).unwrap();
    assert_eq!(codes(&report), []);
    assert_eq!(report.content.unwrap().files, 3);
    assert_eq!(report.chains.ok, 2);
}
