//! The digest of a file's bytes: of one file, or of several that are most likely alike.
//!
//! BLAKE3 hashes a tree. A file is cut into segments, and each core that has nothing else to do
//! takes the next one, reads it and hashes it.
//!
//! Files that are most likely alike are read abreast: a segment of the first is hashed, the same
//! segment of the others is compared with it. To compare costs a fraction of hashing, and tells
//! more. A segment that differs is hashed as well, so that each byte is still read once.

use std::ops::Range;

use super::{
    FsError, Sink, SourceFile, TempFile,
    in_order::InOrder,
    spare,
    stream::pieces,
    tree::{SEGMENT, Subtree, Tree, subtree},
};
use crate::base::{ContentId, Run};

/// Between windows a file looks for cores with nothing else to do; holes are known, and digests
/// of segments held, of one window at a time.
const WINDOW: u64 = 64 << 20;

/// Reads a file once, start to end, and returns the digest of its bytes.
///
/// Holes are found by asking the file system and are not read. Counts `read` and `skipped` in
/// `run.meter`, tells the progress, and asks between segments whether to go on. Afterwards the
/// file is what it was when it was opened, or the answer is an error.
///
/// # Errors
/// [`FsError::Changed`] where the file changed meanwhile; what reading it meets.
pub fn content_id(source: &SourceFile, run: &Run<'_>) -> Result<ContentId, FsError> {
    content_ids(source, &[], None, run).map(|(id, _)| id)
}

/// As [`content_id`], of several files together that are most likely alike: returns the digest of
/// the first, and of each of the others. The bytes of the first go into `copy` as well.
///
/// # Errors
/// As [`content_id`], and what keeps `copy` from taking the bytes.
pub fn content_ids(
    first: &SourceFile,
    others: &[SourceFile],
    copy: Option<&mut TempFile>,
    run: &Run<'_>,
) -> Result<(ContentId, Vec<ContentId>), FsError> {
    let copy = copy.map(|copy| copy as &mut dyn Sink);
    read_abreast(first, others, copy, run)
}

/// `copy` does not ask [`spare`] for help: the thread that hands on a segment would, while it
/// waits for others, take up a later one, and that waits for its turn.
fn read_abreast(
    first: &SourceFile,
    others: &[SourceFile],
    copy: Option<&mut dyn Sink>,
    run: &Run<'_>,
) -> Result<(ContentId, Vec<ContentId>), FsError> {
    let len = first.opened().len;
    let is_as_long = |other: &&SourceFile| other.opened().len == len;
    let mut abreast = Abreast {
        len,
        first: Strand::of(first),
        others: others.iter().filter(is_as_long).map(Strand::of).collect(),
        copy: copy.map(InOrder::new),
        run,
    };
    spare::streaming(len, || abreast.run())?;

    let id = abreast.first.finish()?;
    let mut alike = abreast.others.into_iter();
    let ids = others.iter().map(|other| {
        let abreast = is_as_long(&other).then(|| alike.next()).flatten();
        abreast.map_or_else(|| content_id(other, run), Strand::finish)
    });
    Ok((id, ids.collect::<Result<_, _>>()?))
}

/// Files of one length that are read together.
struct Abreast<'a, 'c> {
    len: u64,
    first: Strand<'a>,
    others: Vec<Strand<'a>>,
    copy: Option<InOrder<'c>>,
    run: &'a Run<'a>,
}

/// What a thread reads into: of the first file, and of another.
#[derive(Default)]
struct Buffers {
    first: Vec<u8>,
    other: Vec<u8>,
}

impl<'a> Abreast<'a, '_> {
    fn run(&mut self) -> Result<(), FsError> {
        let mut buffers = Vec::new();
        for (start, len) in pieces(0, self.len, WINDOW) {
            self.window(start..start + len, &mut buffers)?;
        }
        Ok(())
    }

    fn strands(&mut self) -> impl Iterator<Item = &mut Strand<'a>> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    fn window(&mut self, at: Range<u64>, buffers: &mut Vec<Buffers>) -> Result<(), FsError> {
        for strand in self.strands() {
            strand.look(&at)?;
        }
        let files = 1 + self.others.len();
        let segments = || pieces(at.start, at.end, SEGMENT);
        let mut digests = vec![Subtree::default(); segments().count() * files];
        let jobs = segments().zip(digests.chunks_exact_mut(files));
        spare::share(self.len, jobs, buffers, |buffers, ((at, len), digests)| {
            self.segment(at..at + len, digests, buffers)
        })?;
        for digests in digests.chunks_exact(files) {
            for (strand, &digest) in self.strands().zip(digests) {
                strand.tree.push(digest);
            }
        }
        Ok(())
    }

    /// Reads a segment of every file, and makes the digest of each.
    fn segment(
        &self,
        at: Range<u64>,
        digests: &mut [Subtree],
        buffers: &mut Buffers,
    ) -> Result<(), FsError> {
        let turn = self.copy.as_ref().map(|copy| copy.expect(&at));
        let Some((digest, digests)) = digests.split_first_mut() else {
            return Ok(());
        };
        let bytes = self.first.read(&at, &mut buffers.first, self.run)?;
        *digest = subtree(at.start, bytes, self.len);
        for (other, theirs) in self.others.iter().zip(digests) {
            let others = other.read(&at, &mut buffers.other, self.run)?;
            // Two holes are the very same zeros.
            let same = std::ptr::eq(bytes, others) || bytes == others;
            *theirs = if same {
                *digest
            } else {
                subtree(at.start, others, self.len)
            };
        }
        if let Some(turn) = turn {
            turn.take(|copy| self.first.hand_on(&at, bytes, copy))?;
        }
        Ok(())
    }
}

/// One of the files.
struct Strand<'a> {
    source: &'a SourceFile,
    /// The next stretch of data, as far as it is known.
    next_data: Range<u64>,
    /// The stretches of data in the window.
    data: Vec<Range<u64>>,
    tree: Tree,
}

impl<'a> Strand<'a> {
    fn of(source: &'a SourceFile) -> Self {
        Self {
            source,
            next_data: 0..0,
            data: Vec::new(),
            tree: Tree::default(),
        }
    }

    /// Finds what is data in a window.
    fn look(&mut self, window: &Range<u64>) -> Result<(), FsError> {
        self.data.clear();
        let mut at = window.start;
        while at < window.end {
            if self.next_data.end <= at {
                let (start, end) = self.source.next_data(at, self.source.opened().len)?;
                self.next_data = start..end;
            }
            if self.next_data.start >= window.end {
                break;
            }
            let end = self.next_data.end.min(window.end);
            self.data.push(self.next_data.start.max(at)..end);
            at = end;
        }
        Ok(())
    }

    /// Cuts a segment into its stretches, and tells of each whether it is data.
    fn stretches(&self, segment: &Range<u64>) -> impl Iterator<Item = (Range<u64>, bool)> {
        let Range { start, end } = *segment;
        let first = self.data.partition_point(|data| data.end <= start);
        let mut data = self.data[first..].iter().peekable();
        let mut at = start;
        std::iter::from_fn(move || {
            let from = (at < end).then_some(at)?;
            let is_data = data.peek().is_some_and(|data| data.start <= at);
            at = if is_data {
                data.next().map_or(end, |data| data.end.min(end))
            } else {
                data.peek().map_or(end, |data| data.start.min(end))
            };
            Some((from..at, is_data))
        })
    }

    /// Reads a segment; its holes are zeros, and are not read.
    fn read<'b>(
        &self,
        segment: &Range<u64>,
        buffer: &'b mut Vec<u8>,
        run: &Run<'_>,
    ) -> Result<&'b [u8], FsError> {
        run.go_on()?;
        let len = segment.end - segment.start;
        if !self.stretches(segment).any(|(_, is_data)| is_data) {
            run.meter.add_skipped(len);
            run.progress.advance(len);
            return Ok(spare::zeros_of(len));
        }
        // A segment is no longer than memory.
        buffer.resize(len as usize, 0);
        for (stretch, is_data) in self.stretches(segment) {
            let into = &mut buffer[within(segment, &stretch)];
            let len = stretch.end - stretch.start;
            if is_data {
                self.source.read_content(into, stretch.start)?;
                run.meter.add_read(len);
            } else {
                into.fill(0);
                run.meter.add_skipped(len);
            }
        }
        run.progress.advance(len);
        Ok(buffer)
    }

    /// Hands a segment on: holes as holes.
    fn hand_on(
        &self,
        segment: &Range<u64>,
        bytes: &[u8],
        sink: &mut dyn Sink,
    ) -> Result<(), FsError> {
        for (stretch, is_data) in self.stretches(segment) {
            let taken = if is_data {
                sink.data(stretch.start, &bytes[within(segment, &stretch)])
            } else {
                sink.hole(stretch.start, stretch.end - stretch.start)
            };
            taken.map_err(|error| self.source.failed(error))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<ContentId, FsError> {
        self.source.check_unchanged()?;
        Ok(self.tree.root())
    }
}

/// Where a stretch of a segment lies in its bytes.
fn within(segment: &Range<u64>, stretch: &Range<u64>) -> Range<usize> {
    // A segment is no longer than memory.
    (stretch.start - segment.start) as usize..(stretch.end - segment.start) as usize
}

#[cfg(test)]
mod tests {
    use std::{
        fs, io,
        path::{Path, PathBuf},
        sync::Arc,
    };

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        base::{IoMeter, Silent},
        fs::{seam, sinks::ZEROS},
    };

    /// Bytes that do not repeat, with a stretch of zeros that may become a hole.
    fn bytes(len: usize, blank: Range<usize>) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        let end = blank.end.min(len);
        bytes[blank.start.min(end)..end].fill(0);
        bytes
    }

    /// Writes a file; of its zeros each block of 64 KiB becomes a hole, where `holes` is set.
    fn write(path: &Path, bytes: &[u8], holes: bool) {
        use io::{Seek as _, Write as _};
        let mut file = fs::File::create(path).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        let blocks = bytes.chunks(ZEROS.len());
        for (at, block) in (0_u64..).step_by(ZEROS.len()).zip(blocks) {
            if !holes || *block != ZEROS[..block.len()] {
                file.seek(io::SeekFrom::Start(at)).unwrap();
                file.write_all(block).unwrap();
            }
        }
    }

    /// Streams files abreast; returns their digests, and how many bytes were read or skipped.
    fn streamed(paths: &[PathBuf]) -> (Result<Vec<ContentId>, FsError>, u64) {
        let meter = Arc::new(IoMeter::default());
        let open = |path| SourceFile::open(path, &meter).unwrap();
        let first = open(&paths[0]);
        let others: Vec<_> = paths[1..].iter().map(|path| open(path)).collect();
        let run = Run {
            progress: &Silent,
            meter: &meter,
        };
        let ids = content_ids(&first, &others, None, &run);
        let ids = ids.map(|(id, ids)| [vec![id], ids].concat());
        (ids, meter.totals().read + meter.totals().skipped)
    }

    fn check(files: &[(Vec<u8>, bool)]) {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (nth, (bytes, holes)) in files.iter().enumerate() {
            paths.push(folder.path().join(nth.to_string()));
            write(&paths[nth], bytes, *holes);
        }
        let (ids, seen) = streamed(&paths);
        let alone = files.iter().map(|(bytes, _)| blake3::hash(bytes).into());
        assert_eq!(ids.unwrap(), alone.collect::<Vec<ContentId>>());
        let all: usize = files.iter().map(|(bytes, _)| bytes.len()).sum();
        assert_eq!(seen, all as u64, "each byte once");
    }

    #[test]
    fn long_files_that_differ_late_early_or_not_at_all_have_their_own_digests() {
        // Long enough for helpers.
        let whole = bytes(10 << 20, 3 << 20..5 << 20);
        let differing = |at: usize| {
            let mut other = whole.clone();
            other[at] ^= 1;
            other
        };
        check(&[
            (whole.clone(), true),
            (whole.clone(), false),
            (differing(0), true),
            (differing(4 << 20), true),
            (differing(7_654_321), false),
            (differing((10 << 20) - 1), true),
            (whole.clone(), true),
        ]);
    }

    #[test]
    fn windows_and_their_bounds_and_long_holes_leave_the_digest_as_it_is() {
        for len in [WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW + SEGMENT + 1025] {
            let mut whole = vec![0; len as usize];
            let marks = [
                1,
                SEGMENT - 1,
                SEGMENT,
                40 << 20,
                WINDOW - 1,
                WINDOW,
                len - 1,
            ];
            for (mark, at) in (1..).zip(marks) {
                if let Some(byte) = whole.get_mut(at as usize) {
                    *byte = mark;
                }
            }
            let mut other = whole.clone();
            other[(len - 1) as usize] ^= 1;
            check(&[(whole, true), (other, true)]);
        }
    }

    #[test]
    fn a_file_of_another_length_has_its_own_digest() {
        let whole = bytes(3 * SEGMENT as usize, 0..0);
        // Of a file that is one segment, that segment is the root.
        let lens = [SEGMENT, 2 * SEGMENT, 3 * SEGMENT, 1, 0].map(|len| len as usize);
        for first in lens {
            let files = lens.map(|len| (whole[..len].to_vec(), false));
            check(&[&[(whole[..first].to_vec(), false)], &files[..]].concat());
        }
    }

    /// Keeps what is handed on, up to where it refuses.
    struct Copy {
        bytes: Vec<u8>,
        holes: u64,
        refuse_at: usize,
    }

    impl Copy {
        fn up_to(refuse_at: usize) -> Self {
            Self {
                bytes: Vec::new(),
                holes: 0,
                refuse_at,
            }
        }
    }

    impl Sink for Copy {
        fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            assert_eq!(offset, self.bytes.len() as u64, "in order, without gaps");
            self.bytes.extend_from_slice(bytes);
            if self.bytes.len() > self.refuse_at {
                return Err(io::Error::other("no more"));
            }
            Ok(())
        }

        fn hole(&mut self, offset: u64, len: u64) -> io::Result<()> {
            self.holes += len;
            self.data(offset, &vec![0; len as usize])
        }
    }

    fn copied(path: &Path, copy: &mut Copy) -> Result<ContentId, FsError> {
        let meter = Arc::new(IoMeter::default());
        let run = Run {
            progress: &Silent,
            meter: &meter,
        };
        let source = SourceFile::open(path, &meter)?;
        read_abreast(&source, &[], Some(copy), &run).map(|(id, _)| id)
    }

    /// A file that is long enough for helpers, with a hole that begins within a segment.
    fn long_file(folder: &Path) -> (PathBuf, Vec<u8>) {
        let (path, whole) = (folder.join("long"), bytes(20 << 20, 2_000_000..9_000_000));
        write(&path, &whole, true);
        (path, whole)
    }

    #[test]
    fn a_copy_gets_the_bytes_in_order_and_holes_as_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, whole) = long_file(folder.path());
        let mut copy = Copy::up_to(usize::MAX);
        let id = copied(&path, &mut copy).unwrap();
        assert!(copy.bytes == whole);
        assert_eq!(id, blake3::hash(&whole).into());
        if cfg!(target_os = "linux") {
            assert!(copy.holes > 6_000_000, "{}", copy.holes);
        }
    }

    #[test]
    fn a_copy_that_refuses_ends_the_work_and_gets_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let (path, whole) = long_file(folder.path());
        for refuse_at in [0, 1 << 20, 10 << 20, whole.len() - 1] {
            let mut copy = Copy::up_to(refuse_at);
            let error = copied(&path, &mut copy).unwrap_err();
            assert!(error.to_string().contains("copy or hash"), "{error}");
            assert!(copy.bytes == whole[..copy.bytes.len()]);
            assert!(copy.bytes.len() <= refuse_at + SEGMENT as usize);
        }
    }

    #[test]
    fn a_segment_that_cannot_be_read_ends_the_work_and_no_thread_waits_for_it() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let (path, whole) = long_file(folder.path());
        for bad in [0, 1, 7, 20] {
            let (watched, reads) = (path.clone(), AtomicUsize::new(0));
            let guard = seam::install_on_reads(move |step| {
                match step.path == watched && reads.fetch_add(1, Ordering::SeqCst) == bad {
                    true => Err(io::Error::other("a bad sector")),
                    false => Ok(()),
                }
            });
            let mut copy = Copy::up_to(usize::MAX);
            let error = copied(&path, &mut copy).unwrap_err();
            drop(guard);
            assert!(error.to_string().contains("cannot read"), "{error}");
            assert!(copy.bytes == whole[..copy.bytes.len()] && copy.bytes.len() < whole.len());
        }
    }

    fn two_alike(folder: &Path) -> [PathBuf; 2] {
        let paths = ["a", "b"].map(|name| folder.join(name));
        for path in &paths {
            write(path, &bytes(300_000, 0..0), false);
        }
        paths
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_though_another_is_streamed() {
        let folder = tempfile::tempdir().unwrap();
        let paths = two_alike(folder.path());
        let watched = paths[1].clone();
        let guard = seam::install_on_reads(move |step| match step.path == watched {
            true => Err(io::Error::other("a bad sector")),
            false => Ok(()),
        });
        let error = streamed(&paths).0.unwrap_err().to_string();
        drop(guard);
        assert!(error.contains("cannot read"), "{error}");
        assert!(error.contains(&*paths[1].to_string_lossy()), "{error}");
    }

    /// Windows keeps writers out.
    #[cfg(unix)]
    #[test]
    fn a_file_that_grows_while_it_is_compared_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let paths = two_alike(folder.path());
        let watched = paths[1].clone();
        let guard = seam::install_on_reads(move |step| {
            if step.path == watched {
                let file = fs::OpenOptions::new().append(true).open(step.path);
                io::Write::write_all(&mut file?, b"more")?;
            }
            Ok(())
        });
        let error = streamed(&paths).0.unwrap_err();
        drop(guard);
        let told = matches!(&error, FsError::Changed { path, .. } if *path == paths[1]);
        assert!(told, "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn each_file_has_the_digest_that_it_has_alone_and_each_byte_is_read_once(
            len in 1..700_000_usize,
            blank in (0..600_000_usize, 0..400_000_usize),
            others in vec(
                (vec((0..700_000_usize, 0..9_usize), 0..3), -2..3_isize, any::<bool>()),
                0..4,
            ),
            holes in any::<bool>(),
        ) {
            let whole = bytes(len, blank.0..blank.0 + blank.1);
            let mut files = vec![(whole.clone(), holes)];
            for (changes, longer, holes) in others {
                let mut other = whole.clone();
                // Now and then of another length.
                other.resize(len.saturating_add_signed(longer / 2), 7);
                for (at, count) in changes {
                    other.iter_mut().skip(at).take(count).for_each(|byte| *byte ^= 0x55);
                }
                files.push((other, holes));
            }
            check(&files);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn a_byte_that_differs_anywhere_changes_the_digest_of_that_file_alone(
            len in 8_500_000..12_500_000_usize,
            at in any::<proptest::sample::Index>(),
            blank in (0..8_000_000_usize, 0..4_000_000_usize),
            holes in any::<bool>(),
        ) {
            let whole = bytes(len, blank.0..blank.0 + blank.1);
            let mut other = whole.clone();
            other[at.index(len)] ^= 0x10;
            check(&[(whole.clone(), holes), (other, holes), (whole, !holes)]);
        }
    }
}
