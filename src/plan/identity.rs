//! Which files are one disk, and in which bytes they differ all the same.

use crate::{
    base::{ByteRange, CanonicalId, ContentId, Patch, is_blank},
    manifest::{Residue, Run},
};

/// What reading a file once told about it.
#[derive(Debug, Clone)]
pub struct Digest {
    /// BLAKE3 of its bytes.
    pub content: ContentId,
    /// What more was asked of a disk with a parent that others depend on: a relocation may touch
    /// bytes in it.
    pub identity: Option<Box<Identity>>,
}

impl Digest {
    /// Of a file of which nothing more was asked.
    #[must_use]
    pub const fn of(content: ContentId) -> Self {
        Self {
            content,
            identity: None,
        }
    }
}

/// What makes two exports of one disk the same.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Digest without what a relocation may touch.
    pub canonical: CanonicalId,
    /// What a relocation may touch.
    pub masked: Masked,
    /// What it becomes in the store.
    pub store_form: StoreForm,
}

/// A mid-chain disk as it will be in the store.
#[derive(Debug, Clone)]
pub struct StoreForm {
    /// The name of its parent's file there, which stands in it.
    pub parent: String,
    /// BLAKE3 of it.
    pub id: ContentId,
    /// The change that makes it.
    pub patch: Patch,
}

/// The masked bytes of one file: where they are, and those that are not zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Masked {
    /// The masked stretches: sorted, apart from each other.
    pub ranges: Vec<ByteRange>,
    /// Pieces inside them that hold something: sorted, apart from each other.
    pub pieces: Vec<(u64, Vec<u8>)>,
}

impl Masked {
    /// Returns the masked bytes of a file as a patch leaves them, which changes no others. Bytes
    /// that it does not write stay what they are.
    #[must_use]
    pub fn after(&self, patch: &Patch) -> Self {
        let mut pieces = Vec::new();
        let mut window = [0; WINDOW as usize];
        for (offset, len) in self.ranges.iter().flat_map(|&range| windows(range)) {
            let window = &mut window[..len];
            window.fill(0);
            self.fill(offset, window);
            patch.apply(offset, window);
            if !is_blank(window) {
                pieces.push((offset, window.to_vec()));
            }
        }
        let ranges = self.ranges.clone();
        Self { ranges, pieces }
    }

    /// Copies the masked bytes that lie in the window at `offset` over `window`.
    fn fill(&self, offset: u64, window: &mut [u8]) {
        let end = offset + window.len() as u64;
        let first = self
            .pieces
            .partition_point(|(at, bytes)| at + bytes.len() as u64 <= offset);
        for (at, bytes) in self.pieces[first..].iter().take_while(|(at, _)| *at < end) {
            let from = (*at).max(offset);
            let to = (at + bytes.len() as u64).min(end);
            window[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&bytes[(from - at) as usize..(to - at) as usize]);
        }
    }
}

/// Returns `ranges`, which are sorted, with those joined that overlap or touch.
fn merge(ranges: &[ByteRange]) -> Vec<ByteRange> {
    let mut merged: Vec<ByteRange> = Vec::new();
    for &range in ranges {
        match merged.last_mut() {
            Some(last) if range.start() <= last.end() => {
                let end = last.end().max(range.end());
                *last = ByteRange::between(last.start(), end).expect("end is not before the start");
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// How many bytes are compared at once.
const WINDOW: u64 = 4096;

/// Cuts a range into windows: offset and length.
fn windows(range: ByteRange) -> impl Iterator<Item = (u64, usize)> {
    let step = usize::try_from(WINDOW).unwrap_or(usize::MAX);
    let offsets = (range.start()..range.end()).step_by(step);
    offsets.map(move |offset| (offset, (range.end() - offset).min(WINDOW) as usize))
}

/// Returns what to lay over `stored` to get `file`, two files of one canonical digest: they
/// differ in masked bytes alone, and what only one of them masks is zero in the other.
#[must_use]
pub fn residue(file: &Masked, stored: &Masked) -> Residue {
    let mut ranges = [file.ranges.as_slice(), &stored.ranges].concat();
    ranges.sort_unstable();
    let mut runs: Vec<Run> = Vec::new();
    let (mut ours, mut theirs) = ([0; WINDOW as usize], [0; WINDOW as usize]);
    for (offset, len) in merge(&ranges).into_iter().flat_map(windows) {
        let (ours, theirs) = (&mut ours[..len], &mut theirs[..len]);
        ours.fill(0);
        theirs.fill(0);
        file.fill(offset, ours);
        stored.fill(offset, theirs);
        if ours != theirs {
            push_difference(&mut runs, offset, ours, theirs);
        }
    }
    Residue(runs)
}

/// Differences nearer than this go into one run: a run of its own costs more in the manifest.
const JOIN: usize = 32;

fn push_difference(runs: &mut Vec<Run>, offset: u64, ours: &[u8], theirs: &[u8]) {
    let mut at = 0;
    while let Some(start) = (at..ours.len()).find(|&i| ours[i] != theirs[i]) {
        let mut end = start + 1;
        let mut ahead = end;
        while ahead < ours.len() && ahead - end < JOIN {
            ahead += 1;
            if ours[ahead - 1] != theirs[ahead - 1] {
                end = ahead;
            }
        }
        let at_offset = offset + start as u64;
        match runs.last_mut() {
            Some(run) if run.offset + run.bytes.len() as u64 == at_offset => {
                run.bytes.extend_from_slice(&ours[start..end]);
            }
            _ => runs.push(Run {
                offset: at_offset,
                bytes: ours[start..end].to_vec(),
            }),
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Write;
    use proptest::prelude::*;

    fn masked_of(bytes: &[u8], ranges: &[(u64, u64)]) -> Masked {
        let ranges: Vec<_> = ranges
            .iter()
            .map(|&(start, len)| ByteRange::new(start, len).unwrap())
            .collect();
        let pieces = ranges.iter().map(|r| {
            (
                r.start(),
                bytes[r.start() as usize..r.end() as usize].to_vec(),
            )
        });
        Masked {
            pieces: pieces.collect(),
            ranges,
        }
    }

    fn lay(residue: &Residue, bytes: &mut [u8]) {
        for run in &residue.0 {
            bytes[run.offset as usize..][..run.bytes.len()].copy_from_slice(&run.bytes);
        }
    }

    proptest! {
        #[test]
        fn a_file_comes_back_from_its_refdisk_and_its_residue(
            common in proptest::collection::vec(1_u8.., 12_000),
            ours in proptest::collection::vec(0_u8..4, 9_000),
            theirs in proptest::collection::vec(0_u8..4, 9_000),
        ) {
            // Each file masks a stretch of its own; what only one masks is zero in the other.
            let (mine, other) = ([(100, 8_000), (10_000, 100)], [(2_000, 7_000), (10_050, 100)]);
            let mut file = common.clone();
            for (start, len) in mine.iter().chain(&other) {
                file[*start..start + len].fill(0);
            }
            let mut stored = file.clone();
            for (start, len) in mine {
                file[start..start + len].copy_from_slice(&ours[..len]);
            }
            for (start, len) in other {
                stored[start..start + len].copy_from_slice(&theirs[..len]);
            }
            let as_ranges = |list: [(usize, usize); 2]| list.map(|(s, l)| (s as u64, l as u64));
            let found = residue(&masked_of(&file, &as_ranges(mine)), &masked_of(&stored, &as_ranges(other)));
            let mut rebuilt = stored;
            lay(&found, &mut rebuilt);
            prop_assert_eq!(rebuilt, file);
            prop_assert!(found.0.windows(2).all(|w| w[0].offset + (w[0].bytes.len() as u64) < w[1].offset + 1));
        }
    }

    #[test]
    fn equal_files_leave_no_residue() {
        let bytes = vec![7; 5000];
        let masked = masked_of(&bytes, &[(10, 4990)]);
        assert!(residue(&masked, &masked).is_empty());
    }

    #[test]
    fn masked_bytes_after_a_patch_are_those_it_writes_and_those_it_leaves() {
        let mut bytes: Vec<u8> = (0..=99).collect();
        let before = masked_of(&bytes, &[(0, 40), (50, 30)]);
        let patch = Patch::single(vec![
            Write::zeros(ByteRange::new(0, 20).unwrap()),
            Write::bytes(10, [1, 2, 3]),
            Write::bytes(60, [9]),
        ]);
        patch.apply(0, &mut bytes);
        let after = before.after(&patch);
        assert!(residue(&masked_of(&bytes, &[(0, 40), (50, 30)]), &after).is_empty());
        assert_eq!(after.ranges, before.ranges);
    }
}
