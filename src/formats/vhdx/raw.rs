//! What a VHDX holds, byte by byte, as MS-VHDX declares it. Everything is little-endian.

use std::{fmt, mem::offset_of};

use uuid::{Builder, Uuid};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

use crate::{
    base::{ByteRange, DiskId, ReadAt},
    formats::FormatError,
};

/// 64 KiB: the slot of a header, the length of a region table and of the metadata table.
pub(super) const KIB64: u64 = 0x1_0000;
/// 1 MiB: what regions and blocks are aligned to.
pub(super) const MIB: u64 = 0x10_0000;
/// The first 1 MiB: identifier, headers and region tables.
pub(super) const HEADER_AREA: u64 = MIB;

/// A GUID as it lies in the file.
pub(super) type Guid = [u8; 16];

/// The GUID that means "none".
pub(super) const NIL: Guid = [0; 16];

const fn guid(value: u128) -> Guid {
    Uuid::from_u128(value).to_bytes_le()
}

/// The BAT region.
pub(super) const BAT: Guid = guid(0x2DC2_7766_F623_4200_9D64_115E_9BFD_4A08);
/// The metadata region.
pub(super) const METADATA: Guid = guid(0x8B7C_A206_4790_4B9A_B8FE_575F_050F_886E);
/// The item "file parameters".
pub(super) const FILE_PARAMETERS: Guid = guid(0xCAA1_6737_FA36_4D43_B3B6_33F0_AA44_E76B);
/// The item "virtual disk size".
pub(super) const VIRTUAL_SIZE: Guid = guid(0x2FA5_4224_CD1B_4876_B211_5DBE_D83B_F4B8);
/// The item "virtual disk id", which the guest sees as SCSI page 83.
pub(super) const VIRTUAL_ID: Guid = guid(0xBECA_12AB_B2E6_4523_93EF_C309_E000_C746);
/// The item "logical sector size".
pub(super) const LOGICAL_SECTOR: Guid = guid(0x8141_BF1D_A96F_4709_BA47_F233_A8FA_AB5F);
/// The item "physical sector size".
pub(super) const PHYSICAL_SECTOR: Guid = guid(0xCDA3_48C7_445D_4471_9CC9_E988_5251_C556);
/// The item "parent locator".
pub(super) const PARENT_LOCATOR: Guid = guid(0xA8D3_5F2D_B30B_454D_ABF7_D3D8_4834_AB0C);
/// The item by which openvmm marks a file that is not complete yet.
pub(super) const INCOMPLETE_FILE: Guid = guid(0x71CC_85F0_1B69_4E28_9558_C3BF_83AE_75D3);
/// The only type of parent locator there is.
pub(super) const LOCATOR_TYPE: Guid = guid(0xB04A_EFB7_D19E_4A81_B789_25B8_E944_5913);

/// Signature of the file.
pub(super) const FILE_SIGNATURE: &[u8; 8] = b"vhdxfile";
/// Signature of a header.
pub(super) const HEADER_SIGNATURE: &[u8; 4] = b"head";
/// Signature of a region table.
pub(super) const REGION_SIGNATURE: &[u8; 4] = b"regi";
/// Signature of the metadata table.
pub(super) const METADATA_SIGNATURE: &[u8; 8] = b"metadata";

/// One of two header copies, at 64 KiB and 128 KiB (MS-VHDX, "Headers").
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone)]
#[repr(C)]
pub(super) struct RawHeader {
    pub(super) signature: [u8; 4],
    /// CRC-32C of the 4 KiB header with this field zero.
    pub(super) checksum: U32,
    /// The higher one of the two valid copies is current.
    pub(super) sequence_number: U64,
    pub(super) file_write_guid: Guid,
    /// The id by which children name the disk.
    pub(super) data_write_guid: Guid,
    /// Not zero: the log must be replayed first.
    pub(super) log_guid: Guid,
    pub(super) log_version: U16,
    pub(super) version: U16,
    pub(super) log_length: U32,
    pub(super) log_offset: U64,
    pub(super) reserved: [u8; 4016],
}
const _: () = assert!(size_of::<RawHeader>() == 4096);
const _: () = assert!(offset_of!(RawHeader, sequence_number) == 8);
const _: () = assert!(offset_of!(RawHeader, log_guid) == 48);
const _: () = assert!(offset_of!(RawHeader, log_version) == 64);
const _: () = assert!(offset_of!(RawHeader, log_offset) == 72);

/// What precedes the entries of a region table.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawRegionTable {
    pub(super) signature: [u8; 4],
    /// CRC-32C of the 64 KiB table with this field zero.
    pub(super) checksum: U32,
    pub(super) entry_count: U32,
    pub(super) reserved: U32,
}
const _: () = assert!(size_of::<RawRegionTable>() == 16);

/// Where a region is.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawRegion {
    pub(super) guid: Guid,
    pub(super) file_offset: U64,
    pub(super) length: U32,
    /// Bit 0: whoever does not know the region must refuse the file.
    pub(super) required: U32,
}
const _: () = assert!(size_of::<RawRegion>() == 32);
const _: () = assert!(offset_of!(RawRegion, length) == 24);

/// What precedes the entries of the metadata table.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawMetadataTable {
    pub(super) signature: [u8; 8],
    pub(super) reserved: U16,
    pub(super) entry_count: U16,
    pub(super) reserved2: [u8; 20],
}
const _: () = assert!(size_of::<RawMetadataTable>() == 32);
const _: () = assert!(offset_of!(RawMetadataTable, entry_count) == 10);

/// Where a metadata item is, from the start of its region.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawItem {
    pub(super) id: Guid,
    pub(super) offset: U32,
    pub(super) length: U32,
    /// Bit 0 user, bit 1 virtual disk, bit 2 required.
    pub(super) flags: U32,
    pub(super) reserved: U32,
}
const _: () = assert!(size_of::<RawItem>() == 32);
const _: () = assert!(offset_of!(RawItem, offset) == 16);
const _: () = assert!(offset_of!(RawItem, flags) == 24);

/// The payload of the item "file parameters".
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawFileParameters {
    pub(super) block_size: U32,
    /// Bit 0 leave blocks allocated (a fixed disk), bit 1 has a parent.
    pub(super) flags: U32,
}
const _: () = assert!(size_of::<RawFileParameters>() == 8);

/// What precedes the entries of a parent locator.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawLocator {
    pub(super) locator_type: Guid,
    pub(super) reserved: U16,
    pub(super) count: U16,
}
const _: () = assert!(size_of::<RawLocator>() == 20);

/// Where a key of a parent locator and its value are, from the start of the item.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawPair {
    pub(super) key_offset: U32,
    pub(super) value_offset: U32,
    pub(super) key_length: U16,
    pub(super) value_length: U16,
}
const _: () = assert!(size_of::<RawPair>() == 12);

/// Why one of two copies of a structure cannot be used.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) found: String,
    pub(super) expected: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, expected {}", self.found, self.expected)
    }
}

/// Returns CRC-32C of `bytes` with its field, bytes 4 to 8, as zero.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let (signature, rest) = bytes.split_at_checked(4).unwrap_or((bytes, &[]));
    let payload = rest.get(4..).unwrap_or_default();
    let head = crc32c::crc32c_append(crc32c::crc32c(signature), &[0; 4]);
    crc32c::crc32c_append(head, payload)
}

/// Checks the signature and checksum of a header or region table.
pub(super) fn check_copy(bytes: &[u8], signature: &[u8; 4]) -> Result<(), Fault> {
    let field = |at: usize| -> [u8; 4] {
        let end = at.saturating_add(4);
        let found = bytes.get(at..end).and_then(|part| part.try_into().ok());
        found.unwrap_or_default()
    };
    if field(0) != *signature {
        return Err(Fault {
            found: format!("signature is `{}`", field(0).escape_ascii()),
            expected: format!("`{}`", signature.escape_ascii()),
        });
    }
    let (found, expected) = (u32::from_le_bytes(field(4)), checksum(bytes));
    if found != expected {
        return Err(Fault {
            found: format!("checksum is {found:#010x}"),
            expected: format!("{expected:#010x}"),
        });
    }
    Ok(())
}

/// Puts the right checksum into a header or region table.
pub(super) fn seal(bytes: &mut [u8]) {
    let sum = checksum(bytes).to_le_bytes();
    if let Some(field) = bytes.get_mut(4..8) {
        field.copy_from_slice(&sum);
    }
}

/// Reads `len` bytes, which the caller has bounded, once they are known to be in the file.
pub(super) fn read(
    file: &dyn ReadAt,
    offset: u64,
    len: usize,
    place: impl fmt::Display,
) -> Result<Vec<u8>, FormatError> {
    let inside = ByteRange::new(offset, len64(len)).is_some_and(|r| r.end() <= file.len());
    if !inside {
        let end = std::io::ErrorKind::UnexpectedEof.into();
        return Err(FormatError::unreadable(place, end));
    }
    let mut bytes = vec![0; len];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(bytes),
        Err(source) => Err(FormatError::unreadable(place, source)),
    }
}

/// A length in memory as one in a file.
pub(super) fn len64(len: usize) -> u64 {
    // No supported system has longer lengths in memory than in files.
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// A length or offset within something that is already in memory.
pub(super) fn index(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The GUID as people write it.
pub(super) const fn show(guid: Guid) -> DiskId {
    DiskId::from_vhdx(guid)
}

/// Returns a GUID that depends on nothing but `parts` (RFC 9562, version 8).
pub(super) fn derive_guid(purpose: &str, parts: &[&[u8]]) -> Guid {
    let mut hasher = blake3::Hasher::new_derive_key(purpose);
    for &part in parts {
        hasher.update(&len64(part.len()).to_le_bytes());
        hasher.update(part);
    }
    let mut bytes = NIL;
    hasher.finalize_xof().fill(&mut bytes);
    let uuid = Builder::from_custom_bytes(bytes).into_uuid();
    uuid.to_bytes_le()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_32c_is_castagnolis() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn guids_lie_mixed_endian() {
        assert_eq!(BAT[..8], [0x66, 0x77, 0xC2, 0x2D, 0x23, 0xF6, 0x00, 0x42]);
        assert_eq!(
            METADATA[..8],
            [0x06, 0xA2, 0x7C, 0x8B, 0x90, 0x47, 0x9A, 0x4B]
        );
        let locator = [
            0xB7, 0xEF, 0x4A, 0xB0, 0x9E, 0xD1, 0x81, 0x4A, 0xB7, 0x89, 0x25, 0xB8, 0xE9, 0x44,
            0x59, 0x13,
        ];
        assert_eq!(LOCATOR_TYPE, locator);
    }

    #[test]
    fn derived_guids_are_of_version_8_and_tell_their_parts_apart() {
        let id = derive_guid("labpack test", &[b"ab", b"c"]);
        assert_eq!(Uuid::from_bytes_le(id).get_version_num(), 8);
        assert_ne!(id, derive_guid("labpack test", &[b"a", b"bc"]));
        assert_ne!(id, derive_guid("labpack tests", &[b"ab", b"c"]));
        assert_eq!(id, derive_guid("labpack test", &[b"ab", b"c"]));
    }
}
