//! A lock on a folder, among processes.

use std::{
    fs::{File, TryLockError},
    path::Path,
    thread::sleep,
    time::Duration,
};

use super::{
    FsError,
    seam::{StepKind, step},
    system,
};
use crate::base::Run;

/// How often a waiting process asks again, for the lock and for Ctrl-C.
const AGAIN: Duration = Duration::from_millis(50);

/// A lock on a folder among processes, and among threads: an operating-system lock on a file in
/// it, which dies with its process. The file stays behind and means nothing.
#[derive(Debug)]
pub struct FolderLock {
    #[expect(dead_code, reason = "closing it gives the lock back")]
    file: File,
}

impl FolderLock {
    /// Takes the lock; where somebody has it, says so once through `run.progress` and waits.
    ///
    /// # Errors
    /// [`FsError::Cancelled`] once the user does not want to wait; what the system says.
    pub fn acquire(lock_file: &Path, run: &Run<'_>) -> Result<Self, FsError> {
        let mut told = false;
        loop {
            if let Some(lock) = Self::try_acquire(lock_file)? {
                return Ok(lock);
            }
            if !told {
                let held = lock_file.display();
                let message = format!("waiting for another labpack, which holds `{held}`");
                run.progress.waiting(&message);
                told = true;
            }
            run.go_on()?;
            sleep(AGAIN);
        }
    }

    /// Takes the lock; `None` if somebody else has it.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_acquire(lock_file: &Path) -> Result<Option<Self>, FsError> {
        let file = open(lock_file)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(FsError::io("lock", lock_file, error)),
        }
    }
}

fn open(lock_file: &Path) -> Result<File, FsError> {
    if let Ok(file) = system::open_lock(lock_file, false) {
        return Ok(file);
    }
    step(StepKind::Create, lock_file, || {
        system::open_lock(lock_file, true)
    })
}
