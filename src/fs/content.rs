//! Files read once, start to end: their digests, and everything else that is asked of their bytes.
//!
//! BLAKE3 hashes a tree. A file is cut into segments, and each core that has nothing else to do
//! takes the next one, reads it and hashes it. What a file would be after a change is hashed where
//! it differs ([`Form`]); sinks get the bytes in order ([`InOrder`]).
//!
//! Files that are most likely alike are read abreast: a segment of the first is hashed, the same
//! segment of the others is compared with it. To compare costs a fraction of hashing, and tells
//! more. A segment that differs is hashed as well, so that each byte is still read once.

use std::ops::Range;

use super::{
    FsError, Sink, SourceFile,
    form::Form,
    in_order::{InOrder, Turn},
    sinks::pieces,
    spare,
    tree::{SEGMENT, Subtree, Tree, subtree},
};
use crate::base::{ContentId, Patch, Run};

/// Between windows a file looks for cores with nothing else to do; holes are known, and digests
/// of segments held, of one window at a time.
const WINDOW: u64 = 64 << 20;

/// A segment that is a hole. Takes no room in the program, and next to none in memory.
static HOLE: [u8; SEGMENT as usize] = [0; SEGMENT as usize];

/// A file that is to be read, and what is asked of it beside the digest of its bytes.
///
/// Holes are found by asking the file system and are not read. To read counts `read` and `skipped`
/// in the meter, tells the progress, and asks between segments whether to go on. Afterwards the
/// file is what it was when it was opened, or the answer is an error.
#[must_use]
pub struct Subject<'a> {
    source: &'a SourceFile,
    forms: Vec<&'a Patch>,
    sinks: Vec<&'a mut dyn Sink>,
}

/// What reading a file told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// BLAKE3 of its bytes.
    pub content: ContentId,
    /// BLAKE3 of the bytes that it would have after each change that was asked for.
    pub forms: Vec<ContentId>,
}

impl<'a> Subject<'a> {
    /// Asks for the digest of the file's bytes.
    pub const fn of(source: &'a SourceFile) -> Self {
        Self {
            source,
            forms: Vec::new(),
            sinks: Vec::new(),
        }
    }

    /// Asks for the digest that the file would have after `patch`, its new length included.
    pub fn form(mut self, patch: &'a Patch) -> Self {
        self.forms.push(patch);
        self
    }

    /// Hands the bytes on to `sink`.
    ///
    /// A sink may not wait for other work that cores share: the thread that hands a segment on
    /// would take up a later one meanwhile, and that waits for its turn.
    pub fn into_sink(mut self, sink: &'a mut dyn Sink) -> Self {
        self.sinks.push(sink);
        self
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`FsError::Changed`] where the file changed meanwhile; what reading it or a sink meets.
    pub fn read(self, run: &Run<'_>) -> Result<Digests, FsError> {
        let told = read_abreast(vec![self], run)?;
        Ok(told.into_iter().next().expect("one for each"))
    }

    fn len(&self) -> u64 {
        self.source.opened().len
    }
}

/// Reads a file once, and returns the digest of its bytes.
///
/// # Errors
/// As [`Subject::read`].
pub fn content_id(source: &SourceFile, run: &Run<'_>) -> Result<ContentId, FsError> {
    Ok(Subject::of(source).read(run)?.content)
}

/// Reads files together that are most likely alike, and returns what each of them told.
///
/// # Errors
/// As [`Subject::read`].
pub fn read_abreast(subjects: Vec<Subject<'_>>, run: &Run<'_>) -> Result<Vec<Digests>, FsError> {
    let mut subjects = subjects.into_iter();
    let Some(first) = subjects.next() else {
        return Ok(Vec::new());
    };
    let len = first.len();
    let (alike, others): (Vec<_>, Vec<_>) =
        (1..).zip(subjects).partition(|(_, it)| it.len() == len);
    let (places, alike): (Vec<usize>, Vec<_>) = alike.into_iter().unzip();
    let mut abreast = Abreast {
        len,
        first: Strand::of(first),
        others: alike.into_iter().map(Strand::of).collect(),
        run,
    };
    abreast.read()?;
    let Abreast {
        first,
        others: alike,
        ..
    } = abreast;
    let mut told = vec![(0, first.finish(run)?)];
    for (place, strand) in places.into_iter().zip(alike) {
        told.push((place, strand.finish(run)?));
    }
    for (place, subject) in others {
        told.push((place, subject.read(run)?));
    }
    told.sort_unstable_by_key(|(place, _)| *place);
    Ok(told.into_iter().map(|(_, digests)| digests).collect())
}

/// Files of one length that are read together.
struct Abreast<'a, 'r> {
    len: u64,
    first: Strand<'a>,
    others: Vec<Strand<'a>>,
    run: &'r Run<'r>,
}

/// What a thread reads into: of the first file, of another, and what a form has of either.
#[derive(Default)]
struct Buffers {
    first: Vec<u8>,
    other: Vec<u8>,
    form: Vec<u8>,
}

impl<'a> Abreast<'a, '_> {
    fn read(&mut self) -> Result<(), FsError> {
        spare::streaming(self.len, || {
            let mut buffers = Vec::new();
            let mut windows = pieces(0, self.len, WINDOW);
            windows.try_for_each(|(start, len)| self.window(start..start + len, &mut buffers))
        })
    }

    fn strands(&self) -> impl Iterator<Item = &Strand<'a>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn strands_mut(&mut self) -> impl Iterator<Item = &mut Strand<'a>> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    fn window(&mut self, at: Range<u64>, buffers: &mut Vec<Buffers>) -> Result<(), FsError> {
        for strand in self.strands_mut() {
            strand.look(&at)?;
        }
        let width = self.strands().map(Strand::width).sum();
        let segments = || pieces(at.start, at.end, SEGMENT);
        let mut digests = vec![Subtree::default(); segments().count() * width];
        let jobs = segments().zip(digests.chunks_exact_mut(width));
        spare::share(self.len, jobs, buffers, |buffers, ((at, len), digests)| {
            self.segment(&(at..at + len), digests, buffers)
        })?;
        for ((at, _), digests) in segments().zip(digests.chunks_exact(width)) {
            let mut digests = digests.iter().copied();
            for strand in self.strands_mut() {
                strand.push(at, &mut digests);
            }
        }
        Ok(())
    }

    /// Reads a segment of every file, and makes the digests of each.
    fn segment(
        &self,
        at: &Range<u64>,
        digests: &mut [Subtree],
        buffers: &mut Buffers,
    ) -> Result<(), FsError> {
        // Said at once: should one file fail, nobody waits for this segment of any other.
        let turns: Vec<Vec<_>> = self.strands().map(|strand| strand.expect(at)).collect();
        let mut turns = turns.into_iter();
        let mut digests = digests.iter_mut();
        let Buffers { first, other, form } = buffers;

        let bytes = self.first.read(at, first, self.run)?;
        let digest = subtree(at.start, bytes, self.len);
        let segment = Segment { at, bytes, digest };
        let theirs = turns.next().unwrap_or_default();
        self.first.take(&segment, theirs, &mut digests, form)?;
        for strand in &self.others {
            let bytes = strand.read(at, other, self.run)?;
            // Two holes are the very same zeros.
            let same = std::ptr::eq(segment.bytes, bytes) || segment.bytes == bytes;
            let digest = if same {
                segment.digest
            } else {
                subtree(at.start, bytes, self.len)
            };
            let segment = Segment { at, bytes, digest };
            let theirs = turns.next().unwrap_or_default();
            strand.take(&segment, theirs, &mut digests, form)?;
        }
        Ok(())
    }
}

/// A segment that was read.
struct Segment<'b> {
    at: &'b Range<u64>,
    bytes: &'b [u8],
    digest: Subtree,
}

/// One of the files.
struct Strand<'a> {
    source: &'a SourceFile,
    /// The next stretch of data, as far as it is known.
    next_data: Range<u64>,
    /// The stretches of data in the window.
    data: Vec<Range<u64>>,
    tree: Tree,
    forms: Vec<Form<'a>>,
    sinks: Vec<InOrder<'a>>,
}

impl<'a> Strand<'a> {
    fn of(subject: Subject<'a>) -> Self {
        let (source, len) = (subject.source, subject.len());
        let forms = subject.forms.into_iter();
        Self {
            source,
            next_data: 0..0,
            data: Vec::new(),
            tree: Tree::default(),
            forms: forms.map(|patch| Form::new(patch, len)).collect(),
            sinks: subject.sinks.into_iter().map(InOrder::new).collect(),
        }
    }

    /// How many digests there are of a segment.
    const fn width(&self) -> usize {
        1 + self.forms.len()
    }

    /// Says to every sink that a segment is at work.
    fn expect(&self, segment: &Range<u64>) -> Vec<Turn<'_, 'a>> {
        self.sinks.iter().map(|sink| sink.expect(segment)).collect()
    }

    /// Makes the digests of a segment that was read, and hands it on to every sink.
    fn take<'d>(
        &self,
        segment: &Segment<'_>,
        turns: Vec<Turn<'_, 'a>>,
        digests: &mut impl Iterator<Item = &'d mut Subtree>,
        scratch: &mut Vec<u8>,
    ) -> Result<(), FsError> {
        let &Segment { at, bytes, digest } = segment;
        let forms = self.forms.iter();
        let forms = forms.map(|form| form.segment(at, bytes, digest, scratch));
        for (made, place) in std::iter::once(digest).chain(forms).zip(digests) {
            *place = made;
        }
        for turn in turns {
            turn.take(|sink| self.hand_on(at, bytes, sink))?;
        }
        Ok(())
    }

    /// Takes the digests of the segment that begins at `at`.
    fn push(&mut self, at: u64, digests: &mut impl Iterator<Item = Subtree>) {
        let Some(own) = digests.next() else { return };
        self.tree.push(own);
        for (form, digest) in self.forms.iter_mut().zip(digests) {
            form.push(at, digest);
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
            return Ok(&HOLE[..len as usize]);
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

    fn finish(self, run: &Run<'_>) -> Result<Digests, FsError> {
        self.source.check_unchanged()?;
        let forms = self.forms.into_iter().map(|form| form.finish(run));
        Ok(Digests {
            content: self.tree.root(),
            forms: forms.collect::<Result<_, _>>()?,
        })
    }
}

/// Where a stretch of a segment lies in its bytes.
fn within(segment: &Range<u64>, stretch: &Range<u64>) -> Range<usize> {
    // A segment is no longer than memory.
    (stretch.start - segment.start) as usize..(stretch.end - segment.start) as usize
}

#[cfg(test)]
mod tests;
