//! Files that are most likely alike, read abreast: one is hashed, the others are compared with it.
//!
//! To compare costs a fraction of hashing, and tells more. A file that turns out to differ takes
//! the digest over from where it does, so that each byte is still read once.

use std::io;

use super::{
    FsError, Sink, SourceFile, TempFile,
    sinks::ZEROS,
    spare,
    stream::{pieces, read_piece, stream, stream_from},
};
use crate::base::{ContentId, Run};

/// Read from each of the others at once, so that it is still in the cache when it is compared.
const PIECE: u64 = 128 << 10;

/// Reads each file once, all of them together; returns the digest of each, in their order, the
/// first one's first. The first goes into `copy` as well.
///
/// # Errors
/// As [`stream`].
pub fn stream_alike(
    first: &SourceFile,
    others: &[SourceFile],
    copy: Option<&mut TempFile>,
    run: &Run<'_>,
) -> Result<Vec<ContentId>, FsError> {
    let mut abreast = Abreast {
        hasher: blake3::Hasher::new(),
        others: others.iter().map(|other| Other::of(first, other)).collect(),
        run,
    };
    let mut sinks: Vec<&mut dyn Sink> = vec![&mut abreast];
    sinks.extend(copy.map(|copy| copy as &mut dyn Sink));
    stream(first, &mut sinks, run)?;

    let id = ContentId::from(abreast.hasher.finalize());
    let mut ids = vec![id];
    for other in abreast.others {
        ids.push(match other.parted {
            None => other.source.check_unchanged().map(|()| id)?,
            Some(mut parted) => {
                stream_from(other.source, parted.at, &mut [&mut parted], run)?;
                parted.hasher.finalize().into()
            }
        });
    }
    Ok(ids)
}

/// Hashes one file while it streams by, and compares the others with it.
struct Abreast<'a> {
    hasher: blake3::Hasher,
    others: Vec<Other<'a>>,
    run: &'a Run<'a>,
}

/// A file that is the same as the first, as far as is known.
struct Other<'a> {
    source: &'a SourceFile,
    /// Set once it is not.
    parted: Option<Parted>,
    buffer: Vec<u8>,
}

/// The digest of a file on its own, up to `at`.
#[derive(Default)]
struct Parted {
    at: u64,
    hasher: blake3::Hasher,
}

/// What the first file holds where it is compared.
#[derive(Clone, Copy)]
enum Stretch<'a> {
    Bytes(&'a [u8]),
    Hole(u64),
}

impl Abreast<'_> {
    fn take(&mut self, offset: u64, stretch: Stretch<'_>) -> io::Result<()> {
        let Self {
            hasher,
            others,
            run,
        } = self;
        let before = hasher.clone();
        let ((), compared) = spare::both(
            || stretch.hash(hasher),
            || spare::each(others, |other| other.compare(offset, stretch, &before, run)),
        );
        compared.map_err(FsError::into_io)
    }
}

impl Sink for Abreast<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.take(offset, Stretch::Bytes(bytes))
    }

    fn hole(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.take(offset, Stretch::Hole(len))
    }
}

impl Stretch<'_> {
    fn len(self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Hole(len) => len,
        }
    }

    /// The first `len` bytes of it.
    fn up_to(self, len: u64) -> Self {
        match self {
            // No longer than bytes that are in memory.
            Self::Bytes(bytes) => Self::Bytes(&bytes[..len as usize]),
            Self::Hole(_) => Self::Hole(len),
        }
    }

    /// Tells whether `bytes` stand in it from `at` on.
    fn holds(self, at: u64, bytes: &[u8]) -> bool {
        match self {
            Self::Bytes(mine) => mine[at as usize..].starts_with(bytes),
            Self::Hole(_) => bytes
                .chunks(ZEROS.len())
                .all(|part| *part == ZEROS[..part.len()]),
        }
    }

    fn hash(self, hasher: &mut blake3::Hasher) {
        match self {
            Self::Bytes(bytes) => spare::update(hasher, bytes),
            Self::Hole(len) => spare::update_zeros(hasher, len),
        }
    }
}

impl<'a> Other<'a> {
    fn of(first: &SourceFile, source: &'a SourceFile) -> Self {
        let differs = first.opened().len != source.opened().len;
        Self {
            source,
            parted: differs.then(Parted::default),
            buffer: Vec::new(),
        }
    }

    /// Compares the stretch that begins at `offset`; `before` is the digest up to there.
    fn compare(
        &mut self,
        offset: u64,
        stretch: Stretch<'_>,
        before: &blake3::Hasher,
        run: &Run<'_>,
    ) -> Result<(), FsError> {
        let end = offset.saturating_add(stretch.len());
        let mut at = offset;
        while at < end && self.parted.is_none() {
            let (start, data_end) = match stretch {
                // A hole of this file reads as zeros.
                Stretch::Bytes(_) => (at, end),
                Stretch::Hole(_) => self.source.next_data(at, end)?,
            };
            run.meter.add_skipped(start - at);
            run.progress.advance(start - at);
            self.compare_data(start, data_end, (offset, stretch), before, run)?;
            at = data_end;
        }
        Ok(())
    }

    fn compare_data(
        &mut self,
        start: u64,
        end: u64,
        (offset, stretch): (u64, Stretch<'_>),
        before: &blake3::Hasher,
        run: &Run<'_>,
    ) -> Result<(), FsError> {
        for (at, len) in pieces(start, end, PIECE) {
            run.go_on()?;
            read_piece(&mut self.buffer, (at, len), self.source, run)?;
            run.progress.advance(len);
            if !stretch.holds(at - offset, &self.buffer) {
                let mut hasher = before.clone();
                stretch.up_to(at - offset).hash(&mut hasher);
                hasher.update(&self.buffer);
                let at = at.saturating_add(len);
                self.parted = Some(Parted { at, hasher });
                break;
            }
        }
        Ok(())
    }
}

impl Sink for Parted {
    fn data(&mut self, _: u64, bytes: &[u8]) -> io::Result<()> {
        Stretch::Bytes(bytes).hash(&mut self.hasher);
        Ok(())
    }

    fn hole(&mut self, _: u64, len: u64) -> io::Result<()> {
        Stretch::Hole(len).hash(&mut self.hasher);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
        sync::Arc,
    };

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        base::{IoMeter, Silent},
        fs::seam,
    };

    /// Bytes that do not repeat, with a stretch of zeros that may become a hole.
    fn bytes(len: usize, blank: std::ops::Range<usize>) -> Vec<u8> {
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
        let ids = stream_alike(&first, &others, None, &run);
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
}
