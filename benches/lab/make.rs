//! Makes a lab of chosen size for `benches/lab/run`: VMs that each have their own copy of one
//! parent, as `Export-VM` leaves them, full of bytes that do not compress.
//!
//! ```text
//! cargo run --release --example make_lab -- FOLDER [--vms 4] [--parent-mib 900] [--leaf-mib 124]
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
struct Size {
    folder: PathBuf,
    vms: u64,
    parent: u64,
    leaf: u64,
}

impl Size {
    fn of_arguments() -> Option<Self> {
        let mut args = std::env::args().skip(1);
        let mut size = Self {
            folder: args.next()?.into(),
            vms: 4,
            parent: 900 * MIB,
            leaf: 124 * MIB,
        };
        while let Some(flag) = args.next() {
            let number: u64 = args.next()?.parse().ok()?;
            match flag.as_str() {
                "--vms" => size.vms = number,
                "--parent-mib" => size.parent = number * MIB,
                "--leaf-mib" => size.leaf = number * MIB,
                _ => return None,
            }
        }
        Some(size)
    }

    /// As the guest sees every disk of the lab.
    const fn disk(&self) -> u64 {
        let larger = if self.parent > self.leaf {
            self.parent
        } else {
            self.leaf
        };
        larger + 64 * MIB
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

fn parent(size: &Size) -> NewDisk {
    let mut disk = NewDisk::new(DiskFormat::Vhdx, DiskKind::Dynamic, size.disk(), id(0));
    disk.data = vec![(0, noise(0, size.parent))];
    disk
}

fn leaf(size: &Size, number: u64) -> NewDisk {
    let mut disk = NewDisk::new(
        DiskFormat::Vhdx,
        DiskKind::Differencing,
        size.disk(),
        id(number),
    );
    disk.data = vec![(0, noise(number, size.leaf))];
    disk.parent = Some(NewParent {
        id: id(0),
        paths: ParentPaths {
            relative: Some(r".\reference.vhdx".to_owned()),
            absolute: Some(format!(r"F:\Export\VM{number}\reference.vhdx")),
            volume: None,
        },
        timestamp: 0,
    });
    disk
}

fn main() -> Result<(), Box<dyn Error>> {
    let Some(size) = Size::of_arguments() else {
        eprintln!("usage: make_lab FOLDER [--vms N] [--parent-mib N] [--leaf-mib N]");
        return Err("the arguments are not these".into());
    };
    let mut first = None;
    for number in 1..=size.vms {
        let vm = size.folder.join(format!("VM{number}"));
        fs::create_dir_all(vm.join("Virtual Machines"))?;
        fs::write(
            vm.join("Virtual Machines").join(format!("{number}.vmcx")),
            noise(number, 64 * 1024),
        )?;
        let disks = vm.join("Virtual Hard Disks");
        fs::create_dir_all(&disks)?;
        let copy = disks.join("reference.vhdx");
        match &first {
            Some(first) => drop(fs::copy(first, &copy)?),
            None => {
                write(&parent(&size), &copy)?;
                first = Some(copy);
            }
        }
        write(
            &leaf(&size, number),
            &disks.join(format!("VM{number}.vhdx")),
        )?;
    }
    Ok(())
}
