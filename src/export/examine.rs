//! What is to be said of every disk in some folders, or of one disk.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Inventory, Neighbourhood, PackView, neighbourhood::behind, packed::read_manifest,
    probe::has_disk_name, scan,
};
use crate::{
    base::{DiskId, Run, VirtualSize},
    chain::{Graph, NodeId, Surroundings, resolve},
    formats::{DiskFormat, DiskKind},
    fs::{self, Entry, FsError},
    report::{Code, Finding, Findings, Severity},
};

/// Every disk under some paths, judged.
#[derive(Debug, Default)]
pub struct Examination {
    /// The disks, by path.
    pub disks: Vec<ExaminedDisk>,
    /// What was found beside them: about names, links, packs.
    pub findings: Findings,
    /// The packs among the folders.
    pub packs: Vec<PackView>,
    /// The folders among the paths in which labpack unpacked a lab.
    pub unpacked: Vec<PathBuf>,
    /// Every folder that was named, stores included: what lies in none of them is not opened.
    pub named: Vec<PathBuf>,
}

impl Examination {
    /// Returns every finding: those about no disk first, then disk by disk.
    pub fn all_findings(&self) -> impl Iterator<Item = &Finding> {
        let disks = self.disks.iter().flat_map(|disk| &disk.findings);
        self.findings.iter().chain(disks)
    }

    /// Returns the disks that no other depends on: each ends a chain.
    pub fn leaves(&self) -> impl Iterator<Item = &ExaminedDisk> {
        self.disks.iter().filter(|disk| disk.role.is_leaf())
    }
}

/// One disk, judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ExaminedDisk {
    /// Its path, below the folder that was named.
    pub path: String,
    /// Its place in its chain.
    pub role: DiskRole,
    /// Whether deleting a checkpoint would write into it.
    pub checkpoint_parent: bool,
    /// Its format; absent where it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<DiskFormat>,
    /// How it keeps its blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<DiskKind>,
    /// How large it looks to its guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_size: Option<VirtualSize>,
    /// The length of its file in bytes.
    pub file_size: u64,
    /// The id by which children name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_id: Option<DiskId>,
    /// Its parent, by its place in the list of disks; also one whose id is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<usize>,
    /// How many levels its chain has, from itself to its base.
    pub levels: usize,
    /// Whether something is wrong with it or with a disk above it, so that it must not be used.
    pub broken: bool,
    /// What was found about it.
    pub findings: Vec<Finding>,
}

/// A disk's place in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiskRole {
    /// It has no parent and is none.
    Alone,
    /// It has a parent, and no other disk depends on it.
    Leaf,
    /// It has a parent and is one.
    Middle,
    /// Others depend on it, and it has no parent.
    Base,
}

impl DiskRole {
    /// Tells whether no other disk depends on the disk.
    #[must_use]
    pub const fn is_leaf(self) -> bool {
        matches!(self, Self::Alone | Self::Leaf)
    }

    const fn of(has_parent: bool, is_parent: bool) -> Self {
        match (has_parent, is_parent) {
            (false, false) => Self::Alone,
            (true, false) => Self::Leaf,
            (true, true) => Self::Middle,
            (false, true) => Self::Base,
        }
    }
}

/// Examines every disk under `paths`. Of a path that is a disk, only it and its ancestors are
/// examined, and those only in its own folder. Ancestors may also be in `also`, folders such as a
/// store, the other disks of which are not examined.
///
/// # Errors
/// Where a path leads to nothing or cannot be read, and when the user stops the work. What is
/// wrong with disks and chains is a finding.
pub fn examine(paths: &[PathBuf], also: &[PathBuf], run: &Run<'_>) -> Result<Examination, FsError> {
    let named = Named::of(paths)?;
    let also: Vec<_> = also
        .iter()
        .map(|path| fs::absolute(path))
        .collect::<Result<_, _>>()?;
    let mut work = Work::new(run);
    let alone = named.folders.len() + named.disks.len() == 1;
    for folder in &named.folders {
        work.add_folder(folder, alone, &also, run)?;
    }
    work.done.named = [named.folders.as_slice(), also.as_slice()].concat();
    for store in &also {
        work.disks.add_unscanned(store, &shown(store));
    }
    work.place_packs();
    for disk in &named.disks {
        work.add_disk(disk, alone)?;
    }
    work.starts_of_folders(run)?;
    Ok(work.finish())
}

/// The paths that were named, absolute, none twice and none inside another.
#[derive(Default)]
struct Named {
    folders: Vec<PathBuf>,
    disks: Vec<PathBuf>,
}

impl Named {
    fn of(paths: &[PathBuf]) -> Result<Self, FsError> {
        let mut named = Self::default();
        for path in paths {
            let path = fs::absolute(path)?;
            match behind(&path)?.1 {
                Entry::File(_) => named.disks.push(path),
                Entry::Missing => return Err(nothing_at(path)),
                _ => named.folders.push(path),
            }
        }
        let folders = named.folders.clone();
        let inside = |path: &Path| folders.iter().any(|f| path.starts_with(f) && path != f);
        named.folders.retain(|path| !inside(path));
        named.disks.retain(|path| !inside(path));
        for list in [&mut named.folders, &mut named.disks] {
            let mut seen = HashSet::new();
            list.retain(|path| seen.insert(path.clone()));
        }
        Ok(named)
    }
}

fn nothing_at(path: PathBuf) -> FsError {
    FsError::Io {
        action: "find",
        path,
        source: io::Error::new(io::ErrorKind::NotFound, "nothing is there"),
    }
}

fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    text.trim_end_matches(['/', '\\']).to_owned()
}

/// A scanned folder, and how findings call it.
struct Labelled {
    label: String,
    inventory: Inventory,
}

struct Work {
    disks: Neighbourhood,
    inventories: Vec<Labelled>,
    starts: Vec<NodeId>,
    done: Examination,
}

impl Work {
    fn new(run: &Run<'_>) -> Self {
        Self {
            disks: Neighbourhood::new(run.meter),
            inventories: Vec::new(),
            starts: Vec::new(),
            done: Examination::default(),
        }
    }

    fn add_folder(
        &mut self,
        folder: &Path,
        alone: bool,
        stores: &[PathBuf],
        run: &Run<'_>,
    ) -> Result<(), FsError> {
        let manifest = read_manifest(folder)?;
        let inventory = scan(folder, run)?;
        let label = if alone { String::new() } else { shown(folder) };
        // Disks of a pack are unpacked before anything attaches them.
        if inventory.own.manifest.is_none() {
            self.disks.as_attached();
        }
        self.disks.add(&inventory, &label);
        let at = |finding| below(&label, finding);
        let scanned = inventory.findings.iter().cloned();
        self.done
            .findings
            .extend(scanned.map(|found| at(for_reader(found))));
        if inventory.own.journal.is_some() {
            self.done.findings.push(at(unfinished()));
        }
        if inventory.own.receipt.is_some() {
            self.done.unpacked.push(inventory.root.clone());
        }
        match manifest.filter(|_| inventory.own.manifest.is_some()) {
            Some(Ok(manifest)) => {
                let pack = PackView::of(&inventory, manifest, stores)?;
                self.done
                    .findings
                    .extend(pack.missing(&inventory).into_iter().map(at));
                self.done.packs.push(pack);
            }
            Some(Err(finding)) => self.done.findings.push(at(finding)),
            None => {}
        }
        self.inventories.push(Labelled { label, inventory });
        Ok(())
    }

    /// Every alias must stand before the first chain is followed.
    fn place_packs(&mut self) {
        for pack in &self.done.packs {
            self.starts.extend(pack.place_in(&mut self.disks));
        }
    }

    fn add_disk(&mut self, disk: &Path, alone: bool) -> Result<(), FsError> {
        let folder = disk.parent().unwrap_or(disk);
        let label = if alone { String::new() } else { shown(folder) };
        self.disks.as_attached();
        match self.disks.add_disk(disk, &label)? {
            Some(node) => self.starts.push(node),
            None => self.done.findings.push(no_disk(disk)),
        }
        Ok(())
    }

    fn starts_of_folders(&mut self, run: &Run<'_>) -> Result<(), FsError> {
        for number in 0..self.inventories.len() {
            let found = self.disks.disks_of(number, run)?;
            self.starts.extend(found);
            let dead = self.dead_links(number);
            self.done.findings.extend(dead);
        }
        Ok(())
    }

    /// Links with the name of a disk: each is a disk opened by another path, or leads to none.
    fn dead_links(&mut self, number: usize) -> Vec<Finding> {
        let Labelled { label, inventory } = &self.inventories[number];
        let links = inventory.links.iter();
        let mut findings = Vec::new();
        for (path, target) in links.filter(|(path, _)| has_disk_name(path.name())) {
            match self.disks.disk_at(&path.below(&inventory.root)) {
                Some(node) => self.starts.push(node),
                None => findings.push(below(label, dead_link(path.as_str(), target))),
            }
        }
        findings
    }

    fn finish(mut self) -> Examination {
        let graph = resolve(&mut self.disks, &self.starts);
        let mut nodes: Vec<_> = graph.nodes().collect();
        nodes.sort_by(|a, b| self.disks.disk(*a).path.cmp(&self.disks.disk(*b).path));
        let places: HashMap<_, _> = nodes
            .iter()
            .enumerate()
            .map(|(i, node)| (*node, i))
            .collect();
        let disks = nodes
            .iter()
            .map(|&node| self.examined(&graph, node, &places));
        self.done.disks = disks.collect();
        self.done
    }

    fn examined(
        &self,
        graph: &Graph,
        node: NodeId,
        places: &HashMap<NodeId, usize>,
    ) -> ExaminedDisk {
        let disk = self.disks.disk(node);
        let info = disk.info.as_deref();
        let differencing = info.is_some_and(|info| info.parent.is_some());
        ExaminedDisk {
            path: disk.path.clone(),
            role: DiskRole::of(differencing, graph.is_parent(node)),
            checkpoint_parent: graph.has_automatic_child(node),
            format: info.map(|info| info.format),
            kind: info.map(|info| info.kind),
            virtual_size: info.map(|info| info.virtual_size),
            file_size: self.disks.stamp(node).len,
            own_id: info.map(|info| info.own_id),
            parent: graph
                .parent_of(node)
                .and_then(|parent| places.get(&parent).copied()),
            levels: graph.levels(node),
            broken: graph.is_broken(node),
            findings: graph.findings(node).to_vec(),
        }
    }
}

fn below(label: &str, mut finding: Finding) -> Finding {
    if !label.is_empty() && finding.path != label {
        finding.path = format!("{label}/{}", finding.path);
    }
    finding
}

/// What keeps an export from being packed need not keep its chains from opening here.
fn for_reader(mut finding: Finding) -> Finding {
    let portable = matches!(
        finding.code,
        Code::BadName | Code::CaseCollision | Code::SharedDisk
    );
    if portable {
        finding.severity = finding.severity.min(Severity::Warning);
    }
    finding
}

fn unfinished() -> Finding {
    Finding::warning(
        Code::UnfinishedRun,
        "labpack.journal",
        "a pack in place was interrupted",
    )
    .next("run the same `labpack pack` again; it goes on where it stopped")
}

fn no_disk(path: &Path) -> Finding {
    Finding::error(
        Code::NotADisk,
        path.display(),
        "is no disk: neither `conectix` nor `vhdxfile` is in its place",
    )
    .next("name a .vhd, .vhdx, .avhd or .avhdx file, or a folder of them")
}

fn dead_link(path: &str, target: &Path) -> Finding {
    let message = format!(
        "is a link to `{}`, which is no disk in the folders that were named",
        target.display()
    );
    Finding::warning(Code::LinkInExport, path, message)
        .next("name the folder that it leads to as well")
}
