use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    base::{ByteRange, IoMeter, Silent, Write},
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
    let subjects = std::iter::once(&first).chain(&others).map(Subject::of);
    let told = read_abreast(subjects.collect(), &run);
    let ids = told.map(|told| told.into_iter().map(|digests| digests.content).collect());
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
    Ok(Subject::of(&source).into_sink(copy).read(&run)?.content)
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

#[test]
fn of_several_files_and_sinks_the_first_that_fails_ends_the_work_of_all() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let folder = tempfile::tempdir().unwrap();
    let (path, whole) = long_file(folder.path());
    let other = folder.path().join("other");
    write(&other, &whole, true);
    let meter = Arc::new(IoMeter::default());
    let run = Run {
        progress: &Silent,
        meter: &meter,
    };
    let sources = [&path, &other].map(|path| SourceFile::open(path, &meter).unwrap());
    // Each sink of each file refuses once, and each file is once not to be read.
    for failing in 0..6 {
        let mut copies = [(); 4].map(|()| Copy::up_to(usize::MAX));
        if let Some(copy) = copies.get_mut(failing) {
            copy.refuse_at = 10 << 20;
        }
        let watched = failing
            .checked_sub(4)
            .map(|nth| sources[nth].path().to_owned());
        let reads = AtomicUsize::new(0);
        let guard = seam::install_on_reads(move |step| {
            let is_bad = watched.as_deref() == Some(step.path);
            match is_bad && reads.fetch_add(1, Ordering::SeqCst) == 20 {
                true => Err(io::Error::other("a bad sector")),
                false => Ok(()),
            }
        });
        let mut rest = copies.iter_mut();
        let subjects = sources.iter().map(|source| {
            let sinks = rest.by_ref().take(2);
            sinks.fold(Subject::of(source), |subject, sink| subject.into_sink(sink))
        });
        let error = read_abreast(subjects.collect(), &run)
            .unwrap_err()
            .to_string();
        drop(guard);
        let expected = if failing < 4 {
            "copy or hash"
        } else {
            "cannot read"
        };
        let file = sources[if failing < 4 {
            failing / 2
        } else {
            failing - 4
        }]
        .path();
        assert!(error.contains(expected), "{failing}: {error}");
        assert!(
            error.contains(&*file.to_string_lossy()),
            "{failing}: {error}"
        );
        for copy in &copies {
            assert!(copy.bytes == whole[..copy.bytes.len()] && copy.bytes.len() < whole.len());
        }
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

/// A change: pieces of zeros or of other bytes, and another length.
fn patch(len: u64, new_len: Option<u64>, writes: &[(u64, u64, bool)]) -> Patch {
    let mut patch = Patch {
        stages: Vec::new(),
        new_len,
    };
    let len = patch.len_after(len);
    for &(at, size, zero) in writes {
        let at = at.min(len);
        let size = size.min(len - at);
        let write = match zero {
            true => Write::zeros(ByteRange::new(at, size).unwrap()),
            false => Write::bytes(at, vec![0xA5; size as usize]),
        };
        patch.stages.push(vec![write]);
    }
    patch
}

/// Reads files abreast, each for its forms and with a sink, and holds all that is told against
/// what the forms are when they are made.
fn check_forms(files: &[(Vec<u8>, Vec<Patch>)]) {
    let folder = tempfile::tempdir().unwrap();
    let meter = Arc::new(IoMeter::default());
    let run = Run {
        progress: &Silent,
        meter: &meter,
    };
    let mut sources = Vec::new();
    for (nth, (bytes, _)) in files.iter().enumerate() {
        let path = folder.path().join(nth.to_string());
        write(&path, bytes, true);
        sources.push(SourceFile::open(&path, &meter).unwrap());
    }
    let mut copies: Vec<_> = files
        .iter()
        .map(|_| [usize::MAX; 2].map(Copy::up_to))
        .collect();
    let mut subjects = Vec::new();
    for ((source, copies), (_, forms)) in sources.iter().zip(&mut copies).zip(files) {
        let mut subject = forms.iter().fold(Subject::of(source), Subject::form);
        for copy in copies {
            subject = subject.into_sink(copy);
        }
        subjects.push(subject);
    }
    let told = read_abreast(subjects, &run).unwrap();
    assert_eq!(told.len(), files.len());
    for (((bytes, forms), digests), copies) in files.iter().zip(told).zip(copies) {
        assert_eq!(digests.content, blake3::hash(bytes).into());
        let made = forms.iter().map(|patch| {
            let mut made = bytes.clone();
            patch.apply_to_vec(&mut made).unwrap();
            ContentId::from(blake3::hash(&made))
        });
        assert_eq!(digests.forms, made.collect::<Vec<_>>());
        assert!(copies.iter().all(|copy| copy.bytes == *bytes));
    }
    let read: usize = files.iter().map(|(bytes, _)| bytes.len()).sum();
    let totals = meter.totals();
    assert_eq!(totals.read + totals.skipped, read as u64, "each byte once");
}

#[test]
fn forms_that_cross_bounds_of_the_tree_have_the_digest_of_what_they_would_be() {
    let bounds = [
        0,
        1,
        SEGMENT - 1,
        SEGMENT,
        SEGMENT + 1,
        2 * SEGMENT,
        3 * SEGMENT + 5,
    ];
    for len in bounds {
        let whole = bytes(len as usize, 0..0);
        let longer = bounds.map(|new_len| patch(len, Some(new_len), &[]));
        let written = bounds.map(|at| patch(len, None, &[(at, 3, false)]));
        let both = bounds.map(|new_len| patch(len, Some(new_len), &[(new_len / 2, 9, false)]));
        check_forms(&[(whole, [longer, written, both].concat())]);
    }
}

#[test]
fn long_files_abreast_have_each_its_own_forms_and_sinks() {
    let whole = bytes(10 << 20, 3 << 20..5 << 20);
    let mut other = whole.clone();
    other[4 << 20] ^= 1;
    let len = whole.len() as u64;
    let forms = |at| {
        vec![
            Patch::default(),
            patch(len, None, &[(at, 700_000, true), (at + 5, 9, false)]),
            patch(len, Some(len + 1_000_000), &[(len + 10, 9, false)]),
        ]
    };
    check_forms(&[
        (whole.clone(), forms(100)),
        (other, forms(4_000_000)),
        (whole[..300].to_vec(), Vec::new()),
        (whole, forms(100)),
    ]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn each_form_has_the_digest_of_the_file_that_it_would_be(
        len in 0..700_000_usize,
        blank in (0..600_000_usize, 0..400_000_usize),
        forms in vec(
            (
                proptest::option::of(0..900_000_u64),
                vec((0..800_000_u64, 0..90_000_u64, any::<bool>()), 0..4),
            ),
            0..4,
        ),
        differs in any::<proptest::sample::Index>(),
    ) {
        let whole = bytes(len, blank.0..blank.0 + blank.1);
        let forms: Vec<_> = forms
            .iter()
            .map(|(new_len, writes)| patch(len as u64, *new_len, writes))
            .collect();
        let mut other = whole.clone();
        if len > 0 {
            other[differs.index(len)] ^= 0x55;
        }
        check_forms(&[(whole, forms.clone()), (other, forms)]);
    }
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
