//! What is to stand where, from the manifest and from texts alone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{
    FileAction, FileSource, FileStep, FromStore, Link, LinkAction, LinkKind, LinkStep,
    RefDiskAction, RefDiskStep, UnpackPlan,
};
use crate::{
    base::{ContentId, DiskId, RelPath, fold_case},
    formats::{DiskFormat, DiskKind, ParentPaths},
    manifest::{Manifest, PackedFile, Place, RefDisk, Role, Sharing},
    plan::parents::{Location, Roots},
    report::{Code, Finding, Findings},
};

/// The name of a junction to the store, in a folder of children.
const JUNCTION: &str = "RefDisk";

/// What is wanted of a destination.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The pack.
    pub manifest: &'a Manifest,
    /// How VMs come to their shared parents.
    pub link: Link,
    /// Where things go.
    pub roots: &'a Roots,
    /// The file names of RefDisks in the destination's store, where they are not the manifest's.
    pub names: &'a HashMap<ContentId, String>,
}

impl UnpackPlan {
    /// Says what is to stand where, as if nothing stood there.
    #[must_use]
    pub fn of(wanted: Wanted<'_>) -> Self {
        let layout = Layout::of(wanted);
        let mut findings = Findings::default();
        let links = layout.links(&mut findings);
        layout.check_store_folder(&mut findings);
        Self {
            link: wanted.link,
            ref_disks: layout.ref_disk_steps(),
            files: layout.files(),
            links,
            folders: wanted.manifest.folders.clone(),
            findings,
        }
    }

    /// Says which RefDisks the destination's store is to hold: [`Self::ref_disks`] alone.
    #[must_use]
    pub fn ref_disks_of(wanted: Wanted<'_>) -> Vec<RefDiskStep> {
        Layout::of(wanted).ref_disk_steps()
    }
}

struct Layout<'a> {
    wanted: Wanted<'a>,
    /// The files that others name as their parents.
    parents: HashMap<&'a RelPath, &'a PackedFile>,
    ref_disks: HashMap<ContentId, &'a RefDisk>,
}

impl<'a> Layout<'a> {
    fn of(wanted: Wanted<'a>) -> Self {
        let manifest = wanted.manifest;
        let named: HashSet<&RelPath> = manifest.files().filter_map(named_parent).collect();
        let parents = manifest.files().filter(|file| named.contains(&file.path));
        Self {
            wanted,
            parents: parents.map(|file| (&file.path, file)).collect(),
            ref_disks: manifest
                .ref_disks
                .iter()
                .map(|disk| (disk.id, disk))
                .collect(),
        }
    }

    /// Returns the name of a RefDisk in the destination's store.
    fn name(&self, disk: &'a RefDisk) -> &'a str {
        self.wanted
            .names
            .get(&disk.id)
            .map_or(disk.file.as_str(), String::as_str)
    }

    /// Returns the RefDisk and its ancestors, nearest first.
    fn line(&self, id: ContentId) -> impl Iterator<Item = &'a RefDisk> + '_ {
        let first = self.ref_disks.get(&id).copied();
        std::iter::successors(first, |disk| {
            let parent = disk.disk.as_ref()?.parent?;
            self.ref_disks.get(&parent).copied()
        })
    }

    fn ref_disk_steps(&self) -> Vec<RefDiskStep> {
        if self.wanted.link == Link::Copy {
            return Vec::new();
        }
        let shared = self.wanted.manifest.files().filter_map(shared_as);
        let needed: HashSet<ContentId> = shared
            .flat_map(|id| self.line(id))
            .map(|disk| disk.id)
            .collect();
        let disks = self.wanted.manifest.ref_disks.iter();
        disks
            .filter(|disk| needed.contains(&disk.id))
            .map(|disk| self.ref_disk(disk))
            .collect()
    }

    fn ref_disk(&self, disk: &'a RefDisk) -> RefDiskStep {
        let store = &self.wanted.roots.store;
        let parent = self.line(disk.id).nth(1);
        RefDiskStep {
            id: disk.id,
            file: self.name(disk).to_owned(),
            length: disk.length,
            parent: parent.map(|parent| {
                self.wanted
                    .roots
                    .parent_paths(store, &store.file(self.name(parent)))
            }),
            action: RefDiskAction::Write,
        }
    }

    fn files(&self) -> Vec<FileStep> {
        let manifest = self.wanted.manifest;
        // A list that grows stands twice for a moment.
        let mut steps = Vec::with_capacity(manifest.files().count());
        steps.extend(manifest.files().filter_map(|file| self.file(file)));
        steps
    }

    /// Returns the step of a file that is to stand at its own path, if it is.
    fn file(&self, file: &PackedFile) -> Option<FileStep> {
        let source = match &file.place {
            Place::Pack => FileSource::Pack,
            Place::Store(stored) => {
                let own_file = matches!(self.wanted.link, Link::Reflink | Link::Copy);
                if stored.sharing == Sharing::Link && !own_file {
                    return None;
                }
                FileSource::Store(Box::new(FromStore {
                    ref_disk: stored.ref_disk,
                    residue: stored.residue.clone(),
                }))
            }
        };
        Some(FileStep {
            path: file.path.clone(),
            length: file.length,
            modified: file.modified,
            attributes: file.attributes,
            packed: file.digest,
            vhdx: vhdx_id(file),
            source,
            parent: self.parent_paths(file).map(Box::new),
            action: FileAction::Write,
        })
    }

    /// Returns how a file is to name its parent; `None` where its locators stay as they are.
    fn parent_paths(&self, file: &PackedFile) -> Option<ParentPaths> {
        let parent = self.parent(file)?;
        let folder = self.wanted.roots.dest.below(&file.path).folder();
        let place = self.place_for(&folder, parent);
        Some(self.wanted.roots.parent_paths(&folder, &place))
    }

    fn parent(&self, file: &PackedFile) -> Option<&'a PackedFile> {
        if self.wanted.link == Link::Copy || file.role == Role::Broken {
            return None;
        }
        self.parents.get(named_parent(file)?).copied()
    }

    /// Returns where a child in `folder` finds `parent`.
    fn place_for(&self, folder: &Location, parent: &PackedFile) -> Location {
        let roots = self.wanted.roots;
        let stored = shared_as(parent).and_then(|id| self.ref_disks.get(&id).copied());
        match (self.wanted.link, stored) {
            (Link::Relocate, Some(disk)) => roots.store.file(self.name(disk)),
            (Link::Junction, Some(disk)) => folder.file(JUNCTION).file(self.name(disk)),
            _ => roots.dest.below(&parent.path),
        }
    }

    fn links(&self, findings: &mut Findings) -> Vec<LinkStep> {
        match (self.wanted.link, self.wanted.link.kind()) {
            (_, Some(kind)) => self.file_links(kind, findings),
            (Link::Junction, None) => self.junctions(findings),
            _ => Vec::new(),
        }
    }

    /// Links at the paths of shared parents. A relative locator leads from the folder through
    /// which the child was opened, so the ancestors of a link stand beside it too, under the
    /// names that they have in the store.
    fn file_links(&self, kind: LinkKind, findings: &mut Findings) -> Vec<LinkStep> {
        let mut links: BTreeMap<RelPath, ContentId> = BTreeMap::new();
        let mut beside: BTreeMap<RelPath, ContentId> = BTreeMap::new();
        for file in self.wanted.manifest.files() {
            let Some(id) = shared_as(file) else { continue };
            links.insert(file.path.clone(), id);
            for ancestor in self.line(id).skip(1) {
                if let Some(path) = sibling(&file.path, self.name(ancestor)) {
                    beside.insert(path, ancestor.id);
                }
            }
        }
        for (path, id) in beside {
            if links.get(&path) == Some(&id) {
                continue;
            }
            self.check_free(&path, "the parent of a shared disk beside it", findings);
            links.insert(path, id);
        }
        let step = |(path, id)| LinkStep {
            path,
            kind,
            ref_disk: Some(id),
            action: LinkAction::Make,
        };
        links.into_iter().map(step).collect()
    }

    /// One junction in each folder that has a child of a shared parent.
    fn junctions(&self, findings: &mut Findings) -> Vec<LinkStep> {
        let files = self.wanted.manifest.files();
        let children = files.filter(|file| shared_as(file).is_none());
        let children = children.filter(|file| self.parent(file).and_then(shared_as).is_some());
        let paths: BTreeSet<RelPath> = children
            .filter_map(|file| sibling(&file.path, JUNCTION))
            .collect();
        let mut links = Vec::new();
        for path in paths {
            // A child at the top finds the store itself there.
            if self.wanted.roots.dest.below(&path) == self.wanted.roots.store {
                continue;
            }
            self.check_free(&path, "a junction to the store", findings);
            let (kind, action) = (LinkKind::Junction, LinkAction::Make);
            links.push(LinkStep {
                path,
                kind,
                ref_disk: None,
                action,
            });
        }
        links
    }

    /// Checks that nothing of the lab itself stands at or below `path`.
    fn check_free(&self, path: &RelPath, what: &str, findings: &mut Findings) {
        if let Some(taken) = self.taken(&path.folded()) {
            let message = format!("`{taken}` of the lab stands where {what} must");
            findings.push(
                Finding::error(Code::NameInUse, path, message)
                    .next("unpack with another --link mode, such as relocate"),
            );
        }
    }

    /// Returns a path of the lab that is `folded`, or lies below it.
    fn taken(&self, folded: &str) -> Option<&'a RelPath> {
        let manifest = self.wanted.manifest;
        let files = manifest.files().map(|file| &file.path);
        let mut paths = files.chain(manifest.folders.iter().map(|folder| &folder.path));
        paths.find(|path| {
            let path = path.folded();
            let rest = path.strip_prefix(folded);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    fn check_store_folder(&self, findings: &mut Findings) {
        let roots = self.wanted.roots;
        let Some(inside) = roots
            .store
            .inside(&roots.dest)
            .filter(|inside| !inside.is_empty())
        else {
            return;
        };
        if let Some(taken) = self.taken(&fold_case(&inside)) {
            let message = format!("`{taken}` of the lab stands where the store is to be");
            findings.push(
                Finding::error(Code::NameInUse, &inside, message)
                    .next("name another folder for the RefDisks with --store"),
            );
        }
    }
}

/// Returns the id of a VHDX, which changes when its VM writes into it.
#[must_use]
pub fn vhdx_id(file: &PackedFile) -> Option<DiskId> {
    let disk = file
        .disk
        .as_ref()
        .filter(|disk| disk.format == DiskFormat::Vhdx)?;
    (file.role != Role::Broken).then_some(disk.own_id)
}

/// Returns the path of the file that a differencing disk names as its parent.
fn named_parent(file: &PackedFile) -> Option<&RelPath> {
    let disk = file
        .disk
        .as_ref()
        .filter(|disk| disk.kind == DiskKind::Differencing)?;
    Some(&disk.parent.as_ref()?.path)
}

/// Returns the RefDisk that stands for a shared parent.
fn shared_as(file: &PackedFile) -> Option<ContentId> {
    let stored = file.place.in_store()?;
    (stored.sharing == Sharing::Link).then_some(stored.ref_disk)
}

/// Returns the path of `name` in the folder of `path`.
fn sibling(path: &RelPath, name: &str) -> Option<RelPath> {
    match path.folder() {
        Some(folder) => folder.join(name).ok(),
        None => RelPath::new(name).ok(),
    }
}
