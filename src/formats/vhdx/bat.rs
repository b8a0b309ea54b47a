//! The block allocation table: where each block is, and whether it can be there.

use super::{
    disk::Disk,
    raw::{MIB, index, read},
};
use crate::{
    base::{ByteRange, ReadAt},
    formats::{BlockCensus, FormatError},
    report::{Code, WindowsError},
};

/// A sector bitmap block: one bit for each logical sector of a chunk.
pub(super) const BITMAP_LEN: u64 = MIB;
const BITMAP_BITS: u64 = 1 << 23;
/// The table is walked in pieces of this length.
const PIECE: u64 = MIB;
const ENTRY_LEN: u64 = 8;
/// No block lies further in: twice the largest disk. It bounds the map of what is in use.
const MAX_FILE_OFFSET: u64 = 128 << 40;

/// How the table is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) virtual_size: u64,
    pub(super) block_size: u64,
    pub(super) sector: u64,
    pub(super) differencing: bool,
    /// Payload blocks of a chunk, which share a sector bitmap.
    pub(super) ratio: u64,
    /// Payload blocks of the disk.
    pub(super) blocks: u64,
    /// Entries of the table.
    pub(super) entries: u64,
}

impl Geometry {
    /// The layout for sizes that have been checked.
    pub(super) fn new(virtual_size: u64, block: u32, sector: u32, differencing: bool) -> Self {
        let (block_size, sector) = (u64::from(block), u64::from(sector));
        // At least 16: 2^23 sectors of 512 bytes over the largest block of 256 MiB.
        let ratio = BITMAP_BITS
            .saturating_mul(sector)
            .checked_div(block_size)
            .unwrap_or(1)
            .max(1);
        let blocks = virtual_size.div_ceil(block_size.max(1));
        let entries = if differencing {
            blocks
                .div_ceil(ratio)
                .saturating_mul(ratio.saturating_add(1))
        } else {
            let bitmaps = blocks.saturating_sub(1).checked_div(ratio).unwrap_or(0);
            blocks.saturating_add(bitmaps)
        };
        Self {
            virtual_size,
            block_size,
            sector,
            differencing,
            ratio,
            blocks,
            entries,
        }
    }

    /// The block that a virtual offset is in, and the offset within it.
    pub(super) fn block_of(&self, offset: u64) -> (u64, u64) {
        let block = offset.checked_div(self.block_size);
        (
            block.unwrap_or(0),
            offset.checked_rem(self.block_size).unwrap_or(0),
        )
    }

    /// The logical sectors before an offset.
    pub(super) fn sectors(&self, offset: u64) -> u64 {
        offset.checked_div(self.sector).unwrap_or(0)
    }

    /// Bytes of the table.
    pub(super) fn bat_len(&self) -> u64 {
        self.entries.saturating_mul(ENTRY_LEN)
    }

    /// The index of a payload block's entry.
    pub(super) fn payload_index(&self, block: u64) -> u64 {
        block.saturating_add(self.chunk(block))
    }

    /// The index of the entry of a chunk's sector bitmap.
    pub(super) fn bitmap_index(&self, chunk: u64) -> u64 {
        chunk
            .saturating_mul(self.ratio.saturating_add(1))
            .saturating_add(self.ratio)
    }

    /// The chunk that a payload block is in.
    pub(super) fn chunk(&self, block: u64) -> u64 {
        block.checked_div(self.ratio).unwrap_or(0)
    }

    /// Bytes of the sector bitmap that belong to one block: at least 32.
    pub(super) fn bitmap_part(&self) -> u64 {
        BITMAP_LEN.checked_div(self.ratio).unwrap_or(0)
    }

    /// Where a block's bits lie in the bitmap of its chunk.
    pub(super) fn bitmap_part_offset(&self, block: u64) -> u64 {
        let within = block.checked_rem(self.ratio).unwrap_or(0);
        within.saturating_mul(self.bitmap_part())
    }

    fn role(&self, index: u64) -> Role {
        let stride = self.ratio.saturating_add(1);
        match index.checked_rem(stride) {
            Some(within) if within == self.ratio => Role::Bitmap,
            // Each chunk before this one has one bitmap.
            _ => Role::Payload(index.saturating_sub(index.checked_div(stride).unwrap_or(0))),
        }
    }
}

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The payload block of this number; in a differencing disk the last chunk has numbers
    /// beyond the disk's end.
    Payload(u64),
    Bitmap,
}

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not in this file, and the parent's in a differencing disk.
    Absent,
    /// Not in this file, and zero: undefined, zero or unmapped.
    Zero,
    /// All of the block is here.
    Full(u64),
    /// The sectors whose bits are set are here, the others the parent's.
    Partial(u64),
    /// The sector bitmap is here.
    Bitmap(u64),
}

/// One entry of the table, its bits checked, its place not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) index: u64,
    pub(super) role: Role,
    pub(super) state: State,
    /// The offset in the entry, even where the state gives it no meaning.
    pub(super) offset: u64,
}

impl Entry {
    /// Reads entry `index`.
    pub(super) fn parse(
        geometry: &Geometry,
        bat: ByteRange,
        index: u64,
        raw: u64,
    ) -> Result<Self, FormatError> {
        let place = || place(bat, index);
        let (code, reserved, offset) = (raw & 7, raw & 0xF_FFF8, raw & !0xF_FFFF);
        if reserved != 0 {
            return Err(bad(
                place(),
                format!("reserved bits in {raw:#018x}"),
                "none",
            ));
        }
        let role = geometry.role(index);
        let state = match (role, code) {
            (_, 0) => State::Absent,
            (Role::Payload(_), 1..=3) => State::Zero,
            (Role::Payload(_), 6) => State::Full(offset),
            (Role::Payload(_), 7) if geometry.differencing => State::Partial(offset),
            (Role::Payload(_), 7) => {
                return Err(bad(
                    place(),
                    "a block that is partially present",
                    "a disk with a parent",
                ));
            }
            (Role::Payload(_), _) => {
                return Err(FormatError::unsupported(
                    place(),
                    format!("block state {code}"),
                ));
            }
            (Role::Bitmap, 6) => State::Bitmap(offset),
            (Role::Bitmap, _) => {
                return Err(bad(
                    place(),
                    format!("sector bitmap state {code}"),
                    "0 or 6",
                ));
            }
        };
        let entry = Self {
            index,
            role,
            state,
            offset,
        };
        if matches!(state, State::Full(at) | State::Partial(at) | State::Bitmap(at) if at < MIB) {
            return Err(bad(
                place(),
                format!("block at {offset:#x}"),
                "past the first MiB",
            ));
        }
        Ok(entry)
    }

    /// The bytes of the file that the entry claims; `None` if it claims none.
    fn claim(&self, geometry: &Geometry, bat: ByteRange) -> Result<Option<ByteRange>, FormatError> {
        let (offset, len) = match self.state {
            State::Absent | State::Zero => return Ok(None),
            State::Full(at) | State::Partial(at) => (at, geometry.block_size),
            State::Bitmap(at) => (at, BITMAP_LEN),
        };
        let range = ByteRange::new(offset, len).filter(|range| range.end() <= MAX_FILE_OFFSET);
        let beyond = || FormatError::unsupported(place(bat, self.index), "an offset past 128 TiB");
        range.map(Some).ok_or_else(beyond)
    }
}

fn place(bat: ByteRange, index: u64) -> String {
    let at = bat.start().saturating_add(index.saturating_mul(ENTRY_LEN));
    format!("BAT entry {index} at {at:#x}")
}

pub(super) fn bad(
    place: impl std::fmt::Display,
    found: impl std::fmt::Display,
    expected: impl std::fmt::Display,
) -> FormatError {
    FormatError::corrupt(place, found, expected, WindowsError::BAT_CORRUPT)
}

/// Reads the `count` entries from `first` on, all of them in the table, as they lie there.
pub(super) fn read_entries(
    file: &dyn ReadAt,
    bat: ByteRange,
    first: u64,
    count: u64,
) -> Result<Vec<u64>, FormatError> {
    let offset = bat.start().saturating_add(first.saturating_mul(ENTRY_LEN));
    let len = index(count.saturating_mul(ENTRY_LEN));
    let bytes = read(file, offset, len, format!("BAT at {offset:#x}"))?;
    let (entries, _) = bytes.as_chunks::<8>();
    Ok(entries
        .iter()
        .map(|&entry| u64::from_le_bytes(entry))
        .collect())
}

/// Walks the whole table of a settled disk: every block must lie inside the file and over
/// nothing else. `look` sees each entry, and may refuse.
pub(super) fn walk(
    file: &dyn ReadAt,
    disk: &Disk,
    look: &mut dyn FnMut(&Entry) -> Result<(), FormatError>,
) -> Result<BlockCensus, FormatError> {
    let (geometry, bat) = (&disk.geometry, disk.regions.bat);
    let mut walk = Walk::new(disk);
    let mut first = 0;
    while first < geometry.entries {
        let count = geometry
            .entries
            .saturating_sub(first)
            .min(PIECE / ENTRY_LEN);
        let raw = read_entries(file, bat, first, count)?;
        for (index, raw) in (first..).zip(raw) {
            let entry = Entry::parse(geometry, bat, index, raw)?;
            look(&entry)?;
            walk.take(&entry)?;
        }
        first = first.saturating_add(count);
    }
    Ok(walk.census)
}

struct Walk<'a> {
    disk: &'a Disk,
    used: Used,
    census: BlockCensus,
    /// The entry of a partial block in this chunk, which needs a sector bitmap.
    partial: Option<u64>,
}

impl<'a> Walk<'a> {
    fn new(disk: &'a Disk) -> Self {
        let mut walk = Self {
            disk,
            used: Used::new(disk.file_len),
            census: BlockCensus {
                blocks: disk.geometry.blocks,
                ..BlockCensus::default()
            },
            partial: None,
        };
        for range in disk.structure_ranges() {
            // That structures are apart from each other has been checked.
            walk.used.mark(range);
            walk.census.used_len = walk.census.used_len.max(range.end());
        }
        walk
    }

    fn take(&mut self, entry: &Entry) -> Result<(), FormatError> {
        let (geometry, bat) = (&self.disk.geometry, self.disk.regions.bat);
        match (entry.role, entry.state) {
            (_, State::Partial(_)) => self.partial = Some(entry.index),
            (Role::Bitmap, State::Bitmap(_)) => self.partial = None,
            (Role::Bitmap, _) => {
                if let Some(partial) = self.partial {
                    let found = "a partial block without a sector bitmap";
                    return Err(bad(place(bat, partial), found, "a bitmap for its chunk"));
                }
            }
            _ => {}
        }
        let Some(range) = entry.claim(geometry, bat)? else {
            return Ok(());
        };
        let place = || place(bat, entry.index);
        if range.end() > self.disk.file_len {
            let found = format!(
                "block at {range}, and the file ends at {:#x}",
                self.disk.file_len
            );
            return Err(bad(place(), found, "all of it").coded(Code::Truncated));
        }
        if !self.used.mark(range) {
            let found = format!("block at {range} over something else");
            return Err(bad(place(), found, "a place of its own").coded(Code::OverlappingBlocks));
        }
        let inside = matches!(entry.role, Role::Payload(block) if block < geometry.blocks);
        self.census.present = self.census.present.saturating_add(u64::from(inside));
        self.census.used_len = self.census.used_len.max(range.end());
        Ok(())
    }
}

/// Which megabytes of a file are in use: a bit each.
struct Used(Vec<u64>);

impl Used {
    fn new(file_len: u64) -> Self {
        let megabytes = file_len.min(MAX_FILE_OFFSET).div_ceil(MIB);
        Self(vec![0; index(megabytes.div_ceil(64))])
    }

    /// Marks the megabytes of `range`; tells whether all of them were free, and in the map.
    fn mark(&mut self, range: ByteRange) -> bool {
        let megabytes = range.start() / MIB..range.end().div_ceil(MIB);
        let mut free = true;
        for megabyte in megabytes {
            let bit = 1 << (megabyte % 64);
            match self.0.get_mut(index(megabyte / 64)) {
                Some(word) if *word & bit == 0 => *word |= bit,
                _ => free = false,
            }
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIB: u64 = 1 << 40;

    #[test]
    fn the_table_of_a_disk_has_the_entries_that_the_specification_counts() {
        let entries = |size, block: u32, sector, differencing| {
            Geometry::new(size, block << 20, sector, differencing).entries
        };
        assert_eq!(entries(4 << 20, 2, 512, true), 2049);
        assert_eq!(entries(8 << 30, 2, 512, true), 4098);
        assert_eq!(entries(10 << 30, 32, 512, false), 322);
        assert_eq!(entries(10 << 30, 1, 512, false), 10_242);
        assert_eq!(entries(512, 256, 512, false), 1);
        assert_eq!(entries(64 * TIB, 1, 512, true), 67_125_248);
    }

    #[test]
    fn the_chunk_ratio_follows_from_block_and_sector_size() {
        let ratio = |block: u32, sector| Geometry::new(1 << 30, block << 20, sector, false).ratio;
        assert_eq!(ratio(2, 512), 2048);
        assert_eq!(ratio(32, 512), 128);
        assert_eq!(ratio(1, 512), 4096);
        assert_eq!(ratio(256, 512), 16);
        assert_eq!(ratio(1, 4096), 32_768);
    }

    #[test]
    fn every_index_is_either_a_payload_block_or_a_bitmap() {
        let geometry = Geometry::new(3 << 30, 256 << 20, 512, true);
        assert_eq!((geometry.ratio, geometry.entries), (16, 17));
        let geometry = Geometry {
            entries: 51,
            ..geometry
        };
        for block in 0..48 {
            let index = geometry.payload_index(block);
            assert_eq!(geometry.role(index), Role::Payload(block));
        }
        for chunk in 0..3 {
            assert_eq!(geometry.role(geometry.bitmap_index(chunk)), Role::Bitmap);
        }
        assert_eq!(geometry.bitmap_part(), 65_536);
        assert_eq!(geometry.bitmap_part_offset(17), 65_536);
    }

    #[test]
    fn a_megabyte_is_free_once() {
        let mut used = Used::new(100 * MIB + 1);
        let range = |start, len| ByteRange::new(start * MIB, len * MIB).unwrap();
        assert!(used.mark(range(60, 10)));
        assert!(!used.mark(range(69, 1)));
        assert!(used.mark(range(70, 31)));
        assert!(!used.mark(range(128, 1)), "past the end");
    }
}
