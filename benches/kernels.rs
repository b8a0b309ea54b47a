//! The parts that run once for each disk or each file: `cargo bench --bench kernels`.
//!
//! Each works in memory, so that what is measured is labpack and not the machine's disks. What a
//! whole command takes, beside what users would run instead, is measured by `benches/lab/run`.
#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot go on has nothing to say"
)]

use std::{hint::black_box, path::PathBuf, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use labpack::{
    base::{DiskId, IoMeter, Run, Silent},
    export::examine,
    formats::{
        DiskFormat, DiskKind, NewDisk, NewParent, ParentPaths, canonical_form, check_blocks,
        read_info, relink,
    },
    fs::{SourceFile, Subject, content_id, write_atomic},
    manifest,
};
use serde_json::json;

const MIB: u64 = 1 << 20;

const fn id(format: DiskFormat, number: u8) -> DiskId {
    match format {
        DiskFormat::Vhd => DiskId::from_vhd([number; 16]),
        DiskFormat::Vhdx => DiskId::from_vhdx([number; 16]),
    }
}

/// A disk of 64 MiB that holds 8 MiB which do not compress.
fn disk(format: DiskFormat, kind: DiskKind, own: u8) -> NewDisk {
    let mut data = vec![0; 8 << 20];
    blake3::Hasher::new_derive_key("labpack benches")
        .update(&[own])
        .finalize_xof()
        .fill(&mut data);
    let mut disk = NewDisk::new(format, kind, 64 * MIB, id(format, own));
    disk.data = vec![(4 * MIB, data)];
    disk
}

fn child(format: DiskFormat, own: u8, parent: u8, name: &str) -> NewDisk {
    let mut disk = disk(format, DiskKind::Differencing, own);
    disk.parent = Some(NewParent {
        id: id(format, parent),
        paths: ParentPaths {
            relative: Some(format!(r".\{name}")),
            absolute: Some(format!(r"C:\Export\{name}")),
            volume: None,
        },
        timestamp: 0,
    });
    disk
}

const FORMATS: [DiskFormat; 2] = [DiskFormat::Vhd, DiskFormat::Vhdx];

fn headers(c: &mut Criterion) {
    let mut group = c.benchmark_group("headers of a child");
    for format in FORMATS {
        let bytes = child(format, 2, 1, "base").to_bytes().unwrap();
        group.bench_function(format!("{format}: read_info"), |b| {
            b.iter(|| read_info(black_box(&bytes)).unwrap());
        });
        group.bench_function(format!("{format}: check_blocks"), |b| {
            b.iter(|| check_blocks(black_box(&bytes)).unwrap());
        });
    }
    group.finish();
}

/// The same file hashed plainly beside it: the mask should cost next to nothing.
fn canonical(c: &mut Criterion) {
    let mut group = c.benchmark_group("digest of a child");
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let bytes = child(format, 2, 1, "base").to_bytes().unwrap();
        let path = folder.path().join(format.to_string());
        write_atomic(&path, &bytes).unwrap();
        let meter = Arc::new(IoMeter::default());
        let source = SourceFile::open(&path, &meter).unwrap();
        let run = Run {
            progress: &Silent,
            meter: &meter,
        };
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("{format}: plain"), |b| {
            b.iter(|| content_id(&source, &run).unwrap());
        });
        group.bench_function(format!("{format}: canonical"), |b| {
            b.iter(|| {
                let form = canonical_form(&source).unwrap();
                let blanking = form.blanking();
                let digests = Subject::of(&source).form(&blanking).read(&run);
                form.id(digests.unwrap().forms[0])
            });
        });
    }
    group.finish();
}

fn relinking(c: &mut Criterion) {
    let mut group = c.benchmark_group("another path for the parent");
    let paths = ParentPaths {
        relative: Some(r"..\..\RefDisk\base.0123456789ab.vhdx".to_owned()),
        absolute: Some(r"D:\VMs\RefDisk\base.0123456789ab.vhdx".to_owned()),
        volume: None,
    };
    for format in FORMATS {
        let bytes = child(format, 2, 1, "base").to_bytes().unwrap();
        group.bench_function(format!("{format}: patch"), |b| {
            b.iter(|| relink(black_box(&bytes), &paths).unwrap());
        });
    }
    group.finish();
}

/// 100 chains of 3 in one folder, on a file system: what `verify` does.
fn chains(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: String, mut disk: NewDisk| {
        disk.data = vec![(0, vec![1; 512])];
        let mut file = fs_err::File::create(folder.path().join(name)).unwrap();
        disk.write_to(&mut file).unwrap();
    };
    let format = DiskFormat::Vhd;
    for number in 0..100 {
        let names = ["base", "mid", "leaf"].map(|name| format!("{name} {number}.vhd"));
        write(names[0].clone(), disk(format, DiskKind::Dynamic, 1));
        write(names[1].clone(), child(format, 2, 1, &names[0]));
        write(names[2].clone(), child(format, 3, 2, &names[1]));
    }
    let paths = [PathBuf::from(folder.path())];
    c.bench_function("100 chains of three VHDs examined", |b| {
        b.iter(|| {
            let meter = Arc::new(IoMeter::default());
            let run = Run {
                progress: &Silent,
                meter: &meter,
            };
            let examined = examine(&paths, &[], &run).unwrap();
            assert_eq!(examined.leaves().count(), 100);
        });
    });
}

/// A manifest of 100,000 files, none of them in the store.
fn large_manifest() -> Vec<u8> {
    let file = |number: u32| {
        json!({
            "path": format!("VM/{:03}/state {number}.bin", number % 1000),
            "length": 4096, "modified": 1_600_000_000, "role": "file",
            "digest": blake3::hash(&number.to_le_bytes()).to_hex().as_str(),
            "place": { "in": "pack" },
        })
    };
    let mut files: Vec<_> = (0..100_000).map(file).collect();
    files.sort_by_key(|file| file["path"].as_str().map(ToOwned::to_owned));
    let bytes = 100_000_u64 * 4096;
    let folders: Vec<_> = std::iter::once("VM".to_owned())
        .chain((0..1000).map(|number| format!("VM/{number:03}")))
        .map(|path| json!({ "path": path, "modified": 0 }))
        .collect();
    let manifest = json!({
        "format": "labpack-manifest", "version": 1, "tool": "labpack benches",
        "created": "2026-01-01T00:00:00Z", "store": "own",
        "totals": { "vms": 1, "files": 100_000, "export_bytes": bytes, "packed_bytes": bytes,
                    "ref_disks": 0, "ref_disk_bytes": 0 },
        "vms": [{ "name": "VM", "folder": "VM", "files": files }],
        "folders": folders, "ref_disks": [],
    });
    serde_json::to_vec(&manifest).unwrap()
}

fn manifests(c: &mut Criterion) {
    let bytes = large_manifest();
    let mut group = c.benchmark_group("manifest of 100,000 files");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("read and check", |b| {
        b.iter(|| manifest::read(black_box(&bytes)).unwrap());
    });
    // How long a plain parse takes, without one check.
    group.bench_function("parse as JSON alone", |b| {
        b.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(&bytes)).unwrap());
    });
    let read = manifest::read(&bytes).unwrap();
    group.bench_function("write", |b| {
        b.iter_batched(|| &read, manifest::write, BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(kernels, headers, canonical, relinking, chains, manifests);
criterion_main!(kernels);
