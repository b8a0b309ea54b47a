//! A file's bytes, read once, start to end.

use std::io;

use super::{FsError, SourceFile, seam, spare, system};
use crate::base::Run;

/// Takes a file's bytes as they stream by, in order, without gaps. A sink may be asked in another
/// thread than the one that streams the file.
pub trait Sink: Send {
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

/// The most that is read at once where others help to hash it.
const CHUNK: u64 = 1 << 20;
/// Alone a thread does better with what stays in its core's cache.
const ALONE: u64 = 256 << 10;
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
    let mut pump = Pump {
        source,
        sinks,
        run,
        buffers: Default::default(),
    };
    spare::streaming(source.opened().len, || pump.run())?;
    source.check_unchanged()
}

struct Pump<'a, 'b> {
    source: &'a SourceFile,
    sinks: &'a mut [&'b mut dyn Sink],
    run: &'a Run<'a>,
    /// The chunk at hand, and the one after it.
    buffers: [Vec<u8>; 2],
}

impl Pump<'_, '_> {
    fn run(&mut self) -> Result<(), FsError> {
        let mut at = 0;
        let len = self.source.opened().len;
        while at < len {
            let (start, end) = self.source.next_data(at, len)?;
            self.holes(at, start)?;
            self.bytes(start, end)?;
            at = end;
        }
        Ok(())
    }

    fn holes(&mut self, start: u64, end: u64) -> Result<(), FsError> {
        let Self {
            source, sinks, run, ..
        } = self;
        for (at, len) in pieces(start, end, HOLE_CHUNK) {
            run.go_on()?;
            let mut hole = || spare::each(sinks, |sink| sink.hole(at, len));
            let taken = match spare::helpers(source.opened().len) {
                Some(helpers) => helpers.install(hole),
                None => hole(),
            };
            taken.map_err(|error| source.failed(error))?;
            run.meter.add_skipped(len);
            run.progress.advance(len);
        }
        Ok(())
    }

    fn bytes(&mut self, start: u64, end: u64) -> Result<(), FsError> {
        let mut read_ahead = false;
        let mut at_hand = self.chunk(start, end);
        while let Some(chunk) = at_hand {
            self.run.go_on()?;
            if !read_ahead {
                read_piece(&mut self.buffers[0], chunk, self.source, self.run)?;
            }
            let next = self.chunk(chunk.0 + chunk.1, end);
            read_ahead = self.hand_on(chunk, next)?;
            self.run.progress.advance(chunk.1);
            at_hand = next;
        }
        Ok(())
    }

    /// The chunk, offset and length, with which `start..end` begins.
    fn chunk(&self, start: u64, end: u64) -> Option<(u64, u64)> {
        let helped = spare::helpers(self.source.opened().len).is_some();
        pieces(start, end, if helped { CHUNK } else { ALONE }).next()
    }

    /// Hands the chunk at hand to every sink. Tells whether the next was read meanwhile.
    fn hand_on(&mut self, (at, _): (u64, u64), next: Option<(u64, u64)>) -> Result<bool, FsError> {
        let Self {
            source, sinks, run, ..
        } = self;
        let [this, after] = &mut self.buffers;
        let mut hand_on = || spare::each(sinks, |sink| sink.data(at, this));
        let (taken, read) = match (spare::helpers(source.opened().len), next) {
            (None, _) => (hand_on(), None),
            (Some(helpers), None) => (helpers.install(hand_on), None),
            (Some(helpers), Some(next)) => {
                let (taken, read) = helpers
                    .install(|| rayon::join(hand_on, || read_piece(after, next, source, run)));
                (taken, Some(read))
            }
        };
        taken.map_err(|error| source.failed(error))?;
        self.buffers.swap(0, 1);
        read.transpose().map(|read| read.is_some())
    }
}

/// Reads a piece, offset and length, of the file.
fn read_piece(
    buffer: &mut Vec<u8>,
    (at, len): (u64, u64),
    source: &SourceFile,
    run: &Run<'_>,
) -> Result<(), FsError> {
    // At most a chunk, which is no longer than memory.
    buffer.resize(usize::try_from(len).unwrap_or(0), 0);
    source.read_content(buffer, at)?;
    run.meter.add_read(len);
    Ok(())
}

impl SourceFile {
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

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, sync::Arc};

    use super::*;
    use crate::{
        base::{IoMeter, Silent},
        fs::ContentHasher,
    };

    /// A file of 14 MiB, long enough for helpers, with 2 MiB in the middle that may be a hole.
    fn long_file(path: &Path) -> Vec<u8> {
        let mut bytes = vec![0; 14 << 20];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes[5 << 20..7 << 20].fill(0);
        bytes.truncate((14 << 20) - 77);
        let mut file = fs::File::create(path).unwrap();
        for (at, piece) in (0_u64..).step_by(1 << 20).zip(bytes.chunks(1 << 20)) {
            use io::{Seek as _, Write as _};
            if piece.iter().any(|&byte| byte != 0) {
                file.seek(io::SeekFrom::Start(at)).unwrap();
                file.write_all(piece).unwrap();
            }
        }
        bytes
    }

    /// Keeps what streams by, up to where it refuses.
    #[derive(Default)]
    struct Keeper {
        bytes: Vec<u8>,
        refuse_at: Option<u64>,
    }

    impl Keeper {
        fn take(&mut self, offset: u64, len: u64) -> io::Result<()> {
            assert_eq!(offset, self.bytes.len() as u64, "in order, without gaps");
            match self.refuse_at.filter(|&at| at < offset + len) {
                Some(_) => Err(io::Error::other("no more")),
                None => Ok(()),
            }
        }
    }

    impl Sink for Keeper {
        fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.take(offset, bytes.len() as u64)?;
            self.bytes.extend_from_slice(bytes);
            Ok(())
        }

        fn hole(&mut self, offset: u64, len: u64) -> io::Result<()> {
            self.take(offset, len)?;
            self.bytes.resize(self.bytes.len() + len as usize, 0);
            Ok(())
        }
    }

    fn streamed(path: &Path, sinks: &mut [&mut dyn Sink]) -> (Result<(), FsError>, u64) {
        let meter = Arc::new(IoMeter::default());
        let source = SourceFile::open(path, &meter).unwrap();
        let run = Run {
            progress: &Silent,
            meter: &meter,
        };
        let done = stream(&source, sinks, &run);
        (done, meter.totals().read + meter.totals().skipped)
    }

    #[test]
    fn a_long_file_comes_whole_and_in_order_and_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long");
        let bytes = long_file(&path);
        let (mut keeper, mut hasher) = (Keeper::default(), ContentHasher::new());
        let (done, seen) = streamed(&path, &mut [&mut keeper, &mut hasher]);
        done.unwrap();
        assert!(keeper.bytes == bytes);
        assert_eq!(hasher.finish(), blake3::hash(&bytes).into());
        assert_eq!(seen, bytes.len() as u64);
    }

    #[test]
    fn a_sink_that_refuses_in_the_middle_of_a_long_file_stops_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long");
        let bytes = long_file(&path);
        let mut keeper = Keeper {
            refuse_at: Some(9 << 20),
            ..Keeper::default()
        };
        let (done, seen) = streamed(&path, &mut [&mut keeper]);
        assert!(done.unwrap_err().to_string().contains("copy or hash"));
        assert!(keeper.bytes == bytes[..9 << 20]);
        assert!(seen <= 11 << 20, "at most one chunk ahead, and {seen} seen");
    }

    #[test]
    fn a_chunk_that_was_to_be_read_ahead_and_cannot_be_read_is_an_error() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long");
        long_file(&path);
        let (watched, reads) = (path.clone(), AtomicUsize::new(0));
        let guard = seam::install_on_reads(move |step| {
            match step.path == watched && reads.fetch_add(1, Ordering::SeqCst) == 3 {
                true => Err(io::Error::other("a bad sector")),
                false => Ok(()),
            }
        });
        let mut keeper = Keeper::default();
        let (done, seen) = streamed(&path, &mut [&mut keeper]);
        drop(guard);
        let error = done.unwrap_err();
        assert!(error.to_string().contains("cannot read"), "{error}");
        // How long a chunk is depends on how many files stream at the moment, those of other tests
        // among them.
        assert!(seen >= 3 * ALONE, "three chunks were read, and {seen} seen");
        assert_eq!(
            keeper.bytes.len() as u64,
            seen,
            "what was read before it was handed on"
        );
    }
}
