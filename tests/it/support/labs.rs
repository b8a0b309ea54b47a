//! Labs as `Export-VM` lays them out, small ones, built here.

use std::{
    fs,
    path::{Path, PathBuf},
};

use labpack::{
    base::DiskId,
    formats::{DiskFormat, DiskKind, NewDisk, NewParent, ParentPaths},
};

const MIB: u64 = 1024 * 1024;
const SIZE: u64 = 16 * MIB;

/// A disk, the name it is exported under, and the folder that its child was made in.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) name: String,
    pub(crate) disk: NewDisk,
}

impl Made {
    /// A dynamic disk without a parent, 3 MiB of it in use.
    pub(crate) fn base(format: DiskFormat, name: &str, number: u8) -> Self {
        let mut disk = NewDisk::new(format, DiskKind::Dynamic, SIZE, id(format, number));
        disk.block_size = Some(2 * 1024 * 1024);
        disk.page83_id = Some(disk.own_id).filter(|_| format == DiskFormat::Vhdx);
        disk.data = vec![
            (0, noise(number, 2 * MIB)),
            (8 * MIB + 512, noise(number ^ 0x55, MIB)),
        ];
        Self {
            name: name.to_owned(),
            disk,
        }
    }

    /// A child of `parent` that stands beside it in `folder`, as Windows writes the path.
    pub(crate) fn child(parent: &Self, name: &str, number: u8, folder: &str) -> Self {
        let format = parent.disk.format;
        let mut disk = NewDisk::new(format, DiskKind::Differencing, SIZE, id(format, number));
        let paths = ParentPaths {
            relative: Some(format!(".\\{}", parent.name)),
            absolute: Some(format!("{folder}\\{}", parent.name)),
            volume: None,
        };
        disk.page83_id = parent.disk.page83_id;
        disk.parent = Some(NewParent {
            id: parent.disk.own_id,
            paths,
            timestamp: 0,
        });
        disk.data = vec![
            (512 * 3, noise(number, 512 * 5)),
            (5 * MIB, noise(number ^ 0xAA, 128 * 1024)),
        ];
        Self {
            name: name.to_owned(),
            disk,
        }
    }

    pub(crate) fn write_to(&self, folder: &Path) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        let path = folder.join(&self.name);
        fs::write(&path, self.disk.to_bytes().unwrap()).unwrap();
        path
    }
}

/// An id of its own for each number.
pub(crate) const fn id(format: DiskFormat, number: u8) -> DiskId {
    match format {
        DiskFormat::Vhd => DiskId::from_vhd([number; 16]),
        DiskFormat::Vhdx => DiskId::from_vhdx([number; 16]),
    }
}

/// Bytes that do not compress, the same for the same number.
pub(crate) fn noise(number: u8, len: u64) -> Vec<u8> {
    let mut state = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}

fn extension(format: DiskFormat) -> &'static str {
    match format {
        DiskFormat::Vhd => "vhd",
        DiskFormat::Vhdx => "vhdx",
    }
}

/// A VM folder with its small files; returns the folder of its disks.
pub(crate) fn vm(export: &Path, name: &str) -> PathBuf {
    let machines = export.join(name).join("Virtual Machines");
    fs::create_dir_all(&machines).unwrap();
    fs::create_dir_all(export.join(name).join("Snapshots")).unwrap();
    fs::write(
        machines.join(format!("{name}.vmcx")),
        noise(name.len() as u8, 4096),
    )
    .unwrap();
    let disks = export.join(name).join("Virtual Hard Disks");
    fs::create_dir_all(&disks).unwrap();
    disks
}

/// `count` VMs, each with its own copy of one parent.
pub(crate) fn on_one_parent(export: &Path, format: DiskFormat, count: u8) {
    let parent = Made::base(format, &format!("Template.{}", extension(format)), 1);
    for number in 1..=count {
        let name = format!("VM {number:02}");
        let disks = vm(export, &name);
        parent.write_to(&disks);
        let folder = format!("F:\\Exports\\{name}\\Virtual Hard Disks");
        Made::child(
            &parent,
            &format!("{name}.{}", extension(format)),
            10 + number,
            &folder,
        )
        .write_to(&disks);
    }
}

/// `count` VMs on a three-level chain; the middle disk was exported into each VM folder, and so
/// names its parent by another path in each.
pub(crate) fn three_levels(export: &Path, format: DiskFormat, count: u8) {
    let ext = extension(format);
    let base = Made::base(format, &format!("Template.{ext}"), 1);
    for number in 1..=count {
        let name = format!("VM3 {number:02}");
        let disks = vm(export, &name);
        let folder = format!("F:\\Exports\\{name}\\Virtual Hard Disks");
        let middle = Made::child(&base, &format!("Patched.{ext}"), 2, &folder);
        base.write_to(&disks);
        middle.write_to(&disks);
        Made::child(&middle, &format!("{name}.{ext}"), 30 + number, &folder).write_to(&disks);
    }
}

/// Chains of two and three levels in both formats.
pub(crate) fn both_formats(export: &Path) {
    on_one_parent(&export.join("vhd"), DiskFormat::Vhd, 2);
    on_one_parent(&export.join("vhdx"), DiskFormat::Vhdx, 2);
    three_levels(&export.join("vhd3"), DiskFormat::Vhd, 2);
    three_levels(&export.join("vhdx3"), DiskFormat::Vhdx, 2);
}

/// The leaves of [`both_formats`] below `root`.
pub(crate) fn leaves_of_both_formats(root: &Path) -> Vec<(PathBuf, DiskFormat)> {
    let mut leaves = Vec::new();
    for (folder, format, vm) in [
        ("vhd", DiskFormat::Vhd, "VM"),
        ("vhdx", DiskFormat::Vhdx, "VM"),
        ("vhd3", DiskFormat::Vhd, "VM3"),
        ("vhdx3", DiskFormat::Vhdx, "VM3"),
    ] {
        for number in 1..=2 {
            let name = format!("{vm} {number:02}");
            let disks = root.join(folder).join(&name).join("Virtual Hard Disks");
            leaves.push((disks.join(format!("{name}.{}", extension(format))), format));
        }
    }
    leaves
}
