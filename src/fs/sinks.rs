//! What is made of a file's bytes while they stream by: digests, and the bytes under a mask.

use std::io;

use super::{
    spare,
    stream::{Sink, pieces},
};
use crate::{
    base::{CanonicalId, ContentId, Patch, is_blank},
    formats::CanonicalForm,
};

const ZEROS_LEN: u64 = 64 << 10;
/// Zeros to stand for holes.
pub(super) static ZEROS: [u8; ZEROS_LEN as usize] = [0; ZEROS_LEN as usize];

/// The first `len` of [`ZEROS`]; all of them where there are fewer.
pub(super) fn zeros(len: u64) -> &'static [u8] {
    usize::try_from(len)
        .ok()
        .and_then(|len| ZEROS.get(..len))
        .unwrap_or(&ZEROS)
}

/// BLAKE3 of the bytes.
#[derive(Debug, Default)]
pub struct ContentHasher(blake3::Hasher);

impl ContentHasher {
    /// Begins with no bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The digest of what streamed by.
    #[must_use]
    pub fn finish(self) -> ContentId {
        self.0.finalize().into()
    }
}

impl Sink for ContentHasher {
    fn data(&mut self, _: u64, bytes: &[u8]) -> io::Result<()> {
        spare::update(&mut self.0, bytes);
        Ok(())
    }

    fn hole(&mut self, _: u64, len: u64) -> io::Result<()> {
        spare::update_zeros(&mut self.0, len);
        Ok(())
    }
}

/// BLAKE3 of the bytes as they are once a patch is carried out, its new length included.
#[derive(Debug)]
pub struct PatchedHasher<'a> {
    patch: &'a Patch,
    /// The file's length afterwards.
    len: u64,
    /// Up to where the digest is.
    at: u64,
    hasher: blake3::Hasher,
    scratch: Vec<u8>,
}

impl<'a> PatchedHasher<'a> {
    /// Begins the digest of a source of `source_len` bytes under `patch`.
    #[must_use]
    pub fn new(patch: &'a Patch, source_len: u64) -> Self {
        Self {
            patch,
            len: patch.len_after(source_len),
            at: 0,
            hasher: blake3::Hasher::new(),
            scratch: Vec::new(),
        }
    }

    /// The digest of the patched bytes; beyond what streamed by the file is zero, or the patch's.
    #[must_use]
    pub fn finish(mut self) -> ContentId {
        self.blank(self.at, self.len);
        self.hasher.finalize().into()
    }

    /// Tells whether the patch changes a byte of `start..end`.
    fn touches(&self, start: u64, end: u64) -> bool {
        self.patch
            .writes()
            .any(|write| write.offset < end && start < write.offset.saturating_add(write.len()))
    }

    fn patched(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset.saturating_add(bytes.len() as u64);
        if !self.touches(offset, end) {
            spare::update(&mut self.hasher, bytes);
            return;
        }
        // A copy of the whole chunk, for each file made of one RefDisk, would be much.
        for (at, bytes) in (offset..)
            .step_by(ZEROS.len())
            .zip(bytes.chunks(ZEROS.len()))
        {
            self.scratch.clear();
            self.scratch.extend_from_slice(bytes);
            self.patch.apply(at, &mut self.scratch);
            self.hasher.update(&self.scratch);
        }
    }

    /// `start..end` of the source is zero.
    fn blank(&mut self, start: u64, end: u64) {
        let end = end.min(self.len);
        if self.touches(start, end) {
            for (at, len) in pieces(start, end, ZEROS_LEN) {
                self.patched(at, zeros(len));
            }
        } else {
            spare::update_zeros(&mut self.hasher, end.saturating_sub(start));
        }
        self.at = self.at.max(end);
    }
}

impl Sink for PatchedHasher<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let room = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let bytes = bytes.get(..room).unwrap_or(bytes);
        self.patched(offset, bytes);
        self.at = self
            .at
            .max(offset.saturating_add(bytes.len() as u64).min(self.len));
        Ok(())
    }

    fn hole(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.blank(offset, offset.saturating_add(len));
        Ok(())
    }
}

/// The canonical digest.
#[derive(Debug)]
pub struct CanonicalHasher<'a> {
    form: &'a CanonicalForm,
    hasher: blake3::Hasher,
}

impl<'a> CanonicalHasher<'a> {
    /// Begins the digest of a disk of this form.
    #[must_use]
    pub fn new(form: &'a CanonicalForm) -> Self {
        Self {
            form,
            hasher: form.hasher(),
        }
    }

    /// The digest of what streamed by.
    #[must_use]
    pub fn finish(self) -> CanonicalId {
        CanonicalForm::finish(&self.hasher)
    }
}

impl Sink for CanonicalHasher<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut rest = 0;
        for (start, end) in self.form.masked(offset, bytes.len()) {
            spare::update(&mut self.hasher, &bytes[rest..start]);
            spare::update_zeros(&mut self.hasher, (end - start) as u64);
            rest = end;
        }
        spare::update(&mut self.hasher, &bytes[rest..]);
        Ok(())
    }

    fn hole(&mut self, _: u64, len: u64) -> io::Result<()> {
        spare::update_zeros(&mut self.hasher, len);
        Ok(())
    }
}

/// The unit in which masked bytes are kept or dropped.
const PIECE: u64 = 512;

/// Keeps the masked bytes of a disk, so that they can be put back over zeros.
///
/// The file is cut at multiples of 512 bytes. The masked part of a piece is kept if some byte of
/// it is not zero; beyond `limit` bytes in all the capture gives up. What comes out is sorted and
/// does not depend on how the bytes streamed by.
#[derive(Debug)]
pub struct MaskCapture<'a> {
    form: &'a CanonicalForm,
    limit: usize,
    kept: Vec<(u64, Vec<u8>)>,
    kept_bytes: usize,
    /// Masked bytes of one piece, which may not be complete yet.
    open: (u64, Vec<u8>),
    gave_up: bool,
}

impl<'a> MaskCapture<'a> {
    /// Keeps what the masks of `form` cover, up to `limit` bytes.
    #[must_use]
    pub fn new(form: &'a CanonicalForm, limit: usize) -> Self {
        Self {
            form,
            limit,
            kept: Vec::new(),
            kept_bytes: 0,
            open: (0, Vec::new()),
            gave_up: false,
        }
    }

    /// The masked bytes, as runs (offset and bytes) sorted by offset; zeros between them. `None`
    /// if there were too many.
    #[must_use]
    pub fn finish(mut self) -> Option<Vec<(u64, Vec<u8>)>> {
        self.close();
        (!self.gave_up).then_some(self.kept)
    }

    /// Takes masked bytes that lie in one piece.
    fn take(&mut self, at: u64, bytes: &[u8]) {
        let open_end = self.open.0.saturating_add(self.open.1.len() as u64);
        if open_end != at || at.is_multiple_of(PIECE) {
            self.close();
            self.open.0 = at;
        }
        self.open.1.extend_from_slice(bytes);
    }

    /// Keeps or drops the open piece.
    fn close(&mut self) {
        let at = self.open.0;
        let bytes = std::mem::take(&mut self.open.1);
        if self.gave_up || is_blank(&bytes) {
            return;
        }
        self.kept_bytes = self.kept_bytes.saturating_add(bytes.len());
        if self.kept_bytes > self.limit {
            self.gave_up = true;
            self.kept = Vec::new();
            return;
        }
        match self.kept.last_mut() {
            Some((start, run)) if start.saturating_add(run.len() as u64) == at => run.extend(bytes),
            _ => self.kept.push((at, bytes)),
        }
    }

    /// The masked stretches of `offset..offset + len`.
    fn stretches(&self, offset: u64, len: u64) -> Vec<(u64, u64)> {
        if self.gave_up {
            return Vec::new();
        }
        let end = offset.saturating_add(len);
        let first = self.form.masks.partition_point(|mask| mask.end() <= offset);
        self.form.masks[first..]
            .iter()
            .take_while(|mask| mask.start() < end)
            .map(|mask| (mask.start().max(offset), mask.end().min(end)))
            .collect()
    }
}

impl Sink for MaskCapture<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        for (start, end) in self.stretches(offset, bytes.len() as u64) {
            for (at, len) in pieces(start, end, PIECE) {
                // Both lie within `bytes`, whose length is a usize.
                let (from, len) = ((at - offset) as usize, len as usize);
                self.take(at, &bytes[from..from + len]);
            }
        }
        Ok(())
    }

    fn hole(&mut self, offset: u64, len: u64) -> io::Result<()> {
        for (start, end) in self.stretches(offset, len) {
            for (at, len) in pieces(start, end, PIECE) {
                // A whole piece of zeros is dropped in any case.
                if len < PIECE {
                    self.take(at, zeros(len));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::base::{ByteRange, Write};

    /// Feeds `bytes` in pieces of the given lengths; pieces of nothing but zeros as holes.
    fn feed(bytes: &[u8], cuts: &[usize], sink: &mut dyn Sink) {
        let (mut at, mut cuts) = (0, cuts.iter().cycle());
        while at < bytes.len() {
            let len = (*cuts.next().unwrap()).min(bytes.len() - at);
            let chunk = &bytes[at..at + len];
            if chunk.iter().all(|&b| b == 0) {
                sink.hole(at as u64, len as u64).unwrap();
            } else {
                sink.data(at as u64, chunk).unwrap();
            }
            at += len;
        }
    }

    /// Bytes with stretches of zeros in them.
    fn file() -> impl Strategy<Value = Vec<u8>> {
        vec((0..3_u8, 1..900_usize), 0..12).prop_map(|runs| {
            let mut next = 0_u8;
            let mut bytes = Vec::new();
            for (kind, len) in runs {
                bytes.extend((0..len).map(|_| {
                    next = next.wrapping_mul(5).wrapping_add(7);
                    if kind == 0 { 0 } else { next }
                }));
            }
            bytes
        })
    }

    fn cuts() -> impl Strategy<Value = Vec<usize>> {
        vec(1..700_usize, 1..6)
    }

    fn form() -> impl Strategy<Value = CanonicalForm> {
        vec((0..600_u64, 1..900_u64), 0..5).prop_map(|gaps| {
            let mut at = 0;
            let mut masks = Vec::new();
            for (gap, len) in gaps {
                masks.push(ByteRange::new(at + gap + 1, len).unwrap());
                at += gap + 1 + len;
            }
            CanonicalForm {
                masks,
                kept: b"ids".to_vec(),
            }
        })
    }

    fn within(form: CanonicalForm, len: usize) -> CanonicalForm {
        let inside = |mask: &ByteRange| {
            ByteRange::between(mask.start(), mask.end().min(len as u64)).filter(|m| !m.is_empty())
        };
        CanonicalForm {
            masks: form.masks.iter().filter_map(inside).collect(),
            ..form
        }
    }

    proptest! {
        #[test]
        fn the_content_digest_does_not_depend_on_chunks_and_holes(bytes in file(), cuts in cuts()) {
            let mut hasher = ContentHasher::new();
            feed(&bytes, &cuts, &mut hasher);
            prop_assert_eq!(hasher.finish(), ContentId::from(blake3::hash(&bytes)));
        }

        #[test]
        fn the_patched_digest_is_that_of_the_patched_file(
            bytes in file(),
            cuts in cuts(),
            new_len in proptest::option::of(0..200_000_u64),
            writes in vec((0..9000_u64, 0..700_u64, any::<bool>()), 0..5),
        ) {
            let mut patch = Patch { stages: vec![Vec::new()], new_len };
            let len = patch.len_after(bytes.len() as u64);
            for (at, size, zero) in writes {
                let at = at.min(len);
                let size = size.min(len - at);
                let write = if zero {
                    Write::zeros(ByteRange::new(at, size).unwrap())
                } else {
                    Write::bytes(at, vec![0xA5; size as usize])
                };
                patch.stages.push(vec![write]);
            }
            let mut whole = bytes.clone();
            patch.apply_to_vec(&mut whole).unwrap();
            let mut hasher = PatchedHasher::new(&patch, bytes.len() as u64);
            feed(&bytes, &cuts, &mut hasher);
            prop_assert_eq!(hasher.finish(), ContentId::from(blake3::hash(&whole)));
        }

        #[test]
        fn the_canonical_digest_does_not_depend_on_chunks_and_holes(
            bytes in file(), cuts in cuts(), form in form(),
        ) {
            let mut masked = bytes.clone();
            form.mask(0, &mut masked);
            let mut whole = form.hasher();
            whole.update(&masked);
            let mut hasher = CanonicalHasher::new(&form);
            feed(&bytes, &cuts, &mut hasher);
            prop_assert_eq!(hasher.finish(), CanonicalForm::finish(&whole));
        }

        #[test]
        fn captured_bytes_put_back_over_a_masked_file_give_the_file(
            bytes in file(), cuts in cuts(), form in form(),
        ) {
            let form = within(form, bytes.len());
            let mut capture = MaskCapture::new(&form, usize::MAX);
            feed(&bytes, &cuts, &mut capture);
            let kept = capture.finish().unwrap();
            let mut whole = MaskCapture::new(&form, usize::MAX);
            whole.data(0, &bytes).unwrap();
            prop_assert_eq!(&whole.finish().unwrap(), &kept);
            let mut back = bytes.clone();
            form.mask(0, &mut back);
            for (at, run) in kept {
                back[at as usize..][..run.len()].copy_from_slice(&run);
            }
            prop_assert_eq!(back, bytes);
        }
    }

    #[test]
    fn a_capture_gives_up_beyond_its_limit_and_zeros_do_not_count() {
        let form = CanonicalForm {
            masks: vec![ByteRange::new(0, 4096).unwrap()],
            kept: Vec::new(),
        };
        let mut bytes = vec![0; 4096];
        bytes[600] = 1;
        bytes[1030] = 2;
        let captured = |limit| {
            let mut capture = MaskCapture::new(&form, limit);
            capture.data(0, &bytes).unwrap();
            capture.finish()
        };
        assert_eq!(captured(1024).unwrap(), [(512, bytes[512..1536].to_vec())]);
        assert_eq!(captured(1023), None);
    }

    #[test]
    fn growing_a_small_file_by_a_patch_hashes_zeros_for_what_nobody_wrote() {
        let patch = Patch {
            stages: vec![vec![Write::bytes(200_000, [7; 3])]],
            new_len: Some(300_000),
        };
        let mut whole = b"abc".to_vec();
        patch.apply_to_vec(&mut whole).unwrap();
        let mut hasher = PatchedHasher::new(&patch, 3);
        hasher.data(0, b"abc").unwrap();
        assert_eq!(hasher.finish(), ContentId::from(blake3::hash(&whole)));
    }
}
