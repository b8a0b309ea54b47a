//! A file that only grows: what is done is taken down in it, line by line.

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{
    FsError, deeds,
    seam::{StepKind, step},
    system,
};

/// A file of lines, to which several workers append.
///
/// A crash may tear the last line; whoever opens the file again begins a new one.
#[derive(Debug)]
pub struct LineLog {
    file: Mutex<File>,
    path: PathBuf,
}

impl LineLog {
    /// Opens the file at `path`, which may not be a link, and makes it where it is not there.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> Result<Self, FsError> {
        let file = step(StepKind::Create, path, || system::open_lock(path, true))?;
        deeds::sync_folder_of(path)?;
        let log = Self {
            file: Mutex::new(file),
            path: path.to_owned(),
        };
        // Ends a line that a crash tore.
        log.put(b"\n")?;
        Ok(log)
    }

    /// Appends a line, which holds no line feed itself, and flushes it.
    ///
    /// # Errors
    /// What the system says.
    pub fn append(&self, line: &[u8]) -> Result<(), FsError> {
        self.append_unflushed(line)?;
        self.flush()
    }

    /// Flushes what was appended.
    ///
    /// # Errors
    /// What the system says.
    pub fn flush(&self) -> Result<(), FsError> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        step(StepKind::Flush, &self.path, || file.sync_data())
    }

    /// Appends a line that a power cut may take, as long as no later one is flushed.
    ///
    /// # Errors
    /// What the system says.
    pub fn append_unflushed(&self, line: &[u8]) -> Result<(), FsError> {
        let mut bytes = Vec::with_capacity(line.len().saturating_add(1));
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
        self.put(&bytes)
    }

    fn put(&self, bytes: &[u8]) -> Result<(), FsError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        step(StepKind::Write, &self.path, || {
            file.seek(SeekFrom::End(0))?;
            file.write_all(bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_follow_what_stands_there_and_a_torn_one_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        LineLog::open(&path).unwrap().append(b"one").unwrap();
        std::fs::write(&path, b"\none\ntor").unwrap();
        LineLog::open(&path).unwrap().append(b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"\none\ntor\ntwo\n");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, b"kept").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(LineLog::open(&link).is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"kept");
    }
}
