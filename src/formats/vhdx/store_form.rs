//! The form in which a child is stored: the same bytes for every export of one disk.

use super::{
    canonical,
    disk::Disk,
    header::{FreshHeader, Slot},
    raw::{derive_guid, len64},
    relink::{child, free_place, place_item},
};
use crate::{
    base::{ByteRange, Patch, ReadAt, Write},
    formats::FormatError,
};

/// Returns the change that gives every masked byte a value which depends on nothing but the
/// unmasked bytes, what canonical form keeps, and `parent_name`.
///
/// Its stages can be carried out in place: after each, the file is a whole disk.
pub(in crate::formats) fn store_form(
    file: &dyn ReadAt,
    parent_name: &str,
) -> Result<Patch, FormatError> {
    let disk = Disk::read_settled(file)?;
    let (locator, old) = child(&disk)?;
    check_name(parent_name)?;
    let form = canonical::form(file, &disk)?;
    let item = locator
        .in_store_form(format!(r".\{parent_name}"))
        .to_bytes()?;
    let len = len64(item.len());
    let at = free_place(&disk, len, &[])?;
    let new = ByteRange::new(at, len).unwrap_or(old);
    let mut patch = headers(&disk);
    if new.overlaps(old) {
        // Out of the way first: the old locator may not be written over while it counts.
        let aside = free_place(&disk, len, &[old, new])?;
        patch.then(place_item(&disk, aside, item.clone())?);
    }
    patch.then(place_item(&disk, at, item)?);
    patch.then(Patch::single(rest(&disk, &form.masks, new)));
    Ok(patch)
}

fn check_name(name: &str) -> Result<(), FormatError> {
    if name.is_empty() || name.contains(['\\', '/', '\0']) {
        let what = format!("the name `{}`", name.escape_debug());
        return Err(FormatError::unsupported("parent locator", what));
    }
    Ok(())
}

/// Returns the change that writes both headers, the current one last: whichever of the two a
/// crash leaves readable, it is one under which the log is empty.
fn headers(disk: &Disk) -> Patch {
    let current = disk.header.slot;
    let purpose = "labpack vhdx FileWriteGuid of a stored disk v1";
    let data_write_guid = disk.header.data_write_guid();
    let stage = |slot: Slot| {
        let header = FreshHeader {
            sequence: if slot == Slot::First { 1 } else { 2 },
            file_write_guid: derive_guid(purpose, &[&data_write_guid]),
            data_write_guid,
            log: disk.header.log,
        };
        vec![Write::bytes(slot.offset(), header.to_bytes())]
    };
    Patch {
        stages: vec![stage(current.other()), stage(current)],
        new_len: None,
    }
}

/// Returns zeros over all masked bytes but those that hold headers, the locator or its entry.
fn rest(disk: &Disk, masks: &[ByteRange], item: ByteRange) -> Vec<Write> {
    let header = |slot: Slot| ByteRange::new(slot.offset(), 4096);
    let entry = disk.metadata.locator_item().map(|item| item.entry);
    let spared = [header(Slot::First), header(Slot::Second), entry, Some(item)];
    let mut spared: Vec<_> = spared.into_iter().flatten().collect();
    spared.sort_unstable();
    let left = masks
        .iter()
        .flat_map(|&mask| canonical::unlisted(mask, &spared));
    left.filter(|range| !range.is_empty())
        .map(Write::zeros)
        .collect()
}
