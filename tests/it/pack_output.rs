//! Packs into another folder.

use std::{fs, path::Path};

use labpack::{
    formats::DiskFormat,
    fs::{
        VolumeFlush, is_temp_name,
        seam::{self, StepKind},
    },
    manifest::Place,
    pack::{self, PackError, Request},
    report::Code,
};

use crate::{
    pack_in_place::{manifest_of, packed, request, restored},
    support::{Watch, bytes_in, contents, copy, labs, set_time, small_labs, tree, verbs},
};

fn to(export: &Path, output: &Path) -> Request {
    Request {
        output: Some(output.to_owned()),
        ..request(export)
    }
}

fn pack_to(export: &Path, output: &Path) -> Watch {
    let watch = Watch::default();
    pack::pack(&to(export, output), &watch.run()).unwrap();
    watch
}

#[test]
fn the_source_is_only_read_and_the_pack_is_the_one_made_in_place() {
    for format in [DiskFormat::Vhd, DiskFormat::Vhdx] {
        let folder = tempfile::tempdir().unwrap();
        let (lab, output, twin) = (
            folder.path().join("LAB"),
            folder.path().join("out/pack"),
            folder.path().join("twin"),
        );
        small_labs::three_levels(&lab, format);
        copy(&lab, &twin);
        let (before, whole) = (tree(&lab), bytes_in(&lab));

        let watch = pack_to(&lab, &output);
        assert_eq!(tree(&lab), before, "{format}");
        assert_eq!(
            watch.io().read + watch.io().skipped,
            whole,
            "{format}: read once"
        );
        assert!(!output.join(".labpack-incoming").exists());

        packed(&twin);
        let (mut one, mut other) = (manifest_of(&output), manifest_of(&twin));
        other.created.clone_from(&one.created);
        assert_eq!(one.totals, other.totals);
        one.vms.sort_by(|a, b| a.name.cmp(&b.name));
        other.vms.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(one, other, "{format}");

        restored(&output);
        let (mut before, mut after) = (before, tree(&output));
        before.remove(Path::new(""));
        after.remove(Path::new(""));
        assert_eq!(after, before, "{format}");
    }
}

#[test]
fn a_second_run_reads_nothing_and_a_third_only_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (lab, output) = (folder.path().join("LAB"), folder.path().join("pack"));
    small_labs::three_levels(&lab, DiskFormat::Vhdx);
    pack_to(&lab, &output);
    let first = manifest_of(&output);
    let mut before = contents(&output);

    let watch = pack_to(&lab, &output);
    assert_eq!(watch.io().read, 0);
    let mut second = manifest_of(&output);
    second.created.clone_from(&first.created);
    assert_eq!(second, first);
    let mut after = contents(&output);
    for changing in ["labpack.json", "labpack.seen.json", "RefDisk/index.json"] {
        before.remove(Path::new(changing));
        after.remove(Path::new(changing));
    }
    assert_eq!(after, before);

    let changed = lab.join("x/notes on it.txt");
    fs::write(&changed, "something else, and longer").unwrap();
    let watch = pack_to(&lab, &output);
    assert_eq!(watch.io().read, fs::metadata(&changed).unwrap().len());
    assert_eq!(
        fs::read(output.join("x/notes on it.txt")).unwrap(),
        fs::read(&changed).unwrap()
    );
}

#[test]
fn what_the_export_has_no_more_leaves_the_pack_and_its_store() {
    let folder = tempfile::tempdir().unwrap();
    let (lab, output) = (folder.path().join("LAB"), folder.path().join("pack"));
    small_labs::three_levels(&lab, DiskFormat::Vhdx);
    pack_to(&lab, &output);
    for vm in ["DC01", "x"] {
        fs::remove_dir_all(lab.join(vm)).unwrap();
    }
    pack_to(&lab, &output);
    let manifest = manifest_of(&output);
    assert!(!output.join("DC01").exists());
    assert!(
        manifest
            .files()
            .all(|file| file.path.top() == "Member Server 2")
    );
    for disk in &manifest.ref_disks {
        assert!(output.join("RefDisk").join(&disk.file).exists());
    }
    let stored = fs::read_dir(output.join("RefDisk"))
        .unwrap()
        .filter(|entry| {
            let path = entry.as_ref().unwrap().path();
            path.extension().is_some_and(|e| e == "vhdx")
        });
    assert_eq!(stored.count(), manifest.ref_disks.len());
    restored(&output);
    assert_eq!(
        contents(&output.join("Member Server 2")),
        contents(&lab.join("Member Server 2"))
    );
}

#[test]
fn two_exports_become_one_pack_each_below_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let output = folder.path().join("pack");
    small_labs::four_on_one_parent(&one, DiskFormat::Vhdx);
    small_labs::three_levels(&two, DiskFormat::Vhdx);
    let both = Request {
        exports: vec![one.clone(), two.clone()],
        ..to(&one, &output)
    };
    pack::pack(&both, &Watch::default().run()).unwrap();
    let manifest = manifest_of(&output);
    assert_eq!(
        manifest
            .ref_disks
            .iter()
            .map(|disk| disk.used_by.len())
            .max(),
        Some(7)
    );
    assert!(
        manifest
            .files()
            .all(|file| ["one", "two"].contains(&file.path.top()))
    );
    restored(&output);
    assert_eq!(tree(&output.join("one")), tree(&one));
    assert_eq!(tree(&output.join("two")), tree(&two));
}

#[test]
fn a_folder_with_something_else_in_it_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (lab, output) = (folder.path().join("LAB"), folder.path().join("pack"));
    small_labs::four_on_one_parent(&lab, DiskFormat::Vhdx);
    fs::create_dir(&output).unwrap();
    fs::write(output.join("thesis.doc"), "years of work").unwrap();
    let before = tree(&output);
    let refused = pack::pack(&to(&lab, &output), &Watch::default().run());
    assert!(
        matches!(refused, Err(PackError::Refused(found)) if found.0[0].code == Code::NameInUse)
    );
    assert_eq!(tree(&output), before);

    fs::remove_file(output.join("thesis.doc")).unwrap();
    pack_to(&lab, &output);
    let mine = output.join("VM 1/new.txt");
    fs::write(&mine, "mine").unwrap();
    fs::write(lab.join("VM 1/new.txt"), "the lab's").unwrap();
    let refused = pack::pack(&to(&lab, &output), &Watch::default().run());
    assert!(
        matches!(refused, Err(PackError::Refused(found)) if found.0[0].code == Code::NameInUse)
    );
    assert_eq!(fs::read(&mine).unwrap(), b"mine");
}

#[test]
fn an_output_inside_the_export_or_around_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB");
    small_labs::four_on_one_parent(&lab, DiskFormat::Vhdx);
    let before = tree(folder.path());
    for output in [lab.join("pack"), lab.clone(), folder.path().to_owned()] {
        let refused = pack::pack(&to(&lab, &output), &Watch::default().run());
        assert!(
            matches!(refused, Err(PackError::Refused(_))),
            "{}",
            output.display()
        );
    }
    assert_eq!(tree(folder.path()), before);
}

#[test]
fn a_pack_is_no_export() {
    let folder = tempfile::tempdir().unwrap();
    let (lab, output) = (folder.path().join("LAB"), folder.path().join("pack"));
    small_labs::four_on_one_parent(&lab, DiskFormat::Vhdx);
    packed(&lab);
    assert!(matches!(
        pack::pack(&to(&lab, &output), &Watch::default().run()),
        Err(PackError::Refused(_))
    ));
    assert!(!output.exists());
}

#[test]
fn a_file_that_only_looked_like_another_is_copied_after_all() {
    let folder = tempfile::tempdir().unwrap();
    let (lab, output) = (folder.path().join("LAB"), folder.path().join("pack"));
    small_labs::four_on_one_parent(&lab, DiskFormat::Vhdx);
    // Equal at both ends and in length, different in the middle.
    for (number, vm) in ["VM 1", "VM 2", "VM 3"].into_iter().enumerate() {
        let mut bytes = vec![3; 300 << 10];
        bytes[150 << 10] = u8::try_from(number / 2).unwrap();
        fs::write(lab.join(vm).join("image.iso"), bytes).unwrap();
    }
    let before = tree(&lab);
    pack_to(&lab, &output);
    let manifest = manifest_of(&output);
    let alone = manifest
        .files()
        .find(|file| file.path.as_str() == "VM 3/image.iso")
        .unwrap();
    assert_eq!(alone.place, Place::Pack);
    restored(&output);
    let after = tree(&output);
    for vm in ["VM 1", "VM 2", "VM 3"] {
        let path = Path::new(vm).join("image.iso");
        assert_eq!(after[&path], before[&path]);
    }
}

#[test]
fn a_shared_store_gets_what_it_has_not_and_the_pack_has_none_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (lab, store) = (folder.path().join("LAB"), folder.path().join("store"));
    small_labs::three_levels(&lab, DiskFormat::Vhd);
    let mut wrote = Vec::new();
    for name in ["one", "two"] {
        let output = folder.path().join(name);
        let request = Request {
            store: Some(store.clone()),
            ..to(&lab, &output)
        };
        let watch = Watch::default();
        pack::pack(&request, &watch.run()).unwrap();
        wrote.push(watch.io().written);
        assert!(!output.join("RefDisk").exists());
        assert!(fs::read_dir(&store).unwrap().all(|entry| {
            !entry
                .unwrap()
                .file_name()
                .to_string_lossy()
                .contains("incoming")
        }));
    }
    assert!(wrote[1] < wrote[0], "{wrote:?}");
}

#[test]
fn a_file_whose_time_alone_changed_is_read_and_gives_the_same_pack() {
    let folder = tempfile::tempdir().unwrap();
    let (lab, output) = (folder.path().join("LAB"), folder.path().join("pack"));
    small_labs::four_on_one_parent(&lab, DiskFormat::Vhdx);
    pack_to(&lab, &output);
    let notes = lab.join("VM 4/notes on it.txt");
    set_time(&notes, (1_700_000_000, 0));
    let watch = pack_to(&lab, &output);
    assert_eq!(watch.io().read, fs::metadata(&notes).unwrap().len());
    assert_eq!(
        tree(&output)[Path::new("VM 4/notes on it.txt")],
        tree(&lab)[Path::new("VM 4/notes on it.txt")]
    );
}

/// A file that was closed may lose the error that kept its bytes from the disk.
#[test]
fn a_copy_is_flushed_while_it_is_still_open_and_before_it_gets_a_name() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    if VolumeFlush::of(scratch.path()).unwrap().is_some() {
        println!("skipped: the volume of the temporary folder is flushed as a whole");
        return;
    }
    labs::on_one_parent(&at("lab"), DiskFormat::Vhd, 2);
    for nth in 0..70 {
        fs::write(at("lab").join(format!("file {nth}")), [nth; 100]).unwrap();
    }
    let pack = || drop(verbs::pack(&verbs::to(&at("lab"), &at("pack"))));
    let ((), steps) = seam::record(&at("pack").join(".labpack-incoming"), pack);
    let paths = |wanted| {
        let of_kind = steps.iter().filter(move |(kind, _)| *kind == wanted);
        of_kind.map(|(_, path)| path.file_name().unwrap().to_str().unwrap())
    };
    assert!(paths(StepKind::Flush).all(is_temp_name));
    let (flushes, names) = (
        paths(StepKind::Flush).count(),
        paths(StepKind::Rename).count(),
    );
    assert!(
        names > 70 && flushes == names,
        "{flushes} flushes, {names} names"
    );
}
