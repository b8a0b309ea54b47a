//! Packs what has been packed before.

use std::{fs, path::Path};

use labpack::{
    formats::DiskFormat,
    manifest::{Place, Role},
    pack::{self, PackError, Request},
    report::Code,
};

use crate::{
    pack_in_place::{manifest_of, packed, request, restored},
    support::{Watch, contents, copy, set_time, small_labs, tree},
};

#[test]
fn packing_a_finished_pack_reads_nothing_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB");
    small_labs::three_levels(&lab, DiskFormat::Vhdx);
    let original = tree(&lab);
    packed(&lab);
    let before = tree(&lab);
    let watch = Watch::default();
    pack::pack(&request(&lab), &watch.run()).unwrap();
    assert_eq!(watch.io().read, 0);
    assert_eq!(tree(&lab), before);
    restored(&lab);
    assert_eq!(tree(&lab), original);
}

fn assert_used_by_three(pack: &Path) {
    let disks = manifest_of(pack).ref_disks;
    assert!(disks.iter().all(|disk| disk.used_by.len() == 3));
}

#[test]
fn a_disk_whose_canonical_digest_was_made_otherwise_is_known_by_its_store_form() {
    let folder = tempfile::tempdir().unwrap();
    let (lab, whole) = (folder.path().join("LAB"), folder.path().join("whole"));
    for lab in [&lab, &whole] {
        small_labs::three_levels(lab, DiskFormat::Vhdx);
    }
    fs::remove_dir_all(lab.join("x")).unwrap();
    packed(&lab);
    // As another version may have made it.
    let disks = manifest_of(&lab).ref_disks;
    let mut digests = disks
        .iter()
        .filter_map(|disk| disk.disk.as_ref()?.canonical);
    let digest = digests.next_back().unwrap().to_string();
    for name in ["labpack.json", "RefDisk/index.json", "labpack.seen.json"] {
        let text = fs::read_to_string(lab.join(name)).unwrap();
        fs::write(lab.join(name), text.replace(&digest, &"7".repeat(64))).unwrap();
    }
    copy(&whole.join("x"), &lab.join("x"));
    assert_eq!(packed(&lab).packs[0].stored, 0);
    assert_used_by_three(&lab);
    restored(&lab);
    let (after, before) = (contents(&lab), contents(&whole));
    assert_eq!(after, before);
}

#[test]
fn a_vm_that_comes_later_is_added_and_finds_its_parents_in_the_store() {
    for format in [DiskFormat::Vhd, DiskFormat::Vhdx] {
        let folder = tempfile::tempdir().unwrap();
        let (lab, whole) = (folder.path().join("LAB"), folder.path().join("whole"));
        small_labs::three_levels(&whole, format);
        small_labs::three_levels(&lab, format);
        fs::remove_dir_all(lab.join("x")).unwrap();
        packed(&lab);
        copy(&whole.join("x"), &lab.join("x"));
        let outcome = packed(&lab);
        assert_eq!(
            (outcome.packs[0].stored, outcome.packs[0].removed),
            (0, 2),
            "{format}"
        );
        assert_used_by_three(&lab);
        restored(&lab);
        let mut after = tree(&lab);
        let mut before = tree(&whole);
        for tree in [&mut after, &mut before] {
            tree.remove(Path::new(""));
        }
        assert_eq!(after, before, "{format}");
    }
}

#[test]
fn a_child_made_on_a_packed_parent_is_packed_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB");
    small_labs::four_on_one_parent(&lab, DiskFormat::Vhdx);
    let disks = lab.join("VM 1").join(small_labs::DISKS);
    let second = fs::read(disks.join("vm1.vhdx")).unwrap();
    packed(&lab);
    fs::write(disks.join("second.vhdx"), second).unwrap();
    packed(&lab);
    let manifest = manifest_of(&lab);
    let added = manifest
        .files()
        .find(|file| file.path.name() == "second.vhdx")
        .unwrap();
    assert_eq!(added.role, Role::Leaf);
    let parent = added.disk.as_ref().unwrap().parent.as_ref().unwrap();
    assert_eq!(parent.path.as_str(), "VM 1/Virtual Hard Disks/base.vhdx");
    restored(&lab);
    assert!(disks.join("base.vhdx").exists());
}

#[test]
fn a_file_of_the_pack_that_is_gone_is_told_of_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB");
    small_labs::four_on_one_parent(&lab, DiskFormat::Vhdx);
    packed(&lab);
    fs::remove_file(lab.join("VM 2/notes on it.txt")).unwrap();
    let before = tree(&lab);
    let refused = pack::pack(&request(&lab), &Watch::default().run());
    let Err(PackError::Refused(findings)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        findings
            .0
            .iter()
            .find(|f| f.code == Code::MissingFile)
            .unwrap()
            .path,
        "VM 2/notes on it.txt"
    );
    assert_eq!(tree(&lab), before);
}

#[test]
fn what_was_read_before_is_read_again_before_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB");
    small_labs::four_on_one_parent(&lab, DiskFormat::Vhdx);
    let image = vec![9; 200 << 10];
    let one = lab.join("VM 1/image.iso");
    fs::write(&one, &image).unwrap();
    packed(&lab);
    // Changed under the same length and time: only its bytes tell.
    let stamp = tree(&lab)[Path::new("VM 1/image.iso")].modified;
    let mut other = image.clone();
    other[100 << 10] = 1;
    fs::write(&one, &other).unwrap();
    set_time(&one, stamp);
    fs::write(lab.join("VM 2/image.iso"), &image).unwrap();
    let before = contents(&lab);
    assert!(matches!(
        pack::pack(&request(&lab), &Watch::default().run()),
        Err(PackError::Fs(_))
    ));
    assert_eq!(contents(&lab), before);
}

#[test]
fn a_pack_keeps_its_store_when_another_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB");
    small_labs::four_on_one_parent(&lab, DiskFormat::Vhdx);
    packed(&lab);
    let before = tree(&lab);
    let elsewhere = Request {
        store: Some(folder.path().join("store")),
        ..request(&lab)
    };
    assert!(matches!(
        pack::pack(&elsewhere, &Watch::default().run()),
        Err(PackError::Refused(_))
    ));
    assert_eq!(tree(&lab), before);
    assert!(
        manifest_of(&lab)
            .files()
            .any(|file| file.place != Place::Pack)
    );
}
