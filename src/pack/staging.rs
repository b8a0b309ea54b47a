//! Copies that have no place yet: a pack to another folder reads each file once, and only then
//! knows where its bytes belong.
//!
//! A copy stands in `.labpack-incoming`, under a name made from its path, and beside a large one a
//! note of what was copied. An interrupted run leaves both, and the next one goes by the note.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rayon::prelude::*;

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
    /// Flushes copies for the pack, all at once.
    volume: Option<VolumeFlush>,
    /// Short copies that are not flushed, and whether they are for the store.
    unflushed: Mutex<Vec<(RelPath, bool)>>,
}

/// On Linux to flush one file lasts for many that were written before it. Elsewhere each costs the
/// same, and to open a file again is not free.
const FLUSHED_LATER: bool = cfg!(target_os = "linux");

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
            unflushed: Mutex::default(),
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
            return Ok(self.finish_short(copy, &how, &file.path, for_store)?);
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
    fn finish_short(
        &self,
        mut copy: TempFile,
        how: &Finish,
        path: &RelPath,
        for_store: bool,
    ) -> Result<(), FsError> {
        if !FLUSHED_LATER {
            return copy.finish_unlisted(how).map(drop);
        }
        copy.dress(how)?;
        copy.write_behind();
        copy.take_name(how.existing)?;
        self.unflushed().push((path.clone(), for_store));
        Ok(())
    }

    fn unflushed(&self) -> MutexGuard<'_, Vec<(RelPath, bool)>> {
        self.unflushed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
        let mut copies = std::mem::take(&mut *self.unflushed());
        if let Some(volume) = self.volume.as_ref().filter(|_| !copies.is_empty())
            && volume.flush()?
        {
            let shared_is_on_it = volume.covers(&fs::stamp(&self.store)?.key);
            copies.retain(|(_, for_store)| *for_store && !shared_is_on_it);
        }
        let flush = |(path, for_store): &(RelPath, bool)| {
            let place = self.place(path, *for_store);
            fs::sync_file(&place)
        };
        copies.par_iter().try_for_each(flush)
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

fn note_of(place: &Path) -> PathBuf {
    place.with_extension("json")
}
