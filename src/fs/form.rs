//! What a file would be after a change: its digest comes for next to nothing with that of the file.

use std::ops::Range;

use super::{
    FsError,
    sinks::pieces,
    tree::{SEGMENT, Subtree, Tree, subtree},
};
use crate::base::{ContentId, Patch, Run};

/// A file as it would be after a change.
///
/// Only segments in which something is written are hashed for it; the others are those of the
/// file. A disk in the middle of a chain is asked for half a dozen such forms, and most of each is
/// the same.
#[derive(Debug)]
pub(super) struct Form<'a> {
    patch: &'a Patch,
    /// Where something is written: sorted, apart from each other, none empty.
    touched: Vec<Range<u64>>,
    /// How long the file is, and would be.
    source_len: u64,
    len: u64,
    tree: Tree,
}

impl<'a> Form<'a> {
    /// Begins with nothing of a file of `source_len` bytes.
    pub(super) fn new(patch: &'a Patch, source_len: u64) -> Self {
        Self {
            patch,
            touched: touched(patch),
            source_len,
            len: patch.len_after(source_len),
            tree: Tree::default(),
        }
    }

    /// The digest of the segment that begins where this one of the file does. `own` is the
    /// file's; room for bytes is in `scratch`. Beyond the end of the form there is none, and what
    /// is returned means nothing.
    pub(super) fn segment(
        &self,
        at: &Range<u64>,
        bytes: &[u8],
        own: Subtree,
        scratch: &mut Vec<u8>,
    ) -> Subtree {
        if at.start >= self.len {
            return own;
        }
        let end = at.start.saturating_add(SEGMENT).min(self.len);
        let both_or_neither_is_root = (self.len <= SEGMENT) == (self.source_len <= SEGMENT);
        if end == at.end && both_or_neither_is_root && !self.touches(at) {
            return own;
        }
        scratch.clear();
        scratch.extend_from_slice(bytes);
        self.patched(at.start..end, scratch)
    }

    /// Takes the digest of the segment that begins at `at`, unless it is beyond the end.
    pub(super) fn push(&mut self, at: u64, segment: Subtree) {
        if at < self.len {
            self.tree.push(segment);
        }
    }

    /// The digest of the form; what it has beyond the file is zero, or the patch's.
    pub(super) fn finish(mut self, run: &Run<'_>) -> Result<ContentId, FsError> {
        let mut scratch = Vec::new();
        let beyond = self.source_len.next_multiple_of(SEGMENT);
        for (at, len) in pieces(beyond, self.len, SEGMENT) {
            run.go_on()?;
            scratch.clear();
            let segment = self.patched(at..at + len, &mut scratch);
            self.tree.push(segment);
        }
        Ok(self.tree.root())
    }

    /// Hashes a segment of the form, of which the file has the bytes in `scratch`.
    fn patched(&self, at: Range<u64>, scratch: &mut Vec<u8>) -> Subtree {
        // A segment is no longer than memory.
        scratch.resize((at.end - at.start) as usize, 0);
        self.patch.apply(at.start, scratch);
        subtree(at.start, scratch, self.len)
    }

    fn touches(&self, at: &Range<u64>) -> bool {
        let next = self
            .touched
            .partition_point(|touched| touched.end <= at.start);
        self.touched
            .get(next)
            .is_some_and(|next| next.start < at.end)
    }
}

fn touched(patch: &Patch) -> Vec<Range<u64>> {
    let written = patch.writes().filter(|write| !write.is_empty());
    let mut written: Vec<_> = written
        .map(|write| write.offset..write.offset.saturating_add(write.len()))
        .collect();
    written.sort_unstable_by_key(|range| range.start);
    written.dedup_by(|next, before| {
        let meet = next.start <= before.end;
        if meet {
            before.end = before.end.max(next.end);
        }
        meet
    });
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ByteRange, Write};

    #[test]
    fn what_is_written_is_known_by_its_bounds() {
        let zeros = |start, len| Write::zeros(ByteRange::new(start, len).unwrap());
        let patch = Patch {
            stages: vec![
                vec![zeros(50, 10), Write::bytes(10, [1; 5])],
                vec![zeros(15, 2), zeros(12, 1), zeros(30, 0), zeros(58, 7)],
            ],
            new_len: None,
        };
        assert_eq!(touched(&patch), [10..17, 50..65]);
        let form = Form::new(&patch, 100);
        let touches = |start, end| form.touches(&(start..end));
        assert!(touches(0, 11) && touches(16, 17) && touches(12, 13) && touches(0, 100));
        assert!(touches(64, 100) && touches(17, 51));
        assert!(!touches(0, 10) && !touches(17, 50) && !touches(65, 100));
    }
}
