//! Renaming, while others look on.

use std::{fs, io, path::Path};

use windows_sys::Win32::Storage::FileSystem::{
    MOVEFILE_REPLACE_EXISTING, MOVEFILE_WRITE_THROUGH, MoveFileExW,
};

use super::{
    long_path::wide,
    patience::{A_MOMENT, is_open_elsewhere, patiently},
    read_only::despite_read_only,
};

/// Renames unless something stands at `to`.
pub(in crate::fs) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    move_file(from, to, MOVEFILE_WRITE_THROUGH)
}

pub(in crate::fs) fn rename_over(from: &Path, to: &Path) -> io::Result<()> {
    // Before Windows 10 nothing takes the place of a file that somebody reads just now.
    let is_read =
        |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied && to.is_file();
    patiently(A_MOMENT, is_read, || try_over(from, to))
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

fn move_file(from: &Path, to: &Path, flags: u32) -> io::Result<()> {
    let (from, to) = (wide(from)?, wide(to)?);
    patiently(A_MOMENT, is_open_elsewhere, || move_once(&from, &to, flags))
}

/// Both paths end in a zero, as [`wide`] makes them.
fn move_once(from: &[u16], to: &[u16], flags: u32) -> io::Result<()> {
    // SAFETY: both paths end in a zero and live through the call.
    if unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), flags) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
