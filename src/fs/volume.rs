//! What a volume can do, for preflight.

use std::path::{Path, PathBuf};

use super::{FsError, look::absolute, system};

/// A volume's abilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Which volume it is: the same number as [`FileKey::volume`](super::FileKey::volume) of its
    /// files. Btrfs gives each subvolume its own.
    pub key: u64,
    /// The file system as its own tools name it: `NTFS`, `ext4`; `unknown` where the system does
    /// not say.
    pub file_system: String,
    /// Bytes that the user may still write.
    pub free: u64,
    /// The longest file; `None` where disks do not reach it.
    pub max_file_len: Option<u64>,
    /// The most names a file may have; `None` where that is not known.
    pub max_links: Option<u64>,
}

impl Volume {
    /// Tells whether Windows attaches disks that lie on this volume, when the volume is its own:
    /// it takes NTFS and ReFS, and none of the file systems of removable drives.
    #[must_use]
    pub fn attaches_disks(&self) -> bool {
        !self.file_system.starts_with("FAT") && self.file_system != "exFAT"
    }
}

/// FAT keeps a file's length in 32 bits.
pub(super) const FAT_MAX: u64 = u32::MAX as u64;

/// Describes the volume on which `path`, or the nearest folder above it that exists, lies.
///
/// # Errors
/// What the system says.
pub fn volume(path: &Path) -> Result<Volume, FsError> {
    let there = nearest_existing(path)?;
    system::volume(&there).map_err(FsError::when("ask about the volume of", path))
}

fn nearest_existing(path: &Path) -> Result<PathBuf, FsError> {
    let whole = absolute(path)?;
    let there = whole.ancestors().find(|above| above.exists());
    Ok(there.unwrap_or(&whole).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_attaches_disks_from_ntfs_and_refs_and_not_from_removable_drives() {
        let attaches = |name: &str| {
            let volume = Volume {
                key: 0,
                file_system: name.to_owned(),
                free: 0,
                max_file_len: None,
                max_links: None,
            };
            volume.attaches_disks()
        };
        assert!(["NTFS", "ReFS", "CSVFS", "ext4"].into_iter().all(attaches));
        assert!(!["FAT", "FAT32", "exFAT"].into_iter().any(attaches));
    }
}
