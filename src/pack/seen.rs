//! `labpack.seen.json`: what files looked like when they were last read.
//!
//! A file that still looks so need not be read again. Losing this costs time and nothing else;
//! it is never trusted alone for a file that is about to be removed.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::layout::SEEN;
use crate::{
    base::{CanonicalId, ContentId, FileTime, RelPath},
    fs::{self, FsError},
    manifest::Document,
    plan::{Digest, Seen},
};

/// What reading a file once told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// What it looked like.
    pub(super) seen: Seen,
    /// BLAKE3 of its bytes.
    pub(super) content: ContentId,
    /// Digest without what a relocation may touch, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) canonical: Option<CanonicalId>,
    /// Its store form, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) store_form: Option<RememberedForm>,
    /// What its copy in the pack looked like, where the pack is a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) copy: Option<Seen>,
}

/// The store form of a disk beside a parent of this name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RememberedForm {
    pub(super) parent: String,
    pub(super) id: ContentId,
}

impl Remembered {
    /// What `digest` tells about a file that looks like `seen`.
    pub(super) fn of(seen: Seen, digest: &Digest, parent: Option<&str>) -> Self {
        let identity = digest.identity.as_ref();
        let form = identity.and_then(|identity| identity.store_form.as_ref());
        Self {
            seen,
            content: digest.content,
            canonical: identity.map(|identity| identity.canonical),
            store_form: form.zip(parent).map(|(form, parent)| RememberedForm {
                parent: parent.to_owned(),
                id: form.id,
            }),
            copy: None,
        }
    }
}

/// What is known of files, by path.
pub(super) type Memory = BTreeMap<RelPath, Remembered>;

#[derive(Serialize, Deserialize)]
struct SeenFile {
    format: String,
    version: u32,
    /// When the folder of the export was modified, where the pack is made in place. A manifest
    /// only knows what is below that folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<FileTime>,
    files: Memory,
}

const DOCUMENT: Document = Document {
    format: "labpack-seen",
    newest: 1,
    max_bytes: 256 << 20,
};

/// Reads what the last run knew of files; nothing where that cannot be read.
pub(super) fn recall(pack: &Path) -> Memory {
    read(pack).map(|file| file.files).unwrap_or_default()
}

/// Reads when the folder of the export was modified before it became a pack.
pub(super) fn recall_root(pack: &Path) -> Option<FileTime> {
    read(pack)?.root
}

fn read(pack: &Path) -> Option<SeenFile> {
    let bytes = fs::read_bounded(&pack.join(SEEN), DOCUMENT.max_bytes).ok()?;
    DOCUMENT.read(&bytes).ok()
}

/// Keeps what this run knows for the next one.
pub(super) fn remember(pack: &Path, files: Memory, root: Option<FileTime>) -> Result<(), FsError> {
    let file = SeenFile {
        format: DOCUMENT.format.to_owned(),
        version: DOCUMENT.newest,
        root,
        files,
    };
    let bytes = serde_json::to_vec(&file).expect("every key is a string");
    fs::write_atomic(&pack.join(SEEN), &bytes)
}
