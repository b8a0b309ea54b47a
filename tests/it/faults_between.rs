//! Others at work on the same files: something changes, goes or cannot be read between the moment
//! at which labpack looked and the one at which it acts.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{FileExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, sleep},
    time::{Duration, Instant},
};

use labpack::{
    fs::seam::{self, Step, StepKind},
    pack,
    store::{self, GcOptions},
    unpack::LinkMode,
};

use crate::{
    faults::{
        Chain, Deed, files, in_one_thread, in_thread, no_leftovers, original, rounds, scratch,
    },
    support::{
        Thing, Watch, contents, copy, set_time,
        shell::{args, end, labpack, run},
        tree, verbs,
    },
};

/// What somebody does to a file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mischief {
    Replace,
    Grow,
    Shrink,
    Vanish,
    Touch,
    Rewrite,
}

const MISCHIEFS: [Mischief; 6] = [
    Mischief::Replace,
    Mischief::Grow,
    Mischief::Shrink,
    Mischief::Vanish,
    Mischief::Touch,
    Mischief::Rewrite,
];

impl Mischief {
    /// Does it; what goes lies at `aside` then.
    fn upon(self, path: &Path, aside: &Path) {
        let file = || fs::OpenOptions::new().write(true).open(path).unwrap();
        let len = path.metadata().unwrap().len();
        match self {
            Self::Replace => {
                fs::rename(path, aside).unwrap();
                symlink(aside, path).unwrap();
            }
            Self::Vanish => fs::rename(path, aside).unwrap(),
            Self::Grow => file().write_all_at(b"more", len).unwrap(),
            Self::Shrink => file().set_len(len - 512).unwrap(),
            Self::Touch => set_time(path, (1_700_000_000, 7)),
            // Data in the middle: the disk stays a disk.
            Self::Rewrite => file().write_all_at(b"other data", len / 2).unwrap(),
        }
    }

    /// Whether a pack of what it left behind is a pack like any other.
    fn leaves_a_lab(self) -> bool {
        matches!(self, Self::Touch | Self::Rewrite)
    }
}

/// Counts steps below a folder, and does something before one of them; returns its answer.
fn before_step(
    root: &Path,
    at: u64,
    deed: impl Fn(Step<'_>) -> bool + Send + Sync + 'static,
) -> (seam::Guard, Arc<Mutex<Option<bool>>>) {
    let (below, steps) = (root.to_owned(), AtomicU64::new(0));
    let done = Arc::new(Mutex::new(None));
    let note = Arc::clone(&done);
    let guard = seam::install(move |step| {
        if step.path.starts_with(&below) && steps.fetch_add(1, Ordering::SeqCst) + 1 == at {
            *note.lock().unwrap() = Some(deed(step));
        }
        Ok(())
    });
    (guard, done)
}

/// Returns whether there was such a step, and whether the mischief was done there.
fn disturb(victim: &str, mischief: Mischief, at: u64) -> Option<bool> {
    let folder = scratch();
    let (lab, aside) = (folder.path().join("lab"), folder.path().join("aside"));
    copy(&original().lab, &lab);
    let path = lab.join(victim);
    let (upon, to) = (path.clone(), aside.clone());
    let (guard, done) = before_step(&lab, at, move |step| {
        // Between the last look and the deed itself, Linux keeps nobody out.
        let in_hand = step.path == upon || step.from == Some(&upon);
        let there = upon.symlink_metadata().is_ok() && !in_hand;
        if there {
            mischief.upon(&upon, &to);
        }
        there
    });
    let packed = in_one_thread(|| pack::pack(&verbs::here(&lab), &Watch::default().run()));
    drop(guard);
    let disturbed = (*done.lock().unwrap())?;
    let when = format!("{victim}, {mischief:?} at step {at}: {packed:?}");
    let mut expected = files(&original().lab);
    if disturbed {
        after(&lab, victim, mischief, &aside, &mut expected, &when);
    }
    let again = pack::pack(&verbs::here(&lab), &Watch::default().run());
    again.unwrap_or_else(|why| panic!("{when}: {}", Chain(&why)));
    no_leftovers(&lab, &when);
    verbs::restore(&lab);
    assert_eq!(files(&lab), expected, "{when}");
    Some(disturbed)
}

/// What somebody made of the file still stands; puts the file back where no lab is left with it.
fn after(
    lab: &Path,
    victim: &str,
    mischief: Mischief,
    aside: &Path,
    expected: &mut BTreeMap<PathBuf, Thing>,
    when: &str,
) {
    let path = lab.join(victim);
    let stands = path.symlink_metadata().is_ok();
    assert_eq!(stands, mischief != Mischief::Vanish, "{when}");
    if mischief.leaves_a_lab() {
        let now = tree(lab).remove(Path::new(victim)).unwrap();
        expected.insert(PathBuf::from(victim), now);
        return;
    }
    if aside.exists() {
        let _ = fs::remove_file(&path);
        fs::rename(aside, &path).unwrap();
        return;
    }
    let before = original().lab.join(victim);
    assert_ne!(
        fs::read(&path).unwrap(),
        fs::read(&before).unwrap(),
        "{when}"
    );
    fs::copy(before, &path).unwrap();
    set_time(&path, expected[Path::new(victim)].modified);
}

#[test]
fn a_file_that_changes_between_reading_and_removing_is_left_alone() {
    let every = if rounds(0) > 0 { 1 } else { 4 };
    let mut disturbed = 0;
    let victims = [
        "A/Virtual Hard Disks/base.vhd",
        "B 2/Virtual Hard Disks/base.vhd",
        "B 2/Virtual Hard Disks/mid.vhd",
    ];
    for (first, victim) in (1..).zip(victims) {
        for mischief in MISCHIEFS {
            for at in (first..).step_by(every) {
                match disturb(victim, mischief, at) {
                    None => break,
                    Some(done) => disturbed += u64::from(done),
                }
            }
        }
    }
    println!("{disturbed} disturbed");
    assert!(disturbed > 50, "{disturbed}");
}

#[test]
fn a_parent_that_comes_back_beside_a_child_in_the_store_is_packed_again() {
    for rewritten in [false, true] {
        let folder = scratch();
        let lab = folder.path().join("lab");
        copy(&original().lab, &lab);
        verbs::pack(&verbs::here(&lab));
        let base = "B 2/Virtual Hard Disks/base.vhd";
        let (path, before) = (lab.join(base), original().lab.join(base));
        let mut expected = files(&original().lab);
        fs::copy(before, &path).unwrap();
        set_time(&path, expected[Path::new(base)].modified);
        if rewritten {
            Mischief::Rewrite.upon(&path, &path);
            let now = tree(&lab).remove(Path::new(base)).unwrap();
            expected.insert(PathBuf::from(base), now);
        }
        verbs::pack(&verbs::here(&lab));
        assert_eq!(path.exists(), rewritten, "what is stored already goes");
        verbs::restore(&lab);
        assert_eq!(files(&lab), expected);
    }
}

/// The export goes while it is copied: the run ends with an error, and goes on once it is back.
#[test]
fn an_export_that_vanishes_while_it_is_packed_is_an_error_and_no_more() {
    let mut gone = 0;
    for at in (1..).step_by(9) {
        let folder = scratch();
        let [lab, away, output] = ["lab", "away", "output"].map(|name| folder.path().join(name));
        copy(&original().lab, &lab);
        let (from, to) = (lab.clone(), away.clone());
        let (guard, done) = before_step(&output, at, move |_| fs::rename(&from, &to).is_ok());
        let packed = in_one_thread(|| verbs::try_pack(&verbs::to(&lab, &output)));
        drop(guard);
        if done.lock().unwrap().is_none() {
            break;
        }
        gone += u64::from(packed.is_err());
        fs::rename(&away, &lab).unwrap();
        assert_eq!(files(&lab), files(&original().lab), "step {at}");
        verbs::pack(&verbs::to(&lab, &output));
        no_leftovers(&output, &format!("step {at}"));
        verbs::restore(&output);
        assert_eq!(files(&output), files(&lab), "step {at}");
    }
    println!("{gone} runs lost their export");
    assert!(gone > 5, "{gone}");
}

#[test]
fn a_destination_that_vanishes_while_it_is_written_is_an_error_and_no_more() {
    let mut gone = 0;
    for (deed, name) in [
        (Deed::Unpack(LinkMode::Hardlink), "vms"),
        (Deed::PackToOutput, "pack"),
    ] {
        for at in (2..).step_by(7) {
            let folder = scratch();
            let root = folder.path().to_owned();
            let (dest, away) = (root.join(name), root.join("away"));
            let (from, to) = (dest.clone(), away.clone());
            let (guard, done) = before_step(&dest, at, move |_| fs::rename(&from, &to).is_ok());
            let ended = in_one_thread(|| deed.work(&root));
            drop(guard);
            if done.lock().unwrap().is_none() {
                break;
            }
            let when = format!("{deed:?}, the destination went at step {at}");
            gone += u64::from(ended.is_err());
            deed.nothing_is_lost(&root, &when);
            if away.exists() {
                // What was made in its place meanwhile is not what was begun.
                if dest.exists() {
                    fs::rename(&dest, root.join("meanwhile")).unwrap();
                }
                fs::rename(&away, &dest).unwrap();
            }
            let _ = fs::remove_dir_all(root.join("meanwhile"));
            deed.goes_on(&root, &when);
        }
    }
    println!("{gone} runs lost their destination");
    assert!(gone > 10, "{gone}");
}

#[test]
fn files_from_the_future_keep_their_times_and_a_store_used_in_the_future_is_kept() {
    let folder = scratch();
    let [lab, store, vms] = ["lab", "store", "vms"].map(|name| folder.path().join(name));
    copy(&original().lab, &lab);
    let paths: Vec<PathBuf> = tree(&lab).into_keys().rev().collect();
    for (number, path) in (0..).zip(&paths) {
        set_time(&lab.join(path), (4_102_444_800 + number, 5));
    }
    let before = tree(&lab);
    let request = pack::Request {
        store: Some(store.clone()),
        ..verbs::here(&lab)
    };
    verbs::pack(&request);
    let again = verbs::pack(&request);
    assert_eq!(again.io.read, 0, "what did not change is not read again");
    let unpack = labpack::unpack::Request {
        store: Some(store.clone()),
        ..verbs::by(LinkMode::Copy, &lab, &vms)
    };
    verbs::unpack(&unpack);
    assert_eq!(verbs::unpack(&unpack).outcome.counts.files_written, 0);
    let index = store.join("index.json");
    let text = fs::read_to_string(&index).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    for entry in value["entries"].as_array_mut().unwrap() {
        entry["last_used"] = "2099-01-01T00:00:00Z".into();
        entry["packs"] = serde_json::json!([]);
    }
    fs::write(&index, value.to_string()).unwrap();
    let options = GcOptions {
        dry_run: false,
        grace: Duration::from_secs(1),
    };
    let report = store::gc(&store, options, &Watch::default().run()).unwrap();
    assert_eq!(report.removed, [], "the clock went back: nothing is old");
    verbs::try_restore(&lab, Some(&store)).unwrap();
    assert_eq!(tree(&lab), before);
}

const READER: &str = "reads from a bad device";

/// A device that cannot read: each read of a run fails once.
#[test]
fn a_device_that_cannot_read_loses_nothing() {
    let mut faults = 0;
    for deed in [
        Deed::PackInPlace,
        Deed::PackToOutput,
        Deed::Restore,
        Deed::Unpack(LinkMode::Copy),
        Deed::Unpack(LinkMode::Relocate),
    ] {
        for at in 1.. {
            let folder = scratch();
            let root = folder.path().to_owned();
            in_one_thread(|| deed.prepare(&root));
            let reads = Arc::new(AtomicU64::new(0));
            let count = Arc::clone(&reads);
            let guard = seam::install_on_reads(move |_| {
                // Others read the same files.
                let ours = thread::current().name() == Some(READER);
                if ours && count.fetch_add(1, Ordering::SeqCst) + 1 == at {
                    return Err(io::Error::from_raw_os_error(5)); // EIO
                }
                Ok(())
            });
            let done = in_thread(READER, || deed.work(&root));
            drop(guard);
            if reads.load(Ordering::SeqCst) < at {
                done.unwrap();
                break;
            }
            faults += 1;
            let when = format!("{deed:?}, read {at} fails");
            assert!(done.is_err(), "{when}: it ended well");
            deed.nothing_is_lost(&root, &when);
            deed.goes_on(&root, &when);
        }
    }
    println!("{faults} reads failed");
    assert!(faults > 20, "{faults}");
}

const NOBODY: &str = "65534";

/// The command as a user without rights, if this one may become that.
fn as_nobody(line: &[std::ffi::OsString]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
    command.arg(labpack().get_program()).args(line);
    command
}

fn set_modes(lab: &Path, mode: u32) {
    // Files and folders come and go meanwhile.
    for entry in walkdir::WalkDir::new(lab).into_iter().flatten() {
        if entry.file_type().is_dir() {
            let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode));
        }
    }
}

#[test]
fn a_permission_lost_halfway_loses_nothing() {
    let version = as_nobody(&args!["--version"]).output();
    if !version.is_ok_and(|said| said.status.success()) {
        println!("skipped: cannot run the command as another user here");
        return;
    }
    let mut denied = 0;
    let mut whole = Duration::from_millis(40);
    let rounds = rounds(12);
    for round in 0..rounds {
        let folder = scratch();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let lab = folder.path().join("lab");
        copy(&original().lab, &lab);
        let owned = Command::new("chown")
            .args(["-R", NOBODY])
            .arg(&lab)
            .status();
        assert!(owned.unwrap().success());
        let line = args!["pack", lab];
        let began = Instant::now();
        let mut command = as_nobody(&line);
        command.stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::piped());
        let child = command.spawn().unwrap();
        if round > 0 {
            sleep(whole.mul_f64(
                f64::from(u32::try_from(round).unwrap())
                    / f64::from(u32::try_from(rounds).unwrap()),
            ));
            set_modes(&lab, 0o555);
        }
        let said = end(child);
        if round == 0 {
            whole = began.elapsed();
        }
        let when = format!("round {round}: {said:?}");
        assert!(matches!(said.code, Some(0 | 3)), "{when}");
        denied += u64::from(said.code == Some(3));
        set_modes(&lab, 0o755);
        let stand = contents(&lab);
        assert!(!stand.is_empty(), "{when}");
        let again = as_nobody(&line).output().unwrap();
        assert!(again.status.success(), "{when}: {again:?}");
        no_leftovers(&lab, &when);
        run(args!["restore", lab]).ends(0);
        assert_eq!(files(&lab), files(&original().lab), "{when}");
    }
    println!("{denied} of {rounds} lost their right");
}

#[test]
fn a_seam_that_nobody_listens_at_says_nothing_of_reads() {
    let folder = scratch();
    let lab = folder.path().join("lab");
    copy(&original().lab, &lab);
    let (_, steps) = seam::record(&lab, || verbs::pack(&verbs::here(&lab)));
    assert!(steps.iter().all(|(kind, _)| *kind != StepKind::Read));
}
