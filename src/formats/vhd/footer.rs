//! The footer: what kind of disk this is, and which of its two copies is believed.

use std::io;

use zerocopy::{FromZeros, IntoBytes};

use super::{
    SECTOR,
    raw::{FOOTER_COOKIE, RawFooter, VERSION_1},
};
use crate::{
    base::{ByteRange, DiskId, ReadAt},
    formats::{DiskKind, FormatError, Remark, RemarkKind},
    report::WindowsError,
};

/// The largest disk that the specification allows: 2040 GiB.
pub(super) const MOST_BYTES: u64 = 2040 << 30;

/// A footer that has been checked.
#[derive(Debug, Clone)]
pub(super) struct Footer {
    pub(super) kind: DiskKind,
    /// Where the dynamic header is, unless `kind` is fixed.
    pub(super) header_offset: u64,
    pub(super) size: u64,
    pub(super) own_id: DiskId,
    pub(super) creator: String,
}

/// What stands at the end of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// A good footer.
    Good,
    /// A good footer of 511 bytes, as Virtual PC wrote it before 2004.
    Short,
    /// Something else: the copy at the start was used.
    Damaged,
}

/// Both copies of the footer, and what was made of them.
#[derive(Debug, Clone)]
pub(super) struct Footers {
    pub(super) footer: Footer,
    pub(super) tail: Tail,
    /// Where the footer at the end stands; data ends there.
    pub(super) tail_range: ByteRange,
    pub(super) remark: Option<Remark>,
}

/// Tells whether the cookie stands at the end of `file` or at its start.
pub(super) fn recognise(file: &dyn ReadAt) -> io::Result<bool> {
    let mut places = vec![file.len().checked_sub(SECTOR), Some(0)];
    if is_short(file.len()) {
        places.push(file.len().checked_sub(511));
    }
    for offset in places.into_iter().flatten() {
        if file.len() >= 511 && cookie_at(file, offset)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn cookie_at(file: &dyn ReadAt, offset: u64) -> io::Result<bool> {
    let mut cookie = [0; 8];
    file.read_exact_at(&mut cookie, offset)?;
    Ok(cookie == FOOTER_COOKIE)
}

/// Tells whether a file of `len` bytes may end with a footer of 511.
const fn is_short(len: u64) -> bool {
    len % SECTOR == 511
}

impl Footers {
    /// Reads the footer at the end and the copy at the start; the first good one is believed.
    pub(super) fn read(file: &dyn ReadAt) -> Result<Self, FormatError> {
        let (raw_tail, tail, tail_range) = read_tail(file)?;
        let head = read_raw(file, 0, 512)?;
        let head_is_copy = head.is_sound() && head.disk_type.get() != FIXED;
        if tail == Tail::Damaged && !head_is_copy {
            return Err(both_damaged(&raw_tail, tail_range));
        }
        let (raw, place) = match tail {
            Tail::Damaged => (&head, "footer copy at 0x0".to_owned()),
            Tail::Good | Tail::Short => (&raw_tail, format!("footer at {:#x}", tail_range.start())),
        };
        Ok(Self {
            footer: Footer::check(raw, &place)?,
            tail,
            tail_range,
            remark: remark(&raw_tail, &head, tail, tail_range),
        })
    }
}

/// Reads what stands where a footer should: 512 bytes before the end, or 511.
fn read_tail(file: &dyn ReadAt) -> Result<(RawFooter, Tail, ByteRange), FormatError> {
    let (raw, range) = read_before_end(file, 512)?;
    if raw.is_sound() {
        return Ok((raw, Tail::Good, range));
    }
    if is_short(file.len()) {
        let (short, range) = read_before_end(file, 511)?;
        if short.is_sound() {
            return Ok((short, Tail::Short, range));
        }
    }
    Ok((raw, Tail::Damaged, range))
}

fn read_before_end(file: &dyn ReadAt, len: u16) -> Result<(RawFooter, ByteRange), FormatError> {
    // A file shorter than a footer fails in the read.
    let start = file.len().saturating_sub(u64::from(len));
    let range = ByteRange::between(start, file.len()).expect("a difference is not larger");
    Ok((read_raw(file, start, usize::from(len))?, range))
}

/// Reads `len` bytes of a footer; where that is 511, the last byte counts as zero.
fn read_raw(file: &dyn ReadAt, offset: u64, len: usize) -> Result<RawFooter, FormatError> {
    let mut raw = RawFooter::new_zeroed();
    let buf = raw.as_mut_bytes();
    let buf = buf.get_mut(..len).unwrap_or_default();
    file.read_exact_at(buf, offset)
        .map_err(|source| FormatError::unreadable(format_args!("footer at {offset:#x}"), source))?;
    Ok(raw)
}

fn both_damaged(raw: &RawFooter, range: ByteRange) -> FormatError {
    let place = format!("footer at {:#x}, and its copy at 0x0", range.start());
    let (found, expected) = what_is_wrong(raw);
    FormatError::corrupt(place, found, expected, WindowsError::FOOTER_CHECKSUM)
}

/// Says what is wrong with a footer that is not sound, and what would be right.
fn what_is_wrong(raw: &RawFooter) -> (String, String) {
    if raw.cookie != FOOTER_COOKIE {
        let found = format!("cookie is `{}`", raw.cookie.escape_ascii());
        return (found, "`conectix`".to_owned());
    }
    (
        format!("checksum is {:#010x}", raw.checksum.get()),
        format!("{:#010x}", raw.computed_checksum()),
    )
}

/// Says which of the two copies is not as it should be, if one is.
fn remark(
    raw_tail: &RawFooter,
    head: &RawFooter,
    tail: Tail,
    tail_range: ByteRange,
) -> Option<Remark> {
    let text = if tail == Tail::Damaged {
        let (found, expected) = what_is_wrong(raw_tail);
        format!(
            "footer at {:#x}: {found}, expected {expected}; the copy at 0x0 was used",
            tail_range.start()
        )
    } else if raw_tail.disk_type.get() == FIXED {
        return None;
    } else if !head.is_sound() {
        let (found, expected) = what_is_wrong(head);
        format!(
            "footer copy at 0x0: {found}, expected {expected}; the footer at {:#x} was used",
            tail_range.start()
        )
    } else if head.as_bytes().get(..511) != raw_tail.as_bytes().get(..511) {
        format!(
            "footer copy at 0x0: differs from the footer at {:#x}, which was used",
            tail_range.start()
        )
    } else {
        return None;
    };
    Some(Remark {
        kind: RemarkKind::FooterCopy,
        text,
    })
}

const FIXED: u32 = 2;

/// The kind of a disk as the footer numbers it.
pub(super) const fn type_code(kind: DiskKind) -> u32 {
    match kind {
        DiskKind::Fixed => FIXED,
        DiskKind::Dynamic => 3,
        DiskKind::Differencing => 4,
    }
}

impl Footer {
    fn check(raw: &RawFooter, place: &str) -> Result<Self, FormatError> {
        let version = raw.version.get();
        if version >> 16 != VERSION_1 >> 16 {
            let what = format!("version {}.{}", version >> 16, version & 0xffff);
            return Err(FormatError::unsupported(place, what));
        }
        let kind = match raw.disk_type.get() {
            FIXED => DiskKind::Fixed,
            3 => DiskKind::Dynamic,
            4 => DiskKind::Differencing,
            other => {
                let what = format!("disk type {other}");
                return Err(FormatError::unsupported(place, what));
            }
        };
        Ok(Self {
            kind,
            header_offset: raw.data_offset.get(),
            size: check_size(raw.current_size.get(), place)?,
            own_id: DiskId::from_vhd(raw.unique_id),
            creator: creator(raw),
        })
    }
}

fn check_size(size: u64, place: &str) -> Result<u64, FormatError> {
    if size == 0 {
        let windows = WindowsError::INVALID_SIZE;
        return Err(FormatError::corrupt(
            place,
            "current size is 0",
            "a size",
            windows,
        ));
    }
    if size > MOST_BYTES {
        let what = format!("a disk of {size} bytes, more than 2040 GiB,");
        return Err(FormatError::unsupported(place, what));
    }
    Ok(size)
}

/// Who made the disk: the application's four letters as far as they print, and its version.
fn creator(raw: &RawFooter) -> String {
    let app = raw.creator.iter().map(|&byte| char::from(byte));
    let app: String = app.filter(|c| matches!(c, ' '..='~')).collect();
    let version = raw.creator_version.get();
    format!("{app} {}.{}", version >> 16, version & 0xffff)
}
