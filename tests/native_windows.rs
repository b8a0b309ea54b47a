//! What only Windows can say: Hyper-V itself opens every chain that labpack unpacked.
//!
//!     cargo test --test native_windows -- --nocapture
//!
//! For a Windows host with the Hyper-V module for PowerShell, in a console of an administrator.
//! Where the module is missing, and under Wine, each test says so and passes. Nothing is
//! registered and no VM is started: the disks are asked with `Test-VHD` and `Get-VHD`, and mounted
//! read-only.
//!
//! * `LABPACK_NATIVE_DIR`: the folder to work in, on the volume that is to be tried (NTFS, ReFS).
//! * `LABPACK_NATIVE_LAB`: the folder of an unpacked lab, whose chains are asked too.
#![cfg(windows)]
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test lays out its own lab, fails where it cannot, and says what it skips"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use labpack::{
    base::{DiskId, IoMeter, Run, Silent},
    formats::{DiskFormat, DiskKind, NewDisk, NewParent, ParentPaths},
    pack,
    unpack::{self, LinkMode, UnpackError},
};

const SIZE: u64 = 64 << 20;

// --- PowerShell ---------------------------------------------------------------------------

fn powershell(script: &str) -> std::io::Result<Output> {
    let mut command = Command::new("powershell.exe");
    command.args(["-NoProfile", "-NonInteractive", "-Command", script]);
    command.output()
}

/// Inside single quotes only the quote itself means anything.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "''"))
}

/// Tells whether Hyper-V can be asked; says so where it cannot.
fn hyper_v() -> bool {
    let asked = powershell("if (Get-Command Test-VHD -ErrorAction SilentlyContinue) { 'here' }");
    let here = asked.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).trim() == "here");
    if !here {
        println!("skipped: no Hyper-V module for PowerShell here");
    }
    here
}

#[track_caller]
fn ask(script: &str) -> String {
    let said = powershell(&format!("$ErrorActionPreference = 'Stop'; {script}")).unwrap();
    let text = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    assert!(
        said.status.success(),
        "{script}\n{text}\n{}",
        String::from_utf8_lossy(&said.stderr)
    );
    text
}

/// Hyper-V opens the disk with all its parents, and names as many as `levels` has.
#[track_caller]
fn must_open(leaf: &Path, levels: usize) {
    let disk = quoted(leaf);
    assert_eq!(ask(&format!("Test-VHD -Path {disk}")), "True");
    let chain = ask(&format!(
        "$p = {disk}; while ($p) {{ $p; $p = (Get-VHD -Path $p).ParentPath }}"
    ));
    assert_eq!(chain.lines().count(), levels, "{chain}");
}

// --- a lab --------------------------------------------------------------------------------

struct Work(tempfile::TempDir);

impl Work {
    fn new() -> Self {
        let folder = std::env::var_os("LABPACK_NATIVE_DIR").map(PathBuf::from);
        Self(match folder {
            Some(folder) => tempfile::tempdir_in(folder).unwrap(),
            None => tempfile::tempdir().unwrap(),
        })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn id(number: u8) -> DiskId {
    DiskId::from_vhdx([number; 16])
}

fn disk(format: DiskFormat, number: u8, parent: Option<(u8, &str)>) -> Vec<u8> {
    let kind = match parent {
        Some(_) => DiskKind::Differencing,
        None => DiskKind::Dynamic,
    };
    let mut disk = NewDisk::new(format, kind, SIZE, id(number));
    disk.data = vec![(u64::from(number) << 20, vec![number; 4096])];
    disk.parent = parent.map(|(parent, name)| NewParent {
        id: id(parent),
        paths: ParentPaths {
            relative: Some(format!(".\\{name}")),
            absolute: Some(format!("F:\\Exports\\{name}")),
            volume: None,
        },
        timestamp: 0,
    });
    disk.to_bytes().unwrap()
}

/// Two VMs, each on a chain of three levels, in both formats.
fn export(folder: &Path) {
    for (format, end) in [(DiskFormat::Vhd, "vhd"), (DiskFormat::Vhdx, "vhdx")] {
        for (vm, number) in [("DC01", 11), ("SRV 02", 12)] {
            let disks = folder
                .join(format!("{vm} {end}"))
                .join("Virtual Hard Disks");
            fs::create_dir_all(&disks).unwrap();
            let (base, patched) = (format!("base.{end}"), format!("patched.{end}"));
            fs::write(disks.join(&base), disk(format, 1, None)).unwrap();
            fs::write(disks.join(&patched), disk(format, 2, Some((1, &base)))).unwrap();
            let leaf = disk(format, number, Some((2, &patched)));
            fs::write(disks.join(format!("leaf.{end}")), leaf).unwrap();
        }
    }
}

fn leaves(lab: &Path) -> Vec<PathBuf> {
    let names = ["DC01 vhd", "SRV 02 vhd", "DC01 vhdx", "SRV 02 vhdx"];
    let leaf = |name: &str| {
        let end = name.rsplit(' ').next().unwrap();
        let disks = lab.join(name).join("Virtual Hard Disks");
        disks.join(format!("leaf.{end}"))
    };
    names.into_iter().map(leaf).collect()
}

/// Returns the outcome, or what the host cannot do.
fn unpacked(pack: &Path, dest: &Path, link: LinkMode) -> Result<unpack::Outcome, String> {
    let meter = Arc::new(IoMeter::default());
    let run = Run {
        progress: &Silent,
        meter: &meter,
    };
    let request = unpack::Request {
        link,
        ..unpack::Request::new(pack, dest)
    };
    match unpack::unpack(&request, &run) {
        Ok(outcome) => Ok(outcome),
        Err(UnpackError::Refused(findings)) => Err(findings.to_string()),
        Err(error) => panic!("{link}: {error:?}"),
    }
}

fn packed(work: &Work) -> PathBuf {
    export(&work.at("LABX"));
    let request = pack::Request {
        exports: vec![work.at("LABX")],
        output: Some(work.at("packed")),
        ..pack::Request::default()
    };
    let meter = Arc::new(IoMeter::default());
    let run = Run {
        progress: &Silent,
        meter: &meter,
    };
    pack::pack(&request, &run).unwrap();
    work.at("packed")
}

// --- what Hyper-V says --------------------------------------------------------------------

#[test]
fn hyper_v_opens_every_chain_that_was_unpacked_in_any_way() {
    if !hyper_v() {
        return;
    }
    let work = Work::new();
    let pack = packed(&work);
    for link in [
        LinkMode::Reflink,
        LinkMode::Hardlink,
        LinkMode::Symlink,
        LinkMode::Junction,
        LinkMode::Relocate,
        LinkMode::Copy,
    ] {
        let dest = work.at(&format!("by {link}"));
        match unpacked(&pack, &dest, link) {
            Ok(outcome) => {
                assert!(
                    !outcome.findings.any_error(),
                    "{link}: {}",
                    outcome.findings
                );
                leaves(&dest).iter().for_each(|leaf| must_open(leaf, 3));
                println!("by {link}: Hyper-V opens {} chains", leaves(&dest).len());
            }
            Err(why) => println!("skipped: --link {link}: {why}"),
        }
    }
}

#[test]
fn hyper_v_mounts_an_unpacked_leaf_read_only_and_its_parents_stay_as_they_are() {
    if !hyper_v() {
        return;
    }
    let work = Work::new();
    let (pack, dest) = (packed(&work), work.at("vms"));
    unpacked(&pack, &dest, LinkMode::Relocate).unwrap();
    let parents = || {
        let entries = fs::read_dir(dest.join("RefDisk")).unwrap();
        let mut found: Vec<_> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| {
                (
                    path.clone(),
                    blake3::hash(&fs::read(path).unwrap()).to_hex(),
                )
            })
            .collect();
        found.sort();
        found
    };
    let before = parents();
    for leaf in leaves(&dest) {
        let disk = quoted(&leaf);
        ask(&format!(
            "Mount-VHD -Path {disk} -ReadOnly -NoDriveLetter; Dismount-VHD -Path {disk}"
        ));
    }
    assert_eq!(parents(), before);
}

#[test]
fn a_disk_in_a_compressed_folder_comes_out_uncompressed() {
    if !hyper_v() {
        return;
    }
    let work = Work::new();
    let (pack, dest) = (packed(&work), work.at("compressed"));
    fs::create_dir_all(&dest).unwrap();
    let compact = Command::new("compact").arg("/c").arg(&dest).output();
    if !compact.is_ok_and(|said| said.status.success()) {
        println!("skipped: the volume does not compress");
        return;
    }
    let outcome = unpacked(&pack, &dest, LinkMode::Relocate).unwrap();
    assert!(!outcome.findings.any_error(), "{}", outcome.findings);
    leaves(&dest).iter().for_each(|leaf| must_open(leaf, 3));
}

#[test]
fn hyper_v_opens_every_leaf_of_a_lab_that_was_named() {
    let Some(lab) = std::env::var_os("LABPACK_NATIVE_LAB").map(PathBuf::from) else {
        println!("skipped: LABPACK_NATIVE_LAB names no unpacked lab");
        return;
    };
    if !hyper_v() {
        return;
    }
    let meter = Arc::new(IoMeter::default());
    let run = Run {
        progress: &Silent,
        meter: &meter,
    };
    let options = labpack::verify::Options::default();
    let report = labpack::verify::verify(std::slice::from_ref(&lab), &options, &run).unwrap();
    assert!(!report.disks.is_empty(), "no disk in {}", lab.display());
    for disk in &report.disks {
        let path = quoted(&lab.join(&disk.path));
        let opens = ask(&format!(
            "try {{ Test-VHD -Path {path} }} catch {{ $false }}"
        ));
        assert_eq!(opens == "True", !disk.broken, "{}", disk.path);
    }
}
