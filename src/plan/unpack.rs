//! What a destination needs, file by file, and how each child will name its parent there.
//!
//! [`UnpackPlan::of`] says what is to stand where, from the manifest and from texts alone.
//! [`FileStep::meet`] and [`LinkStep::meet`] then decide, from what does stand there, what is done
//! to each.

mod layout;
mod receipt;
mod records;
mod standing;
#[cfg(test)]
mod tests;

pub use layout::{Wanted, vhdx_id};
pub use receipt::Receipt;
pub use records::FileRecords;
pub use standing::{FileRecord, LinkRecord, Standing};

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    base::{Attributes, ContentId, DiskId, FileTime, RelPath},
    formats::ParentPaths,
    manifest::{Folder, Residue},
    report::Findings,
};

/// How VMs come to their shared parents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// A block clone of the RefDisk.
    Reflink,
    /// Another name for the RefDisk.
    Hardlink,
    /// A symbolic link to the RefDisk.
    Symlink,
    /// A junction to the store in each folder of children, through which their locators go.
    Junction,
    /// No link: locators name the RefDisk itself.
    Relocate,
    /// A full copy: the export as it was, byte for byte.
    Copy,
}

impl Link {
    /// Every way, the ones first that are tried first.
    pub const ALL: [Self; 6] = [
        Self::Reflink,
        Self::Hardlink,
        Self::Symlink,
        Self::Relocate,
        Self::Junction,
        Self::Copy,
    ];

    /// Returns its name, as the command line has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reflink => "reflink",
            Self::Hardlink => "hardlink",
            Self::Symlink => "symlink",
            Self::Junction => "junction",
            Self::Relocate => "relocate",
            Self::Copy => "copy",
        }
    }

    /// Returns what is made at the path of a shared parent, if a link is.
    #[must_use]
    pub const fn kind(self) -> Option<LinkKind> {
        match self {
            Self::Hardlink => Some(LinkKind::Hardlink),
            Self::Symlink => Some(LinkKind::Symlink),
            Self::Reflink | Self::Junction | Self::Relocate | Self::Copy => None,
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an unpack will do.
#[derive(Debug, Clone, Serialize)]
pub struct UnpackPlan {
    /// How VMs come to their shared parents.
    pub link: Link,
    /// The RefDisks that the destination's store needs, parents before their children.
    pub ref_disks: Vec<RefDiskStep>,
    /// The files that are to stand at the destination.
    pub files: Vec<FileStep>,
    /// The links that are to stand there.
    pub links: Vec<LinkStep>,
    /// The folders, parents before what is in them.
    pub folders: Vec<Folder>,
    /// What is to be said of it; an error among it means that nothing is done.
    pub findings: Findings,
}

/// A RefDisk that the destination's store needs.
#[derive(Debug, Clone, Serialize)]
pub struct RefDiskStep {
    /// Its id.
    pub id: ContentId,
    /// Its name in the destination's store.
    pub file: String,
    /// Its length in bytes.
    pub length: u64,
    /// How it will name its own parent, for one with a parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentPaths>,
    /// What is done.
    pub action: RefDiskAction,
}

/// What is done about a RefDisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefDiskAction {
    /// It stands in the store already.
    Have,
    /// It is copied into the store.
    Write,
    /// The store gets a further name of the pack's own file.
    Share,
}

/// A file that is to stand at the destination. A lab may have very many, so what few of them have
/// is kept apart.
#[derive(Debug, Clone, Serialize)]
pub struct FileStep {
    /// Where.
    pub path: RelPath,
    /// Its length as it was packed.
    pub length: u64,
    /// When it was modified.
    pub modified: FileTime,
    /// Its attributes.
    #[serde(skip_serializing_if = "Attributes::is_plain")]
    pub attributes: Attributes,
    /// The digest it was packed with.
    pub packed: ContentId,
    /// The id of a VHDX, which changes when its VM writes into it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vhdx: Option<DiskId>,
    /// Where its bytes come from.
    pub source: FileSource,
    /// How it will name its parent; absent where its locators stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Box<ParentPaths>>,
    /// What is done.
    pub action: FileAction,
}

/// Where a file's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "in")]
pub enum FileSource {
    /// From the pack, at the file's own path.
    Pack,
    /// From the store.
    Store(Box<FromStore>),
}

/// What a file is made of whose bytes are in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FromStore {
    /// The RefDisk that stands for it.
    pub ref_disk: ContentId,
    /// What is laid over it.
    #[serde(skip_serializing_if = "Residue::is_empty")]
    pub residue: Residue,
}

/// What is done about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileAction {
    /// Nothing stands there: it is written.
    Write,
    /// It stands there, unchanged since it was written.
    Keep,
    /// What labpack wrote before stands there, and something else is to: it is written again.
    Replace,
    /// It was used since it was written, and is left alone.
    LeaveUsed,
    /// It was used since it was written, and is put back to how it was packed.
    Reset,
}

impl FileAction {
    /// Tells whether the file is written.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Replace | Self::Reset)
    }

    /// Tells whether the file takes the place of another.
    #[must_use]
    pub const fn replaces(self) -> bool {
        matches!(self, Self::Replace | Self::Reset)
    }
}

/// A link that is to stand at the destination.
#[derive(Debug, Clone, Serialize)]
pub struct LinkStep {
    /// Where.
    pub path: RelPath,
    /// What kind of link.
    pub kind: LinkKind,
    /// The RefDisk it leads to; absent for a junction, which leads to the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ref_disk: Option<ContentId>,
    /// What is done.
    pub action: LinkAction,
}

/// What kind of link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// Another name for the file.
    Hardlink,
    /// A symbolic link to the file.
    Symlink,
    /// A junction to the store.
    Junction,
}

/// What is done about a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkAction {
    /// Nothing stands there: it is made.
    Make,
    /// It stands there.
    Keep,
    /// What labpack put there before is removed, and the link is made.
    Replace,
    /// A file that labpack put there before has been used since, and is left alone.
    LeaveUsed,
}

impl LinkAction {
    /// Tells whether the link is made.
    #[must_use]
    pub const fn makes(self) -> bool {
        matches!(self, Self::Make | Self::Replace)
    }
}

impl UnpackPlan {
    /// Tells whether nothing is left to do.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let have = |step: &RefDiskStep| step.action == RefDiskAction::Have;
        self.ref_disks.iter().all(have)
            && !self.files.iter().any(|step| step.action.writes())
            && !self.links.iter().any(|step| step.action.makes())
    }
}
