//! The file system as Unix has it.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, RenameFlags},
    io::{Errno, retry_on_intr},
};

use super::{Entry, FileKey, Stamp, Volume, fence, volume::FAT_MAX};
use crate::base::{Attributes, FileTime};

const ALL_WRITE: u32 = 0o222;
const OWNER_WRITE: u32 = 0o200;

/// How a folder is opened to act in it, without a right to list it where the system allows.
#[cfg(target_os = "linux")]
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// How a folder is opened to act in it.
#[cfg(not(target_os = "linux"))]
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// A name in its folder. Inside a fence the folder is held open, so that nothing else can come in
/// its place; elsewhere the name is the whole path.
struct Spot<'p> {
    folder: Option<OwnedFd>,
    name: &'p Path,
}

impl<'p> Spot<'p> {
    fn of(path: &'p Path) -> io::Result<Self> {
        let inside = fence::around(path);
        let Some((root, name)) = inside.zip(path.file_name()) else {
            let folder = None;
            return Ok(Self { folder, name: path });
        };
        let mut folder = rustix::fs::openat(CWD, &root, FOLDER, Mode::empty())?;
        let mut reached = root.clone();
        let between = path
            .parent()
            .and_then(|above| above.strip_prefix(&root).ok());
        for part in between.unwrap_or(Path::new("")).components() {
            let Component::Normal(part) = part else {
                return Err(not_a("the path leaves the folder that labpack was given"));
            };
            reached.push(part);
            let inner = rustix::fs::openat(&folder, part, FOLDER | OFlags::NOFOLLOW, Mode::empty());
            folder = inner.map_err(|error| on_the_way(&reached, error))?;
        }
        Ok(Self {
            folder: Some(folder),
            name: Path::new(name),
        })
    }

    fn at(&self) -> BorrowedFd<'_> {
        self.folder.as_ref().map_or(CWD, AsFd::as_fd)
    }
}

/// Says that a link stands where a folder was expected, if that is what the error means.
fn on_the_way(path: &Path, error: Errno) -> io::Error {
    match (error, path.symlink_metadata()) {
        (Errno::NOTDIR | Errno::LOOP | Errno::MLINK, Ok(found)) if found.is_symlink() => {
            let path = path.display();
            let why = format!("`{path}` is a symbolic link, and nothing behind it is touched");
            io::Error::new(io::ErrorKind::InvalidInput, why)
        }
        _ => error.into(),
    }
}

/// Opens with flags; never waits for the other end of a pipe.
fn open(flags: OFlags, path: &Path, follow: bool) -> io::Result<File> {
    let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    if follow {
        let file = retry_on_intr(|| rustix::fs::openat(CWD, path, flags, mode))?;
        return Ok(file.into());
    }
    let spot = Spot::of(path)?;
    let flags = flags | OFlags::NOFOLLOW;
    let opened = retry_on_intr(|| rustix::fs::openat(spot.at(), spot.name, flags, mode));
    opened.map(File::from).map_err(|error| {
        let link = path
            .symlink_metadata()
            .is_ok_and(|found| found.is_symlink());
        if link && error != Errno::EXIST {
            not_a("it is a symbolic link, which is not followed here")
        } else {
            error.into()
        }
    })
}

fn not_a(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Opens an ordinary file for reading.
pub(super) fn open_source(path: &Path, follow: bool) -> io::Result<File> {
    ordinary(open(OFlags::RDONLY, path, follow)?)
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
    let mut flags = OFlags::RDWR;
    flags.set(OFlags::CREATE, create);
    ordinary(open(flags, path, false)?)
}

/// Creates a file that was not there.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    open(OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, path, false)
}

/// Opens a file or folder to set its time or attributes.
pub(super) fn open_for_attributes(path: &Path) -> io::Result<File> {
    open(OFlags::RDONLY, path, false)
}

pub(super) fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(bytes, offset)
}

pub(super) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Has the system begin to bring bytes to the disk, without waiting for them. It is a hint: whether
/// they arrive is found out by the flush.
#[cfg(target_os = "linux")]
pub(super) fn write_behind(file: &File, offset: u64, len: u64) {
    // Linux begins to write what it is told that nobody needs; it stays in memory until then.
    let _ = rustix::fs::fadvise(
        file,
        offset,
        std::num::NonZero::new(len),
        rustix::fs::Advice::DontNeed,
    );
}

/// Nothing: this system is not known to take the hint.
#[cfg(not(target_os = "linux"))]
pub(super) fn write_behind(_: &File, _: u64, _: u64) {}

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

/// Whether the user may make and remove files in a folder.
pub(super) fn check_writable(folder: &Path) -> io::Result<()> {
    let asked = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    Ok(rustix::fs::access(folder, asked)?)
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
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (Spot::of(from)?, Spot::of(to)?);
    match rename_no_replace(&from, &to) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => rename_unless_there(&from, &to),
        done => Ok(done?),
    }
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn rename_no_replace(from: &Spot<'_>, to: &Spot<'_>) -> rustix::io::Result<()> {
    let how = RenameFlags::NOREPLACE;
    rustix::fs::renameat_with(from.at(), from.name, to.at(), to.name, how)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn rename_no_replace(_: &Spot<'_>, _: &Spot<'_>) -> rustix::io::Result<()> {
    Err(Errno::NOSYS)
}

/// For file systems that cannot do it in one step: a file by a second name, which never
/// replaces; where there are no second names, by looking first.
fn rename_unless_there(from: &Spot<'_>, to: &Spot<'_>) -> io::Result<()> {
    let look =
        |spot: &Spot<'_>| rustix::fs::statat(spot.at(), spot.name, AtFlags::SYMLINK_NOFOLLOW);
    let found = look(from)?;
    if rustix::fs::FileType::from_raw_mode(found.st_mode).is_file() {
        match link(from, to) {
            Ok(()) => return remove(from),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) => {}
        }
    }
    match look(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(Errno::NOENT) => rename(from, to),
        Err(error) => Err(error.into()),
    }
}

fn rename(from: &Spot<'_>, to: &Spot<'_>) -> io::Result<()> {
    Ok(rustix::fs::renameat(
        from.at(),
        from.name,
        to.at(),
        to.name,
    )?)
}

fn link(original: &Spot<'_>, link: &Spot<'_>) -> io::Result<()> {
    let (from, to) = (original.at(), link.at());
    Ok(rustix::fs::linkat(
        from,
        original.name,
        to,
        link.name,
        AtFlags::empty(),
    )?)
}

fn remove(spot: &Spot<'_>) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(
        spot.at(),
        spot.name,
        AtFlags::empty(),
    )?)
}

pub(super) fn rename_over(from: &Path, to: &Path) -> io::Result<()> {
    rename(&Spot::of(from)?, &Spot::of(to)?)
}

pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    remove(&Spot::of(path)?)
}

pub(super) fn remove_dir(path: &Path) -> io::Result<()> {
    let spot = Spot::of(path)?;
    Ok(rustix::fs::unlinkat(
        spot.at(),
        spot.name,
        AtFlags::REMOVEDIR,
    )?)
}

pub(super) fn create_dir(path: &Path) -> io::Result<()> {
    let spot = Spot::of(path)?;
    Ok(rustix::fs::mkdirat(
        spot.at(),
        spot.name,
        Mode::from_raw_mode(0o777),
    )?)
}

/// Tells whether a folder stands there; inside a fence a link to one does not count.
pub(super) fn is_folder(path: &Path) -> bool {
    if fence::around(path).is_some() {
        path.symlink_metadata().is_ok_and(|found| found.is_dir())
    } else {
        path.is_dir()
    }
}

pub(super) fn hard_link(original: &Path, new: &Path) -> io::Result<()> {
    link(&Spot::of(original)?, &Spot::of(new)?)
}

pub(super) fn symlink_file(target: &Path, link: &Path) -> io::Result<()> {
    let spot = Spot::of(link)?;
    Ok(rustix::fs::symlinkat(target, spot.at(), spot.name)?)
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
pub(super) fn file_system(path: &Path) -> io::Result<(&'static str, Option<u64>)> {
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
