//! What a pack will do, as a value that the journal can keep.

mod planner;

pub use planner::Planner;

use serde::{Deserialize, Serialize};

use super::{Masked, Seen};
use crate::{
    base::{ByteRange, CanonicalId, ContentId, DiskId, Patch, Payload, RelPath, Write},
    manifest::{Manifest, RefDisk, StorePlace},
};

/// What the user asked for.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Parents with a single occurrence go into the store too.
    pub all_parents: bool,
    /// Where the RefDisks are.
    pub store: StorePlace,
    /// Occurrences are removed from the export (in place), not just left out of the copy.
    pub in_place: bool,
}

/// A RefDisk that stands in the store already.
#[derive(Debug, Clone)]
pub struct Known {
    /// The RefDisk as the last manifest or the store's index describes it.
    pub disk: RefDisk,
    /// Its masked bytes; empty where nothing may be masked.
    pub masked: Masked,
}

/// Somebody who knows what is in the store.
pub trait KnownDisks {
    /// Returns a RefDisk of the store that is this very file.
    fn by_id(&self, id: &ContentId) -> Option<Known>;

    /// Returns a RefDisk of the store that is another export of the disk described.
    fn twin(
        &self,
        canonical: &CanonicalId,
        own_id: DiskId,
        parent: Option<ContentId>,
    ) -> Option<Known>;
}

/// What a pack will do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PackPlan {
    /// What `labpack.json` will say.
    pub manifest: Manifest,
    /// RefDisks that enter the store, parents before children.
    pub entries: Vec<StoreEntry>,
    /// Occurrences that are removed from the export, once their RefDisk stands.
    pub removals: Vec<Removal>,
    /// What is saved, VM by VM; files outside of VM folders under an empty name.
    pub savings: Vec<Saving>,
}

/// A file that enters the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoreEntry {
    /// The RefDisk that it becomes.
    pub id: ContentId,
    /// Its name in the store.
    pub file: String,
    /// The occurrence whose bytes it gets.
    pub from: RelPath,
    /// What that occurrence looked like.
    pub seen: Seen,
    /// What is written over those bytes: store form, for a disk with a parent.
    pub patch: Vec<StoredWrite>,
}

/// One write of a patch, as the journal keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredWrite {
    offset: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zeros: Option<u64>,
}

/// An occurrence that is removed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Removal {
    /// Its path from the top of the export.
    pub path: RelPath,
    /// What it looked like when it was hashed.
    pub seen: Seen,
    /// The RefDisk that stands for it.
    pub ref_disk: ContentId,
}

/// What a VM folder had, and what of it is stored elsewhere.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Saving {
    /// The VM's name.
    pub vm: String,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Bytes of its files that are in the store.
    pub in_store: u64,
}

impl StoredWrite {
    /// The writes of `patch`.
    #[must_use]
    pub fn of(patch: &Patch) -> Vec<Self> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let store = |write: &Write| match &write.payload {
            Payload::Bytes(bytes) => Self {
                offset: write.offset,
                bytes: Some(STANDARD.encode(bytes)),
                zeros: None,
            },
            Payload::Zeros(len) => Self {
                offset: write.offset,
                bytes: None,
                zeros: Some(*len),
            },
        };
        patch.writes().map(store).collect()
    }

    /// The patch of these writes; `None` where one of them cannot be.
    #[must_use]
    pub fn patch(writes: &[Self]) -> Option<Patch> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let write = |stored: &Self| match (&stored.bytes, stored.zeros) {
            (Some(text), None) => Some(Write::bytes(stored.offset, STANDARD.decode(text).ok()?)),
            (None, Some(len)) => Some(Write::zeros(ByteRange::new(stored.offset, len)?)),
            _ => None,
        };
        writes
            .iter()
            .map(write)
            .collect::<Option<Vec<_>>>()
            .map(Patch::single)
    }
}
