//! A VHD as one level of a chain.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    SECTOR,
    bat::{ABSENT, PAGE},
    blocks::{block_range, refuse_past_end},
    disk::Disk,
    header::Header,
};
use crate::{
    base::{ByteRange, ReadAt},
    formats::{DiskInfo, DiskKind, Extent, FormatError, Layer, Source},
    report::{Code, WindowsError},
};

/// A VHD opened for reading. Keeps one page of the table and one bitmap in memory.
pub(super) struct VhdLayer {
    file: Arc<dyn ReadAt>,
    disk: Disk,
    info: DiskInfo,
    cache: Mutex<Cache>,
}

/// What was read last: at most 64 KiB of the table, and a bitmap of at most 64 KiB.
#[derive(Default)]
struct Cache {
    page: Option<(u32, Vec<u32>)>,
    bitmap: Option<(u32, Vec<u8>)>,
}

impl VhdLayer {
    /// Reads footers and header.
    pub(super) fn open(file: Arc<dyn ReadAt>) -> Result<Self, FormatError> {
        let disk = Disk::read(&file)?;
        let info = disk.info(&file)?;
        Ok(Self {
            file,
            disk,
            info,
            cache: Mutex::default(),
        })
    }

    fn extent_in_block(&self, header: &Header, offset: u64) -> Result<Extent, FormatError> {
        let block_size = u64::from(header.block_size);
        let block = u32::try_from(offset.div_euclid(block_size)).unwrap_or(u32::MAX);
        let within = offset.rem_euclid(block_size);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = cache.entries(&self.file, header, block)?;
        let sector = entries.first().copied().unwrap_or(ABSENT);
        if sector == ABSENT {
            let absent = entries.iter().take_while(|&&entry| entry == ABSENT).count();
            let absent = u64::try_from(absent).unwrap_or(1).max(1);
            let len = absent.saturating_mul(block_size).saturating_sub(within);
            return Ok(self.elsewhere(len));
        }
        let place = self.check_place(header, block, sector)?;
        let data = place.start().saturating_add(header.bitmap_len());
        let here = Source::Here(data.saturating_add(within));
        let rest = block_size.saturating_sub(within);
        if self.info.kind != DiskKind::Differencing {
            // A sector never written is zero in the file as well, so the bitmap adds nothing.
            return Ok(Extent {
                len: rest,
                source: here,
            });
        }
        let bitmap = cache.bitmap(&self.file, header, block, place.start())?;
        let (is_here, len) = run(bitmap, within, rest);
        if is_here {
            Ok(Extent { len, source: here })
        } else {
            Ok(self.elsewhere(len))
        }
    }

    /// An extent of bytes that are not in this file.
    fn elsewhere(&self, len: u64) -> Extent {
        let source = if self.info.kind == DiskKind::Differencing {
            Source::Parent
        } else {
            Source::Zero
        };
        Extent { len, source }
    }

    /// Returns where a block lies, after checking that it lies in the file, over no structure.
    fn check_place(
        &self,
        header: &Header,
        block: u32,
        sector: u32,
    ) -> Result<ByteRange, FormatError> {
        let place = block_range(sector, header.block_len());
        refuse_past_end(block, place, &self.disk)?;
        let mut structures = self.disk.structures().into_iter();
        match structures.find(|(_, range)| range.overlaps(place)) {
            None => Ok(place),
            Some((name, range)) => Err(FormatError::corrupt(
                format_args!("block {block} at {:#x}", place.start()),
                format_args!("lies over {name} at {range}"),
                "a place of its own",
                WindowsError::BAT_CORRUPT,
            )
            .coded(Code::OverlappingBlocks)),
        }
    }
}

impl Layer for VhdLayer {
    fn info(&self) -> &DiskInfo {
        &self.info
    }

    fn extent(&self, offset: u64) -> Result<Extent, FormatError> {
        let left = self.info.virtual_size.0.saturating_sub(offset);
        let extent = match &self.disk.header {
            None => Extent {
                len: left,
                source: Source::Here(offset),
            },
            Some(header) => self.extent_in_block(header, offset)?,
        };
        Ok(Extent {
            len: extent.len.min(left),
            ..extent
        })
    }

    fn read_file(&self, buf: &mut [u8], file_offset: u64) -> Result<(), FormatError> {
        self.file.read_exact_at(buf, file_offset).map_err(|source| {
            FormatError::unreadable(format_args!("data at {file_offset:#x}"), source)
        })
    }
}

impl Cache {
    /// Returns the table's entries from `block` on, as far as the page that holds it reaches.
    fn entries(
        &mut self,
        file: &dyn ReadAt,
        header: &Header,
        block: u32,
    ) -> Result<&[u32], FormatError> {
        let first = (block / PAGE).saturating_mul(PAGE);
        if self.page.as_ref().is_none_or(|(at, _)| *at != first) {
            self.page = Some((first, header.bat.page(file, first)?));
        }
        let page = self.page.as_ref().map_or(&[][..], |(_, page)| page);
        let skip = usize::try_from(block % PAGE).unwrap_or(usize::MAX);
        Ok(page.get(skip..).unwrap_or_default())
    }

    /// Returns the bitmap of `block`, which lies at `offset` of the file.
    fn bitmap(
        &mut self,
        file: &dyn ReadAt,
        header: &Header,
        block: u32,
        offset: u64,
    ) -> Result<&[u8], FormatError> {
        if self.bitmap.as_ref().is_none_or(|(at, _)| *at != block) {
            let len = usize::try_from(header.bitmap_len()).unwrap_or(0);
            let mut bitmap = vec![0; len];
            file.read_exact_at(&mut bitmap, offset).map_err(|source| {
                FormatError::unreadable(format_args!("bitmap of block {block}"), source)
            })?;
            self.bitmap = Some((block, bitmap));
        }
        Ok(self.bitmap.as_ref().map_or(&[][..], |(_, bitmap)| bitmap))
    }
}

/// Tells whether the sector of the block's byte `within` is in the file, and for how many of the
/// `rest` bytes the answer stays the same.
fn run(bitmap: &[u8], within: u64, rest: u64) -> (bool, u64) {
    let first = within / SECTOR;
    let is_here = bit(bitmap, first);
    let last = first.saturating_add(rest.div_ceil(SECTOR));
    let end = (first..last).find(|&sector| bit(bitmap, sector) != is_here);
    let end = end.unwrap_or(last).saturating_mul(SECTOR);
    (is_here, end.saturating_sub(within).min(rest))
}

/// The bit of a sector; the first is the highest of its byte.
fn bit(bitmap: &[u8], sector: u64) -> bool {
    let byte = usize::try_from(sector / 8).ok();
    let byte = byte.and_then(|byte| bitmap.get(byte));
    byte.is_some_and(|byte| byte & (0x80 >> (sector % 8)) != 0)
}
