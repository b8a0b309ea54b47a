//! A new file, under a temporary name until it is whole.
//!
//! Its process holds an operating-system lock on it that dies with the process, so that whoever
//! comes later can tell a file at work from one that a crash left behind.

use std::{
    fs::{File, TryLockError},
    hash::{BuildHasher, Hasher, RandomState},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    FileKey, FsError, Sink, SourceFile, Stamp, deeds,
    seam::{self, StepKind},
    sinks::{ZEROS, pieces, zeros},
    system,
};
use crate::base::{Attributes, FileTime, IoMeter, Patch, Payload, Write};

/// How many names are tried.
pub(super) const TRIES: u32 = 32;
const SUFFIX: &str = ".labpack-tmp";
/// Digits between the name and the suffix.
const DIGITS: usize = 16;
/// Bytes of the final name that the temporary one keeps: with the rest they stay below 255.
const KEPT: usize = 200;
/// As many bytes are written before the system is told to bring them to the disk.
const BEHIND: u64 = 8 << 20;
/// Zeros are left out in blocks of this length, at multiples of it.
const BLOCK: u64 = ZEROS.len() as u64;

/// What happens if something stands at the final path already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the answer is [`FsError::Exists`].
    Refuse,
    /// The finished file takes its place, in one step.
    Replace,
}

/// How a finished file is to look.
#[derive(Debug, Clone, Copy)]
pub struct Finish {
    /// Its modification time.
    pub modified: FileTime,
    /// Its attributes.
    pub attributes: Attributes,
    /// What happens if something stands at the final path already.
    pub existing: Existing,
}

/// A new file under a temporary name in the folder of its final path; removed when it is dropped
/// unfinished.
///
/// As a [`Sink`] it takes the bytes of a file, and counts `written`. Holes stay holes, on Windows
/// by not writing them, never by the sparse attribute. Neither is a block of 64 KiB zeros written
/// that lies at a multiple of 64 KiB.
#[derive(Debug)]
pub struct TempFile {
    file: File,
    path: PathBuf,
    final_path: PathBuf,
    meter: Arc<IoMeter>,
    /// How long the file is to be.
    len: u64,
    /// From here on nothing was ever written: zeros need not be.
    blank_from: u64,
    /// Up to here the bytes are on their way to the disk.
    behind: u64,
    finished: bool,
}

impl TempFile {
    /// Creates an empty file beside `final_path`.
    ///
    /// # Errors
    /// What the system says; `final_path` without a name is an error too.
    pub fn create(final_path: &Path, meter: &Arc<IoMeter>) -> Result<Self, FsError> {
        for _ in 0..TRIES {
            if let Some(temp) = Self::try_create(final_path, meter)? {
                return Ok(temp);
            }
        }
        let taken = io::Error::other("another program takes every new file away");
        Err(FsError::io("create a file beside", final_path, taken))
    }

    /// `None` where the name was taken, or the file taken away before it was locked.
    fn try_create(final_path: &Path, meter: &Arc<IoMeter>) -> Result<Option<Self>, FsError> {
        let path = temp_path(final_path)?;
        let made = seam::step(StepKind::Create, &path, || system::create_new(&path));
        let file = match made {
            Err(FsError::Exists { .. }) => return Ok(None),
            made => made?,
        };
        let temp = Self {
            file,
            path,
            final_path: final_path.to_owned(),
            meter: Arc::clone(meter),
            len: 0,
            blank_from: 0,
            behind: 0,
            finished: false,
        };
        Ok(temp.lock()?.then_some(temp))
    }

    /// Takes the lock; false where somebody took the file for one left behind before that.
    fn lock(&self) -> Result<bool, FsError> {
        let failed = FsError::when("lock", &self.path);
        match self.file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            // A file system without locks: nobody else gets one either, so the file is safe.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        match system::stamp_at(&self.path, false) {
            Ok(named) => {
                let held = system::stamp_of(&self.file).map_err(failed)?;
                Ok(named.key == held.key)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// A block clone of `source`, beside `final_path`. `None` where the volume cannot, or where
    /// the two are not on one volume. Counts `cloned`.
    ///
    /// # Errors
    /// As [`TempFile::create`].
    pub fn clone_of(
        source: &SourceFile,
        final_path: &Path,
        meter: &Arc<IoMeter>,
    ) -> Result<Option<Self>, FsError> {
        Ok(Self::try_clone_of(source, final_path, meter)?.ok())
    }

    /// As [`TempFile::clone_of`], with the reason why not.
    pub(super) fn try_clone_of(
        source: &SourceFile,
        final_path: &Path,
        meter: &Arc<IoMeter>,
    ) -> Result<Result<Self, io::Error>, FsError> {
        if source.opened().sparse_or_compressed {
            // The clone would be so too, and Hyper-V would refuse it.
            let why = "the file is sparse, compressed or encrypted";
            return Ok(Err(io::Error::new(io::ErrorKind::Unsupported, why)));
        }
        let mut temp = Self::create(final_path, meter)?;
        let len = source.opened().len;
        // A hook may forbid the step; that the volume cannot take it is no error.
        seam::step(StepKind::Clone, &temp.path, || Ok(()))?;
        if len > 0
            && let Err(error) = system::clone_blocks(&source.file, &temp.file)
        {
            return match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Err(FsError::io("clone into", &temp.path, error))
                }
                _ => Ok(Err(error)),
            };
        }
        let found = temp
            .file
            .metadata()
            .map_err(FsError::when("look at", &temp.path))?;
        if found.len() != len {
            return Err(source.changed(format!("it is {} bytes long, expected {len}", found.len())));
        }
        meter.add_cloned(len);
        (temp.len, temp.blank_from) = (len, len);
        Ok(Ok(temp))
    }

    /// Sets the length; what is new reads as zero.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_len(&mut self, len: u64) -> Result<(), FsError> {
        seam::step(StepKind::SetLen, &self.path, || self.file.set_len(len))?;
        self.len = len;
        self.blank_from = self.blank_from.min(len);
        Ok(())
    }

    /// Writes the patch over what is there. Counts `written`.
    ///
    /// # Errors
    /// What the system says; a patch that ends beyond the file is refused.
    pub fn apply(&mut self, patch: &Patch) -> Result<(), FsError> {
        let len = patch.len_after(self.len);
        check_patch(patch, len).map_err(FsError::when("write to", &self.path))?;
        for write in patch.writes() {
            self.put(write)?;
        }
        if len < self.len {
            return self.set_len(len);
        }
        self.len = len;
        Ok(())
    }

    fn put(&mut self, write: &Write) -> Result<(), FsError> {
        match &write.payload {
            Payload::Bytes(bytes) => self.write(write.offset, bytes),
            Payload::Zeros(len) => self.zero(write.offset, *len),
        }
    }

    /// Where it stands now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its length, time and attributes, flushes it, renames it to its final path
    /// and flushes the folder. Returns the stamp of the finished file.
    ///
    /// # Errors
    /// [`FsError::Exists`] where it may not replace what stands there; what the system says.
    pub fn finish(self, how: &Finish) -> Result<Stamp, FsError> {
        let final_path = self.final_path.clone();
        let stamp = self.finish_unlisted(how)?;
        deeds::sync_folder_of(&final_path)?;
        Ok(stamp)
    }

    /// As [`TempFile::finish`], but for the folder: whoever finishes many files in one flushes it
    /// once, with [`sync_folder`](super::sync_folder). Until then a power cut may take the name,
    /// never the bytes under it.
    ///
    /// # Errors
    /// As [`TempFile::finish`].
    pub fn finish_unlisted(mut self, how: &Finish) -> Result<Stamp, FsError> {
        self.dress(how)?;
        self.flush()?;
        self.take_name(how.existing)
    }

    /// Gives the file its length, time and attributes: the first of the three steps in which a file
    /// is finished. Whoever finishes many takes each step with all of them.
    ///
    /// # Errors
    /// What the system says.
    pub fn dress(&mut self, how: &Finish) -> Result<(), FsError> {
        let found = self
            .file
            .metadata()
            .map_err(FsError::when("look at", &self.path))?;
        if found.len() != self.len {
            self.set_len(self.len)?;
        }
        // The time comes after the last write, and before the flush that makes both last.
        seam::step(StepKind::SetAttributes, &self.path, || {
            system::dress(&self.file, how.modified, how.attributes)
        })
    }

    /// Flushes the file: the second step.
    ///
    /// # Errors
    /// What the system says.
    pub fn flush(&self) -> Result<(), FsError> {
        seam::step(StepKind::Flush, &self.path, || self.file.sync_all())
    }

    /// Has the system begin to bring the file to the disk: whoever flushes many files begins with
    /// all of them. It is a hint.
    pub fn write_behind(&self) {
        system::write_behind(
            &self.file,
            self.behind,
            self.len.saturating_sub(self.behind),
        );
    }

    /// Which file it is.
    ///
    /// # Errors
    /// What the system says.
    pub fn key(&self) -> Result<FileKey, FsError> {
        let stamp = system::stamp_of(&self.file);
        Ok(stamp.map_err(FsError::when("look at", &self.path))?.key)
    }

    /// Renames the file to its final path: the third step, once its bytes are flushed. The folder
    /// is not.
    ///
    /// # Errors
    /// [`FsError::Exists`] where it may not replace what stands there; what the system says.
    pub fn take_name(mut self, existing: Existing) -> Result<Stamp, FsError> {
        let key = self.key()?;
        // The lock is held until the new name stands, or somebody might clear the old one away.
        let rename = match existing {
            Existing::Refuse => system::rename_new,
            Existing::Replace => system::rename_over,
        };
        deeds::rename_step(&self.path, &self.final_path, rename)?;
        self.finished = true;
        let done = system::stamp_of(&self.file);
        let done = done.map_err(FsError::when("look at", &self.final_path))?;
        // Wine no longer knows the volume of a handle whose file was renamed.
        Ok(Stamp { key, ..done })
    }

    /// Reads what was written so far.
    pub(super) fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        system::read_exact_at(&self.file, bytes, offset)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), FsError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end =
            end_of(offset, bytes.len() as u64).map_err(FsError::when("write to", &self.path))?;
        seam::step(StepKind::Write, &self.path, || {
            system::write_all_at(&self.file, bytes, offset)
        })?;
        self.meter.add_written(bytes.len() as u64);
        self.len = self.len.max(end);
        self.blank_from = self.blank_from.max(end);
        self.keep_behind(end);
        Ok(())
    }

    /// Lets the disk write while the next bytes are read: the flush at the end, for which all of
    /// them have to be there, has little left to wait for.
    fn keep_behind(&mut self, end: u64) {
        if end.saturating_sub(self.behind) >= BEHIND {
            system::write_behind(&self.file, self.behind, end - self.behind);
            self.behind = end;
        }
    }

    /// Makes `len` bytes zero, writing only where something may stand.
    fn zero(&mut self, offset: u64, len: u64) -> Result<(), FsError> {
        let end = end_of(offset, len).map_err(FsError::when("write to", &self.path))?;
        for (at, len) in pieces(offset, end.min(self.blank_from), BLOCK) {
            self.write(at, zeros(len))?;
        }
        self.len = self.len.max(end);
        Ok(())
    }

    fn take(&mut self, offset: u64, bytes: &[u8]) -> Result<(), FsError> {
        let end =
            end_of(offset, bytes.len() as u64).map_err(FsError::when("write to", &self.path))?;
        // Both bounds lie within `bytes`.
        let part = |from: u64, to: u64| &bytes[(from - offset) as usize..(to - offset) as usize];
        let mut from = offset;
        for (at, len) in pieces(offset, end, BLOCK) {
            if len == BLOCK && at >= self.blank_from && *part(at, at + len) == ZEROS {
                self.write(from, part(from, at))?;
                from = at + len;
            }
        }
        self.write(from, part(from, end))?;
        self.len = self.len.max(end);
        Ok(())
    }
}

impl Sink for TempFile {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.take(offset, bytes).map_err(FsError::into_io)
    }

    fn hole(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.zero(offset, len).map_err(FsError::into_io)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is removed by the next run, as after a crash.
            let _ = deeds::remove_file(&self.path);
        }
    }
}

fn end_of(offset: u64, len: u64) -> io::Result<u64> {
    let end = offset.checked_add(len);
    end.ok_or_else(|| io::ErrorKind::FileTooLarge.into())
}

/// Checks that a patch ends within a file of `len` bytes.
pub(super) fn check_patch(patch: &Patch, len: u64) -> io::Result<()> {
    for write in patch.writes() {
        let end = end_of(write.offset, write.len())?;
        if end > len {
            let why = format!("the patch ends at byte {end}, beyond the file's {len}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
    }
    Ok(())
}

/// A new temporary path beside `final_path`.
pub(super) fn temp_path(final_path: &Path) -> Result<PathBuf, FsError> {
    let Some(name) = final_path.file_name() else {
        let nameless = io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name");
        return Err(FsError::io("create", final_path, nameless));
    };
    let name = name.to_string_lossy();
    let kept: String = name
        .char_indices()
        .take_while(|(at, c)| at + c.len_utf8() <= KEPT)
        .map(|(_, c)| c)
        .collect();
    let random = RandomState::new().build_hasher().finish();
    Ok(final_path.with_file_name(format!(".{kept}.{random:016x}{SUFFIX}")))
}

/// Tells whether a name is one of labpack's temporary names.
#[must_use]
pub fn is_temp_name(name: &str) -> bool {
    let Some(stem) = name.strip_prefix('.').and_then(|n| n.strip_suffix(SUFFIX)) else {
        return false;
    };
    stem.rsplit_once('.').is_some_and(|(_, digits)| {
        digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

/// Removes temporary files in `folder` whose process is gone; returns how many. A folder that is
/// not there has none.
///
/// # Errors
/// What the system says.
pub fn remove_stale_temps(folder: &Path) -> Result<u64, FsError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(FsError::when("list", folder))?,
    };
    let (mut files, mut links) = (Vec::new(), Vec::new());
    for entry in entries {
        let entry = entry.map_err(FsError::when("list", folder))?;
        if entry.file_name().to_str().is_some_and(is_temp_name) {
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            let list = if is_link { &mut links } else { &mut files };
            list.push(entry.path());
        }
    }
    let mut removed = 0;
    for file in files {
        removed += u64::from(remove_file_if_stale(&file)?);
    }
    // What they lead to may be gone by now.
    for link in links {
        removed += u64::from(remove_link_if_stale(&link)?);
    }
    Ok(removed)
}

/// A link cannot be locked: whose it is cannot be told before it is old.
const LINK_IS_OLD: std::time::Duration = std::time::Duration::from_secs(3600);

/// Removes a link that is old, or of a trial whose other end is gone: its process removes the link
/// first.
fn remove_link_if_stale(path: &Path) -> Result<bool, FsError> {
    let (Ok(found), Ok(target)) = (path.symlink_metadata(), std::fs::read_link(path)) else {
        return Ok(false);
    };
    let age = found.modified().ok().and_then(|made| made.elapsed().ok());
    let old = age.is_some_and(|age| age > LINK_IS_OLD);
    let name = target.file_name().and_then(std::ffi::OsStr::to_str);
    let gone = target.is_absolute()
        && name.is_some_and(is_temp_name)
        && target.symlink_metadata().is_err();
    if old || gone {
        deeds::remove_file(path)?;
    }
    Ok(old || gone)
}

fn remove_file_if_stale(path: &Path) -> Result<bool, FsError> {
    // It may be finished or removed at any moment by the process that it belongs to.
    let Ok(file) = system::open_shared(path) else {
        return Ok(false);
    };
    if file.try_lock().is_err() {
        return Ok(false);
    }
    // It may have been finished and let go of between the two.
    let held = system::stamp_of(&file).map_err(FsError::when("look at", path))?;
    match system::stamp_at(path, false) {
        Ok(named) if named.key == held.key => deeds::remove_file(path).map(|()| true),
        _ => Ok(false),
    }
}
