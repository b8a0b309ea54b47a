//! Systems that have no call to flush a whole volume, or none that everybody may make.

use std::{convert::Infallible, io, path::Path};

/// There is none.
#[derive(Debug)]
pub(super) struct WholeVolume(Infallible);

impl WholeVolume {
    #[expect(clippy::unnecessary_wraps, reason = "other systems can fail here")]
    pub(super) fn open(_: &Path) -> io::Result<Option<Self>> {
        Ok(None)
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        match self.0 {}
    }
}
