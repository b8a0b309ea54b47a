//! Small deeds: rename, remove, create, patch, flush. Each is one step or a few, all announced.

use std::{
    fs,
    io::{self, BufWriter},
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    Existing, Finish, FsError, Sink, TempFile,
    seam::{StepKind, step, step_from},
    sinks::{ZEROS, pieces, zeros},
    system,
    temp::check_patch,
};
use crate::base::{Attributes, FileTime, IoMeter, Patch, Payload, Write};

/// Puts `bytes` at `path`, in the place of what stands there: temporary file, flush, rename,
/// flush of the folder. Whoever reads meets the old bytes or the new ones.
///
/// # Errors
/// What the system says.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    write_atomic_with(path, |out| out.write_all(bytes))
}

/// As [`write_atomic`], of what `fill` writes, piece by piece. Where it fails, nothing changes.
///
/// # Errors
/// What the system or `fill` says.
pub fn write_atomic_with(
    path: &Path,
    fill: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> Result<(), FsError> {
    let temp = TempFile::create(path, &Arc::default())?;
    let mut out = BufWriter::with_capacity(PIECE, Appender { temp, at: 0 });
    let filled = fill(&mut out).and_then(|()| {
        let inner = out.into_inner();
        inner.map_err(io::IntoInnerError::into_error)
    });
    let Appender { temp, .. } =
        filled.map_err(|error| FsError::from_io("write to", path, error))?;
    let how = Finish {
        modified: now(),
        attributes: Attributes {
            archive: cfg!(windows),
            ..Attributes::default()
        },
        existing: Existing::Replace,
    };
    temp.finish(&how).map(drop)
}

/// So many bytes of a document are written at once.
const PIECE: usize = 64 << 10;

/// Writes at the end of a new file.
struct Appender {
    temp: TempFile,
    at: u64,
}

impl io::Write for Appender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temp.data(self.at, bytes)?;
        self.at = self.at.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn now() -> FileTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    FileTime(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Renames a file or folder, and flushes both folders.
///
/// # Errors
/// [`FsError::Exists`] if something stands at `to`; what the system says.
pub fn rename_new(from: &Path, to: &Path) -> Result<(), FsError> {
    rename_step(from, to, system::rename_new)?;
    sync_folder_of(to)?;
    if from.parent() != to.parent() {
        sync_folder_of(from)?;
    }
    Ok(())
}

/// Renames a file, in the place of a file that may stand at `to`, and flushes both folders. A crash
/// leaves the one or the other under that name.
///
/// # Errors
/// What the system says.
pub fn rename_over(from: &Path, to: &Path) -> Result<(), FsError> {
    rename_over_unlisted(from, to)?;
    sync_folder_of(to)?;
    if from.parent() != to.parent() {
        sync_folder_of(from)?;
    }
    Ok(())
}

/// As [`rename_over`], but for the folders: whoever renames many files flushes them once, with
/// [`sync_folder`], the new ones first.
///
/// # Errors
/// What the system says.
pub fn rename_over_unlisted(from: &Path, to: &Path) -> Result<(), FsError> {
    rename_step(from, to, system::rename_over)
}

pub(super) fn rename_step(
    from: &Path,
    to: &Path,
    rename: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> Result<(), FsError> {
    step_from(StepKind::Rename, from, to, || rename(from, to))
}

/// Writes a patch into an existing file, flushing it after each stage. A read-only file is made
/// writable for as long as it takes. Counts `written`.
///
/// The file grows as stages write beyond its end; the patch's new length is set after the last.
///
/// # Errors
/// What the system says; a patch that ends beyond the file, and a link at `path`, are refused.
pub fn patch_in_place(path: &Path, patch: &Patch, meter: &Arc<IoMeter>) -> Result<(), FsError> {
    let writable = step(StepKind::Patch, path, || system::Writable::open(path))?;
    let file = writable.file();
    let found = file.metadata().map_err(FsError::when("look at", path))?;
    let len = patch.len_after(found.len());
    check_patch(patch, len).map_err(FsError::when("write to", path))?;
    for stage in &patch.stages {
        for write in stage {
            patch_one(file, path, write)?;
            meter.add_written(write.len());
        }
        step(StepKind::Flush, path, || file.sync_all())?;
    }
    let found = file.metadata().map_err(FsError::when("look at", path))?;
    if found.len() != len {
        step(StepKind::SetLen, path, || file.set_len(len))?;
        step(StepKind::Flush, path, || file.sync_all())?;
    }
    writable
        .close()
        .map_err(FsError::when("make read-only again", path))
}

fn patch_one(file: &fs::File, path: &Path, write: &Write) -> Result<(), FsError> {
    let put = |bytes: &[u8], at| {
        step(StepKind::Patch, path, || {
            system::write_all_at(file, bytes, at)
        })
    };
    match &write.payload {
        Payload::Bytes(bytes) => put(bytes, write.offset),
        Payload::Zeros(len) => {
            // `check_patch` saw to it that the sum holds.
            pieces(
                write.offset,
                write.offset.saturating_add(*len),
                ZEROS.len() as u64,
            )
            .try_for_each(|(at, len)| put(zeros(len), at))
        }
    }
}

/// Sets a file's modification time and attributes. A link is not followed.
///
/// # Errors
/// What the system says.
pub fn set_times_and_attributes(
    path: &Path,
    modified: FileTime,
    attributes: Attributes,
) -> Result<(), FsError> {
    step(StepKind::SetAttributes, path, || {
        system::dress(&system::open_for_attributes(path)?, modified, attributes)
    })
}

/// Sets a folder's modification time. A link is not followed.
///
/// # Errors
/// What the system says.
pub fn set_folder_time(path: &Path, modified: FileTime) -> Result<(), FsError> {
    step(StepKind::SetAttributes, path, || {
        system::set_modified(&system::open_for_attributes(path)?, modified)
    })
}

/// Flushes a file's bytes, as they stand now, to the disk.
///
/// # Errors
/// What the system says.
pub fn sync_file(path: &Path) -> Result<(), FsError> {
    step(StepKind::Flush, path, || system::sync_file(path))
}

/// Flushes a folder: what was made, renamed or removed in it survives a power cut. Windows knows
/// no such thing; renames are written through there.
///
/// # Errors
/// What the system says.
pub fn sync_folder(path: &Path) -> Result<(), FsError> {
    step(StepKind::FlushFolder, path, || system::sync_folder(path))
}

/// Flushes the folder in which `path` lies.
pub(super) fn sync_folder_of(path: &Path) -> Result<(), FsError> {
    sync_folder(folder_of(path))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => path,
    }
}

/// Removes a file, read-only or not, or a link, never what it leads to; fine if it is gone.
///
/// # Errors
/// What the system says; a folder is not removed.
pub fn remove_file(path: &Path) -> Result<(), FsError> {
    step(StepKind::Remove, path, || match system::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    })
}

/// Removes a folder if it is empty; tells whether it did. A link to a folder is an error.
///
/// # Errors
/// What the system says.
pub fn remove_empty_folder(path: &Path) -> Result<bool, FsError> {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory, NotFound};
    step(StepKind::RemoveFolder, path, || {
        // Windows would remove a junction here.
        if path.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
            return Err(NotADirectory.into());
        }
        match system::remove_dir(path) {
            Ok(()) => Ok(true),
            // POSIX lets a system say either of the first two.
            Err(error) if matches!(error.kind(), DirectoryNotEmpty | AlreadyExists | NotFound) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    })
}

/// Creates a folder and those above it, as far as they are missing, and makes them last.
///
/// # Errors
/// [`FsError::Exists`] where something else than a folder stands there; what the system says.
pub fn create_dir_all(path: &Path) -> Result<(), FsError> {
    create_missing(path, &sync_folder_of)
}

/// As [`create_dir_all`], but whoever makes many folders flushes those that they are in once, with
/// [`sync_folder`].
///
/// # Errors
/// As [`create_dir_all`].
pub fn create_dir_all_unlisted(path: &Path) -> Result<(), FsError> {
    create_missing(path, &|_| Ok(()))
}

fn create_missing(path: &Path, made: &dyn Fn(&Path) -> Result<(), FsError>) -> Result<(), FsError> {
    if path.as_os_str().is_empty() || system::is_folder(path) {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        create_missing(above, made)?;
    }
    step(StepKind::CreateFolder, path, || {
        match system::create_dir(path) {
            Err(_) if system::is_folder(path) => Ok(()), // somebody else was faster
            done => done,
        }
    })?;
    made(path)
}
