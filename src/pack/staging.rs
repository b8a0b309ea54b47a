//! Copies that have no place yet: a pack to another folder reads each file once, and only then
//! knows where its bytes belong.
//!
//! A copy stands in `.labpack-incoming`, under a name made from its path, and beside a large one a
//! note of what was copied. An interrupted run leaves both, and the next one goes by the note.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{PackError, layout::INCOMING};
use crate::{
    base::{Attributes, RelPath, Run},
    fs::{self, Entry, Existing, Finish, FsError, SourceFile, TempFile, VolumeFlush},
    manifest::Document,
    plan::{LabFile, Remembered, Seen},
};

/// What is shorter is copied again as fast as a note of it is written: 1 MiB.
const WORTH_A_NOTE: u64 = 1 << 20;

/// Where copies wait.
#[derive(Debug)]
pub(super) struct Staging {
    /// For files that will stand in the pack.
    pack: PathBuf,
    /// For those that will most likely enter the store.
    store: PathBuf,
    /// Flushes short copies, all at once.
    volume: Option<VolumeFlush>,
    /// Whether there are copies that wait for that.
    unflushed: AtomicBool,
    /// Short copies that are flushed one after the other: they stay open until then, for whoever
    /// opens a file again may not hear that it could not be written.
    open: Mutex<Vec<TempFile>>,
}

/// So many copies are open at most until they are flushed: to flush one lasts for what was written
/// before it.
const GROUP: usize = 64;

#[derive(serde::Serialize, serde::Deserialize)]
struct Note {
    format: String,
    version: u32,
    path: RelPath,
    remembered: Remembered,
}

const DOCUMENT: Document = Document {
    format: "labpack-incoming",
    newest: 1,
    max_bytes: 1 << 20,
};

impl Staging {
    /// The staging folders of a pack in `pack` with the store in `store`.
    pub(super) fn of(pack: &Path, store: &Path) -> Self {
        let own = store.starts_with(pack);
        let waiting = pack.join(INCOMING);
        let digest = blake3::hash(pack.to_string_lossy().as_bytes()).to_hex();
        let shared = store.join(format!("{INCOMING}-{}", &digest[..12]));
        Self {
            store: if own { waiting.clone() } else { shared },
            pack: waiting,
            volume: None,
            unflushed: AtomicBool::new(false),
            open: Mutex::default(),
        }
    }

    /// Makes the folders.
    pub(super) fn open(&mut self) -> Result<(), FsError> {
        for folder in self.folders() {
            fs::create_dir_all(folder)?;
            fs::remove_stale_temps(folder)?;
        }
        self.volume = VolumeFlush::of(&self.pack)?;
        Ok(())
    }

    fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        let shared = (self.store != self.pack).then_some(&self.store);
        std::iter::once(&self.pack).chain(shared)
    }

    /// Where the copy of a file waits.
    pub(super) fn place(&self, path: &RelPath, for_store: bool) -> PathBuf {
        let digest = blake3::hash(path.as_str().as_bytes()).to_hex();
        let folder = if for_store { &self.store } else { &self.pack };
        folder.join(&digest[..24])
    }

    /// Returns what is known of a copy that waits already, if the file still looks the same.
    pub(super) fn recall(
        &self,
        file: &LabFile,
        seen: &Seen,
        for_store: bool,
    ) -> Option<Remembered> {
        let place = self.place(&file.path, for_store);
        let bytes = fs::read_bounded(&note_of(&place), DOCUMENT.max_bytes).ok()?;
        let note: Note = DOCUMENT.read(&bytes).ok()?;
        let whole = matches!(fs::look(&place), Ok(Entry::File(stamp)) if stamp.len == seen.length);
        let same = note.path == file.path && note.remembered.seen == *seen;
        (whole && same).then_some(note.remembered)
    }

    /// Begins a copy. Tells whether the bytes are in it already, by block clone.
    pub(super) fn begin(
        &self,
        source: &SourceFile,
        path: &RelPath,
        for_store: bool,
        run: &Run<'_>,
    ) -> Result<(TempFile, bool), PackError> {
        let place = self.place(path, for_store);
        if let Some(clone) = TempFile::clone_of(source, &place, run.meter)? {
            return Ok((clone, true));
        }
        Ok((TempFile::create(&place, run.meter)?, false))
    }

    /// Ends a copy, and takes down what it is a copy of. It is sure to be found after a power cut
    /// once [`Self::settle`] was called.
    pub(super) fn finish(
        &self,
        copy: TempFile,
        file: &LabFile,
        remembered: &Remembered,
        for_store: bool,
    ) -> Result<(), PackError> {
        let how = Finish {
            modified: file.modified,
            // A read-only file could not be replaced everywhere; it becomes so at its place.
            attributes: Attributes {
                read_only: false,
                ..file.attributes
            },
            existing: Existing::Replace,
        };
        if file.length < WORTH_A_NOTE {
            return Ok(self.finish_short(copy, &how)?);
        }
        copy.finish_unlisted(&how)?;
        let note = Note {
            format: DOCUMENT.format.to_owned(),
            version: DOCUMENT.newest,
            path: file.path.clone(),
            remembered: remembered.clone(),
        };
        let bytes = serde_json::to_vec(&note).expect("every key is a string");
        fs::write_atomic(&note_of(&self.place(&file.path, for_store)), &bytes)?;
        Ok(())
    }

    /// Ends a copy of which nothing is taken down: nobody goes by it before [`Self::settle`].
    fn finish_short(&self, mut copy: TempFile, how: &Finish) -> Result<(), FsError> {
        copy.dress(how)?;
        let key = copy.key()?;
        let together = |volume: &VolumeFlush| volume.covers(&key);
        if self.volume.as_ref().is_some_and(together) {
            self.unflushed.store(true, Ordering::Relaxed);
            return copy.take_name(Existing::Replace).map(drop);
        }
        copy.write_behind();
        let mut open = self.still_open();
        open.push(copy);
        if open.len() < GROUP {
            return Ok(());
        }
        let group = std::mem::take(&mut *open);
        drop(open);
        name(group)
    }

    fn still_open(&self) -> MutexGuard<'_, Vec<TempFile>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that every copy is found after a power cut.
    pub(super) fn settle(&self) -> Result<(), FsError> {
        self.flush_short()?;
        for folder in self.folders() {
            if matches!(fs::look(folder)?, Entry::Folder(_)) {
                fs::sync_folder(folder)?;
            }
        }
        Ok(())
    }

    fn flush_short(&self) -> Result<(), FsError> {
        name(std::mem::take(&mut *self.still_open()))?;
        let unflushed = self.unflushed.swap(false, Ordering::Relaxed);
        let Some(volume) = self.volume.as_ref().filter(|_| unflushed) else {
            return Ok(());
        };
        if volume.flush()? {
            return Ok(());
        }
        for folder in self.folders() {
            for found in fs::walk(folder) {
                let found = found.map_err(|bad| {
                    FsError::from_io("list", &bad.path, std::io::Error::other(bad.why))
                })?;
                fs::sync_file(&found.path.below(folder))?;
            }
        }
        Ok(())
    }

    /// Removes whatever still waits, and the folders.
    pub(super) fn clear(&self) -> Result<(), FsError> {
        for folder in self.folders() {
            if matches!(fs::look(folder)?, Entry::Folder(_)) {
                for found in fs::walk(folder).flatten() {
                    fs::remove_file(&found.path.below(folder))?;
                }
                fs::remove_empty_folder(folder)?;
            }
        }
        Ok(())
    }
}

/// Flushes copies, and gives them their names.
fn name(copies: Vec<TempFile>) -> Result<(), FsError> {
    copies.iter().try_for_each(TempFile::flush)?;
    let mut copies = copies.into_iter();
    copies.try_for_each(|copy| copy.take_name(Existing::Replace).map(drop))
}

/// Takes down that a copy is no copy after all: the next run makes it again.
pub(super) fn forget(place: &Path) -> Result<(), FsError> {
    fs::remove_file(&note_of(place))
}

fn note_of(place: &Path) -> PathBuf {
    place.with_extension("json")
}
