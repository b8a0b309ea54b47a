//! Files of the pack whose bytes need not be read: they look as they did when they were last.
//!
//! Only a block clone goes by this. What is copied is read, and what is read is compared.

use super::places::Places;
use crate::{
    base::{ContentId, RelPath, Run},
    fs,
    manifest::{Manifest, StorePlace},
    plan::{Seen, SeenFiles},
    store::{Entry, Store},
};

/// What the last pack, and the store, know of the pack's files.
#[derive(Debug, Default)]
pub(super) struct Known {
    files: Option<SeenFiles>,
    ref_disks: Vec<Entry>,
}

impl Known {
    /// Nothing where it cannot be read: that costs time and nothing else.
    pub(super) fn of(places: &Places, manifest: &Manifest, run: &Run<'_>) -> Self {
        let path = places.pack.join(SeenFiles::FILE_NAME);
        let seen = fs::open_bounded(&path, SeenFiles::MAX_BYTES).ok();
        let store = match manifest.store {
            StorePlace::Own => places.own_store(),
            StorePlace::Shared => places.store(),
        };
        let entries = Store::open(&store, run).map(|store| store.entries());
        Self {
            files: seen.and_then(|seen| SeenFiles::read(seen).ok()),
            ref_disks: entries.unwrap_or_default(),
        }
    }

    /// What the file at `path` of the pack looked like when it had this digest.
    pub(super) fn file(&self, path: &RelPath, digest: ContentId) -> Option<Seen> {
        let known = self.files.as_ref()?.files.get(path)?;
        (known.content == digest).then(|| known.in_pack())
    }

    /// What a RefDisk of the pack looked like when its bytes were right.
    pub(super) fn ref_disk(&self, id: ContentId) -> Option<Seen> {
        let entry = self.ref_disks.iter().find(|entry| entry.id == id)?;
        // One that was relinked for a host is not the file that the pack had.
        let stamp = entry.stamp.filter(|_| entry.parent_file.is_none())?;
        Some(Seen {
            key: stamp.key,
            length: stamp.length,
            modified: stamp.modified,
            disk: None,
        })
    }
}
