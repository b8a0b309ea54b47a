//! Checks every chain, and with `--content` every byte of a pack.
//!
//! What can be told from headers and tables is told by [`examine`]; here it becomes a report.
//! With [`Options::content`] files are read again (`content`): those of a pack against its manifest
//! (`packed`), those of an unpacked lab against its receipt (`unpacked`).

mod content;
mod packed;
mod report;
#[cfg(test)]
mod tests;
mod unpacked;

pub use report::{Chains, ContentTotals, VerifyReport};

use std::path::PathBuf;

use self::{
    content::{Checked, Reading},
    unpacked::UnpackedLab,
};
use crate::{
    base::Run,
    export::{Examination, examine},
    fs::FsError,
    report::Findings,
};

/// How much is verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Reads every file of a pack, and every file of an unpacked lab that nobody has changed since,
    /// and compares digests.
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
        .then(|| read_again(&examination, run))
        .transpose()?;
    Ok(VerifyReport::of(examination, content, run))
}

fn read_again(examination: &Examination, run: &Run<'_>) -> Result<Checked, FsError> {
    let mut reading = Reading::default();
    for pack in &examination.packs {
        reading.pack(pack);
    }
    let mut findings = Findings::default();
    for root in &examination.unpacked {
        let named = &examination.named;
        findings.extend(UnpackedLab { root, named }.add_to(&mut reading, run)?.0);
    }
    let mut checked = reading.check(run)?;
    findings.extend(checked.findings.0);
    checked.findings = findings;
    Ok(checked)
}
