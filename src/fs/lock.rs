//! A lock on a folder, among processes.

use std::{
    fs::{File, TryLockError},
    path::Path,
    thread::sleep,
    time::Duration,
};

use super::{
    FsError, deeds,
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
        loop {
            let file = open(lock_file)?;
            match file.try_lock() {
                Ok(()) if is_named(&file, lock_file) => return Ok(Some(Self { file })),
                // Who had it removed it as the last of its traces: that lock is nobody's any more.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => {
                    return Err(FsError::io("lock", lock_file, error));
                }
            }
        }
    }

    /// Gives the lock back, and removes its file: to whoever waits for it, the next one is new.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(self, lock_file: &Path) -> Result<(), FsError> {
        // While it is held, or somebody may have taken it just before it goes.
        deeds::remove_file(lock_file)
    }
}

/// Tells whether this very file stands there; where that cannot be told, it is believed.
fn is_named(file: &File, lock_file: &Path) -> bool {
    match (system::stamp_of(file), system::stamp_at(lock_file, false)) {
        (Ok(held), Ok(named)) => held.key == named.key,
        (Ok(_), Err(error)) => error.kind() != std::io::ErrorKind::NotFound,
        (Err(_), _) => true,
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
