//! The structures of a VHD as the specification declares them. What they say is not yet believed.

use std::mem::offset_of;

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    big_endian::{U16, U32, U64},
};

/// What a footer starts with.
pub(super) const FOOTER_COOKIE: [u8; 8] = *b"conectix";
/// What a dynamic header starts with.
pub(super) const HEADER_COOKIE: [u8; 8] = *b"cxsparse";
/// Version 1.0, of the format and of the dynamic header.
pub(super) const VERSION_1: u32 = 0x0001_0000;

/// The footer, at the end of every VHD and copied to the start of all but fixed ones.
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawFooter {
    pub(super) cookie: [u8; 8],
    /// Bit 1 is always set.
    pub(super) features: U32,
    /// Major and minor, 16 bits each.
    pub(super) version: U32,
    /// Where the dynamic header is; all ones in a fixed disk.
    pub(super) data_offset: U64,
    /// Seconds since 2000-01-01T00:00:00Z.
    pub(super) timestamp: U32,
    pub(super) creator: [u8; 4],
    pub(super) creator_version: U32,
    pub(super) creator_os: [u8; 4],
    pub(super) original_size: U64,
    /// The virtual size, whatever the geometry says.
    pub(super) current_size: U64,
    pub(super) cylinders: U16,
    pub(super) heads: u8,
    pub(super) sectors_per_track: u8,
    pub(super) disk_type: U32,
    /// Complement of the sum of the other 508 bytes.
    pub(super) checksum: U32,
    pub(super) unique_id: [u8; 16],
    pub(super) saved_state: u8,
    pub(super) reserved: [u8; 427],
}
const _: () = assert!(offset_of!(RawFooter, data_offset) == 16);
const _: () = assert!(offset_of!(RawFooter, creator) == 28);
const _: () = assert!(offset_of!(RawFooter, current_size) == 48);
const _: () = assert!(offset_of!(RawFooter, disk_type) == 60);
const _: () = assert!(offset_of!(RawFooter, checksum) == 64);
const _: () = assert!(offset_of!(RawFooter, unique_id) == 68);
const _: () = assert!(size_of::<RawFooter>() == 512);

impl RawFooter {
    /// The checksum that the other bytes call for.
    pub(super) fn computed_checksum(&self) -> u32 {
        checksum(self.as_bytes(), offset_of!(Self, checksum))
    }

    /// Tells whether cookie and checksum are right.
    pub(super) fn is_sound(&self) -> bool {
        self.cookie == FOOTER_COOKIE && self.checksum.get() == self.computed_checksum()
    }

    /// Sets the checksum.
    pub(super) fn seal(&mut self) {
        self.checksum = self.computed_checksum().into();
    }
}

/// The dynamic header of a dynamic or differencing disk; there is no second copy of it.
#[derive(Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawHeader {
    pub(super) cookie: [u8; 8],
    /// All ones.
    pub(super) next: U64,
    pub(super) bat_offset: U64,
    pub(super) version: U32,
    pub(super) entries: U32,
    /// Bytes of data in a block, its bitmap not counted.
    pub(super) block_size: U32,
    /// Complement of the sum of the other 1020 bytes.
    pub(super) checksum: U32,
    /// The parent footer's unique id.
    pub(super) parent_id: [u8; 16],
    /// The parent's modification time in seconds since 2000, or 0.
    pub(super) parent_timestamp: U32,
    pub(super) reserved: U32,
    /// UTF-16BE, unlike every other string of the format.
    pub(super) parent_name: [u8; 512],
    pub(super) locators: [RawLocator; 8],
    pub(super) reserved_end: [u8; 256],
}
const _: () = assert!(offset_of!(RawHeader, checksum) == 36);
const _: () = assert!(offset_of!(RawHeader, parent_id) == 40);
const _: () = assert!(offset_of!(RawHeader, parent_timestamp) == 56);
const _: () = assert!(offset_of!(RawHeader, parent_name) == 64);
const _: () = assert!(offset_of!(RawHeader, locators) == 576);
const _: () = assert!(offset_of!(RawHeader, reserved_end) == 768);
const _: () = assert!(size_of::<RawHeader>() == 1024);

impl RawHeader {
    /// The checksum that the other bytes call for.
    pub(super) fn computed_checksum(&self) -> u32 {
        checksum(self.as_bytes(), offset_of!(Self, checksum))
    }

    /// Sets the checksum.
    pub(super) fn seal(&mut self) {
        self.checksum = self.computed_checksum().into();
    }
}

/// One of the eight slots that say where the parent may be.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub(super) struct RawLocator {
    /// Four letters that say how the path is written; zero in an unused slot.
    pub(super) code: [u8; 4],
    /// Room at `offset`: bytes, or where it is below 512, sectors.
    pub(super) space: U32,
    /// Bytes of the path.
    pub(super) len: U32,
    pub(super) reserved: U32,
    pub(super) offset: U64,
}
const _: () = assert!(offset_of!(RawLocator, offset) == 16);
const _: () = assert!(size_of::<RawLocator>() == 24);

impl RawLocator {
    /// A slot with nothing in it.
    pub(super) const UNUSED: Self = Self {
        code: [0; 4],
        space: U32::ZERO,
        len: U32::ZERO,
        reserved: U32::ZERO,
        offset: U64::ZERO,
    };
}

/// The complement of the sum of `bytes`, those of the checksum at `at` not counted.
fn checksum(bytes: &[u8], at: usize) -> u32 {
    let field = at..at.saturating_add(4);
    let counted = bytes.iter().enumerate().filter(|(i, _)| !field.contains(i));
    !counted.fold(0_u32, |sum, (_, &byte)| sum.wrapping_add(u32::from(byte)))
}
