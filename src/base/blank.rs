//! Zeros, which are most of what a new disk holds.

static BLANK: [u8; 4096] = [0; 4096];

/// Tells whether bytes are nothing but zeros.
#[must_use]
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    // Slices are compared many bytes at a time.
    bytes
        .chunks(BLANK.len())
        .all(|part| *part == BLANK[..part.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_anywhere_is_not_blank() {
        assert!(is_blank(&[]));
        for len in [1, 511, 4096, 4097, 10_000] {
            let mut bytes = vec![0; len];
            assert!(is_blank(&bytes));
            for at in [0, len / 2, len - 1] {
                bytes[at] = 1;
                assert!(!is_blank(&bytes), "{at} of {len}");
                bytes[at] = 0;
            }
        }
    }
}
