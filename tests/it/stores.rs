//! A store that more than one lab lives off.

use labpack::{
    formats::DiskFormat,
    fs::{self, Entry},
    pack::{self, PackError},
    unpack::{self, LinkMode},
};

use crate::support::{Watch, labs, tree};

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

#[test]
fn restore_shares_no_file_with_a_lab_that_was_linked_to_the_refdisks_and_moved_away() {
    let (folder, watch) = (tempfile::tempdir().unwrap(), Watch::default());
    let path = |name: &str| folder.path().join(name);
    let (lab, vms, moved) = (path("LABX"), path("vms"), path("moved"));
    labs::three_levels(&lab, DiskFormat::Vhdx, 2);
    let before = tree(&lab);
    let request = pack::Request {
        exports: vec![lab.clone()],
        ..pack::Request::default()
    };
    pack::pack(&request, &watch.run()).unwrap();
    let linked = unpack::Request {
        store: Some(lab.join("RefDisk")),
        link: LinkMode::Hardlink,
        ..unpack::Request::new(&lab, &vms)
    };
    unpack::unpack(&linked, &watch.run()).unwrap();
    // Nobody can tell from the store any more that it is in use.
    std::fs::rename(&vms, &moved).unwrap();
    let there = tree(&moved);
    let restore = pack::RestoreRequest {
        pack: lab.clone(),
        ..pack::RestoreRequest::default()
    };
    pack::restore(&restore, &watch.run()).unwrap();
    assert_eq!(tree(&lab), before);
    assert_eq!(tree(&moved), there, "the linked lab has changed");
    for (name, ..) in before {
        if let Entry::File(stamp) = fs::look(&lab.join(&name)).unwrap() {
            assert_eq!(stamp.links, 1, "{name:?} is also a file of the linked lab");
        }
    }
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
    let request = |lab: &std::path::Path| pack::Request {
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
        let report = crate::support::verbs::verify(&packed, Some(&store), true);
        assert!(!report.found_errors());
        let restore = pack::RestoreRequest {
            pack: packed.clone(),
            ..restore.clone()
        };
        pack::restore(&restore, &Watch::default().run()).unwrap();
        assert_eq!(tree(&lab), before);
    }
}
