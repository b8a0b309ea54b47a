//! VHD, version 1 of the format: big-endian, additive checksums, a footer at the end.
//!
//! A disk is read from its `footer`, which says what kind it is; a dynamic or differencing one
//! goes on with its `header`, whose block allocation table (`bat`) says where blocks lie, and
//! whose parent locators (`locator`) say where the parent may be. `disk` holds these together
//! and tells what the disk says about itself.
//!
//! What is done with a disk stands in files of its own: `blocks` checks where blocks lie,
//! `layer` finds the data of a virtual byte, `rooms` tells which locator areas may be
//! touched, `canonical` masks them, `relink` and `store_form` rewrite them, and `create`
//! makes new disks. Facts are those of the VHD 1.0 specification and of files that Windows wrote.

mod bat;
mod blocks;
mod canonical;
mod create;
mod disk;
mod footer;
mod geometry;
mod header;
mod layer;
mod locator;
mod names;
mod raw;
mod relink;
mod rewrite;
mod rooms;
mod store_form;
#[cfg(test)]
mod tests;

use std::{io, sync::Arc};

use super::{
    BlockCensus, CanonicalForm, DiskInfo, FormatError, Layer, NewDisk, ParentPaths, WriteSeek,
};
use crate::base::{Patch, ReadAt};
use disk::Disk;

/// The sector of the format; offsets in the block allocation table count these.
const SECTOR: u64 = 512;

/// Tells whether `file` bears the cookie of a VHD, at its end or at its start.
pub(super) fn recognise(file: &dyn ReadAt) -> io::Result<bool> {
    footer::recognise(file)
}

/// Reads footers and header.
pub(super) fn read_info(file: &dyn ReadAt) -> Result<DiskInfo, FormatError> {
    Disk::read(file)?.info(file)
}

/// Checks where every block lies.
pub(super) fn check_blocks(file: &dyn ReadAt) -> Result<BlockCensus, FormatError> {
    blocks::census(file, &Disk::read(file)?)
}

/// Opens the disk to be read as one level of a chain.
pub(super) fn open_layer(file: Arc<dyn ReadAt>) -> Result<Box<dyn Layer>, FormatError> {
    Ok(Box::new(layer::VhdLayer::open(file)?))
}

/// Tells which bytes a relocation may touch.
pub(super) fn canonical_form(file: &dyn ReadAt) -> Result<CanonicalForm, FormatError> {
    canonical::canonical_form(file, &Disk::read(file)?)
}

/// Tells what to change so that the parent is named by `paths`.
pub(super) fn relink(file: &dyn ReadAt, paths: &ParentPaths) -> Result<Patch, FormatError> {
    relink::relink(file, &Disk::read(file)?, paths)
}

/// Tells what to change so that the masked bytes depend on nothing but the others.
pub(super) fn store_form(file: &dyn ReadAt, parent_name: &str) -> Result<Patch, FormatError> {
    store_form::store_form(file, &Disk::read(file)?, parent_name)
}

/// Writes a new disk as Windows lays it out.
pub(super) fn write_new(disk: &NewDisk, out: &mut dyn WriteSeek) -> Result<(), FormatError> {
    create::write_new(disk, out)
}
