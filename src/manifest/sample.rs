//! A manifest that has one of everything, for tests.

use super::*;
use crate::{
    base::{Attributes, CanonicalId, ContentId, DiskId, FileTime, RelPath, VirtualSize},
    formats::{DiskFormat, DiskKind},
};

/// The sample of version 1 as it was first written; never edited.
pub(crate) const GOLDEN: &[u8] = include_bytes!("../../manifests/golden-v1.json");

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

pub(crate) fn id(text: &str) -> ContentId {
    ContentId::from(blake3::hash(text.as_bytes()))
}

fn disk_id(byte: u8) -> DiskId {
    DiskId::from_vhdx([byte; 16])
}

pub(crate) fn file(
    at: &str,
    length: u64,
    digest: ContentId,
    role: Role,
    place: Place,
) -> PackedFile {
    PackedFile {
        path: path(at),
        length,
        modified: FileTime(1_600_000_000_123_456_700),
        attributes: Attributes::default(),
        digest,
        role,
        disk: None,
        place,
        unknown: Unknown::new(),
    }
}

pub(crate) fn stored(ref_disk: ContentId, sharing: Sharing, runs: Vec<Run>) -> Place {
    Place::Store(Box::new(InStore {
        ref_disk,
        sharing,
        residue: Residue(runs),
    }))
}

fn facts(kind: DiskKind, own: u8, parent: Option<(&str, u8)>) -> DiskFacts {
    DiskFacts {
        format: DiskFormat::Vhdx,
        kind,
        virtual_size: VirtualSize(64 << 20),
        own_id: disk_id(own),
        parent: parent.map(|(at, id)| ParentFacts {
            path: path(at),
            id: disk_id(id),
            unknown: Unknown::new(),
        }),
        unknown: Unknown::new(),
    }
}

/// Base and mid-chain disk, each from two VM folders, under them one leaf each, and an ISO twice.
fn vm(name: &str, runs: Vec<Run>) -> Vm {
    let below = |file: &str| format!("{name}/Virtual Hard Disks/{file}");
    let (base_at, mid_at) = (below("base.vhdx"), below("mid.avhdx"));
    let own_digest = if runs.is_empty() { id("mid") } else { id(name) };
    let base = stored(id("base"), Sharing::Link, vec![]);
    let mut base = file(&base_at, 8 << 20, id("base"), Role::Parent, base);
    base.disk = Some(Box::new(facts(DiskKind::Dynamic, 1, None)));
    let mid = stored(id("mid"), Sharing::Link, runs);
    let mut mid = file(&mid_at, 4 << 20, own_digest, Role::Parent, mid);
    mid.disk = Some(Box::new(facts(
        DiskKind::Differencing,
        2,
        Some((&base_at, 1)),
    )));
    let leaf_id = id(&format!("leaf of {name}"));
    let mut leaf = file(
        &below("root.avhdx"),
        4 << 20,
        leaf_id,
        Role::Leaf,
        Place::Pack,
    );
    leaf.disk = Some(Box::new(facts(
        DiskKind::Differencing,
        3,
        Some((&mid_at, 2)),
    )));
    let iso = stored(id("iso"), Sharing::Copy, vec![]);
    let mut iso = file(&below("tools.iso"), 1 << 20, id("iso"), Role::File, iso);
    iso.attributes.read_only = true;
    Vm {
        name: name.to_owned(),
        folder: Some(path(name)),
        files: vec![base, mid, leaf, iso],
        unknown: Unknown::new(),
    }
}

fn ref_disk(stem: &str, length: u64, ext: &str, disk: Option<RefDiskFacts>) -> RefDisk {
    RefDisk {
        id: id(stem),
        file: format!("{stem}.{}.{ext}", id(stem).short()),
        length,
        modified: FileTime(1_600_000_000_123_456_700),
        disk,
        used_by: Vec::new(),
        unknown: Unknown::new(),
    }
}

fn ref_facts(kind: DiskKind, own: u8, parent: Option<ContentId>) -> RefDiskFacts {
    RefDiskFacts {
        format: DiskFormat::Vhdx,
        kind,
        virtual_size: VirtualSize(64 << 20),
        own_id: disk_id(own),
        canonical: parent.map(|_| CanonicalId::from_bytes([7; 32])),
        parent,
        unknown: Unknown::new(),
    }
}

/// Fills in what follows from the rest.
pub(crate) fn completed(mut manifest: Manifest) -> Manifest {
    let uses: Vec<(ContentId, RelPath)> = manifest
        .files()
        .filter_map(|file| Some((file.place.in_store()?.ref_disk, file.path.clone())))
        .collect();
    for disk in &mut manifest.ref_disks {
        let mine = uses.iter().filter(|(id, _)| *id == disk.id);
        disk.used_by = mine.map(|(_, path)| path.clone()).collect();
    }
    manifest.totals = manifest.count().unwrap();
    manifest
}

pub(crate) fn sample() -> Manifest {
    let run = |offset, bytes: &[u8]| Run {
        offset,
        bytes: bytes.to_vec(),
    };
    let residue = vec![
        run(65_552, b"\x09\0\0\0"),
        run(1 << 20, b"D:\\VM 2\\base.vhdx"),
    ];
    let folder = |at: &str| Folder {
        path: path(at),
        modified: FileTime(-100),
        unknown: Unknown::new(),
    };
    let mid_facts = ref_facts(DiskKind::Differencing, 2, Some(id("base")));
    completed(Manifest {
        format: Manifest::FORMAT.to_owned(),
        version: Manifest::VERSION,
        tool: "labpack 0.1.0".to_owned(),
        created: "2026-07-01T12:34:56Z".to_owned(),
        store: StorePlace::Own,
        totals: Totals::default(),
        vms: vec![vm("DC 01", vec![]), vm("Ünïcode", residue)],
        other_files: vec![file("read me.txt", 3, id("txt"), Role::File, Place::Pack)],
        folders: vec![
            folder("DC 01"),
            folder("DC 01/Virtual Hard Disks"),
            folder("Ünïcode"),
            folder("Ünïcode/Snapshots"),
            folder("Ünïcode/Virtual Hard Disks"),
        ],
        ref_disks: vec![
            ref_disk(
                "base",
                8 << 20,
                "vhdx",
                Some(ref_facts(DiskKind::Dynamic, 1, None)),
            ),
            ref_disk("mid", 4 << 20, "vhdx", Some(mid_facts)),
            ref_disk("iso", 1 << 20, "iso", None),
        ],
        unknown: Unknown::new(),
    })
}
