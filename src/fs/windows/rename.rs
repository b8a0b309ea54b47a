//! Renaming, while others look on.

use std::{fs, io, path::Path, thread::sleep, time::Duration};

use windows_sys::Win32::{
    Foundation::ERROR_SHARING_VIOLATION,
    Storage::FileSystem::{MOVEFILE_REPLACE_EXISTING, MOVEFILE_WRITE_THROUGH, MoveFileExW},
};

use super::{long_path::wide, read_only::despite_read_only};

/// Renames unless something stands at `to`.
pub(in crate::fs) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    move_file(from, to, MOVEFILE_WRITE_THROUGH)
}

pub(in crate::fs) fn rename_over(from: &Path, to: &Path) -> io::Result<()> {
    for _ in 1..RENAME_TRIES {
        match try_over(from, to) {
            // Before Windows 10 nothing takes the place of a file that somebody reads just now.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && to.is_file() => {
                sleep(RENAME_PAUSE);
            }
            done => return done,
        }
    }
    try_over(from, to)
}

fn try_over(from: &Path, to: &Path) -> io::Result<()> {
    despite_read_only(to, || {
        let flags = MOVEFILE_WRITE_THROUGH | MOVEFILE_REPLACE_EXISTING;
        match move_file(from, to, flags) {
            // `std` knows how to replace a file that somebody has open and shares.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => fs::rename(from, to),
            done => done,
        }
    })
}

/// How often, and how far apart, a rename is tried that somebody stands in the way of: virus
/// scanners look at every new file for a moment.
const RENAME_TRIES: u32 = 20;
const RENAME_PAUSE: Duration = Duration::from_millis(50);

fn move_file(from: &Path, to: &Path, flags: u32) -> io::Result<()> {
    let (from, to) = (wide(from)?, wide(to)?);
    let sharing = Some(ERROR_SHARING_VIOLATION.cast_signed());
    for _ in 1..RENAME_TRIES {
        match move_once(&from, &to, flags) {
            Err(error) if error.raw_os_error() == sharing => sleep(RENAME_PAUSE),
            done => return done,
        }
    }
    move_once(&from, &to, flags)
}

/// Both paths end in a zero, as [`wide`] makes them.
fn move_once(from: &[u16], to: &[u16], flags: u32) -> io::Result<()> {
    // SAFETY: both paths end in a zero and live through the call.
    if unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), flags) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
