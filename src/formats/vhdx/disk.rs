//! A whole file, its structures read and held against each other; blocks are not looked at.

use super::{
    bat::Geometry,
    header::Header,
    metadata::Metadata,
    raw::{FILE_SIGNATURE, HEADER_AREA, index, read},
    region::Regions,
};
use crate::{
    base::{ByteRange, ReadAt, VirtualSize},
    formats::{DiskFormat, DiskInfo, DiskKind, FormatError, LogState, Remark},
    report::WindowsError,
};

/// Bytes of the creator's name, after the signature.
const CREATOR_LEN: u64 = 512;

/// The structures of a VHDX.
pub(super) struct Disk {
    pub(super) file_len: u64,
    pub(super) header: Header,
    pub(super) regions: Regions,
    pub(super) metadata: Metadata,
    pub(super) geometry: Geometry,
    creator: String,
    remarks: Vec<Remark>,
}

impl Disk {
    /// Reads the structures, even where the log is pending: then they may be out of date.
    ///
    /// # Errors
    /// [`FormatError::PendingLog`] where they make no sense and a log waits that may mend them.
    pub(super) fn read(file: &dyn ReadAt) -> Result<Self, FormatError> {
        let creator = read_creator(file)?;
        let (header, remark) = Header::read(file)?;
        header.check_log(file.len())?;
        let pending = header.is_pending();
        let disk = Self::structures(file, creator, header, remark);
        disk.map_err(|error| match error {
            FormatError::Corrupt { .. } | FormatError::Unsupported { .. } if pending => {
                FormatError::PendingLog
            }
            other => other,
        })
    }

    /// Reads the structures of a disk whose log is empty.
    pub(super) fn read_settled(file: &dyn ReadAt) -> Result<Self, FormatError> {
        let disk = Self::read(file)?;
        if disk.header.is_pending() {
            return Err(FormatError::PendingLog);
        }
        Ok(disk)
    }

    fn structures(
        file: &dyn ReadAt,
        creator: String,
        header: Header,
        remark: Option<Remark>,
    ) -> Result<Self, FormatError> {
        let (regions, region_remark) = Regions::read(file, header.log)?;
        let metadata = Metadata::read(file, regions.metadata)?;
        let geometry = Geometry::new(
            metadata.virtual_size,
            metadata.block_size,
            metadata.logical_sector,
            metadata.locator.is_some(),
        );
        check_bat(regions.bat, &geometry)?;
        Ok(Self {
            file_len: file.len(),
            header,
            regions,
            metadata,
            geometry,
            creator,
            remarks: remark.into_iter().chain(region_remark).collect(),
        })
    }

    /// What blocks may not lie over.
    pub(super) fn structure_ranges(&self) -> impl Iterator<Item = ByteRange> {
        let head = ByteRange::new(0, HEADER_AREA);
        let regions = self.regions.all.iter().copied();
        head.into_iter().chain([self.header.log]).chain(regions)
    }

    /// What the disk says about itself.
    pub(super) fn info(&self) -> DiskInfo {
        let parent = self.metadata.locator.as_ref().map(|locator| locator.link());
        let kind = match (&parent, self.metadata.fixed) {
            (Some(_), _) => DiskKind::Differencing,
            (None, true) => DiskKind::Fixed,
            (None, false) => DiskKind::Dynamic,
        };
        let log = if self.header.is_pending() {
            LogState::Pending
        } else {
            LogState::Empty
        };
        DiskInfo {
            format: DiskFormat::Vhdx,
            kind,
            virtual_size: VirtualSize(self.metadata.virtual_size),
            file_len: self.file_len,
            block_size: Some(self.metadata.block_size),
            logical_sector: self.metadata.logical_sector,
            physical_sector: self.metadata.physical_sector,
            own_id: self.header.own_id(),
            page83_id: Some(self.metadata.page83),
            creator: self.creator.clone(),
            log,
            parent,
            remarks: self.remarks.clone(),
        }
    }
}

fn check_bat(region: ByteRange, geometry: &Geometry) -> Result<(), FormatError> {
    let needed = geometry.bat_len();
    if needed <= region.len() {
        return Ok(());
    }
    let place = format!("BAT region at {:#x}", region.start());
    let found = format!("{:#x} bytes", region.len());
    let expected = format!("{needed:#x} or more");
    Err(FormatError::corrupt(
        place,
        found,
        expected,
        WindowsError::BAT_CORRUPT,
    ))
}

/// Reads who made the file, as far as the name is text.
fn read_creator(file: &dyn ReadAt) -> Result<String, FormatError> {
    let at = u64::try_from(FILE_SIGNATURE.len()).unwrap_or(8);
    let bytes = read(file, at, index(CREATOR_LEN), "file identifier")?;
    let (units, _) = bytes.as_chunks::<2>();
    let units = units.iter().map(|&unit| u16::from_le_bytes(unit));
    let name = char::decode_utf16(units.take_while(|&unit| unit != 0));
    // It is shown on terminals, which obey control characters.
    let printable = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    Ok(name
        .map(|c| c.map_or(char::REPLACEMENT_CHARACTER, printable))
        .collect())
}
