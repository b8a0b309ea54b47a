//! The codes of findings: a script may rely on each for ever.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Note,
    /// The disk reads right, yet something about it is not as it should be.
    Warning,
    /// The chain must not be used, or the file is not what it should be.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What a finding is about, in a word that never changes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as scripts see it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    // Chains.
    /// No locator of the child leads to a file.
    MissingParent = "missing-parent",
    /// A parent stands where the child says, but its id is not the one recorded.
    ParentIdMismatch = "parent-id-mismatch",
    /// The parent lies outside of the folders that were named; it was not opened.
    ParentOutside = "parent-outside",
    /// Two disks are each other's ancestors.
    Cycle = "cycle",
    /// A VHD and its parent differ in virtual size.
    SizeMismatch = "size-mismatch",
    /// A VHDX is smaller than its parent.
    ChildSmaller = "child-smaller",
    /// A VHDX and its parent differ in logical sector size.
    SectorSizeMismatch = "sector-size-mismatch",
    /// A VHD child of a VHDX, or the reverse.
    MixedFormats = "mixed-formats",
    /// Something is wrong further up the chain.
    BrokenAncestor = "broken-ancestor",
    /// The chain has more levels than labpack follows.
    ChainTooDeep = "chain-too-deep",
    /// One of the child's locators leads elsewhere or nowhere, while another is right.
    StalePath = "stale-path",
    /// The parent's time is not the one recorded.
    ParentTimeDiffers = "parent-time-differs",
    /// The page-83 ids of a VHDX and its parent differ.
    DiskIdDiffers = "disk-id-differs",
    /// A name fits several files that differ but for case.
    AmbiguousName = "ambiguous-name",
    /// Disks of one chain bear the same file name: Hyper-V's own export would fail (0x80070050).
    SameNamedChain = "same-named-chain",

    // One disk.
    /// The disk's structure is damaged.
    Corrupt = "corrupt",
    /// The file ends before the data that it should hold.
    Truncated = "truncated",
    /// The disk uses something that labpack does not know.
    Unsupported = "unsupported",
    /// The VHDX log holds changes that are not applied yet.
    DirtyLog = "dirty-log",
    /// The file could not be read.
    Unreadable = "unreadable",
    /// Two blocks, or a block and a structure, lie over each other.
    OverlappingBlocks = "overlapping-blocks",
    /// A VHD footer is damaged and its copy is good.
    FooterCopyUsed = "footer-copy-used",
    /// One of the two VHDX headers is damaged and the other is good.
    HeaderCopyDamaged = "header-copy-damaged",
    /// One of the two VHDX region tables is damaged and the other is good.
    RegionTableCopyDamaged = "region-table-copy-damaged",
    /// The file is sparse, compressed or encrypted, which Hyper-V refuses on Windows.
    CompressedOrSparse = "compressed-or-sparse",
    /// A file with the name of a disk is none.
    NotADisk = "not-a-disk",

    // Exports and files.
    /// A name that does not exist on every system.
    BadName = "bad-name",
    /// Two names in one folder are equal but for case.
    CaseCollision = "case-collision",
    /// A link, which labpack does not follow here.
    LinkInExport = "link-in-export",
    /// A folder or file that is neither.
    SpecialFile = "special-file",
    /// The file changed while labpack worked on it.
    FileChanged = "file-changed",
    /// The file is open elsewhere.
    FileInUse = "file-in-use",
    /// A shared VHD Set, which cannot be packed.
    SharedDisk = "shared-disk",
    /// Alternate data streams that are not carried along.
    StreamsLost = "streams-lost",
    /// There are more files than a manifest can tell of.
    TooManyFiles = "too-many-files",
    /// The folder holds no VM.
    EmptyExport = "empty-export",
    /// A checkpoint disk has no place in the shared store.
    CheckpointParent = "checkpoint-parent",

    // Packs and stores.
    /// A file of the pack is missing.
    MissingFile = "missing-file",
    /// A file's length or digest is not the one in the manifest.
    ContentDiffers = "content-differs",
    /// No digest of the file's bytes is known.
    NoDigest = "no-digest",
    /// A RefDisk is missing from the store.
    MissingRefDisk = "missing-refdisk",
    /// A RefDisk's bytes are not those its name stands for.
    DamagedRefDisk = "damaged-refdisk",
    /// A file in the store that labpack did not put there.
    ForeignFile = "foreign-file",
    /// A RefDisk that no known pack names.
    UnusedRefDisk = "unused-refdisk",
    /// An interrupted run left its journal; running the command again goes on.
    UnfinishedRun = "unfinished-run",

    // Destinations.
    /// A file stands where labpack would write, and labpack did not write it.
    NameInUse = "name-in-use",
    /// There is not room enough.
    NoSpace = "no-space",
    /// The way of linking asked for does not work here.
    LinkUnavailable = "link-unavailable",
    /// The file system cannot hold a file of this size.
    FileTooLarge = "file-too-large",
    /// Windows attaches no disks from a volume of this file system.
    UnfitVolume = "unfit-volume",
    /// The path is longer than 260 characters.
    LongPath = "long-path",
    /// A disk has been used since it was unpacked, and was left alone.
    UsedSince = "used-since",
    /// A file that labpack unpacked, and the pack no longer holds.
    NoLongerPacked = "no-longer-packed",
    /// More names for one file than the file system allows.
    TooManyLinks = "too-many-links",
    /// A file may not be read or written.
    NoAccess = "no-access",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kebab_case_and_each_its_own() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            let text = code.as_str();
            assert!(
                text.chars().all(|c| c.is_ascii_lowercase() || c == '-'),
                "{text}"
            );
            assert!(seen.insert(text), "{text} stands twice");
            assert_eq!(serde_json::to_string(code).unwrap(), format!("\"{text}\""));
        }
    }
}
