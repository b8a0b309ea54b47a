//! What an unpack leaves beside a lab, so that the next run knows what it wrote.

use std::{
    borrow::Cow,
    io::{self, BufWriter},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{FileRecords, Link, LinkRecord};
use crate::{
    base::ContentId,
    manifest::{Document, DocumentError, now},
};

/// What an unpack left: `labpack-unpacked.json` at the top of the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Always `labpack-receipt`.
    pub format: String,
    /// The version of the format: 1.
    pub version: u32,
    /// Who wrote it.
    pub tool: String,
    /// When, in UTC.
    pub created: String,
    /// The pack, as an absolute path of this system.
    pub pack: String,
    /// The store: from the destination if it is in it, else as an absolute path of this system;
    /// absent where no disk is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// How VMs come to their shared parents.
    pub link: Link,
    /// The RefDisks that are in use.
    pub ref_disks: Vec<ContentId>,
    /// The files that were written, by path.
    pub files: FileRecords,
    /// The links that were made, by path.
    pub links: Vec<LinkRecord>,
}

impl Receipt {
    /// What `format` says.
    pub const FORMAT: &'static str = "labpack-receipt";
    /// The newest version that is read, and the one written. 1: the first.
    pub const VERSION: u32 = 1;
    /// A longer file is refused.
    pub const MAX_BYTES: u64 = 256 * 1024 * 1024;
    const DOCUMENT: Document = Document {
        format: Self::FORMAT,
        newest: Self::VERSION,
        max_bytes: Self::MAX_BYTES,
    };

    /// Reads a receipt from the bytes of its file.
    ///
    /// # Errors
    /// Where they are no receipt, or one of a newer version.
    pub fn read<'a>(bytes: impl Into<Cow<'a, [u8]>>) -> Result<Self, DocumentError> {
        Self::DOCUMENT.read(bytes)
    }

    /// Writes its file, piece by piece.
    ///
    /// # Errors
    /// What `out` says; where it would be longer than any that is read.
    pub fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        Self::DOCUMENT.write(self, out)
    }

    /// Tells whether two receipts differ in nothing but the time when they were written.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.gist() == other.gist()
    }

    /// Returns a digest of what it says, without the time when it was written: the same for
    /// receipts that say the same.
    ///
    /// # Panics
    /// Never: every value has a JSON form.
    #[must_use]
    pub fn gist(&self) -> ContentId {
        let Self {
            format,
            version,
            tool,
            created: _,
            pack,
            store,
            link,
            ref_disks,
            files,
            links,
        } = self;
        let about = (format, version, tool, pack, store, link);
        let mut out = BufWriter::new(blake3::Hasher::new());
        serde_json::to_writer(&mut out, &(about, ref_disks, files, links))
            .expect("every value has a JSON form");
        let hasher = out.into_inner();
        let hasher = hasher.expect("a hasher takes all bytes");
        hasher.finalize().into()
    }

    /// Begins the receipt of the pack in the folder `pack`.
    #[must_use]
    pub fn new(pack: &Path, store: Option<&Path>, link: Link) -> Self {
        Self {
            format: Self::FORMAT.to_owned(),
            version: Self::VERSION,
            tool: concat!("labpack ", env!("CARGO_PKG_VERSION")).to_owned(),
            created: now(),
            pack: pack.display().to_string(),
            store: store.map(|store| store.display().to_string()),
            link,
            ref_disks: Vec::new(),
            files: FileRecords::default(),
            links: Vec::new(),
        }
    }
}
