//! Labs as Export-VM leaves them, made on the spot.

use std::{
    fs,
    path::{Path, PathBuf},
};

use labpack::{
    base::DiskId,
    formats::{DiskFormat, DiskKind, NewDisk, NewParent, ParentPaths},
};

use super::{set_time, tree};

/// Where Export-VM puts disks, in a VM folder.
pub(crate) const DISKS: &str = "Virtual Hard Disks";
/// As the guest sees it.
const SIZE: u64 = 4 << 20;

/// The name of a disk in its format.
pub(crate) fn named(stem: &str, format: DiskFormat) -> String {
    match format {
        DiskFormat::Vhd => format!("{stem}.vhd"),
        DiskFormat::Vhdx => format!("{stem}.vhdx"),
    }
}

fn id(number: u8) -> DiskId {
    DiskId::from_vhdx([number; 16])
}

/// A lab on its way.
pub(crate) struct Builder<'a> {
    root: &'a Path,
    format: DiskFormat,
    /// Bytes in a block of its disks.
    block: u32,
}

/// A disk of a lab: its file name and its id.
#[derive(Clone)]
pub(crate) struct Named {
    name: String,
    id: DiskId,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(root: &'a Path, format: DiskFormat) -> Self {
        let block = 1 << 20;
        Self {
            root,
            format,
            block,
        }
    }

    /// As [`Builder::new`], with VHDs that are hardly longer than what is in them.
    #[cfg(unix)]
    pub(crate) fn tiny(root: &'a Path) -> Self {
        Self {
            block: 4096,
            ..Self::new(root, DiskFormat::Vhd)
        }
    }

    /// As [`Builder::tiny`] where the format allows it.
    #[cfg(unix)]
    pub(crate) fn smallest(root: &'a Path, format: DiskFormat) -> Self {
        match format {
            DiskFormat::Vhd => Self::tiny(root),
            DiskFormat::Vhdx => Self::new(root, format),
        }
    }

    /// A disk's folder in a VM's.
    fn folder(&self, vm: &str) -> PathBuf {
        let folder = self.root.join(vm).join(DISKS);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// What else is in a VM's folder.
    pub(crate) fn vm(&self, vm: &str) {
        let folder = self.root.join(vm);
        fs::create_dir_all(folder.join("Virtual Machines")).unwrap();
        fs::create_dir_all(folder.join("Snapshots")).unwrap();
        let file = folder.join("Virtual Machines/5A2E8D1C-0000-4000-8000-000000000001.xml");
        fs::write(file, format!("<configuration>{vm}</configuration>")).unwrap();
        fs::write(folder.join("notes on it.txt"), vm).unwrap();
    }

    pub(crate) fn base(&self, vm: &str, stem: &str, number: u8) -> Named {
        let mut disk = NewDisk::new(self.format, DiskKind::Dynamic, SIZE, id(number));
        disk.block_size = Some(self.block);
        disk.data = vec![
            (0, pattern(number, 128 << 10)),
            (2 << 20, pattern(number ^ 0x55, 4096)),
        ];
        self.write(vm, &named(stem, self.format), &disk)
    }

    /// A differencing disk that lies beside its parent, and names it as an export to
    /// `C:\Export\<vm>` does.
    pub(crate) fn child(&self, vm: &str, name: &str, number: u8, parent: &Named) -> Named {
        let mut disk = NewDisk::new(self.format, DiskKind::Differencing, SIZE, id(number));
        disk.block_size = Some(self.block);
        disk.data = vec![(8192, pattern(number, 4096))];
        disk.parent = Some(NewParent {
            id: parent.id,
            paths: ParentPaths {
                relative: Some(format!(r".\{}", parent.name)),
                absolute: Some(format!(r"C:\Export\{vm}\{DISKS}\{}", parent.name)),
                volume: None,
            },
            timestamp: 0,
        });
        self.write(vm, name, &disk)
    }

    fn write(&self, vm: &str, name: &str, disk: &NewDisk) -> Named {
        let file = self.folder(vm).join(name);
        let mut out = fs::File::create(file).unwrap();
        disk.write_to(&mut out).unwrap();
        Named {
            name: name.to_owned(),
            id: disk.own_id,
        }
    }

    /// Gives everything a time of its own, none of them now.
    pub(crate) fn done(&self) {
        for (number, path) in tree(self.root).into_keys().rev().enumerate() {
            let number = u32::try_from(number).unwrap();
            set_time(
                &self.root.join(path),
                (1_500_000_000 + i64::from(number), number * 100),
            );
        }
    }
}

fn pattern(seed: u8, len: usize) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[seed]);
    let mut bytes = vec![0; len];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// Four VMs, each with its own copy of one parent.
pub(crate) fn four_on_one_parent(root: &Path, format: DiskFormat) {
    let lab = Builder::new(root, format);
    for number in 1..=4 {
        let vm = format!("VM {number}");
        lab.vm(&vm);
        let base = lab.base(&vm, "base", 200);
        lab.child(&vm, &named(&format!("vm{number}"), format), number, &base);
    }
    lab.done();
}

/// [`four_on_one_parent`] as VHDXs, in a folder that goes with the value.
pub(crate) struct Lab {
    pub(crate) scratch: tempfile::TempDir,
    pub(crate) export: PathBuf,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let export = scratch.path().join("lab");
        four_on_one_parent(&export, DiskFormat::Vhdx);
        Self { scratch, export }
    }

    /// A disk in the folder of `VM <vm>`.
    pub(crate) fn disk(&self, vm: u8, name: &str) -> PathBuf {
        let vm = self.export.join(format!("VM {vm}"));
        vm.join(DISKS).join(name)
    }

    /// A path beside the lab.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

/// Three VMs on chains of three levels; the disk in the middle is one disk, and names its parent
/// by another path in each export.
pub(crate) fn three_levels(root: &Path, format: DiskFormat) {
    let lab = Builder::new(root, format);
    for (number, vm) in ["DC01", "Member Server 2", "x"].into_iter().enumerate() {
        lab.vm(vm);
        let base = lab.base(vm, "base", 200);
        let mid = lab.child(vm, &named("patched", format), 100, &base);
        lab.child(
            vm,
            &named(vm, format),
            u8::try_from(number).unwrap() + 1,
            &mid,
        );
    }
    lab.done();
}

/// As [`three_levels`], with two VMs and no more in them than that takes.
pub(crate) fn small(root: &Path, format: DiskFormat) {
    small_of(&Builder::new(root, format), format);
}

fn small_of(lab: &Builder<'_>, format: DiskFormat) {
    for (number, vm) in [(1, "A"), (2, "B 2")] {
        lab.vm(vm);
        let base = lab.base(vm, "base", 200);
        let mid = lab.child(vm, &named("mid", format), 100, &base);
        lab.child(vm, &named(vm, format), number, &mid);
    }
    lab.done();
}

/// As [`small`], with disks as small as the format allows.
#[cfg(unix)]
pub(crate) fn smallest(root: &Path, format: DiskFormat) {
    small_of(&Builder::smallest(root, format), format);
}

/// Two VMs with a checkpoint each, on copies of one parent.
pub(crate) fn checkpoints(root: &Path) {
    let lab = Builder::new(root, DiskFormat::Vhdx);
    for (number, vm) in ["A", "B"].into_iter().enumerate() {
        lab.vm(vm);
        let base = lab.base(vm, "disk", 200);
        lab.child(
            vm,
            "disk_1234.avhdx",
            u8::try_from(number).unwrap() + 1,
            &base,
        );
    }
    lab.done();
}
