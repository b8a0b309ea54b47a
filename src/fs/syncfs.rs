//! `syncfs(2)`: everything on a volume is brought to the disk by one call.

use std::{fs::File, io, path::Path};

use super::system::file_system;

/// Since this version every failure is told: bytes that could not be written since 5.8, and what
/// the file system itself could not do since 5.18.
const TELLS_ALL: (u32, u32) = (5, 18);

/// A folder on the volume. That something could not be written is told to those who had the volume
/// open then.
#[derive(Debug)]
pub(super) struct WholeVolume(File);

impl WholeVolume {
    /// `None` where the call would not bring everything to the disk, or not tell.
    pub(super) fn open(folder: &Path) -> io::Result<Option<Self>> {
        // On a share the server's memory is not flushed, and FUSE knows no such call. Ext4 brings
        // its own blocks to their places then, and goes on with what is left of them where a
        // device that is short of room refuses some.
        let brings_all = matches!(file_system(folder)?.0, "xfs" | "btrfs");
        if !brings_all || version() < TELLS_ALL {
            return Ok(None);
        }
        File::open(folder).map(|folder| Some(Self(folder)))
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
    }
}

fn version() -> (u32, u32) {
    parse(&rustix::system::uname().release().to_string_lossy())
}

/// Zeros stand for what cannot be read.
fn parse(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|digits| digits.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_before_5_18_are_not_asked() {
        let old = ["5.17.15-300.fc36.x86_64", "4.19.0", "what", ""];
        assert!(old.into_iter().all(|release| parse(release) < TELLS_ALL));
        let new = ["5.18.0", "5.18-rc1", "6.1.0-13-amd64", "10.0.1+"];
        assert!(new.into_iter().all(|release| parse(release) >= TELLS_ALL));
    }
}
