//! The identity of a disk, independent of where it was exported.

use crate::base::{ByteRange, CanonicalId, ContentId, Patch, Write};

/// The context under which canonical digests are made; it changes when a mask does, or the making.
const SCHEME: &str = "labpack canonical disk digest v2";

/// Which bytes of a disk a relocation may touch, and what they say that must count all the same.
///
/// The canonical digest is BLAKE3 over `kept`, and over BLAKE3 of the file with every masked byte as
/// zero: that comes with the file's own digest for next to nothing. Two exports of one disk have the
/// same, any other difference shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalForm {
    /// The masked bytes: sorted, apart from each other, none empty, inside the file.
    pub masks: Vec<ByteRange>,
    /// What the masked bytes say that a relocation may not change, such as ids.
    pub kept: Vec<u8>,
}

impl CanonicalForm {
    /// The form of a disk in which no byte may change.
    #[must_use]
    pub const fn exact() -> Self {
        Self {
            masks: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Returns the change that blanks the masked bytes.
    #[must_use]
    pub fn blanking(&self) -> Patch {
        Patch::single(self.masks.iter().copied().map(Write::zeros).collect())
    }

    /// Returns the canonical digest of a file that has this digest once it is blanked.
    #[must_use]
    pub fn id(&self, blanked: ContentId) -> CanonicalId {
        let mut hasher = blake3::Hasher::new_derive_key(SCHEME);
        hasher.update(blanked.as_bytes()).update(&self.kept);
        hasher.finalize().into()
    }

    /// Sets the masked bytes of `chunk`, which lies at `offset` of the file, to zero.
    pub fn mask(&self, offset: u64, chunk: &mut [u8]) {
        for (start, end) in self.masked(offset, chunk.len()) {
            if let Some(bytes) = chunk.get_mut(start..end) {
                bytes.fill(0);
            }
        }
    }

    /// Returns the masked stretches of a chunk of `len` bytes at `offset`, from its start.
    pub fn masked(&self, offset: u64, len: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let end = offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        let first = self.masks.partition_point(|mask| mask.end() <= offset);
        let rest = self.masks.get(first..).unwrap_or_default();
        rest.iter()
            .take_while(move |mask| mask.start() < end)
            .map(move |mask| {
                let within = |at: u64| {
                    usize::try_from(at.clamp(offset, end).saturating_sub(offset)).unwrap_or(len)
                };
                (within(mask.start()), within(mask.end()))
            })
    }
}

#[cfg(test)]
#[expect(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    reason = "a test knows its numbers"
)]
mod tests {
    use super::*;

    fn digest(form: &CanonicalForm, bytes: &[u8]) -> CanonicalId {
        let mut blanked = bytes.to_vec();
        form.blanking().apply(0, &mut blanked);
        for chunk in [1, 2, 5, 16, 39] {
            let mut pieced = bytes.to_vec();
            for (i, part) in pieced.chunks_mut(chunk).enumerate() {
                form.mask((i * chunk) as u64, part);
            }
            assert_eq!(pieced, blanked, "in chunks of {chunk}");
        }
        form.id(blake3::hash(&blanked).into())
    }

    #[test]
    fn the_digest_is_blind_to_masked_bytes_and_to_no_others() {
        let masks = vec![
            ByteRange::new(3, 4).unwrap(),
            ByteRange::new(20, 1).unwrap(),
        ];
        let form = CanonicalForm {
            masks,
            kept: vec![1],
        };
        let bytes: Vec<u8> = (1..40).collect();
        let plain = digest(&form, &bytes);
        for i in 0..bytes.len() {
            let mut other = bytes.clone();
            other[i] ^= 0x80;
            assert_eq!(
                digest(&form, &other) == plain,
                (3..7).contains(&i) || i == 20,
                "byte {i}"
            );
        }
        assert_ne!(
            digest(
                &CanonicalForm {
                    kept: vec![2],
                    ..form.clone()
                },
                &bytes
            ),
            plain
        );
    }
}
