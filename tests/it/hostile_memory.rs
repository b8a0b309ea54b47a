//! Files that promise more than memory holds, read by the command with little of it.
//!
//! The command gets an address space of [`CAP`], its own code and threads included. Whoever
//! believes a length in a file is stopped by the system then, with a signal.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::Command,
};

use labpack::{
    base::DiskId,
    formats::{DiskFormat, DiskKind, NewDisk, NewParent, ParentPaths},
};

use crate::support::{
    labs::id,
    shell::{Said, args},
};

/// KiB.
const CAP: u32 = 384 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Runs the command with little memory; it must come to an answer.
#[track_caller]
fn capped<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Said {
    let script = format!("ulimit -v {CAP} && exec \"$0\" --json \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_labpack")])
        .args(args)
        // Each thread reserves a stack, and glibc an arena.
        .env("RAYON_NUM_THREADS", "2")
        .env("MALLOC_ARENA_MAX", "2")
        .output()
        .unwrap();
    let said = Said::of(output);
    assert!(matches!(said.code, Some(0..=9)), "{said:#?}");
    said
}

/// A folder that goes with the value.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn write(folder: &Path, name: &str, disk: &NewDisk) -> PathBuf {
    let path = folder.join(name);
    disk.write_to(&mut File::create(&path).unwrap()).unwrap();
    path
}

fn vhdx(size: u64, block: u64) -> NewDisk {
    NewDisk {
        block_size: Some(u32::try_from(block).unwrap()),
        ..NewDisk::new(
            DiskFormat::Vhdx,
            DiskKind::Dynamic,
            size,
            id(DiskFormat::Vhdx, 1),
        )
    }
}

fn put(path: &Path, offset: u64, bytes: &[u8]) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

fn grow(path: &Path, len: u64) {
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(len)
        .unwrap();
}

#[test]
fn the_cap_stops_who_takes_more() {
    let script = format!("ulimit -v {CAP} && exec head -c {GIB} /dev/zero | tail -n 1");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(
        !output.status.success(),
        "tail keeps a line of 1 GiB in memory"
    );
}

#[test]
fn a_header_that_promises_64_tib_without_a_table_for_it_is_refused() {
    let scratch = scratch();
    let disk = write(scratch.path(), "base.vhdx", &vhdx(16 * MIB, MIB));
    put(&disk, 0x21_0008, &(64 * TIB).to_le_bytes());
    for verb in ["inspect", "verify"] {
        assert_eq!(capped(args![verb, disk]).codes(), ["corrupt"], "{verb}");
    }
}

#[test]
fn a_disk_of_64_tib_is_walked_in_pieces() {
    let scratch = scratch();
    let disk = write(scratch.path(), "base.vhdx", &vhdx(64 * TIB, 2 * MIB));
    for verb in ["inspect", "verify"] {
        capped(args![verb, disk]).ends(0);
    }
}

#[test]
fn a_table_of_a_million_entries_that_all_lie_is_refused() {
    let scratch = scratch();
    let disk = write(scratch.path(), "base.vhdx", &vhdx(TIB, MIB));
    let entries: Vec<u8> = (1..=1_u64 << 20)
        .flat_map(|entry| ((entry << 40) | 6).to_le_bytes())
        .collect();
    put(&disk, 0x30_0000, &entries);
    assert_eq!(capped(args!["verify", disk]).codes(), ["truncated"]);
}

#[test]
fn a_vhd_with_a_table_for_four_million_blocks_is_walked_in_pieces() {
    let scratch = scratch();
    let mut base = NewDisk::new(
        DiskFormat::Vhd,
        DiskKind::Dynamic,
        2040 * GIB,
        id(DiskFormat::Vhd, 1),
    );
    base.block_size = Some(512 << 10);
    let disk = write(scratch.path(), "base.vhd", &base);
    capped(args!["verify", disk]).ends(0);
}

#[test]
fn a_table_of_2047_regions_is_read_and_a_disk_refused_whose_regions_overlap() {
    let scratch = scratch();
    let disk = write(scratch.path(), "base.vhdx", &vhdx(16 * MIB, MIB));
    grow(&disk, 8 * GIB);
    let mut table = fs::read(&disk).map(|mut bytes| {
        bytes.truncate(0x4_0000);
        bytes.split_off(0x3_0000)
    });
    let table = table.as_mut().unwrap();
    table[8..12].copy_from_slice(&2047_u32.to_le_bytes());
    for number in 2..2047_usize {
        let entry = &mut table[16 + 32 * number..][..32];
        entry[..8].copy_from_slice(&(number as u64).to_le_bytes());
        entry[16..24].copy_from_slice(&((0x100 + number as u64) << 20).to_le_bytes());
        entry[24..28].copy_from_slice(&0x10_0000_u32.to_le_bytes());
    }
    for (overlap, codes) in [(false, vec![]), (true, vec!["corrupt"])] {
        if overlap {
            table[16 + 32 * 2000 + 24..][..4].copy_from_slice(&0x20_0000_u32.to_le_bytes());
        }
        table[4..8].fill(0);
        let sum = crc32c::crc32c(table).to_le_bytes();
        table[4..8].copy_from_slice(&sum);
        put(&disk, 0x3_0000, table);
        put(&disk, 0x4_0000, table);
        assert_eq!(
            capped(args!["verify", disk]).codes(),
            codes,
            "overlap: {overlap}"
        );
    }
}

#[test]
fn a_chain_of_ten_thousand_disks_is_one_that_is_too_deep() {
    let scratch = scratch();
    let id = |level: u16| {
        let [high, low] = level.to_be_bytes();
        DiskId::from_vhd([high, low, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])
    };
    for level in 0..10_000_u16 {
        let mut disk = NewDisk::new(DiskFormat::Vhd, DiskKind::Dynamic, 4096, id(level));
        disk.block_size = Some(4096);
        if let Some(below) = level.checked_sub(1) {
            disk.kind = DiskKind::Differencing;
            disk.parent = Some(NewParent {
                id: id(below),
                paths: ParentPaths {
                    relative: Some(format!(r".\{below}.vhd")),
                    ..ParentPaths::default()
                },
                timestamp: 0,
            });
        }
        write(scratch.path(), &format!("{level}.vhd"), &disk);
    }
    let said = capped(args!["verify", scratch.path()]);
    assert!(
        said.codes().contains(&"chain-too-deep".to_owned()),
        "{:?}",
        said.codes()
    );
    let leaf = capped(args!["inspect", scratch.path().join("9999.vhd")]);
    assert!(leaf.code.is_some());
}

/// Where labpack looks for documents that somebody else may have written, how it is made to read
/// them, and what they begin with.
fn documents(root: &Path) -> [(PathBuf, Vec<std::ffi::OsString>, &'static str); 5] {
    let [pack, lab, store] = ["pack", "lab", "store"].map(|name| root.join(name));
    let dest = root.join("dest");
    [
        (
            pack.join("labpack.json"),
            args!["verify", pack].into(),
            "labpack-manifest",
        ),
        (
            pack.join("labpack.json"),
            args!["unpack", pack, dest].into(),
            "labpack-manifest",
        ),
        (
            lab.join("labpack.journal"),
            args!["pack", lab].into(),
            "labpack-journal",
        ),
        (
            store.join("index.json"),
            args!["store", "list", store].into(),
            "labpack-store",
        ),
        (
            lab.join("labpack-unpacked.json"),
            args!["verify", "--content", lab].into(),
            "labpack-receipt",
        ),
    ]
}

/// Has each document read that `make` wrote after what it begins with.
#[track_caller]
fn each_is_refused(make: impl Fn(&mut File)) {
    (0..5).for_each(|at| is_refused(at, &make));
}

/// Has one of the documents read.
#[track_caller]
fn is_refused(at: usize, make: impl Fn(&mut File)) {
    let scratch = scratch();
    let (path, args, format) = &documents(scratch.path())[at];
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = File::create(path).unwrap();
    write!(file, r#"{{"format":"{format}","version":1,"x":"#).unwrap();
    make(&mut file);
    let said = capped(args);
    let name = path.file_name().unwrap().to_str().unwrap();
    assert_ne!(said.code, Some(0), "{args:?}: {said:#?}");
    assert!(
        said.out.contains(name),
        "{args:?} does not name {name}: {said:#?}"
    );
}

#[test]
fn a_document_nested_a_hundred_thousand_deep_is_refused() {
    each_is_refused(|file| file.write_all(&[b'['; 100_000]).unwrap());
    each_is_refused(|file| file.write_all(&br#"{"x":"#.repeat(100_000)).unwrap());
}

#[test]
fn a_document_of_many_small_values_is_refused_before_they_are_kept() {
    // Each takes two bytes here, and dozens in memory.
    is_refused(0, |file| {
        file.write_all(b"[").unwrap();
        file.write_all(&b"0,".repeat(16 << 20)).unwrap();
        file.write_all(b"0]}").unwrap();
    });
    is_refused(3, |file| {
        let pairs = (0..3 << 20).map(|key: u32| format!(r#""{key:x}":0,"#));
        let pairs: String = pairs.collect();
        write!(file, r#"{{{pairs}"":0}}}}"#).unwrap();
    });
}

#[test]
fn a_manifest_with_as_many_unknown_values_as_may_be_is_read() {
    let scratch = scratch();
    let golden = include_str!("../../manifests/golden-v1.json").trim_end();
    let golden = golden.strip_suffix('}').unwrap();
    let values = "0,".repeat(2_000_000);
    let text = format!(r#"{golden}, "x": [{values}0]}}"#);
    fs::write(scratch.path().join("labpack.json"), text).unwrap();
    // It is read: what is missed are the files of the pack.
    let said = capped(args!["verify", scratch.path()]).ends(1);
    assert!(
        !said.codes().is_empty() && said.out.contains("DC 01"),
        "{said:#?}"
    );
}

#[test]
fn a_document_of_a_gibibyte_is_refused_by_its_length() {
    each_is_refused(|file| file.set_len(GIB).unwrap());
}

#[test]
fn a_document_as_long_as_may_be_is_refused_for_what_is_in_it() {
    each_is_refused(|file| file.set_len(200 * MIB).unwrap());
}
