//! The block allocation table: where each block lies, as a number of sectors from the start.

use super::SECTOR;
use crate::{
    base::{ByteRange, ReadAt},
    formats::FormatError,
};

/// The entry of a block that is not in the file.
pub(super) const ABSENT: u32 = u32::MAX;
/// Entries that are read at a time: 64 KiB.
pub(super) const PAGE: u32 = 16_384;

/// A table that lies inside the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bat {
    /// Its entries, without the filling up to a whole sector.
    pub(super) range: ByteRange,
    /// How many blocks the disk has; the table may have more entries, which mean nothing.
    pub(super) blocks: u32,
}

impl Bat {
    /// The sectors that the table takes in the file, of which there are no more than `data_end`.
    pub(super) fn sectors(&self, data_end: u64) -> ByteRange {
        let end = self.range.end();
        let end = end.checked_next_multiple_of(SECTOR).unwrap_or(end);
        let end = end.min(data_end).max(self.range.end());
        ByteRange::between(self.range.start(), end).unwrap_or(self.range)
    }

    /// Reads the entries of up to [`PAGE`] blocks, from the block `first` on.
    pub(super) fn page(&self, file: &dyn ReadAt, first: u32) -> Result<Vec<u32>, FormatError> {
        let count = self.blocks.saturating_sub(first).min(PAGE);
        let offset = u64::from(first).saturating_mul(4);
        let offset = self.range.start().saturating_add(offset);
        let len = usize::try_from(count).unwrap_or(0).saturating_mul(4);
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, offset).map_err(|source| {
            let place = format!("block allocation table at {offset:#x}");
            FormatError::unreadable(place, source)
        })?;
        let (entries, _) = bytes.as_chunks();
        Ok(entries
            .iter()
            .map(|&entry| u32::from_be_bytes(entry))
            .collect())
    }

    /// Calls `each` with every block that is in the file and the sector at which it starts.
    pub(super) fn for_each_present(
        &self,
        file: &dyn ReadAt,
        mut each: impl FnMut(u32, u32) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        let mut first = 0;
        while first < self.blocks {
            let page = self.page(file, first)?;
            for (block, &sector) in (first..).zip(&page) {
                if sector != ABSENT {
                    each(block, sector)?;
                }
            }
            first = first.saturating_add(PAGE);
        }
        Ok(())
    }
}
