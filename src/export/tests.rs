//! Labs that are built here, and the labs of the fixtures.
#![expect(
    clippy::disallowed_methods,
    reason = "a test makes and breaks its own files"
)]

use std::{
    fs as system,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::*;
use crate::{
    base::{DiskId, IoMeter, ReadAt, RelPath, Run, Silent},
    chain::VirtualDisk,
    formats::{DiskFormat, DiskKind, NewDisk, NewParent, ParentPaths},
    report::{Code, Severity},
};

mod chains;
mod fixtures;
mod inventory;

/// A folder for one test.
struct Lab {
    folder: tempfile::TempDir,
    meter: Arc<IoMeter>,
}

impl Lab {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            meter: Arc::default(),
        }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn path(&self, path: &str) -> PathBuf {
        RelPath::new(path).unwrap().below(self.folder.path())
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        system::create_dir_all(path.parent().unwrap()).unwrap();
        system::write(path, bytes).unwrap();
    }

    fn disk(&self, path: &str, disk: &NewDisk) {
        self.write(path, &disk.to_bytes().unwrap());
    }

    fn run(&self) -> Run<'_> {
        Run {
            progress: &Silent,
            meter: &self.meter,
        }
    }

    fn scan(&self) -> Inventory {
        scan(self.folder.path(), &self.run()).unwrap()
    }

    fn examine(&self, paths: &[&str]) -> Examination {
        let paths: Vec<_> = paths.iter().map(|path| self.path(path)).collect();
        examine(&paths, &[], &self.run()).unwrap()
    }

    fn examine_all(&self) -> Examination {
        examine(&[self.root()], &[], &self.run()).unwrap()
    }

    fn open(&self, path: &str) -> VirtualDisk {
        open_chain(&self.path(path), &[self.root()], &self.run()).unwrap()
    }
}

impl Examination {
    fn disk(&self, path: &str) -> &ExaminedDisk {
        let disk = self.disks.iter().find(|disk| disk.path == path);
        disk.unwrap_or_else(|| panic!("no `{path}` among {:#?}", self.disks))
    }

    /// The codes found about a disk. `NewDisk` derives page-83 ids from the parent's id, so those
    /// of three levels differ, which is no business of these tests.
    fn codes(&self, path: &str) -> Vec<Code> {
        let codes = self.disk(path).findings.iter().map(|f| f.code);
        codes.filter(|&code| code != Code::DiskIdDiffers).collect()
    }

    fn all_codes(&self) -> Vec<Code> {
        let codes = self.all_findings().map(|f| f.code);
        codes.filter(|&code| code != Code::DiskIdDiffers).collect()
    }
}

const SIZE: u64 = 4 << 20;

fn id(number: u8) -> DiskId {
    DiskId::from_vhdx([number; 16])
}

fn base(format: DiskFormat, own: u8) -> NewDisk {
    let mut disk = NewDisk::new(format, DiskKind::Dynamic, SIZE, id(own));
    disk.data = vec![(0, vec![own; 512])];
    disk
}

fn child(format: DiskFormat, own: u8, parent: u8, relative: &str) -> NewDisk {
    let mut disk = NewDisk::new(format, DiskKind::Differencing, SIZE, id(own));
    disk.data = vec![(512 * u64::from(own), vec![own; 512])];
    disk.parent = Some(NewParent {
        id: id(parent),
        paths: ParentPaths {
            relative: Some(relative.to_owned()),
            ..ParentPaths::default()
        },
        timestamp: 0,
    });
    disk
}

fn sector(disk: &VirtualDisk, number: u64) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    disk.read_exact_at(&mut bytes, number * 512).unwrap();
    bytes
}

use DiskFormat::{Vhd, Vhdx};
