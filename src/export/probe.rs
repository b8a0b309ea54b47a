//! Is a file a disk, and what does it say about itself.

use std::{path::Path, sync::Arc};

use super::{DiskFault, ScannedFile};
use crate::{
    base::{IoMeter, ReadAt},
    formats::{self, LogState},
    fs::{ReadAhead, SourceFile},
    report::{Code, Finding, WindowsError},
};

/// Shorter than any disk: a VHD footer alone has 511 bytes.
const SHORTEST: u64 = 511;

/// What opening a file showed.
#[derive(Debug, Clone, Default)]
pub(super) struct Probed {
    /// As [`ScannedFile::disk`].
    pub(super) disk: Option<Result<Arc<formats::DiskInfo>, Box<DiskFault>>>,
    /// As [`ScannedFile::blocks`].
    pub(super) blocks: Option<Box<DiskFault>>,
    /// Something about the file that is no finding about a disk.
    pub(super) oddity: Option<Oddity>,
}

/// Something odd about a file that is no disk.
#[derive(Debug, Clone)]
pub(super) enum Oddity {
    /// It has the name of a disk.
    NotADisk,
    /// It is the head of a shared VHD Set.
    SharedDisk,
    /// It cannot be read.
    Fault(DiskFault),
}

impl Oddity {
    /// Returns the finding that it makes about `path`.
    pub(super) fn finding(&self, path: &str) -> Finding {
        match self {
            Self::NotADisk => Finding::warning(
                Code::NotADisk,
                path,
                "has the name of a disk, but neither `conectix` nor `vhdxfile` is in its place",
            )
            .windows(WindowsError::NOT_A_VIRTUAL_DISK)
            .next("restore it from a backup if it ought to be a disk"),
            Self::SharedDisk => Finding::error(
                Code::SharedDisk,
                path,
                "is a shared VHD Set, which several VMs write to at once",
            )
            .next("detach the shared disk before the export, and hand it on by other means"),
            Self::Fault(fault) => fault.finding(path),
        }
    }
}

/// Looks into the file at `path`. One that is too short, or a guest state (`.vmgs`, which is
/// packaged as a VHD and belongs to no chain), is not opened.
pub(super) fn probe(path: &Path, file: &ScannedFile, meter: &Arc<IoMeter>) -> Probed {
    let named = Named::of(file.path.name());
    if named == Named::GuestState {
        return Probed::default();
    }
    if file.stamp.len < SHORTEST {
        return no_disk(named);
    }
    let source = match SourceFile::open(path, meter) {
        Ok(source) => ReadAhead::new(source),
        Err(error) => return unreadable(named, (&error).into()),
    };
    if named == Named::VhdSet && is_vhd_set(&source) {
        return Probed {
            oddity: Some(Oddity::SharedDisk),
            ..Probed::default()
        };
    }
    match formats::recognise(&source) {
        Err(error) => unreadable(named, read_fault(&error)),
        Ok(None) => no_disk(named),
        Ok(Some(_)) => disk(&source),
    }
}

/// Headers and tables are read together: they lie close to each other.
fn disk(source: &dyn ReadAt) -> Probed {
    let info = formats::read_info(source);
    // Before the log is replayed, the table says nothing.
    let settled = info
        .as_ref()
        .is_ok_and(|info| info.log != LogState::Pending);
    let fault = settled.then(|| formats::check_blocks(source).err());
    Probed {
        disk: Some(info.map(Arc::new).map_err(|error| boxed(&error))),
        blocks: fault.flatten().as_ref().map(boxed),
        oddity: None,
    }
}

fn boxed(error: &formats::FormatError) -> Box<DiskFault> {
    Box::new(error.into())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Disk,
    VhdSet,
    GuestState,
    Other,
}

impl Named {
    fn of(name: &str) -> Self {
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        match extension.to_ascii_lowercase().as_str() {
            "vhd" | "vhdx" | "avhd" | "avhdx" => Self::Disk,
            "vhds" => Self::VhdSet,
            "vmgs" => Self::GuestState,
            _ => Self::Other,
        }
    }
}

/// Tells whether a name is that of a disk.
pub(super) fn has_disk_name(name: &str) -> bool {
    Named::of(name) == Named::Disk
}

fn no_disk(named: Named) -> Probed {
    Probed {
        oddity: (named == Named::Disk).then_some(Oddity::NotADisk),
        ..Probed::default()
    }
}

fn unreadable(named: Named, fault: DiskFault) -> Probed {
    match named {
        Named::Disk => Probed {
            disk: Some(Err(Box::new(fault))),
            ..Probed::default()
        },
        _ => Probed {
            oddity: Some(Oddity::Fault(fault)),
            ..Probed::default()
        },
    }
}

fn read_fault(error: &std::io::Error) -> DiskFault {
    DiskFault {
        code: Code::Unreadable,
        message: format!("cannot read the file: {error}"),
        windows_error: None,
    }
}

fn is_vhd_set(source: &dyn ReadAt) -> bool {
    let mut magic = [0; 8];
    source.read_exact_at(&mut magic, 0).is_ok() && &magic == b"vhdsetv1"
}
