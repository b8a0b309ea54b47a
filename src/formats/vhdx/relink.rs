//! Another parent path in a child, in an order that a crash cannot hurt.

use super::{
    disk::Disk,
    header::Header,
    locator::Locator,
    raw::{Guid, KIB64, derive_guid, len64},
};
use crate::{
    base::{ByteRange, Patch, ReadAt, Write},
    formats::{FormatError, ParentPaths},
};

/// Items are placed at multiples of this, as Windows' own happen to be; it keeps strings even.
const ALIGNMENT: u64 = 8;

/// Returns the change that makes the child name its parent by `paths`.
///
/// Its stages: the header that is not current, the other header, the new locator in free space,
/// the table's entry, zeros over the old locator. After each, the file is a whole disk that
/// names its parent by either the old paths or the new ones.
pub(in crate::formats) fn relink(
    file: &dyn ReadAt,
    paths: &ParentPaths,
) -> Result<Patch, FormatError> {
    let disk = Disk::read_settled(file)?;
    let (locator, old) = child(&disk)?;
    if locator.paths() == *paths {
        return Ok(Patch::default());
    }
    if *paths == ParentPaths::default() {
        return Err(FormatError::unsupported(
            "parent locator",
            "a parent named by no path",
        ));
    }
    let item = locator.with_paths(paths).to_bytes()?;
    let at = free_place(&disk, len64(item.len()), &[old])?;
    let file_write_guid = next_write_guid(&disk.header, &item);
    let mut patch = headers(&disk.header, file_write_guid)?;
    patch.then(place_item(&disk, at, item)?);
    patch.then(Patch::single(vec![Write::zeros(old)]));
    Ok(patch)
}

/// Returns the locator of a disk that has a parent, and where it lies.
pub(super) fn child(disk: &Disk) -> Result<(&Locator, ByteRange), FormatError> {
    let item = disk.metadata.locator_item().map(|item| item.range);
    let child = disk.metadata.locator.as_ref().zip(item);
    child.ok_or_else(|| FormatError::unsupported("disk", "another parent for one without a parent"))
}

/// Returns an offset in the file where `len` bytes lie over no item and none of `taken`, as far
/// to the front of the metadata region as can be.
pub(super) fn free_place(disk: &Disk, len: u64, taken: &[ByteRange]) -> Result<u64, FormatError> {
    let space = disk.metadata.item_space();
    let mut taken: Vec<_> = disk
        .metadata
        .other_items()
        .chain(taken.iter().copied())
        .collect();
    taken.sort_unstable();
    let mut at = space.start();
    for range in taken.iter().filter(|range| !range.is_empty()) {
        if ByteRange::new(at, len).is_some_and(|free| free.end() <= range.start()) {
            break;
        }
        let after = at.max(range.end());
        at = after
            .checked_next_multiple_of(ALIGNMENT)
            .unwrap_or(u64::MAX);
    }
    match ByteRange::new(at, len) {
        Some(free) if space.contains(free) => Ok(at),
        _ => {
            let place = format!("metadata region at {:#x}", disk.metadata.region.start());
            Err(FormatError::unsupported(
                place,
                format!("a parent locator of {len} bytes"),
            ))
        }
    }
}

/// Returns the change that writes `item` into free space at `at`, then makes it the locator.
pub(super) fn place_item(disk: &Disk, at: u64, item: Vec<u8>) -> Result<Patch, FormatError> {
    let entry = disk.metadata.locator_item().map(|item| item.entry.start());
    let offset = at.checked_sub(disk.metadata.region.start());
    let offset = offset
        .filter(|&offset| offset >= KIB64)
        .and_then(|n| u32::try_from(n).ok());
    let length = u32::try_from(item.len()).ok();
    let (Some(entry), Some(offset), Some(length)) = (entry, offset, length) else {
        let what = format!("a parent locator at {at:#x}");
        return Err(FormatError::unsupported("metadata table", what));
    };
    let fields: Vec<u8> = [offset, length]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    Ok(Patch {
        stages: vec![
            vec![Write::bytes(at, item)],
            vec![Write::bytes(entry, fields)],
        ],
        new_len: None,
    })
}

/// Returns the change that gives both headers a new `FileWriteGuid`, the current one last.
fn headers(current: &Header, file_write_guid: Guid) -> Result<Patch, FormatError> {
    let mut stages = Vec::new();
    let mut sequence = current.sequence();
    for slot in [current.slot.other(), current.slot] {
        sequence = sequence.checked_add(1).ok_or_else(|| {
            let place = format!("header at {:#x}", current.slot.offset());
            FormatError::unsupported(place, "a sequence number that cannot grow")
        })?;
        let header = current.rewritten(sequence, file_write_guid);
        stages.push(vec![Write::bytes(slot.offset(), header)]);
    }
    Ok(Patch {
        stages,
        new_len: None,
    })
}

/// The specification wants a new value before the first write; it need not be a surprise.
fn next_write_guid(current: &Header, item: &[u8]) -> Guid {
    let before = current.file_write_guid();
    derive_guid(
        "labpack vhdx FileWriteGuid of a relinked disk v1",
        &[&before, item],
    )
}
