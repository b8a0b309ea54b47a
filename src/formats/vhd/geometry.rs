//! The geometry that a footer carries for BIOSes. Nothing is ever computed from it.

use super::SECTOR;

/// Cylinders, heads and sectors per track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) cylinders: u16,
    pub(super) heads: u8,
    pub(super) sectors_per_track: u8,
}

/// The most sectors that a geometry can tell of.
const MOST_SECTORS: u64 = 65_535 * 16 * 255;

impl Geometry {
    /// The geometry of a disk of `size` bytes, by the algorithm of the specification's appendix.
    /// Usually a little smaller than the disk.
    pub(super) fn of(size: u64) -> Self {
        let total = (size / SECTOR).min(MOST_SECTORS);
        let (sectors, heads) = if total >= 65_535 * 16 * 63 {
            (255, 16)
        } else {
            small(total)
        };
        let cylinders = total.div_euclid(sectors).div_euclid(heads);
        Self {
            cylinders: u16::try_from(cylinders).unwrap_or(u16::MAX),
            heads: u8::try_from(heads).unwrap_or(u8::MAX),
            sectors_per_track: u8::try_from(sectors).unwrap_or(u8::MAX),
        }
    }
}

/// Sectors per track and heads of a disk that a BIOS of 1024 cylinders may still see whole.
fn small(total: u64) -> (u64, u64) {
    let tracks = total / 17;
    let heads = tracks.div_ceil(1024).max(4);
    if heads <= 16 && tracks < heads.saturating_mul(1024) {
        return (17, heads);
    }
    if total / 31 < 16 * 1024 {
        return (31, 16);
    }
    (63, 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_geometry_is_that_of_disks_windows_made() {
        const MIB: u64 = 1 << 20;
        for (size, cylinders, heads, sectors_per_track) in [
            (4 * MIB, 120, 4, 17),
            (40 * MIB, 963, 5, 17),
            (100 * MIB, 1003, 12, 17),
            (1 << 30, 2080, 16, 63),
            (40 << 30, 20560, 16, 255),
            (2040 << 30, 65535, 16, 255),
        ] {
            let expected = Geometry {
                cylinders,
                heads,
                sectors_per_track,
            };
            assert_eq!(Geometry::of(size), expected, "{size} bytes");
        }
    }
}
