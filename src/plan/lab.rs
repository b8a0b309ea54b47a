//! An export as the planner sees it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    base::{Attributes, ContentId, DiskId, FileTime, RelPath},
    formats::{DiskInfo, DiskKind, ParentPaths},
    fs::{FileKey, Stamp},
    manifest::{DiskFacts, Folder, Place, Role, Unknown},
};

/// An export: every file, with the parent graph worked out.
#[derive(Debug, Clone, Default)]
pub struct Lab {
    /// Its VM folders, by path.
    pub vms: Vec<LabVm>,
    /// Its folders, parents before children.
    pub folders: Vec<Folder>,
    /// Its files, by path.
    pub files: Vec<LabFile>,
}

/// A VM folder.
#[derive(Debug, Clone)]
pub struct LabVm {
    /// The VM's name.
    pub name: String,
    /// The folder; `None` where the export is itself the VM folder.
    pub folder: Option<RelPath>,
}

/// A file of the export.
#[derive(Debug, Clone)]
pub struct LabFile {
    /// Its path from the top of the export.
    pub path: RelPath,
    /// Its length in bytes.
    pub length: u64,
    /// When it was modified.
    pub modified: FileTime,
    /// Its attributes.
    pub attributes: Attributes,
    /// Its VM folder, as an index into [`Lab::vms`].
    pub vm: Option<usize>,
    /// What it is to its VM.
    pub role: Role,
    /// What it says about itself, if it is a disk.
    pub disk: Option<Box<DiskFacts>>,
    /// The file that is its parent, as an index into [`Lab::files`].
    pub parent: Option<usize>,
    /// Where its bytes are.
    pub origin: Origin,
    /// It stands outside of the export, and comes along as if it had been exported with its
    /// children.
    pub external: bool,
    /// How it is to name its parent in the pack, where the parent comes along from outside: the
    /// paths in the file lead out of the export.
    pub relink: Option<Box<ParentPaths>>,
}

/// Where the bytes of a file are before the pack.
#[derive(Debug, Clone)]
pub enum Origin {
    /// In a file that stands in the export.
    Standing {
        /// The folder that was scanned, or that of a parent from outside.
        root: Arc<Path>,
        /// Its path from there.
        below: RelPath,
        /// Which file it is.
        key: FileKey,
    },
    /// In the store, since an earlier pack.
    Stored(Box<StoredFile>),
}

/// A file that an earlier pack put into the store.
#[derive(Debug, Clone)]
pub struct StoredFile {
    /// What the earlier manifest says.
    pub place: Place,
    /// The file's digest.
    pub digest: ContentId,
}

/// What a file looked like: as long as this holds, its bytes are taken for unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Which file it is.
    pub key: FileKey,
    /// Its length in bytes.
    pub length: u64,
    /// When it was modified.
    pub modified: FileTime,
    /// For a disk, the id that changes when a VHDX is written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskId>,
}

impl Seen {
    /// What `stamp` shows, and the id of the disk in the file.
    #[must_use]
    pub const fn new(stamp: &Stamp, disk: Option<DiskId>) -> Self {
        Self {
            key: stamp.key,
            length: stamp.len,
            modified: stamp.modified,
            disk,
        }
    }

    /// Tells whether a file with this stamp is the one that was seen, unchanged.
    #[must_use]
    pub fn is(&self, stamp: &Stamp) -> bool {
        self.key == stamp.key && self.length == stamp.len && self.modified.same(stamp.modified)
    }
}

impl LabFile {
    /// Returns what the manifest will say about a disk; the parent is filled in by the caller.
    #[must_use]
    pub fn facts(info: &DiskInfo) -> Box<DiskFacts> {
        Box::new(DiskFacts {
            format: info.format,
            kind: info.kind,
            virtual_size: info.virtual_size,
            own_id: info.own_id,
            parent: None,
            unknown: Unknown::new(),
        })
    }

    /// Tells whether the file is a differencing disk.
    #[must_use]
    pub fn is_child(&self) -> bool {
        self.disk
            .as_ref()
            .is_some_and(|disk| disk.kind == DiskKind::Differencing)
    }

    /// Returns what the file looked like when it was scanned, if it stands in the export.
    #[must_use]
    pub fn seen(&self) -> Option<Seen> {
        let Origin::Standing { key, .. } = self.origin else {
            return None;
        };
        Some(Seen {
            key,
            length: self.length,
            modified: self.modified,
            disk: self.disk.as_ref().map(|disk| disk.own_id),
        })
    }

    /// Returns where the file stands, if it does.
    #[must_use]
    pub fn at(&self) -> Option<PathBuf> {
        match &self.origin {
            Origin::Standing { root, below, .. } => Some(below.below(root)),
            Origin::Stored(_) => None,
        }
    }

    /// Returns what an earlier pack put into the store, if the file is there.
    #[must_use]
    pub const fn stored(&self) -> Option<&StoredFile> {
        match &self.origin {
            Origin::Standing { .. } => None,
            Origin::Stored(stored) => Some(stored),
        }
    }
}

impl Lab {
    /// Returns where the file with this path is in the list.
    #[must_use]
    pub fn find(&self, path: &RelPath) -> Option<usize> {
        self.files.binary_search_by(|file| file.path.cmp(path)).ok()
    }

    /// Returns the ancestors of a file, nearest first. The graph has no cycle: a lab is made of
    /// chains that were found sound.
    pub fn ancestors(&self, file: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(self.files[file].parent, |&at| self.files[at].parent)
    }

    /// Tells whether a file may be shared by link: others depend on it, nothing will ever write
    /// into it, its locators stay as they are, and the same holds for all its ancestors.
    #[must_use]
    pub fn is_shareable(&self, file: usize) -> bool {
        std::iter::once(file)
            .chain(self.ancestors(file))
            .all(|at| self.files[at].role == Role::Parent && self.files[at].relink.is_none())
    }

    /// Returns the shareable parents by level: those without a parent, their children, and so on.
    #[must_use]
    pub fn shareable_by_level(&self) -> Vec<Vec<usize>> {
        let mut levels: Vec<Vec<usize>> = Vec::new();
        for file in (0..self.files.len()).filter(|&file| self.is_shareable(file)) {
            let level = self.ancestors(file).count();
            if levels.len() <= level {
                levels.resize_with(level + 1, Vec::new);
            }
            levels[level].push(file);
        }
        levels
    }
}
