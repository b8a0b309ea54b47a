//! What stands at a path.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{FsError, Stamp, system};
use crate::base::FileTime;

/// What stands at a path, not followed if it is a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Missing,
    /// A file.
    File(Stamp),
    /// A folder, last modified then.
    Folder(FileTime),
    /// A symbolic link or junction, which leads there.
    Link(PathBuf),
    /// Something else: a device, a pipe.
    Other,
}

/// Tells what stands at `path`, not followed if it is a link.
///
/// # Errors
/// What the system says; that nothing stands there is no error.
pub fn look(path: &Path) -> Result<Entry, FsError> {
    match system::look(path) {
        Err(error) if is_missing(&error) => Ok(Entry::Missing),
        found => found.map_err(FsError::when("look at", path)),
    }
}

/// Nothing can stand below what is no folder.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Returns the stamp of the file or folder at `path`, links followed.
///
/// # Errors
/// What the system says.
pub fn stamp(path: &Path) -> Result<Stamp, FsError> {
    system::stamp_at(path, true).map_err(FsError::when("look at", path))
}

/// Returns how many bytes a copy of the file at `path` will take up: its length, less the holes
/// that the copy will have as well.
///
/// # Errors
/// What the system says.
pub fn bytes_to_copy(path: &Path) -> Result<u64, FsError> {
    system::bytes_to_copy(path).map_err(FsError::when("look at", path))
}

/// Returns the names of a file's alternate data streams, which only Windows has.
///
/// # Errors
/// What the system says.
pub fn other_streams(path: &Path) -> Result<Vec<String>, FsError> {
    system::other_streams(path).map_err(FsError::when("look at the streams of", path))
}

/// Makes a path absolute without looking at the disk and without following links; `..` is taken
/// off by text, on Windows by its rules.
///
/// # Errors
/// What the system says; an empty path is an error.
pub fn absolute(path: &Path) -> Result<PathBuf, FsError> {
    system::absolute(path).map_err(FsError::when("make absolute", path))
}
