//! Which bytes a relocation may touch.
//!
//! A mask is a place to hide things in. Only bytes are masked that no reader takes for data:
//! both headers, reserved stretches, the log, what no item of the metadata claims, and the
//! parent locator. What they say that counts is kept beside the mask. A file in which a block
//! could lie over masked bytes has no canonical form.

use super::{
    bat::{BITMAP_LEN, Entry, State, bad, walk},
    disk::Disk,
    raw::{HEADER_AREA, KIB64, len64},
};
use crate::{
    base::{ByteRange, ReadAt},
    formats::{CanonicalForm, FormatError},
};

/// Both headers, with all of their slots.
const HEADERS: (u64, u64) = (0x1_0000, 0x3_0000);
/// What follows the region tables, up to the first megabyte's end.
const RESERVED: (u64, u64) = (0x5_0000, HEADER_AREA);

/// Returns the form of a settled disk, every block of which has been looked at.
pub(super) fn form(file: &dyn ReadAt, disk: &Disk) -> Result<CanonicalForm, FormatError> {
    let block = disk.geometry.block_size;
    walk(file, disk, &mut |entry| check_anchor(disk, entry, block))?;
    Ok(CanonicalForm {
        masks: masks(disk),
        kept: kept(disk),
    })
}

/// A block that reads as zero may still say where it once was, and a reader may take its bytes
/// from there: they must not be masked ones. That allocated blocks lie over nothing is checked
/// by the walk.
fn check_anchor(disk: &Disk, entry: &Entry, block: u64) -> Result<(), FormatError> {
    let idle = matches!(entry.state, State::Absent | State::Zero) && entry.offset != 0;
    let Some(range) = ByteRange::new(entry.offset, block.max(BITMAP_LEN)).filter(|_| idle) else {
        return Ok(());
    };
    let Some(hit) = disk
        .structure_ranges()
        .find(|structure| structure.overlaps(range))
    else {
        return Ok(());
    };
    let found = format!("an absent block at {range} over the structure at {hit}");
    Err(bad(
        format!("BAT entry {}", entry.index),
        found,
        "a place of its own",
    ))
}

/// Returns the masked bytes, which are inside the file as all structures are.
pub(super) fn masks(disk: &Disk) -> Vec<ByteRange> {
    let metadata = &disk.metadata;
    let table_end = metadata.region.start().saturating_add(KIB64);
    let fixed = [
        ByteRange::between(HEADERS.0, HEADERS.1),
        ByteRange::between(RESERVED.0, RESERVED.1),
        Some(disk.header.log),
        ByteRange::between(metadata.entries_end, table_end),
        metadata.locator_item().map(|item| item.entry),
    ];
    let mut masks: Vec<_> = fixed.into_iter().flatten().collect();
    let mut items: Vec<_> = metadata.other_items().collect();
    items.sort_unstable();
    masks.extend(unlisted(metadata.item_space(), &items));
    merge(masks)
}

/// Returns what of `space` lies under none of `items`, which are sorted; some may be empty.
pub(super) fn unlisted(space: ByteRange, items: &[ByteRange]) -> Vec<ByteRange> {
    let mut gaps = Vec::new();
    let mut from = space.start();
    for item in items
        .iter()
        .filter(|item| !item.is_empty() && item.overlaps(space))
    {
        gaps.extend(ByteRange::between(from, item.start()));
        from = from.max(item.end());
    }
    gaps.extend(ByteRange::between(from, space.end()));
    gaps
}

/// Sorts ranges, drops empty ones, and joins those that touch.
fn merge(mut ranges: Vec<ByteRange>) -> Vec<ByteRange> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable();
    let mut merged: Vec<ByteRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        let joined = merged
            .last()
            .filter(|last| last.end() >= range.start())
            .and_then(|last| ByteRange::between(last.start(), last.end().max(range.end())));
        match (joined, merged.last_mut()) {
            (Some(joined), Some(last)) => *last = joined,
            _ => merged.push(range),
        }
    }
    merged
}

/// Returns what the masked bytes say that a relocation may not change.
fn kept(disk: &Disk) -> Vec<u8> {
    // The version is 1, or the disk would have been refused.
    let mut kept = b"vhdx 1".to_vec();
    kept.extend(disk.header.data_write_guid());
    kept.extend(disk.header.log.start().to_le_bytes());
    kept.extend(disk.header.log.len().to_le_bytes());
    let Some(locator) = &disk.metadata.locator else {
        return kept;
    };
    kept.extend(b"child of");
    kept.extend(locator.linkage.to_vhdx());
    // A nil id is the same as none.
    kept.extend(locator.linkage2.map_or([0; 16], |id| id.to_vhdx()));
    for (key, value) in locator.sorted_unknown() {
        for text in [key, value] {
            kept.extend(len64(text.len()).to_le_bytes());
            kept.extend(text.as_bytes());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange::between(start, end).unwrap()
    }

    #[test]
    fn masks_are_sorted_apart_and_not_empty() {
        let ranges = vec![
            range(30, 40),
            range(0, 10),
            range(10, 20),
            range(5, 7),
            range(25, 25),
        ];
        assert_eq!(merge(ranges), [range(0, 20), range(30, 40)]);
    }

    #[test]
    fn what_no_item_claims_is_found_around_items_that_reach_out() {
        let items = [
            range(0, 0),
            range(5, 12),
            range(12, 20),
            range(30, 40),
            range(60, 70),
        ];
        let gaps = merge(unlisted(range(10, 50), &items));
        assert_eq!(gaps, [range(20, 30), range(40, 50)]);
        assert_eq!(unlisted(range(6, 10), &items), []);
    }
}
