//! `labpack.seen.json`: what the last run knew of files.

use std::path::Path;

use crate::{
    base::{FileTime, RelPath},
    fs::{self, FsError},
    plan::{Lab, Remembered, RememberedFiles, SeenFiles},
};

/// Reads what the last run knew of the files of a lab; nothing where that cannot be read.
pub(super) fn recall(pack: &Path, lab: &Lab) -> RememberedFiles {
    let mut known = read(pack).map(|seen| seen.files).unwrap_or_default();
    known.keep(|path| Some(&lab.files[lab.find(path)?].path));
    known
}

/// Reads when the folder of the export was modified before it became a pack.
pub(super) fn recall_root(pack: &Path) -> Option<FileTime> {
    read(pack)?.root
}

fn read(pack: &Path) -> Option<SeenFiles> {
    let path = pack.join(SeenFiles::FILE_NAME);
    SeenFiles::read(fs::open_bounded(&path, SeenFiles::MAX_BYTES).ok()?).ok()
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
