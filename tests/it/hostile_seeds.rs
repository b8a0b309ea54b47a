//! The seeds of the fuzz targets, made from disks and documents as labpack writes them.

use labpack::{
    base::DiskId,
    formats::{DiskFormat, DiskKind, NewDisk, NewParent, ParentPaths},
};
use serde_json::{Value, json};

use super::hostile_corpus::targets::{vhd, vhdx};

/// A seed: its target, its name, its bytes.
pub(crate) type Seed = (&'static str, &'static str, Vec<u8>);

/// Every seed; the same in every run.
pub(crate) fn all() -> Vec<Seed> {
    let mut seeds = disks();
    seeds.extend(documents());
    seeds.extend(chains());
    seeds
}

const GOLDEN: &str = include_str!("../../manifests/golden-v1.json");
const MIB: u32 = 1 << 20;

fn disks() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, disk) in [
        ("dynamic", new(DiskFormat::Vhd, DiskKind::Dynamic, 4096)),
        ("child", new(DiskFormat::Vhd, DiskKind::Differencing, 4096)),
        (
            "child-of-large-blocks",
            new(DiskFormat::Vhd, DiskKind::Differencing, 2 * MIB),
        ),
    ] {
        seeds.push(("vhd", name, of_vhd(&disk)));
        seeds.push(("masks", name, for_masks(0, of_vhd(&disk))));
    }
    let mut fixed = vec![vhd::SEAL, 0, 0];
    fixed.extend(
        new(DiskFormat::Vhd, DiskKind::Fixed, 4096)
            .to_bytes()
            .unwrap(),
    );
    seeds.push(("vhd", "fixed", fixed));
    for (name, kind, block) in [
        ("dynamic-x", DiskKind::Dynamic, MIB),
        ("fixed-x", DiskKind::Fixed, MIB),
        ("child-x", DiskKind::Differencing, MIB),
        ("child-of-2-mib-blocks-x", DiskKind::Differencing, 2 * MIB),
    ] {
        let disk = new(DiskFormat::Vhdx, kind, block);
        seeds.push(("vhdx", name, of_vhdx(&disk)));
        seeds.push(("masks", name, for_masks(1, of_vhdx(&disk))));
    }
    seeds
}

/// A disk of two blocks, with a little data in the first.
fn new(format: DiskFormat, kind: DiskKind, block: u32) -> NewDisk {
    let size = if kind == DiskKind::Fixed {
        1024
    } else {
        2 * u64::from(block)
    };
    let (own, parent) = match format {
        DiskFormat::Vhd => (DiskId::from_vhd([0xC1; 16]), DiskId::from_vhd([0xBA; 16])),
        DiskFormat::Vhdx => (DiskId::from_vhdx([0xC1; 16]), DiskId::from_vhdx([0xBA; 16])),
    };
    NewDisk {
        block_size: (format == DiskFormat::Vhdx || kind != DiskKind::Fixed).then_some(block),
        parent: (kind == DiskKind::Differencing).then(|| NewParent {
            id: parent,
            paths: ParentPaths {
                relative: Some(r".\base.vhdx".to_owned()),
                absolute: Some(r"D:\lab\base.vhdx".to_owned()),
                volume: None,
            },
            timestamp: 0x2A00_0000,
        }),
        data: vec![(512, vec![0x5A; 512])],
        ..NewDisk::new(format, kind, size, own)
    }
}

/// Cuts the windows out of an image.
fn cut(image: &[u8], windows: &[(u64, usize)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &(offset, len) in windows {
        let start = usize::try_from(offset).unwrap().min(image.len());
        let window = &image[start..image.len().min(start + len)];
        bytes.extend(window);
        bytes.resize(bytes.len() + len - window.len(), 0);
    }
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap_or(0);
    bytes.truncate(used + 1);
    bytes
}

fn of_vhd(disk: &NewDisk) -> Vec<u8> {
    let image = disk.to_bytes().unwrap();
    let sectors = u16::try_from(image.len() / 512 - 1).unwrap();
    let mut seed = vec![vhd::SEAL | vhd::WINDOWED];
    seed.extend(sectors.to_le_bytes());
    seed.extend(cut(&image, &vhd::WINDOWS));
    seed
}

fn of_vhdx(disk: &NewDisk) -> Vec<u8> {
    let image = disk.to_bytes().unwrap();
    let sectors = u32::try_from(image.len() / 512).unwrap();
    let mut seed = vec![vhdx::SEAL];
    seed.extend(sectors.to_le_bytes());
    seed.extend(cut(&image, &vhdx::WINDOWS));
    seed
}

fn for_masks(format: u8, disk: Vec<u8>) -> Vec<u8> {
    let mut seed = vec![format, 3];
    seed.extend(disk);
    seed.extend([0xFF, 0x10, 0x27, 0, 0, 0, 0, 0]);
    seed
}

fn documents() -> Vec<Seed> {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let text = |value: &Value| serde_json::to_vec(value).unwrap();
    let mut log = Vec::new();
    for line in run_log(&golden) {
        log.extend(text(&line));
        log.push(b'\n');
    }
    vec![
        ("manifest", "golden", text(&golden)),
        ("manifest", "smallest", text(&smallest())),
        ("journal", "pack", text(&journal(&golden))),
        ("journal", "restore", text(&restore())),
        ("receipt", "receipt", text(&receipt(&golden))),
        ("receipt", "log", log),
        ("index", "index", text(&index(&golden))),
    ]
}

fn smallest() -> Value {
    json!({
        "format": "labpack-manifest", "version": 1, "tool": "labpack", "store": "own",
        "created": "2026-07-01T12:34:56Z", "vms": [], "other_files": [], "folders": [],
        "ref_disks": [], "totals": {
            "vms": 0, "files": 0, "export_bytes": 0, "packed_bytes": 0, "ref_disks": 0,
            "ref_disk_bytes": 0,
        },
    })
}

fn seen() -> Value {
    json!({ "key": "fd01:2a", "length": 8_388_608, "modified": 1_600_000_000_123_456_700_u64 })
}

/// A pack of the golden lab in place, of which one RefDisk is still to be moved.
fn journal(golden: &Value) -> Value {
    let disk = &golden["ref_disks"][1];
    let from = &disk["used_by"][0];
    let other = &disk["used_by"][1];
    let memory = json!({ "seen": seen(), "content": disk["id"], "canonical": disk["id"],
        "store_form": { "parent": "base", "id": disk["id"] } });
    json!({ "format": "labpack-journal", "version": 1, "deed": { "pack": {
        "mode": "in-place",
        "plan": {
            "manifest": golden,
            "entries": [{ "id": disk["id"], "file": disk["file"], "from": from, "seen": seen(),
                "patch": [{ "offset": 65536, "bytes": "AAAA" }, { "offset": 9, "zeros": 512 }] }],
            "removals": [{ "path": other, "seen": seen(), "ref_disk": disk["id"] }],
            "savings": [{ "vm": "DC 01", "bytes": 10, "in_store": 5 }],
        },
        "memory": { "DC 01/a": memory },
        "root": -100,
        "waiting": [{ "path": "read me.txt", "for_store": false }],
        "obsolete": [], "obsolete_folders": ["old"], "unused": [],
    } } })
}

fn restore() -> Value {
    json!({ "format": "labpack-journal", "version": 1, "deed": { "restore": { "root": null } } })
}

fn file_record(golden: &Value) -> Value {
    let id = &golden["ref_disks"][0]["id"];
    json!({ "path": "DC 01/a.vhdx", "packed": id, "written": id, "seen": seen(),
        "parent": { "relative": r".\b.vhdx", "absolute": r"D:\b.vhdx" } })
}

fn link_record(golden: &Value) -> Value {
    let id = &golden["ref_disks"][0]["id"];
    json!({ "path": "DC 01/b.vhdx", "kind": "symlink", "ref_disk": id, "target": "../RefDisk/b",
        "key": "1:2" })
}

fn receipt(golden: &Value) -> Value {
    json!({ "format": "labpack-receipt", "version": 1, "tool": "labpack", "pack": "/pack",
        "created": "2026-07-01T12:34:56Z", "store": "RefDisk", "link": "hardlink",
        "ref_disks": [golden["ref_disks"][0]["id"]],
        "files": [file_record(golden)], "links": [link_record(golden)] })
}

fn run_log(golden: &Value) -> [Value; 4] {
    let id = &golden["ref_disks"][0]["id"];
    [
        json!({ "run": "relocate" }),
        json!({ "intent": { "path": "DC 01/a.vhdx", "packed": id, "length": 5, "modified": 7 } }),
        json!({ "file": file_record(golden) }),
        json!({ "link": link_record(golden) }),
    ]
}

fn index(golden: &Value) -> Value {
    let entry = |at: usize| {
        let disk = &golden["ref_disks"][at];
        json!({ "id": disk["id"], "file": disk["file"], "length": disk["length"],
            "modified": disk["modified"], "disk": disk["disk"], "stamp": seen(),
            "packs": [{ "path": "/packs/a", "seen": "2026-07-01T12:34:56Z" }],
            "last_used": "2026-07-01T12:34:56Z", "comment": [1, null] })
    };
    let mut child = entry(1);
    child["parent_file"] = golden["ref_disks"][0]["file"].clone();
    json!({ "format": "labpack-store", "version": 1, "entries": [entry(0), child] })
}

/// Graphs are read off any bytes. These were found among chance ones; a test says what for.
fn chains() -> Vec<Seed> {
    let ladder = |choice: u8| [b"ladder".as_slice(), &[choice], &[0x55; 40]].concat();
    let found = [
        (
            "two-levels",
            include_bytes!("../../fuzz/seeds/chains/two-levels"),
        ),
        (
            "three-levels",
            include_bytes!("../../fuzz/seeds/chains/three-levels"),
        ),
        (
            "four-levels",
            include_bytes!("../../fuzz/seeds/chains/four-levels"),
        ),
    ];
    let mut seeds = vec![
        ("chains", "ladder-sound", ladder(1)),
        ("chains", "ladder-too-long", ladder(2)),
    ];
    seeds.extend(found.map(|(name, bytes)| ("chains", name, bytes.to_vec())));
    seeds
}
