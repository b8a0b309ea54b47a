//! What the tests have in common: labs made on the spot, folders compared, runs watched.

#[cfg(target_os = "linux")]
pub(crate) mod device;
pub(crate) mod labs;
pub(crate) mod shell;
pub(crate) mod small_labs;
pub(crate) mod verbs;
#[cfg(unix)]
pub(crate) mod volume;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use labpack::base::{IoMeter, IoTotals, Progress, Run};

/// Watches a run: counts its bytes, and stops it when told so.
#[derive(Default)]
pub(crate) struct Watch {
    meter: Arc<IoMeter>,
    stop: Stop,
}

#[derive(Default)]
struct Stop(AtomicBool);

impl Progress for Stop {
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Watch {
    pub(crate) fn run(&self) -> Run<'_> {
        Run {
            progress: &self.stop,
            meter: &self.meter,
        }
    }

    pub(crate) fn io(&self) -> IoTotals {
        self.meter.totals()
    }

    /// As Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        self.stop.0.store(true, Ordering::SeqCst);
    }
}

/// One thing in a folder: what it holds, and when it was modified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thing {
    pub(crate) what: What,
    pub(crate) modified: (i64, u32),
    pub(crate) read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Folder,
    File { len: u64, digest: blake3::Hash },
    Link(PathBuf),
}

/// Everything in a folder, the folder itself under an empty path.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, Thing> {
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry.unwrap();
        let path = entry.path();
        let facts = path.symlink_metadata().unwrap();
        let what = if facts.is_dir() {
            What::Folder
        } else if facts.is_symlink() {
            What::Link(fs::read_link(path).unwrap())
        } else {
            let bytes = fs::read(path).unwrap();
            What::File {
                len: facts.len(),
                digest: blake3::hash(&bytes),
            }
        };
        let time = filetime::FileTime::from_last_modification_time(&facts);
        let thing = Thing {
            what,
            modified: (time.unix_seconds(), time.nanoseconds()),
            read_only: facts.permissions().readonly(),
        };
        found.insert(path.strip_prefix(root).unwrap().to_owned(), thing);
    }
    found
}

/// As [`tree`], without times: what is there and what is in it.
pub(crate) fn contents(root: &Path) -> BTreeMap<PathBuf, What> {
    tree(root)
        .into_iter()
        .map(|(path, thing)| (path, thing.what))
        .collect()
}

/// Copies a folder with its times.
pub(crate) fn copy(from: &Path, to: &Path) {
    for (path, thing) in tree(from) {
        match thing.what {
            What::Folder => fs::create_dir_all(to.join(&path)).unwrap(),
            What::File { .. } => drop(fs::copy(from.join(&path), to.join(&path)).unwrap()),
            What::Link(_) => panic!("no test copies links"),
        }
    }
    for (path, thing) in tree(from).into_iter().rev() {
        set_time(&to.join(path), thing.modified);
    }
}

pub(crate) fn set_time(path: &Path, (seconds, nanos): (i64, u32)) {
    let permissions = fs::metadata(path).unwrap().permissions();
    if cfg!(windows) && permissions.readonly() {
        let mut writable = permissions.clone();
        #[expect(
            clippy::permissions_set_readonly_false,
            reason = "on Windows this clears one attribute"
        )]
        writable.set_readonly(false);
        fs::set_permissions(path, writable).unwrap();
    }
    filetime::set_file_mtime(path, filetime::FileTime::from_unix_time(seconds, nanos)).unwrap();
    fs::set_permissions(path, permissions).unwrap();
}

/// Sums the lengths of the files below a folder.
pub(crate) fn bytes_in(root: &Path) -> u64 {
    let lens = tree(root).into_values().map(|thing| match thing.what {
        What::File { len, .. } => len,
        _ => 0,
    });
    lens.sum()
}
