//! A file's bytes, read once, start to end.

use std::io;

use super::{FsError, SourceFile, seam, system};
use crate::base::Run;

/// Takes a file's bytes as they stream by, in order, without gaps.
pub trait Sink {
    /// Takes the bytes from `offset` on.
    ///
    /// # Errors
    /// Whatever keeps the sink from taking them.
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Takes `len` zero bytes that are a hole in the source.
    ///
    /// # Errors
    /// As [`Sink::data`].
    fn hole(&mut self, offset: u64, len: u64) -> io::Result<()>;
}

/// The most that is read at once.
const CHUNK: u64 = 1 << 20;
/// The most that a hole counts at once, so that the user can stop in the middle.
const HOLE_CHUNK: u64 = 64 << 20;

/// Reads `source` once, start to end, into every sink. Holes are found by asking the file system
/// and are not read.
///
/// Counts `read` and `skipped` in `run.meter`, tells the progress, and asks between chunks whether
/// to go on. Afterwards the file is what it was when it was opened, or the answer is an error.
///
/// # Errors
/// [`FsError::Changed`] where the file changed meanwhile; what reading it or a sink meets.
pub fn stream(
    source: &SourceFile,
    sinks: &mut [&mut dyn Sink],
    run: &Run<'_>,
) -> Result<(), FsError> {
    let len = source.opened().len;
    let buffer = vec![0; usize::try_from(CHUNK.min(len)).unwrap_or(0)];
    let mut pump = Pump {
        source,
        sinks,
        run,
        buffer,
    };
    let mut at = 0;
    while at < len {
        let (start, end) = system::next_data(&source.file, at, len)
            .map_err(FsError::when("find the holes of", source.path()))?;
        pump.holes(at, start)?;
        pump.bytes(start, end)?;
        at = end;
    }
    source.check_unchanged()
}

struct Pump<'a, 'b> {
    source: &'a SourceFile,
    sinks: &'a mut [&'b mut dyn Sink],
    run: &'a Run<'a>,
    buffer: Vec<u8>,
}

impl Pump<'_, '_> {
    fn holes(&mut self, start: u64, end: u64) -> Result<(), FsError> {
        for (at, len) in pieces(start, end, HOLE_CHUNK) {
            self.run.go_on()?;
            for sink in &mut *self.sinks {
                sink.hole(at, len)
                    .map_err(|error| self.source.failed(error))?;
            }
            self.run.meter.add_skipped(len);
            self.run.progress.advance(len);
        }
        Ok(())
    }

    fn bytes(&mut self, start: u64, end: u64) -> Result<(), FsError> {
        for (at, len) in pieces(start, end, CHUNK) {
            self.run.go_on()?;
            // A piece is at most a chunk, and the buffer as long as the smaller of chunk and file.
            let bytes = &mut self.buffer[..usize::try_from(len).unwrap_or(0)];
            self.source.read_content(bytes, at)?;
            self.run.meter.add_read(len);
            for sink in &mut *self.sinks {
                sink.data(at, bytes)
                    .map_err(|error| self.source.failed(error))?;
            }
            self.run.progress.advance(len);
        }
        Ok(())
    }
}

impl SourceFile {
    fn read_content(&self, bytes: &mut [u8], at: u64) -> Result<(), FsError> {
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

    fn failed(&self, error: io::Error) -> FsError {
        FsError::from_io("copy or hash", self.path(), error)
    }
}

/// Cuts `start..end` into stretches (offset and length) of at most `most`, cut at multiples of it.
pub(super) fn pieces(start: u64, end: u64, most: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut at = start;
    std::iter::from_fn(move || {
        let left = end.checked_sub(at).filter(|&left| left > 0)?;
        let len = left.min(most - at % most);
        let piece = (at, len);
        at += len;
        Some(piece)
    })
}
