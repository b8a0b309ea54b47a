//! Exports, scanned and judged → a lab that can be planned, or every reason why not.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

mod drafted;
mod external;
mod site;
mod vms;

use self::{
    drafted::{Drafted, Files, Parent},
    external::External,
    site::{Site, same_names},
    vms::VmList,
};
use super::{PackError, earlier};
use crate::{
    base::{ContentId, DiskId, RelPath, Run},
    chain::{Graph, MAX_LEVELS, NodeId, resolve},
    export::{Neighbourhood, Origin as Whence, PackView, ScannedFile},
    fs::{self, Entry},
    manifest::{Folder, InStore, Manifest, PackedFile, Place, Role, Sharing, Unknown},
    plan::{Lab, LabFile, Origin, StoredFile},
    report::{Code, Finding, Findings, Severity},
};

/// What is to be surveyed.
pub(super) struct Terms<'a> {
    /// The exports.
    pub(super) exports: &'a [PathBuf],
    /// Whether each file's path begins with the name of its export.
    pub(super) prefixed: bool,
    /// The pack that stands in the export already, and where its RefDisks are.
    pub(super) earlier: Option<(&'a Manifest, &'a Path)>,
    /// Whether VMs whose chains are broken are carried along.
    pub(super) keep_broken: bool,
    /// Whether parents from outside of the exports come along.
    pub(super) include_external: bool,
}

/// A lab, and what was found about it.
pub(super) struct Survey {
    pub(super) lab: Lab,
    pub(super) findings: Findings,
}

/// Surveys exports.
///
/// # Errors
/// [`PackError::Refused`] with every reason.
pub(super) fn survey(terms: &Terms<'_>, run: &Run<'_>) -> Result<Survey, PackError> {
    let mut sites = Vec::new();
    for root in terms.exports {
        sites.push(Site::of(root, terms.prefixed, run)?);
    }
    let mut findings = same_names(&sites, terms.prefixed);
    findings.extend(sites.iter().flat_map(Site::findings));
    let judged = Judged::of(&sites, terms, run)?;
    findings.extend(judged.findings(terms.keep_broken));
    let lab = Draft::new(&sites, &judged, terms).lab(&mut findings)?;
    findings.extend(too_many(&lab, &terms.exports[0]));
    let findings = Findings(findings);
    if findings.any_error() {
        return Err(PackError::Refused(findings));
    }
    Ok(Survey { lab, findings })
}

fn too_many(lab: &Lab, export: &Path) -> Option<Finding> {
    let (files, most) = (lab.files.len(), Manifest::MOST_FILES);
    let message = format!("{files} files, and labpack packs up to {most} at once");
    let next = "put what is no part of a VM into an archive, or pack fewer VMs at once";
    let finding = || Finding::error(Code::TooManyFiles, export.display(), message).next(next);
    (files > most).then(finding)
}

/// Every chain, followed.
struct Judged {
    disks: Neighbourhood,
    graph: Graph,
    /// By export and file.
    nodes: HashMap<(usize, usize), NodeId>,
}

impl Judged {
    fn of(sites: &[Site], terms: &Terms<'_>, run: &Run<'_>) -> Result<Self, PackError> {
        let mut disks = Neighbourhood::new(run.meter);
        if terms.include_external {
            disks.open_outside();
        }
        for site in sites {
            let label = site.prefix.as_ref().map_or("", RelPath::as_str);
            disks.add(&site.inventory, label);
        }
        let mut starts = Vec::new();
        if let (Some((manifest, store)), Some(site)) = (terms.earlier, sites.first()) {
            disks.add_unscanned(store, "store");
            let view = PackView::of(&site.inventory, manifest.clone(), &[store.to_owned()])?;
            starts.extend(view.place_in(&mut disks));
        }
        let mut nodes = HashMap::new();
        for number in 0..sites.len() {
            for node in disks.disks_of(number, run)? {
                if let Whence::File { inventory, file } = disks.origin(node) {
                    nodes.insert((inventory, file), node);
                }
                starts.push(node);
            }
        }
        let graph = resolve(&mut disks, &starts);
        disks.keep_nodes_alone();
        Ok(Self {
            disks,
            graph,
            nodes,
        })
    }

    /// What was found about disks; where broken chains are carried along, they are warnings.
    fn findings(&self, keep_broken: bool) -> Vec<Finding> {
        let all = self
            .graph
            .nodes()
            .flat_map(|node| self.graph.findings(node));
        let mut findings: Vec<Finding> = all.cloned().collect();
        if keep_broken {
            for finding in &mut findings {
                finding.severity = finding.severity.min(Severity::Warning);
            }
        }
        findings.sort_by(|a, b| a.path.cmp(&b.path));
        findings.dedup();
        findings
    }

    fn node(&self, site: usize, file: usize) -> Option<NodeId> {
        self.nodes.get(&(site, file)).copied()
    }

    fn is_broken(&self, site: usize, file: usize) -> bool {
        self.node(site, file)
            .is_some_and(|node| self.graph.is_broken(node))
    }

    fn role(&self, node: NodeId) -> Role {
        match (
            self.graph.is_parent(node),
            self.graph.has_automatic_child(node),
        ) {
            (_, true) => Role::CheckpointParent,
            (true, false) => Role::Parent,
            (false, false) => Role::Leaf,
        }
    }
}

struct Draft<'a> {
    sites: &'a [Site],
    judged: &'a Judged,
    terms: &'a Terms<'a>,
    vms: VmList,
    broken_vms: HashSet<usize>,
    files: Files,
}

impl<'a> Draft<'a> {
    fn new(sites: &'a [Site], judged: &'a Judged, terms: &'a Terms<'a>) -> Self {
        Self {
            sites,
            judged,
            terms,
            vms: VmList::of(sites, terms.earlier.map(|(manifest, _)| manifest)),
            broken_vms: HashSet::new(),
            files: Files::with_capacity(sites.iter().map(|site| site.inventory.files.len()).sum()),
        }
    }

    fn lab(mut self, findings: &mut Vec<Finding>) -> Result<Lab, PackError> {
        self.find_broken_vms();
        for (number, site) in self.sites.iter().enumerate() {
            for (at, file) in site.inventory.files.iter().enumerate() {
                self.add_standing((number, at), site, file);
            }
        }
        if let Some((manifest, store)) = self.terms.earlier {
            self.add_stored(manifest, store, findings)?;
        }
        if self.terms.include_external {
            External::new(&mut self).add_all(findings);
        }
        let folders = self.folders()?;
        self.files.sort();
        let parents = self.parents();
        let mut files = self.files.into_files();
        for (file, parent) in files.iter_mut().zip(parents) {
            file.parent = parent;
        }
        break_loops(&mut files, findings);
        know_parents_again(&mut files);
        Ok(Lab {
            vms: self.vms.vms,
            folders,
            files,
        })
    }

    /// Where a scanned file is in the lab.
    fn path(&self, (site, file): (usize, usize)) -> RelPath {
        let site = &self.sites[site];
        site.path(&site.inventory.files[file].path)
    }

    fn find_broken_vms(&mut self) {
        for (number, site) in self.sites.iter().enumerate() {
            for (at, file) in site.inventory.files.iter().enumerate() {
                if self.judged.is_broken(number, at) {
                    self.broken_vms
                        .extend(self.vms.holding(&site.path(&file.path)));
                }
            }
        }
    }

    fn add_standing(&mut self, at: (usize, usize), site: &Site, scanned: &ScannedFile) {
        let path = site.path(&scanned.path);
        let vm = self.vms.holding(&path);
        let node = self.judged.node(at.0, at.1);
        let broken =
            self.judged.is_broken(at.0, at.1) || vm.is_some_and(|vm| self.broken_vms.contains(&vm));
        let info = scanned.info();
        let stamp = &scanned.stamp;
        let role = match node {
            _ if broken => Role::Broken,
            Some(node) => self.judged.role(node),
            None => Role::File,
        };
        let origin = Origin::Standing {
            root: Arc::clone(&site.root),
            below: scanned.path.clone(),
            key: stamp.key,
        };
        let file = LabFile {
            path,
            length: stamp.len,
            modified: stamp.modified,
            attributes: stamp.attributes,
            vm,
            role,
            disk: info.map(|info| LabFile::facts(info)),
            parent: None,
            origin,
            external: false,
            relink: None,
        };
        let parent = node.map_or(Parent::None, |node| self.parent_of(node));
        self.files.insert(Drafted { file, parent });
    }

    fn parent_of(&self, node: NodeId) -> Parent {
        let judged = self.judged;
        if judged.graph.is_broken(node) {
            return Parent::None;
        }
        let Some(parent) = judged.graph.parent_of(node) else {
            return Parent::None;
        };
        match judged.disks.origin(parent) {
            Whence::File { inventory, file } => Parent::File(inventory, file),
            Whence::Store { .. } | Whence::Elsewhere => {
                Parent::Stored(judged.disks.file(parent).to_owned())
            }
        }
    }

    /// Adds what an earlier pack put into the store, and finds out what is missing of it.
    fn add_stored(
        &mut self,
        manifest: &Manifest,
        store: &Path,
        findings: &mut Vec<Finding>,
    ) -> Result<(), PackError> {
        let standing: HashSet<ContentId> =
            earlier::standing(manifest, store)?.into_values().collect();
        for packed in self.not_here(manifest) {
            match &packed.place {
                Place::Pack => findings.push(gone(packed)),
                Place::Store(stored) if !standing.contains(&stored.ref_disk) => {
                    findings.push(no_ref_disk(packed, &stored.ref_disk));
                }
                Place::Store(_) => self.add_one_stored(packed),
            }
        }
        Ok(())
    }

    /// The files of a manifest that do not stand, however their names are written. They are few.
    fn not_here<'m>(&self, manifest: &'m Manifest) -> Vec<&'m PackedFile> {
        let files = manifest.files();
        let mut gone: Vec<_> = files
            .filter(|file| self.files.position(&file.path).is_none())
            .collect();
        let mut names: HashSet<String> = gone.iter().map(|file| file.path.folded()).collect();
        for path in self.files.paths() {
            names.remove(&path.folded());
        }
        gone.retain(|file| names.contains(&file.path.folded()));
        gone
    }

    fn add_one_stored(&mut self, packed: &PackedFile) {
        let mut place = packed.place.clone();
        let mut role = packed.role;
        if let Place::Store(stored) = &mut place
            && self.is_written_into(packed)
        {
            // Somebody made a checkpoint on it since: nothing may share it any more.
            (stored.sharing, role) = (Sharing::Copy, Role::CheckpointParent);
        }
        let facts = packed.disk.as_ref().and_then(|disk| disk.parent.as_ref());
        let drafted = Drafted {
            file: LabFile {
                path: packed.path.clone(),
                length: packed.length,
                modified: packed.modified,
                attributes: packed.attributes,
                vm: self.vms.holding(&packed.path),
                role,
                disk: packed.disk.clone(),
                parent: None,
                origin: Origin::Stored(Box::new(StoredFile {
                    place,
                    digest: packed.digest,
                })),
                external: false,
                relink: None,
            },
            parent: facts.map_or(Parent::None, |facts| Parent::Path(facts.path.clone())),
        };
        self.files.insert(drafted);
    }

    /// Tells whether a checkpoint disk that stands in the export depends on a stored file.
    fn is_written_into(&self, packed: &PackedFile) -> bool {
        let own_id: Option<DiskId> = packed.disk.as_ref().map(|disk| disk.own_id);
        let graph = &self.judged.graph;
        self.judged.nodes.iter().any(|(&(site, file), &node)| {
            let scanned = &self.sites[site].inventory.files[file];
            let automatic = is_automatic(scanned.path.name());
            let stored = |parent| !matches!(self.judged.disks.origin(parent), Whence::File { .. });
            let parent_id = scanned
                .info()
                .and_then(|info| info.parent.as_ref())
                .map(|link| link.id);
            automatic
                && graph.parent_of(node).is_some_and(stored)
                && parent_id == own_id
                && self.vms.holding(&scanned.path) == self.vms.holding(&packed.path)
        })
    }

    fn folders(&self) -> Result<Vec<Folder>, PackError> {
        let mut folders = Vec::new();
        for site in self.sites {
            if let Some(prefix) = &site.prefix
                && let Entry::Folder(modified) = fs::look(&site.inventory.root)?
            {
                folders.push(Folder {
                    path: prefix.clone(),
                    modified,
                    unknown: Unknown::new(),
                });
            }
            for (path, modified) in &site.inventory.folders {
                let (path, modified) = (site.path(path), *modified);
                folders.push(Folder {
                    path,
                    modified,
                    unknown: Unknown::new(),
                });
            }
        }
        folders.sort_by(|a, b| a.path.parts().cmp(b.path.parts()));
        Ok(folders)
    }

    fn parents(&self) -> Vec<Option<usize>> {
        let stored = self.stored_files();
        let before = self
            .terms
            .earlier
            .map(|(manifest, _)| said_parents(manifest));
        let said = |path: &RelPath| before.as_ref()?.get(&path.folded()).copied();
        let parent = |drafted: &Drafted| {
            let at = match &drafted.parent {
                Parent::None => return None,
                Parent::File(site, file) => self.files.position(&self.path((*site, *file)))?,
                Parent::Path(path) => self.files.position(path)?,
                Parent::Stored(file) => {
                    let users = stored.get(file)?;
                    let near = |path: &&&RelPath| self.vms.holding(path) == drafted.file.vm;
                    let said = said(&drafted.file.path);
                    let known = users.iter().find(|path| Some(**path) == said);
                    let found = known
                        .or_else(|| users.iter().find(near))
                        .or_else(|| users.first());
                    self.files.position(found?)?
                }
            };
            self.files.nth(at)?.file.disk.as_ref().map(|_| at)
        };
        self.files.iter().map(parent).collect()
    }

    /// The files that each file of the store stands for.
    fn stored_files(&self) -> HashMap<PathBuf, Vec<&RelPath>> {
        let mut users: HashMap<PathBuf, Vec<&RelPath>> = HashMap::new();
        let Some((manifest, store)) = self.terms.earlier else {
            return users;
        };
        for drafted in self.files.iter() {
            let path = &drafted.file.path;
            if let Some(stored) = drafted.file.stored()
                && let Some(InStore { ref_disk, .. }) = stored.place.in_store()
                && let Some(disk) = manifest.ref_disk(ref_disk)
            {
                users.entry(store.join(&disk.file)).or_default().push(path);
            }
        }
        users
    }
}

fn is_automatic(name: &str) -> bool {
    let extension = name
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase());
    matches!(extension.as_deref(), Some("avhd" | "avhdx"))
}

fn gone(packed: &PackedFile) -> Finding {
    let message = "is named in labpack.json, but is not in the pack";
    Finding::error(Code::MissingFile, &packed.path, message)
        .next("put the file back; to pack the lab without it, restore the pack first")
}

fn no_ref_disk(packed: &PackedFile, id: &ContentId) -> Finding {
    let message = format!("is in the store as RefDisk {id}, which is not there as it should be");
    Finding::error(Code::MissingRefDisk, &packed.path, message)
        .next("put the RefDisk back, or name its store with --store")
}

/// The parent of each disk, as a manifest has it, by path as a case-insensitive file system
/// compares paths.
fn said_parents(manifest: &Manifest) -> HashMap<String, &RelPath> {
    let mut said = HashMap::new();
    for file in manifest.files() {
        if let Some(parent) = file.disk.as_ref().and_then(|disk| disk.parent.as_ref()) {
            said.insert(file.path.folded(), &parent.path);
        }
    }
    said
}

/// A parent that came back beside a child in the store is one again, though no disk that stands
/// there depends on it.
fn know_parents_again(files: &mut [LabFile]) {
    for at in 0..files.len() {
        let child = &files[at];
        let stored = child.stored().and_then(|stored| stored.place.in_store());
        let shared = stored.is_some_and(|stored| stored.sharing == Sharing::Link);
        let Some(parent) = child.parent.filter(|_| shared) else {
            continue;
        };
        let said = child.disk.as_ref().and_then(|disk| disk.parent.as_ref());
        let wanted = said.map(|parent| parent.id);
        let found = files[parent].disk.as_ref().map(|disk| disk.own_id);
        if wanted == found && files[parent].role == Role::Leaf {
            files[parent].role = Role::Parent;
        }
    }
}

/// Cuts what a manifest says of parents where it goes round in a circle.
fn break_loops(files: &mut [LabFile], findings: &mut Vec<Finding>) {
    for at in 0..files.len() {
        let up = std::iter::successors(files[at].parent, |&parent| files[parent].parent);
        if up.take(MAX_LEVELS + 1).count() > MAX_LEVELS {
            files[at].parent = None;
            let message = "labpack.json names parents that go round in a circle";
            findings.push(Finding::error(Code::Cycle, &files[at].path, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{Attributes, FileTime},
        fs::FileKey,
    };

    #[test]
    fn a_lab_of_more_files_than_can_be_told_of_is_refused() {
        let file = LabFile {
            path: RelPath::new("a.log").unwrap(),
            length: 0,
            modified: FileTime(0),
            attributes: Attributes::default(),
            vm: None,
            role: Role::File,
            disk: None,
            parent: None,
            origin: Origin::Standing {
                root: Path::new("lab").into(),
                below: RelPath::new("a.log").unwrap(),
                key: FileKey { volume: 0, file: 0 },
            },
            external: false,
            relink: None,
        };
        let mut lab = Lab {
            files: vec![file; Manifest::MOST_FILES],
            ..Lab::default()
        };
        assert_eq!(too_many(&lab, Path::new("lab")), None);
        lab.files.push(lab.files[0].clone());
        let finding = too_many(&lab, Path::new("lab")).unwrap();
        assert_eq!(finding.code, Code::TooManyFiles);
        assert!(finding.message.starts_with("120001 files"), "{finding:?}");
    }
}
