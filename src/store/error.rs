//! Why a store did not do what was asked.

use std::path::PathBuf;

use crate::{
    base::{Cancelled, ContentId},
    formats::FormatError,
    fs::FsError,
    manifest::DocumentError,
};

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The folder is not there, or holds neither an index nor a RefDisk.
    #[error("no store at `{path}`: expected a folder with `index.json` or RefDisks")]
    NoStore {
        /// The folder.
        path: PathBuf,
    },
    /// The index cannot be relied on. It is never replaced unasked: it says who uses what.
    #[error(
        "cannot read `{path}`; if it is damaged, move it away, and labpack makes a new one from the RefDisks"
    )]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// A mid-chain RefDisk cannot be understood, so that its bytes cannot be told from its paths.
    #[error("cannot bring `{path}` into store form")]
    Format {
        /// The RefDisk.
        path: PathBuf,
        /// What is wrong with it.
        source: FormatError,
    },
    /// The store has no RefDisk with this id.
    #[error("the store `{path}` has no RefDisk {id}")]
    Missing {
        /// The store.
        path: PathBuf,
        /// The id.
        id: ContentId,
    },
    /// The bytes of a RefDisk are not those that its id stands for.
    #[error("RefDisk `{path}` is damaged: {why}")]
    Damaged {
        /// The RefDisk.
        path: PathBuf,
        /// Found and expected.
        why: String,
    },
}

impl From<Cancelled> for StoreError {
    fn from(cancelled: Cancelled) -> Self {
        Self::Fs(FsError::Cancelled(cancelled))
    }
}
