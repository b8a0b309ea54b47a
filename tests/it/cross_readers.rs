//! What other readers see in the disks of an unpacked lab: 7-Zip for both formats,
//! dissect.hypervisor for VHDX. Two wrongs that agree prove nothing.
//!
//! A reader that is not installed is skipped, aloud; with `LABPACK_CROSS_READERS=required` it
//! fails the test. `LABPACK_PYTHON` names a Python that has `dissect.hypervisor`.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use labpack::{
    export::open_chain,
    formats::DiskFormat,
    pack,
    unpack::{self, LinkMode},
};
use sha2::{Digest, Sha256};

use crate::{
    exports::sha256,
    support::{Watch, labs},
};

/// A lab of both formats with chains of two and three levels, unpacked by symbolic links, which
/// put every ancestor beside its leaf: 7-Zip looks nowhere else.
fn unpacked(folder: &Path, watch: &Watch) -> Vec<(PathBuf, DiskFormat)> {
    let (export, packed, dest) = (folder.join("LABX"), folder.join("pack"), folder.join("vms"));
    labs::both_formats(&export);
    let request = pack::Request {
        exports: vec![export],
        output: Some(packed.clone()),
        ..pack::Request::default()
    };
    pack::pack(&request, &watch.run()).unwrap();
    let link = if cfg!(unix) {
        LinkMode::Symlink
    } else {
        LinkMode::Hardlink
    };
    let request = unpack::Request {
        link,
        ..unpack::Request::new(packed, dest.clone())
    };
    unpack::unpack(&request, &watch.run()).unwrap();
    labs::leaves_of_both_formats(&dest)
}

fn required() -> bool {
    std::env::var("LABPACK_CROSS_READERS").is_ok_and(|value| value == "required")
}

/// Runs a reader and returns the SHA-256 of what it writes to its output.
fn output_sha256(command: &mut Command) -> Result<String, String> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child =
        child.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let (mut hasher, mut chunk) = (Sha256::new(), vec![0; 1 << 20]);
    let mut output = child.stdout.take().expect("it is piped");
    loop {
        match output.read(&mut chunk).map_err(|error| error.to_string())? {
            0 => break,
            len => hasher.update(&chunk[..len]),
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!(
            "{} ended with {status}",
            command.get_program().display()
        ));
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn compare(reader: &str, formats: &[DiskFormat], read: impl Fn(&Path, DiskFormat) -> Command) {
    let probe = read(Path::new("/nonexistent"), DiskFormat::Vhdx);
    if Command::new(probe.get_program())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .arg("--help")
        .status()
        .is_err()
    {
        assert!(!required(), "{reader} is not installed");
        println!("skipped: {reader} is not installed");
        return;
    }
    let (folder, watch) = (tempfile::tempdir().unwrap(), Watch::default());
    let mut compared = 0;
    for (leaf, format) in unpacked(folder.path(), &watch) {
        if !formats.contains(&format) {
            continue;
        }
        let ours = sha256(&open_chain(&leaf, &[folder.path().join("vms")], &watch.run()).unwrap());
        let theirs = output_sha256(&mut read(&leaf, format))
            .unwrap_or_else(|error| panic!("{}: {error}", leaf.display()));
        assert_eq!(theirs, ours, "{reader} reads {} otherwise", leaf.display());
        compared += 1;
    }
    assert!(compared >= 2, "{reader} was asked about {compared} disks");
}

#[test]
fn seven_zip_reads_the_unpacked_chains_as_labpack_does() {
    compare(
        "7-Zip",
        &[DiskFormat::Vhd, DiskFormat::Vhdx],
        |leaf, format| {
            let mut command = Command::new("7z");
            let kind = if format == DiskFormat::Vhd {
                "-tvhd"
            } else {
                "-tvhdx"
            };
            command.args(["x", "-so", kind]).arg(leaf);
            command
        },
    );
}

const DISSECT: &str = "
import pathlib, sys
from dissect.hypervisor.disk.vhdx import VHDX
disk = VHDX(pathlib.Path(sys.argv[1]))
while chunk := disk.read(1 << 20):
    sys.stdout.buffer.write(chunk)
";

#[test]
fn dissect_reads_the_unpacked_vhdx_chains_as_labpack_does() {
    let Some(python) = std::env::var_os("LABPACK_PYTHON") else {
        assert!(!required(), "LABPACK_PYTHON is not set");
        println!("skipped: LABPACK_PYTHON is not set");
        return;
    };
    compare("dissect.hypervisor", &[DiskFormat::Vhdx], |leaf, _| {
        let mut command = Command::new(&python);
        command.args(["-c", DISSECT]).arg(leaf);
        command
    });
}
