//! `--link hardlink` on the volume of the pack: the lab's RefDisks are further names of the pack's.

use std::{
    fs::Permissions,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
};

use labpack::{
    formats::DiskFormat,
    fs::{
        self, Entry, FileKey,
        seam::{self, StepKind},
    },
    report::Code,
    unpack::{LinkMode, Outcome, Request, UnpackError},
};

use crate::{
    pack_in_place::manifest_of,
    support::{bytes_in, contents, copy, labs, set_time, small_labs, tree, verbs},
};

/// A lab with a pack beside it, and room for what is made of that.
struct Lab {
    scratch: tempfile::TempDir,
}

impl Lab {
    /// Two VMs with chains of three: a base that can be shared, and a disk in the middle that names
    /// its parent. `None` where blocks are cloned: nothing is shared there.
    fn of_three_levels() -> Option<Self> {
        Self::made(|export| labs::three_levels(export, DiskFormat::Vhdx, 2))
    }

    fn on_one_parent() -> Option<Self> {
        Self::made(|export| small_labs::four_on_one_parent(export, DiskFormat::Vhd))
    }

    fn made(make: impl FnOnce(&Path)) -> Option<Self> {
        let lab = Self {
            scratch: tempfile::tempdir().unwrap(),
        };
        let trial = fs::try_links(lab.scratch.path(), lab.scratch.path()).unwrap();
        if trial.reflink.is_ok() {
            println!("skipped: this volume clones blocks, and nothing is shared");
            return None;
        }
        make(&lab.at("export"));
        verbs::pack(&verbs::to(&lab.at("export"), &lab.at("pack")));
        Some(lab)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn request(&self, link: LinkMode) -> Request {
        verbs::by(link, &self.at("pack"), &self.at("vms"))
    }

    /// Unpacks by hard links, and expects that a RefDisk is shared.
    fn shared(&self) -> Outcome {
        let outcome = verbs::unpack(&self.request(LinkMode::Hardlink)).outcome;
        assert_eq!(outcome.counts.ref_disks_shared, 1, "{:?}", outcome.counts);
        outcome
    }

    /// The base in the pack's store.
    fn base(&self) -> PathBuf {
        base_in(&self.at("pack"))
    }
}

/// The RefDisk without a parent in a pack's own store.
fn base_in(pack: &Path) -> PathBuf {
    let manifest = manifest_of(pack);
    let is_base = |disk: &&labpack::manifest::RefDisk| {
        disk.disk.as_ref().is_some_and(|disk| disk.parent.is_none())
    };
    let base = manifest.ref_disks.iter().find(is_base).unwrap();
    pack.join("RefDisk").join(&base.file)
}

fn set_read_only(path: &Path, set: bool) {
    let mut permissions: Permissions = std::fs::metadata(path).unwrap().permissions();
    permissions.set_readonly(set);
    std::fs::set_permissions(path, permissions).unwrap();
}

/// The files below `root` that are files below `other` too.
pub(crate) fn in_both(root: &Path, other: &Path) -> Vec<PathBuf> {
    let keys = |root: &Path| -> Vec<(FileKey, PathBuf)> {
        if !root.exists() {
            return Vec::new();
        }
        let paths = tree(root).into_keys().map(|name| root.join(name));
        let stamps = paths.filter_map(|path| match fs::look(&path).unwrap() {
            Entry::File(stamp) => Some((stamp.key, path)),
            _ => None,
        });
        stamps.collect()
    };
    let there: Vec<FileKey> = keys(other).into_iter().map(|(key, _)| key).collect();
    let both = keys(root).into_iter();
    both.filter(|(key, _)| there.contains(key))
        .map(|(_, path)| path)
        .collect()
}

#[test]
fn by_hard_links_a_lab_shares_the_packs_bases_and_no_byte_of_them_is_read_or_written() {
    let Some(lab) = Lab::of_three_levels() else {
        return;
    };
    let before = contents(&lab.at("pack"));
    let request = lab.request(LinkMode::Hardlink);
    let planned = verbs::unpack(&Request {
        dry_run: true,
        ..request.clone()
    });
    assert!(!lab.at("vms").exists());
    let done = verbs::unpack(&request);
    let (counts, base) = (done.outcome.counts, lab.base());
    assert_eq!(planned.outcome.counts, counts);
    assert_eq!((counts.ref_disks_shared, counts.ref_disks_written), (1, 1));
    let length = std::fs::metadata(&base).unwrap().len();
    assert_eq!(counts.shared_bytes, length);
    let whole = bytes_in(&lab.at("pack"));
    assert!(done.io.read <= whole - length, "{:?} of {whole}", done.io);
    assert!(done.io.written <= whole - length, "{:?}", done.io);
    // The disk in the middle names its parent by another path, and is a file of its own.
    let shared = in_both(&lab.at("pack"), &lab.at("vms"));
    assert_eq!(shared, [base]);
    assert_eq!(contents(&lab.at("pack")), before);
    verbs::must_verify(&lab.at("vms"), None, 2);

    let again = verbs::unpack(&request);
    assert_eq!(again.outcome.counts.ref_disks_kept, 2);
    assert_eq!((again.io.read, again.io.written), (0, 0));
    // A further name is no change of what is remembered of a file.
    let packed = verbs::pack(&verbs::to(&lab.at("export"), &lab.at("pack")));
    assert_eq!((packed.io.read, packed.io.written), (0, 0));
}

#[test]
fn nobody_shares_who_does_not_name_hard_links_or_asks_for_copies() {
    let Some(lab) = Lab::on_one_parent() else {
        return;
    };
    let requests = [
        lab.request(LinkMode::Auto),
        lab.request(LinkMode::Relocate),
        Request {
            copy_ref_disks: true,
            ..lab.request(LinkMode::Hardlink)
        },
    ];
    for (number, request) in requests.into_iter().enumerate() {
        let dest = lab.at(&format!("vms {number}"));
        let done = verbs::unpack(&Request {
            dest: dest.clone(),
            ..request
        });
        assert_eq!(done.outcome.counts.ref_disks_shared, 0);
        assert_eq!(done.outcome.counts.ref_disks_written, 1);
        assert_eq!(in_both(&lab.at("pack"), &dest), [] as [PathBuf; 0]);
        assert_eq!(fs::stamp(&lab.base()).unwrap().links, 1);
    }
}

#[test]
fn a_lab_that_shares_is_not_called_copied_and_says_how_it_would_be() {
    let Some(lab) = Lab::on_one_parent() else {
        return;
    };
    lab.shared();
    let request = |link| Request {
        copy_ref_disks: true,
        ..lab.request(link)
    };
    for link in [LinkMode::Auto, LinkMode::Hardlink, LinkMode::Relocate] {
        let error = verbs::try_unpack(&request(link)).map(|done| done.outcome);
        let Err(UnpackError::Refused(findings)) = error else {
            panic!("{link}: {error:?}")
        };
        let told = findings.to_string();
        assert!(told.contains("remove it from the lab's store"), "{told}");
    }
    // To say so of the pack's own store would have it removed.
    let aliased = Request {
        store: Some(lab.at("alias").join("RefDisk")),
        dest: lab.at("others"),
        ..request(LinkMode::Hardlink)
    };
    std::os::unix::fs::symlink(lab.at("pack"), lab.at("alias")).unwrap();
    let done = verbs::unpack(&aliased);
    assert_eq!(done.outcome.counts.ref_disks_kept, 1);
    let stored = base_in(&lab.at("pack"));
    let stored = lab.at("vms/RefDisk").join(stored.file_name().unwrap());
    std::fs::remove_file(stored).unwrap();
    let done = verbs::unpack(&request(LinkMode::Hardlink));
    assert_eq!(done.outcome.counts.ref_disks_written, 1);
    assert_eq!(in_both(&lab.at("pack"), &lab.at("vms")), [] as [PathBuf; 0]);
    verbs::must_verify(&lab.at("vms"), None, 4);
}

#[test]
fn a_lab_that_windows_will_use_gets_copies() {
    let Some(lab) = Lab::on_one_parent() else {
        return;
    };
    let request = Request {
        windows_dest: Some(r"D:\VMs".to_owned()),
        ..lab.request(LinkMode::Hardlink)
    };
    let done = verbs::unpack(&request);
    assert_eq!(done.outcome.counts.ref_disks_written, 1);
    assert_eq!(in_both(&lab.at("pack"), &lab.at("vms")), [] as [PathBuf; 0]);
}

#[test]
fn a_store_of_several_labs_gets_copies() {
    let Some(lab) = Lab::on_one_parent() else {
        return;
    };
    let request = Request {
        store: Some(lab.at("store")),
        ..lab.request(LinkMode::Hardlink)
    };
    let done = verbs::unpack(&request);
    assert_eq!(done.outcome.counts.ref_disks_written, 1);
    assert_eq!(
        in_both(&lab.at("pack"), &lab.at("store")),
        [] as [PathBuf; 0]
    );
}

#[test]
fn of_pack_and_lab_that_share_refdisks_either_may_go() {
    let Some(lab) = Lab::of_three_levels() else {
        return;
    };
    let before = contents(&lab.at("pack"));
    lab.shared();
    std::fs::remove_dir_all(lab.at("vms")).unwrap();
    assert_eq!(contents(&lab.at("pack")), before);
    assert_eq!(fs::stamp(&lab.base()).unwrap().links, 1);
    assert!(!verbs::verify(&lab.at("pack"), None, true).found_errors());

    let lab = Lab::of_three_levels().unwrap();
    lab.shared();
    let vms = contents(&lab.at("vms"));
    std::fs::remove_dir_all(lab.at("pack")).unwrap();
    assert_eq!(contents(&lab.at("vms")), vms);
    verbs::must_verify(&lab.at("vms"), None, 2);
}

#[test]
fn restore_shares_no_file_with_a_lab_that_shared_the_packs_refdisks() {
    let Some(lab) = Lab::on_one_parent() else {
        return;
    };
    let export = lab.at("export");
    let before = tree(&export);
    verbs::pack(&verbs::here(&export));
    let request = verbs::by(LinkMode::Hardlink, &export, &lab.at("vms"));
    let done = verbs::unpack(&request);
    assert_eq!(done.outcome.counts.ref_disks_shared, 1);
    let vms = contents(&lab.at("vms"));
    verbs::try_restore(&export, None).unwrap();
    assert_eq!(tree(&export), before);
    assert_eq!(contents(&lab.at("vms")), vms);
    assert_eq!(in_both(&export, &lab.at("vms")), [] as [PathBuf; 0]);
}

#[test]
fn a_pack_in_place_whose_refdisks_are_shared_is_packed_again_without_reading() {
    let Some(lab) = Lab::on_one_parent() else {
        return;
    };
    let export = lab.at("export");
    verbs::pack(&verbs::here(&export));
    let done = verbs::unpack(&verbs::by(LinkMode::Hardlink, &export, &lab.at("vms")));
    assert_eq!(done.outcome.counts.ref_disks_shared, 1);
    let before = tree(&export);
    let again = verbs::pack(&verbs::here(&export));
    assert_eq!((again.io.read, again.io.written), (0, 0));
    assert_eq!(tree(&export), before);
}

#[test]
fn a_refdisk_of_which_files_are_copied_too_is_read_once_and_shared() {
    let lab = Lab::made(|export| {
        small_labs::four_on_one_parent(export, DiskFormat::Vhd);
        let disks = export.join("VM 1").join(small_labs::DISKS);
        // No parent, and the bytes of one: a file of its own wherever it is unpacked.
        std::fs::copy(disks.join("base.vhd"), export.join("VM 1/spare.img")).unwrap();
    });
    let Some(lab) = lab else { return };
    let done = verbs::unpack(&lab.request(LinkMode::Hardlink));
    let counts = done.outcome.counts;
    assert_eq!((counts.ref_disks_shared, counts.ref_disks_written), (1, 0));
    let whole = bytes_in(&lab.at("pack"));
    assert!(done.io.read <= whole, "{:?} of {whole}", done.io);
    let spare = lab.at("vms").join("VM 1/spare.img");
    assert_eq!(fs::stamp(&spare).unwrap().links, 1);
    assert_eq!(
        std::fs::read(spare).unwrap(),
        std::fs::read(lab.base()).unwrap()
    );
    assert_eq!(in_both(&lab.at("pack"), &lab.at("vms")), [lab.base()]);
    verbs::must_verify(&lab.at("vms"), None, 5);
}

/// A restore between any two steps of the unpack takes the pack's files away, or finds that they
/// are shared; never does a VM of the export get a file that a lab reads from.
#[test]
fn a_restore_at_any_moment_of_an_unpack_shares_no_file_with_the_lab() {
    let Some(lab) = Lab::made(|export| small_labs::small(export, DiskFormat::Vhd)) else {
        return;
    };
    let (mut stops, mut shared) = (0, 0);
    for stop in 1.. {
        let folder = lab.at(&stop.to_string());
        let (pack, vms) = (folder.join("LAB"), folder.join("vms"));
        copy(&lab.at("export"), &pack);
        verbs::pack(&verbs::here(&pack));
        let (taken, restored) = (AtomicU64::new(0), Arc::new(AtomicBool::new(false)));
        let (here, there, done) = (folder.clone(), pack.clone(), Arc::clone(&restored));
        let guard = seam::install(move |step| {
            // The restore's own steps are heard too.
            let listens = step.path.starts_with(&here) && !done.load(Ordering::SeqCst);
            if listens && taken.fetch_add(1, Ordering::SeqCst) + 1 == stop {
                done.store(true, Ordering::SeqCst);
                verbs::try_restore(&there, None).unwrap();
            }
            Ok(())
        });
        let done = verbs::try_unpack(&verbs::by(LinkMode::Hardlink, &pack, &vms));
        drop(guard);
        if !restored.load(Ordering::SeqCst) {
            done.unwrap();
            break;
        }
        stops += 1;
        assert_eq!(in_both(&pack, &vms), [] as [PathBuf; 0], "at {stop}");
        shared += done.map_or(0, |done| done.outcome.counts.ref_disks_shared);
    }
    assert!(stops > 10, "{stops}");
    assert!(shared > 0, "no unpack came to its end after the restore");
}

/// A restore counts the names of its RefDisk, the unpack makes one, and the restore comes to its end
/// before the unpack looks: no journal is there any more, and the RefDisk is a VM's disk.
#[test]
fn what_a_restore_took_away_since_it_was_linked_is_not_shared() {
    let Some(lab) = Lab::made(|export| {
        small_labs::four_on_one_parent(export, DiskFormat::Vhdx);
    }) else {
        return;
    };
    let (export, vms) = (lab.at("export"), lab.at("vms"));
    // By its time nobody can tell the RefDisk from the VM's disk.
    for number in 1..=4 {
        let disks = export.join(format!("VM {number}")).join(small_labs::DISKS);
        set_time(&disks.join("base.vhdx"), (1_600_000_000, 0));
        set_time(&disks, (1_600_000_000, 0));
    }
    let before = tree(&export);
    verbs::pack(&verbs::here(&export));
    let (counted, is_counted) = mpsc::channel();
    let (linked, is_linked) = mpsc::channel();
    let (is_counted, is_linked) = (Mutex::new(is_counted), Mutex::new(is_linked));
    let restore = Mutex::new(None);
    let restored = Arc::new(AtomicBool::new(false));
    let (pack, store, ended) = (export.clone(), vms.join("RefDisk"), Arc::clone(&restored));
    let guard = {
        let (pack_store, ours) = (export.join("RefDisk"), store.clone());
        let restore = Arc::new(restore);
        let begun = Arc::clone(&restore);
        seam::install_around(
            move |step| {
                let from_store = step.from.is_some_and(|from| from.starts_with(&pack_store));
                if step.kind == StepKind::Link && step.path.starts_with(&ours) {
                    let pack = pack.clone();
                    let work = std::thread::spawn(move || verbs::try_restore(&pack, None));
                    *begun.lock().unwrap() = Some(work);
                    is_counted.lock().unwrap().recv().unwrap();
                } else if step.kind == StepKind::Rename && from_store {
                    counted.send(()).unwrap();
                    is_linked.lock().unwrap().recv().unwrap();
                }
                Ok(())
            },
            move |step| {
                if step.kind == StepKind::Link && step.path.starts_with(&store) {
                    linked.send(()).unwrap();
                    let work = restore.lock().unwrap().take().unwrap();
                    work.join().unwrap().unwrap();
                    ended.store(true, Ordering::SeqCst);
                }
                Ok(())
            },
        )
    };
    let done = verbs::try_unpack(&verbs::by(LinkMode::Hardlink, &export, &vms));
    drop(guard);
    assert!(restored.load(Ordering::SeqCst), "nothing was restored");
    let error = done.map(|done| done.outcome).unwrap_err();
    assert!(matches!(error, UnpackError::PackAtWork { .. }), "{error:?}");
    assert_eq!(tree(&export), before);
    assert_eq!(in_both(&vms, &export), [] as [PathBuf; 0]);
}

/// A restore that was cut off there goes on, and may have counted the names before.
#[test]
fn where_a_restore_has_begun_meanwhile_no_name_is_left_behind() {
    let Some(lab) = Lab::on_one_parent() else {
        return;
    };
    let (journal, dest) = (lab.at("pack").join("labpack.journal"), lab.at("vms"));
    let (begun, here) = (journal.clone(), dest.clone());
    let guard = seam::install_around(
        |_| Ok(()),
        move |step| {
            // The name of the trial is made before there is a store.
            let comes = step.kind == StepKind::Link && step.path.starts_with(here.join("RefDisk"));
            if comes {
                std::fs::write(&begun, b"").unwrap();
            }
            Ok(())
        },
    );
    let done = verbs::try_unpack(&lab.request(LinkMode::Hardlink));
    drop(guard);
    let error = done.map(|done| done.outcome).unwrap_err();
    assert!(matches!(error, UnpackError::PackAtWork { .. }), "{error:?}");
    assert_eq!(fs::stamp(&lab.base()).unwrap().links, 1);
    std::fs::remove_file(journal).unwrap();
    lab.shared();
    verbs::must_verify(&dest, None, 4);
}

#[test]
fn a_file_that_takes_the_place_of_a_refdisk_once_that_was_proved_is_not_shared() {
    let Some(lab) = Lab::on_one_parent() else {
        return;
    };
    let (base, other) = (lab.base(), lab.at("other"));
    std::fs::write(&other, vec![7; std::fs::read(&base).unwrap().len()]).unwrap();
    let (here, theirs, place) = (lab.at("vms").join("RefDisk"), other.clone(), base.clone());
    let guard = seam::install(move |step| {
        if step.kind == StepKind::Link && step.path.starts_with(&here) {
            std::fs::rename(&place, place.with_extension("kept")).unwrap();
            std::fs::rename(&theirs, &place).unwrap();
        }
        Ok(())
    });
    let done = verbs::try_unpack(&lab.request(LinkMode::Hardlink));
    drop(guard);
    let error = done.map(|done| done.outcome).unwrap_err();
    assert!(
        matches!(error, UnpackError::Fs(fs::FsError::Changed { .. })),
        "{error:?}"
    );
    assert_eq!(in_both(&lab.at("vms"), &lab.at("pack")), [] as [PathBuf; 0]);
    std::fs::rename(base.with_extension("kept"), &base).unwrap();
    lab.shared();
    verbs::must_verify(&lab.at("vms"), None, 4);
}

#[test]
fn a_refdisk_of_a_copied_pack_is_compared_before_it_is_shared() {
    let Some(lab) = Lab::on_one_parent() else {
        return;
    };
    let (copied, vms) = (lab.at("copied"), lab.at("vms"));
    copy(&lab.at("pack"), &copied);
    let base = base_in(&copied);
    set_read_only(&base, true);
    let whole = bytes_in(&lab.at("pack"));
    let request = verbs::by(LinkMode::Hardlink, &copied, &vms);
    let done = verbs::unpack(&request);
    assert_eq!(done.outcome.counts.ref_disks_shared, 1);
    let control = verbs::unpack(&Request {
        dest: lab.at("control"),
        ..lab.request(LinkMode::Hardlink)
    });
    assert!(done.io.read > control.io.read, "{:?}", control.io);
    assert!(done.io.read <= whole, "{:?} of {whole}", done.io);
    std::fs::remove_dir_all(&vms).unwrap();

    // Of the same length and time.
    let modified = std::fs::metadata(&base).unwrap().modified().unwrap();
    let mut bytes = std::fs::read(&base).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    set_read_only(&base, false);
    std::fs::write(&base, bytes).unwrap();
    let file = std::fs::File::options().write(true).open(&base).unwrap();
    file.set_modified(modified).unwrap();
    drop(file);
    set_read_only(&base, true);
    let error = verbs::try_unpack(&request).map(|done| done.outcome);
    let error = error.unwrap_err();
    assert!(matches!(error, UnpackError::Damaged { .. }), "{error:?}");
    assert_eq!(fs::stamp(&base).unwrap().links, 1);
}

#[test]
fn a_refdisk_that_may_be_written_to_or_has_another_time_is_copied_and_told() {
    copied_and_told("not read-only", |base| set_read_only(base, false));
    copied_and_told("another modification time", |base| {
        set_read_only(base, false);
        set_time(base, (1_600_000_000, 0));
        set_read_only(base, true);
    });
}

fn copied_and_told(why: &str, change: impl FnOnce(&Path)) {
    let Some(lab) = Lab::on_one_parent() else {
        return;
    };
    change(&lab.base());
    let done = verbs::unpack(&lab.request(LinkMode::Hardlink));
    let counts = done.outcome.counts;
    assert_eq!((counts.ref_disks_shared, counts.ref_disks_written), (0, 1));
    let told = done.outcome.findings.iter();
    let told: Vec<_> = told
        .filter(|finding| finding.code == Code::LinkUnavailable)
        .collect();
    assert_eq!(told.len(), 1, "{}", done.outcome.findings);
    assert!(told[0].message.contains(why), "{}", told[0].message);
    assert_eq!(in_both(&lab.at("pack"), &lab.at("vms")), [] as [PathBuf; 0]);
}

#[test]
fn a_refdisk_with_as_many_names_as_the_file_system_allows_is_copied_and_told() {
    let Some(lab) = Lab::on_one_parent() else {
        return;
    };
    let base = lab.base();
    let most = fs::volume(&base).unwrap().max_links;
    let Some(most) = most.filter(|&most| most <= 70_000) else {
        println!("skipped: this file system allows any number of names");
        return;
    };
    let names = lab.at("names");
    std::fs::create_dir(&names).unwrap();
    // Its own, four VMs', and the store's: one too many.
    for number in 0..most - 5 {
        std::fs::hard_link(&base, names.join(number.to_string())).unwrap();
    }
    let done = verbs::unpack(&lab.request(LinkMode::Hardlink));
    assert_eq!(done.outcome.counts.ref_disks_shared, 0);
    let told = done.outcome.findings.to_string();
    let need = format!("that would need {} names", most + 1);
    assert!(told.contains(&need), "{told}");
    verbs::must_verify(&lab.at("vms"), None, 4);

    fs::remove_file(&names.join("0")).unwrap();
    let one_less = Request {
        dest: lab.at("one less"),
        ..lab.request(LinkMode::Hardlink)
    };
    let done = verbs::unpack(&one_less);
    assert_eq!(done.outcome.counts.ref_disks_shared, 1);
    assert_eq!(fs::stamp(&base).unwrap().links, most);
}
