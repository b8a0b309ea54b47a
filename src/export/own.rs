//! labpack's own files at the top of a folder, which are no part of the export.

use crate::{
    base::{RelPath, fold_case},
    fs::{self, Stamp},
    manifest::Manifest,
};

use super::ScannedFile;

/// The journal of a pack in place.
const JOURNAL: &str = "labpack.journal";
/// What unpack remembers.
const RECEIPT: &str = "labpack-unpacked.json";
/// The script that imports what was unpacked.
const SCRIPT: &str = "import-vms.ps1";
/// What pack remembers of the files that it read, and the lock among its processes.
const MEMORY: [&str; 2] = ["labpack.seen.json", ".labpack.lock"];
/// Copies that an interrupted pack left.
const INCOMING: &str = ".labpack-incoming";
/// The end of the name of a file that was on its way when a run was interrupted.
const MOVING: &str = ".labpack-move";
/// The folder of RefDisks in a pack.
const STORE: &str = "RefDisk";
/// What a store knows of its files, in a pack.
const INDEX: &str = "RefDisk/index.json";

/// labpack's own files at the top of a folder.
#[derive(Debug, Clone, Default)]
pub struct OwnFiles {
    /// `labpack.json`.
    pub manifest: Option<Stamp>,
    /// `labpack.journal`.
    pub journal: Option<Stamp>,
    /// `labpack-unpacked.json`.
    pub receipt: Option<Stamp>,
    /// `import-vms.ps1`, where a receipt or manifest stands beside it.
    pub script: Option<Stamp>,
    /// Every file in `RefDisk`, where that is a store.
    pub store: Vec<ScannedFile>,
    /// Temporary files that an interrupted run left, anywhere.
    pub temps: Vec<RelPath>,
}

/// Which paths are labpack's, told from what stands at the top.
#[derive(Debug)]
pub(super) struct Recogniser {
    packed: bool,
    unpacked: bool,
    store: bool,
}

/// Whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Export,
    Manifest,
    Journal,
    Receipt,
    Script,
    Store,
    Memory,
    Temp,
}

impl Recogniser {
    /// Learns from every path there is.
    pub(super) fn of<'a>(paths: impl Iterator<Item = &'a RelPath>) -> Self {
        let mut seen = Self {
            packed: false,
            unpacked: false,
            store: false,
        };
        for path in paths {
            match path.as_str() {
                Manifest::FILE_NAME | JOURNAL => seen.packed = true,
                RECEIPT => seen.unpacked = true,
                INDEX => seen.store = true,
                _ => {}
            }
        }
        seen.store |= seen.packed;
        seen
    }

    /// Tells whose the file at `path` is.
    pub(super) fn owner(&self, path: &RelPath) -> Owner {
        let name = path.name();
        let moving = name.starts_with('.') && name.ends_with(MOVING);
        if fs::is_temp_name(name) || moving || path.top() == INCOMING {
            return Owner::Temp;
        }
        if MEMORY.contains(&path.as_str()) {
            return Owner::Memory;
        }
        match path.as_str() {
            Manifest::FILE_NAME => Owner::Manifest,
            JOURNAL => Owner::Journal,
            RECEIPT => Owner::Receipt,
            SCRIPT if self.unpacked || self.packed => Owner::Script,
            _ if self.is_store(path) => Owner::Store,
            _ => Owner::Export,
        }
    }

    /// Tells whether a folder or file is the store or in it.
    pub(super) fn is_store(&self, path: &RelPath) -> bool {
        self.store && fold_case(path.top()) == fold_case(STORE)
    }
}
