//! Volumes made for a test, where the system allows it.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// A volume mounted on a folder; taken off again at the end.
pub(crate) struct Mounted {
    folder: TempDir,
    /// Holds the volume's bytes; goes after the volume is taken off.
    _image: Option<TempDir>,
}

impl Mounted {
    pub(crate) fn btrfs() -> Option<Self> {
        said(
            "btrfs",
            Self::image(500, &["mkfs.btrfs", "-q"], &["mount", "-o", "loop"]),
        )
    }

    pub(crate) fn xfs() -> Option<Self> {
        said(
            "XFS",
            Self::image(
                400,
                &["mkfs.xfs", "-q", "-m", "reflink=1"],
                &["mount", "-o", "loop"],
            ),
        )
    }

    pub(crate) fn ntfs() -> Option<Self> {
        said(
            "NTFS",
            Self::image(300, &["mkfs.ntfs", "-F", "-q", "-f"], &["ntfs-3g"]),
        )
    }

    pub(crate) fn tmpfs(mib: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m");
        let mount = ["mount", "-t", "tmpfs", "-o", &size, "none"];
        let mounted = done(&mount, &[folder.path()]).then_some(Self {
            folder,
            _image: None,
        });
        said("tmpfs", mounted)
    }

    fn image(mib: u64, make: &[&str], mount: &[&str]) -> Option<Self> {
        if !cfg!(target_os = "linux") {
            return None;
        }
        let (folder, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let image = place.path().join("image");
        fs::File::create(&image)
            .unwrap()
            .set_len(mib << 20)
            .unwrap();
        let mounted = done(make, &[&image]) && done(mount, &[&image, folder.path()]);
        mounted.then_some(Self {
            folder,
            _image: Some(place),
        })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    /// Bytes that the volume says are free, once all that was written has its place.
    pub(crate) fn free(&self) -> u64 {
        done(&["sync", "-f"], &[self.folder.path()]);
        labpack::fs::volume(self.folder.path()).unwrap().free
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !done(&["umount"], &[self.folder.path()]) {
            done(&["umount", "-l"], &[self.folder.path()]);
        }
    }
}

fn said(what: &str, mounted: Option<Mounted>) -> Option<Mounted> {
    if mounted.is_none() {
        println!("skipped: cannot make and mount a {what} volume here");
    }
    mounted
}

/// Runs a program; tells whether it succeeded.
fn done(program: &[&str], paths: &[&Path]) -> bool {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).args(
        paths
            .iter()
            .map(|path| path.as_os_str())
            .collect::<Vec<&OsStr>>(),
    );
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
