//! The exports among the fixtures, packed and brought back in every way.
//!
//! They are other software's files; without `LABPACK_FIXTURES` each test says so and passes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use labpack::{
    base::{ReadAt, Run},
    chain::VirtualDisk,
    export::open_chain,
    formats::{CanonicalForm, canonical_form, recognise},
    fs::SourceFile,
    pack::{self, PackError},
    unpack::{self, LinkMode},
    verify,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{Watch, tree};

/// The labs, each in a folder of its own; `true` where every chain is sound.
const LABS: [(&str, bool); 12] = [
    ("A_vhd_2level", true),
    ("B_vhdx_2level", true),
    ("C_vhdx_3level", true),
    ("D_checkpoints", true),
    ("E_broken/active_header_crc", true),
    ("E_broken/vhd_tail_footer", true),
    ("E_broken/parent_modified", false),
    ("E_broken/missing_parent", false),
    ("E_broken/cycle", false),
    ("E_broken/dirty_log_leaf", false),
    ("E_broken/truncated_leaf", false),
    ("E_broken/vhd_id_mismatch", false),
];

/// The exports, laid out in a folder that goes with the value.
struct Exports {
    folder: tempfile::TempDir,
    facts: Value,
}

impl Exports {
    fn lay_out() -> Option<Self> {
        let Some(fixtures) = std::env::var_os("LABPACK_FIXTURES") else {
            println!("skipped: LABPACK_FIXTURES is not set");
            return None;
        };
        let fixtures = PathBuf::from(fixtures).join("exports");
        let folder = tempfile::tempdir().unwrap();
        let archive = fixtures.join("exports.tar.xz");
        let mut tar = Command::new("tar");
        let status = tar
            .arg("-xJf")
            .arg(archive)
            .arg("-C")
            .arg(folder.path())
            .status();
        if !status.is_ok_and(|status| status.success()) {
            println!("skipped: tar cannot unpack the exports here");
            return None;
        }
        let facts = fs::read(fixtures.join("EXPECT.json")).unwrap();
        Some(Self {
            folder,
            facts: serde_json::from_slice(&facts).unwrap(),
        })
    }

    fn lab(&self, name: &str) -> PathBuf {
        self.folder.path().join("exports").join(name).join("LABY")
    }

    /// The disks of a lab that read right: path from the lab, SHA-256 of what a guest reads.
    fn sound_disks(&self, name: &str) -> BTreeMap<String, String> {
        let prefix = format!("{name}/LABY/");
        let disks = self.facts["disks"].as_array().unwrap().iter();
        let sound = disks.filter_map(|disk| {
            let path = disk["path"].as_str()?.strip_prefix(&prefix)?;
            Some((path.to_owned(), disk["merged_sha256"].as_str()?.to_owned()))
        });
        sound.collect()
    }
}

fn pack_request(export: &Path, output: Option<PathBuf>) -> pack::Request {
    pack::Request {
        exports: vec![export.to_owned()],
        output,
        ..pack::Request::default()
    }
}

#[test]
fn pack_and_restore_give_back_each_export_byte_for_byte_with_names_and_times() {
    let Some(exports) = Exports::lay_out() else {
        return;
    };
    for (name, sound) in LABS {
        let lab = exports.lab(name);
        let before = tree(&lab);
        let watch = Watch::default();
        let mut request = pack_request(&lab, None);
        if !sound {
            let refused = pack::pack(&request, &watch.run());
            assert!(
                matches!(refused, Err(PackError::Refused(_))),
                "{name} was packed"
            );
            assert_eq!(tree(&lab), before, "{name}: a refusal changed something");
            request.keep_broken = true;
        }
        pack::pack(&request, &watch.run()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert!(lab.join("labpack.json").is_file(), "{name}");
        let restore = pack::RestoreRequest {
            pack: lab.clone(),
            ..pack::RestoreRequest::default()
        };
        pack::restore(&restore, &watch.run()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(tree(&lab), before, "{name}");
    }
}

#[test]
fn unpacking_by_copy_gives_back_each_export_byte_for_byte() {
    let Some(exports) = Exports::lay_out() else {
        return;
    };
    for (name, _) in LABS.into_iter().filter(|(_, sound)| *sound) {
        let (lab, scratch, watch) = (
            exports.lab(name),
            tempfile::tempdir().unwrap(),
            Watch::default(),
        );
        let (packed, dest) = (scratch.path().join("pack"), scratch.path().join("dest"));
        let before = tree(&lab);
        pack::pack(&pack_request(&lab, Some(packed.clone())), &watch.run()).unwrap();
        assert_eq!(tree(&lab), before, "{name}: the source is only read");
        let request = unpack::Request {
            link: LinkMode::Copy,
            ..unpack::Request::new(packed, dest.clone())
        };
        unpack::unpack(&request, &watch.run()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let mut after = tree(&dest);
        for own in ["labpack-unpacked.json", "import-vms.ps1", ".labpack.lock"] {
            after.remove(Path::new(own));
        }
        let of_root = Path::new("");
        after.remove(of_root);
        let mut before = before;
        before.remove(of_root);
        assert_eq!(after, before, "{name}");
    }
}

#[test]
fn every_way_of_linking_gives_disks_that_read_as_they_did() {
    let Some(exports) = Exports::lay_out() else {
        return;
    };
    for (name, _) in LABS.into_iter().filter(|(_, sound)| *sound) {
        let (lab, scratch, watch) = (
            exports.lab(name),
            tempfile::tempdir().unwrap(),
            Watch::default(),
        );
        let packed = scratch.path().join("pack");
        pack::pack(&pack_request(&lab, Some(packed.clone())), &watch.run()).unwrap();
        for link in [
            LinkMode::Hardlink,
            LinkMode::Symlink,
            LinkMode::Relocate,
            LinkMode::Reflink,
        ] {
            let dest = scratch.path().join(link.to_string());
            let request = unpack::Request {
                link,
                ..unpack::Request::new(packed.clone(), dest.clone())
            };
            if let Err(refusal) = unpack::unpack(&request, &watch.run()) {
                assert_eq!(link, LinkMode::Reflink, "{name}: {refusal:?}");
                println!("skipped: {link} for {name}: {refusal}");
                continue;
            }
            let report = verify::verify(
                std::slice::from_ref(&dest),
                &verify::Options::default(),
                &watch.run(),
            )
            .unwrap();
            let errors: Vec<_> = report
                .all_findings()
                .filter(|f| f.severity == labpack::report::Severity::Error)
                .collect();
            assert!(errors.is_empty(), "{name} by {link}: {errors:#?}");
            check_disks(&exports, name, &dest, link, &watch.run());
        }
    }
}

/// Each original path reads the same bytes apart from locators, and the guest sees what it saw.
fn check_disks(exports: &Exports, name: &str, dest: &Path, link: LinkMode, run: &Run<'_>) {
    for (path, expected) in exports.sound_disks(name) {
        let unpacked = dest.join(&path);
        if link == LinkMode::Relocate && !unpacked.exists() {
            continue; // its parent: children name the RefDisk itself
        }
        let original = exports.lab(name).join(&path);
        assert_eq!(
            identity(&original, run),
            identity(&unpacked, run),
            "{name} by {link}: {path}"
        );
        let disk = open_chain(&unpacked, &[dest.to_owned()], run)
            .unwrap_or_else(|e| panic!("{name} by {link}: {path}: {e:?}"));
        assert_eq!(sha256(&disk), expected, "{name} by {link}: {path}");
    }
}

/// What must not change about a disk: its bytes, but for those a relocation may touch.
fn identity(path: &Path, run: &Run<'_>) -> String {
    let file = SourceFile::open_following(path, run.meter).unwrap();
    assert!(recognise(&file).unwrap().is_some());
    let form = canonical_form(&file).unwrap_or_else(|_| CanonicalForm::exact());
    let (mut hasher, mut offset, mut chunk) = (blake3::Hasher::new(), 0, vec![0; 1 << 20]);
    while offset < file.len() {
        let part = (file.len() - offset).min(1 << 20) as usize;
        file.read_exact_at(&mut chunk[..part], offset).unwrap();
        form.mask(offset, &mut chunk[..part]);
        hasher.update(&chunk[..part]);
        offset += part as u64;
    }
    form.id(hasher.finalize().into()).to_string()
}

pub(crate) fn sha256(disk: &VirtualDisk) -> String {
    let (mut hasher, mut offset, mut chunk) = (Sha256::new(), 0, vec![0; 1 << 20]);
    while offset < disk.len() {
        let part = (disk.len() - offset).min(1 << 20) as usize;
        disk.read_exact_at(&mut chunk[..part], offset).unwrap();
        hasher.update(&chunk[..part]);
        offset += part as u64;
    }
    hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
