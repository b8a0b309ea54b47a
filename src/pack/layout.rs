//! What labpack calls its own files in a pack.

use std::path::{Path, PathBuf};

use crate::plan::SeenFiles;

/// The folder of RefDisks.
pub(super) const STORE: &str = "RefDisk";
/// What is being done, until it is done.
pub(super) const JOURNAL: &str = "labpack.journal";
/// What files looked like when they were last read.
pub(super) const SEEN: &str = SeenFiles::FILE_NAME;
/// The lock among processes.
pub(super) const LOCK: &str = ".labpack.lock";
/// Copies that have no place yet.
pub(super) const INCOMING: &str = ".labpack-incoming";

/// Names at the top of a pack that are labpack's.
pub(super) fn is_own(name: &str) -> bool {
    name.starts_with(INCOMING)
        || [
            STORE,
            JOURNAL,
            SEEN,
            LOCK,
            crate::manifest::Manifest::FILE_NAME,
        ]
        .contains(&name)
        || crate::fs::is_temp_name(name)
}

/// Where a file stands that is on its way from or to `target`.
pub(super) fn moving(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.labpack-move"))
}

/// Where a file stands that is on its way into a store as `target`, or back to `pack`: several
/// packs may bring the same RefDisk to one store at once.
pub(super) fn entering(target: &Path, pack: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let pack = blake3::hash(pack.as_os_str().as_encoded_bytes()).to_hex();
    target.with_file_name(format!(".{name}.{}.labpack-move", &pack[..8]))
}
