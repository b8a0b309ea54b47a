//! Checks every chain, and with `--content` every byte of a pack.
//!
//! What can be told from headers and tables is told by [`examine`]; here it becomes a report.
//! [`content`] reads files again and holds them against what the manifest says of them.

pub mod content;
mod report;
#[cfg(test)]
mod tests;

pub use report::{Chains, ContentTotals, VerifyReport};

use std::path::PathBuf;

use crate::{base::Run, export::examine, fs::FsError};

/// How much is verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Reads every file of a pack again and compares its digest.
    pub content: bool,
    /// A store that other labs share, where parents may be.
    pub store: Option<PathBuf>,
}

/// Why nothing could be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A path that was named cannot be read, or the work was stopped.
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// Verifies every chain under `paths`, each a folder or one disk.
///
/// # Errors
/// Where a path leads to nothing or cannot be read, and when the user stops the work. What is
/// wrong with disks, chains and files is in the report.
pub fn verify(
    paths: &[PathBuf],
    options: &Options,
    run: &Run<'_>,
) -> Result<VerifyReport, VerifyError> {
    let also: Vec<_> = options.store.iter().cloned().collect();
    let examination = examine(paths, &also, run)?;
    let content = options
        .content
        .then(|| content::of_packs(&examination.packs, run))
        .transpose()?;
    Ok(VerifyReport::of(examination, content, run))
}
