//! VHDX: the format of Hyper-V since 2012 (MS-VHDX).
//!
//! A file names itself in its first 64 KiB. Two `header`s follow, of which one is current, and
//! two `region` tables, which say where the `metadata` and the block allocation table
//! (`bat`) are. Among the metadata of a child is the parent `locator`. All of it together,
//! held against itself, is a `disk`; a `layer` reads its blocks.
//!
//! What may differ between two exports of one disk says `canonical`; `relink` and
//! `store_form` change that and nothing else. `create` writes new disks.
//!
//! A log is never replayed: a disk whose log is pending says so, and is not believed.

mod bat;
mod canonical;
mod create;
mod disk;
mod header;
mod layer;
mod locator;
mod metadata;
mod raw;
mod region;
mod relink;
mod store_form;
#[cfg(test)]
mod tests;

use std::{io, sync::Arc};

pub(super) use create::write_new;
pub(super) use relink::relink;
pub(super) use store_form::store_form;

use self::{disk::Disk, layer::VhdxLayer};
use super::{BlockCensus, CanonicalForm, DiskInfo, FormatError, Layer};
use crate::base::ReadAt;

/// Tells whether `file` bears the signature of a VHDX.
pub(super) fn recognise(file: &dyn ReadAt) -> io::Result<bool> {
    let mut signature = [0; raw::FILE_SIGNATURE.len()];
    if file.len() < raw::len64(signature.len()) {
        return Ok(false);
    }
    file.read_exact_at(&mut signature, 0)?;
    Ok(signature == *raw::FILE_SIGNATURE)
}

/// Reads what the disk says about itself; with a pending log, as far as it can be read.
pub(super) fn read_info(file: &dyn ReadAt) -> Result<DiskInfo, FormatError> {
    Disk::read(file).map(|disk| disk.info())
}

/// Checks where every block lies, and counts them.
pub(super) fn check_blocks(file: &dyn ReadAt) -> Result<BlockCensus, FormatError> {
    let disk = Disk::read_settled(file)?;
    bat::walk(file, &disk, &mut |_| Ok(()))
}

/// Opens the disk for reading one level of a chain.
pub(super) fn open_layer(file: Arc<dyn ReadAt>) -> Result<Box<dyn Layer>, FormatError> {
    Ok(Box::new(VhdxLayer::open(file)?))
}

/// Returns which bytes a relocation may touch.
pub(super) fn canonical_form(file: &dyn ReadAt) -> Result<CanonicalForm, FormatError> {
    let disk = Disk::read_settled(file)?;
    canonical::form(file, &disk)
}
