//! `labpack.seen.json`: what the last run knew of files.

use std::{collections::BTreeMap, path::Path};

use crate::{
    base::{FileTime, RelPath},
    fs::{self, FsError},
    plan::{Remembered, SeenFiles},
};

/// What is known of files, by path.
pub(super) type Memory = BTreeMap<RelPath, Remembered>;

/// Reads what the last run knew of files; nothing where that cannot be read.
pub(super) fn recall(pack: &Path) -> Memory {
    read(pack).map(|seen| seen.files).unwrap_or_default()
}

/// Reads when the folder of the export was modified before it became a pack.
pub(super) fn recall_root(pack: &Path) -> Option<FileTime> {
    read(pack)?.root
}

fn read(pack: &Path) -> Option<SeenFiles> {
    let path = pack.join(SeenFiles::FILE_NAME);
    let bytes = fs::read_bounded(&path, SeenFiles::MAX_BYTES).ok()?;
    SeenFiles::read(&bytes).ok()
}

/// Keeps what this run knows of files for the next one.
pub(super) fn remember<'a, I>(
    pack: &Path,
    files: impl Fn() -> I,
    root: Option<FileTime>,
) -> Result<(), FsError>
where
    I: Iterator<Item = (&'a RelPath, Remembered)>,
{
    fs::write_atomic_with(&pack.join(SeenFiles::FILE_NAME), |out| {
        SeenFiles::write(root, &files, out)
    })
}
