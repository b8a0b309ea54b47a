//! How much memory the command takes for a lab of very many files, told from two smaller ones.
//!
//! For 100,000 it takes less a file: lists that long go back to the system as soon as they are
//! freed. `benches/lab/run --huge` measures that.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread::sleep,
    time::Duration,
};

use crate::support::{
    shell::{args, labpack},
    small_labs::four_on_one_parent,
};
use labpack::formats::DiskFormat;

/// So many files beside its disks has a lab, or so many more.
const FEW: u64 = 1_000;
const MORE: u64 = 20_000;
/// As many bytes may each of them take.
const EACH: u64 = 700;

/// A folder that goes with the value, in memory where the system has such: files are flushed.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn lab(folder: &Path, files: u64) -> PathBuf {
    let lab = folder.join("lab");
    four_on_one_parent(&lab, DiskFormat::Vhdx);
    for at in 0..files {
        let folder = lab.join(format!("VM {}/logs/{:03}", 1 + at % 4, at / 400));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("event {at:06}.log")), at.to_string()).unwrap();
    }
    lab
}

/// The most memory that a process has had so far, in KiB.
fn peak(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Runs the command to its end; returns the most memory that it had, in KiB.
#[track_caller]
fn peak_of<const N: usize>(args: [std::ffi::OsString; N]) -> u64 {
    let mut command = labpack();
    command
        .args(&args)
        .arg("--quiet")
        .env("RAYON_NUM_THREADS", "2");
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let mut most = 0;
    loop {
        most = most.max(peak(&child).unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{args:?}: {status}");
            return most;
        }
        sleep(Duration::from_millis(1));
    }
}

/// What each verb takes for a lab of so many files, in KiB.
fn peaks(files: u64) -> Vec<(&'static str, u64)> {
    let folder = scratch();
    let lab = lab(folder.path(), files);
    let (pack, vms) = (folder.path().join("pack"), folder.path().join("vms"));
    vec![
        ("pack", peak_of(args!["pack", lab, "--output", pack])),
        ("pack again", peak_of(args!["pack", lab, "--output", pack])),
        ("unpack", peak_of(args!["unpack", pack, vms])),
        ("unpack again", peak_of(args!["unpack", pack, vms])),
        ("verify", peak_of(args!["verify", vms])),
        ("verify a pack", peak_of(args!["verify", pack])),
        (
            "verify --content",
            peak_of(args!["verify", pack, "--content"]),
        ),
        ("pack in place", peak_of(args!["pack", lab])),
        ("pack in place again", peak_of(args!["pack", lab])),
        ("restore", peak_of(args!["restore", lab])),
    ]
}

#[test]
fn no_verb_takes_more_than_700_bytes_of_memory_for_each_file() {
    if !Path::new("/proc/self/status").exists() {
        println!("skipped: no /proc that tells the memory of a process");
        return;
    }
    let (few, many) = (peaks(FEW), peaks(FEW + MORE));
    for ((verb, few), (_, many)) in few.into_iter().zip(many) {
        assert!(few > 0 && many > few, "{verb}: {few} KiB, then {many}");
        let each = (many - few) * 1024 / MORE;
        println!("{verb}: {few} KiB, {many} KiB, {each} bytes a file");
        assert!(each <= EACH, "{verb}: {each} bytes a file");
    }
}
