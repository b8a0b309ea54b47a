//! Everything below a folder.

use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::{Entry, look};
use crate::base::RelPath;

/// One thing found by a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where, below the folder that was walked.
    pub path: RelPath,
    /// What.
    pub entry: Entry,
}

/// Something that a walk met and cannot tell about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {why}")]
pub struct BadEntry {
    /// Where.
    pub path: PathBuf,
    /// Why not: the rest of a sentence that begins with the path.
    pub why: String,
}

/// Walks a folder, links not followed, sorted by path part by part, folders before what is in
/// them. Names that are no [`RelPath`] come as errors, one each, and so does what cannot be read.
pub fn walk(root: &Path) -> impl Iterator<Item = Result<Found, BadEntry>> + use<> {
    let root = root.to_owned();
    let entries = WalkDir::new(&root).follow_links(false).sort_by_file_name();
    let below = entries.min_depth(1);
    below.into_iter().map(move |entry| match entry {
        Ok(entry) => found(&root, &entry),
        Err(error) => Err(unreadable(&root, &error)),
    })
}

fn found(root: &Path, entry: &DirEntry) -> Result<Found, BadEntry> {
    let bad = |why| BadEntry {
        path: entry.path().to_owned(),
        why,
    };
    let below = entry.path().strip_prefix(root).unwrap_or(entry.path());
    let path = RelPath::from_system(below).map_err(|error| bad(error.why.to_owned()))?;
    let looked = look(entry.path()).map_err(|error| bad(cannot("be looked at", &error)))?;
    Ok(Found {
        path,
        entry: looked,
    })
}

fn unreadable(root: &Path, error: &walkdir::Error) -> BadEntry {
    let why = error.io_error().map_or_else(
        || cannot("be read", error),
        |error| format!("cannot be read: {error}"),
    );
    BadEntry {
        path: error.path().unwrap_or(root).to_owned(),
        why,
    }
}

fn cannot(what: &str, error: &dyn std::error::Error) -> String {
    let cause = error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string);
    format!("cannot {what}: {cause}")
}
