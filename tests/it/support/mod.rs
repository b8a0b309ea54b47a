//! What the tests share: labs to pack, a watch on the work, trees to compare.

pub(crate) mod labs;
pub(crate) mod verbs;
pub(crate) mod volume;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use labpack::base::{IoMeter, IoTotals, Run, Silent};

/// Counts the bytes of the verbs that are run with it.
#[derive(Default)]
pub(crate) struct Watch {
    meter: Arc<IoMeter>,
}

impl Watch {
    pub(crate) fn run(&self) -> Run<'_> {
        Run { progress: &Silent, meter: &self.meter }
    }

    pub(crate) fn totals(&self) -> IoTotals {
        self.meter.totals()
    }
}

/// What stands at a path.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) enum Thing {
    Folder { modified: SystemTime },
    File { length: u64, digest: String, modified: SystemTime },
    Link(PathBuf),
}

/// Everything below `root` and `root` itself (as the empty path), with contents and times.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, Thing> {
    let entries = walkdir::WalkDir::new(root).into_iter().map(|entry| {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(root).unwrap().to_owned();
        (path, thing(entry.path()))
    });
    entries.collect()
}

fn thing(path: &Path) -> Thing {
    let metadata = path.symlink_metadata().unwrap();
    let modified = metadata.modified().unwrap();
    if metadata.is_symlink() {
        return Thing::Link(fs::read_link(path).unwrap());
    }
    if metadata.is_dir() {
        return Thing::Folder { modified };
    }
    Thing::File { length: metadata.len(), digest: digest(path), modified }
}

/// BLAKE3 of a file.
pub(crate) fn digest(path: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path).unwrap()).unwrap();
    hasher.finalize().to_string()
}

/// The bytes of all files below `root`, links not counted.
pub(crate) fn bytes_below(root: &Path) -> u64 {
    let lengths = tree(root).into_values().map(|thing| match thing {
        Thing::File { length, .. } => length,
        Thing::Folder { .. } | Thing::Link(_) => 0,
    });
    lengths.sum()
}
