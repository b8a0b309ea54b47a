//! Version 1 of the manifest, as types. The JSON schema is made from these.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::Unknown;
use crate::{
    base::{
        Attributes, CanonicalId, ContentId, DiskId, FileTime, Patch, RelPath, VirtualSize, Write,
    },
    formats::{DiskFormat, DiskKind},
};

/// A packed lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// Always `labpack-manifest`.
    #[schemars(extend("const" = "labpack-manifest"))]
    pub format: String,
    /// The version of the format: 1.
    #[schemars(extend("const" = 1))]
    pub version: u32,
    /// Who wrote it: `labpack 0.1.0`.
    pub tool: String,
    /// When, in UTC (RFC 3339). The only field that differs between two packs of one export.
    pub created: String,
    /// Where the RefDisks are.
    pub store: StorePlace,
    /// What the pack comes to.
    pub totals: Totals,
    /// The VM folders, by path.
    pub vms: Vec<Vm>,
    /// Files of the export that belong to no VM folder, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_files: Vec<PackedFile>,
    /// Every folder of the export, parents before children; empty ones too.
    pub folders: Vec<Folder>,
    /// The RefDisks, parents before their children.
    pub ref_disks: Vec<RefDisk>,
    /// Fields that this version does not know; kept as they are.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Manifest {
    /// What `format` says.
    pub const FORMAT: &'static str = "labpack-manifest";
    /// The newest version that this labpack reads, and the one it writes.
    ///
    /// 1: the first.
    pub const VERSION: u32 = 1;
    /// The manifest's file name, at the top of a pack.
    pub const FILE_NAME: &'static str = "labpack.json";
    /// So many files may a lab have: what is written of them while it is packed can be read again,
    /// however much is known of each.
    pub const MOST_FILES: usize = 120_000;
    /// A longer manifest is refused before it is parsed: 256 MiB.
    pub const MAX_BYTES: u64 = 256 * 1024 * 1024;

    /// Returns every file of the export, those in VM folders first.
    pub fn files(&self) -> impl Iterator<Item = &PackedFile> {
        self.vms
            .iter()
            .flat_map(|vm| &vm.files)
            .chain(&self.other_files)
    }

    /// Tells whether two manifests differ in nothing but who wrote them, and when.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let Self {
            format,
            version,
            tool: _,
            created: _,
            store,
            totals,
            vms,
            other_files,
            folders,
            ref_disks,
            unknown,
        } = self;
        *format == other.format
            && *version == other.version
            && *store == other.store
            && *totals == other.totals
            && *vms == other.vms
            && *other_files == other.other_files
            && *folders == other.folders
            && *ref_disks == other.ref_disks
            && *unknown == other.unknown
    }

    /// Returns the files that stand in the pack at their own paths.
    pub fn placed(&self) -> impl Iterator<Item = &PackedFile> {
        self.files().filter(|file| file.place == Place::Pack)
    }

    /// Returns the RefDisk with this id.
    #[must_use]
    pub fn ref_disk(&self, id: &ContentId) -> Option<&RefDisk> {
        self.ref_disks.iter().find(|disk| disk.id == *id)
    }
}

/// Where a pack's RefDisks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StorePlace {
    /// In the pack's own folder `RefDisk`.
    Own,
    /// In a store that other labs share; the command line names it (`--store`).
    Shared,
}

/// What a pack comes to, in bytes of file length.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// VM folders.
    pub vms: u64,
    /// Files of the export.
    pub files: u64,
    /// Bytes of all files of the export.
    pub export_bytes: u64,
    /// Bytes of the pack: files that stay in VM folders, and RefDisks, each once.
    pub packed_bytes: u64,
    /// RefDisks.
    pub ref_disks: u64,
    /// Bytes of all RefDisks.
    pub ref_disk_bytes: u64,
    /// Fields that this version does not know; kept as they are.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// One VM folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Vm {
    /// The folder's name, which is the VM's.
    pub name: String,
    /// The folder; absent where the export is itself one VM folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<RelPath>,
    /// Its files, by path.
    pub files: Vec<PackedFile>,
    /// Fields that this version does not know; kept as they are.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A folder of the export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Folder {
    /// Its path.
    pub path: RelPath,
    /// When it was modified.
    pub modified: FileTime,
    /// Fields that this version does not know; kept as they are.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// One file of the export, as it was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackedFile {
    /// Its path from the top of the export.
    pub path: RelPath,
    /// Its length in bytes.
    pub length: u64,
    /// When it was modified.
    pub modified: FileTime,
    /// Its attributes, where not all are off.
    #[serde(default, skip_serializing_if = "Attributes::is_plain")]
    pub attributes: Attributes,
    /// BLAKE3 of its bytes.
    pub digest: ContentId,
    /// What it is to its VM.
    pub role: Role,
    /// What it says about itself, if it is a disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Box<DiskFacts>>,
    /// Where its bytes are now.
    #[serde(default)]
    pub place: Place,
    /// Fields that this version does not know; kept as they are.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What a file is to its VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// No disk: a configuration, a saved state.
    File,
    /// A disk that no other depends on.
    Leaf,
    /// A disk that others depend on.
    Parent,
    /// A disk with an automatic child (.avhd, .avhdx): deleting the checkpoint writes into it.
    CheckpointParent,
    /// Part of a chain that was broken when it was packed; carried along untouched.
    Broken,
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Place {
    /// In the pack, at the file's own path.
    #[default]
    Pack,
    /// In the store. Most of very many files are not.
    Store(Box<InStore>),
}

impl Place {
    /// Returns what the store has of the file, if it is there.
    #[must_use]
    pub fn in_store(&self) -> Option<&InStore> {
        match self {
            Self::Pack => None,
            Self::Store(stored) => Some(stored),
        }
    }
}

/// What the store has of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InStore {
    /// The RefDisk that stands for the file.
    pub ref_disk: ContentId,
    /// How unpack brings it back.
    pub sharing: Sharing,
    /// What to lay over the RefDisk to get this very file.
    pub residue: Residue,
}

/// A [`Place`] as JSON has it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "in")]
#[schemars(
    rename = "Place",
    description = "Where a file's bytes are.",
    deny_unknown_fields
)]
enum WrittenPlace<'a> {
    /// In the pack, at the file's own path.
    Pack,
    /// In the store.
    Store {
        /// The RefDisk that stands for the file.
        ref_disk: &'a ContentId,
        /// How unpack brings it back.
        sharing: Sharing,
        /// What to lay over the RefDisk to get this very file.
        #[serde(default, skip_serializing_if = "Residue::is_empty")]
        residue: Cow<'a, Residue>,
    },
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = match self {
            Self::Pack => WrittenPlace::Pack,
            Self::Store(stored) => WrittenPlace::Store {
                ref_disk: &stored.ref_disk,
                sharing: stored.sharing,
                residue: Cow::Borrowed(&stored.residue),
            },
        };
        written.serialize(serializer)
    }
}

impl JsonSchema for Place {
    fn schema_name() -> Cow<'static, str> {
        WrittenPlace::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        WrittenPlace::json_schema(generator)
    }
}

/// A [`Place`] as it is read: serde would take any field beside `"in": "pack"`, and lose it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlace {
    r#in: In,
    ref_disk: Option<ContentId>,
    sharing: Option<Sharing>,
    residue: Option<Residue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum In {
    Pack,
    Store,
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawPlace::deserialize(deserializer)?;
        match (raw.r#in, raw.ref_disk, raw.sharing, raw.residue) {
            (In::Pack, None, None, None) => Ok(Self::Pack),
            (In::Store, Some(ref_disk), Some(sharing), residue) => {
                let residue = residue.unwrap_or_default();
                Ok(Self::Store(Box::new(InStore {
                    ref_disk,
                    sharing,
                    residue,
                })))
            }
            (In::Pack, ..) => Err(D::Error::custom(
                "a place in the pack has no `ref_disk`, `sharing` or `residue`",
            )),
            (In::Store, ..) => Err(D::Error::custom(
                "a place in the store needs `ref_disk` and `sharing`",
            )),
        }
    }
}

/// How unpack brings back a file that is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// By a link or relinked children: nothing ever writes into it.
    Link,
    /// By a copy of its own (or a block clone): its VM may write into it.
    Copy,
}

/// The bytes in which a file differs from its RefDisk, which is as long.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Residue(pub Vec<Run>);

impl Residue {
    /// Tells whether the file and its RefDisk are the same bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns what is laid over the RefDisk to get the file.
    #[must_use]
    pub fn patch(&self) -> Patch {
        let write = |run: &Run| Write::bytes(run.offset, run.bytes.as_slice());
        if self.is_empty() {
            return Patch::default();
        }
        Patch::single(self.0.iter().map(write).collect())
    }
}

/// Bytes at an offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Where the first byte goes.
    pub offset: u64,
    /// The bytes, in base64.
    #[serde(with = "super::base64_bytes")]
    #[schemars(with = "String", extend("contentEncoding" = "base64"))]
    pub bytes: Vec<u8>,
}

/// What a disk in the export says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiskFacts {
    /// Its format.
    pub format: DiskFormat,
    /// How it keeps its blocks.
    pub kind: DiskKind,
    /// How large it looks to its guest.
    pub virtual_size: VirtualSize,
    /// The id by which children name it.
    pub own_id: DiskId,
    /// Its parent, where it has one that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentFacts>,
    /// Fields that this version does not know; kept as they are.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The parent of a disk in the export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParentFacts {
    /// The file that the child's locators led to.
    pub path: RelPath,
    /// The id that the child recorded.
    pub id: DiskId,
    /// Fields that this version does not know; kept as they are.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// One stored disk (or other file) that stands for all its occurrences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefDisk {
    /// BLAKE3 of the file as it lies in the store.
    pub id: ContentId,
    /// Its name in the store.
    pub file: String,
    /// Its length in bytes.
    pub length: u64,
    /// When it was modified.
    pub modified: FileTime,
    /// What it is, if a disk that others depend on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<RefDiskFacts>,
    /// The files that it stands for, by path.
    pub used_by: Vec<RelPath>,
    /// Fields that this version does not know; kept as they are.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The identity of a RefDisk that is a parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefDiskFacts {
    /// Its format.
    pub format: DiskFormat,
    /// How it keeps its blocks.
    pub kind: DiskKind,
    /// How large it looks to its guest.
    pub virtual_size: VirtualSize,
    /// The id by which children name it.
    pub own_id: DiskId,
    /// Digest with everything masked that a relocation may touch; absent where nothing may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical: Option<CanonicalId>,
    /// The RefDisk that is its parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ContentId>,
    /// Fields that this version does not know; kept as they are.
    #[serde(flatten)]
    pub unknown: Unknown,
}
