//! New VHDs, laid out as Windows 10 does.

use std::io::{self, SeekFrom};

use zerocopy::{FromZeros, IntoBytes};

use super::{
    SECTOR,
    bat::ABSENT,
    footer::{MOST_BYTES, type_code},
    geometry::Geometry,
    header::{BLOCK_SIZES, MOST_ENTRIES, bitmap_len},
    locator::{W2KU, W2RU},
    names::Names,
    raw::{FOOTER_COOKIE, HEADER_COOKIE, RawFooter, RawHeader, VERSION_1},
    rewrite::{len, slot},
};
use crate::{
    base::ByteRange,
    formats::{DiskKind, FormatError, NewDisk, NewParent, WriteSeek},
};

/// What Windows aligns data to.
const PAGE: u64 = 4096;
/// Room for the relative path in Windows' files.
const RELATIVE_ROOM: u64 = 65_536;
/// The block size that Windows takes unless told otherwise.
const DEFAULT_BLOCK: u32 = 2 << 20;
/// Table entries that are written at a time.
const TABLE_PIECE: u32 = 16_384;

/// Writes `disk` from the start of `out`.
pub(super) fn write_new(disk: &NewDisk, out: &mut dyn WriteSeek) -> Result<(), FormatError> {
    check(disk)?;
    let mut out = Out(out);
    let footer = footer(disk);
    if disk.kind == DiskKind::Fixed {
        for (offset, bytes) in &disk.data {
            out.put_data(*offset, bytes)?;
        }
        return out.put(disk.virtual_size, footer.as_bytes());
    }
    let plan = Plan::of(disk)?;
    out.put(0, footer.as_bytes())?;
    out.put(SECTOR, plan.header(disk)?.as_bytes())?;
    if let Some(areas) = &plan.areas {
        out.put(areas.absolute.start(), &areas.names.absolute)?;
        out.put(areas.relative.start(), &areas.names.relative)?;
    }
    plan.write_table(&mut out)?;
    for (at, &block) in (0_u64..).zip(&plan.present) {
        plan.write_block(disk, block, plan.place(at), &mut out)?;
    }
    out.put(plan.place(plan.count()), footer.as_bytes())
}

/// Where things go in a disk that is not fixed.
struct Plan {
    block_size: u32,
    blocks: u32,
    /// The blocks with data, in ascending order.
    present: Vec<u32>,
    areas: Option<Areas>,
    /// The table, filled up to whole pages.
    table: ByteRange,
    first_block: u64,
}

/// The areas of a differencing disk's locators, and what they hold.
struct Areas {
    absolute: ByteRange,
    relative: ByteRange,
    names: Names,
}

impl Plan {
    fn of(disk: &NewDisk) -> Result<Self, FormatError> {
        let block_size = disk.block_size.unwrap_or(DEFAULT_BLOCK);
        let blocks = disk.virtual_size.div_ceil(u64::from(block_size));
        let blocks = u32::try_from(blocks)
            .ok()
            .filter(|&blocks| blocks <= MOST_ENTRIES);
        let blocks = blocks.ok_or_else(|| wrong("a table of more than 4194304 blocks"))?;
        let table_len = u64::from(blocks).saturating_mul(4);
        let (table, areas) = match &disk.parent {
            None => {
                let end = 0x600_u64.saturating_add(table_len).next_multiple_of(PAGE);
                (between(0x600, end), None)
            }
            Some(parent) => {
                let names = Names::of(&parent.paths)?;
                let absolute = range(PAGE, pages(len(&names.absolute)));
                let table = range(absolute.end(), pages(table_len));
                let room = pages(len(&names.relative)).max(RELATIVE_ROOM);
                let areas = Areas {
                    absolute,
                    relative: range(table.end(), room),
                    names,
                };
                (table, Some(areas))
            }
        };
        let end = areas
            .as_ref()
            .map_or(table.end(), |areas| areas.relative.end());
        let bitmap = bitmap_len(block_size);
        let lead = pages(bitmap).saturating_sub(bitmap);
        let plan = Self {
            block_size,
            blocks,
            present: present(disk, block_size),
            areas,
            table,
            // Bitmaps end on a page, so that data starts on one.
            first_block: end.saturating_add(lead),
        };
        if plan.place(plan.count()) / SECTOR >= u64::from(ABSENT) {
            return Err(wrong("a file of more than 2 TiB"));
        }
        Ok(plan)
    }

    fn count(&self) -> u64 {
        u64::try_from(self.present.len()).unwrap_or(u64::MAX)
    }

    /// Where the `at`-th block of the file goes; after the last one, the footer.
    fn place(&self, at: u64) -> u64 {
        let stride = pages(bitmap_len(self.block_size)).saturating_add(u64::from(self.block_size));
        self.first_block.saturating_add(stride.saturating_mul(at))
    }

    fn header(&self, disk: &NewDisk) -> Result<RawHeader, FormatError> {
        let mut raw = RawHeader::new_zeroed();
        raw.cookie = HEADER_COOKIE;
        raw.next = u64::MAX.into();
        raw.bat_offset = self.table.start().into();
        raw.version = VERSION_1.into();
        raw.entries = self.blocks.into();
        raw.block_size = self.block_size.into();
        if let Some((areas, parent)) = self.areas.as_ref().zip(disk.parent.as_ref()) {
            name_parent(&mut raw, areas, parent);
        }
        raw.seal();
        Ok(raw)
    }

    /// Writes the table, in pieces, and all ones behind it up to its page's end.
    fn write_table(&self, out: &mut Out<'_>) -> Result<(), FormatError> {
        let entries = u32::try_from(self.table.len() / 4).unwrap_or(u32::MAX);
        let mut present = (0_u64..).zip(&self.present).peekable();
        let (mut first, mut offset) = (0, self.table.start());
        while first < entries {
            let end = first.saturating_add(TABLE_PIECE).min(entries);
            let mut piece = Vec::new();
            for block in first..end {
                let at = present.next_if(|(_, present)| **present == block);
                let sector = at.and_then(|(at, _)| u32::try_from(self.place(at) / SECTOR).ok());
                piece.extend(sector.unwrap_or(ABSENT).to_be_bytes());
            }
            out.put(offset, &piece)?;
            offset = offset.saturating_add(len(&piece));
            first = end;
        }
        Ok(())
    }

    /// Writes a block's bitmap and what data it has.
    fn write_block(
        &self,
        disk: &NewDisk,
        block: u32,
        place: u64,
        out: &mut Out<'_>,
    ) -> Result<(), FormatError> {
        let size = u64::from(self.block_size);
        let span = range(u64::from(block).saturating_mul(size), size);
        let bitmap_len = bitmap_len(self.block_size);
        let mut bitmap = vec![0; usize::try_from(bitmap_len).unwrap_or(0)];
        let first = disk
            .data
            .partition_point(|(at, bytes)| extent(*at, bytes).end() <= span.start());
        for (at, bytes) in disk
            .data
            .iter()
            .skip(first)
            .take_while(|(at, _)| *at < span.end())
        {
            let piece = extent(*at, bytes);
            let start = piece.start().max(span.start());
            let end = piece.end().min(span.end());
            let within = between(
                start.saturating_sub(span.start()),
                end.saturating_sub(span.start()),
            );
            mark(&mut bitmap, within);
            let bytes = part(bytes, start.saturating_sub(*at), end.saturating_sub(*at));
            let data = place.saturating_add(bitmap_len);
            out.put_data(data.saturating_add(within.start()), bytes)?;
        }
        out.put(place, &bitmap)
    }
}

fn name_parent(raw: &mut RawHeader, areas: &Areas, parent: &NewParent) {
    let names = &areas.names;
    raw.parent_id = parent.id.to_vhd();
    raw.parent_timestamp = parent.timestamp.into();
    raw.parent_name = names.field;
    let [first, second, ..] = &mut raw.locators;
    *first = slot(W2KU, areas.absolute, &names.absolute);
    *second = slot(W2RU, areas.relative, &names.relative);
}

/// The blocks that some data lies in.
fn present(disk: &NewDisk, block_size: u32) -> Vec<u32> {
    let mut present = Vec::new();
    for (at, bytes) in disk.data.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        let block = |offset: u64| offset.div_euclid(u64::from(block_size));
        let last = block(extent(*at, bytes).end().saturating_sub(1));
        present.extend((block(*at)..=last).filter_map(|block| u32::try_from(block).ok()));
    }
    present.dedup();
    present
}

/// Sets the bits of the sectors of `within`, a stretch of the block.
fn mark(bitmap: &mut [u8], within: ByteRange) {
    for sector in within.start() / SECTOR..within.end() / SECTOR {
        let byte = usize::try_from(sector / 8).ok();
        if let Some(byte) = byte.and_then(|byte| bitmap.get_mut(byte)) {
            *byte |= 0x80 >> (sector % 8);
        }
    }
}

fn footer(disk: &NewDisk) -> RawFooter {
    let geometry = Geometry::of(disk.virtual_size);
    let mut raw = RawFooter::new_zeroed();
    raw.cookie = FOOTER_COOKIE;
    raw.features = 2.into();
    raw.version = VERSION_1.into();
    raw.data_offset = match disk.kind {
        DiskKind::Fixed => u64::MAX.into(),
        DiskKind::Dynamic | DiskKind::Differencing => SECTOR.into(),
    };
    // The time of creation stays 0: the same description gives the same bytes.
    raw.creator = *b"win ";
    raw.creator_version = 0x000A_0000.into();
    raw.creator_os = *b"Wi2k";
    raw.original_size = disk.virtual_size.into();
    raw.current_size = disk.virtual_size.into();
    raw.cylinders = geometry.cylinders.into();
    raw.heads = geometry.heads;
    raw.sectors_per_track = geometry.sectors_per_track;
    raw.disk_type = type_code(disk.kind).into();
    raw.unique_id = disk.own_id.to_vhd();
    raw.seal();
    raw
}

/// Refuses a description that contradicts itself or the format.
fn check(disk: &NewDisk) -> Result<(), FormatError> {
    let size = disk.virtual_size;
    if size == 0 || !size.is_multiple_of(SECTOR) || size > MOST_BYTES {
        return Err(wrong(format_args!("a size of {size} bytes")));
    }
    if disk.logical_sector != 512 {
        return Err(wrong(format_args!(
            "a sector of {} bytes",
            disk.logical_sector
        )));
    }
    if (disk.kind == DiskKind::Differencing) != disk.parent.is_some() {
        return Err(wrong(
            "a parent without a differencing disk, or the reverse,",
        ));
    }
    if let Some(block) = disk.block_size
        && !(block.is_power_of_two() && BLOCK_SIZES.contains(&block))
    {
        return Err(wrong(format_args!("a block of {block} bytes")));
    }
    let mut free = 0;
    for (at, bytes) in &disk.data {
        let end = at
            .checked_add(len(bytes))
            .filter(|&end| end <= size && *at >= free);
        let whole = at.is_multiple_of(SECTOR) && len(bytes).is_multiple_of(SECTOR);
        free = end
            .filter(|_| whole)
            .ok_or_else(|| wrong(format_args!("data of {} bytes at {at:#x}", bytes.len())))?;
    }
    Ok(())
}

fn wrong(what: impl std::fmt::Display) -> FormatError {
    FormatError::unsupported("new VHD", what)
}

fn pages(len: u64) -> u64 {
    len.div_ceil(PAGE).saturating_mul(PAGE)
}

/// Offsets here grow from a size of at most 2040 GiB, and end far below the last.
fn range(start: u64, len: u64) -> ByteRange {
    ByteRange::new(start, len).expect("offsets of a new disk are small")
}

fn between(start: u64, end: u64) -> ByteRange {
    ByteRange::between(start, end).expect("ends are computed from starts")
}

fn extent(at: u64, bytes: &[u8]) -> ByteRange {
    range(at, len(bytes))
}

fn part(bytes: &[u8], start: u64, end: u64) -> &[u8] {
    let index = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    bytes.get(index(start)..index(end)).unwrap_or_default()
}

/// A file that is written here and there.
struct Out<'a>(&'a mut dyn WriteSeek);

impl Out<'_> {
    fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<(), FormatError> {
        let mut write = || -> io::Result<()> {
            self.0.seek(SeekFrom::Start(offset))?;
            self.0.write_all(bytes)
        };
        write().map_err(|source| FormatError::Unwritable {
            place: format!("new VHD at {offset:#x}"),
            source,
        })
    }

    /// Writes data, but for pages of zeros: what is not written reads so.
    fn put_data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), FormatError> {
        let offsets = (0..).map(|i: u64| offset.saturating_add(i.saturating_mul(PAGE)));
        for (at, piece) in offsets.zip(bytes.chunks(4096)) {
            if piece.iter().any(|&byte| byte != 0) {
                self.put(at, piece)?;
            }
        }
        Ok(())
    }
}
