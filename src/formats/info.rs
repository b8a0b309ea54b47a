//! What a disk says about itself, whichever its format.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::{DiskId, VirtualSize},
    report::{Code, Finding, WindowsError},
};

/// The format of a disk.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFormat {
    /// Virtual Hard Disk, version 1 (Virtual PC, Hyper-V 2008 and later).
    Vhd,
    /// Virtual Hard Disk, version 2 (Hyper-V 2012 and later; MS-VHDX).
    Vhdx,
}

impl fmt::Display for DiskFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vhd => "VHD",
            Self::Vhdx => "VHDX",
        })
    }
}

/// How a disk keeps its blocks.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum DiskKind {
    /// All blocks are in the file.
    Fixed,
    /// Blocks come into the file when they are written.
    Dynamic,
    /// What is not in the file is the parent's.
    Differencing,
}

impl fmt::Display for DiskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixed => "fixed",
            Self::Dynamic => "dynamic",
            Self::Differencing => "differencing",
        })
    }
}

/// Whether a disk has changes waiting in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogState {
    /// The format has no log.
    None,
    /// Every change has been applied.
    Empty,
    /// The log must be replayed before anything else in the file may be believed.
    Pending,
}

/// What a disk says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskInfo {
    /// Its format.
    pub format: DiskFormat,
    /// How it keeps its blocks.
    pub kind: DiskKind,
    /// How large it looks to its guest.
    pub virtual_size: VirtualSize,
    /// The length of the file in bytes.
    pub file_len: u64,
    /// Bytes of a block; `None` for a fixed VHD.
    pub block_size: Option<u32>,
    /// Bytes of a logical sector: 512 or 4096.
    pub logical_sector: u32,
    /// Bytes of a physical sector.
    pub physical_sector: u32,
    /// The id by which children name it: VHD unique id, VHDX current `DataWriteGuid`.
    pub own_id: DiskId,
    /// The id the guest sees (VHDX page 83); none in a VHD.
    pub page83_id: Option<DiskId>,
    /// Who made it, as far as the file says: `win  10.0`, `Microsoft Windows 10.0.15063.0`.
    pub creator: String,
    /// Whether its log is empty.
    pub log: LogState,
    /// Its parent; there is one exactly if `kind` is `Differencing`.
    pub parent: Option<ParentLink>,
    /// What is odd about the file though it reads right.
    pub remarks: Vec<Remark>,
}

/// How a child names its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParentLink {
    /// The id that the parent must have.
    pub id: DiskId,
    /// Another id that will do: VHDX `parent_linkage2`, where it is there and not nil.
    pub id2: Option<DiskId>,
    /// The parent's modification time in seconds since 2000-01-01T00:00:00Z (VHD only);
    /// `None` where the child holds zero, which is never checked.
    pub timestamp: Option<u32>,
    /// Where the parent may be, in the order in which they are to be tried.
    pub hints: Vec<PathHint>,
}

impl ParentLink {
    /// Tells whether a disk with `id` is the parent.
    #[must_use]
    pub fn accepts(&self, id: DiskId) -> bool {
        id == self.id || self.id2 == Some(id)
    }
}

/// One place where a parent may be: a hint from a stranger.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct PathHint {
    /// How the path is meant.
    pub kind: HintKind,
    /// The path as the file has it.
    pub path: String,
}

/// How the path of a hint is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HintKind {
    /// From the folder through which the child was opened (`W2ru`, `relative_path`, `Wi2r`).
    Relative,
    /// From a drive or share (`W2ku`, `absolute_win32_path`, `Wi2k`).
    Absolute,
    /// From a volume's GUID path (`volume_path`).
    Volume,
    /// The VHD header's parent name: a bare name beside the child, or a full path.
    Name,
    /// A `file://` URL (`MacX`), relative or absolute.
    Url,
}

/// The paths that a child is to name its parent by. A path that is `None` is left out of the
/// file where the format allows (VHDX), or made harmless (VHD).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct ParentPaths {
    /// From the child's folder: `.\base.vhdx`, `..\..\RefDisk\base.vhdx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative: Option<String>,
    /// The whole path: `D:\RefDisk\base.vhdx`, without `\\?\`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute: Option<String>,
    /// The path by volume GUID, where it is known (VHDX only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
}

/// Something odd about a file that reads right all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// What kind of thing.
    pub kind: RemarkKind,
    /// One sentence: where, found, expected.
    pub text: String,
}

/// What kind of thing a [`Remark`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemarkKind {
    /// A VHD footer, or its copy at the start, is damaged; the other was used.
    FooterCopy,
    /// One VHDX header is damaged; the other was used.
    HeaderCopy,
    /// One VHDX region table is damaged; the other was used.
    RegionTableCopy,
}

impl Remark {
    /// Returns the warning that this remark makes about the disk at `path`.
    #[must_use]
    pub fn finding(&self, path: impl fmt::Display) -> Finding {
        let (code, windows, next) = match self.kind {
            RemarkKind::FooterCopy => (
                Code::FooterCopyUsed,
                WindowsError::FOOTER_CORRUPT,
                "Hyper-V may refuse the disk: export the VM again, or have the footer repaired on a copy",
            ),
            RemarkKind::HeaderCopy => (
                Code::HeaderCopyDamaged,
                WindowsError::HEADER_CORRUPT,
                "attaching the disk once, read-write, on a Hyper-V host writes both headers anew",
            ),
            RemarkKind::RegionTableCopy => (
                Code::RegionTableCopyDamaged,
                WindowsError::METADATA_READ,
                "export the VM again: nothing repairs this table",
            ),
        };
        Finding::warning(code, path, self.text.clone())
            .windows(windows)
            .next(next)
    }
}

/// What a walk over the block allocation table found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BlockCensus {
    /// Blocks the virtual disk has.
    pub blocks: u64,
    /// Blocks with data in this file.
    pub present: u64,
    /// The end of the last byte in use; the file may be longer.
    pub used_len: u64,
}
