//! New disks, laid out as Windows does: log, metadata, BAT, blocks.

use std::{
    collections::BTreeMap,
    io::{self, SeekFrom},
};

use super::{
    bat::{BITMAP_LEN, Geometry},
    header::{FreshHeader, Slot},
    locator::Locator,
    metadata::{NewMetadata, is_block_size, is_virtual_size},
    raw::{FILE_SIGNATURE, Guid, MIB, derive_guid, index, len64},
    region,
};
use crate::{
    base::ByteRange,
    formats::{DiskKind, FormatError, NewDisk, WriteSeek},
};

const LOG: u64 = 0x10_0000;
const METADATA: u64 = 0x20_0000;
const BAT: u64 = 0x30_0000;
const REGION_TABLES: [u64; 2] = [0x3_0000, 0x4_0000];
const CREATOR: &str = "labpack";
/// BAT entries that are written at a time: 64 KiB.
const PAGE: u64 = 8192;
const FULL: u64 = 6;
const PARTIAL: u64 = 7;
const BITMAP: u64 = 6;

/// Writes the disk.
pub(in crate::formats) fn write_new(
    disk: &NewDisk,
    out: &mut dyn WriteSeek,
) -> Result<(), FormatError> {
    let plan = Plan::new(disk)?;
    let mut out = Output { out };
    let written = plan.write(&mut out);
    written.map_err(|source| FormatError::unreadable("the place where a new disk goes", source))
}

fn refuse(what: impl std::fmt::Display) -> FormatError {
    FormatError::unsupported("new disk", what)
}

/// Bytes of one block, from an offset within it.
type Piece<'a> = (u64, &'a [u8]);

/// Everything about a new disk but the act of writing.
struct Plan<'a> {
    disk: &'a NewDisk,
    geometry: Geometry,
    metadata: Vec<u8>,
    bat: ByteRange,
    /// What is to be in each block.
    blocks: BTreeMap<u64, Vec<Piece<'a>>>,
    /// Where blocks are. A fixed disk has them all, in order; they are not listed.
    places: BTreeMap<u64, u64>,
    /// Where the sector bitmaps of chunks are.
    bitmaps: BTreeMap<u64, u64>,
    end: u64,
}

impl<'a> Plan<'a> {
    fn new(disk: &'a NewDisk) -> Result<Self, FormatError> {
        let block_size = disk.block_size.unwrap_or(match disk.kind {
            DiskKind::Differencing => 2 << 20,
            DiskKind::Fixed | DiskKind::Dynamic => 32 << 20,
        });
        check(disk, block_size)?;
        let child = disk.parent.is_some();
        let geometry = Geometry::new(disk.virtual_size, block_size, disk.logical_sector, child);
        let bat_len = geometry.bat_len().next_multiple_of(MIB);
        let bat = ByteRange::new(BAT, bat_len).ok_or_else(|| refuse("a BAT of this length"))?;
        let mut plan = Self {
            disk,
            geometry,
            metadata: metadata(disk, block_size)?,
            bat,
            blocks: split(disk, &geometry),
            places: BTreeMap::new(),
            bitmaps: BTreeMap::new(),
            end: bat.end(),
        };
        plan.place()?;
        Ok(plan)
    }

    /// Finds a place for each block that is to be in the file, and for the bitmaps of partial ones
    /// before them.
    fn place(&mut self) -> Result<(), FormatError> {
        let overflow = || refuse("a file of this length");
        if self.disk.kind == DiskKind::Fixed {
            let len = self.geometry.blocks.checked_mul(self.geometry.block_size);
            let end = len.and_then(|len| self.end.checked_add(len));
            self.end = end.ok_or_else(overflow)?;
            return Ok(());
        }
        let blocks: Vec<_> = self.blocks.keys().copied().collect();
        for block in blocks {
            let chunk = self.geometry.chunk(block);
            if self.is_partial(block) && !self.bitmaps.contains_key(&chunk) {
                self.bitmaps.insert(chunk, self.end);
                self.end = self.end.checked_add(BITMAP_LEN).ok_or_else(overflow)?;
            }
            self.places.insert(block, self.end);
            let end = self.end.checked_add(self.geometry.block_size);
            self.end = end.ok_or_else(overflow)?;
        }
        Ok(())
    }

    /// Tells whether some sectors of a block are to be the parent's.
    fn is_partial(&self, block: u64) -> bool {
        let given = self.blocks.get(&block).into_iter().flatten();
        let given = given
            .map(|(_, bytes)| len64(bytes.len()))
            .fold(0, u64::saturating_add);
        let start = block.saturating_mul(self.geometry.block_size);
        let left = self.geometry.virtual_size.saturating_sub(start);
        self.geometry.differencing && given < left.min(self.geometry.block_size)
    }

    fn place_of(&self, block: u64) -> u64 {
        let fixed = || {
            let before = block.saturating_mul(self.geometry.block_size);
            self.bat.end().saturating_add(before)
        };
        self.places.get(&block).copied().unwrap_or_else(fixed)
    }

    fn write(&self, out: &mut Output<'_>) -> io::Result<()> {
        self.write_head(out)?;
        out.put(METADATA, &self.metadata)?;
        self.write_bat(out)?;
        self.write_bitmaps(out)?;
        for (block, pieces) in &self.blocks {
            let place = self.place_of(*block);
            for (within, bytes) in pieces {
                out.put(place.saturating_add(*within), bytes)?;
            }
        }
        out.reach(self.end)
    }

    fn write_head(&self, out: &mut Output<'_>) -> io::Result<()> {
        let mut identifier = FILE_SIGNATURE.to_vec();
        identifier.extend(CREATOR.encode_utf16().flat_map(u16::to_le_bytes));
        out.put(0, &identifier)?;
        let data_write_guid = self.disk.own_id.to_vhdx();
        let purpose = "labpack vhdx FileWriteGuid of a new disk v1";
        for (slot, sequence) in [(Slot::First, 1), (Slot::Second, 2)] {
            let header = FreshHeader {
                sequence,
                file_write_guid: derive_guid(purpose, &[&data_write_guid]),
                data_write_guid,
                log: megabyte(LOG),
            };
            out.put(slot.offset(), &header.to_bytes())?;
        }
        let table = region::table(self.bat, megabyte(METADATA));
        REGION_TABLES
            .iter()
            .try_for_each(|&offset| out.put(offset, &table))
    }

    fn write_bat(&self, out: &mut Output<'_>) -> io::Result<()> {
        if self.disk.kind == DiskKind::Fixed {
            let entry = |block| {
                (
                    self.geometry.payload_index(block),
                    self.place_of(block) | FULL,
                )
            };
            return self.write_entries(out, (0..self.geometry.blocks).map(entry));
        }
        let blocks = self.places.iter().map(|(&block, &place)| {
            let state = if self.is_partial(block) {
                PARTIAL
            } else {
                FULL
            };
            (self.geometry.payload_index(block), place | state)
        });
        let bitmaps = self.bitmaps.iter();
        let bitmaps = bitmaps.map(|(&chunk, &at)| (self.geometry.bitmap_index(chunk), at | BITMAP));
        let entries: BTreeMap<_, _> = blocks.chain(bitmaps).collect();
        self.write_entries(out, entries.into_iter())
    }

    /// Writes entries, which ascend, in pages; a page with none in it stays a hole.
    fn write_entries(
        &self,
        out: &mut Output<'_>,
        entries: impl Iterator<Item = (u64, u64)>,
    ) -> io::Result<()> {
        let mut page = Vec::new();
        let mut first = 0;
        for (entry, raw) in entries {
            let start = entry.saturating_sub(entry % PAGE);
            if start != first {
                out.put(self.bat_offset(first), &page)?;
                page.clear();
                first = start;
            }
            page.resize(index(entry.saturating_sub(first).saturating_mul(8)), 0);
            page.extend_from_slice(&raw.to_le_bytes());
        }
        out.put(self.bat_offset(first), &page)
    }

    fn bat_offset(&self, entry: u64) -> u64 {
        self.bat.start().saturating_add(entry.saturating_mul(8))
    }

    fn write_bitmaps(&self, out: &mut Output<'_>) -> io::Result<()> {
        for (&block, pieces) in self
            .blocks
            .iter()
            .filter(|(block, _)| self.is_partial(**block))
        {
            let Some(bitmap) = self.bitmaps.get(&self.geometry.chunk(block)) else {
                continue;
            };
            let mut bits = vec![0_u8; index(self.geometry.bitmap_part())];
            for (within, bytes) in pieces {
                let first = self.geometry.sectors(*within);
                let count = self.geometry.sectors(len64(bytes.len()));
                for sector in first..first.saturating_add(count) {
                    if let Some(byte) = bits.get_mut(index(sector / 8)) {
                        *byte |= 1 << (sector % 8);
                    }
                }
            }
            out.put(
                bitmap.saturating_add(self.geometry.bitmap_part_offset(block)),
                &bits,
            )?;
        }
        Ok(())
    }
}

/// Checks that the description makes sense.
fn check(disk: &NewDisk, block_size: u32) -> Result<(), FormatError> {
    if !matches!(disk.logical_sector, 512 | 4096) {
        return Err(refuse(format!("a sector of {} bytes", disk.logical_sector)));
    }
    if !is_virtual_size(disk.virtual_size, disk.logical_sector) {
        return Err(refuse(format!("a size of {} bytes", disk.virtual_size)));
    }
    if !is_block_size(block_size) {
        return Err(refuse(format!("a block of {block_size} bytes")));
    }
    if (disk.kind == DiskKind::Differencing) != disk.parent.is_some() {
        return Err(refuse(format!(
            "a {} disk with or without this parent",
            disk.kind
        )));
    }
    let sector = u64::from(disk.logical_sector);
    let mut free_from = 0;
    for (offset, bytes) in &disk.data {
        let len = len64(bytes.len());
        let whole = offset.is_multiple_of(sector) && len.is_multiple_of(sector);
        let range = ByteRange::new(*offset, len).filter(|range| range.end() <= disk.virtual_size);
        let range = range.filter(|range| whole && range.start() >= free_from);
        let range = range.ok_or_else(|| refuse(format!("data of {len} bytes at {offset:#x}")))?;
        free_from = range.end();
    }
    Ok(())
}

/// Cuts the data at the ends of blocks.
fn split<'a>(disk: &'a NewDisk, geometry: &Geometry) -> BTreeMap<u64, Vec<Piece<'a>>> {
    let mut blocks = BTreeMap::<u64, Vec<Piece<'a>>>::new();
    for (offset, bytes) in &disk.data {
        let (mut offset, mut rest) = (*offset, bytes.as_slice());
        while !rest.is_empty() {
            let (block, within) = geometry.block_of(offset);
            let room = index(geometry.block_size.saturating_sub(within)).max(1);
            let (piece, more) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            blocks.entry(block).or_default().push((within, piece));
            offset = offset.saturating_add(len64(piece.len()));
            rest = more;
        }
    }
    blocks
}

fn metadata(disk: &NewDisk, block_size: u32) -> Result<Vec<u8>, FormatError> {
    let parent = disk.parent.as_ref();
    let locator = parent.map(|parent| Locator::new(parent.id, &parent.paths).to_bytes());
    let metadata = NewMetadata {
        block_size,
        fixed: disk.kind == DiskKind::Fixed,
        virtual_size: disk.virtual_size,
        logical_sector: disk.logical_sector,
        page83: page83(disk),
        locator: locator.transpose()?,
    };
    let bytes = metadata.to_bytes();
    if len64(bytes.len()) > MIB {
        return Err(refuse("paths that fill the metadata region"));
    }
    Ok(bytes)
}

/// A child shows its guest the id that its base shows.
fn page83(disk: &NewDisk) -> Guid {
    if let Some(id) = disk.page83_id {
        return id.to_vhdx();
    }
    let base = disk.parent.as_ref().map_or(disk.own_id, |parent| parent.id);
    derive_guid(
        "labpack vhdx page 83 id of a new disk v1",
        &[&base.to_vhdx()],
    )
}

fn megabyte(start: u64) -> ByteRange {
    ByteRange::new(start, MIB).expect("the offsets of the first regions are small")
}

/// A file that is written at offsets.
struct Output<'a> {
    out: &'a mut dyn WriteSeek,
}

impl Output<'_> {
    fn put(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.out.seek(SeekFrom::Start(offset))?;
        self.out.write_all(bytes)
    }

    /// Makes the file at least `len` bytes long; what it has is left alone.
    fn reach(&mut self, len: u64) -> io::Result<()> {
        let now = self.out.seek(SeekFrom::End(0))?;
        if now < len {
            self.put(len.saturating_sub(1), &[0])?;
        }
        self.out.flush()
    }
}
