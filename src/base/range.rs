//! A stretch of a file.

use std::fmt;

/// Bytes `start..end` of a file; `start <= end` always.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// The `len` bytes from `start` on; `None` if they end beyond what a file can hold.
    #[must_use]
    pub const fn new(start: u64, len: u64) -> Option<Self> {
        match start.checked_add(len) {
            Some(end) => Some(Self { start, end }),
            None => None,
        }
    }

    /// The bytes from `start` up to, not including, `end`; `None` if they are the wrong way round.
    #[must_use]
    pub const fn between(start: u64, end: u64) -> Option<Self> {
        if start <= end {
            Some(Self { start, end })
        } else {
            None
        }
    }

    /// The first byte.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The byte after the last.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.end
    }

    /// How many bytes.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// Tells whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Tells whether some byte is in both.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Tells whether every byte of `other` is in `self`.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Returns the first two ranges that share a byte, if any do; sorts the slice.
    pub fn first_overlap(ranges: &mut [Self]) -> Option<(Self, Self)> {
        ranges.sort_unstable();
        let mut widest: Option<Self> = None;
        for &range in ranges.iter().filter(|range| !range.is_empty()) {
            match widest {
                Some(before) if before.overlaps(range) => return Some((before, range)),
                Some(before) if before.end >= range.end => {}
                _ => widest = Some(range),
            }
        }
        None
    }
}

impl fmt::Debug for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end)
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_beyond_the_last_offset_does_not_exist() {
        assert!(ByteRange::new(u64::MAX, 1).is_none());
        assert!(ByteRange::new(u64::MAX, 0).is_some());
        assert!(ByteRange::between(2, 1).is_none());
    }

    #[test]
    fn an_overlap_is_found_in_any_order_and_touching_is_none() {
        let r = |start, len| ByteRange::new(start, len).unwrap();
        assert_eq!(
            ByteRange::first_overlap(&mut [r(8, 4), r(0, 4), r(4, 4)]),
            None
        );
        assert!(ByteRange::first_overlap(&mut [r(8, 4), r(0, 9)]).is_some());
        assert!(ByteRange::first_overlap(&mut [r(0, 100), r(10, 1), r(50, 1)]).is_some());
        assert_eq!(ByteRange::first_overlap(&mut [r(5, 0), r(0, 10)]), None);
    }
}
