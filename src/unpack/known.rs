//! Files of the pack whose bytes need not be read: they look as they did when they were last.
//!
//! Only block clones and further names go by this. What is copied is read, and what is read is
//! compared.

use std::{
    collections::HashMap,
    sync::{Mutex, OnceLock, PoisonError},
};

use super::places::Places;
use crate::{
    base::{ContentId, RelPath, Run},
    fs,
    manifest::{Manifest, StorePlace},
    plan::{FileRecord, FileRecords, FileSource, FileStep, Seen, SeenFiles, UnpackPlan},
    store::{Entry, Store},
};

/// What the last pack, and the store, know of the pack's files.
#[derive(Debug)]
pub(super) struct Known<'a> {
    places: &'a Places,
    plan: &'a UnpackPlan,
    /// Read when the first is asked for: where no block is cloned, nobody asks.
    files: OnceLock<Mutex<FileRecords>>,
    ref_disks: Vec<Entry>,
}

impl<'a> Known<'a> {
    /// Nothing where it cannot be read: that costs time and nothing else.
    pub(super) fn of(
        places: &'a Places,
        manifest: &Manifest,
        plan: &'a UnpackPlan,
        run: &Run<'_>,
    ) -> Self {
        let store = match manifest.store {
            StorePlace::Own => places.own_store(),
            StorePlace::Shared => places.store(),
        };
        let entries = Store::open(&store, run).map(|store| store.entries());
        Self {
            places,
            plan,
            files: OnceLock::new(),
            ref_disks: entries.unwrap_or_default(),
        }
    }

    /// What the file at `path` of the pack looked like when it had this digest. Each is told once
    /// and then forgotten: by and by, as much is remembered of what was written.
    pub(super) fn take_file(&self, path: &RelPath, digest: ContentId) -> Option<Seen> {
        let read = || Mutex::new(self.files().unwrap_or_default());
        let mut files = self
            .files
            .get_or_init(read)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = files.remove(path)?;
        (known.packed == digest).then_some(known.seen)
    }

    /// Reads what is known of the files that are to be written.
    fn files(&self) -> Option<FileRecords> {
        let path = self.places.pack.join(SeenFiles::FILE_NAME);
        let seen = fs::open_bounded(&path, SeenFiles::MAX_BYTES).ok()?;
        let steps = self.plan.files.iter();
        let wanted: HashMap<&RelPath, &FileStep> = steps
            .filter(|step| step.action.writes() && step.source == FileSource::Pack)
            .map(|step| (&step.path, step))
            .collect();
        let mut files = FileRecords::default();
        let read = SeenFiles::read(seen, |path, known| {
            if let Some(step) = wanted.get(&path) {
                files.insert(FileRecord {
                    path: step.path.clone(),
                    packed: known.content,
                    written: Some(known.content),
                    seen: known.in_pack(),
                    parent: None,
                });
            }
        });
        read.ok().map(|_| files)
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
