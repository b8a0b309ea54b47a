//! Unpacks a small lab in every way, again, after use, and after interruptions.

#![expect(
    clippy::disallowed_methods,
    reason = "a test may touch the disk by itself"
)]

mod again;
mod flushed;
mod lab;
mod refusals;
mod ways;

use std::{path::Path, sync::Arc};

use self::lab::Lab;
use super::{LinkMode, Outcome, Request, UnpackError, unpack};
use crate::{
    base::{IoMeter, IoTotals, Run, Silent},
    report::Code,
};

fn request(lab: &Lab, link: LinkMode) -> Request {
    Request {
        pack: lab.pack(),
        dest: lab.dest(),
        link,
        ..Request::default()
    }
}

fn carry_out(request: &Request) -> Result<Outcome, UnpackError> {
    let meter = Arc::new(IoMeter::default());
    let mut outcome = unpack(
        request,
        &Run {
            progress: &Silent,
            meter: &meter,
        },
    )?;
    // The page-83 id that a new disk gets is that of its parent alone, not of the whole chain's.
    outcome
        .findings
        .0
        .retain(|finding| finding.code != Code::DiskIdDiffers);
    Ok(outcome)
}

/// Unpacks, and expects that everything is well: no error, no warning.
fn done(request: &Request) -> Outcome {
    let outcome = carry_out(request).unwrap_or_else(|error| match error {
        UnpackError::Refused(findings) => panic!("{findings}"),
        error => panic!("{error:?}"),
    });
    assert!(outcome.findings.is_empty(), "{}", outcome.findings);
    outcome
}

fn refused(request: &Request) -> String {
    match carry_out(request).unwrap_err() {
        UnpackError::Refused(findings) => findings.to_string(),
        error => panic!("{error:?}"),
    }
}

fn unread(io: &IoTotals) -> bool {
    io.read == 0 && io.written == 0 && io.cloned == 0
}

/// Tells whether symbolic links can be made here; says so where not.
fn has_symlinks() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let trial = crate::fs::try_links(folder.path(), folder.path()).unwrap();
    if let Err(why) = &trial.symlink {
        println!("skipped: --link symlink: {why}");
    }
    trial.symlink.is_ok()
}

/// Removes a folder with read-only files in it, which `std` does not do everywhere.
fn remove_tree(root: &Path) {
    for entry in walkdir::WalkDir::new(root).contents_first(true) {
        let entry = entry.unwrap();
        if entry.file_type().is_dir() {
            assert!(crate::fs::remove_empty_folder(entry.path()).unwrap());
        } else {
            crate::fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// Everything below a folder: paths, and what is there.
fn tree(root: &Path) -> Vec<(String, Option<std::time::SystemTime>, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.unwrap();
        let path = entry.path();
        let data = entry.file_type().is_file();
        let bytes = if data {
            std::fs::read(path).unwrap()
        } else {
            Vec::new()
        };
        let modified = path.symlink_metadata().unwrap().modified().ok();
        found.push((path.display().to_string(), modified, bytes));
    }
    found
}
