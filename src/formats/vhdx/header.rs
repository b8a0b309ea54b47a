//! The two headers: which one is current, and how a new one is made.

use std::cmp::Ordering;

use zerocopy::{FromBytes, IntoBytes};

use super::raw::{Fault, Guid, HEADER_SIGNATURE, MIB, NIL, RawHeader, check_copy, read, seal};
use crate::{
    base::{ByteRange, DiskId, ReadAt},
    formats::{FormatError, Remark, RemarkKind},
    report::{Code, WindowsError},
};

/// Where a header lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    First,
    Second,
}

impl Slot {
    pub(super) const fn offset(self) -> u64 {
        match self {
            Self::First => 0x1_0000,
            Self::Second => 0x2_0000,
        }
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    fn place(self) -> String {
        format!("header at {:#x}", self.offset())
    }
}

/// The current header, checked.
pub(super) struct Header {
    pub(super) slot: Slot,
    /// The log's bytes: aligned, past the header area, not compared with the file's length.
    pub(super) log: ByteRange,
    raw: Box<RawHeader>,
}

impl Header {
    /// Reads both headers and returns the current one, with a remark where the other is damaged.
    pub(super) fn read(file: &dyn ReadAt) -> Result<(Self, Option<Remark>), FormatError> {
        let (first, second) = (
            read_copy(file, Slot::First)?,
            read_copy(file, Slot::Second)?,
        );
        let (slot, raw, remark) = match (first, second) {
            (Ok(one), Ok(two)) => match two.sequence_number.get().cmp(&one.sequence_number.get()) {
                Ordering::Greater => (Slot::Second, two, None),
                // Equal numbers are in the wild (disk2vhd); the first header counts then.
                Ordering::Less | Ordering::Equal => (Slot::First, one, None),
            },
            (Ok(one), Err(fault)) => (Slot::First, one, Some(remark(Slot::Second, &fault))),
            (Err(fault), Ok(two)) => (Slot::Second, two, Some(remark(Slot::First, &fault))),
            (Err(one), Err(two)) => return Err(both_damaged(&one, &two)),
        };
        Ok((Self::check(slot, raw)?, remark))
    }

    fn check(slot: Slot, raw: Box<RawHeader>) -> Result<Self, FormatError> {
        let unsupported = |what: String| Err(FormatError::unsupported(slot.place(), what));
        if raw.version.get() != 1 {
            return unsupported(format!("version {}", raw.version));
        }
        if raw.log_version.get() != 0 && raw.log_guid != NIL {
            return unsupported(format!("log version {}", raw.log_version));
        }
        let (offset, len) = (raw.log_offset.get(), u64::from(raw.log_length.get()));
        let aligned = offset >= MIB && offset.is_multiple_of(MIB) && len.is_multiple_of(MIB);
        let log = ByteRange::new(offset, len).filter(|_| aligned);
        let log = log.ok_or_else(|| {
            let found = format!("log of {len:#x} bytes at {offset:#x}");
            let expected = "multiples of 1 MiB past the first MiB";
            FormatError::corrupt(slot.place(), found, expected, WindowsError::HEADER_CORRUPT)
        })?;
        Ok(Self { slot, log, raw })
    }

    /// Tells whether the log must be replayed before anything else may be believed.
    pub(super) fn is_pending(&self) -> bool {
        self.raw.log_guid != NIL
    }

    /// The number by which this header is the current one.
    pub(super) fn sequence(&self) -> u64 {
        self.raw.sequence_number.get()
    }

    /// The id that changes whenever the file is opened to be written.
    pub(super) fn file_write_guid(&self) -> Guid {
        self.raw.file_write_guid
    }

    /// The id by which children name the disk, as it lies in the file.
    pub(super) fn data_write_guid(&self) -> Guid {
        self.raw.data_write_guid
    }

    /// The id by which children name the disk.
    pub(super) fn own_id(&self) -> DiskId {
        DiskId::from_vhdx(self.raw.data_write_guid)
    }

    /// Checks that the file is long enough for the log.
    pub(super) fn check_log(&self, file_len: u64) -> Result<(), FormatError> {
        if self.log.end() <= file_len {
            return Ok(());
        }
        let place = format!("log at {:#x}", self.log.start());
        let found = format!("the file ends at {file_len:#x}");
        let expected = format!("{:#x} or more", self.log.end());
        let error = FormatError::corrupt(place, found, expected, WindowsError::INVALID_FILE_SIZE);
        Err(error.coded(Code::Truncated))
    }

    /// Returns the bytes of this header under another sequence number and `FileWriteGuid`.
    pub(super) fn rewritten(&self, sequence: u64, file_write_guid: Guid) -> Vec<u8> {
        let mut raw = self.raw.clone();
        raw.sequence_number.set(sequence);
        raw.file_write_guid = file_write_guid;
        sealed(&raw)
    }
}

/// What a fresh header says.
pub(super) struct FreshHeader {
    pub(super) sequence: u64,
    pub(super) file_write_guid: Guid,
    pub(super) data_write_guid: Guid,
    pub(super) log: ByteRange,
}

impl FreshHeader {
    /// Returns its bytes: nothing in the log, nothing reserved set.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        sealed(&RawHeader {
            signature: *HEADER_SIGNATURE,
            checksum: 0.into(),
            sequence_number: self.sequence.into(),
            file_write_guid: self.file_write_guid,
            data_write_guid: self.data_write_guid,
            log_guid: NIL,
            log_version: 0.into(),
            version: 1.into(),
            // A log's length comes from a field of 32 bits, or is one that we chose.
            log_length: u32::try_from(self.log.len()).unwrap_or(0).into(),
            log_offset: self.log.start().into(),
            reserved: [0; 4016],
        })
    }
}

fn sealed(raw: &RawHeader) -> Vec<u8> {
    let mut bytes = raw.as_bytes().to_vec();
    seal(&mut bytes);
    bytes
}

type ReadCopy = Result<Box<RawHeader>, Fault>;

fn read_copy(file: &dyn ReadAt, slot: Slot) -> Result<ReadCopy, FormatError> {
    let bytes = read(file, slot.offset(), size_of::<RawHeader>(), slot.place())?;
    if let Err(fault) = check_copy(&bytes, HEADER_SIGNATURE) {
        return Ok(Err(fault));
    }
    let raw = RawHeader::read_from_bytes(&bytes).expect("as many bytes were read as it has");
    Ok(Ok(Box::new(raw)))
}

fn remark(damaged: Slot, fault: &Fault) -> Remark {
    let used = damaged.other().offset();
    Remark {
        kind: RemarkKind::HeaderCopy,
        text: format!(
            "{}: {fault}; the copy at {used:#x} was used",
            damaged.place()
        ),
    }
}

fn both_damaged(first: &Fault, second: &Fault) -> FormatError {
    let place = "headers at 0x10000 and 0x20000";
    let found = format!("both are damaged ({first}; {second})");
    FormatError::corrupt(
        place,
        found,
        "one that is not",
        WindowsError::HEADER_CORRUPT,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_the_checksum_that_windows_computes() {
        let id = |text: &str| text.parse::<DiskId>().unwrap().to_vhdx();
        let bytes = FreshHeader {
            sequence: 7,
            file_write_guid: id("11111111-2222-3333-4444-555555555555"),
            data_write_guid: id("AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE"),
            log: ByteRange::new(0x10_0000, 0x10_0000).unwrap(),
        }
        .to_bytes();
        assert_eq!(bytes.len(), 4096);
        assert_eq!(bytes[4..8], [0x08, 0x44, 0xE4, 0x50]);
    }
}
