//! A rewrite of locators, as it is put together: the header to be, and the strings it points to.

use zerocopy::IntoBytes;

use super::{
    SECTOR,
    disk::Disk,
    footer::Tail,
    header::Header,
    locator::read_range,
    raw::{RawHeader, RawLocator},
};
use crate::{
    base::{ByteRange, Patch, ReadAt, Write},
    formats::FormatError,
    report::WindowsError,
};

/// New areas come in these units, so that blocks behind them keep their alignment.
const NEW_ROOM: u64 = 4096;

/// A rewrite under way.
pub(super) struct Rewrite<'a> {
    file: &'a dyn ReadAt,
    disk: &'a Disk,
    header: &'a Header,
    /// The header to be.
    pub(super) raw: Box<RawHeader>,
    strings: Vec<Write>,
    /// Where the footer is to stand.
    footer_at: u64,
}

impl<'a> Rewrite<'a> {
    /// A rewrite that changes nothing yet.
    pub(super) fn new(file: &'a dyn ReadAt, disk: &'a Disk, header: &'a Header) -> Self {
        Self {
            file,
            disk,
            header,
            raw: header.raw.clone(),
            strings: Vec::new(),
            footer_at: disk.data_end(),
        }
    }

    /// Writes `text` into `area`, which holds it and lies over nothing else, and zeros behind it.
    pub(super) fn fill(&mut self, area: ByteRange, text: &[u8]) -> Result<(), FormatError> {
        let now = read_range(self.file, area)?;
        let (head, rest) = now.split_at_checked(text.len()).unwrap_or((&now, &[]));
        if head != text || rest.iter().any(|&byte| byte != 0) {
            self.write(area, text);
        }
        Ok(())
    }

    fn write(&mut self, area: ByteRange, text: &[u8]) {
        let text_end = area.start().saturating_add(len(text));
        self.strings.push(Write::bytes(area.start(), text));
        let rest = ByteRange::between(text_end, area.end());
        self.strings
            .extend(rest.filter(|rest| !rest.is_empty()).map(Write::zeros));
    }

    /// Makes a new area for `text` where the footer stands, and moves the footer behind it.
    pub(super) fn grow(&mut self, text: &[u8]) -> Result<ByteRange, FormatError> {
        let place = format!("footer at {:#x}", self.disk.data_end());
        if self.disk.footers.tail != Tail::Good {
            let windows = WindowsError::FOOTER_CORRUPT;
            let found = "it is damaged, and has to move to make room for a path";
            return Err(FormatError::corrupt(place, found, "a good one", windows));
        }
        let area = self.footer_at.checked_next_multiple_of(SECTOR);
        let area = area.zip(len(text).checked_next_multiple_of(NEW_ROOM));
        let area = area.and_then(|(start, len)| ByteRange::new(start, len));
        let area = area.ok_or_else(|| FormatError::unsupported(place, "making room"))?;
        let gap = ByteRange::between(self.footer_at, area.start());
        self.strings
            .extend(gap.filter(|gap| !gap.is_empty()).map(Write::zeros));
        self.write(area, text);
        self.footer_at = area.end();
        Ok(area)
    }

    /// The change: the footer at its new place, then the strings, then the header in one write.
    pub(super) fn finish(mut self) -> Result<Patch, FormatError> {
        let mut patch = Patch::default();
        if self.footer_at != self.disk.data_end() {
            let footer = read_range(self.file, self.disk.footers.tail_range)?;
            patch.new_len = Some(self.footer_at.saturating_add(SECTOR));
            patch
                .stages
                .push(vec![Write::bytes(self.footer_at, footer)]);
        }
        if !self.strings.is_empty() {
            patch.stages.push(self.strings);
        }
        self.raw.seal();
        if self.raw != self.header.raw {
            let header = Write::bytes(self.header.range.start(), self.raw.as_bytes());
            patch.stages.push(vec![header]);
        }
        Ok(patch)
    }
}

/// A slot for a path of `text`, kept in `area`.
pub(super) fn slot(code: [u8; 4], area: ByteRange, text: &[u8]) -> RawLocator {
    RawLocator {
        code,
        space: narrow(area.len()),
        len: narrow(len(text)),
        offset: area.start().into(),
        ..RawLocator::UNUSED
    }
}

/// An unused slot that goes on reserving `area`, so that the same bytes stay masked.
pub(super) fn reserve(area: ByteRange) -> RawLocator {
    slot(RawLocator::UNUSED.code, area, &[])
}

/// Areas and paths that get here are far smaller than 4 GiB.
fn narrow(len: u64) -> zerocopy::big_endian::U32 {
    u32::try_from(len).unwrap_or(u32::MAX).into()
}

/// The number of bytes of a path.
pub(super) fn len(text: &[u8]) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}
