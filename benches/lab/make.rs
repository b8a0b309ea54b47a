//! Makes labs for `benches/lab/run`, full of bytes that do not compress.
//!
//! ```text
//! cargo run --release --example make_lab -- FOLDER [--vms 4] [--parent-mib 900] [--leaf-mib 124]
//!          [--middle-mib 0]
//!     VMs that each have their own copy of one parent, as `Export-VM` leaves them; with a child of
//!     it between that and the leaf, which has the paths of its VM in it
//! … -- FOLDER --chains 334
//!     VMs that each have a chain of three small disks
//! … -- FOLDER --files 100000
//!     a VM that has so many small files beside its disks
//! … -- FOLDER --sparse-tib 1
//!     a VM with one disk of that length, all of it a hole but for its ends
//! ```
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a program that makes files, and says what it wants"
)]

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use labpack::{
    base::DiskId,
    formats::{DiskFormat, DiskKind, NewDisk, NewParent, ParentPaths},
};

const MIB: u64 = 1 << 20;

/// What is to be made.
enum Shape {
    /// VMs on copies of one parent.
    OneParent(OneParent),
    /// VMs with three disks each.
    Chains(u64),
    /// One VM with so many small files.
    Files(u64),
    /// One VM with a file of this length.
    Sparse(u64),
}

/// VMs on copies of one parent, and the bytes that its disks hold.
#[derive(Clone, Copy)]
struct OneParent {
    vms: u64,
    parent: u64,
    /// Nothing where there is no such disk.
    middle: u64,
    leaf: u64,
}

impl Shape {
    fn of_arguments(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut lab = OneParent {
            vms: 4,
            parent: 900 * MIB,
            middle: 0,
            leaf: 124 * MIB,
        };
        let mut other = None;
        while let Some(flag) = args.next() {
            let number: u64 = args.next()?.parse().ok()?;
            match flag.as_str() {
                "--vms" => lab.vms = number,
                "--parent-mib" => lab.parent = number * MIB,
                "--middle-mib" => lab.middle = number * MIB,
                "--leaf-mib" => lab.leaf = number * MIB,
                "--chains" => other = Some(Self::Chains(number)),
                "--files" => other = Some(Self::Files(number)),
                "--sparse-tib" => other = Some(Self::Sparse(number << 40)),
                _ => return None,
            }
        }
        Some(other.unwrap_or(Self::OneParent(lab)))
    }

    fn make(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        match *self {
            Self::OneParent(lab) => one_parent(folder, lab),
            Self::Chains(vms) => (1..=vms).try_for_each(|vm| chain_of_three(folder, vm)),
            Self::Files(files) => many_files(folder, files),
            Self::Sparse(len) => sparse(folder, len),
        }
    }
}

fn noise(seed: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    let mut hasher = blake3::Hasher::new_derive_key("labpack lab for benches");
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

fn id(number: u64) -> DiskId {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    DiskId::from_vhdx(bytes)
}

fn write(disk: &NewDisk, path: &Path) -> Result<(), Box<dyn Error>> {
    let mut file = fs::File::create(path)?;
    Ok(disk.write_to(&mut file)?)
}

fn base(size: u64, number: u64, filled: u64) -> NewDisk {
    let mut disk = NewDisk::new(DiskFormat::Vhdx, DiskKind::Dynamic, size, id(number));
    disk.data = vec![(0, noise(number, filled))];
    disk
}

fn child(size: u64, number: u64, filled: u64, of: u64, beside: &str) -> NewDisk {
    child_in(number, size, number, filled, of, beside)
}

/// A child that was exported with the VM of this number.
fn child_in(vm: u64, size: u64, number: u64, filled: u64, of: u64, beside: &str) -> NewDisk {
    let mut disk = NewDisk::new(DiskFormat::Vhdx, DiskKind::Differencing, size, id(number));
    disk.data = vec![(0, noise(number, filled))];
    disk.parent = Some(NewParent {
        id: id(of),
        paths: ParentPaths {
            relative: Some(format!(r".\{beside}")),
            absolute: Some(format!(r"F:\Export\VM{vm}\{beside}")),
            volume: None,
        },
        timestamp: 0,
    });
    disk
}

/// Makes the folders of a VM and its configuration; returns the folder of its disks.
fn vm(folder: &Path, number: u64) -> Result<PathBuf, Box<dyn Error>> {
    let vm = folder.join(format!("VM{number}"));
    fs::create_dir_all(vm.join("Virtual Machines"))?;
    fs::write(
        vm.join("Virtual Machines").join(format!("{number}.vmcx")),
        noise(number, 64 * 1024),
    )?;
    let disks = vm.join("Virtual Hard Disks");
    fs::create_dir_all(&disks)?;
    Ok(disks)
}

/// The disk between parent and leaf.
const MIDDLE: u64 = 1 << 32;

fn one_parent(folder: &Path, lab: OneParent) -> Result<(), Box<dyn Error>> {
    let size = lab.parent.max(lab.middle).max(lab.leaf) + 64 * MIB;
    let mut first = None;
    for number in 1..=lab.vms {
        let disks = vm(folder, number)?;
        let copy = disks.join("reference.vhdx");
        match &first {
            Some(first) => drop(fs::copy(first, &copy)?),
            None => {
                write(&base(size, 0, lab.parent), &copy)?;
                first = Some(copy);
            }
        }
        let (mut of, mut beside) = (0, "reference.vhdx");
        if lab.middle > 0 {
            let middle = child_in(number, size, MIDDLE, lab.middle, of, beside);
            (of, beside) = (MIDDLE, "middle.vhdx");
            write(&middle, &disks.join(beside))?;
        }
        let leaf = child(size, number, lab.leaf, of, beside);
        write(&leaf, &disks.join(format!("VM{number}.vhdx")))?;
    }
    Ok(())
}

fn chain_of_three(folder: &Path, number: u64) -> Result<(), Box<dyn Error>> {
    let disks = vm(folder, number)?;
    let (size, filled) = (64 * MIB, 64 * 1024);
    let first = 3 * number;
    let chain = [
        ("base.vhdx", base(size, first, filled)),
        (
            "middle.vhdx",
            child(size, first + 1, filled, first, "base.vhdx"),
        ),
        (
            "leaf.vhdx",
            child(size, first + 2, filled, first + 1, "middle.vhdx"),
        ),
    ];
    for (name, mut disk) in chain {
        // One guest, one disk.
        disk.page83_id = Some(id(first));
        write(&disk, &disks.join(name))?;
    }
    Ok(())
}

fn many_files(folder: &Path, files: u64) -> Result<(), Box<dyn Error>> {
    chain_of_three(folder, 1)?;
    for number in 0..files {
        let place = folder.join("VM1").join(format!("logs {}", number / 1000));
        fs::create_dir_all(&place)?;
        fs::write(place.join(format!("{number:06}.log")), noise(number, 512))?;
    }
    Ok(())
}

fn sparse(folder: &Path, len: u64) -> Result<(), Box<dyn Error>> {
    let mut disk = NewDisk::new(DiskFormat::Vhd, DiskKind::Fixed, len, id(1));
    disk.data = vec![(0, noise(0, MIB)), (len - MIB, noise(1, MIB))];
    write(&disk, &vm(folder, 1)?.join("large.vhd"))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().map(PathBuf::from);
    let (Some(folder), Some(shape)) = (folder, Shape::of_arguments(args)) else {
        eprintln!(
            "usage: make_lab FOLDER [--vms N] [--parent-mib N] [--leaf-mib N] [--middle-mib N]"
        );
        eprintln!("       make_lab FOLDER --chains N | --files N | --sparse-tib N");
        return Err("the arguments are not these".into());
    };
    shape.make(&folder)
}
