//! stub
use super::{
    BlockCensus, CanonicalForm, DiskInfo, FormatError, Layer, NewDisk, ParentPaths, WriteSeek,
};
use crate::base::{Patch, ReadAt};
use std::{io, sync::Arc};
pub(super) fn recognise(_: &dyn ReadAt) -> io::Result<bool> {
    unimplemented!()
}
pub(super) fn read_info(_: &dyn ReadAt) -> Result<DiskInfo, FormatError> {
    unimplemented!()
}
pub(super) fn check_blocks(_: &dyn ReadAt) -> Result<BlockCensus, FormatError> {
    unimplemented!()
}
pub(super) fn open_layer(_: Arc<dyn ReadAt>) -> Result<Box<dyn Layer>, FormatError> {
    unimplemented!()
}
pub(super) fn canonical_form(_: &dyn ReadAt) -> Result<CanonicalForm, FormatError> {
    unimplemented!()
}
pub(super) fn relink(_: &dyn ReadAt, _: &ParentPaths) -> Result<Patch, FormatError> {
    unimplemented!()
}
pub(super) fn store_form(_: &dyn ReadAt, _: &str) -> Result<Patch, FormatError> {
    unimplemented!()
}
pub(super) fn write_new(_: &NewDisk, _: &mut dyn WriteSeek) -> Result<(), FormatError> {
    unimplemented!()
}
