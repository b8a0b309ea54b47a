//! What is looked at before the first byte moves.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::{PackError, earlier::Stock, layout};
use crate::{
    base::RelPath,
    export,
    fs::{self, Entry, FileKey, FsError},
    plan::{Lab, PackPlan, StoreEntry},
    report::{Code, Finding, Findings},
};

/// Checks that the exports, the output and the store are apart from each other.
pub(super) fn check_apart(
    exports: &[PathBuf],
    output: Option<&Path>,
    stock: &Stock,
) -> Result<(), PackError> {
    let pack = output.or_else(|| exports.first().map(PathBuf::as_path));
    let own = pack.map(|pack| pack.join(layout::STORE));
    for export in exports {
        if let Some(output) = output
            && (is_below(output, export)? || is_below(export, output)?)
        {
            return Err(inside(
                output,
                export,
                "name an output folder outside of the export",
            ));
        }
        if own.as_ref() != Some(&stock.folder) && is_below(&stock.folder, export)? {
            return Err(inside(
                &stock.folder,
                export,
                "name a store outside of the export",
            ));
        }
    }
    Ok(())
}

fn inside(one: &Path, other: &Path, next: &str) -> PackError {
    let message = format!("the folder and `{}` lie inside each other", other.display());
    PackError::refuse(Code::NameInUse, one, message, next)
}

/// Tells whether `path` is `folder` or lies in it, whatever links lead there.
fn is_below(path: &Path, folder: &Path) -> Result<bool, FsError> {
    if path.starts_with(folder) {
        return Ok(true);
    }
    let Some(wanted) = key(folder) else {
        return Ok(false);
    };
    Ok(path.ancestors().any(|above| key(above) == Some(wanted)))
}

fn key(path: &Path) -> Option<FileKey> {
    fs::stamp(path).ok().map(|stamp| stamp.key)
}

/// Returns what stands where the pack would put a file, and is not the last pack's.
pub(super) fn names_in_use(
    pack: &Path,
    lab: &Lab,
    ours: &HashSet<RelPath>,
) -> Result<Findings, PackError> {
    let mut findings = Findings::default();
    for file in lab.files.iter().filter(|file| !ours.contains(&file.path)) {
        if fs::look(&file.path.below(pack))? != Entry::Missing {
            findings.push(
                Finding::error(
                    Code::NameInUse,
                    &file.path,
                    "stands in the output folder already",
                )
                .next("labpack replaces only what it wrote; move the file away"),
            );
        }
    }
    Ok(findings)
}

/// Refuses a folder with something in it that is not labpack's.
pub(super) fn check_empty(pack: &Path) -> Result<(), PackError> {
    if fs::look(pack)? == Entry::Missing {
        return Ok(());
    }
    let foreign = |path: &RelPath| !layout::is_own(path.top());
    let found = fs::walk(pack).find_map(|found| match found {
        Ok(found) => foreign(&found.path).then(|| found.path.to_string()),
        Err(bad) => Some(bad.path.display().to_string()),
    });
    match found {
        None => Ok(()),
        Some(found) => Err(PackError::refuse(
            Code::NameInUse,
            pack,
            format!("the output folder is no pack, and `{found}` is in it"),
            "name a new or empty folder",
        )),
    }
}

/// Returns what the copies of a lab's files will be without.
pub(super) fn streams_lost(lab: &Lab) -> Result<Vec<Finding>, FsError> {
    let mut findings = Vec::new();
    for file in &lab.files {
        if let Some(at) = file.at() {
            findings.extend(export::streams_lost(&at, &file.path)?);
        }
    }
    Ok(findings)
}

/// Refuses a lab with a file that is too long for the volume that it is to go to.
pub(super) fn check_lengths(folder: &Path, lab: &Lab) -> Result<(), PackError> {
    let volume = fs::volume(folder)?;
    let Some(max) = volume.max_file_len else {
        return Ok(());
    };
    let system = &volume.file_system;
    let too_long = lab.files.iter().filter(|file| file.length > max);
    let refusals: Vec<_> = too_long
        .map(|file| {
            let length = file.length;
            let message =
                format!("is {length} bytes long, and {system} holds files of up to {max} bytes");
            Finding::error(Code::FileTooLarge, &file.path, message)
                .next("name a folder on NTFS, ReFS or exFAT")
        })
        .collect();
    if refusals.is_empty() {
        Ok(())
    } else {
        Err(PackError::Refused(Findings(refusals)))
    }
}

/// Refuses to write `bytes` where there is no room for them.
pub(super) fn check_space(folder: &Path, bytes: u64) -> Result<(), PackError> {
    let volume = fs::volume(folder)?;
    if bytes <= volume.free {
        return Ok(());
    }
    let message = format!("{bytes} bytes are needed, and {} are free", volume.free);
    let next = "make room, or name a folder on another volume";
    Err(PackError::refuse(Code::NoSpace, folder, message, next))
}

/// Returns the bytes that enter a store on another volume than the export's, in place.
pub(super) fn bytes_to_other_volume(
    root: &Path,
    store: &Path,
    plan: &PackPlan,
) -> Result<u64, PackError> {
    if fs::volume(root)?.key == fs::volume(store)?.key {
        return Ok(0);
    }
    let bytes = |entry: &StoreEntry| {
        let from = entry.from.below(root);
        fs::bytes_to_copy(&from).unwrap_or(entry.seen.length)
    };
    Ok(plan.entries.iter().map(bytes).sum())
}
