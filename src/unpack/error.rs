//! Why an unpack did not finish.

use std::path::PathBuf;

use crate::{
    base::{Cancelled, ContentId},
    formats::FormatError,
    fs::FsError,
    manifest::{DocumentError, ManifestError},
    report::Findings,
    store::StoreError,
};

/// Why an unpack did not finish. Nothing is lost; the same command goes on where it stopped.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It was not begun, for the errors among these findings.
    #[error("nothing was unpacked: {} must be put right first", problems(.0))]
    Refused(Findings),
    /// The file system said no.
    #[error(transparent)]
    Fs(FsError),
    /// The folder is no pack.
    #[error("no pack at `{path}`: expected a folder with `labpack.json`")]
    NoPack {
        /// The folder.
        path: PathBuf,
    },
    /// The manifest cannot be relied on.
    #[error("cannot read `{path}`")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// The receipt of an earlier unpack cannot be relied on.
    #[error("cannot read `{path}`, which says what labpack wrote here before")]
    Receipt {
        /// The receipt.
        path: PathBuf,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// The store did not do what was asked.
    #[error(transparent)]
    Store(StoreError),
    /// A disk cannot be made to name its parent where it is now.
    #[error("cannot write the parent's path into `{path}`")]
    Format {
        /// The disk.
        path: PathBuf,
        /// What is wrong with it.
        source: FormatError,
    },
    /// The bytes that were read are not those that were packed.
    #[error("`{path}` is damaged: its digest is {found}, expected {expected}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The digest of what was read.
        found: ContentId,
        /// The one in the manifest.
        expected: ContentId,
    },
    /// The pack is packed again, or restored, meanwhile, so that none of its files may be shared.
    #[error("`{path}` is being packed again or restored; once that is done, run this again")]
    PackAtWork {
        /// The pack.
        path: PathBuf,
    },
    /// A block clone failed where a trial had worked.
    #[error("cannot clone `{path}`, though a trial clone worked; try another --link mode")]
    NoClone {
        /// The file that was to be cloned.
        path: PathBuf,
    },
    /// The user stopped the work.
    #[error(transparent)]
    Interrupted(#[from] Cancelled),
}

fn problems(findings: &Findings) -> String {
    match findings.errors().count() {
        1 => "one problem".to_owned(),
        count => format!("{count} problems"),
    }
}

impl From<FsError> for UnpackError {
    fn from(error: FsError) -> Self {
        match error {
            FsError::Cancelled(cancelled) => Self::Interrupted(cancelled),
            error => Self::Fs(error),
        }
    }
}

impl From<StoreError> for UnpackError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fs(error) => error.into(),
            error => Self::Store(error),
        }
    }
}
