//! What files looked like when they were last read, and what reading them told.
//!
//! A file that still looks so need not be read again. Losing this costs time and nothing else; it
//! is never trusted alone for a file that is about to be removed.

use std::{collections::BTreeMap, io};

use serde::{Deserialize, Serialize, Serializer};

use super::{Digest, Seen};
use crate::{
    base::{CanonicalId, ContentId, FileTime, RelPath},
    manifest::{Document, DocumentError},
};

/// What reading a file once told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// What it looked like.
    pub seen: Seen,
    /// BLAKE3 of its bytes.
    pub content: ContentId,
    /// Digest without what a relocation may touch, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical: Option<CanonicalId>,
    /// Its store form, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_form: Option<Box<RememberedForm>>,
    /// What its copy in the pack looked like, where the pack is a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<Box<Seen>>,
}

/// The store form of a disk beside a parent of this name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedForm {
    /// The name of the parent's file.
    pub parent: String,
    /// BLAKE3 of the store form.
    pub id: ContentId,
}

impl Remembered {
    /// Returns what the file in the pack looked like.
    #[must_use]
    pub fn in_pack(&self) -> Seen {
        let copy = self.copy.as_ref().map(|copy| Seen {
            disk: self.seen.disk,
            ..**copy
        });
        copy.unwrap_or(self.seen)
    }

    /// What `digest` tells about a file that looks like `seen`.
    #[must_use]
    pub fn of(seen: Seen, digest: &Digest, parent: Option<&str>) -> Self {
        let identity = digest.identity.as_ref();
        let form = identity.map(|identity| &identity.store_form);
        Self {
            seen,
            content: digest.content,
            canonical: identity.map(|identity| identity.canonical),
            store_form: form.zip(parent).map(|(form, parent)| {
                Box::new(RememberedForm {
                    parent: parent.to_owned(),
                    id: form.id,
                })
            }),
            copy: None,
        }
    }
}

/// The file `labpack.seen.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SeenFiles {
    format: String,
    version: u32,
    /// When the folder of the export was modified, where the pack is made in place. A manifest
    /// only knows what is below that folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<FileTime>,
    /// What is known of files, by path.
    pub files: BTreeMap<RelPath, Remembered>,
}

const DOCUMENT: Document = Document {
    format: "labpack-seen",
    newest: 1,
    max_bytes: SeenFiles::MAX_BYTES,
};

impl SeenFiles {
    /// Its name in a pack.
    pub const FILE_NAME: &str = "labpack.seen.json";
    /// A longer file is not read.
    pub const MAX_BYTES: u64 = 256 << 20;

    /// Reads the bytes of the file.
    ///
    /// # Errors
    /// Where they are no such file, or one of a newer version.
    pub fn read(bytes: &[u8]) -> Result<Self, DocumentError> {
        DOCUMENT.read(bytes)
    }

    /// Writes the file, one of its files after the other: there may be very many.
    ///
    /// # Errors
    /// What `out` says; where it would be longer than any that is read.
    pub fn write<'a, I>(
        root: Option<FileTime>,
        files: impl Fn() -> I,
        out: &mut dyn io::Write,
    ) -> io::Result<()>
    where
        I: Iterator<Item = (&'a RelPath, Remembered)>,
    {
        let written = Written {
            format: DOCUMENT.format,
            version: DOCUMENT.newest,
            root,
            files: Each(files),
        };
        DOCUMENT.write(&written, out)
    }
}

/// [`SeenFiles`] on their way out.
#[derive(Serialize)]
struct Written<F: Serialize> {
    format: &'static str,
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<FileTime>,
    files: F,
}

struct Each<F>(F);

impl<'a, F, I> Serialize for Each<F>
where
    F: Fn() -> I,
    I: Iterator<Item = (&'a RelPath, Remembered)>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map((self.0)())
    }
}
