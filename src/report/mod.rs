//! What every stage answers in: findings, and the summaries made of them.
//!
//! A finding has a severity, a [`Code`] that never changes, the file it is about, one sentence,
//! the error that Hyper-V would show, and a next step. People get the sentence, scripts the same
//! as JSON.

mod code;
mod finding;
mod quote;

pub use code::{Code, Severity};
pub use finding::{Finding, Findings};
pub use quote::quoted;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A virtual-disk error as Windows numbers it (facility 0x3A), shown by Hyper-V.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
pub struct WindowsError(pub u32);

impl WindowsError {
    /// The footer of a VHD is missing.
    pub const FOOTER_MISSING: Self = Self(0xC03A_0001);
    /// The checksum of a VHD's footer is wrong.
    pub const FOOTER_CHECKSUM: Self = Self(0xC03A_0002);
    /// The footer of a VHD is corrupt.
    pub const FOOTER_CORRUPT: Self = Self(0xC03A_0003);
    /// The format is not known.
    pub const UNKNOWN_FORMAT: Self = Self(0xC03A_0004);
    /// The version of the format is not supported.
    pub const UNSUPPORTED_VERSION: Self = Self(0xC03A_0005);
    /// The checksum of a VHD's dynamic header is wrong.
    pub const HEADER_CHECKSUM: Self = Self(0xC03A_0006);
    /// The dynamic header is corrupt.
    pub const HEADER_CORRUPT: Self = Self(0xC03A_0008);
    /// The block allocation table is corrupt.
    pub const BAT_CORRUPT: Self = Self(0xC03A_000A);
    /// The block size is wrong.
    pub const BAD_BLOCK_SIZE: Self = Self(0xC03A_000B);
    /// The parent was not found.
    pub const PARENT_NOT_FOUND: Self = Self(0xC03A_000D);
    /// The parent's id is not the one that the child recorded.
    pub const PARENT_ID_MISMATCH: Self = Self(0xC03A_000E);
    /// The parent's time is not the one that the child recorded.
    pub const PARENT_TIME_MISMATCH: Self = Self(0xC03A_000F);
    /// Metadata could not be read.
    pub const METADATA_READ: Self = Self(0xC03A_0010);
    /// A size is wrong.
    pub const INVALID_SIZE: Self = Self(0xC03A_0012);
    /// The file's size is wrong.
    pub const INVALID_FILE_SIZE: Self = Self(0xC03A_0013);
    /// The file is no virtual disk.
    pub const NOT_A_VIRTUAL_DISK: Self = Self(0xC03A_0015);
    /// The parent may not be opened.
    pub const PARENT_ACCESS_DENIED: Self = Self(0xC03A_0016);
    /// Parent and child of a VHD chain differ in size.
    pub const SIZE_MISMATCH: Self = Self(0xC03A_0017);
    /// The chain bites its tail.
    pub const CYCLE: Self = Self(0xC03A_0018);
    /// Something is wrong further up the chain.
    pub const PARENT_CHAIN: Self = Self(0xC03A_0019);
    /// The file is compressed, encrypted or sparse.
    pub const COMPRESSED_OR_SPARSE: Self = Self(0xC03A_001A);
}

impl fmt::Display for WindowsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08X}", self.0)
    }
}

impl From<WindowsError> for String {
    fn from(error: WindowsError) -> Self {
        error.to_string()
    }
}

impl TryFrom<String> for WindowsError {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u32::from_str_radix(text.trim_start_matches("0x"), 16).map(Self)
    }
}
