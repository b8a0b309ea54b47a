//! The identity of a disk, independent of where it was exported.

use crate::base::{ByteRange, CanonicalId};

/// The context under which canonical digests are made; it changes when a mask does.
const SCHEME: &str = "labpack canonical disk digest v1";

/// Which bytes of a disk a relocation may touch, and what they say that must count all the same.
///
/// The canonical digest is BLAKE3 over the file with every masked byte as zero, and over
/// `kept`. Two exports of one disk have the same, any other difference shows.
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

    /// Starts the digest: feed it the file with masked bytes as zero, then [`Self::finish`].
    #[must_use]
    pub fn hasher(&self) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_derive_key(SCHEME);
        hasher.update(
            &u64::try_from(self.kept.len())
                .unwrap_or(u64::MAX)
                .to_le_bytes(),
        );
        hasher.update(&self.kept);
        hasher
    }

    /// Ends the digest.
    #[must_use]
    pub fn finish(hasher: &blake3::Hasher) -> CanonicalId {
        CanonicalId::from(hasher.finalize())
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

    fn digest(form: &CanonicalForm, bytes: &[u8], chunk: usize) -> CanonicalId {
        let mut hasher = form.hasher();
        for (i, part) in bytes.chunks(chunk).enumerate() {
            let mut part = part.to_vec();
            form.mask((i * chunk) as u64, &mut part);
            hasher.update(&part);
        }
        CanonicalForm::finish(&hasher)
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
        let plain = digest(&form, &bytes, 39);
        for chunk in [1, 2, 5, 16] {
            assert_eq!(digest(&form, &bytes, chunk), plain, "in chunks of {chunk}");
        }
        for i in 0..bytes.len() {
            let mut other = bytes.clone();
            other[i] ^= 0x80;
            assert_eq!(
                digest(&form, &other, 7) == plain,
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
                &bytes,
                7
            ),
            plain
        );
    }
}
