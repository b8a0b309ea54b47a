//! Which bytes of a VHD a relocation may touch.

use super::{disk::Disk, header::Header, rooms};
use crate::{
    base::{ByteRange, ReadAt},
    formats::{CanonicalForm, FormatError},
};

/// The canonical form of a disk; only that of a differencing one masks anything.
///
/// Masked are the header's checksum, the parent's time and name, the locator table and every
/// locator's area. The parent's id, in the header as well, is not: it is hashed where it lies.
/// `kept` holds the areas, so that disks with one digest keep their paths in the same places:
/// then each is the others' store form with its own bytes laid over the masks.
pub(super) fn canonical_form(file: &dyn ReadAt, disk: &Disk) -> Result<CanonicalForm, FormatError> {
    let Some(header) = disk.differencing() else {
        return Ok(CanonicalForm::exact());
    };
    let areas = areas(file, disk, header)?;
    let mut kept = b"vhd".to_vec();
    for area in &areas {
        kept.extend(area.start().to_le_bytes());
        kept.extend(area.len().to_le_bytes());
    }
    let mut masks: Vec<_> = header_masks(header).into_iter().chain(areas).collect();
    masks.sort_unstable();
    Ok(CanonicalForm {
        masks: joined(&masks),
        kept,
    })
}

/// Returns the areas of all locators, in the order in which they lie in the file.
///
/// # Errors
/// If one of them lies over something else.
pub(super) fn areas(
    file: &dyn ReadAt,
    disk: &Disk,
    header: &Header,
) -> Result<Vec<ByteRange>, FormatError> {
    let mut areas = Vec::new();
    for room in rooms::survey(file, disk, header)? {
        match room {
            rooms::Room::None => {}
            rooms::Room::Safe(area) => areas.push(area),
            rooms::Room::Unsafe(error) => return Err(error),
        }
    }
    areas.sort_unstable();
    Ok(areas)
}

/// Checksum, parent's time, parent's name with the table behind it.
fn header_masks(header: &Header) -> Vec<ByteRange> {
    let fields = [(36, 4), (56, 4), (64, 704)];
    let start = header.range.start();
    let masks = fields.map(|(at, len)| ByteRange::new(start.saturating_add(at), len));
    masks.into_iter().flatten().collect()
}

/// Joins masks that touch.
fn joined(masks: &[ByteRange]) -> Vec<ByteRange> {
    let mut joined: Vec<ByteRange> = Vec::new();
    for &mask in masks {
        let before = joined.pop_if(|before| before.end() == mask.start());
        let start = before.map_or(mask.start(), ByteRange::start);
        joined.extend(ByteRange::between(start, mask.end()));
    }
    joined
}
