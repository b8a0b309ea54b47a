//! The disks of one or several folders, and where hints lead among them.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Inventory,
    find::{Area, Areas, At, DiskFile, File, Found, MAX_HOPS},
};
use crate::{
    base::{Cancelled, IoMeter, RelPath, Run},
    chain::{
        Disk, Lookup, NodeId, Surroundings,
        path::{Place, Style, Target, target},
    },
    formats::PathHint,
    fs::{self, Entry, FileKey, FsError, Stamp},
    manifest::Sharing,
    report::{Code, Finding, WindowsError},
};

/// Unix time of 2000-01-01T00:00:00Z.
const YEAR_2000: i64 = 946_684_800;

/// Where a node's file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It is part of an export.
    File {
        /// Which inventory, counted from 0 in the order in which they were added.
        inventory: usize,
        /// Which of its files.
        file: usize,
    },
    /// It is in the store that belongs to a pack.
    Store {
        /// Which inventory.
        inventory: usize,
        /// Which of the files of its own store.
        file: usize,
    },
    /// It was looked up by itself.
    Elsewhere,
}

/// The disks of one or several folders. A hint that leads out of them leads nowhere: what is
/// outside is neither opened nor looked at, unless the user asked for it ([`Self::open_outside`]).
#[derive(Debug)]
pub struct Neighbourhood {
    areas: Areas,
    inventories: usize,
    nodes: Vec<Node>,
    by_place: HashMap<Place, NodeId>,
    identities: HashMap<FileKey, usize>,
    meter: Arc<IoMeter>,
    /// Whether hints may lead out of the folders.
    outside: bool,
    /// Whether Hyper-V is to open the disks as they lie there.
    attached: bool,
}

#[derive(Debug)]
struct Node {
    disk: Disk,
    origin: Origin,
    /// Where the file really is.
    file: PathBuf,
    stamp: Stamp,
    /// The way by which it was opened.
    place: Place,
}

impl Neighbourhood {
    /// An empty one. Headers and tables read for it are counted by `meter`.
    #[must_use]
    pub fn new(meter: &Arc<IoMeter>) -> Self {
        Self {
            areas: Areas::default(),
            inventories: 0,
            nodes: Vec::new(),
            by_place: HashMap::new(),
            identities: HashMap::new(),
            meter: Arc::clone(meter),
            outside: false,
            attached: false,
        }
    }

    /// Lets hints lead out of the folders, to files on this machine's own drives. What is on a
    /// share stays unopened: to ask for it would show a stranger's server who asks.
    pub fn open_outside(&mut self) {
        self.outside = true;
    }

    /// Holds disks that are added later to what Hyper-V asks of the files themselves too.
    pub(super) fn as_attached(&mut self) {
        self.attached = true;
    }

    /// Adds a scanned folder. Findings show paths in it below `label`, or as they are where that
    /// is empty. Returns the number of the inventory.
    pub fn add(&mut self, inventory: &Inventory, label: &str) -> usize {
        let number = self.inventories;
        self.inventories += 1;
        if let Some(place) = Place::of_system(&inventory.root) {
            self.areas.0.push(Area::of(inventory, place, label, number));
        }
        number
    }

    /// Adds a folder that is not scanned: files in it are looked at one by one, as hints ask.
    pub(crate) fn add_unscanned(&mut self, root: &Path, label: &str) {
        let Some(place) = Place::of_system(root) else {
            return;
        };
        if self.areas.0.iter().all(|area| area.place != place) {
            self.areas.0.push(Area::unscanned(root, place, label));
        }
    }

    /// Adds one disk, and its folder without scanning it. The disk may be named by a link, whose
    /// target need not be in that folder.
    pub(super) fn add_disk(&mut self, path: &Path, label: &str) -> Result<Option<NodeId>, FsError> {
        let folder = path.parent().unwrap_or(path);
        self.add_unscanned(folder, label);
        let area = Place::of_system(folder)
            .and_then(|place| self.areas.0.iter_mut().find(|area| area.place == place));
        let name = RelPath::from_system(Path::new(path.file_name().unwrap_or_default()));
        if let (Some(area), Ok(name), (file, Entry::File(_))) = (area, name, behind(path)?) {
            area.add_named(name, file, &self.meter);
        }
        Ok(self.disk_at(path))
    }

    /// Lets `path` in the folder `root` stand for the store's file at `stored`; tells whether
    /// both folders are here and the file is there.
    pub(super) fn add_alias(
        &mut self,
        root: &Path,
        path: &RelPath,
        stored: &Path,
        sharing: Sharing,
    ) -> bool {
        let area = Place::of_system(root)
            .and_then(|root| self.areas.0.iter().position(|area| area.place == root));
        let stored = Place::of_system(stored).map(|place| self.areas.find(&place, &self.meter));
        let (Some(area), Some(Found::File { at, .. })) = (area, stored) else {
            return false;
        };
        self.areas.add_alias(area, path, at, sharing);
        true
    }

    /// Returns a node for every disk of an inventory, its store's not included.
    ///
    /// # Errors
    /// [`Cancelled`] when the user stops the work.
    pub fn disks_of(&mut self, inventory: usize, run: &Run<'_>) -> Result<Vec<NodeId>, Cancelled> {
        let mut found = Vec::new();
        for (area, content) in self.areas.0.iter().enumerate() {
            run.go_on()?;
            for (entry, file) in content.entries.iter().enumerate() {
                let here =
                    matches!(file.origin, Origin::File { inventory: i, .. } if i == inventory);
                if here && file.disk.is_some() {
                    found.push(At { area, entry });
                }
            }
        }
        Ok(found.into_iter().map(|at| self.node_itself(at)).collect())
    }

    /// Returns the node of the disk at `path`, opened by that path; `None` where there is no disk
    /// among the folders added.
    pub fn disk_at(&mut self, path: &Path) -> Option<NodeId> {
        let place = Place::of_system(path)?;
        match self.areas.find(&place, &self.meter) {
            Found::File { at, place } if self.entry(at).disk.is_some() => {
                Some(self.node(at, place))
            }
            _ => None,
        }
    }

    /// Lets go of what no node needs, once every chain is followed: there may be many files beside
    /// the disks. No hint leads anywhere from now on.
    pub(crate) fn keep_nodes_alone(&mut self) {
        self.areas = Areas::default();
    }

    /// Returns where a node's file comes from.
    #[must_use]
    pub fn origin(&self, node: NodeId) -> Origin {
        self.nodes[node.0].origin
    }

    /// Returns where a node's file really is, whatever links led to it.
    #[must_use]
    pub fn file(&self, node: NodeId) -> &Path {
        &self.nodes[node.0].file
    }

    /// Returns what the system says of a node's file.
    #[must_use]
    pub fn stamp(&self, node: NodeId) -> &Stamp {
        &self.nodes[node.0].stamp
    }

    fn find(&mut self, place: &Place) -> Found {
        let found = self.areas.find(place, &self.meter);
        let folder = place.folder().to_local().filter(|_| self.outside);
        match (found, folder) {
            (Found::Outside, Some(folder)) => {
                self.add_unscanned(&folder, &folder.display().to_string());
                self.areas.find(place, &self.meter)
            }
            (found, _) => found,
        }
    }

    fn entry(&self, at: At) -> &File {
        &self.areas.0[at.area].entries[at.entry]
    }

    fn disk_file(&self, at: At) -> &DiskFile {
        let disk = self.entry(at).disk.as_deref();
        disk.expect("only disks are nodes")
    }

    fn node_itself(&mut self, at: At) -> NodeId {
        let area = &self.areas.0[at.area];
        let place = area.place.below(&area.entries[at.entry].path);
        self.node(at, place)
    }

    fn node(&mut self, at: At, place: Place) -> NodeId {
        if let Some(&node) = self.by_place.get(&place) {
            return node;
        }
        let node = NodeId(self.nodes.len());
        let disk = self.disk(at, &place);
        self.by_place.insert(place.clone(), node);
        let file = self.areas.0[at.area].standing(at.entry);
        self.nodes.push(Node {
            disk,
            origin: self.entry(at).origin,
            file,
            stamp: self.disk_file(at).stamp,
            place,
        });
        node
    }

    fn disk(&mut self, at: At, place: &Place) -> Disk {
        let next = self.identities.len();
        let key = self.entry(at).key;
        let identity = *self.identities.entry(key).or_insert(next);
        let entry = self.disk_file(at);
        let path = self.areas.call(place);
        let mut findings = Vec::new();
        match &entry.info {
            Ok(info) => findings.extend(info.remarks.iter().map(|odd| odd.finding(&path))),
            Err(fault) => findings.push(fault.finding(&path)),
        }
        let blocks = entry.blocks.as_ref();
        findings.extend(blocks.map(|fault| fault.finding(&path)));
        if entry.stamp.sparse_or_compressed {
            findings.push(compressed(&path, self.attached));
        }
        Disk {
            identity,
            modified: entry.stamp.modified.parts().0.saturating_sub(YEAR_2000),
            info: entry.info.as_ref().ok().cloned(),
            findings,
            path,
        }
    }
}

/// Follows the links that `path` is, one after the other; tells what is at the end, and where.
pub(super) fn behind(path: &Path) -> Result<(PathBuf, Entry), FsError> {
    let mut path = path.to_owned();
    for _ in 0..MAX_HOPS {
        let Entry::Link(target) = fs::look(&path)? else {
            break;
        };
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    let entry = fs::look(&path)?;
    Ok((path, entry))
}

/// Windows' own word: elsewhere no file is said to be so.
fn compressed(path: &str, attached: bool) -> Finding {
    let say = if attached {
        Finding::error
    } else {
        Finding::warning
    };
    say(
        Code::CompressedOrSparse,
        path,
        "the file is sparse, compressed or encrypted, which Hyper-V refuses".to_owned(),
    )
    .windows(WindowsError::COMPRESSED_OR_SPARSE)
    .next("take it off with `compact /u`, `cipher /d` or `fsutil sparse setflag <file> 0`")
}

impl Surroundings for Neighbourhood {
    fn disk(&self, node: NodeId) -> &Disk {
        &self.nodes[node.0].disk
    }

    fn look(&mut self, child: NodeId, hint: &PathHint) -> Lookup {
        let folder = self.nodes[child.0].place.folder();
        let place = match target(hint, &folder, Style::HERE) {
            Target::At(place) => place,
            Target::Outside => return Lookup::Outside,
            Target::NotHere => return Lookup::NotHere,
            Target::NoPath => return Lookup::Missing(hint.path.clone()),
        };
        match self.find(&place) {
            Found::File { at, place } if self.entry(at).disk.is_some() => {
                Lookup::Disk(self.node(at, place))
            }
            Found::File { at, .. } => Lookup::NotADisk(self.areas.shown(at)),
            Found::Nothing => Lookup::Missing(self.areas.call(&place)),
            Found::Several(names) => Lookup::Ambiguous(names),
            Found::Outside => Lookup::Outside,
        }
    }
}
