//! The folders that a run was given, and does not leave.
//!
//! A path may be checked and act elsewhere all the same: between the two somebody puts a link
//! where a folder was. While a [`Fence`] stands, whatever is opened, made, renamed or removed
//! below its folders is reached from the folder's handle, one part after the other, and a link on
//! the way is an error. The folder itself may be reached through links: the user named it.
//!
//! Windows has no such handles in reach of `std`; there a fence does nothing.

use std::{
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

static GIVEN: RwLock<Vec<PathBuf>> = RwLock::new(Vec::new());

/// Keeps this process from following links below some folders, as long as it lives.
#[derive(Debug)]
#[must_use]
pub struct Fence(Vec<PathBuf>);

impl Fence {
    /// Puts up a fence around folders, which need not be there yet. Their paths are absolute.
    pub fn around<'a>(folders: impl IntoIterator<Item = &'a Path>) -> Self {
        let folders: Vec<PathBuf> = folders.into_iter().map(Path::to_owned).collect();
        let mut given = GIVEN.write().unwrap_or_else(PoisonError::into_inner);
        given.extend(folders.iter().cloned());
        Self(folders)
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        let mut given = GIVEN.write().unwrap_or_else(PoisonError::into_inner);
        for folder in &self.0 {
            if let Some(at) = given.iter().position(|other| other == folder) {
                given.swap_remove(at);
            }
        }
    }
}

/// Returns the innermost folder with a fence around it that `path` lies in.
pub(super) fn around(path: &Path) -> Option<PathBuf> {
    let given = GIVEN.read().unwrap_or_else(PoisonError::into_inner);
    let around = given
        .iter()
        .filter(|folder| path != folder.as_path() && path.starts_with(folder));
    around
        .max_by_key(|folder| folder.as_os_str().len())
        .cloned()
}
