//! Flushing everything that is on its way to a volume, in one call.
//!
//! To flush a thousand files one by one makes the disk wait a thousand times; it can as well wait
//! once for all of them.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    FileKey, FsError,
    look::stamp,
    seam::{StepKind, step},
    syncfs::WholeVolume,
};

/// A volume that flushes all of its files and folders at once, those of other programs among them.
///
/// There is such a call on Linux; it is used on file systems that bring everything to the disk
/// before it returns, and since Linux 5.18, which tells of every failure: `syncfs(2)`.
#[derive(Debug)]
pub struct VolumeFlush {
    /// Held open since before the first write: an error is told to those that were there.
    volume: WholeVolume,
    path: PathBuf,
    key: u64,
}

impl VolumeFlush {
    /// Prepares for flushing the volume of `folder`; to be called before anything is written.
    /// `None` where each file has to be flushed by itself.
    ///
    /// # Errors
    /// What the system says of the folder.
    pub fn of(folder: &Path) -> Result<Option<Self>, FsError> {
        let key = stamp(folder)?.key.volume;
        let opened = WholeVolume::open(folder);
        let opened = opened.map_err(FsError::when("open", folder))?;
        Ok(opened.map(|volume| Self {
            volume,
            path: folder.to_owned(),
            key,
        }))
    }

    /// Tells whether a file or folder is among those that are flushed. Btrfs takes a subvolume for
    /// another volume: what lies there is flushed by itself.
    #[must_use]
    pub fn covers(&self, key: &FileKey) -> bool {
        self.key == key.volume
    }

    /// Flushes the volume. False where that is not possible after all, and each file has to be
    /// flushed by itself.
    ///
    /// # Errors
    /// What the system says; anything may be lost then that was written since [`VolumeFlush::of`].
    pub fn flush(&self) -> Result<bool, FsError> {
        let flushed = step(StepKind::FlushVolume, &self.path, || self.volume.flush());
        match flushed {
            Err(FsError::Io { source, .. }) if source.kind() == io::ErrorKind::Unsupported => {
                Ok(false)
            }
            flushed => flushed.map(|()| true),
        }
    }
}
