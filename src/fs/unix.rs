//! The file system as Unix has it.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{CWD, OFlags, RenameFlags},
    io::Errno,
};

use super::{Entry, FileKey, Stamp, Volume, volume::FAT_MAX};
use crate::base::{Attributes, FileTime};

const ALL_WRITE: u32 = 0o222;
const OWNER_WRITE: u32 = 0o200;

/// Opens with flags; never waits for the other end of a pipe.
fn open(options: &mut OpenOptions, path: &Path, follow: bool) -> io::Result<File> {
    let mut flags = OFlags::NONBLOCK;
    flags.set(OFlags::NOFOLLOW, !follow);
    // The flags of open(2) are an int.
    let flags = flags.bits().cast_signed();
    let opened = options.custom_flags(flags).open(path);
    opened.map_err(|error| {
        let link = !follow
            && path
                .symlink_metadata()
                .is_ok_and(|found| found.is_symlink());
        if link {
            not_a("it is a symbolic link, which is not followed here")
        } else {
            error
        }
    })
}

fn not_a(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Opens an ordinary file for reading.
pub(super) fn open_source(path: &Path, follow: bool) -> io::Result<File> {
    ordinary(open(OpenOptions::new().read(true), path, follow)?)
}

fn ordinary(file: File) -> io::Result<File> {
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(not_a("it is a folder, expected a file"));
    }
    if !found.is_file() {
        return Err(not_a("it is a device or a pipe, expected a file"));
    }
    Ok(file)
}

/// Opens a file for reading while others may do with it what they like.
pub(super) fn open_shared(path: &Path) -> io::Result<File> {
    open_source(path, false)
}

/// Opens a lock file, creating it if asked to.
pub(super) fn open_lock(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    ordinary(open(
        options.read(true).write(true).create(create),
        path,
        false,
    )?)
}

/// Creates a file that was not there.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
}

/// Opens a file or folder to set its time or attributes.
pub(super) fn open_for_attributes(path: &Path) -> io::Result<File> {
    open(OpenOptions::new().read(true), path, false)
}

pub(super) fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(bytes, offset)
}

pub(super) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Makes `to`, which is empty, a block clone of `from`.
pub(super) fn clone_blocks(from: &File, to: &File) -> io::Result<()> {
    reflink_copy::reflink_file(from, to)
}

/// Returns the next stretch with data in `at..len`, start and end; `(len, len)` if there is none.
#[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
pub(super) fn next_data(file: &File, at: u64, len: u64) -> io::Result<(u64, u64)> {
    use rustix::fs::{SeekFrom, seek};
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start.clamp(at, len),
        Err(Errno::NXIO) => return Ok((len, len)),
        Err(Errno::INVAL | Errno::NOTSUP | Errno::NOTTY) => return Ok((at, len)),
        Err(error) => return Err(error.into()),
    };
    match seek(file, SeekFrom::Hole(start)) {
        Ok(end) if end > start => Ok((start, end.min(len))),
        // Somebody made a hole in between: it counts as data, and nothing is missed.
        _ => Ok((start, len)),
    }
}

/// Returns `at..len`: this system does not tell where holes are.
#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "freebsd")))]
pub(super) fn next_data(_: &File, at: u64, len: u64) -> io::Result<(u64, u64)> {
    Ok((at, len))
}

pub(super) fn stamp_of(file: &File) -> io::Result<Stamp> {
    Ok(stamp(&file.metadata()?))
}

pub(super) fn stamp_at(path: &Path, follow: bool) -> io::Result<Stamp> {
    let found = if follow {
        path.metadata()
    } else {
        path.symlink_metadata()
    };
    Ok(stamp(&found?))
}

/// Bytes of the file that take up room: a hole takes none, nor in a copy.
pub(super) fn bytes_to_copy(path: &Path) -> io::Result<u64> {
    let found = path.symlink_metadata()?;
    // POSIX counts blocks of 512 bytes, whatever the file system's are.
    Ok(found.len().min(found.blocks().saturating_mul(512)))
}

fn stamp(found: &Metadata) -> Stamp {
    Stamp {
        key: FileKey {
            volume: found.dev(),
            file: found.ino().into(),
        },
        len: found.len(),
        modified: modified(found),
        changed: Some(time(found.ctime(), found.ctime_nsec())),
        attributes: Attributes {
            read_only: found.mode() & OWNER_WRITE == 0,
            ..Attributes::default()
        },
        links: found.nlink(),
        sparse_or_compressed: false,
    }
}

fn modified(found: &Metadata) -> FileTime {
    time(found.mtime(), found.mtime_nsec())
}

fn time(seconds: i64, nanos: i64) -> FileTime {
    FileTime::from_parts(seconds, u32::try_from(nanos).unwrap_or(0))
}

pub(super) fn look(path: &Path) -> io::Result<Entry> {
    let found = path.symlink_metadata()?;
    let kind = found.file_type();
    Ok(if kind.is_symlink() {
        Entry::Link(fs::read_link(path)?)
    } else if kind.is_dir() {
        Entry::Folder(modified(&found))
    } else if kind.is_file() {
        Entry::File(stamp(&found))
    } else {
        Entry::Other
    })
}

/// Sets time and attributes, as far as Unix knows them.
pub(super) fn dress(file: &File, modified: FileTime, attributes: Attributes) -> io::Result<()> {
    set_modified(file, modified)?;
    let mut permissions = file.metadata()?.permissions();
    let mode = if attributes.read_only {
        permissions.mode() & !ALL_WRITE
    } else {
        permissions.mode() | OWNER_WRITE
    };
    if mode == permissions.mode() {
        return Ok(());
    }
    permissions.set_mode(mode);
    file.set_permissions(permissions)
}

pub(super) fn set_modified(file: &File, modified: FileTime) -> io::Result<()> {
    let distance = Duration::from_nanos(modified.0.unsigned_abs());
    let time = if modified.0 < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    let time: SystemTime = time.ok_or_else(|| not_a("the time is beyond what the system knows"))?;
    file.set_modified(time)
}

/// A file open for writing that may have been read-only before.
pub(super) struct Writable {
    file: File,
    /// The permissions to go back to.
    before: Option<fs::Permissions>,
}

impl Writable {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        match open_lock(path, false) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Self::unlock(path),
            file => Ok(Self {
                file: file?,
                before: None,
            }),
        }
    }

    fn unlock(path: &Path) -> io::Result<Self> {
        let read = open_source(path, false)?;
        let before = read.metadata()?.permissions();
        let mut writable = before.clone();
        writable.set_mode(before.mode() | OWNER_WRITE);
        read.set_permissions(writable)?;
        let opened = open_lock(path, false);
        if opened.is_err() {
            read.set_permissions(before.clone())?;
        }
        Ok(Self {
            file: opened?,
            before: Some(before),
        })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn close(mut self) -> io::Result<()> {
        self.restore()
    }

    fn restore(&mut self) -> io::Result<()> {
        let before = self.before.take();
        before.map_or(Ok(()), |before| self.file.set_permissions(before))
    }
}

impl Drop for Writable {
    fn drop(&mut self) {
        // Only on the way out of an error, which is what the user hears of.
        let _ = self.restore();
    }
}

pub(super) fn sync_file(path: &Path) -> io::Result<()> {
    open_source(path, false)?.sync_all()
}

pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
        .open(path)?;
    match folder.sync_all() {
        // File systems that cannot flush a folder say so in these ways.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        done => done,
    }
}

/// Renames unless something stands at `to`.
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => rename_unless_there(from, to),
        done => Ok(done?),
    }
}

/// Renames unless something stands at `to`.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    rename_unless_there(from, to)
}

/// For file systems that cannot do it in one step: a file by a second name, which never
/// replaces; where there are no second names, by looking first.
fn rename_unless_there(from: &Path, to: &Path) -> io::Result<()> {
    if from.symlink_metadata()?.is_file() {
        match fs::hard_link(from, to) {
            Ok(()) => return fs::remove_file(from),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) => {}
        }
    }
    match to.symlink_metadata() {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

pub(super) fn rename_over(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

pub(super) fn symlink_file(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

pub(super) fn junction(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Extended attributes are another thing: no program takes them for content.
pub(super) fn other_streams(_: &Path) -> io::Result<Vec<String>> {
    Ok(Vec::new())
}

pub(super) fn grant(_: &Path, _: &str) -> io::Result<()> {
    let why = "only Windows has virtual machines that need the right";
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

pub(super) fn absolute(path: &Path) -> io::Result<PathBuf> {
    let mut plain = PathBuf::new();
    for part in std::path::absolute(path)?.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    Ok(plain)
}

pub(super) fn volume(path: &Path) -> io::Result<Volume> {
    let space = rustix::fs::statvfs(path)?;
    let (name, max_links) = file_system(path)?;
    Ok(Volume {
        key: path.metadata()?.dev(),
        file_system: name.to_owned(),
        free: space.f_bavail.saturating_mul(space.f_frsize),
        max_file_len: (name == "vfat").then_some(FAT_MAX),
        max_links,
    })
}

/// The name of a file system and the most names a file may have there.
#[cfg(target_os = "linux")]
fn file_system(path: &Path) -> io::Result<(&'static str, Option<u64>)> {
    let magic = rustix::fs::statfs(path)?.f_type;
    // The magic numbers are 32 bits; some systems show the upper ones with a sign.
    Ok(match magic as u32 {
        0xEF53 => ("ext4", Some(65_000)),
        0x9123_683E => ("btrfs", Some(65_535)),
        0x5846_5342 => ("xfs", Some(2_147_483_647)),
        0xCA45_1A4E => ("bcachefs", None),
        0xF2F5_2010 => ("f2fs", None),
        0x2FC1_2FC1 => ("zfs", None),
        0x0102_1994 => ("tmpfs", None),
        0x8584_58F6 => ("ramfs", None),
        0x794C_7630 => ("overlay", None),
        0x4D44 => ("vfat", Some(1)),
        0x2011_BAB0 => ("exfat", Some(1)),
        0x7366_746E => ("ntfs", Some(1024)),
        0x6573_5546 => ("fuse", None),
        0x6969 => ("nfs", None),
        0xFF53_4D42 | 0xFE53_4D42 | 0x517B => ("cifs", None),
        0x0102_1997 => ("9p", None),
        _ => ("unknown", None),
    })
}

/// The name of a file system and the most names a file may have there.
#[cfg(not(target_os = "linux"))]
fn file_system(_: &Path) -> io::Result<(&'static str, Option<u64>)> {
    Ok(("unknown", None))
}
