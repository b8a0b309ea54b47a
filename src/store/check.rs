//! Reading a store again, against the ids.

use std::{collections::HashSet, path::Path};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Entry, Expected, INDEX_NAME, KnownStamp, LOCK_NAME, Store, StoreError, packs::with_cause,
    presence::fault,
};
use crate::{
    base::{ContentId, Run},
    fs::{self, FsError, SourceFile},
    report::{Code, Finding, Findings},
};

/// What reading a store again showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StoreReport {
    /// The store's folder.
    pub store: String,
    /// RefDisks that the index names.
    pub ref_disks: u64,
    /// Bytes of those that were found right.
    pub bytes: u64,
    /// What is wrong, and what is worth knowing.
    pub findings: Findings,
}

/// Reads every RefDisk of the store in `dir` and compares it with its id; names what is missing,
/// and what does not belong there.
///
/// What it found right or damaged it takes down, so that later runs neither read the one again nor
/// trust the other.
///
/// # Errors
/// As [`Store::open`], and when the user stops it. What is wrong with a RefDisk is a finding.
pub fn check(dir: &Path, run: &Run<'_>) -> Result<StoreReport, StoreError> {
    let store = Store::open(dir, run)?;
    let entries = store.entries();
    let mut report = StoreReport {
        store: store.dir().display().to_string(),
        ref_disks: entries.len() as u64,
        bytes: 0,
        findings: Findings::default(),
    };
    let all = entries
        .iter()
        .fold(0_u64, |sum, entry| sum.saturating_add(entry.length));
    run.progress.begin("checking", entries.len() as u64, all);
    let mut stamps = Vec::new();
    for entry in &entries {
        match check_one(&store, entry, run)? {
            Ok(stamp) => {
                report.bytes = report.bytes.saturating_add(entry.length);
                stamps.push((entry.id, Some(stamp)));
            }
            Err(finding) => {
                report.findings.push(finding);
                stamps.push((entry.id, None));
            }
        }
    }
    run.progress.end();
    report.findings.extend(foreign_files(store.dir(), &entries));
    report.findings.extend(take_down(&store, stamps, run));
    Ok(report)
}

/// Checks one RefDisk: its stamp, or what is wrong.
fn check_one(
    store: &Store,
    entry: &Entry,
    run: &Run<'_>,
) -> Result<Result<KnownStamp, Finding>, StoreError> {
    let path = store.path_of(&entry.file);
    let finding = |code, message: String| {
        let next = "restore it from another copy of the pack, or pack the export again";
        Finding::error(code, path.display(), message).next(next)
    };
    match fs::look(&path) {
        Ok(fs::Entry::Missing) => {
            let message = format!("is not there, expected RefDisk {}", entry.id);
            return Ok(Err(finding(Code::MissingRefDisk, message)));
        }
        Ok(fs::Entry::File(_)) => {}
        Ok(_) => {
            let message = format!("is no file, expected RefDisk {}", entry.id);
            return Ok(Err(finding(Code::DamagedRefDisk, message)));
        }
        Err(error) => return Ok(Err(finding(Code::Unreadable, with_cause(&error)))),
    }
    let checked = SourceFile::open(&path, run.meter)
        .map_err(StoreError::from)
        .and_then(|source| {
            let fault = fault(&source, &Expected::from(entry), run)?;
            Ok((KnownStamp::from(source.opened()), fault))
        });
    match checked {
        Ok((stamp, None)) => Ok(Ok(stamp)),
        Ok((_, Some(why))) => Ok(Err(finding(Code::DamagedRefDisk, why))),
        Err(stopped @ StoreError::Fs(FsError::Cancelled(_))) => Err(stopped),
        Err(StoreError::Fs(FsError::Changed { what, .. })) => {
            Ok(Err(finding(Code::FileChanged, what)))
        }
        Err(error) => Ok(Err(finding(Code::Unreadable, with_cause(&error)))),
    }
}

/// Notes on what lies in the store and is no RefDisk of the index.
fn foreign_files(dir: &Path, entries: &[Entry]) -> Vec<Finding> {
    let known: HashSet<&str> = entries.iter().map(|entry| entry.file.as_str()).collect();
    let mut notes = Vec::new();
    for found in fs::walk(dir) {
        let (name, path) = match &found {
            Ok(found) => (Some(found.path.as_str()), found.path.below(dir)),
            Err(bad) => (None, bad.path.clone()),
        };
        let ours = |name: &str| name == INDEX_NAME || name == LOCK_NAME || known.contains(name);
        // A folder is named once, not file by file.
        if name.is_some_and(|name| ours(name) || name.contains('/')) {
            continue;
        }
        let (message, next) = match name {
            Some(name) if fs::is_temp_name(name) => (
                "is a temporary file of a labpack that runs, or was interrupted",
                "`labpack store gc` removes it if its process is gone",
            ),
            _ => (
                "is not in the index: labpack leaves it alone",
                "move it elsewhere if it does not belong here",
            ),
        };
        let note = Finding::note(Code::ForeignFile, path.display(), message);
        notes.push(note.next(next));
    }
    notes
}

/// Takes down what the check showed. A store that cannot be written to is checked all the same.
fn take_down(
    store: &Store,
    stamps: Vec<(ContentId, Option<KnownStamp>)>,
    run: &Run<'_>,
) -> Option<Finding> {
    let taken = store.update(run, |index| {
        for (id, stamp) in stamps {
            if let Some(entry) = index.find_mut(&id) {
                entry.stamp = stamp;
            }
        }
        Ok(())
    });
    let error = taken.err()?;
    let message = format!("the outcome was not taken down: {}", with_cause(&error));
    let path = store.path_of(INDEX_NAME);
    Some(Finding::note(Code::NoAccess, path.display(), message))
}
