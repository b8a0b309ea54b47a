//! Files that are whole get their names, each once it is flushed. Short ones wait for one another:
//! what is about to be done is taken down once for all of them, and the volume flushed once where
//! it can be.

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    UnpackError,
    memory::{Intent, RunLog},
};
use crate::{
    base::ContentId,
    fs::{self, Existing, Finish, TempFile, VolumeFlush},
    plan::{FileRecord, FileRecords, FileStep, Seen},
};

/// So many files wait for a flush at most, for each of them is open.
const GROUP: usize = 64;
/// A longer copy is flushed by itself, while others are made.
const LIGHT: u64 = 1 << 20;

/// A file that lacks nothing but its time, its flush and its name.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    pub(super) step: &'a FileStep,
    pub(super) file: TempFile,
    /// Whether its bytes came by block clone.
    pub(super) cloned: bool,
    /// The digest of its bytes, as far as it is known.
    pub(super) written: Option<ContentId>,
    pub(super) length: u64,
}

/// Gives files their names.
#[derive(Debug)]
pub(super) struct Finisher<'a> {
    log: &'a RunLog,
    volume: Option<&'a VolumeFlush>,
    waiting: Mutex<Vec<Whole<'a>>>,
    named: Mutex<FileRecords>,
}

impl<'a> Finisher<'a> {
    pub(super) fn new(log: &'a RunLog, volume: Option<&'a VolumeFlush>) -> Self {
        Self {
            log,
            volume,
            waiting: Mutex::default(),
            named: Mutex::default(),
        }
    }

    /// Takes a file, which may have to wait for others until it gets its name.
    pub(super) fn take(&self, whole: Whole<'a>) -> Result<(), UnpackError> {
        if !whole.cloned && whole.length > LIGHT {
            return self.name(vec![whole], None);
        }
        let mut waiting = lock(&self.waiting);
        waiting.push(whole);
        if waiting.len() < GROUP {
            return Ok(());
        }
        let group = std::mem::take(&mut *waiting);
        drop(waiting);
        self.name(group, self.volume)
    }

    /// Names those that still wait; returns what is to be remembered of all files.
    pub(super) fn close(&self) -> Result<FileRecords, UnpackError> {
        let group = std::mem::take(&mut *lock(&self.waiting));
        self.name(group, self.volume)?;
        Ok(std::mem::take(&mut *lock(&self.named)))
    }

    /// Flushes files, by one call where there is one, and names them.
    fn name(
        &self,
        mut group: Vec<Whole<'a>>,
        volume: Option<&VolumeFlush>,
    ) -> Result<(), UnpackError> {
        if group.is_empty() {
            return Ok(());
        }
        for whole in &mut group {
            whole.file.dress(&whole.how())?;
            whole.file.write_behind();
        }
        self.log.intend(group.iter().map(Whole::intent))?;
        let flushed = flushed(volume)?;
        for whole in &group {
            if let Some(volume) = flushed
                && volume.covers(&whole.file.key()?)
            {
                continue;
            }
            whole.file.flush()?;
        }
        for whole in group {
            let record = whole.name()?;
            self.log.wrote(&record)?;
            lock(&self.named).insert(record);
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Whole<'_> {
    fn how(&self) -> Finish {
        Finish {
            modified: self.step.modified,
            attributes: self.step.attributes,
            existing: if self.step.action.replaces() {
                Existing::Replace
            } else {
                Existing::Refuse
            },
        }
    }

    fn intent(&self) -> Intent {
        Intent {
            path: self.step.path.clone(),
            packed: self.step.packed,
            written: self.written,
            length: self.length,
            modified: self.step.modified,
            parent: self.step.parent.clone(),
        }
    }

    fn name(self) -> Result<FileRecord, UnpackError> {
        let existing = self.how().existing;
        let stamp = self.file.take_name(existing)?;
        Ok(FileRecord {
            path: self.step.path.clone(),
            packed: self.step.packed,
            written: self.written,
            seen: Seen::new(&stamp, self.step.vhdx),
            parent: self.step.parent.clone(),
        })
    }
}

/// Flushes folders: names that files and links got in them last from then on.
pub(super) fn flush_folders(
    folders: impl IntoIterator<Item = PathBuf>,
    volume: Option<&VolumeFlush>,
) -> Result<(), UnpackError> {
    let flushed = flushed(volume)?;
    for folder in folders {
        if let Some(volume) = flushed
            && volume.covers(&fs::stamp(&folder)?.key)
        {
            continue;
        }
        fs::sync_folder(&folder)?;
    }
    Ok(())
}

/// Flushes a volume, and returns it where that was possible.
fn flushed(volume: Option<&VolumeFlush>) -> Result<Option<&VolumeFlush>, UnpackError> {
    Ok(match volume {
        Some(volume) if volume.flush()? => Some(volume),
        _ => None,
    })
}
