//! The read-only attribute, where it is in the way.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::windows::fs::OpenOptionsExt,
    path::Path,
};

use super::{
    NO_WRITERS, open, ordinary,
    patience::{A_WHILE, is_open_elsewhere, patiently},
    set_read_only, stamp_at,
};

/// Tries `deed`, and where access is denied because `path` is read-only, tries again without the
/// attribute, which comes back if that fails too.
///
/// On a file with several names the attribute is gone from all of them afterwards.
pub(super) fn despite_read_only<T>(path: &Path, deed: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let denied = match deed() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => error,
        done => return done,
    };
    let before = match path.symlink_metadata() {
        Ok(found) if found.permissions().readonly() && !found.is_dir() => found.permissions(),
        _ => return Err(denied),
    };
    let mut writable = before.clone();
    #[expect(
        clippy::permissions_set_readonly_false,
        reason = "on Windows this clears one attribute"
    )]
    writable.set_readonly(false);
    fs::set_permissions(path, writable)?;
    deed().inspect_err(|_| {
        // The first error is the one to hear of.
        let _ = fs::set_permissions(path, before);
    })
}

/// A file open for writing that may have been read-only before.
pub(in crate::fs) struct Writable {
    file: File,
    was_read_only: bool,
}

impl Writable {
    pub(in crate::fs) fn open(path: &Path) -> io::Result<Self> {
        let was_read_only = stamp_at(path, false)?.attributes.read_only;
        let mut options = OpenOptions::new();
        options.read(true).write(true).share_mode(NO_WRITERS);
        let open = || ordinary(open(&mut options.clone(), path, false)?);
        let once_free = || patiently(A_WHILE, is_open_elsewhere, open);
        let file = despite_read_only(path, once_free)?;
        Ok(Self {
            file,
            was_read_only,
        })
    }

    pub(in crate::fs) fn file(&self) -> &File {
        &self.file
    }

    pub(in crate::fs) fn close(mut self) -> io::Result<()> {
        self.restore()
    }

    fn restore(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.was_read_only) {
            set_read_only(&self.file, true)?;
        }
        Ok(())
    }
}

impl Drop for Writable {
    fn drop(&mut self) {
        // Only on the way out of an error, which is what the user hears of.
        let _ = self.restore();
    }
}

/// Windows flushes through a handle that may write, and through no other.
pub(in crate::fs) fn sync_file(path: &Path) -> io::Result<()> {
    let writable = Writable::open(path)?;
    writable.file().sync_all()?;
    writable.close()
}
