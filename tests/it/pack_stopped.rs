//! Every step is the last one once; running the same command again finishes the work.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use labpack::{
    formats::DiskFormat,
    fs::seam,
    pack::{self, Request, RestoreRequest},
};

use crate::{
    pack_in_place::{manifest_of, request, restored},
    support::{Watch, contents, copy, small_labs, tree},
};

/// VHD files are small, so that there is time to stop at each step; a step in so many has to do
/// for VHDX.
const EVERY: [(DiskFormat, usize); 2] = [(DiskFormat::Vhd, 1), (DiskFormat::Vhdx, 9)];

/// Runs `work` on what `prepare` lays out, and stops it before its n-th step below the folder,
/// for one n in `every`, until it comes through; `check` sees the folder after each stop. Windows,
/// where files open and close more slowly, is stopped at fewer.
pub(crate) fn stop_everywhere<E>(
    every: usize,
    prepare: impl Fn(&Path),
    work: impl Fn(&Path) -> Result<(), E>,
    check: impl Fn(&Path, u64),
) -> u64 {
    let every = if cfg!(windows) { 23 * every } else { every };
    stop_at_each(every, prepare, work, check)
}

fn stop_at_each<E>(
    every: usize,
    prepare: impl Fn(&Path),
    work: impl Fn(&Path) -> Result<(), E>,
    check: impl Fn(&Path, u64),
) -> u64 {
    for last in (1..).step_by(every) {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let (steps, below) = (Arc::new(AtomicU64::new(0)), PathBuf::from(folder.path()));
        let count = Arc::clone(&steps);
        let guard = seam::install(move |step| {
            // From the n-th on nothing works any more, as after a power cut.
            if step.path.starts_with(&below) && count.fetch_add(1, Ordering::SeqCst) + 1 >= last {
                return Err(io::Error::other("the power is cut"));
            }
            Ok(())
        });
        let done = work(folder.path());
        drop(guard);
        if done.is_ok() && steps.load(Ordering::SeqCst) < last {
            check(folder.path(), last);
            return last;
        }
        check(folder.path(), last);
    }
    unreachable!("some run comes through")
}

fn again(request: &Request) {
    pack::pack(request, &Watch::default().run()).unwrap();
}

fn in_place(folder: &Path) -> Request {
    request(&folder.join("LAB"))
}

#[test]
fn a_pack_in_place_that_is_stopped_anywhere_is_finished_by_the_next_run() {
    for (format, every) in EVERY {
        let source = tempfile::tempdir().unwrap();
        small_labs::small(source.path(), format);
        let original = tree(source.path());
        let steps = stop_everywhere(
            every,
            |folder| copy(source.path(), &folder.join("LAB")),
            |folder| pack::pack(&in_place(folder), &Watch::default().run()).map(drop),
            |folder, step| {
                let lab = folder.join("LAB");
                again(&in_place(folder));
                assert!(!lab.join("labpack.journal").exists(), "step {step}");
                assert_eq!(manifest_of(&lab).ref_disks.len(), 2, "step {step}");
                restored(&lab);
                let mut after = tree(&lab);
                let mut before = original.clone();
                if step < 8 {
                    // What is done to the folder before the journal stands counts as its own.
                    after.remove(Path::new(""));
                    before.remove(Path::new(""));
                }
                assert_eq!(after, before, "step {step}");
            },
        );
        assert!(steps > 30, "{steps}");
    }
}

#[test]
fn a_restore_that_is_stopped_anywhere_is_finished_by_the_next_one() {
    for (format, every) in EVERY {
        let source = tempfile::tempdir().unwrap();
        small_labs::small(source.path(), format);
        let original = contents(source.path());
        let restore = |folder: &Path| {
            let request = RestoreRequest {
                pack: folder.join("LAB"),
                ..RestoreRequest::default()
            };
            pack::restore(&request, &Watch::default().run()).map(drop)
        };
        let steps = stop_everywhere(
            every,
            |folder| {
                copy(source.path(), &folder.join("LAB"));
                again(&in_place(folder));
            },
            restore,
            |folder, step| {
                let lab = folder.join("LAB");
                if lab.join("labpack.journal").exists() || lab.join("labpack.json").exists() {
                    restore(folder).unwrap_or_else(|error| panic!("step {step}: {error:?}"));
                }
                assert_eq!(contents(&lab), original, "step {step}");
            },
        );
        assert!(steps > 30, "{steps}");
    }
}

#[test]
fn a_pack_to_another_folder_that_is_stopped_anywhere_is_finished_by_the_next_run() {
    for (format, every) in EVERY {
        let source = tempfile::tempdir().unwrap();
        small_labs::small(source.path(), format);
        let original = contents(source.path());
        let to = |folder: &Path| Request {
            output: Some(folder.join("pack")),
            ..request(source.path())
        };
        let steps = stop_everywhere(
            every,
            |_| {},
            |folder| pack::pack(&to(folder), &Watch::default().run()).map(drop),
            |folder, step| {
                let output = folder.join("pack");
                pack::pack(&to(folder), &Watch::default().run())
                    .unwrap_or_else(|error| panic!("step {step}: {error:?}"));
                assert!(!output.join(".labpack-incoming").exists(), "step {step}");
                assert_eq!(manifest_of(&output).ref_disks.len(), 2, "step {step}");
                restored(&output);
                assert_eq!(contents(&output), original, "step {step}");
            },
        );
        assert!(steps > 30, "{steps}");
    }
}

#[test]
fn a_pack_that_is_stopped_anywhere_and_cannot_go_on_is_taken_back_byte_for_byte() {
    let taken_back = std::cell::Cell::new(0);
    for (format, every) in EVERY {
        let source = tempfile::tempdir().unwrap();
        small_labs::small(source.path(), format);
        let original = contents(source.path());
        let shared = |folder: &Path, lab: &str| Request {
            store: Some(folder.join("store")),
            ..request(&folder.join(lab))
        };
        let leaf = |vm| format!("{vm}/Virtual Hard Disks/{}", small_labs::named(vm, format));
        let leaves = ["A", "B 2"].map(leaf);
        // Only part of the steps lies between journal and manifest: Windows may not skip so many.
        stop_at_each(
            if cfg!(windows) { 4 * every } else { every },
            |folder| {
                // A lab that brings the base into the store, and no other disk.
                copy(source.path(), &folder.join("other"));
                for leaf in &leaves {
                    std::fs::remove_file(folder.join("other").join(leaf)).unwrap();
                }
                again(&shared(folder, "other"));
                copy(source.path(), &folder.join("LAB"));
            },
            |folder| pack::pack(&shared(folder, "LAB"), &Watch::default().run()).map(drop),
            |folder, step| {
                let lab = folder.join("LAB");
                if lab.join("labpack.json").exists() {
                    return;
                }
                // The base, which the interrupted run counted on, goes.
                for file in std::fs::read_dir(folder.join("store")).unwrap() {
                    let path = file.unwrap().path();
                    let name = path.file_name().unwrap().to_string_lossy().into_owned();
                    if name.starts_with("base.") {
                        labpack::fs::remove_file(&path).unwrap();
                    }
                }
                let begun = lab.join("labpack.journal").exists();
                taken_back.set(taken_back.get() + u32::from(begun));
                pack::pack(&shared(folder, "LAB"), &Watch::default().run())
                    .unwrap_or_else(|error| panic!("step {step}: {error:?}"));
                let restore = RestoreRequest {
                    pack: lab.clone(),
                    store: Some(folder.join("store")),
                    ..RestoreRequest::default()
                };
                pack::restore(&restore, &Watch::default().run()).unwrap();
                assert_eq!(contents(&lab), original, "step {step}");
            },
        );
    }
    assert!(taken_back.get() > 5, "{} of them", taken_back.get());
}

#[test]
fn an_interrupted_run_changes_nothing_in_the_export_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("LAB");
    small_labs::four_on_one_parent(&lab, DiskFormat::Vhdx);
    let before = tree(&lab);
    let watch = Watch::default();
    watch.interrupt();
    let stopped = pack::pack(&request(&lab), &watch.run());
    assert!(stopped.is_err());
    assert_eq!(tree(&lab), before);
    again(&request(&lab));
    restored(&lab);
    assert_eq!(tree(&lab), before);
}
