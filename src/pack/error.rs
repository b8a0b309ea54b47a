//! Why a pack, or its undoing, came to no end.

use std::path::{Path, PathBuf};

use super::Outcome;
use crate::{
    base::Cancelled,
    fs::FsError,
    manifest::DocumentError,
    report::{Code, Finding, Findings},
    store::StoreError,
};

/// Why a pack, or its undoing, came to no end. Nothing is lost by any of these.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// It cannot be done as things are; nothing was changed. Every reason is among the findings.
    #[error("refused, and nothing was changed: {}", first(.0))]
    Refused(Findings),
    /// All is done but for some files that were left where they are, since they changed.
    #[error("some files changed while labpack worked and were left alone: {}", first(.0))]
    Kept(Findings),
    /// Of several exports that were to be packed in place, one was not, or not whole. Those after
    /// it were not begun.
    #[error("stopped at `{}`", .export.display())]
    Among {
        /// What was done with those before it.
        done: Box<Outcome>,
        /// Which one.
        export: PathBuf,
        /// Why.
        source: Box<PackError>,
    },
    /// The file system said no.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// One of labpack's own documents cannot be used.
    #[error("cannot use `{path}`")]
    Document {
        /// The manifest or journal.
        path: PathBuf,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// The store did not do what was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A journal asks for what no pack would do; it is not followed.
    #[error("`{path}` cannot be followed: {why}")]
    Journal {
        /// The journal.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The user stopped the work; the same command goes on.
    #[error(transparent)]
    Interrupted(#[from] Cancelled),
}

fn first(findings: &Findings) -> String {
    let mut errors = findings.errors();
    let Some(first) = errors.next() else {
        return "no reason was found".to_owned();
    };
    match errors.count() {
        0 => format!("{}: {}", first.path, first.message),
        more => format!("{}: {} (and {more} more)", first.path, first.message),
    }
}

impl PackError {
    /// Refuses for one reason.
    pub(super) fn refuse(code: Code, path: &Path, message: impl Into<String>, next: &str) -> Self {
        let finding = Finding::error(code, path.display(), message).next(next);
        Self::Refused(Findings(vec![finding]))
    }

    /// A document of labpack's own that cannot be used.
    pub(super) fn document(path: &Path) -> impl FnOnce(DocumentError) -> Self {
        let path = path.to_owned();
        move |source| Self::Document { path, source }
    }
}
