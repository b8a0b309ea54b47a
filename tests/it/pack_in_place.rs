//! Packs in place, and brings back what was there.

use std::{fs, path::Path};

use labpack::{
    formats::DiskFormat,
    manifest::{self, Manifest, Place, Role, Sharing},
    pack::{self, Outcome, PackError, Request, RestoreRequest},
    report::Code,
};

use crate::support::{Watch, bytes_in, contents, set_time, small_labs, tree};

pub(crate) fn request(export: &Path) -> Request {
    Request {
        exports: vec![export.to_owned()],
        ..Request::default()
    }
}

pub(crate) fn packed(export: &Path) -> Outcome {
    pack::pack(&request(export), &Watch::default().run()).unwrap()
}

pub(crate) fn restored(pack: &Path) {
    let request = RestoreRequest {
        pack: pack.to_owned(),
        ..RestoreRequest::default()
    };
    pack::restore(&request, &Watch::default().run()).unwrap();
}

pub(crate) fn manifest_of(pack: &Path) -> Manifest {
    manifest::read(fs::read(pack.join("labpack.json")).unwrap()).unwrap()
}

/// Files of labpack's own beside the packed lab.
fn own_bytes(pack: &Path) -> u64 {
    let own = [
        "labpack.json",
        "labpack.seen.json",
        ".labpack.lock",
        "RefDisk/index.json",
        "RefDisk/.lock",
    ];
    own.iter()
        .filter_map(|name| fs::metadata(pack.join(name)).ok())
        .map(|found| found.len())
        .sum()
}

const BOTH: [DiskFormat; 2] = [DiskFormat::Vhd, DiskFormat::Vhdx];

#[test]
fn a_parent_of_four_vms_is_stored_once_and_everything_comes_back_byte_for_byte() {
    for format in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let lab = folder.path().join("LAB");
        small_labs::four_on_one_parent(&lab, format);
        let before = tree(&lab);
        let (whole, base) = (bytes_in(&lab), lab.join("VM 1/Virtual Hard Disks"));
        let base = fs::metadata(base.join(small_labs::named("base", format)))
            .unwrap()
            .len();

        let outcome = packed(&lab);
        assert_eq!(
            bytes_in(&lab) - own_bytes(&lab),
            whole - 3 * base,
            "{format}"
        );
        let pack = &outcome.packs[0];
        assert_eq!((pack.stored, pack.removed), (1, 4));
        assert_eq!(
            pack.totals.export_bytes - pack.totals.packed_bytes,
            3 * base
        );
        assert_eq!(manifest_of(&lab).ref_disks[0].used_by.len(), 4);
        assert!(!lab.join("labpack.journal").exists());

        restored(&lab);
        assert_eq!(tree(&lab), before, "{format}");
    }
}

/// Changes the last byte of a disk's content that is not zero; length and ids stay.
fn damage(disk: &Path) {
    let mut bytes = fs::read(disk).unwrap();
    let content = bytes.len() - 4096;
    let at = bytes[..content].iter().rposition(|&byte| byte != 0);
    bytes[at.unwrap()] ^= 0x10;
    fs::write(disk, bytes).unwrap();
}

#[test]
fn copies_of_a_parent_that_differ_in_one_byte_are_never_taken_for_one() {
    for (format, to_folder) in BOTH.into_iter().flat_map(|f| [(f, false), (f, true)]) {
        let folder = tempfile::tempdir().unwrap();
        let lab = folder.path().join("LAB");
        small_labs::four_on_one_parent(&lab, format);
        let base = small_labs::named("base", format);
        damage(&lab.join("VM 3/Virtual Hard Disks").join(base));
        let (before, whole) = (contents(&lab), bytes_in(&lab));

        let mut request = request(&lab);
        request.output = to_folder.then(|| folder.path().join("pack"));
        let watch = Watch::default();
        let outcome = pack::pack(&request, &watch.run()).unwrap();
        let pack = request.output.unwrap_or_else(|| lab.clone());
        let case = format!("{format}, to a folder: {to_folder}");
        assert_eq!(manifest_of(&pack).ref_disks[0].used_by.len(), 3, "{case}");
        assert_eq!(outcome.packs[0].stored, 1, "{case}");
        if !to_folder {
            // What is not copied on the guess that it is the same is read again to be copied.
            let io = watch.io();
            assert_eq!(io.read + io.skipped, whole, "{case}: each byte once");
        }
        restored(&pack);
        assert_eq!(contents(&pack), before, "{case}");
    }
}

#[test]
fn disks_in_the_middle_that_differ_by_their_paths_alone_are_stored_once() {
    for format in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let lab = folder.path().join("LAB");
        small_labs::three_levels(&lab, format);
        let before = tree(&lab);

        let outcome = packed(&lab);
        assert_eq!(
            outcome.packs[0].stored, 2,
            "{format}: the base and the middle"
        );
        let manifest = manifest_of(&lab);
        let mid = manifest
            .ref_disks
            .iter()
            .find(|disk| disk.file.starts_with("patched"))
            .unwrap();
        assert_eq!(mid.used_by.len(), 3);
        assert_eq!(
            mid.disk.as_ref().unwrap().parent,
            Some(manifest.ref_disks[0].id)
        );

        restored(&lab);
        assert_eq!(tree(&lab), before, "{format}");
    }
}

#[test]
fn a_disk_under_a_checkpoint_is_never_shared_by_link() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB");
    small_labs::checkpoints(&lab);
    let before = tree(&lab);
    packed(&lab);
    let manifest = manifest_of(&lab);
    let parents: Vec<_> = manifest
        .files()
        .filter(|file| file.path.name() == "disk.vhdx")
        .collect();
    assert_eq!(parents.len(), 2);
    for file in parents {
        assert_eq!(file.role, Role::CheckpointParent);
        let stored = file.place.in_store();
        assert_eq!(stored.map(|stored| stored.sharing), Some(Sharing::Copy));
    }
    restored(&lab);
    assert_eq!(tree(&lab), before);
}

#[test]
fn equal_files_of_64_kib_are_stored_once_and_smaller_ones_stay() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB");
    small_labs::four_on_one_parent(&lab, DiskFormat::Vhdx);
    for vm in ["VM 1", "VM 2"] {
        fs::write(lab.join(vm).join("image.iso"), vec![7; 64 << 10]).unwrap();
        fs::write(lab.join(vm).join("small.bin"), vec![7; (64 << 10) - 1]).unwrap();
    }
    let before = tree(&lab);
    packed(&lab);
    let manifest = manifest_of(&lab);
    for file in manifest.files() {
        match file.path.name() {
            "image.iso" => {
                let stored = file.place.in_store();
                assert_eq!(stored.map(|stored| stored.sharing), Some(Sharing::Copy));
            }
            "small.bin" => assert_eq!(file.place, Place::Pack),
            _ => {}
        }
    }
    restored(&lab);
    assert_eq!(tree(&lab), before);
}

#[test]
fn a_refusal_names_every_reason_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB");
    small_labs::four_on_one_parent(&lab, DiskFormat::Vhdx);
    for vm in ["VM 1", "VM 3"] {
        fs::remove_file(lab.join(vm).join("Virtual Hard Disks/base.vhdx")).unwrap();
    }
    let before = tree(&lab);
    let refused = pack::pack(&request(&lab), &Watch::default().run());
    let Err(PackError::Refused(findings)) = refused else {
        panic!("{refused:?}")
    };
    let missing = findings
        .errors()
        .filter(|finding| finding.code == Code::MissingParent);
    assert_eq!(missing.count(), 2, "{findings}");
    assert_eq!(tree(&lab), before);
}

#[test]
fn broken_vms_are_carried_along_when_asked_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB");
    small_labs::four_on_one_parent(&lab, DiskFormat::Vhd);
    fs::remove_file(lab.join("VM 1/Virtual Hard Disks/base.vhd")).unwrap();
    let before = tree(&lab);
    let request = Request {
        keep_broken: true,
        ..request(&lab)
    };
    let outcome = pack::pack(&request, &Watch::default().run()).unwrap();
    assert!(!outcome.packs[0].findings.is_empty());
    let manifest = manifest_of(&lab);
    let broken: Vec<_> = manifest
        .files()
        .filter(|file| file.role == Role::Broken)
        .collect();
    assert!(
        broken
            .iter()
            .all(|file| file.place == Place::Pack && file.path.top() == "VM 1")
    );
    assert!(!broken.is_empty());
    assert_eq!(manifest.ref_disks[0].used_by.len(), 3);
    restored(&lab);
    assert_eq!(tree(&lab), before);
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB");
    small_labs::four_on_one_parent(&lab, DiskFormat::Vhdx);
    let before = tree(&lab);
    let dry = Request {
        dry_run: true,
        ..request(&lab)
    };
    let outcome = pack::pack(&dry, &Watch::default().run()).unwrap();
    assert_eq!(tree(&lab), before);
    let plan = outcome.packs[0].plan.clone().unwrap();
    packed(&lab);
    let mut planned = plan.manifest;
    let done = manifest_of(&lab);
    planned.created.clone_from(&done.created);
    assert_eq!(planned, done);
}

#[test]
fn every_byte_of_an_export_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB");
    small_labs::three_levels(&lab, DiskFormat::Vhdx);
    let whole = bytes_in(&lab);
    let watch = Watch::default();
    pack::pack(&request(&lab), &watch.run()).unwrap();
    let io = watch.io();
    assert_eq!(
        io.read + io.skipped,
        whole,
        "holes and nothing else are skipped: {io:?}"
    );
    assert!(io.inspected < whole / 2, "{io:?}");
}

#[test]
fn the_same_export_gives_the_same_manifest_but_for_the_time() {
    let folder = tempfile::tempdir().unwrap();
    let made = ["one", "two"].map(|name| {
        let lab = folder.path().join(name).join("LAB");
        small_labs::three_levels(&lab, DiskFormat::Vhdx);
        packed(&lab);
        let mut manifest = manifest_of(&lab);
        manifest.created = "2026-01-01T00:00:00Z".to_owned();
        manifest::write(&manifest)
    });
    assert_eq!(made[0], made[1]);
}

#[test]
fn a_lab_that_is_one_vm_folder_comes_back_too() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB/VM 1");
    small_labs::four_on_one_parent(&folder.path().join("LAB"), DiskFormat::Vhdx);
    let before = tree(&lab);
    let request = Request {
        all_parents: true,
        ..request(&lab)
    };
    pack::pack(&request, &Watch::default().run()).unwrap();
    assert_eq!(manifest_of(&lab).ref_disks.len(), 1);
    pack::pack(&request, &Watch::default().run()).unwrap();
    restored(&lab);
    assert_eq!(tree(&lab), before);
}

#[cfg(unix)]
#[test]
fn links_are_refused_and_names_of_one_file_are_packed_as_two() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB");
    small_labs::three_levels(&lab, DiskFormat::Vhdx);
    let link = lab.join("DC01/link.vhdx");
    std::os::unix::fs::symlink("Virtual Hard Disks/base.vhdx", &link).unwrap();
    let refused = pack::pack(&request(&lab), &Watch::default().run());
    assert!(
        matches!(refused, Err(PackError::Refused(found)) if found.0[0].code == Code::LinkInExport)
    );
    fs::remove_file(&link).unwrap();

    let (one, other) = (
        lab.join("DC01").join(small_labs::DISKS),
        lab.join("x").join(small_labs::DISKS),
    );
    let outside = folder.path().join("kept.vhdx");
    for name in ["base.vhdx", "patched.vhdx"] {
        fs::remove_file(other.join(name)).unwrap();
        fs::hard_link(one.join(name), other.join(name)).unwrap();
    }
    fs::hard_link(one.join("patched.vhdx"), &outside).unwrap();
    let (before, kept) = (tree(&lab), fs::read(&outside).unwrap());
    packed(&lab);
    assert_eq!(
        fs::read(&outside).unwrap(),
        kept,
        "what is outside is not written into"
    );
    restored(&lab);
    assert_eq!(tree(&lab), before);
}

#[test]
fn a_store_inside_the_export_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB");
    small_labs::four_on_one_parent(&lab, DiskFormat::Vhdx);
    let before = tree(&lab);
    let request = Request {
        store: Some(lab.join("VM 1/store")),
        ..request(&lab)
    };
    assert!(matches!(
        pack::pack(&request, &Watch::default().run()),
        Err(PackError::Refused(_))
    ));
    assert_eq!(tree(&lab), before);
}

#[test]
fn two_labs_share_a_store_and_each_comes_back_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let small_labs = ["one", "two"].map(|name| folder.path().join(name));
    for (lab, format) in small_labs.iter().zip([DiskFormat::Vhdx, DiskFormat::Vhdx]) {
        small_labs::three_levels(lab, format);
    }
    let before = small_labs.clone().map(|lab| tree(&lab));
    for (lab, stored) in small_labs.iter().zip([2, 0]) {
        let request = Request {
            store: Some(store.clone()),
            ..request(lab)
        };
        let outcome = pack::pack(&request, &Watch::default().run()).unwrap();
        assert_eq!(
            outcome.packs[0].stored, stored,
            "the second lab finds its parents there"
        );
        assert!(!lab.join("RefDisk").exists());
    }
    let in_store = contents(&store);
    for (lab, before) in small_labs.iter().zip(before) {
        let without = RestoreRequest {
            pack: lab.clone(),
            ..RestoreRequest::default()
        };
        assert!(pack::restore(&without, &Watch::default().run()).is_err());
        let with = RestoreRequest {
            store: Some(store.clone()),
            ..without
        };
        pack::restore(&with, &Watch::default().run()).unwrap();
        assert_eq!(tree(lab), before);
    }
    let disks = |tree: std::collections::BTreeMap<std::path::PathBuf, _>| {
        tree.into_iter()
            .filter(|(path, _)| path.extension().is_some_and(|e| e == "vhdx"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        disks(contents(&store)),
        disks(in_store),
        "a shared store keeps its RefDisks"
    );
}

#[test]
fn a_file_in_the_way_keeps_a_pack_from_being_undone() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB");
    small_labs::four_on_one_parent(&lab, DiskFormat::Vhdx);
    let before = tree(&lab);
    packed(&lab);
    let way = lab.join("VM 2/Virtual Hard Disks/base.vhdx");
    fs::write(&way, "mine").unwrap();
    let after = tree(&lab);
    let request = RestoreRequest {
        pack: lab.clone(),
        ..RestoreRequest::default()
    };
    let refused = pack::restore(&request, &Watch::default().run());
    assert!(
        matches!(refused, Err(PackError::Refused(found)) if found.0[0].code == Code::NameInUse)
    );
    assert_eq!(
        contents(&lab),
        after
            .into_iter()
            .map(|(path, thing)| (path, thing.what))
            .collect()
    );
    fs::remove_file(&way).unwrap();
    restored(&lab);
    assert_eq!(tree(&lab), before);
}

#[test]
fn a_damaged_refdisk_never_replaces_an_occurrence() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB");
    small_labs::four_on_one_parent(&lab, DiskFormat::Vhdx);
    packed(&lab);
    let stored = lab
        .join("RefDisk")
        .join(&manifest_of(&lab).ref_disks[0].file);
    let mut bytes = fs::read(&stored).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    labpack::fs::remove_file(&stored).unwrap(); // read-only, which Windows minds
    fs::write(&stored, bytes).unwrap();
    set_time(&stored, (1_600_000_000, 0));
    let request = RestoreRequest {
        pack: lab.clone(),
        ..RestoreRequest::default()
    };
    let refused = pack::restore(&request, &Watch::default().run());
    let Err(PackError::Refused(found)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(found.0[0].code, Code::DamagedRefDisk);
    assert!(!lab.join("VM 1/Virtual Hard Disks/base.vhdx").exists());
    assert!(stored.exists());
}
