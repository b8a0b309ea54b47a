//! The file system as Windows has it.
//!
//! Long paths: `std` turns what it hands to the system into `\\?\` form itself where that is
//! needed; [`long_path`] does the same for the calls made here.

#![expect(unsafe_code, reason = "these calls have no safe form in std")]

use std::{
    fs::{self, File, OpenOptions},
    io,
    mem::{MaybeUninit, size_of},
    os::windows::{
        ffi::{OsStrExt, OsStringExt},
        fs::{FileExt, MetadataExt, OpenOptionsExt},
        io::AsRawHandle,
    },
    path::Path,
    ptr::{from_mut, from_ref, null_mut},
};

use windows_sys::Win32::{
    Foundation::ERROR_MORE_DATA,
    Storage::FileSystem::{
        BY_HANDLE_FILE_INFORMATION, DecryptFileW, FILE_ATTRIBUTE_ARCHIVE,
        FILE_ATTRIBUTE_COMPRESSED, FILE_ATTRIBUTE_ENCRYPTED, FILE_ATTRIBUTE_HIDDEN,
        FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_NOT_CONTENT_INDEXED, FILE_ATTRIBUTE_READONLY,
        FILE_ATTRIBUTE_REPARSE_POINT, FILE_ATTRIBUTE_SPARSE_FILE, FILE_ATTRIBUTE_SYSTEM,
        FILE_BASIC_INFO, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_ID_INFO,
        FILE_INFO_BY_HANDLE_CLASS, FILE_READ_ATTRIBUTES, FILE_SHARE_DELETE, FILE_SHARE_READ,
        FILE_SHARE_WRITE, FILE_STANDARD_INFO, FILE_WRITE_ATTRIBUTES, FileBasicInfo, FileIdInfo,
        FileStandardInfo, GetDiskFreeSpaceExW, GetFileInformationByHandle,
        GetFileInformationByHandleEx, GetVolumeInformationW, GetVolumePathNameW,
        SetFileInformationByHandle,
    },
    System::{
        IO::DeviceIoControl,
        Ioctl::{FILE_ALLOCATED_RANGE_BUFFER, FSCTL_QUERY_ALLOCATED_RANGES, FSCTL_SET_COMPRESSION},
    },
};

mod long_path;
mod patience;
mod read_only;
mod rename;
mod streams;

pub(super) use long_path::absolute;
pub(super) use read_only::{Writable, sync_file};
pub(super) use rename::{rename_new, rename_over};
pub(super) use streams::other_streams;

use self::{long_path::wide, read_only::despite_read_only};
use super::{Entry, FileKey, Stamp, Volume, volume::FAT_MAX};
use crate::base::{Attributes, FileTime};

/// Others may read, rename and remove, and may not write.
const NO_WRITERS: u32 = FILE_SHARE_READ | FILE_SHARE_DELETE;
const SHARE_ALL: u32 = NO_WRITERS | FILE_SHARE_WRITE;
/// What makes Hyper-V refuse a disk, with 0xC03A001A.
const UNFIT: u32 =
    FILE_ATTRIBUTE_SPARSE_FILE | FILE_ATTRIBUTE_COMPRESSED | FILE_ATTRIBUTE_ENCRYPTED;
/// 1970-01-01 in units of 100 ns since 1601-01-01.
const UNIX_EPOCH_TICKS: i64 = 116_444_736_000_000_000;

fn not_a(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Opens what stands at `path` itself, or what a link leads to. A reparse point that is no link
/// (Data Deduplication, cloud files) is a file whose bytes its filter brings.
fn open(options: &mut OpenOptions, path: &Path, follow: bool) -> io::Result<File> {
    if !follow {
        options.custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT);
        let file = options.open(path)?;
        let found = file.metadata()?;
        let filtered = found.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0;
        if found.is_symlink() || !filtered {
            return Ok(file);
        }
    }
    options.custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)
}

fn ordinary(file: File) -> io::Result<File> {
    let found = file.metadata()?;
    if found.is_symlink() {
        return Err(not_a("it is a symbolic link, which is not followed here"));
    }
    if found.is_dir() {
        return Err(not_a("it is a folder, expected a file"));
    }
    Ok(file)
}

/// Opens an ordinary file for reading and keeps writers out.
///
/// Renaming and removing it stay allowed, or labpack could not do so itself meanwhile.
pub(super) fn open_source(path: &Path, follow: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    ordinary(open(
        options.read(true).share_mode(NO_WRITERS),
        path,
        follow,
    )?)
}

/// Opens a file for reading while others may do with it what they like.
pub(super) fn open_shared(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    ordinary(open(options.read(true).share_mode(SHARE_ALL), path, false)?)
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

/// Creates a file that was not there, neither compressed nor encrypted whatever its folder is.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).share_mode(NO_WRITERS);
    let mut file = options.clone().create_new(true).open(path)?;
    let attributes = file.metadata()?.file_attributes();
    if attributes & FILE_ATTRIBUTE_ENCRYPTED != 0 {
        drop(file); // decrypting wants the file for itself
        decrypt(path);
        file = options.open(path)?;
    }
    if attributes & FILE_ATTRIBUTE_COMPRESSED != 0 {
        decompress(&file);
    }
    Ok(file)
}

/// As far as it goes: [`Stamp::sparse_or_compressed`] tells whether it went.
fn decompress(file: &File) {
    let none: u16 = 0; // COMPRESSION_FORMAT_NONE
    let mut returned = 0;
    // SAFETY: the handle is open, the input is the two bytes of `none`, nothing is put out.
    unsafe {
        DeviceIoControl(
            file.as_raw_handle(),
            FSCTL_SET_COMPRESSION,
            from_ref(&none).cast(),
            size_of::<u16>() as u32,
            null_mut(),
            0,
            &raw mut returned,
            null_mut(),
        );
    }
}

/// As far as it goes: [`Stamp::sparse_or_compressed`] tells whether it went.
fn decrypt(path: &Path) {
    if let Ok(path) = wide(path) {
        // SAFETY: `path` ends in a zero and lives through the call.
        unsafe { DecryptFileW(path.as_ptr(), 0) };
    }
}

/// Opens a file or folder to set its time and attributes. Windows does so for a read-only file
/// too; Wine wants the attribute off, which whoever sets attributes next makes good.
pub(super) fn open_for_attributes(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.access_mode(FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES);
    options.share_mode(SHARE_ALL);
    despite_read_only(path, || open(&mut options.clone(), path, false))
}

fn open_to_look(path: &Path, follow: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.access_mode(FILE_READ_ATTRIBUTES);
    open(options.share_mode(SHARE_ALL), path, follow)
}

pub(super) fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.seek_read(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                bytes = &mut bytes[n..];
                offset = offset.saturating_add(n as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Nothing: Windows begins to write by itself.
pub(super) fn write_behind(_: &File, _: u64, _: u64) {}

pub(super) fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.seek_write(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = &bytes[n..];
                offset = offset.saturating_add(n as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes `to`, which is empty, a block clone of `from`.
pub(super) fn clone_blocks(from: &File, to: &File) -> io::Result<()> {
    reflink_copy::reflink_file(from, to).map_err(|error| match error.raw_os_error() {
        // The crate may hand on a Win32 error as an HRESULT, 0x8007nnnn.
        Some(code) if code.cast_unsigned() >> 16 == 0x8007 => {
            io::Error::from_raw_os_error(code & 0xFFFF)
        }
        _ => error,
    })
}

/// Returns the next stretch with data in `at..len`, start and end; `(len, len)` if there is none.
/// Where the system does not tell, all counts as data.
pub(super) fn next_data(file: &File, at: u64, len: u64) -> io::Result<(u64, u64)> {
    let (Ok(offset), Ok(length)) = (i64::try_from(at), i64::try_from(len.saturating_sub(at)))
    else {
        return Ok((at, len));
    };
    let asked = FILE_ALLOCATED_RANGE_BUFFER {
        FileOffset: offset,
        Length: length,
    };
    let mut first = FILE_ALLOCATED_RANGE_BUFFER {
        FileOffset: 0,
        Length: 0,
    };
    let size = size_of::<FILE_ALLOCATED_RANGE_BUFFER>() as u32;
    let mut returned = 0;
    // SAFETY: the handle is open, input and output are structures of the size given.
    let done = unsafe {
        DeviceIoControl(
            file.as_raw_handle(),
            FSCTL_QUERY_ALLOCATED_RANGES,
            from_ref(&asked).cast(),
            size,
            from_mut(&mut first).cast(),
            size,
            &raw mut returned,
            null_mut(),
        )
    };
    // More stretches than the one asked for is as good as success.
    let more = || io::Error::last_os_error().raw_os_error() == Some(ERROR_MORE_DATA.cast_signed());
    if done == 0 && !more() {
        return Ok((at, len));
    }
    if returned < size {
        return Ok((len, len));
    }
    let start = u64::try_from(first.FileOffset).unwrap_or(at).clamp(at, len);
    let length = u64::try_from(first.Length).unwrap_or(len);
    let end = start.saturating_add(length).min(len);
    Ok(if end > at { (start, end) } else { (at, len) })
}

/// One of the fixed structures that the system fills in for an open file.
///
/// # Safety
/// `T` is the structure that `class` stands for, and any bytes make a `T`.
unsafe fn info<T>(file: &File, class: FILE_INFO_BY_HANDLE_CLASS) -> io::Result<T> {
    let mut found = MaybeUninit::<T>::zeroed();
    // SAFETY: the handle is open, and the buffer has the size given.
    let done = unsafe {
        GetFileInformationByHandleEx(
            file.as_raw_handle(),
            class,
            found.as_mut_ptr().cast(),
            size_of::<T>() as u32,
        )
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed, then filled by the system; any bytes make a `T`.
    Ok(unsafe { found.assume_init() })
}

fn basic_info(file: &File) -> io::Result<FILE_BASIC_INFO> {
    // SAFETY: the class of that structure, which is all integers.
    unsafe { info(file, FileBasicInfo) }
}

fn key(file: &File) -> io::Result<FileKey> {
    // SAFETY: the class of that structure, which is all integers.
    if let Ok(id) = unsafe { info::<FILE_ID_INFO>(file, FileIdInfo) } {
        return Ok(FileKey {
            volume: id.VolumeSerialNumber,
            file: u128::from_le_bytes(id.FileId.Identifier),
        });
    }
    // FAT, and shares of old servers.
    let mut found = MaybeUninit::<BY_HANDLE_FILE_INFORMATION>::zeroed();
    // SAFETY: the handle is open, and the buffer is the structure that the call fills.
    if unsafe { GetFileInformationByHandle(file.as_raw_handle(), found.as_mut_ptr()) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system filled it; it is all integers.
    let found = unsafe { found.assume_init() };
    Ok(FileKey {
        volume: found.dwVolumeSerialNumber.into(),
        file: u128::from(found.nFileIndexHigh) << 32 | u128::from(found.nFileIndexLow),
    })
}

pub(super) fn stamp_of(file: &File) -> io::Result<Stamp> {
    let basic = basic_info(file)?;
    // SAFETY: the class of that structure; its flags are integers too.
    let standard = unsafe { info::<FILE_STANDARD_INFO>(file, FileStandardInfo) }?;
    let has = |attribute| basic.FileAttributes & attribute != 0;
    Ok(Stamp {
        key: key(file)?,
        len: u64::try_from(standard.EndOfFile).unwrap_or(0),
        modified: time(basic.LastWriteTime),
        changed: (basic.ChangeTime != 0).then(|| time(basic.ChangeTime)),
        attributes: Attributes {
            read_only: has(FILE_ATTRIBUTE_READONLY),
            hidden: has(FILE_ATTRIBUTE_HIDDEN),
            system: has(FILE_ATTRIBUTE_SYSTEM),
            archive: has(FILE_ATTRIBUTE_ARCHIVE),
        },
        links: standard.NumberOfLinks.into(),
        sparse_or_compressed: has(UNFIT),
    })
}

/// Only trying would tell, and trying would leave another time on the folder.
#[expect(clippy::unnecessary_wraps, reason = "other systems can tell")]
pub(super) fn check_writable(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Bytes that a copy of the file takes up: copies are never sparse here.
pub(super) fn bytes_to_copy(path: &Path) -> io::Result<u64> {
    Ok(stamp_at(path, false)?.len)
}

pub(super) fn stamp_at(path: &Path, follow: bool) -> io::Result<Stamp> {
    stamp_of(&open_to_look(path, follow)?)
}

fn time(ticks: i64) -> FileTime {
    FileTime(ticks.saturating_sub(UNIX_EPOCH_TICKS).saturating_mul(100))
}

fn ticks(time: FileTime) -> io::Result<i64> {
    let ticks = time.0.div_euclid(100).saturating_add(UNIX_EPOCH_TICKS);
    // Zero would mean "leave it", and so would -1.
    let known = (ticks > 0).then_some(ticks);
    known.ok_or_else(|| not_a("the time is before 1601, which Windows cannot keep"))
}

pub(super) fn look(path: &Path) -> io::Result<Entry> {
    let file = open_to_look(path, false)?;
    let found = file.metadata()?;
    Ok(if found.is_symlink() {
        fs::read_link(path).map_or(Entry::Other, Entry::Link)
    } else if found.is_dir() {
        Entry::Folder(time(basic_info(&file)?.LastWriteTime))
    } else {
        Entry::File(stamp_of(&file)?)
    })
}

/// Sets time and attributes.
pub(super) fn dress(file: &File, modified: FileTime, attributes: Attributes) -> io::Result<()> {
    let mut bits = basic_info(file)?.FileAttributes & FILE_ATTRIBUTE_NOT_CONTENT_INDEXED;
    for (on, bit) in [
        (attributes.read_only, FILE_ATTRIBUTE_READONLY),
        (attributes.hidden, FILE_ATTRIBUTE_HIDDEN),
        (attributes.system, FILE_ATTRIBUTE_SYSTEM),
        (attributes.archive, FILE_ATTRIBUTE_ARCHIVE),
    ] {
        bits |= if on { bit } else { 0 };
    }
    set_basic_info(file, ticks(modified)?, bits | plain_if_none(bits))
}

/// Zero would mean "leave them".
const fn plain_if_none(bits: u32) -> u32 {
    if bits == 0 { FILE_ATTRIBUTE_NORMAL } else { 0 }
}

pub(super) fn set_modified(file: &File, modified: FileTime) -> io::Result<()> {
    set_basic_info(file, ticks(modified)?, 0)
}

/// Sets what is not zero.
fn set_basic_info(file: &File, modified: i64, attributes: u32) -> io::Result<()> {
    let basic = FILE_BASIC_INFO {
        CreationTime: 0,
        LastAccessTime: 0,
        LastWriteTime: modified,
        ChangeTime: 0,
        FileAttributes: attributes,
    };
    // SAFETY: the handle is open, and the structure is that of the class.
    let done = unsafe {
        SetFileInformationByHandle(
            file.as_raw_handle(),
            FileBasicInfo,
            from_ref(&basic).cast(),
            size_of::<FILE_BASIC_INFO>() as u32,
        )
    };
    if done == 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Sets or clears the read-only attribute.
fn set_read_only(file: &File, on: bool) -> io::Result<()> {
    let bits =
        basic_info(file)?.FileAttributes & !(FILE_ATTRIBUTE_READONLY | FILE_ATTRIBUTE_NORMAL);
    let bits = if on {
        bits | FILE_ATTRIBUTE_READONLY
    } else {
        bits
    };
    set_basic_info(file, 0, bits | plain_if_none(bits))
}

/// Windows cannot flush a folder; renames are written through instead.
pub(super) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    use std::os::windows::fs::FileTypeExt;
    if path.symlink_metadata()?.file_type().is_symlink_dir() {
        return fs::remove_dir(path); // the junction or link itself
    }
    despite_read_only(path, || fs::remove_file(path))
}

pub(super) fn remove_dir(path: &Path) -> io::Result<()> {
    fs::remove_dir(path)
}

pub(super) fn create_dir(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

/// Tells whether a folder stands there. Inside a fence a link to one does not count.
pub(super) fn is_folder(path: &Path) -> bool {
    if super::fence::around(path).is_some() {
        path.symlink_metadata().is_ok_and(|found| found.is_dir())
    } else {
        path.is_dir()
    }
}

pub(super) fn hard_link(original: &Path, link: &Path) -> io::Result<()> {
    fs::hard_link(original, link)
}

/// `std` asks with `SYMBOLIC_LINK_FLAG_ALLOW_UNPRIVILEGED_CREATE`, which is what Developer Mode
/// heeds, and without it where the system is too old to know it.
pub(super) fn symlink_file(target: &Path, link: &Path) -> io::Result<()> {
    // Windows follows no link with a slash in it.
    let target: Vec<u16> = target.as_os_str().encode_wide().map(backslash).collect();
    std::os::windows::fs::symlink_file(std::ffi::OsString::from_wide(&target), link)
}

const fn backslash(unit: u16) -> u16 {
    if unit == b'/' as u16 {
        b'\\' as u16
    } else {
        unit
    }
}

pub(super) fn junction(target: &Path, link: &Path) -> io::Result<()> {
    if link.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    junction::create(target, link).inspect_err(|_| {
        // A failure leaves an empty folder; the first error is the one to hear of.
        let _ = fs::remove_dir(link);
    })
}

/// Gives a group a right to a folder and what is in it, by way of the program that Windows has
/// for that: the console shows the same line.
pub(super) fn grant(folder: &Path, right: &str) -> io::Result<()> {
    let mut icacls = std::process::Command::new("icacls.exe");
    icacls.arg(folder).args(["/grant", right, "/q"]);
    let said = icacls.output()?;
    if said.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(if said.stderr.is_empty() {
        &said.stdout
    } else {
        &said.stderr
    });
    Err(io::Error::other(format!("icacls says: {}", why.trim())))
}

pub(super) fn volume(path: &Path) -> io::Result<Volume> {
    let root = volume_root(path)?;
    let file_system = file_system(&root)?;
    let name = file_system.as_str();
    let fat = name.starts_with("FAT");
    let max_links = match name {
        "NTFS" | "CSVFS" => Some(1024),
        _ if fat || name == "exFAT" => Some(1),
        _ => None,
    };
    Ok(Volume {
        key: stamp_at(path, true)?.key.volume,
        free: free(&root)?,
        max_file_len: fat.then_some(FAT_MAX),
        max_links,
        file_system,
    })
}

/// The folder in which the volume is mounted: `C:\`, `\\server\share\`.
fn volume_root(path: &Path) -> io::Result<Vec<u16>> {
    let path = wide(path)?;
    let mut root = vec![0; path.len().saturating_add(32)];
    let room = u32::try_from(root.len()).unwrap_or(u32::MAX);
    // SAFETY: `path` ends in a zero, `root` has as much room as the call is told.
    if unsafe { GetVolumePathNameW(path.as_ptr(), root.as_mut_ptr(), room) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(root)
}

fn file_system(root: &[u16]) -> io::Result<String> {
    let mut name = [0; 64];
    // SAFETY: `root` ends in a zero, `name` has as much room as the call is told, and the other
    // answers are not asked for.
    let done = unsafe {
        GetVolumeInformationW(
            root.as_ptr(),
            null_mut(),
            0,
            null_mut(),
            null_mut(),
            null_mut(),
            name.as_mut_ptr(),
            name.len() as u32,
        )
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    let name = name.split(|&unit| unit == 0).next().unwrap_or_default();
    Ok(String::from_utf16_lossy(name))
}

fn free(root: &[u16]) -> io::Result<u64> {
    let mut free = 0;
    // SAFETY: `root` ends in a zero; the other answers are not asked for.
    let done = unsafe { GetDiskFreeSpaceExW(root.as_ptr(), &raw mut free, null_mut(), null_mut()) };
    if done == 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_come_back_and_before_1601_are_refused() {
        let early = FileTime(-1_000_000_000_000_000_100);
        assert_eq!(time(ticks(early).unwrap()), early);
        assert!(ticks(FileTime(i64::MIN)).is_ok(), "1677");
    }
}
