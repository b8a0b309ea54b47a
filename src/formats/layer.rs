//! One level of a chain: where the data of each virtual byte is.

use super::{DiskInfo, FormatError};

/// A disk opened to be read as one level of a chain.
pub trait Layer: Send + Sync {
    /// What the disk says about itself.
    fn info(&self) -> &DiskInfo;

    /// Tells where the virtual bytes from `offset` on are, as far as one answer reaches.
    /// `offset` lies below the virtual size; the extent has at least one byte, and ends at
    /// most at the virtual size.
    ///
    /// # Errors
    /// [`FormatError`] where the table or bitmap there is damaged or unreadable.
    fn extent(&self, offset: u64) -> Result<Extent, FormatError>;

    /// Fills `buf` with bytes of the *file*, as [`Source::Here`] named them.
    ///
    /// # Errors
    /// [`FormatError::Unreadable`], and corrupt where the file ends too early.
    fn read_file(&self, buf: &mut [u8], file_offset: u64) -> Result<(), FormatError>;
}

/// A run of virtual bytes that come from one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// How many bytes.
    pub len: u64,
    /// Where they are.
    pub source: Source,
}

/// Where virtual bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In this file, from this offset on.
    Here(u64),
    /// Nowhere: they are zero.
    Zero,
    /// In the parent, at the same virtual offset.
    Parent,
}
