//! A VHD's footers and header together, and what they say about the disk.

use super::{
    SECTOR,
    footer::{Footers, Tail},
    header::Header,
    locator,
};
use crate::{
    base::{ByteRange, ReadAt, VirtualSize},
    formats::{DiskFormat, DiskInfo, DiskKind, FormatError, LogState, ParentLink},
    report::{Code, WindowsError},
};

/// The structures of a disk, checked; blocks and locator areas are still to be judged.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) footers: Footers,
    /// There is one unless the disk is fixed.
    pub(super) header: Option<Header>,
    file_len: u64,
}

impl Disk {
    /// Reads footers and header, and checks them against the file.
    pub(super) fn read(file: &dyn ReadAt) -> Result<Self, FormatError> {
        let footers = Footers::read(file)?;
        let header = if footers.footer.kind == DiskKind::Fixed {
            check_fixed(&footers)?;
            None
        } else {
            Some(Header::read(file, &footers)?)
        };
        Ok(Self {
            footers,
            header,
            file_len: file.len(),
        })
    }

    /// What the disk says about itself.
    pub(super) fn info(&self, file: &dyn ReadAt) -> Result<DiskInfo, FormatError> {
        let footer = &self.footers.footer;
        Ok(DiskInfo {
            format: DiskFormat::Vhd,
            kind: footer.kind,
            virtual_size: VirtualSize(footer.size),
            file_len: self.file_len,
            block_size: self.header.as_ref().map(|header| header.block_size),
            logical_sector: 512,
            physical_sector: 512,
            own_id: footer.own_id,
            page83_id: None,
            creator: footer.creator.clone(),
            log: LogState::None,
            parent: self
                .differencing()
                .map(|header| link(file, header))
                .transpose()?,
            remarks: self.footers.remark.iter().cloned().collect(),
        })
    }

    /// The header, if the disk has a parent.
    pub(super) fn differencing(&self) -> Option<&Header> {
        let has_parent = self.footers.footer.kind == DiskKind::Differencing;
        self.header.as_ref().filter(|_| has_parent)
    }

    /// The header of a disk whose parent's name is to be rewritten.
    pub(super) fn rewritable(&self) -> Result<&Header, FormatError> {
        let place = format!("footer at {:#x}", self.footers.tail_range.start());
        if self.footers.tail == Tail::Short {
            let what = "rewriting a disk with a footer of 511 bytes";
            return Err(FormatError::unsupported(place, what));
        }
        self.differencing().ok_or_else(|| {
            FormatError::unsupported(place, "naming the parent of a disk without one")
        })
    }

    /// Where blocks and areas must end: the footer's start.
    pub(super) const fn data_end(&self) -> u64 {
        self.footers.tail_range.start()
    }

    /// Tells whether a good footer ends the file.
    pub(super) fn has_footer(&self) -> bool {
        self.footers.tail != Tail::Damaged
    }

    /// What nothing else may lie over, by name: footer, its copy, header and table.
    pub(super) fn structures(&self) -> Vec<(&'static str, ByteRange)> {
        let mut structures = vec![("the footer", self.footers.tail_range)];
        if let Some(header) = &self.header {
            let copy = ByteRange::new(0, SECTOR);
            structures.extend(copy.map(|copy| ("the footer copy", copy)));
            structures.push(("the dynamic header", header.range));
            let table = header.bat.sectors(self.data_end());
            structures.push(("the block allocation table", table));
        }
        structures
    }
}

/// A fixed disk's data lies before its footer, all of it.
fn check_fixed(footers: &Footers) -> Result<(), FormatError> {
    let (size, room) = (footers.footer.size, footers.tail_range.start());
    if size <= room {
        return Ok(());
    }
    Err(FormatError::corrupt(
        format_args!("footer at {room:#x}"),
        format_args!("a fixed disk of {size} bytes, of which {room} are in the file"),
        "all of them",
        WindowsError::INVALID_FILE_SIZE,
    )
    .coded(Code::Truncated))
}

fn link(file: &dyn ReadAt, header: &Header) -> Result<ParentLink, FormatError> {
    let timestamp = header.raw.parent_timestamp.get();
    Ok(ParentLink {
        id: header.parent_id(),
        id2: None,
        timestamp: (timestamp != 0).then_some(timestamp),
        hints: locator::hints(file, header)?,
    })
}
