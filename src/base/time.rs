//! A file's time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nanoseconds since 1970-01-01T00:00:00Z; before that, negative.
///
/// NTFS keeps 100 ns, so equality of times is asked through [`FileTime::same`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct FileTime(pub i64);

impl FileTime {
    /// Tells whether both are the same time to the 100 ns that every file system here keeps.
    #[must_use]
    pub const fn same(self, other: Self) -> bool {
        self.0.div_euclid(100) == other.0.div_euclid(100)
    }

    /// Returns whole seconds and the nanoseconds beyond them.
    #[must_use]
    pub const fn parts(self) -> (i64, u32) {
        // A remainder by a billion fits 32 bits.
        (
            self.0.div_euclid(1_000_000_000),
            self.0.rem_euclid(1_000_000_000) as u32,
        )
    }

    /// The time of whole seconds and nanoseconds; times beyond the year 2262 stop there.
    #[must_use]
    pub const fn from_parts(seconds: i64, nanos: u32) -> Self {
        Self(
            seconds
                .saturating_mul(1_000_000_000)
                .saturating_add(nanos as i64),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_split_into_parts_and_back() {
        for time in [0, 1, -1, 1_999_999_999, -1_000_000_001] {
            let (seconds, nanos) = FileTime(time).parts();
            assert_eq!(FileTime::from_parts(seconds, nanos), FileTime(time));
        }
        assert!(FileTime(199).same(FileTime(100)));
        assert!(!FileTime(200).same(FileTime(199)));
    }
}
