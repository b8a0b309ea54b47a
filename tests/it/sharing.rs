//! What is stored once, and what becomes of it at the destination: a link, or a file of its own.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use labpack::{
    formats::DiskFormat,
    manifest::{Place, Role, Sharing},
    pack,
    unpack::{self, LinkMode},
};

use crate::{
    pack_in_place::{manifest_of, restored},
    support::{Watch, contents, labs, small_labs, tree, verbs},
};

struct Lab {
    scratch: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        Self {
            scratch: tempfile::tempdir().unwrap(),
        }
    }

    fn export(&self) -> PathBuf {
        self.scratch.path().join("LABX")
    }

    fn vms(&self) -> PathBuf {
        self.scratch.path().join("vms")
    }

    /// Packs in place, and unpacks by hard links.
    fn linked(&self) -> PathBuf {
        verbs::pack(&verbs::here(&self.export()));
        verbs::unpack(&verbs::by(LinkMode::Hardlink, &self.export(), &self.vms()));
        self.vms()
    }
}

/// Writes into one file, and demands that another does not change.
fn written_apart(one: &Path, other: &Path) {
    let before = fs::read(other).unwrap();
    assert_eq!(fs::read(one).unwrap(), before, "they are to be equal");
    let mut file = OpenOptions::new().write(true).open(one).unwrap();
    file.write_all(b"its VM ran").unwrap();
    drop(file);
    assert_eq!(fs::read(other).unwrap(), before, "{}", other.display());
}

#[test]
fn a_parent_that_stands_there_once_is_stored_only_where_it_is_asked_for() {
    for (all_parents, stored) in [(false, 0), (true, 1)] {
        let lab = Lab::new();
        labs::on_one_parent(&lab.export(), DiskFormat::Vhdx, 1);
        let before = tree(&lab.export());
        let request = pack::Request {
            all_parents,
            ..verbs::here(&lab.export())
        };
        verbs::pack(&request);
        let manifest = manifest_of(&lab.export());
        assert_eq!(
            manifest.ref_disks.len(),
            stored,
            "--all-parents {all_parents}"
        );
        let parent = manifest.files().find(|file| file.role == Role::Parent);
        let in_store = parent.unwrap().place != Place::Pack;
        assert_eq!(in_store, all_parents);
        verbs::unpack(&verbs::by(LinkMode::Hardlink, &lab.export(), &lab.vms()));
        assert_eq!(verbs::verify(&lab.vms(), None, true).chains.ok, 1);
        restored(&lab.export());
        assert_eq!(tree(&lab.export()), before);
    }
}

#[test]
fn equal_files_are_stored_once_and_are_files_of_their_own_where_they_are_unpacked() {
    let lab = Lab::new();
    let state = |root: &Path, vm: &str| root.join(vm).join("Snapshots/state.vsv");
    for vm in ["A", "B"] {
        labs::vm(&lab.export(), vm);
        fs::write(state(&lab.export(), vm), labs::noise(9, 64 * 1024)).unwrap();
        // One byte too short to be worth it.
        let short = lab.export().join(vm).join("short.bin");
        fs::write(short, labs::noise(8, 64 * 1024 - 1)).unwrap();
    }
    let before = tree(&lab.export());
    let vms = lab.linked();
    let manifest = manifest_of(&lab.export());
    assert_eq!(manifest.ref_disks.len(), 1);
    let files = manifest.files();
    let sharing = files.filter_map(|file| Some(file.place.in_store()?.sharing));
    assert_eq!(sharing.collect::<Vec<_>>(), [Sharing::Copy, Sharing::Copy]);
    written_apart(&state(&vms, "A"), &state(&vms, "B"));
    restored(&lab.export());
    assert_eq!(tree(&lab.export()), before);
}

#[test]
fn a_checkpoint_parent_is_never_linked_though_its_bytes_are_stored_once() {
    let lab = Lab::new();
    small_labs::checkpoints(&lab.export());
    let vms = lab.linked();
    assert_eq!(manifest_of(&lab.export()).ref_disks.len(), 1);
    let disk = |vm: &str| vms.join(vm).join("Virtual Hard Disks/disk.vhdx");
    // Deleting the checkpoint merges it into this very file.
    written_apart(&disk("A"), &disk("B"));
}

#[test]
fn a_dry_run_leaves_no_trace_not_even_in_the_time_of_a_folder() {
    let lab = Lab::new();
    small_labs::three_levels(&lab.export(), DiskFormat::Vhdx);
    let dry = pack::Request {
        dry_run: true,
        ..verbs::here(&lab.export())
    };
    let unpacked = lab.scratch.path().join("deep/down/vms");
    fs::create_dir(lab.scratch.path().join("deep")).unwrap();
    let before = tree(lab.scratch.path());
    verbs::pack(&dry);
    let elsewhere = pack::Request {
        output: Some(lab.scratch.path().join("packed")),
        ..dry
    };
    verbs::pack(&elsewhere);
    assert_eq!(tree(lab.scratch.path()), before);

    verbs::pack(&verbs::here(&lab.export()));
    let before = tree(lab.scratch.path());
    for dest in [lab.vms(), unpacked] {
        let request = unpack::Request {
            dry_run: true,
            ..verbs::by(LinkMode::Auto, &lab.export(), &dest)
        };
        let planned = unpack::unpack(&request, &Watch::default().run()).unwrap();
        assert!(planned.dry_run);
        assert_eq!(tree(lab.scratch.path()), before, "{}", dest.display());
    }
    assert!(!contents(lab.scratch.path()).is_empty());
}

#[test]
fn an_unpack_that_is_refused_leaves_no_trace_neither_a_folder_nor_its_time() {
    let lab = Lab::new();
    labs::on_one_parent(&lab.export(), DiskFormat::Vhdx, 2);
    verbs::pack(&verbs::here(&lab.export()));
    let taken = lab.vms().join("VM 01/Virtual Hard Disks/VM 01.vhdx");
    fs::create_dir_all(taken.parent().unwrap()).unwrap();
    fs::write(&taken, "somebody's").unwrap();
    fs::remove_file(lab.export().join("VM 02/Virtual Hard Disks/VM 02.vhdx")).unwrap();
    let before = tree(lab.scratch.path());
    let there = [lab.vms(), lab.scratch.path().join("not/there/yet")];
    for dest in there {
        let refused = verbs::try_unpack(&verbs::by(LinkMode::Hardlink, &lab.export(), &dest));
        assert!(refused.is_err(), "{}", dest.display());
        assert_eq!(tree(lab.scratch.path()), before, "{}", dest.display());
    }
}

#[test]
fn a_lock_whose_file_is_removed_by_its_holder_is_never_held_twice() {
    use labpack::fs::FolderLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".labpack.lock");
    let inside = AtomicU32::new(0);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..50 {
                    let Some(lock) = FolderLock::try_acquire(&file).unwrap() else {
                        std::thread::yield_now();
                        continue;
                    };
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    lock.remove(&file).unwrap();
                }
            });
        }
    });
}
