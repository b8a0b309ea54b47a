//! What a manifest must hold to beyond its types: names, references, sums.

mod names;
mod store;

use std::collections::HashSet;

use super::{DocumentError, Manifest, PackedFile, Totals, Vm, document::invalid, parse_utc};
use crate::base::RelPath;

/// Checks everything that [`read`](super::read) promises.
pub(crate) fn check(manifest: &Manifest) -> Result<(), DocumentError> {
    check_created(&manifest.created)?;
    names::check(manifest)?;
    check_vms(&manifest.vms)?;
    check_parents(manifest)?;
    store::check(manifest)?;
    check_totals(manifest)
}

fn check_created(created: &str) -> Result<(), DocumentError> {
    match parse_utc(created) {
        Some(_) => Ok(()),
        None => Err(invalid(
            "created",
            format!("{created:?}"),
            "a time such as 2026-07-01T12:34:56Z",
        )),
    }
}

fn check_vms(vms: &[Vm]) -> Result<(), DocumentError> {
    let mut folders = HashSet::new();
    for (at, vm) in vms.iter().enumerate() {
        let place = format!("vms[{at}].folder");
        let Some(folder) = &vm.folder else {
            if vms.len() == 1 {
                return Ok(());
            }
            let expected = "a folder, unless the export is itself the only VM folder";
            return Err(invalid(place, "missing", expected));
        };
        if !folders.insert(folder.folded()) {
            let found = format!("`{folder}`, which is another VM's too");
            return Err(invalid(place, found, "a folder of its own"));
        }
        check_below(folder, &vm.files)?;
    }
    Ok(())
}

fn check_below(folder: &RelPath, files: &[PackedFile]) -> Result<(), DocumentError> {
    let inside = |path: &RelPath| {
        let rest = path.as_str().strip_prefix(folder.as_str());
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    match files.iter().find(|file| !inside(&file.path)) {
        None => Ok(()),
        Some(file) => Err(invalid(
            about(file),
            format!("listed for the VM folder `{folder}`"),
            "a file below it",
        )),
    }
}

/// Checks that the parent of each disk is a file of the export.
fn check_parents(manifest: &Manifest) -> Result<(), DocumentError> {
    let known: HashSet<&RelPath> = manifest.files().map(|file| &file.path).collect();
    for file in manifest.files() {
        let parent = file.disk.as_ref().and_then(|disk| disk.parent.as_ref());
        if let Some(parent) = parent.filter(|parent| !known.contains(&parent.path)) {
            let found = format!("its parent is `{}`, which is not listed", parent.path);
            return Err(invalid(about(file), found, "a file of the manifest"));
        }
    }
    Ok(())
}

fn check_totals(manifest: &Manifest) -> Result<(), DocumentError> {
    let says = &manifest.totals;
    let comes_to = manifest.count().ok_or_else(|| {
        invalid(
            "totals",
            "more bytes than 64 bits hold",
            "a lab that exists",
        )
    })?;
    for (name, found, expected) in [
        ("vms", says.vms, comes_to.vms),
        ("files", says.files, comes_to.files),
        ("export_bytes", says.export_bytes, comes_to.export_bytes),
        ("packed_bytes", says.packed_bytes, comes_to.packed_bytes),
        ("ref_disks", says.ref_disks, comes_to.ref_disks),
        (
            "ref_disk_bytes",
            says.ref_disk_bytes,
            comes_to.ref_disk_bytes,
        ),
    ] {
        if found != expected {
            return Err(invalid(format!("totals.{name}"), found, expected));
        }
    }
    Ok(())
}

impl Manifest {
    /// Returns what the files and RefDisks come to; `None` if that is more than 64 bits hold.
    #[must_use]
    pub fn count(&self) -> Option<Totals> {
        let stays = |file: &&PackedFile| matches!(file.place, super::Place::Pack);
        let ref_disk_bytes = sum(self.ref_disks.iter().map(|disk| disk.length))?;
        let kept = sum(self.files().filter(stays).map(|file| file.length))?;
        Some(Totals {
            vms: self.vms.len() as u64,
            files: self.files().count() as u64,
            export_bytes: sum(self.files().map(|file| file.length))?,
            packed_bytes: kept.checked_add(ref_disk_bytes)?,
            ref_disks: self.ref_disks.len() as u64,
            ref_disk_bytes,
            unknown: self.totals.unknown.clone(),
        })
    }
}

fn sum(mut lengths: impl Iterator<Item = u64>) -> Option<u64> {
    lengths.try_fold(0_u64, u64::checked_add)
}

/// How an error names a file of the manifest.
fn about(file: &PackedFile) -> String {
    format!("file `{}`", file.path)
}
