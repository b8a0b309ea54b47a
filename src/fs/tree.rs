//! The tree that BLAKE3 makes of a file, in segments that can be hashed in any order.

use blake3::{
    Hasher,
    hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root},
};

use crate::base::ContentId;

/// Files are cut at multiples of it. It is a power of two and no shorter than a chunk of BLAKE3,
/// so that each segment is a subtree; what a core reads, hashes and compares stays in its cache.
pub(super) const SEGMENT: u64 = 256 << 10;
const _: () = assert!(SEGMENT.is_power_of_two() && SEGMENT >= blake3::CHUNK_LEN as u64);

/// The digest of a segment: a chaining value, or of a file that has no other the root.
pub(super) type Subtree = ChainingValue;

/// Hashes the segment that begins at `at`, of a file of `len` bytes. It is not empty.
pub(super) fn subtree(at: u64, bytes: &[u8], len: u64) -> Subtree {
    let mut hasher = Hasher::new();
    if len <= SEGMENT {
        return hasher.update(bytes).finalize().into();
    }
    hasher
        .set_input_offset(at)
        .update(bytes)
        .finalize_non_root()
}

/// The digest of a file in the making.
///
/// Whether two subtrees meet in the root is known only at the end, so they are merged once what
/// follows them has come: no more are held than the length of the file has binary digits.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Whole subtrees from left to right, each larger than those after it but for the last two.
    subtrees: Vec<Subtree>,
    /// How many segments they hold.
    segments: u64,
}

impl Tree {
    /// Takes the digest of the next segment.
    pub(super) fn push(&mut self, segment: Subtree) {
        // One whole subtree for each binary digit of their number, as in section 5.1.2 of the
        // paper on BLAKE3.
        while self.subtrees.len() > self.segments.count_ones() as usize {
            self.merge();
        }
        self.subtrees.push(segment);
        self.segments += 1;
    }

    fn merge(&mut self) {
        if let (Some(right), Some(left)) = (self.subtrees.pop(), self.subtrees.pop()) {
            let merged = merge_subtrees_non_root(&left, &right, Mode::Hash);
            self.subtrees.push(merged);
        }
    }

    /// The digest of the file.
    pub(super) fn root(mut self) -> ContentId {
        while self.subtrees.len() > 2 {
            self.merge();
        }
        let root = match *self.subtrees {
            [] => blake3::hash(&[]),
            [whole, ..] if self.segments == 1 => whole.into(),
            [left, right, ..] => merge_subtrees_root(&left, &right, Mode::Hash),
            [_] => unreachable!("of two segments or more the last two subtrees are not merged"),
        };
        root.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_segments(bytes: &[u8]) -> ContentId {
        let mut tree = Tree::default();
        let segments = bytes.chunks(SEGMENT as usize);
        for (at, segment) in (0..).step_by(SEGMENT as usize).zip(segments) {
            tree.push(subtree(at, segment, bytes.len() as u64));
        }
        tree.root()
    }

    #[test]
    fn segments_give_the_digest_of_the_whole_at_every_bound_of_the_tree() {
        let mut bytes = vec![0; 18 * SEGMENT as usize];
        Hasher::new().finalize_xof().fill(&mut bytes);
        let chunks = [0, 1, 2, 3, 4, 7, 8, 9, 16, 17].map(|n| n * blake3::CHUNK_LEN);
        let segments = (1..=17).map(|n| n * SEGMENT as usize);
        for bound in chunks.into_iter().chain(segments) {
            let near = [-1025, -1024, -1023, -1, 0, 1, 63, 64, 65, 1023, 1024, 1025];
            for len in near.map(|off| bound.saturating_add_signed(off)) {
                let bytes = &bytes[..len];
                assert_eq!(in_segments(bytes), blake3::hash(bytes).into(), "{len}");
            }
        }
    }
}
