//! `pack --include-external`: a parent outside of the export comes along, and is only read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use labpack::{
    export::open_chain,
    formats::{DiskFormat, ParentPaths},
    pack::{self, PackError, Packed},
    report::Code,
    unpack::LinkMode,
};

use crate::{
    exports::sha256,
    support::{
        Watch, What, contents,
        labs::{self, Made},
        tree, verbs,
    },
};

/// A host's folders: `LABX` with its VMs, and beside it `Base`, where the parents are.
struct Host {
    scratch: tempfile::TempDir,
    format: DiskFormat,
}

impl Host {
    /// Two VMs whose leaves depend on `mid`, which depends on `base`; both stand outside.
    fn make(format: DiskFormat) -> Self {
        let host = Self {
            scratch: tempfile::tempdir().unwrap(),
            format,
        };
        let base = Made::base(format, &host.named("base"), 1);
        let mid = Made::child(&base, &host.named("mid"), 2, r"D:\Base");
        base.write_to(&host.outside());
        mid.write_to(&host.outside());
        for (number, vm) in ["A", "B 2"].into_iter().enumerate() {
            let disks = labs::vm(&host.export(), vm);
            let number = 10 + u8::try_from(number).unwrap();
            host.leaf(&mid, vm, number).write_to(&disks);
        }
        host
    }

    /// A leaf that names its parent outside.
    fn leaf(&self, parent: &Made, vm: &str, number: u8) -> Made {
        let mut leaf = Made::child(parent, &self.named(vm), number, r"D:\Base");
        let link = leaf.disk.parent.as_mut().unwrap();
        link.paths = ParentPaths {
            relative: Some(format!(r"..\..\..\Base\{}", parent.name)),
            ..link.paths.clone()
        };
        leaf
    }

    fn named(&self, stem: &str) -> String {
        match self.format {
            DiskFormat::Vhd => format!("{stem}.vhd"),
            DiskFormat::Vhdx => format!("{stem}.vhdx"),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn export(&self) -> PathBuf {
        self.at("LABX")
    }

    fn outside(&self) -> PathBuf {
        self.at("Base")
    }

    fn disk(&self, root: &Path, vm: &str) -> PathBuf {
        root.join(vm)
            .join("Virtual Hard Disks")
            .join(self.named(vm))
    }

    fn pack(&self) -> Result<Packed, PackError> {
        let request = pack::Request {
            include_external: true,
            ..verbs::to(&self.export(), &self.at("packed"))
        };
        verbs::try_pack(&request).map(|done| done.outcome)
    }
}

/// What a guest reads from a disk, its parents being in some folders.
fn guest_reads(disk: &Path, roots: &[PathBuf]) -> String {
    sha256(&open_chain(disk, roots, &Watch::default().run()).unwrap())
}

fn refusal(outcome: Result<Packed, PackError>) -> Vec<Code> {
    match outcome {
        Err(PackError::Refused(findings)) => findings.errors().map(|f| f.code).collect(),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_parent_outside_comes_along_and_its_chains_open_wherever_they_are_unpacked() {
    for format in [DiskFormat::Vhd, DiskFormat::Vhdx] {
        let host = Host::make(format);
        let (export, outside) = (tree(&host.export()), tree(&host.outside()));
        let named = [host.export(), host.outside()];
        let guests = ["A", "B 2"].map(|vm| guest_reads(&host.disk(&host.export(), vm), &named));
        host.pack().unwrap();
        assert_eq!(tree(&host.export()), export, "the export is only read");
        assert_eq!(tree(&host.outside()), outside, "so is what is outside");

        let stored = contents(&host.at("packed/RefDisk"));
        let disks = stored
            .keys()
            .filter(|path| path.extension().is_some_and(|e| e != "json"));
        assert_eq!(
            disks.count(),
            2,
            "{format}: base and mid, once each: {stored:?}"
        );
        let report = verbs::verify(&host.at("packed"), None, true);
        let findings: Vec<_> = report.all_findings().collect();
        assert!(!report.found_errors(), "{format}: {findings:#?}");
        assert_eq!(report.chains.ok, 2);

        // From here on nothing may depend on the parents where they were.
        fs::rename(host.outside(), host.at("gone")).unwrap();
        for link in [LinkMode::Hardlink, LinkMode::Relocate, LinkMode::Copy] {
            let vms = host.at(&format!("{link:?}"));
            verbs::unpack(&verbs::by(link, &host.at("packed"), &vms));
            let report = verbs::verify(&vms, None, true);
            let findings: Vec<_> = report.all_findings().collect();
            assert!(!report.found_errors(), "{format} {link:?}: {findings:#?}");
            assert_eq!(report.chains.ok, 2, "{format} {link:?}");
            let here = [vms.clone()];
            let now = ["A", "B 2"].map(|vm| guest_reads(&host.disk(&vms, vm), &here));
            assert_eq!(now, guests, "{format} {link:?}");
        }
    }
}

#[test]
fn without_being_asked_for_a_parent_outside_is_not_opened() {
    let host = Host::make(DiskFormat::Vhdx);
    let before = tree(host.scratch.path());
    let request = verbs::to(&host.export(), &host.at("packed"));
    let codes = refusal(verbs::try_pack(&request).map(|done| done.outcome));
    assert_eq!(codes, [Code::ParentOutside, Code::ParentOutside]);
    assert_eq!(tree(host.scratch.path()), before);
}

#[test]
fn in_place_no_disk_is_made_to_name_another_parent() {
    let host = Host::make(DiskFormat::Vhdx);
    let before = tree(host.scratch.path());
    let request = pack::Request {
        include_external: true,
        ..verbs::here(&host.export())
    };
    let codes = refusal(verbs::try_pack(&request).map(|done| done.outcome));
    assert_eq!(codes, [Code::ParentOutside]);
    assert_eq!(tree(host.scratch.path()), before);
}

#[test]
fn a_disk_outside_that_is_not_the_parent_stays_there() {
    let host = Host::make(DiskFormat::Vhdx);
    Made::base(host.format, &host.named("mid"), 99).write_to(&host.outside());
    let before = tree(host.scratch.path());
    let codes = refusal(host.pack());
    assert_eq!(codes, [Code::ParentIdMismatch, Code::ParentIdMismatch]);
    assert_eq!(tree(host.scratch.path()), before);
}

#[test]
fn a_file_of_the_export_never_gives_way_to_a_parent_from_outside() {
    let host = Host::make(DiskFormat::Vhdx);
    // Of another case: on the destination it would be the same name.
    let taken = host.disk(&host.export(), "A").with_file_name("MID.vhdx");
    fs::write(&taken, "somebody's notes").unwrap();
    let before = tree(host.scratch.path());
    let codes = refusal(host.pack());
    assert!(codes.contains(&Code::NameInUse), "{codes:?}");
    assert_eq!(tree(host.scratch.path()), before);
}

#[test]
fn a_second_run_copies_only_what_changed_and_leaves_the_same_pack() {
    let host = Host::make(DiskFormat::Vhdx);
    host.pack().unwrap();
    let shown = |root: &Path| {
        let mut all = contents(root);
        // What the last run saw is another file each time; the manifest bears a time.
        all.retain(|path, what| {
            *what != What::Folder && path.extension().is_none_or(|e| e != "json")
        });
        all
    };
    let before = shown(&host.at("packed"));
    let again = host.pack().unwrap();
    assert_eq!(again.stored, 0);
    assert_eq!(shown(&host.at("packed")), before);
    let disk = host.disk(&host.export(), "A");
    host.leaf(
        &Made::child(&Made::base(host.format, "base.vhdx", 1), "mid.vhdx", 2, ""),
        "A",
        77,
    )
    .write_to(disk.parent().unwrap());
    host.pack().unwrap();
    let after = shown(&host.at("packed"));
    let changed: Vec<_> = after
        .iter()
        .filter(|(path, what)| before[*path] != **what)
        .collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert!(!verbs::verify(&host.at("packed"), None, true).found_errors());
}
