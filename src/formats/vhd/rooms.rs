//! Locator areas that may be masked or written: those that lie over nothing else.
//!
//! A crafted locator whose area covers a block would hide data from the canonical digest, and
//! have it overwritten by a relink. Every area is judged here, and nowhere else.

use super::{SECTOR, blocks::Allocated, disk::Disk, header::Header, raw::RawLocator};
use crate::{
    base::{ByteRange, ReadAt},
    formats::FormatError,
    report::{Code, WindowsError},
};

/// The largest area that is touched; Windows makes 64 KiB.
const MOST_ROOM: u64 = 1 << 20;

/// What is to be thought of the area of one slot.
#[derive(Debug)]
pub(super) enum Room {
    /// The slot reserves none.
    None,
    /// It lies over nothing else.
    Safe(ByteRange),
    /// It lies over something, or cannot be one.
    Unsafe(FormatError),
}

impl Room {
    /// The area, if it may be touched.
    pub(super) const fn safe(&self) -> Option<ByteRange> {
        match self {
            Self::Safe(area) => Some(*area),
            Self::None | Self::Unsafe(_) => None,
        }
    }
}

/// Judges the areas of all eight slots.
///
/// An unused slot may still reserve an area: that is what becomes of a locator that has been
/// given up. Where its area is odd it counts as none; nobody reads it.
///
/// # Errors
/// Where a block is out of place: then no area can be judged.
pub(super) fn survey(
    file: &dyn ReadAt,
    disk: &Disk,
    header: &Header,
) -> Result<[Room; 8], FormatError> {
    let blocks = Allocated::read(file, disk, header)?;
    let slots = &header.raw.locators;
    let mut rooms = [const { Room::None }; 8];
    let used = |slot: &RawLocator| slot.is_used().then(|| slot.area()).flatten();
    for ((i, slot), room) in slots.iter().enumerate().zip(&mut rooms) {
        let Some(area) = used(slot) else { continue };
        let others = slots.iter().enumerate().filter(|&(other, _)| other != i);
        let others: Vec<_> = others.filter_map(|(_, slot)| used(slot)).collect();
        *room = match judge(area, disk, &blocks, &others) {
            Ok(()) => Room::Safe(area),
            Err(error) => Room::Unsafe(error),
        };
    }
    let mut taken: Vec<_> = slots.iter().filter_map(used).collect();
    for (slot, room) in slots.iter().zip(&mut rooms) {
        let reserved = (!slot.is_used()).then(|| slot.area()).flatten();
        let reserved = reserved.filter(|area| judge(*area, disk, &blocks, &taken).is_ok());
        if let Some(area) = reserved {
            taken.push(area);
            *room = Room::Safe(area);
        }
    }
    Ok(rooms)
}

fn judge(
    area: ByteRange,
    disk: &Disk,
    blocks: &Allocated,
    others: &[ByteRange],
) -> Result<(), FormatError> {
    if !area.start().is_multiple_of(SECTOR)
        || area.len() > MOST_ROOM
        || area.end() > disk.data_end()
    {
        let expected = format!("whole sectors before {:#x}", disk.data_end());
        return Err(odd(area, format_args!("area is {area}"), expected));
    }
    let structures = disk.structures();
    let structure = structures.iter().find(|(_, range)| range.overlaps(area));
    let other = others.iter().find(|other| other.overlaps(area));
    let found = if let Some((name, range)) = structure {
        format!("area lies over {name} at {range}")
    } else if let Some(block) = blocks.over(area) {
        format!("area lies over the block at {block}")
    } else if let Some(other) = other {
        format!("area lies over the area at {other}")
    } else {
        return Ok(());
    };
    Err(odd(area, found, "a place of its own"))
}

fn odd(
    area: ByteRange,
    found: impl std::fmt::Display,
    expected: impl std::fmt::Display,
) -> FormatError {
    let place = format!("parent locator at {:#x}", area.start());
    FormatError::corrupt(place, found, expected, WindowsError::HEADER_CORRUPT)
        .coded(Code::OverlappingBlocks)
}
