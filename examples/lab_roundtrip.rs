//! Makes a lab export with real VHD and VHDX chains in a temporary folder, packs it, unpacks it,
//! verifies it, and shows the savings and the trees before and after.
//!
//!     cargo run --release --example lab_roundtrip
//!
//! Give a folder to keep everything there and look at it afterwards:
//!
//!     cargo run --release --example lab_roundtrip -- /tmp/my-lab
#![expect(clippy::print_stdout, reason = "an example is there to be watched")]
#![expect(
    clippy::disallowed_methods,
    reason = "it makes the export that Hyper-V would have made"
)]

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use labpack::{
    base::{DiskId, IoMeter, Run, Silent},
    formats::{DiskFormat, DiskKind, NewDisk, NewParent, ParentPaths},
    pack, unpack, verify,
};

const MIB: u64 = 1024 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let (export, copy, vms) = (
        folder.join("LABX"),
        folder.join("packed"),
        folder.join("vms"),
    );
    let meter = Arc::new(IoMeter::default());
    let run = Run {
        progress: &Silent,
        meter: &meter,
    };

    make_export(&export)?;
    show(
        "The export: every VM has its own copy of the parent",
        &export,
    )?;
    let before = size(&export)?;

    let request = pack::Request {
        exports: vec![export],
        output: Some(copy.clone()),
        ..pack::Request::default()
    };
    pack::pack(&request, &run)?;
    show("Packed: each parent once, in RefDisk", &copy)?;
    let after = size(&copy)?;
    println!(
        "{} KiB became {} KiB: {} % saved\n",
        before / 1024,
        after / 1024,
        100 - 100 * after / before
    );

    let outcome = unpack::unpack(&unpack::Request::new(copy, vms.clone()), &run)?;
    show(&format!("Unpacked by {}", outcome.link), &vms)?;

    let report = verify::verify(&[vms], &verify::Options::default(), &run)?;
    println!(
        "verified: {} chains are good, {} are broken",
        report.chains.ok, report.chains.broken
    );
    if report.chains.broken > 0 {
        return Err("a chain does not verify".into());
    }
    Ok(())
}

/// Makes six VMs: two on one VHDX parent, two on a patched disk above it, two on a VHD parent;
/// each with copies of its own, as `Export-VM` makes them.
fn make_export(export: &Path) -> Result<(), Box<dyn Error>> {
    let base = Made::base(DiskFormat::Vhdx, "Server2025.vhdx", 1);
    let patched = Made::child(&base, "Server2025 patched.vhdx", 2);
    let old = Made::base(DiskFormat::Vhd, "Server2008.vhd", 3);
    for (number, (vm, chain)) in (10..).zip([
        ("DC01", vec![&base]),
        ("SQL01", vec![&base]),
        ("APP01", vec![&base, &patched]),
        ("APP02", vec![&base, &patched]),
        ("OLD01", vec![&old]),
        ("OLD02", vec![&old]),
    ]) {
        let disks = export.join(vm).join("Virtual Hard Disks");
        fs::create_dir_all(&disks)?;
        fs::create_dir_all(export.join(vm).join("Snapshots"))?;
        let machines = export.join(vm).join("Virtual Machines");
        fs::create_dir_all(&machines)?;
        let configuration = format!("{:08X}-0000-4000-8000-000000000000.vmcx", number);
        fs::write(machines.join(configuration), vec![7; 4096])?;
        for disk in &chain {
            disk.write_to(&disks)?;
        }
        let parent = chain.last().ok_or("a VM has a parent disk")?;
        Made::child(parent, &format!("{vm}.{}", parent.extension()), number).write_to(&disks)?;
    }
    Ok(())
}

/// A disk, and the name under which it is exported.
struct Made {
    name: String,
    disk: NewDisk,
}

impl Made {
    fn base(format: DiskFormat, name: &str, number: u8) -> Self {
        let mut disk = NewDisk::new(format, DiskKind::Dynamic, 64 * MIB, id(format, number));
        disk.page83_id = Some(disk.own_id).filter(|_| format == DiskFormat::Vhdx);
        disk.data = vec![
            (0, noise(number, 8 * MIB)),
            (32 * MIB, noise(number + 1, 2 * MIB)),
        ];
        Self {
            name: name.to_owned(),
            disk,
        }
    }

    fn child(parent: &Self, name: &str, number: u8) -> Self {
        let format = parent.disk.format;
        let mut disk = NewDisk::new(format, DiskKind::Differencing, 64 * MIB, id(format, number));
        let paths = ParentPaths {
            relative: Some(format!(".\\{}", parent.name)),
            absolute: Some(format!("F:\\Training\\{}", parent.name)),
            volume: None,
        };
        disk.page83_id = parent.disk.page83_id;
        disk.parent = Some(NewParent {
            id: parent.disk.own_id,
            paths,
            timestamp: 0,
        });
        disk.data = vec![(u64::from(number % 32) * MIB, noise(number, 64 * 1024))];
        Self {
            name: name.to_owned(),
            disk,
        }
    }

    fn extension(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or("vhdx")
    }

    fn write_to(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        let mut file = fs::File::create(folder.join(&self.name))?;
        self.disk.write_to(&mut file)?;
        Ok(())
    }
}

const fn id(format: DiskFormat, number: u8) -> DiskId {
    match format {
        DiskFormat::Vhd => DiskId::from_vhd([number; 16]),
        DiskFormat::Vhdx => DiskId::from_vhdx([number; 16]),
    }
}

/// Bytes that look like data: the same for the same number.
fn noise(number: u8, len: u64) -> Vec<u8> {
    let mut state = u64::from(number) + 0x9E37_79B9_7F4A_7C15;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect()
}

fn show(title: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    println!("{title}");
    for entry in walkdir::WalkDir::new(folder)
        .min_depth(1)
        .sort_by_file_name()
    {
        let entry = entry?;
        let indent = "  ".repeat(entry.depth());
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.path().symlink_metadata()?;
        match (kind.is_symlink(), kind.is_file()) {
            (true, _) => println!(
                "{indent}{name} → {}",
                fs::read_link(entry.path())?.display()
            ),
            (_, true) => println!("{indent}{name}  {} KiB", kind.len().div_ceil(1024)),
            _ => println!("{indent}{name}/"),
        }
    }
    println!();
    Ok(())
}

fn size(folder: &Path) -> Result<u64, Box<dyn Error>> {
    let mut sum = 0;
    for entry in walkdir::WalkDir::new(folder) {
        let metadata = entry?.metadata()?;
        sum += if metadata.is_file() {
            metadata.len()
        } else {
            0
        };
    }
    Ok(sum)
}
