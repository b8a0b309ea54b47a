//! Two processes, two locks.

use std::{
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{finish, meter, names};
use crate::{
    base::{Progress, Run},
    fs::{Existing, FolderLock, FsError, TempFile, remove_stale_temps, try_links},
};

/// Runs this very test program again, as another process: see [`child`].
fn spawn(what: &str, path: &Path) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fs::tests::processes::child", "--nocapture"])
        .env("LABPACK_TEST_CHILD", what)
        .env("LABPACK_TEST_PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let ready = out
        .lines()
        .map(Result::unwrap)
        .find_map(|line| line.split_once("ready ").map(|(_, rest)| rest.to_owned()));
    (child, ready.expect("the child says that it is ready"))
}

/// Not a test: what the other process does, until it is killed or its input ends.
#[test]
fn child() {
    let Ok(what) = std::env::var("LABPACK_TEST_CHILD") else {
        return;
    };
    let path = PathBuf::from(std::env::var_os("LABPACK_TEST_PATH").unwrap());
    let _held: Box<dyn std::any::Any> = if what == "lock" {
        Box::new(FolderLock::try_acquire(&path).unwrap().unwrap())
    } else {
        Box::new(TempFile::create(&path, &meter()).unwrap())
    };
    println!("\nready {what}");
    let _ = io::stdin().read_line(&mut String::new());
}

#[test]
fn the_temporary_file_of_a_dead_process_is_removed_and_that_of_a_live_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let own = TempFile::create(&dir.path().join("own"), &meter()).unwrap();
    let (mut other, _) = spawn("temp", &dir.path().join("other"));
    assert_eq!(names(dir.path()).len(), 2);
    assert_eq!(remove_stale_temps(dir.path()).unwrap(), 0);
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(names(dir.path()).len(), 2);
    assert_eq!(remove_stale_temps(dir.path()).unwrap(), 1);
    assert_eq!(names(dir.path()).len(), 1);
    own.finish(&finish(Existing::Refuse)).unwrap();
    assert_eq!(names(dir.path()), ["own"]);
    assert_eq!(remove_stale_temps(&dir.path().join("missing")).unwrap(), 0);
}

/// Remembers what it was told to wait for, and lets the other side go on.
struct Waiter {
    told: Mutex<Vec<String>>,
    on_wait: Box<dyn Fn() + Sync>,
    stop: AtomicBool,
}

impl Progress for Waiter {
    fn waiting(&self, message: &str) {
        self.told.lock().unwrap().push(message.to_owned());
        (self.on_wait)();
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

#[test]
fn a_lock_waits_for_another_process_says_so_once_and_gets_it_when_that_dies() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lock");
    let (other, _) = spawn("lock", &file);
    let other = Mutex::new(other);
    assert!(FolderLock::try_acquire(&file).unwrap().is_none());
    let waiter = Waiter {
        told: Mutex::default(),
        on_wait: Box::new(move || {
            let mut other = other.lock().unwrap();
            other.kill().unwrap();
            other.wait().unwrap();
        }),
        stop: AtomicBool::new(false),
    };
    let meter = meter();
    let run = Run {
        progress: &waiter,
        meter: &meter,
    };
    let lock = FolderLock::acquire(&file, &run).unwrap();
    assert_eq!(waiter.told.lock().unwrap().len(), 1);
    assert!(waiter.told.lock().unwrap()[0].contains("waiting for another labpack"));
    assert!(FolderLock::try_acquire(&file).unwrap().is_none());
    drop(lock);
    assert!(FolderLock::try_acquire(&file).unwrap().is_some());
}

#[test]
fn a_wait_for_a_lock_ends_when_the_user_stops() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lock");
    let _held = FolderLock::try_acquire(&file).unwrap().unwrap();
    let waiter = Waiter {
        told: Mutex::default(),
        on_wait: Box::new(|| ()),
        stop: AtomicBool::new(true),
    };
    let meter = meter();
    let run = Run {
        progress: &waiter,
        meter: &meter,
    };
    let stopped = FolderLock::acquire(&file, &run);
    assert!(matches!(stopped, Err(FsError::Cancelled(_))), "{stopped:?}");
}

#[test]
fn a_trial_of_links_goes_on_though_somebody_clears_temporary_files_away() {
    let folder = tempfile::tempdir().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                remove_stale_temps(folder.path()).unwrap();
            }
        });
        let trials = (0..20).map(|_| try_links(folder.path(), folder.path()));
        let trials: Result<Vec<_>, _> = trials.collect();
        done.store(true, Ordering::SeqCst);
        trials.unwrap();
    });
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
