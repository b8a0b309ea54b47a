//! RefDisks, and the files that they stand for.

use std::collections::{HashMap, HashSet};

use super::about;
use crate::{
    base::{ContentId, RelPath, fold_case},
    formats::DiskKind,
    manifest::{
        DocumentError, InStore, Manifest, PackedFile, RefDisk, Residue, Role, Sharing,
        document::invalid,
    },
};

/// Checks RefDisks by themselves, then each file in the store against its RefDisk.
pub(super) fn check(manifest: &Manifest) -> Result<(), DocumentError> {
    let mut known: HashMap<ContentId, &RefDisk> = HashMap::new();
    let mut names = HashSet::new();
    for disk in &manifest.ref_disks {
        check_name(disk)?;
        check_parent(disk, &known)?;
        if known.insert(disk.id, disk).is_some() || !names.insert(fold_case(&disk.file)) {
            return Err(invalid(named(disk), "stands twice", "each RefDisk once"));
        }
    }
    let mut users: HashMap<ContentId, Vec<&RelPath>> = HashMap::new();
    for file in manifest.files() {
        if let Some(disk) = stored(file, &known)? {
            users.entry(disk.id).or_default().push(&file.path);
        }
    }
    let mut disks = manifest.ref_disks.iter();
    disks.try_for_each(|disk| check_users(disk, users.remove(&disk.id).unwrap_or_default()))
}

fn named(disk: &RefDisk) -> String {
    format!("RefDisk `{}`", disk.file)
}

/// A store's file name bears the id: no manifest can pass another file off as a RefDisk.
fn check_name(disk: &RefDisk) -> Result<(), DocumentError> {
    let place = || {
        format!(
            "RefDisk `{}`",
            disk.file.chars().take(300).collect::<String>()
        )
    };
    let name = RelPath::new(disk.file.as_str());
    let name = name.map_err(|bad| invalid(place(), bad.why, "a plain file name"))?;
    if name.folder().is_some() {
        return Err(invalid(place(), "lies in a folder", "a plain file name"));
    }
    let short = disk.id.short();
    // The stem is never taken for the id.
    let mut ends = disk.file.rsplit('.').take(2);
    if disk.file.matches('.').count() >= 1 && ends.any(|part| part == short) {
        return Ok(());
    }
    let expected = format!("a name such as `disk.{short}.vhdx`");
    Err(invalid(place(), format!("its id is {}", disk.id), expected))
}

fn check_parent(
    disk: &RefDisk,
    before: &HashMap<ContentId, &RefDisk>,
) -> Result<(), DocumentError> {
    let Some(facts) = &disk.disk else {
        return Ok(());
    };
    let Some(parent) = facts.parent else {
        return Ok(());
    };
    if facts.kind != DiskKind::Differencing {
        let found = format!("a {} disk with a parent", facts.kind);
        return Err(invalid(named(disk), found, "a differencing one"));
    }
    if !before.contains_key(&parent) {
        let found = format!("its parent is {parent}");
        return Err(invalid(named(disk), found, "a RefDisk listed before it"));
    }
    Ok(())
}

/// Returns the RefDisk that stands for `file`, once all that is said of the two agrees.
fn stored<'a>(
    file: &PackedFile,
    known: &HashMap<ContentId, &'a RefDisk>,
) -> Result<Option<&'a RefDisk>, DocumentError> {
    let Some(stored) = file.place.in_store() else {
        return Ok(None);
    };
    let InStore {
        ref_disk,
        sharing,
        residue,
    } = stored;
    let Some(disk) = known.get(ref_disk) else {
        let found = format!("stored as {ref_disk}");
        return Err(invalid(about(file), found, "a RefDisk of the manifest"));
    };
    if file.length != disk.length {
        let found = format!("{} bytes long", file.length);
        let expected = format!("{} as its RefDisk", disk.length);
        return Err(invalid(about(file), found, expected));
    }
    // A VM writes into what is no parent, and into a checkpoint's parent: never into a RefDisk.
    if *sharing == Sharing::Link && file.role != Role::Parent {
        let found = "shared by link without being a plain parent";
        return Err(invalid(about(file), found, "shared by copy"));
    }
    if residue.is_empty() && file.digest != disk.id {
        let found = format!("digest {} and no residue", file.digest);
        let expected = format!("{}, its RefDisk's", disk.id);
        return Err(invalid(about(file), found, expected));
    }
    check_residue(file, residue)?;
    Ok(Some(disk))
}

fn check_residue(file: &PackedFile, residue: &Residue) -> Result<(), DocumentError> {
    let mut free = 0;
    for run in &residue.0 {
        let end = run.offset.checked_add(run.bytes.len() as u64);
        let fits =
            end.filter(|&end| !run.bytes.is_empty() && run.offset >= free && end <= file.length);
        free = fits.ok_or_else(|| {
            let found = format!("{} bytes at {} in its residue", run.bytes.len(), run.offset);
            let expected = format!("at least one, from {free} on, before {}", file.length);
            invalid(about(file), found, expected)
        })?;
    }
    Ok(())
}

fn check_users(disk: &RefDisk, mut users: Vec<&RelPath>) -> Result<(), DocumentError> {
    let mut says: Vec<&RelPath> = disk.used_by.iter().collect();
    says.sort();
    users.sort();
    if says == users {
        return Ok(());
    }
    let odd = says.iter().find(|path| users.binary_search(path).is_err());
    let missing = users.iter().find(|path| says.binary_search(path).is_err());
    let found = match (odd, missing) {
        (Some(path), _) => format!("`used_by` names `{path}`"),
        (None, Some(path)) => format!("`used_by` does not name `{path}`"),
        (None, None) => "`used_by` names a file twice".to_owned(),
    };
    Err(invalid(named(disk), found, "the files that it stands for"))
}
