//! A store in a folder of its own, with real disks in it.

#![expect(
    clippy::disallowed_methods,
    reason = "tests damage files behind labpack's back"
)]

mod collecting;
mod crash;
mod keeping;
mod sharing;

use std::{
    fs::{read, remove_file, write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::*;
use crate::{
    base::{
        Attributes, CanonicalId, ContentId, DiskId, FileTime, IoMeter, Run, Silent, VirtualSize,
    },
    formats::{self, CanonicalForm, DiskFormat, DiskKind, NewDisk, NewParent, ParentPaths},
    fs::{self, Existing, Finish, Sink, TempFile},
    manifest::{self, Manifest, RefDisk, RefDiskFacts, StorePlace, Totals, Unknown, now},
    report::Code,
};

/// A folder for a test: a store, and packs around it.
struct Place {
    folder: tempfile::TempDir,
    meter: Arc<IoMeter>,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            meter: Arc::default(),
        }
    }

    fn run(&self) -> Run<'_> {
        Run {
            progress: &Silent,
            meter: &self.meter,
        }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("RefDisk")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self) -> Store {
        Store::create(&self.dir(), &self.run()).unwrap()
    }

    /// Brings a RefDisk in, as a verb does.
    fn bring(&self, store: &Store, disk: &Sample) -> Entry {
        let path = store.path_of(&disk.named.file);
        let mut temp = TempFile::create(&path, &self.meter).unwrap();
        temp.data(0, &disk.bytes).unwrap();
        let read_only = Attributes {
            read_only: true,
            ..Attributes::default()
        };
        let how = Finish {
            modified: disk.named.modified,
            attributes: read_only,
            existing: Existing::Refuse,
        };
        let stamp = temp.finish(&how).unwrap();
        let entry = Entry::new(&disk.named, disk.parent_file.as_deref(), Some(&stamp));
        store.register(entry, &self.run()).unwrap()
    }

    /// Makes a pack that names these RefDisks, and registers it.
    fn pack(&self, store: &Store, name: &str, disks: &[&Sample]) -> PathBuf {
        let folder = self.at(name);
        std::fs::create_dir_all(&folder).unwrap();
        let manifest = manifest_of(disks);
        write(folder.join(Manifest::FILE_NAME), manifest::write(&manifest)).unwrap();
        let ids: Vec<ContentId> = disks.iter().map(|disk| disk.named.id).collect();
        store.register_use(&ids, &folder, &self.run()).unwrap();
        folder
    }

    fn read_bytes(&self) -> u64 {
        self.meter.totals().read
    }

    fn codes(&self) -> Vec<Code> {
        let report = check(&self.dir(), &self.run()).unwrap();
        report.findings.iter().map(|finding| finding.code).collect()
    }
}

/// A RefDisk and its bytes.
#[derive(Clone)]
struct Sample {
    named: RefDisk,
    bytes: Vec<u8>,
    parent_file: Option<String>,
}

fn plain(name: &str) -> Sample {
    let bytes = name.repeat(3000).into_bytes();
    sample(name, bytes, None, None)
}

fn sample(
    name: &str,
    bytes: Vec<u8>,
    disk: Option<RefDiskFacts>,
    parent_file: Option<String>,
) -> Sample {
    let id = ContentId::from(blake3::hash(&bytes));
    let named = RefDisk {
        id,
        file: file_name(name, &id, disk.is_some()),
        length: bytes.len() as u64,
        modified: FileTime(1_500_000_000_000_000_000),
        disk,
        used_by: Vec::new(),
        unknown: Unknown::new(),
    };
    Sample {
        named,
        bytes,
        parent_file,
    }
}

fn disk_id(byte: u8) -> DiskId {
    DiskId::from_vhdx([byte; 16])
}

fn new_disk(format: DiskFormat, kind: DiskKind, own: u8) -> NewDisk {
    let mut disk = NewDisk::new(format, kind, 4 << 20, disk_id(own));
    disk.block_size = Some(2 << 20);
    disk.data = vec![(1 << 20, vec![own; 4096])];
    disk
}

fn facts_of(bytes: &[u8], own: u8, parent: Option<ContentId>) -> RefDiskFacts {
    let form = formats::canonical_form(&bytes).unwrap();
    RefDiskFacts {
        format: formats::recognise(&bytes).unwrap().unwrap(),
        kind: match parent {
            Some(_) => DiskKind::Differencing,
            None => DiskKind::Dynamic,
        },
        virtual_size: VirtualSize(4 << 20),
        own_id: disk_id(own),
        canonical: (!form.masks.is_empty()).then(|| canonical_of(&form, bytes)),
        parent,
        unknown: Unknown::new(),
    }
}

fn canonical_of(form: &CanonicalForm, bytes: &[u8]) -> CanonicalId {
    let mut masked = bytes.to_vec();
    form.mask(0, &mut masked);
    form.id(blake3::hash(&masked).into())
}

/// A base disk, and a mid-chain disk on it in store form.
fn chain(format: DiskFormat) -> (Sample, Sample) {
    let base = new_disk(format, DiskKind::Dynamic, 1).to_bytes().unwrap();
    let facts = facts_of(&base, 1, None);
    let base = sample("base.x", base, Some(facts), None);
    let mut child = new_disk(format, DiskKind::Differencing, 2);
    child.parent = Some(NewParent {
        id: disk_id(1),
        paths: ParentPaths {
            relative: Some(r".\Win.vhdx".to_owned()),
            absolute: Some(r"D:\Export\VM 1\Virtual Hard Disks\Win.vhdx".to_owned()),
            volume: None,
        },
        timestamp: 0,
    });
    let mut bytes = child.to_bytes().unwrap();
    let form = formats::store_form(&bytes, &base.named.file).unwrap();
    form.apply_to_vec(&mut bytes).unwrap();
    let facts = facts_of(&bytes, 2, Some(base.named.id));
    let parent_file = Some(base.named.file.clone());
    let mid = sample("mid.x", bytes, Some(facts), parent_file);
    (base, mid)
}

fn manifest_of(disks: &[&Sample]) -> Manifest {
    let mut manifest = Manifest {
        format: Manifest::FORMAT.to_owned(),
        version: Manifest::VERSION,
        tool: "labpack test".to_owned(),
        created: now(),
        store: StorePlace::Own,
        totals: Totals::default(),
        vms: Vec::new(),
        other_files: Vec::new(),
        folders: Vec::new(),
        ref_disks: disks.iter().map(|disk| disk.named.clone()).collect(),
        unknown: Unknown::new(),
    };
    manifest.totals = manifest.count().unwrap();
    manifest
}

/// Changes a byte and leaves length and time as they are.
fn flip_a_byte(path: &Path) {
    let before = fs::stamp(path).unwrap();
    make_writable(path);
    let mut bytes = read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    write(path, bytes).unwrap();
    fs::set_times_and_attributes(path, before.modified, before.attributes).unwrap();
}

fn make_writable(path: &Path) {
    let stamp = fs::stamp(path).unwrap();
    fs::set_times_and_attributes(path, stamp.modified, Attributes::default()).unwrap();
}

/// Everything that may go, goes.
const AT_ONCE: GcOptions = GcOptions {
    dry_run: false,
    grace: Duration::ZERO,
};
