//! Finds out which files are one, level by level: bases before the disks that name them.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Known, KnownDisks, PackPlan, Removal, Rules, Saving, StoreEntry, StoredWrite};
use crate::{
    base::{ContentId, DiskId, FileTime, Patch, RelPath},
    manifest::{
        InStore, Manifest, PackedFile, ParentFacts, Place, RefDisk, RefDiskFacts, Residue, Role,
        Sharing, StorePlace, Totals, Unknown, Vm,
    },
    plan::{Digest, Lab, LabFile, LabVm, Masked, residue},
    store,
};

/// Files shorter than this are not worth storing once: 64 KiB.
const WORTH_STORING: u64 = 64 * 1024;

/// Finds out which files are one, level by level.
pub struct Planner<'a> {
    lab: &'a Lab,
    known: &'a dyn KnownDisks,
    rules: Rules,
    groups: Vec<Group>,
    by_key: HashMap<Key, usize>,
    by_id: HashMap<ContentId, usize>,
    group_of: Vec<Option<usize>>,
    masked_of: HashMap<usize, Masked>,
    /// Of shareable parents.
    settled: Vec<(usize, ContentId)>,
    /// Of every file, once all have been read.
    digests: Vec<Option<ContentId>>,
}

/// Files that are one RefDisk.
struct Group {
    disk: RefDisk,
    masked: Masked,
    patch: Option<Patch>,
    parent: Option<usize>,
    members: Vec<usize>,
    /// The RefDisk stands in the store already.
    known: bool,
    stored: bool,
    sharing: Sharing,
}

/// What must agree for two files to be one RefDisk.
#[derive(PartialEq, Eq, Hash, Clone)]
struct Key {
    digest: [u8; 32],
    own_id: Option<DiskId>,
    parent: Option<usize>,
    length: u64,
}

impl<'a> Planner<'a> {
    /// Starts with a lab of which nothing has been read yet.
    #[must_use]
    pub fn new(lab: &'a Lab, known: &'a dyn KnownDisks, rules: Rules) -> Self {
        let count = lab.files.len();
        Self {
            lab,
            known,
            rules,
            groups: Vec::new(),
            by_key: HashMap::new(),
            by_id: HashMap::new(),
            group_of: vec![None; count],
            masked_of: HashMap::new(),
            settled: Vec::new(),
            digests: Vec::new(),
        }
    }

    /// Returns the name in the store that the parent of `file` has or would have.
    #[must_use]
    pub fn parent_name(&self, file: usize) -> Option<&str> {
        let group = self.group_of[self.lab.files[file].parent?]?;
        Some(&self.groups[group].disk.file)
    }

    /// Takes in one level of shareable parents, of which those that stand have been read.
    /// Levels come in the order of [`Lab::shareable_by_level`].
    pub fn settle_level(&mut self, level: &[usize], digests: &HashMap<usize, Digest>) {
        for &file in level {
            match self.lab.files[file].stored().map(|stored| &stored.place) {
                Some(Place::Store(stored)) => self.join_known(file, stored.ref_disk),
                Some(Place::Pack) => {}
                None => self.join(file, &digests[&file]),
            }
        }
    }

    fn parent_group(&self, file: usize) -> Option<usize> {
        self.group_of[self.lab.files[file].parent?]
    }

    /// Adds a file that an earlier pack put into the store.
    fn join_known(&mut self, file: usize, id: ContentId) {
        let Some(known) = self.known.by_id(&id) else {
            return;
        };
        if let Some(&group) = self.by_id.get(&id) {
            return self.enter(file, group);
        }
        let facts = known.disk.disk.as_ref();
        // What stands beside it now need not be the parent that it was packed with.
        let above = facts.and_then(|facts| self.by_id.get(&facts.parent?).copied());
        let parent = above.or_else(|| self.parent_group(file));
        let canonical = facts.and_then(|facts| facts.canonical);
        let key = Key {
            digest: canonical.map_or(*id.as_bytes(), |canonical| *canonical.as_bytes()),
            own_id: facts.map(|facts| facts.own_id),
            parent,
            length: known.disk.length,
        };
        let group = self.group(key, parent, || known);
        self.enter(file, group);
    }

    /// Adds a file that stands in the export and has been read.
    fn join(&mut self, file: usize, digest: &Digest) {
        self.settled.push((file, digest.content));
        let lab_file = &self.lab.files[file];
        let parent = self.parent_group(file);
        if lab_file.parent.is_some() && (parent.is_none() || digest.identity.is_none()) {
            // Its parent is not shared, or its masks are not safe: stored as it is, or not at all.
            return;
        }
        let own_id = lab_file.disk.as_ref().map(|disk| disk.own_id);
        let identity = digest.identity.as_ref();
        let form = identity.map(|identity| &identity.store_form);
        let key = Key {
            digest: identity.map_or(*digest.content.as_bytes(), |identity| {
                *identity.canonical.as_bytes()
            }),
            own_id,
            parent,
            length: lab_file.length,
        };
        if let Some(form) = form
            && let Some(&same) = self.by_id.get(&form.id)
            && self.groups[same].parent == parent
        {
            // One store form is one disk, though its canonical digest was once made otherwise.
            self.by_key.entry(key.clone()).or_insert(same);
        }
        let known = if self.by_key.contains_key(&key) {
            None
        } else {
            self.find_known(lab_file, digest, parent)
        };
        let is_known = known.is_some();
        let lab = self.lab;
        let parent_id = parent.map(|group| self.groups[group].disk.id);
        let group = self.group(key, parent, || {
            known.unwrap_or_else(|| new_ref_disk(lab, file, digest, parent_id))
        });
        let entry = &mut self.groups[group];
        if entry.members.is_empty() {
            entry.known = is_known;
            entry.patch = form.map(|form| form.patch.clone());
        } else if !entry.known && form.is_some_and(|form| form.id != entry.disk.id) {
            // One disk, and yet not one store form: nothing is proved, so nothing is shared.
            return;
        }
        if let Some(identity) = identity {
            self.masked_of.insert(file, identity.masked.clone());
        }
        self.enter(file, group);
    }

    fn find_known(&self, file: &LabFile, digest: &Digest, parent: Option<usize>) -> Option<Known> {
        let own_id = file.disk.as_ref()?.own_id;
        let parent = parent.map(|group| self.groups[group].disk.id);
        match &digest.identity {
            Some(identity) => {
                let twin = self.known.twin(&identity.canonical, own_id, parent);
                twin.or_else(|| self.known.by_id(&identity.store_form.id))
            }
            None => self.known.by_id(&digest.content),
        }
    }

    fn group(&mut self, key: Key, parent: Option<usize>, make: impl FnOnce() -> Known) -> usize {
        if let Some(&group) = self.by_key.get(&key) {
            return group;
        }
        let Known { disk, masked } = make();
        self.groups.push(Group {
            disk,
            masked,
            patch: None,
            parent,
            members: Vec::new(),
            known: true,
            stored: false,
            sharing: Sharing::Link,
        });
        let at = self.groups.len() - 1;
        self.by_id.entry(self.groups[at].disk.id).or_insert(at);
        self.by_key.insert(key, at);
        at
    }

    fn enter(&mut self, file: usize, group: usize) {
        self.group_of[file] = Some(group);
        self.groups[group].members.push(file);
    }

    /// Takes in everything else, and returns the plan.
    #[must_use]
    pub fn finish(
        mut self,
        digests: impl IntoIterator<Item = (usize, ContentId)>,
        tool: &str,
        created: String,
    ) -> PackPlan {
        let stored = self.lab.files.iter().map(LabFile::stored);
        self.digests = stored.map(|stored| Some(stored?.digest)).collect();
        for (file, digest) in std::mem::take(&mut self.settled).into_iter().chain(digests) {
            self.digests[file] = Some(digest);
        }
        self.join_stored();
        self.choose_parents();
        self.join_duplicates();
        self.plan(tool, created)
    }

    /// Takes in what an earlier pack put into the store to be shared, and could not be shared now:
    /// a parent of it stands there again, or another file in its place.
    fn join_stored(&mut self) {
        for (file, lab_file) in self.lab.files.iter().enumerate() {
            if let Some(stored) = lab_file.stored()
                && let Some(InStore { ref_disk, .. }) = stored.place.in_store()
                && self.group_of[file].is_none()
                && *ref_disk != stored.digest
            {
                self.join_known(file, *ref_disk);
            }
        }
    }

    /// Decides which parents are stored, children first: a stored child wants its parent stored.
    fn choose_parents(&mut self) {
        for at in (0..self.groups.len()).rev() {
            let group = &self.groups[at];
            let in_store = group
                .members
                .iter()
                .any(|&file| self.lab.files[file].seen().is_none());
            let external = group
                .members
                .iter()
                .any(|&file| self.lab.files[file].external);
            let wanted = group.members.len() > 1
                || external
                || group.stored
                || in_store
                || self.rules.all_parents
                || self.rules.store == StorePlace::Shared;
            if wanted {
                self.groups[at].stored = true;
                if let Some(parent) = self.groups[at].parent {
                    self.groups[parent].stored = true;
                }
            }
        }
        for file in 0..self.group_of.len() {
            if self.group_of[file].is_some_and(|group| !self.groups[group].stored) {
                self.group_of[file] = None;
            }
        }
    }

    /// Finds equal files among those that are not shared parents.
    fn join_duplicates(&mut self) {
        let mut equal: BTreeMap<ContentId, Vec<usize>> = BTreeMap::new();
        for (file, digest) in self.digests.iter().enumerate() {
            let lab_file = &self.lab.files[file];
            let apart = self.group_of[file].is_none() && lab_file.role != Role::Broken;
            let stored = lab_file.seen().is_none();
            if apart && (stored || lab_file.length >= WORTH_STORING) {
                equal
                    .entry(digest.expect("every file has been read"))
                    .or_default()
                    .push(file);
            }
        }
        let mut stored: HashMap<ContentId, usize> = self.stored_ids();
        for (id, files) in equal {
            let known = stored.contains_key(&id) || self.known.by_id(&id).is_some();
            let in_store = files
                .iter()
                .any(|&file| self.lab.files[file].seen().is_none());
            if files.len() < 2 && !known && !in_store {
                continue;
            }
            let group = *stored
                .entry(id)
                .or_insert_with(|| self.add_duplicate(id, files[0]));
            for file in files {
                self.enter(file, group);
            }
        }
    }

    fn stored_ids(&self) -> HashMap<ContentId, usize> {
        let stored = self
            .groups
            .iter()
            .enumerate()
            .filter(|(_, group)| group.stored);
        stored.map(|(at, group)| (group.disk.id, at)).collect()
    }

    fn add_duplicate(&mut self, id: ContentId, first: usize) -> usize {
        let known = self.known.by_id(&id);
        let file = &self.lab.files[first];
        let is_known = known.is_some();
        let disk = known.map_or_else(|| plain_ref_disk(file, id), |known| known.disk);
        self.groups.push(Group {
            disk,
            masked: Masked::default(),
            patch: None,
            parent: None,
            members: Vec::new(),
            known: is_known,
            stored: true,
            sharing: Sharing::Copy,
        });
        self.groups.len() - 1
    }

    fn plan(self, tool: &str, created: String) -> PackPlan {
        let entries = self.entries();
        let removals = self.removals(&entries);
        let manifest = self.manifest(tool, created);
        PackPlan {
            savings: savings(&manifest),
            manifest,
            entries,
            removals,
        }
    }

    fn removals(&self, entries: &[StoreEntry]) -> Vec<Removal> {
        if !self.rules.in_place {
            return Vec::new();
        }
        let from: HashSet<&RelPath> = entries.iter().map(|entry| &entry.from).collect();
        let removal = |(file, group): (&LabFile, &Option<usize>)| {
            let (path, seen) = (file.path.clone(), file.seen()?);
            let ref_disk = self.groups[(*group)?].disk.id;
            Some(Removal {
                path,
                seen,
                ref_disk,
            })
        };
        let files = self.lab.files.iter().zip(&self.group_of);
        files
            .filter(|(file, _)| !from.contains(&file.path))
            .filter_map(removal)
            .collect()
    }

    fn packed(&self, at: usize) -> PackedFile {
        let file = &self.lab.files[at];
        let mut disk = file.disk.clone();
        if let (Some(facts), Some(parent)) = (&mut disk, file.parent) {
            facts
                .parent
                .get_or_insert_with(|| self.parent_facts(parent));
        }
        PackedFile {
            path: file.path.clone(),
            length: file.length,
            modified: file.modified,
            attributes: file.attributes,
            digest: self.digests[at].expect("every file has been read"),
            role: file.role,
            disk,
            place: self.place(at),
            unknown: Unknown::new(),
        }
    }

    fn parent_facts(&self, parent: usize) -> ParentFacts {
        let file = &self.lab.files[parent];
        let id = file.disk.as_ref().expect("a parent is a disk").own_id;
        ParentFacts {
            path: file.path.clone(),
            id,
            unknown: Unknown::new(),
        }
    }

    fn place(&self, at: usize) -> Place {
        let file = &self.lab.files[at];
        if let Some(stored) = file.stored() {
            return stored.place.clone();
        }
        let Some(group) = self.group_of[at].map(|group| &self.groups[group]) else {
            return Place::Pack;
        };
        // A checkpoint parent may equal a shared parent byte for byte: it shares the bytes in the
        // store, never the file at the destination.
        let sharing = if self.lab.is_shareable(at) {
            group.sharing
        } else {
            Sharing::Copy
        };
        let residue = match self.masked_of.get(&at) {
            Some(masked) if group.sharing == Sharing::Link => residue(masked, &group.masked),
            _ => Residue::default(),
        };
        Place::Store(Box::new(InStore {
            ref_disk: group.disk.id,
            sharing,
            residue,
        }))
    }

    fn entries(&self) -> Vec<StoreEntry> {
        let stored = self
            .groups
            .iter()
            .filter(|group| group.stored && !group.known);
        stored.filter_map(|group| self.entry(group)).collect()
    }

    fn entry(&self, group: &Group) -> Option<StoreEntry> {
        let first = group.members.iter().find_map(|&file| {
            let file = &self.lab.files[file];
            file.seen().map(|seen| (file.path.clone(), seen))
        });
        let (from, seen) = first?;
        let patch = group
            .patch
            .as_ref()
            .map(StoredWrite::of)
            .unwrap_or_default();
        Some(StoreEntry {
            id: group.disk.id,
            file: group.disk.file.clone(),
            from,
            seen,
            patch,
        })
    }

    fn manifest(&self, tool: &str, created: String) -> Manifest {
        let ref_disks: Vec<RefDisk> = self
            .groups
            .iter()
            .filter(|group| group.stored)
            .map(|group| self.ref_disk(group))
            .collect();
        let mut vms: Vec<Vm> = self.lab.vms.iter().map(vm_without_files).collect();
        let mut other_files = Vec::new();
        // There may be very many: a list that grows stands twice for a moment.
        let mut counts = vec![0; vms.len()];
        let in_vms = self.lab.files.iter().filter_map(|file| file.vm);
        in_vms.for_each(|vm| counts[vm] += 1);
        other_files.reserve_exact(self.lab.files.len() - counts.iter().sum::<usize>());
        for (vm, count) in vms.iter_mut().zip(counts) {
            vm.files.reserve_exact(count);
        }
        for (at, file) in self.lab.files.iter().enumerate() {
            let files = file.vm.map_or(&mut other_files, |vm| &mut vms[vm].files);
            files.push(self.packed(at));
        }
        let mut manifest = Manifest {
            format: Manifest::FORMAT.to_owned(),
            version: Manifest::VERSION,
            tool: tool.to_owned(),
            created,
            store: self.rules.store,
            totals: Totals::default(),
            vms,
            other_files,
            folders: self.lab.folders.clone(),
            ref_disks,
            unknown: Unknown::new(),
        };
        // Should it be more than 64 bits hold, the manifest is refused before it is written.
        manifest.totals = manifest.count().unwrap_or_default();
        manifest
    }

    fn ref_disk(&self, group: &Group) -> RefDisk {
        let mut used_by: Vec<RelPath> = group
            .members
            .iter()
            .map(|&file| self.lab.files[file].path.clone())
            .collect();
        used_by.sort();
        let mut disk = group.disk.clone();
        disk.used_by = used_by;
        disk
    }
}

fn vm_without_files(vm: &LabVm) -> Vm {
    Vm {
        name: vm.name.clone(),
        folder: vm.folder.clone(),
        files: Vec::new(),
        unknown: Unknown::new(),
    }
}

fn new_ref_disk(lab: &Lab, at: usize, digest: &Digest, parent: Option<ContentId>) -> Known {
    let file = &lab.files[at];
    let identity = digest.identity.as_ref();
    let form = identity.map(|identity| &identity.store_form);
    let id = form.map_or(digest.content, |form| form.id);
    let mut disk = plain_ref_disk(file, id);
    disk.disk = file.disk.as_ref().map(|facts| RefDiskFacts {
        format: facts.format,
        kind: facts.kind,
        virtual_size: facts.virtual_size,
        own_id: facts.own_id,
        canonical: identity.map(|identity| identity.canonical),
        parent,
        unknown: Unknown::new(),
    });
    let masked = identity.map(|identity| identity.masked.after(&identity.store_form.patch));
    Known {
        disk,
        masked: masked.unwrap_or_default(),
    }
}

fn plain_ref_disk(file: &LabFile, id: ContentId) -> RefDisk {
    RefDisk {
        id,
        file: store::file_name(file.path.name(), &id, file.disk.is_some()),
        length: file.length,
        modified: FileTime(file.modified.0),
        disk: None,
        used_by: Vec::new(),
        unknown: Unknown::new(),
    }
}

fn savings(manifest: &Manifest) -> Vec<Saving> {
    let saving = |vm: &str, files: &[PackedFile]| {
        let stored = files.iter().filter(|file| file.place != Place::Pack);
        Saving {
            vm: vm.to_owned(),
            bytes: files.iter().map(|file| file.length).sum(),
            in_store: stored.map(|file| file.length).sum(),
        }
    };
    let vms = manifest.vms.iter();
    let vms = vms.map(|vm| saving(&vm.name, &vm.files));
    let others = saving("", &manifest.other_files);
    vms.chain((others.bytes > 0).then_some(others)).collect()
}
