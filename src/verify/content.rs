//! Reads files again, and holds their bytes against their digests.

use std::{io, path::PathBuf};

use rayon::prelude::*;

use super::ContentTotals;
use crate::{
    base::{ContentId, Run},
    export::{DiskFault, PackView},
    fs::{ContentHasher, FsError, SourceFile, stamp, stream},
    manifest::Place,
    report::{Code, Finding, Findings},
};

/// A file that is to have certain bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Where it is.
    pub file: PathBuf,
    /// How findings call it.
    pub shown: String,
    /// BLAKE3 of its bytes.
    pub digest: ContentId,
    /// The code of the finding if it has others.
    pub code: Code,
}

/// What reading files came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many, and how many are not as they should be.
    pub totals: ContentTotals,
    /// One finding for each that is not.
    pub findings: Findings,
}

/// Reads every file of the packs that the manifests give a digest for, and every RefDisk once.
/// Files that are missing are found before ([`examine`](crate::export::examine)).
///
/// # Errors
/// When the user stops the work. A file that cannot be read is a finding.
pub fn of_packs(packs: &[PackView], run: &Run<'_>) -> Result<Checked, FsError> {
    let mut files: Vec<Expected> = packs.iter().flat_map(of_pack).collect();
    files.sort_by(|a, b| a.file.cmp(&b.file));
    // Packs that share a store name the same RefDisks.
    files.dedup();
    check(&files, run)
}

/// Reads the files that an unpack wrote, and compares them with what its receipt says.
///
/// # Errors
/// When the user stops the work. A file that cannot be read, or is gone, is a finding.
pub fn of_unpacked(
    files: impl IntoIterator<Item = (PathBuf, ContentId)>,
    run: &Run<'_>,
) -> Result<Checked, FsError> {
    let expected = |(file, digest): (PathBuf, ContentId)| Expected {
        shown: file.display().to_string(),
        file,
        digest,
        code: Code::ContentDiffers,
    };
    check(&files.into_iter().map(expected).collect::<Vec<_>>(), run)
}

fn of_pack(pack: &PackView) -> impl Iterator<Item = Expected> + '_ {
    let packed = pack
        .manifest
        .files()
        .filter(|file| file.place == Place::Pack);
    let files = packed.filter_map(|file| {
        let path = file.path.below(&pack.root);
        // What is missing has its finding already.
        pack.has(&file.path).then(|| Expected {
            file: path,
            shown: file.path.to_string(),
            digest: file.digest,
            code: Code::ContentDiffers,
        })
    });
    let ref_disks = pack.manifest.ref_disks.iter().filter_map(|disk| {
        Some(Expected {
            file: pack.stored.get(&disk.id)?.clone(),
            shown: disk.file.clone(),
            digest: disk.id,
            code: Code::DamagedRefDisk,
        })
    });
    files.chain(ref_disks)
}

fn check(files: &[Expected], run: &Run<'_>) -> Result<Checked, FsError> {
    run.progress
        .begin("reading", files.len() as u64, total(files));
    let found = files.par_iter().map(|file| compare(file, run));
    let found = found.collect::<Result<Vec<_>, FsError>>();
    run.progress.end();
    let findings: Vec<_> = found?.into_iter().flatten().collect();
    Ok(Checked {
        totals: ContentTotals {
            files: files.len() as u64,
            differing: findings.len() as u64,
        },
        findings: Findings(findings),
    })
}

fn total(files: &[Expected]) -> u64 {
    let len = |file: &Expected| stamp(&file.file).map_or(0, |stamp| stamp.len);
    files.iter().map(len).fold(0, u64::saturating_add)
}

fn compare(file: &Expected, run: &Run<'_>) -> Result<Option<Finding>, FsError> {
    run.progress.file(&file.shown);
    match digest(file, run) {
        Ok(digest) if digest == file.digest => Ok(None),
        Ok(digest) => {
            let message = format!("its bytes are {digest}, expected {}", file.digest);
            Ok(Some(
                Finding::error(file.code, &file.shown, message)
                    .next("copy the file again from where the lab was packed"),
            ))
        }
        Err(FsError::Cancelled(cancelled)) => Err(cancelled.into()),
        Err(error) => Ok(Some(unreadable(file, &error))),
    }
}

fn digest(file: &Expected, run: &Run<'_>) -> Result<ContentId, FsError> {
    let source = SourceFile::open(&file.file, run.meter)?;
    let mut hasher = ContentHasher::new();
    stream(&source, &mut [&mut hasher], run)?;
    Ok(hasher.finish())
}

fn unreadable(file: &Expected, error: &FsError) -> Finding {
    if matches!(error, FsError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound) {
        return Finding::error(Code::MissingFile, &file.shown, "is not there any more")
            .next("unpack again; that brings back what is missing");
    }
    DiskFault::from(error).finding(&file.shown)
}
