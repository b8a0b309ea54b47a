//! New disks with chosen blocks, held to the same facts as the readers.

use std::io;

use super::{DiskFormat, DiskKind, FormatError, ParentPaths, vhd, vhdx};
use crate::base::DiskId;

/// Somewhere to write a disk: a file, or `Cursor<Vec<u8>>`.
pub trait WriteSeek: io::Write + io::Seek {}

impl<T: io::Write + io::Seek> WriteSeek for T {}

/// A disk to be made.
///
/// Layout, places of locators and order of regions are those of Windows' own files (FORMATS:
/// Hyper-V 2016 and later). The same description gives the same bytes.
#[derive(Debug, Clone)]
pub struct NewDisk {
    /// Its format.
    pub format: DiskFormat,
    /// How it keeps its blocks; `Differencing` exactly if there is a `parent`.
    pub kind: DiskKind,
    /// Bytes that the guest sees, a multiple of the logical sector.
    pub virtual_size: u64,
    /// Bytes of a block; `None` takes Windows' default (VHD 2 MiB; VHDX 32 MiB, differencing 2 MiB).
    pub block_size: Option<u32>,
    /// Bytes of a logical sector: 512, or in a VHDX 4096.
    pub logical_sector: u32,
    /// The id by which children will name it.
    pub own_id: DiskId,
    /// The id that its guest sees (VHDX page 83), the same for all disks of a chain; `None` derives
    /// one from the parent's id, or from its own where there is none, which fits chains of two.
    pub page83_id: Option<DiskId>,
    /// Its parent.
    pub parent: Option<NewParent>,
    /// Virtual offsets, multiples of the logical sector, and the bytes there, whole sectors;
    /// in ascending order and apart from each other. In a differencing disk all other sectors
    /// are the parent's.
    pub data: Vec<(u64, Vec<u8>)>,
}

/// The parent of a disk to be made.
#[derive(Debug, Clone)]
pub struct NewParent {
    /// The parent's own id.
    pub id: DiskId,
    /// The paths to record.
    pub paths: ParentPaths,
    /// The parent's modification time in seconds since 2000-01-01T00:00:00Z, or 0 as Windows 10
    /// writes it (VHD only).
    pub timestamp: u32,
}

impl NewDisk {
    /// A disk of `virtual_size` bytes with nothing in it, 512-byte sectors, no parent.
    #[must_use]
    pub const fn new(
        format: DiskFormat,
        kind: DiskKind,
        virtual_size: u64,
        own_id: DiskId,
    ) -> Self {
        Self {
            format,
            kind,
            virtual_size,
            block_size: None,
            logical_sector: 512,
            own_id,
            page83_id: None,
            parent: None,
            data: Vec::new(),
        }
    }

    /// Writes the disk, from the position that `out` is at, which must be its start. Zero
    /// stretches are skipped by seeking, so that a file stays sparse.
    ///
    /// # Errors
    /// Where the description contradicts itself or the format, and where writing fails.
    pub fn write_to(&self, out: &mut dyn WriteSeek) -> Result<(), FormatError> {
        match self.format {
            DiskFormat::Vhd => vhd::write_new(self, out),
            DiskFormat::Vhdx => vhdx::write_new(self, out),
        }
    }

    /// Returns the disk as bytes, for small ones.
    ///
    /// # Errors
    /// As [`Self::write_to`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        let mut out = io::Cursor::new(Vec::new());
        self.write_to(&mut out)?;
        Ok(out.into_inner())
    }
}
