//! What takes a file's bytes while it is read: a copy, or what keeps the bytes under a mask.

use std::io;

use crate::{base::is_blank, formats::CanonicalForm};

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
    use crate::base::ByteRange;

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
}
