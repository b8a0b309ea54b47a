//! Bytes → what a disk says about itself.
//!
//! Readers take any [`ReadAt`], trust nothing they find, allocate nothing
//! from an unchecked length and open no other file: who the parent is, this stage only quotes.
//! [`vhd`] and [`vhdx`] hold the two formats; what both can do is here, whichever the format is:
//!
//! * [`read_info`]: what the disk says about itself ([`DiskInfo`]);
//! * [`check_blocks`]: does every allocated block lie inside the file, over nothing else;
//! * [`open_layer`]: where the data of each virtual byte is ([`Layer`]), for reading a chain;
//! * [`canonical_form`]: which bytes a relocation may touch ([`CanonicalForm`]);
//! * [`relink`] and [`store_form`]: the [`Patch`] that names another parent.

#![warn(clippy::as_conversions, clippy::arithmetic_side_effects)]

mod canonical;
mod create;
mod error;
mod info;
mod layer;
pub mod vhd;
pub mod vhdx;

use std::{io, sync::Arc};

pub use canonical::CanonicalForm;
pub use create::{NewDisk, NewParent, WriteSeek};
pub use error::FormatError;
pub use info::{
    BlockCensus, DiskFormat, DiskInfo, DiskKind, HintKind, LogState, ParentLink, ParentPaths,
    PathHint, Remark, RemarkKind,
};
pub use layer::{Extent, Layer, Source};

use crate::base::{Patch, ReadAt};

/// Returns the format of `file` by its signature, or `None` if it is no disk.
///
/// # Errors
/// When the file cannot be read.
pub fn recognise(file: &dyn ReadAt) -> io::Result<Option<DiskFormat>> {
    if vhdx::recognise(file)? {
        return Ok(Some(DiskFormat::Vhdx));
    }
    Ok(vhd::recognise(file)?.then_some(DiskFormat::Vhd))
}

fn format_of(file: &dyn ReadAt) -> Result<DiskFormat, FormatError> {
    let format = recognise(file).map_err(|source| FormatError::unreadable("signature", source))?;
    format.ok_or_else(FormatError::not_a_disk)
}

/// Reads what the disk in `file` says about itself. Reads headers, not blocks or the BAT.
///
/// # Errors
/// [`FormatError`] where the disk is corrupt, unsupported or unreadable, each its own answer.
/// A VHDX with a pending log is no error here: see [`DiskInfo::log`].
pub fn read_info(file: &dyn ReadAt) -> Result<DiskInfo, FormatError> {
    match format_of(file)? {
        DiskFormat::Vhd => vhd::read_info(file),
        DiskFormat::Vhdx => vhdx::read_info(file),
    }
}

/// Checks that every allocated block lies inside the file and over nothing else, and counts them.
///
/// # Errors
/// As [`read_info`], and for the first block that is out of place.
pub fn check_blocks(file: &dyn ReadAt) -> Result<BlockCensus, FormatError> {
    match format_of(file)? {
        DiskFormat::Vhd => vhd::check_blocks(file),
        DiskFormat::Vhdx => vhdx::check_blocks(file),
    }
}

/// Opens the disk in `file` for reading one level of a chain.
///
/// # Errors
/// As [`read_info`]; also for a VHDX whose log is pending.
pub fn open_layer(file: Arc<dyn ReadAt>) -> Result<Box<dyn Layer>, FormatError> {
    match format_of(&file)? {
        DiskFormat::Vhd => vhd::open_layer(file),
        DiskFormat::Vhdx => vhdx::open_layer(file),
    }
}

/// Returns which bytes of `file` a relocation may legally touch.
///
/// # Errors
/// As [`read_info`]; also where masking would be unsafe: a pending log, a locator that lies over
/// data. The caller falls back to the digest of the whole file.
pub fn canonical_form(file: &dyn ReadAt) -> Result<CanonicalForm, FormatError> {
    match format_of(file)? {
        DiskFormat::Vhd => vhd::canonical_form(file),
        DiskFormat::Vhdx => vhdx::canonical_form(file),
    }
}

/// Returns the change that makes the differencing disk in `file` name its parent by `paths`.
///
/// Nothing else changes: no data, no ids, no link to the parent's id. The patch is empty where
/// every path already reads so. The same input gives the same patch.
///
/// # Errors
/// As [`read_info`]; also for a disk without a parent, and where no room can be made.
pub fn relink(file: &dyn ReadAt, paths: &ParentPaths) -> Result<Patch, FormatError> {
    match format_of(file)? {
        DiskFormat::Vhd => vhd::relink(file, paths),
        DiskFormat::Vhdx => vhdx::relink(file, paths),
    }
}

/// Returns the change that brings the differencing disk in `file` into *store form*: every byte
/// that [`canonical_form`] masks gets a value that depends only on the unmasked bytes and on
/// `parent_name`, the name of the parent's file in the same folder. Two exports of one disk
/// become the same bytes. The length never changes.
///
/// # Errors
/// As [`canonical_form`]; also for a disk without a parent, and where the name does not fit.
pub fn store_form(file: &dyn ReadAt, parent_name: &str) -> Result<Patch, FormatError> {
    match format_of(file)? {
        DiskFormat::Vhd => vhd::store_form(file, parent_name),
        DiskFormat::Vhdx => vhdx::store_form(file, parent_name),
    }
}
