//! A file held open for reading.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
    thread::sleep,
    time::Duration,
};

use super::{Entry, FsError, Stamp, look, seam, system};
use crate::base::{ContentId, IoMeter, ReadAt};

/// A file held open for reading; on Windows nobody can write to it meanwhile.
#[derive(Debug)]
pub struct SourceFile {
    pub(super) file: File,
    path: PathBuf,
    follow: bool,
    opened: Stamp,
    meter: Arc<IoMeter>,
}

impl SourceFile {
    /// Opens the file at `path`, which may not be a link.
    ///
    /// # Errors
    /// [`FsError::InUse`] where somebody has it open for writing (Windows only); anything that is
    /// not a file, a link above all, is an error that says so.
    pub fn open(path: &Path, meter: &Arc<IoMeter>) -> Result<Self, FsError> {
        Self::open_as(path, false, meter)
    }

    /// As [`SourceFile::open`], through links.
    ///
    /// # Errors
    /// As [`SourceFile::open`], but for links.
    pub fn open_following(path: &Path, meter: &Arc<IoMeter>) -> Result<Self, FsError> {
        Self::open_as(path, true, meter)
    }

    fn open_as(path: &Path, follow: bool, meter: &Arc<IoMeter>) -> Result<Self, FsError> {
        let file = open_file(path, follow)?;
        let opened = system::stamp_of(&file).map_err(FsError::when("look at", path))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            follow,
            opened,
            meter: Arc::clone(meter),
        })
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The stamp when it was opened.
    #[must_use]
    pub fn opened(&self) -> &Stamp {
        &self.opened
    }

    /// Checks that neither the open file nor what stands at its path has changed.
    ///
    /// # Errors
    /// [`FsError::Changed`] if length, time or identity are not those it was opened with.
    pub fn check_unchanged(&self) -> Result<(), FsError> {
        let failed = |error| FsError::io("look at", &self.path, error);
        let held = system::stamp_of(&self.file).map_err(failed)?;
        self.check_same(&held)?;
        match system::stamp_at(&self.path, self.follow) {
            Ok(named) => self.check_same(&named),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(self.changed("it is gone".to_owned()))
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn check_same(&self, now: &Stamp) -> Result<(), FsError> {
        match now.difference(&self.opened) {
            Some(what) => Err(self.changed(what)),
            None => Ok(()),
        }
    }

    pub(super) fn changed(&self, what: String) -> FsError {
        FsError::Changed {
            path: self.path.clone(),
            what,
        }
    }

    /// The next stretch with data in `at..end`, start and end; `(end, end)` if there is none.
    pub(super) fn next_data(&self, at: u64, end: u64) -> Result<(u64, u64), FsError> {
        system::next_data(&self.file, at, end)
            .map_err(FsError::when("find the holes of", self.path()))
    }

    pub(super) fn read_content(&self, bytes: &mut [u8], at: u64) -> Result<(), FsError> {
        let read = seam::before_reading(self.path())
            .and_then(|()| system::read_exact_at(&self.file, bytes, at));
        read.map_err(|error| {
            if error.kind() != io::ErrorKind::UnexpectedEof {
                return FsError::io("read", self.path(), error);
            }
            let len = self.opened().len;
            self.changed(format!("it ends early, expected {len} bytes"))
        })
    }

    pub(super) fn failed(&self, error: io::Error) -> FsError {
        FsError::from_io("copy or hash", self.path(), error)
    }
}

/// Counted as `inspected`.
impl ReadAt for SourceFile {
    fn len(&self) -> u64 {
        self.opened.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        system::read_exact_at(&self.file, buf, offset)?;
        self.meter.add_inspected(buf.len() as u64);
        Ok(())
    }
}

fn open_file(path: &Path, follow: bool) -> Result<File, FsError> {
    system::open_source(path, follow).map_err(FsError::when("open", path))
}

/// How often, and how far apart, a small file is tried that somebody writes just now: on Windows a
/// file that has got its name is closed to others until whoever wrote it lets go.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// Reads a whole small file, which may not be a link.
///
/// # Errors
/// [`FsError::TooLong`] beyond `max` bytes, and what the system says.
pub fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, FsError> {
    retry(|| read_once(path, max))
}

fn retry<T>(read: impl Fn() -> Result<T, FsError>) -> Result<T, FsError> {
    for _ in 1..TRIES {
        match read() {
            Err(FsError::InUse { .. }) => sleep(PAUSE),
            done => return done,
        }
    }
    read()
}

fn read_once(path: &Path, max: u64) -> Result<Vec<u8>, FsError> {
    let (file, len) = open_once(path, max)?;
    let failed = |error| FsError::io("read", path, error);
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    // It may grow while it is read.
    let mut bounded = file.take(max.saturating_add(1));
    bounded.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max {
        return Err(too_long(path, bytes.len() as u64, max));
    }
    Ok(bytes)
}

/// Opens a file that is read in pieces, which may not be a link. It ends after `max` bytes, should
/// it grow while it is read.
///
/// # Errors
/// As [`read_bounded`].
pub fn open_bounded(path: &Path, max: u64) -> Result<impl BufRead, FsError> {
    let (file, _) = retry(|| open_once(path, max))?;
    Ok(BufReader::with_capacity(PIECE, file.take(max)))
}

/// Returns the digest of a file that is read in pieces, as [`open_bounded`] does; `None` where
/// nothing stands.
///
/// # Errors
/// As [`open_bounded`], and where it cannot be read.
pub fn bounded_digest(path: &Path, max: u64) -> Result<Option<ContentId>, FsError> {
    if look(path)? == Entry::Missing {
        return Ok(None);
    }
    let mut hasher = blake3::Hasher::new();
    let read = hasher.update_reader(open_bounded(path, max)?);
    read.map_err(FsError::when("read", path))?;
    Ok(Some(hasher.finalize().into()))
}

/// So much is read at once of a file that is read in pieces.
const PIECE: usize = 64 << 10;

/// Opens a file, and tells how long it is.
fn open_once(path: &Path, max: u64) -> Result<(File, u64), FsError> {
    let file = open_file(path, false)?;
    let metadata = file.metadata().map_err(FsError::when("read", path))?;
    let len = metadata.len();
    if len > max {
        return Err(too_long(path, len, max));
    }
    Ok((file, len))
}

fn too_long(path: &Path, len: u64, max: u64) -> FsError {
    let path = path.to_owned();
    FsError::TooLong { path, len, max }
}
