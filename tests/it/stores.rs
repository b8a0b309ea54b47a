//! A store that more than one lab lives off.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use labpack::{
    formats::DiskFormat,
    fs::{
        self, Entry,
        seam::{self, StepKind},
    },
    pack::{self, PackError},
    report::Code,
    unpack::{self, LinkMode},
};

use crate::{
    pack_stopped::stop_everywhere,
    support::{Watch, contents, labs, small_labs, tree, verbs},
};

#[test]
fn restore_leaves_refdisks_to_a_lab_that_was_linked_to_them() {
    let (folder, watch) = (tempfile::tempdir().unwrap(), Watch::default());
    let (lab, vms) = (folder.path().join("LABX"), folder.path().join("vms"));
    labs::on_one_parent(&lab, DiskFormat::Vhdx, 2);
    let before = tree(&lab);
    let request = pack::Request {
        exports: vec![lab.clone()],
        ..pack::Request::default()
    };
    pack::pack(&request, &watch.run()).unwrap();
    let linked = unpack::Request {
        store: Some(lab.join("RefDisk")),
        link: LinkMode::Relocate,
        ..unpack::Request::new(&lab, &vms)
    };
    unpack::unpack(&linked, &watch.run()).unwrap();

    let packed = tree(&lab);
    let restore = pack::RestoreRequest {
        pack: lab.clone(),
        ..pack::RestoreRequest::default()
    };
    let Err(PackError::Refused(findings)) = pack::restore(&restore, &watch.run()) else {
        panic!("the parents of {} were taken away", vms.display());
    };
    assert!(
        findings
            .iter()
            .any(|finding| finding.message.contains("vms")),
        "{findings}"
    );
    assert_eq!(tree(&lab), packed);

    std::fs::remove_dir_all(&vms).unwrap();
    pack::restore(&restore, &watch.run()).unwrap();
    assert_eq!(tree(&lab), before);
}

/// Packs `LAB` in a folder, links `vms` to its RefDisks, and moves that away: nobody can tell from
/// the store any more that it is in use.
fn pack_and_move_a_linked_lab(folder: &Path, format: DiskFormat) {
    let (lab, watch) = (folder.join("LAB"), Watch::default());
    small_labs::three_levels(&lab, format);
    pack::pack(&verbs::here(&lab), &watch.run()).unwrap();
    let linked = unpack::Request {
        store: Some(lab.join("RefDisk")),
        ..verbs::by(LinkMode::Hardlink, &lab, &folder.join("vms"))
    };
    unpack::unpack(&linked, &watch.run()).unwrap();
    std::fs::rename(folder.join("vms"), folder.join("moved")).unwrap();
}

fn try_restore(folder: &Path) -> Result<(), PackError> {
    verbs::try_restore(&folder.join("LAB"), None)
}

#[test]
fn restore_shares_no_file_with_a_lab_that_was_linked_to_the_refdisks_and_moved_away() {
    for (format, every) in [(DiskFormat::Vhd, 1), (DiskFormat::Vhdx, 7)] {
        let source = tempfile::tempdir().unwrap();
        let original = source.path().join("LAB");
        small_labs::three_levels(&original, format);
        let mut before = tree(&original);
        // The last step of all is to give the folder its time.
        before.remove(Path::new(""));
        // With the paths of that folder in its disks.
        let there = RefCell::new(BTreeMap::new());
        let stops = stop_everywhere(
            every,
            |folder| {
                pack_and_move_a_linked_lab(folder, format);
                there.replace(contents(&folder.join("moved")));
            },
            try_restore,
            |folder, stop| {
                try_restore(folder).or_else(no_pack).unwrap();
                let (lab, moved) = (folder.join("LAB"), folder.join("moved"));
                let mut after = tree(&lab);
                after.remove(Path::new(""));
                assert_eq!(after, before, "{format} {stop}");
                let found = contents(&moved);
                assert_eq!(found, *there.borrow(), "{format} {stop}: the linked lab");
                for (name, ..) in &before {
                    if let Entry::File(stamp) = fs::look(&lab.join(name)).unwrap() {
                        assert_eq!(stamp.links, 1, "{format} {stop}: {name:?} is linked");
                    }
                }
            },
        );
        assert!(stops > 20, "{format}: {stops}");
    }
}

#[test]
fn restore_shares_no_file_with_whoever_is_linked_to_a_refdisk_while_it_works() {
    let (folder, watch) = (tempfile::tempdir().unwrap(), Watch::default());
    let (lab, late) = (folder.path().join("LAB"), folder.path().join("late"));
    small_labs::three_levels(&lab, DiskFormat::Vhdx);
    let before = contents(&lab);
    pack::pack(&verbs::here(&lab), &watch.run()).unwrap();
    let stored = std::fs::read_dir(lab.join("RefDisk")).unwrap();
    let stored: Vec<PathBuf> = stored.map(|entry| entry.unwrap().path()).collect();
    let is_middle = |path: &&PathBuf| path.to_string_lossy().contains("patched");
    let middle = stored.iter().find(is_middle).unwrap().clone();
    let bytes = std::fs::read(&middle).unwrap();
    let (journal, name) = (lab.join("labpack.journal"), late.clone());
    let guard = seam::install(move |step| match step.path == journal && !name.exists() {
        true => std::fs::hard_link(&middle, &name),
        false => Ok(()),
    });
    let done = verbs::try_restore(&lab, None);
    drop(guard);
    done.unwrap();
    assert_eq!(contents(&lab), before);
    assert!(
        std::fs::read(&late).unwrap() == bytes,
        "it was written into"
    );
    assert_eq!(fs::stamp(&late).unwrap().links, 1);
}

/// A restore that came to its end leaves no pack to restore again.
fn no_pack(error: PackError) -> Result<(), PackError> {
    match error {
        PackError::Refused(found) if found.0[0].code == Code::MissingFile => Ok(()),
        error => Err(error),
    }
}

#[test]
fn a_disk_that_got_other_paths_in_the_store_comes_back_from_a_pack_that_cannot_be_finished() {
    let (folder, watch) = (tempfile::tempdir().unwrap(), Watch::default());
    let path = |name: &str| folder.path().join(name);
    let (lab, other, store) = (path("LAB"), path("other"), path("store"));
    for lab in [&lab, &other] {
        small_labs::three_levels(lab, DiskFormat::Vhdx);
    }
    // Stored after the parents.
    let twice = ["DC01/twice.iso", "x/twice.iso"].map(|name| lab.join(name));
    for file in &twice {
        std::fs::write(file, vec![7; 100_000]).unwrap();
    }
    let request = pack::Request {
        store: Some(store.clone()),
        ..verbs::here(&lab)
    };
    // Stopped when the disk in the middle is on its way into the store.
    let (cut, here) = (AtomicBool::new(false), folder.path().to_owned());
    let guard = seam::install(move |step| {
        if !step.path.starts_with(&here) {
            return Ok(());
        }
        if cut.load(Ordering::SeqCst) {
            return Err(std::io::Error::other("the power is cut"));
        }
        let name = step.path.to_string_lossy();
        let leaves = step.kind == StepKind::Rename && name.ends_with("labpack-move");
        cut.store(leaves && name.contains("patched"), Ordering::SeqCst);
        Ok(())
    });
    pack::pack(&request, &watch.run()).unwrap_err();
    drop(guard);
    // Another lab brings the same disk, and gives it paths of this host.
    let packed = path("packed");
    pack::pack(&verbs::to(&other, &packed), &watch.run()).unwrap();
    let relocated = unpack::Request {
        store: Some(store),
        ..verbs::by(LinkMode::Relocate, &packed, &path("vms"))
    };
    unpack::unpack(&relocated, &watch.run()).unwrap();
    // What was to be stored next changed meanwhile.
    for file in &twice {
        std::fs::write(file, vec![8; 100_001]).unwrap();
    }
    pack::pack(&request, &watch.run()).unwrap();
    verbs::try_restore(&lab, request.store.as_deref()).unwrap();
    let restored = contents(&lab);
    for (name, what) in contents(&other) {
        assert_eq!(restored.get(&name), Some(&what), "{name:?}");
    }
    verbs::must_verify(&path("vms"), request.store.as_deref(), 3);
}

#[test]
fn packs_that_enter_one_store_at_once_store_the_parent_once_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let names = ["one", "two", "three"].map(|name| folder.path().join(name));
    for lab in &names {
        labs::three_levels(lab, DiskFormat::Vhdx, 2);
    }
    let before = names.each_ref().map(|lab| tree(lab));
    std::thread::scope(|threads| {
        for lab in &names {
            let store = store.clone();
            threads.spawn(move || {
                let request = pack::Request {
                    exports: vec![lab.clone()],
                    store: Some(store),
                    ..pack::Request::default()
                };
                pack::pack(&request, &Watch::default().run()).unwrap();
            });
        }
    });
    let stored = tree(&store).into_keys();
    let disks: Vec<_> = stored
        .filter(|path| path.extension().is_some_and(|e| e == "vhdx"))
        .collect();
    assert_eq!(disks.len(), 2, "{disks:?}");
    for (lab, before) in names.iter().zip(before) {
        let restore = pack::RestoreRequest {
            pack: lab.clone(),
            store: Some(store.clone()),
            ..pack::RestoreRequest::default()
        };
        pack::restore(&restore, &Watch::default().run()).unwrap();
        assert_eq!(tree(lab), before, "{}", lab.display());
    }
}

#[test]
fn a_refdisk_that_was_collected_after_it_was_counted_on_is_stored_again() {
    use labpack::{fs::seam, store};
    use std::sync::atomic::{AtomicBool, Ordering};
    let folder = tempfile::tempdir().unwrap();
    let (store, first) = (folder.path().join("store"), folder.path().join("first"));
    labs::on_one_parent(&first, DiskFormat::Vhdx, 2);
    let request = |lab: &Path| pack::Request {
        exports: vec![lab.to_owned()],
        store: Some(store.clone()),
        ..pack::Request::default()
    };
    pack::pack(&request(&first), &Watch::default().run()).unwrap();
    let restore = pack::RestoreRequest {
        pack: first.clone(),
        store: Some(store.clone()),
        ..pack::RestoreRequest::default()
    };
    pack::restore(&restore, &Watch::default().run()).unwrap();
    // Nobody uses the RefDisk now; the next packs find it in the store, and then it goes.
    for output in [None, Some(folder.path().join("packed"))] {
        let lab = folder.path().join(format!("lab {}", output.is_some()));
        labs::on_one_parent(&lab, DiskFormat::Vhdx, 2);
        let before = tree(&lab);
        let (collected, at) = (std::sync::Arc::new(AtomicBool::new(false)), store.clone());
        let once = std::sync::Arc::clone(&collected);
        let guard = seam::install(move |step| {
            let journal = step.path.to_string_lossy().contains("labpack.journal");
            if journal && !once.swap(true, Ordering::SeqCst) {
                let options = store::GcOptions {
                    dry_run: false,
                    grace: std::time::Duration::ZERO,
                };
                store::gc(&at, options, &Watch::default().run()).unwrap();
            }
            Ok(())
        });
        let request = pack::Request {
            output: output.clone(),
            ..request(&lab)
        };
        let done = pack::pack(&request, &Watch::default().run());
        drop(guard);
        assert!(collected.load(Ordering::SeqCst));
        assert_eq!(done.unwrap().packs[0].stored, 1, "it was stored anew");
        let packed = output.unwrap_or_else(|| lab.clone());
        let report = verbs::verify(&packed, Some(&store), true);
        assert!(!report.found_errors());
        let restore = pack::RestoreRequest {
            pack: packed.clone(),
            ..restore.clone()
        };
        pack::restore(&restore, &Watch::default().run()).unwrap();
        assert_eq!(tree(&lab), before);
    }
}
