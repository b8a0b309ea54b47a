//! Where the allocated blocks lie: inside the file, and over nothing else.

use super::{SECTOR, disk::Disk, header::Header};
use crate::{
    base::{ByteRange, ReadAt},
    formats::{BlockCensus, FormatError},
    report::{Code, WindowsError},
};

/// Counts the blocks of a disk after checking where each lies.
pub(super) fn census(file: &dyn ReadAt, disk: &Disk) -> Result<BlockCensus, FormatError> {
    let used_len = file.len();
    let Some(header) = &disk.header else {
        return Ok(BlockCensus {
            used_len,
            ..BlockCensus::default()
        });
    };
    let allocated = Allocated::read(file, disk, header)?;
    if let Some(header) = disk.differencing() {
        let areas = header.raw.locators.iter().filter(|slot| slot.is_used());
        let areas = areas.filter_map(|slot| slot.area());
        for area in areas.filter(|area| area.end() <= file.len()) {
            allocated.refuse_over("a parent locator", area)?;
        }
    }
    Ok(BlockCensus {
        blocks: u64::from(header.bat.blocks),
        present: u64::try_from(allocated.sectors.len()).unwrap_or(u64::MAX),
        used_len,
    })
}

/// Every block that is in the file, none over another or over a structure.
pub(super) struct Allocated {
    /// First sectors, in ascending order: 16 MiB for the largest table that is read.
    sectors: Vec<u32>,
    block_len: u64,
}

impl Allocated {
    /// Walks the table.
    pub(super) fn read(
        file: &dyn ReadAt,
        disk: &Disk,
        header: &Header,
    ) -> Result<Self, FormatError> {
        let mut allocated = Self {
            sectors: Vec::new(),
            block_len: header.block_len(),
        };
        header.bat.for_each_present(file, |block, sector| {
            let range = allocated.range(sector);
            refuse_past_end(block, range, disk)?;
            allocated.sectors.push(sector);
            Ok(())
        })?;
        allocated.sectors.sort_unstable();
        allocated.refuse_over_another()?;
        for (name, range) in disk.structures() {
            allocated.refuse_over(name, range)?;
        }
        Ok(allocated)
    }

    fn range(&self, sector: u32) -> ByteRange {
        block_range(sector, self.block_len)
    }

    fn refuse_over_another(&self) -> Result<(), FormatError> {
        let pairs = self.sectors.iter().zip(self.sectors.iter().skip(1));
        for (&sector, &next) in pairs {
            if self.range(sector).overlaps(self.range(next)) {
                let other = format!("the block at {:#x}", self.range(next).start());
                return Err(overlap(self.range(sector), other));
            }
        }
        Ok(())
    }

    /// Fails if a block lies over `range`, which `name` takes.
    fn refuse_over(&self, name: &str, range: ByteRange) -> Result<(), FormatError> {
        match self.over(range) {
            Some(block) => Err(overlap(block, format_args!("{name} at {range}"))),
            None => Ok(()),
        }
    }

    /// Returns a block that lies over `range`, if one does.
    pub(super) fn over(&self, range: ByteRange) -> Option<ByteRange> {
        // Blocks are apart from each other, so the last that begins before the range's end
        // also ends last.
        let before = |&sector: &u32| self.range(sector).start() < range.end();
        let last = self.sectors.partition_point(before).checked_sub(1)?;
        let block = self.range(*self.sectors.get(last)?);
        block.overlaps(range).then_some(block)
    }
}

/// The bytes of the block at `sector`, bitmap and data.
pub(super) fn block_range(sector: u32, block_len: u64) -> ByteRange {
    let start = u64::from(sector).saturating_mul(SECTOR);
    // 2 TiB and 257 MiB are far below the last offset.
    ByteRange::new(start, block_len).expect("a sector number of 32 bits and a block fit 64")
}

/// Fails if a block ends beyond the data, in the footer or past the end of the file.
pub(super) fn refuse_past_end(
    block: u32,
    range: ByteRange,
    disk: &Disk,
) -> Result<(), FormatError> {
    if range.end() <= disk.data_end() {
        return Ok(());
    }
    let reaches_past = range.end() > disk.footers.tail_range.end();
    if disk.has_footer() && !reaches_past {
        let footer = disk.footers.tail_range;
        return Err(overlap(range, format_args!("the footer at {footer}")));
    }
    Err(FormatError::corrupt(
        format_args!("block {block} at {:#x}", range.start()),
        format_args!("ends at {:#x}", range.end()),
        format_args!("an end before {:#x}", disk.data_end()),
        WindowsError::BAT_CORRUPT,
    )
    .coded(Code::Truncated))
}

fn overlap(block: ByteRange, other: impl std::fmt::Display) -> FormatError {
    FormatError::corrupt(
        format_args!("block at {:#x}", block.start()),
        format_args!("{block} lies over {other}"),
        "a place of its own",
        WindowsError::BAT_CORRUPT,
    )
    .coded(Code::OverlappingBlocks)
}
