//! What a pack or an unpacked lab says about the RefDisks it uses.

use std::{collections::HashSet, path::Path};

use serde::Deserialize;

use crate::{
    base::ContentId,
    fs::{self, Entry, FsError},
    manifest::{self, Manifest},
};

/// The receipt's file name, at the top of an unpacked lab.
pub const RECEIPT_NAME: &str = "labpack-unpacked.json";

/// The journal's file name, at the top of a pack or a lab at which a run is at work or was
/// interrupted. Nothing is collected while one is there: it may be all that names a RefDisk.
pub const JOURNAL_NAME: &str = "labpack.journal";

/// The name of the log that an unpack at work, or an interrupted one, has at the top of its
/// destination. Which RefDisks it needs is not told anywhere yet.
pub const PARTIAL_NAME: &str = "labpack-unpacked.partial";

/// What a user of the store says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Names {
    /// It uses these.
    These(HashSet<ContentId>),
    /// It is not there any more.
    Gone,
    /// Its drive or share seems not to be there just now.
    OutOfReach,
    /// A run is at work there, or was interrupted.
    Unfinished,
    /// It is there and cannot be read: why.
    Unreadable(String),
}

/// The only fields of a receipt that matter here.
#[derive(Deserialize)]
struct Receipt {
    format: String,
    ref_disks: Vec<ContentId>,
}

/// Asks the pack, or the unpacked lab, in a folder which RefDisks it uses.
pub(super) fn names(folder: &Path) -> Names {
    for name in [JOURNAL_NAME, PARTIAL_NAME] {
        match fs::look(&folder.join(name)) {
            Ok(Entry::Missing) => {}
            Ok(_) => return Names::Unfinished,
            Err(error) => return Names::Unreadable(with_cause(&error)),
        }
    }
    let mut ids = HashSet::new();
    let mut found = false;
    type Reader = fn(&[u8]) -> Result<Vec<ContentId>, String>;
    for (name, read) in [
        (Manifest::FILE_NAME, read_manifest as Reader),
        (RECEIPT_NAME, read_receipt),
    ] {
        match bytes_of(&folder.join(name)) {
            Ok(None) => continue,
            Ok(Some(bytes)) => match read(&bytes) {
                Ok(named) => ids.extend(named),
                Err(why) => return Names::Unreadable(format!("`{name}`: {why}")),
            },
            Err(error) => return Names::Unreadable(with_cause(&error)),
        }
        found = true;
    }
    if found {
        Names::These(ids)
    } else if is_gone(folder) {
        Names::Gone
    } else {
        Names::OutOfReach
    }
}

fn bytes_of(path: &Path) -> Result<Option<Vec<u8>>, FsError> {
    match fs::look(path)? {
        Entry::Missing => Ok(None),
        _ => fs::read_bounded(path, Manifest::MAX_BYTES).map(Some),
    }
}

fn read_manifest(bytes: &[u8]) -> Result<Vec<ContentId>, String> {
    let manifest = manifest::read(bytes).map_err(|error| with_cause(&error))?;
    Ok(manifest.ref_disks.iter().map(|disk| disk.id).collect())
}

fn read_receipt(bytes: &[u8]) -> Result<Vec<ContentId>, String> {
    let receipt: Receipt = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match receipt.format.as_str() {
        "labpack-receipt" => Ok(receipt.ref_disks),
        other => Err(format!(
            "`format` is {other:?}, expected \"labpack-receipt\""
        )),
    }
}

/// Tells a lab that was deleted from one whose drive is away: a drive that is away leaves no
/// folder behind, or an empty one where it was mounted.
fn is_gone(folder: &Path) -> bool {
    if matches!(fs::look(folder), Ok(Entry::Folder(_))) && !is_empty(folder) {
        return true;
    }
    let Some(around) = folder.parent() else {
        return false;
    };
    matches!(fs::look(around), Ok(Entry::Folder(_))) && !is_empty(around)
}

fn is_empty(folder: &Path) -> bool {
    fs::walk(folder).next().is_none()
}

/// An error and its cause in one line.
pub(super) fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
