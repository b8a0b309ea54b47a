//! One level of a chain: where the data of each virtual byte is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    bat::{Entry, Geometry, State, bad, read_entries},
    disk::Disk,
    raw::{index, len64, read},
};
use crate::{
    base::{ByteRange, ReadAt},
    formats::{DiskInfo, Extent, FormatError, Layer, Source},
};

/// Entries of the table that are kept at a time: 64 KiB.
const PAGE: u64 = 8192;

/// A VHDX opened to be read.
pub(super) struct VhdxLayer {
    file: Arc<dyn ReadAt>,
    info: DiskInfo,
    geometry: Geometry,
    bat: ByteRange,
    cache: Mutex<Cache>,
}

/// What was read last. Everything in it can be read again, so that a panic elsewhere while it
/// was locked leaves nothing half done.
#[derive(Default)]
struct Cache {
    /// A page of the table, and the index of its first entry.
    page: Option<(u64, Vec<u64>)>,
    /// A block's part of the sector bitmap: at most 64 KiB.
    bits: Option<(u64, Vec<u8>)>,
    /// A chunk's sector bitmap.
    bitmap: Option<(u64, u64)>,
}

impl VhdxLayer {
    pub(super) fn open(file: Arc<dyn ReadAt>) -> Result<Self, FormatError> {
        let disk = Disk::read_settled(&file)?;
        Ok(Self {
            info: disk.info(),
            geometry: disk.geometry,
            bat: disk.regions.bat,
            cache: Mutex::default(),
            file,
        })
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads an entry, and the page it is in if that is not the one kept.
    fn entry(&self, cache: &mut Cache, index: u64) -> Result<Entry, FormatError> {
        if let Some(entry) = self.kept_entry(cache, index) {
            return entry;
        }
        let first = index.saturating_sub(index % PAGE);
        let count = self.geometry.entries.saturating_sub(first).min(PAGE);
        let page = read_entries(&self.file, self.bat, first, count)?;
        cache.page = Some((first, page));
        let entry = self.kept_entry(cache, index);
        entry.unwrap_or_else(|| Err(bad("BAT", format!("no entry {index}"), "one")))
    }

    fn kept_entry(&self, cache: &Cache, at: u64) -> Option<Result<Entry, FormatError>> {
        let (first, page) = cache.page.as_ref()?;
        let raw = page.get(index(at.checked_sub(*first)?))?;
        Some(Entry::parse(&self.geometry, self.bat, at, *raw))
    }

    /// Where the bytes of a block from `within` on are, the block being `state`.
    fn source(&self, state: State, within: u64) -> Source {
        match state {
            State::Absent if self.geometry.differencing => Source::Parent,
            State::Full(at) | State::Partial(at) | State::Bitmap(at) => {
                Source::Here(at.saturating_add(within))
            }
            State::Absent | State::Zero => Source::Zero,
        }
    }

    /// Makes an extent longer by the blocks after `block` that go on with it, as far as the
    /// table is in memory anyway.
    fn follow(&self, cache: &Cache, mut block: u64, mut extent: Extent) -> Extent {
        loop {
            block = block.saturating_add(1);
            if block >= self.geometry.blocks {
                return extent;
            }
            let next = self.kept_entry(cache, self.geometry.payload_index(block));
            let Some(Ok(Entry { state, .. })) = next else {
                return extent;
            };
            if matches!(state, State::Partial(_)) || !goes_on(extent, self.source(state, 0)) {
                return extent;
            }
            extent.len = extent.len.saturating_add(self.geometry.block_size);
        }
    }

    /// The run of sectors from `within` on, of a partial block, that are all here or all the
    /// parent's.
    fn partial(
        &self,
        cache: &mut Cache,
        block: u64,
        within: u64,
        at: u64,
    ) -> Result<Extent, FormatError> {
        let bits = self.bits(cache, block)?;
        let sector = self.geometry.sectors(within);
        let (here, end) = run(bits, sector);
        let end = end.saturating_mul(self.geometry.sector);
        let source = match here {
            true => Source::Here(at.saturating_add(within)),
            false => Source::Parent,
        };
        Ok(Extent {
            len: end.saturating_sub(within),
            source,
        })
    }

    /// The part of the sector bitmap that belongs to `block`.
    fn bits<'c>(&self, cache: &'c mut Cache, block: u64) -> Result<&'c [u8], FormatError> {
        if !matches!(cache.bits, Some((kept, _)) if kept == block) {
            let start = self.bitmap(cache, self.geometry.chunk(block))?;
            let start = start.saturating_add(self.geometry.bitmap_part_offset(block));
            let len = index(self.geometry.bitmap_part());
            let bits = read(
                &self.file,
                start,
                len,
                format!("sector bitmap at {start:#x}"),
            )?;
            cache.bits = Some((block, bits));
        }
        Ok(cache.bits.as_ref().map_or(&[], |(_, bits)| bits.as_slice()))
    }

    /// Where the sector bitmap of `chunk` is.
    fn bitmap(&self, cache: &mut Cache, chunk: u64) -> Result<u64, FormatError> {
        if let Some((_, at)) = cache.bitmap.filter(|(kept, _)| *kept == chunk) {
            return Ok(at);
        }
        let entry = self.entry(cache, self.geometry.bitmap_index(chunk))?;
        let State::Bitmap(at) = entry.state else {
            let place = format!("BAT entry {}", entry.index);
            return Err(bad(
                place,
                "no sector bitmap",
                "one, as a block of its chunk is partial",
            ));
        };
        cache.bitmap = Some((chunk, at));
        Ok(at)
    }
}

impl Layer for VhdxLayer {
    fn info(&self) -> &DiskInfo {
        &self.info
    }

    fn extent(&self, offset: u64) -> Result<Extent, FormatError> {
        let size = self.geometry.virtual_size;
        let (block, within) = self.geometry.block_of(offset);
        let left = size
            .checked_sub(offset)
            .filter(|&left| left > 0)
            .ok_or_else(|| {
                let end = std::io::ErrorKind::UnexpectedEof.into();
                FormatError::unreadable(format!("virtual disk at {offset:#x}"), end)
            })?;
        let mut cache = self.cache();
        let entry = self.entry(&mut cache, self.geometry.payload_index(block))?;
        let mut extent = match entry.state {
            State::Partial(at) => self.partial(&mut cache, block, within, at)?,
            state => {
                let len = self.geometry.block_size.saturating_sub(within);
                let extent = Extent {
                    len,
                    source: self.source(state, within),
                };
                self.follow(&cache, block, extent)
            }
        };
        extent.len = extent.len.min(left);
        Ok(extent)
    }

    fn read_file(&self, buf: &mut [u8], file_offset: u64) -> Result<(), FormatError> {
        let result = self.file.read_exact_at(buf, file_offset);
        result.map_err(|source| {
            let place = format!("data at {file_offset:#x}, {} bytes", len64(buf.len()));
            FormatError::unreadable(place, source)
        })
    }
}

/// Tells whether the block whose first byte is at `next` continues `extent`.
fn goes_on(extent: Extent, next: Source) -> bool {
    match (extent.source, next) {
        (Source::Here(start), Source::Here(next)) => start.checked_add(extent.len) == Some(next),
        (now, next) => now == next,
    }
}

/// Returns whether bit `start` is set, and the end of the run of bits like it.
/// The lowest bit of a byte comes first.
fn run(bits: &[u8], start: u64) -> (bool, u64) {
    let bit = |at: u64| {
        let byte = bits.get(index(at / 8)).copied();
        byte.map(|byte| byte >> (at % 8) & 1 == 1)
    };
    let here = bit(start).unwrap_or(false);
    let uniform = if here { 0xFF } else { 0 };
    let mut end = start;
    loop {
        let whole_byte = end.is_multiple_of(8) && bits.get(index(end / 8)) == Some(&uniform);
        if whole_byte {
            end = end.saturating_add(8);
        } else if bit(end) == Some(here) {
            end = end.saturating_add(1);
        } else {
            return (here, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn bits_count_from_the_lowest_of_each_byte() {
        let bits = [0b1111_1100, 0xFF, 0b0000_0001, 0];
        assert_eq!(run(&bits, 0), (false, 2));
        assert_eq!(run(&bits, 1), (false, 2));
        assert_eq!(run(&bits, 2), (true, 17));
        assert_eq!(run(&bits, 8), (true, 17));
        assert_eq!(run(&bits, 16), (true, 17));
        assert_eq!(run(&bits, 17), (false, 32));
        assert_eq!(run(&bits, 31), (false, 32));
    }
}
