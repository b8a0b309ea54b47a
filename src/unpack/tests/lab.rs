//! A small lab, its pack, and what its files and guests hold.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    base::{Attributes, ContentId, DiskId, FileTime, RelPath, VirtualSize},
    formats::{self, DiskFormat, DiskKind, NewDisk, NewParent, ParentPaths},
    manifest::{
        self, DiskFacts, Folder, InStore, Manifest, PackedFile, ParentFacts, Place, RefDisk,
        RefDiskFacts, Residue, Role, Run, Sharing, StorePlace, Totals, Unknown, Vm,
    },
    store,
};

pub(super) const SIZE: u64 = 4 << 20;
const DISKS: &str = "Virtual Hard Disks";
pub(super) const VMS: [&str; 2] = ["DC01", "SRV 02"];
/// 2020-09-13, on a whole second: VHDs keep no more of their parent's time.
const TIME: FileTime = FileTime(1_600_000_000_000_000_000);

/// A lab and its pack.
pub(super) struct Lab {
    pub(super) root: tempfile::TempDir,
    pub(super) format: DiskFormat,
    /// The export, byte for byte.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) manifest: Manifest,
}

/// What a test adds to, or takes from, the lab before it is packed.
pub(super) struct Kind {
    pub(super) format: DiskFormat,
    pub(super) store: StorePlace,
}

impl Lab {
    pub(super) fn of(format: DiskFormat) -> Self {
        Self::build(&Kind {
            format,
            store: StorePlace::Own,
        })
    }

    /// Each of two VMs has base ← mid ← leaf, of which base and mid are shared; a checkpoint
    /// with its parent, and a saved state, which both are the same in both VMs; a configuration.
    pub(super) fn build(kind: &Kind) -> Self {
        let mut builder = Builder::new(kind.format);
        for (number, vm) in VMS.into_iter().enumerate() {
            builder.vm(vm, number);
        }
        let root = tempfile::tempdir().unwrap();
        let (files, manifest) = (builder.files.clone(), builder.manifest(kind.store));
        let lab = Self {
            root,
            format: kind.format,
            files,
            manifest,
        };
        lab.write(&builder);
        lab
    }

    pub(super) fn pack(&self) -> PathBuf {
        self.root.path().join("pack")
    }

    pub(super) fn dest(&self) -> PathBuf {
        self.root.path().join("dest")
    }

    fn write(&self, builder: &Builder) {
        for file in self
            .manifest
            .files()
            .filter(|file| file.place == Place::Pack)
        {
            put(
                &file.path.below(&self.pack()),
                &self.files[file.path.as_str()],
            );
        }
        let store = match self.manifest.store {
            StorePlace::Own => self.pack().join("RefDisk"),
            StorePlace::Shared => self.root.path().join("shared"),
        };
        for (disk, bytes) in &builder.ref_disks {
            let path = store.join(&disk.file);
            put(&path, bytes);
            let time = filetime::FileTime::from_unix_time(TIME.0 / 1_000_000_000, 0);
            filetime::set_file_mtime(&path, time).unwrap();
            read_only(&path, true);
        }
        self.write_manifest();
    }

    pub(super) fn write_manifest(&self) {
        let mut manifest = self.manifest.clone();
        manifest.totals = manifest.count().unwrap();
        let bytes = manifest::write(&manifest);
        manifest::read(&bytes).unwrap();
        put(&self.pack().join(Manifest::FILE_NAME), &bytes);
    }

    pub(super) fn disk(&self, vm: &str, stem: &str) -> String {
        format!("{vm}/{DISKS}/{stem}.{}", extension(self.format))
    }

    pub(super) fn leaf(&self, vm: &str) -> PathBuf {
        RelPath::new(self.disk(vm, "leaf"))
            .unwrap()
            .below(&self.dest())
    }

    /// What the guest of a VM's leaf sees.
    pub(super) fn guest(number: usize) -> Vec<u8> {
        let mut guest = vec![0; SIZE as usize];
        for (offset, bytes) in [base_data(), mid_data(), leaf_data(number)] {
            guest[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        guest
    }
}

pub(super) fn read_only(path: &Path, set: bool) {
    let mut permissions = std::fs::metadata(path).unwrap().permissions();
    permissions.set_readonly(set);
    std::fs::set_permissions(path, permissions).unwrap();
}

pub(super) fn put(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn base_data() -> (u64, Vec<u8>) {
    (0, vec![0xB5; 8192])
}

fn mid_data() -> (u64, Vec<u8>) {
    (4096, vec![0x3D; 8192])
}

fn leaf_data(number: usize) -> (u64, Vec<u8>) {
    (8192, vec![0xE0 + number as u8; 2048])
}

fn extension(format: DiskFormat) -> &'static str {
    match format {
        DiskFormat::Vhd => "vhd",
        DiskFormat::Vhdx => "vhdx",
    }
}

struct Builder {
    format: DiskFormat,
    files: BTreeMap<String, Vec<u8>>,
    packed: Vec<(String, PackedFile)>,
    ref_disks: Vec<(RefDisk, Vec<u8>)>,
}

impl Builder {
    fn new(format: DiskFormat) -> Self {
        Self {
            format,
            files: BTreeMap::new(),
            packed: Vec::new(),
            ref_disks: Vec::new(),
        }
    }

    fn vm(&mut self, vm: &str, number: usize) {
        let ext = extension(self.format);
        let at = |name: &str| format!("{vm}/{DISKS}/{name}.{ext}");
        let base = self.disk(1, base_data(), None);
        let base_id = self.share(&at("base"), &base, None);
        let mid = self.disk(2, mid_data(), Some((1, vm, "base")));
        self.share(&at("mid"), &mid, Some(base_id));
        let leaf = self.disk(10 + number as u8, leaf_data(number), Some((2, vm, "mid")));
        self.keep(vm, &at("leaf"), leaf, Role::Leaf);

        let parent = self.disk(5, base_data(), None);
        self.duplicate(vm, &at("cp"), parent, Role::CheckpointParent);
        let checkpoint = self.disk(20 + number as u8, leaf_data(number), Some((5, vm, "cp")));
        self.keep(
            vm,
            &format!("{vm}/{DISKS}/cp_1.a{ext}"),
            checkpoint,
            Role::Leaf,
        );

        let id = format!("0000000{number}-1111-2222-3333-444444444444");
        self.keep(
            vm,
            &format!("{vm}/Virtual Machines/{id}.vmcx"),
            vec![number as u8; 777],
            Role::File,
        );
        self.duplicate(
            vm,
            &format!("{vm}/Virtual Machines/{id}.vmrs"),
            vec![9; 100_000],
            Role::File,
        );
    }

    fn disk(&self, own: u8, data: (u64, Vec<u8>), parent: Option<(u8, &str, &str)>) -> Vec<u8> {
        let kind = if parent.is_some() {
            DiskKind::Differencing
        } else {
            DiskKind::Dynamic
        };
        let mut disk = NewDisk::new(self.format, kind, SIZE, disk_id(own));
        disk.block_size = Some(match self.format {
            DiskFormat::Vhd => 512 << 10,
            DiskFormat::Vhdx => 1 << 20,
        });
        disk.data = vec![data];
        disk.parent = parent.map(|(id, vm, stem)| {
            let file = format!("{stem}.{}", extension(self.format));
            NewParent {
                id: disk_id(id),
                paths: ParentPaths {
                    relative: Some(format!(r".\{file}")),
                    absolute: Some(format!(r"D:\Exports of {vm}\{file}")),
                    volume: None,
                },
                timestamp: 0,
            }
        });
        disk.to_bytes().unwrap()
    }

    /// A parent that the VMs share.
    fn share(&mut self, at: &str, bytes: &[u8], parent: Option<ContentId>) -> ContentId {
        let info = formats::read_info(&bytes.to_vec()).unwrap();
        let mut stored = bytes.to_vec();
        if let Some(parent) = parent {
            let parent = self
                .ref_disks
                .iter()
                .find(|(disk, _)| disk.id == parent)
                .unwrap();
            let form = formats::store_form(&bytes.to_vec(), &parent.0.file).unwrap();
            form.apply_to_vec(&mut stored).unwrap();
        }
        let id = ContentId::from(blake3::hash(&stored));
        let mut ref_disk = self.ref_disk(at, id, stored.len(), true);
        ref_disk.disk = Some(RefDiskFacts {
            format: info.format,
            kind: info.kind,
            virtual_size: info.virtual_size,
            own_id: info.own_id,
            canonical: None,
            parent,
            unknown: Unknown::new(),
        });
        let residue = difference(bytes, &stored);
        self.store(ref_disk, stored);
        let place = Place::Store(Box::new(InStore {
            ref_disk: id,
            sharing: Sharing::Link,
            residue,
        }));
        self.add(at, bytes.to_vec(), Role::Parent, place);
        id
    }

    /// A file that is the same in each VM, and may be written to.
    fn duplicate(&mut self, _: &str, at: &str, bytes: Vec<u8>, role: Role) {
        let id = ContentId::from(blake3::hash(&bytes));
        let ref_disk = self.ref_disk(at, id, bytes.len(), role != Role::File);
        self.store(ref_disk, bytes.clone());
        let residue = Residue::default();
        let place = Place::Store(Box::new(InStore {
            ref_disk: id,
            sharing: Sharing::Copy,
            residue,
        }));
        self.add(at, bytes, role, place);
    }

    fn keep(&mut self, _: &str, at: &str, bytes: Vec<u8>, role: Role) {
        self.add(at, bytes, role, Place::Pack);
    }

    fn ref_disk(&self, at: &str, id: ContentId, length: usize, is_disk: bool) -> RefDisk {
        let name = at.rsplit('/').next().unwrap();
        RefDisk {
            id,
            file: store::file_name(name, &id, is_disk),
            length: length as u64,
            modified: TIME,
            disk: None,
            used_by: Vec::new(),
            unknown: Unknown::new(),
        }
    }

    fn store(&mut self, disk: RefDisk, bytes: Vec<u8>) {
        if !self.ref_disks.iter().any(|(known, _)| known.id == disk.id) {
            self.ref_disks.push((disk, bytes));
        }
    }

    fn add(&mut self, at: &str, bytes: Vec<u8>, role: Role, place: Place) {
        if let Some(InStore { ref_disk, .. }) = place.in_store() {
            let disk = self
                .ref_disks
                .iter_mut()
                .find(|(disk, _)| disk.id == *ref_disk)
                .unwrap();
            disk.0.used_by.push(RelPath::new(at).unwrap());
        }
        let file = PackedFile {
            path: RelPath::new(at).unwrap(),
            length: bytes.len() as u64,
            modified: TIME,
            attributes: Attributes::default(),
            digest: ContentId::from(blake3::hash(&bytes)),
            role,
            disk: formats::read_info(&bytes)
                .ok()
                .map(|info| Box::new(facts(at, &info))),
            place,
            unknown: Unknown::new(),
        };
        let vm = at.split('/').next().unwrap().to_owned();
        self.packed.push((vm, file));
        self.files.insert(at.to_owned(), bytes);
    }

    fn manifest(&self, store: StorePlace) -> Manifest {
        let vm = |name: &str| Vm {
            name: name.to_owned(),
            folder: RelPath::new(name).ok(),
            files: self.files_of(name),
            unknown: Unknown::new(),
        };
        let folder = |path: String| Folder {
            path: RelPath::new(path).unwrap(),
            modified: TIME,
            unknown: Unknown::new(),
        };
        let below = ["", "/Empty", "/Virtual Hard Disks", "/Virtual Machines"];
        let folders = VMS
            .iter()
            .flat_map(|vm| below.map(|name| folder(format!("{vm}{name}"))));
        let mut manifest = Manifest {
            format: Manifest::FORMAT.to_owned(),
            version: Manifest::VERSION,
            tool: "labpack test".to_owned(),
            created: "2026-07-01T12:34:56Z".to_owned(),
            store,
            totals: Totals::default(),
            vms: VMS.map(vm).into(),
            other_files: Vec::new(),
            folders: folders.collect(),
            ref_disks: self
                .ref_disks
                .iter()
                .map(|(disk, _)| disk.clone())
                .collect(),
            unknown: Unknown::new(),
        };
        manifest.totals = manifest.count().unwrap();
        manifest
    }

    fn files_of(&self, vm: &str) -> Vec<PackedFile> {
        let files = self.packed.iter().filter(|(name, _)| name == vm);
        files.map(|(_, file)| file.clone()).collect()
    }
}

fn disk_id(byte: u8) -> DiskId {
    DiskId::from_vhdx([byte; 16])
}

fn facts(at: &str, info: &formats::DiskInfo) -> DiskFacts {
    let folder = at.rsplit_once('/').unwrap().0;
    let parent = info.parent.as_ref().map(|link| {
        let hint = link
            .hints
            .iter()
            .find(|hint| hint.path.starts_with('.'))
            .unwrap();
        let path = format!("{folder}/{}", &hint.path[2..]);
        ParentFacts {
            path: RelPath::new(path).unwrap(),
            id: link.id,
            unknown: Unknown::new(),
        }
    });
    DiskFacts {
        format: info.format,
        kind: info.kind,
        virtual_size: VirtualSize(info.virtual_size.0),
        own_id: info.own_id,
        parent,
        unknown: Unknown::new(),
    }
}

fn difference(file: &[u8], stored: &[u8]) -> Residue {
    assert_eq!(file.len(), stored.len());
    let differ = |at: usize| file[at] != stored[at];
    let mut runs: Vec<Run> = Vec::new();
    let mut at = 0;
    while at < file.len() {
        if !differ(at) {
            at += 1;
            continue;
        }
        let start = at;
        while at < file.len() && differ(at) {
            at += 1;
        }
        runs.push(Run {
            offset: start as u64,
            bytes: file[start..at].to_vec(),
        });
    }
    Residue(runs)
}

/// Tells whether two files are equal but for what a relocation may touch in a disk.
pub(super) fn same_but_for_paths(one: &[u8], other: &[u8]) -> bool {
    let (mut one, mut other) = (one.to_vec(), other.to_vec());
    let forms = [&one, &other].map(|bytes| formats::canonical_form(bytes).ok());
    if let [Some(a), Some(b)] = forms {
        assert_eq!(a.kept, b.kept);
        for form in [a, b] {
            form.mask(0, &mut one);
            form.mask(0, &mut other);
        }
    }
    one == other
}
