//! The dynamic header: where the block allocation table is, and who the parent is.

use zerocopy::{FromZeros, IntoBytes};

use super::{
    SECTOR,
    bat::Bat,
    footer::Footers,
    raw::{HEADER_COOKIE, RawHeader, VERSION_1},
};
use crate::{
    base::{ByteRange, DiskId, ReadAt},
    formats::FormatError,
    report::{Code, WindowsError},
};

/// The block sizes that are believed: a byte of bitmap at least, 256 MiB at most.
pub(super) const BLOCK_SIZES: std::ops::RangeInclusive<u32> = 4096..=256 << 20;
/// The most table entries that are read: 2048 GiB in blocks of 512 KiB.
pub(super) const MOST_ENTRIES: u32 = 4 << 20;

/// A dynamic header that has been checked.
#[derive(Clone)]
pub(super) struct Header {
    pub(super) range: ByteRange,
    /// The header as it lies in the file; its locators are still to be judged.
    pub(super) raw: Box<RawHeader>,
    pub(super) bat: Bat,
    pub(super) block_size: u32,
}

impl Header {
    /// Reads the header that the footer names.
    pub(super) fn read(file: &dyn ReadAt, footers: &Footers) -> Result<Self, FormatError> {
        let range = header_range(footers)?;
        let place = format!("dynamic header at {:#x}", range.start());
        let mut raw = Box::new(RawHeader::new_zeroed());
        file.read_exact_at(raw.as_mut_bytes(), range.start())
            .map_err(|source| FormatError::unreadable(&place, source))?;
        check_integrity(&raw, &place)?;
        let block_size = check_block_size(raw.block_size.get(), &place)?;
        let bat = check_bat(&raw, range, footers, &place)?;
        Ok(Self {
            range,
            raw,
            bat,
            block_size,
        })
    }

    /// The id that the parent must have.
    pub(super) const fn parent_id(&self) -> DiskId {
        DiskId::from_vhd(self.raw.parent_id)
    }

    /// Bytes of a block's bitmap.
    pub(super) fn bitmap_len(&self) -> u64 {
        bitmap_len(self.block_size)
    }

    /// Bytes that a block takes in the file.
    pub(super) fn block_len(&self) -> u64 {
        self.bitmap_len().saturating_add(u64::from(self.block_size))
    }
}

/// Bytes of the bitmap of a block of `block_size` bytes: a bit a sector, in whole sectors.
pub(super) fn bitmap_len(block_size: u32) -> u64 {
    let bits = u64::from(block_size) / SECTOR;
    bits.div_ceil(8).next_multiple_of(SECTOR)
}

/// The place of the header: behind the footer's copy, before the footer.
fn header_range(footers: &Footers) -> Result<ByteRange, FormatError> {
    let offset = footers.footer.header_offset;
    let data_end = footers.tail_range.start();
    if offset < SECTOR {
        let place = format!("dynamic header at {offset:#x}");
        let windows = WindowsError::HEADER_CORRUPT;
        return Err(FormatError::corrupt(
            place,
            "lies over the footer copy",
            "0x200",
            windows,
        ));
    }
    ByteRange::new(offset, 1024)
        .filter(|range| range.end() <= data_end)
        .ok_or_else(|| {
            let place = format!("dynamic header at {offset:#x}");
            let expected = format!("1024 bytes before {data_end:#x}");
            let windows = WindowsError::HEADER_CORRUPT;
            FormatError::corrupt(place, "ends past the end of the data", expected, windows)
                .coded(Code::Truncated)
        })
}

fn check_integrity(raw: &RawHeader, place: &str) -> Result<(), FormatError> {
    if raw.cookie != HEADER_COOKIE {
        let found = format!("cookie is `{}`", raw.cookie.escape_ascii());
        let windows = WindowsError::HEADER_CORRUPT;
        return Err(FormatError::corrupt(place, found, "`cxsparse`", windows));
    }
    let (stored, computed) = (raw.checksum.get(), raw.computed_checksum());
    if stored != computed {
        let found = format!("checksum is {stored:#010x}");
        let expected = format!("{computed:#010x}");
        let windows = WindowsError::HEADER_CHECKSUM;
        return Err(FormatError::corrupt(place, found, expected, windows));
    }
    let version = raw.version.get();
    if version >> 16 != VERSION_1 >> 16 {
        let what = format!("version {}.{}", version >> 16, version & 0xffff);
        return Err(FormatError::unsupported(place, what));
    }
    Ok(())
}

fn check_block_size(size: u32, place: &str) -> Result<u32, FormatError> {
    if size.is_power_of_two() && BLOCK_SIZES.contains(&size) {
        return Ok(size);
    }
    Err(FormatError::corrupt(
        place,
        format_args!("block size is {size}"),
        "a power of two from 4096 to 268435456",
        WindowsError::BAD_BLOCK_SIZE,
    ))
}

/// Checks that the table has an entry for every block, and lies between header and footer.
fn check_bat(
    raw: &RawHeader,
    header: ByteRange,
    footers: &Footers,
    place: &str,
) -> Result<Bat, FormatError> {
    let (entries, offset) = (raw.entries.get(), raw.bat_offset.get());
    let needed = footers
        .footer
        .size
        .div_ceil(u64::from(raw.block_size.get()));
    let windows = WindowsError::BAT_CORRUPT;
    if needed.max(u64::from(entries)) > u64::from(MOST_ENTRIES) {
        let what = format!("a table of more than {MOST_ENTRIES} blocks");
        return Err(FormatError::unsupported(place, what));
    }
    let blocks = u32::try_from(needed).unwrap_or(MOST_ENTRIES);
    if entries < blocks {
        let found = format!("table has {entries} entries");
        let expected = format!("at least {blocks}");
        return Err(FormatError::corrupt(place, found, expected, windows));
    }
    if offset < header.end() {
        let found = format!("block allocation table is at {offset:#x}");
        let expected = format!("behind the header's end at {:#x}", header.end());
        return Err(FormatError::corrupt(place, found, expected, windows));
    }
    let data_end = footers.tail_range.start();
    let range = ByteRange::new(offset, u64::from(entries).saturating_mul(4));
    let Some(range) = range.filter(|range| range.end() <= data_end) else {
        let found = format!("block allocation table of {entries} entries is at {offset:#x}");
        let expected = format!("its end before {data_end:#x}");
        let error = FormatError::corrupt(place, found, expected, windows);
        return Err(error.coded(Code::Truncated));
    };
    Ok(Bat { range, blocks })
}
