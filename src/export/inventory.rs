//! What a scan finds.

use std::{path::PathBuf, sync::Arc};

use crate::{
    base::{FileTime, RelPath},
    formats::{DiskInfo, FormatError},
    fs::{FsError, Stamp},
    report::{Code, Finding, Findings, WindowsError},
};

use super::OwnFiles;

/// One export, as it was when it was scanned.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// Its folder, absolute.
    pub root: PathBuf,
    /// Its VM folders, by path.
    pub vms: Vec<VmFolder>,
    /// Every folder in it, parents before what is in them.
    pub folders: Vec<(RelPath, FileTime)>,
    /// Every file in it, by path.
    pub files: Vec<ScannedFile>,
    /// Links and junctions with what they lead to, by path. Callers decide what they make of them.
    pub links: Vec<(RelPath, PathBuf)>,
    /// What is wrong with names and files. Chains are judged elsewhere.
    pub findings: Findings,
    /// Files at the top that labpack itself put there, none of which is part of the export.
    pub own: OwnFiles,
}

impl Inventory {
    /// Returns the file at `path`.
    #[must_use]
    pub fn file(&self, path: &RelPath) -> Option<&ScannedFile> {
        let at = self.files.binary_search_by(|file| file.path.cmp(path));
        at.ok().map(|at| &self.files[at])
    }
}

/// The folder of one VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmFolder {
    /// The folder's name, which is the VM's.
    pub name: String,
    /// The folder; `None` where the export is itself one VM folder.
    pub folder: Option<RelPath>,
}

/// A file of an export.
#[derive(Debug, Clone)]
pub struct ScannedFile {
    /// Its path from the top of the export.
    pub path: RelPath,
    /// What the system says of it.
    pub stamp: Stamp,
    /// The VM folder that it is in, as an index into [`Inventory::vms`].
    pub vm: Option<usize>,
    /// What it says about itself if it is a disk, or why it cannot be read as one.
    pub disk: Option<Result<Arc<DiskInfo>, Box<DiskFault>>>,
    /// What is wrong with the blocks of a disk whose headers can be read: one lies outside of the
    /// file or over another.
    pub blocks: Option<Box<DiskFault>>,
}

impl ScannedFile {
    /// Returns what the file says about itself, if it is a disk that can be read.
    #[must_use]
    pub fn info(&self) -> Option<&Arc<DiskInfo>> {
        self.disk.as_ref()?.as_ref().ok()
    }
}

/// Why a disk cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFault {
    /// The code of the finding that it makes.
    pub code: Code,
    /// Where, found, expected.
    pub message: String,
    /// What Hyper-V would say.
    pub windows_error: Option<WindowsError>,
}

impl DiskFault {
    /// Returns the error that this makes about the disk at `path`.
    #[must_use]
    pub fn finding(&self, path: &str) -> Finding {
        let next = match self.code {
            Code::FileInUse => "shut down the VM that uses the disk, or detach it",
            Code::NoAccess | Code::Unreadable => "see that the file can be read, then run again",
            Code::Unsupported => "labpack leaves such a disk alone; convert it with Convert-VHD",
            _ => "export the VM again, or restore the file from a backup",
        };
        let finding = Finding::error(self.code, path, self.message.clone()).next(next);
        match self.windows_error {
            Some(error) => finding.windows(error),
            None => finding,
        }
    }
}

impl From<&FormatError> for DiskFault {
    fn from(error: &FormatError) -> Self {
        Self {
            code: error.code(),
            message: with_causes(error),
            windows_error: error.windows_error(),
        }
    }
}

impl From<&FsError> for DiskFault {
    fn from(error: &FsError) -> Self {
        let code = match error {
            FsError::InUse { .. } => Code::FileInUse,
            FsError::Changed { .. } => Code::FileChanged,
            FsError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Code::NoAccess
            }
            _ => Code::Unreadable,
        };
        Self {
            code,
            message: with_causes(error),
            windows_error: None,
        }
    }
}

/// An error and its causes as one sentence.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
