//! Finds a file by a place, among the folders that were named and in their links.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{DiskFault, Inventory, ScannedFile, neighbourhood::Origin, probe::probe};
use crate::{
    base::{IoMeter, RelPath, fold_case},
    chain::path::Place,
    formats::DiskInfo,
    fs::{self, FileKey, Stamp},
    manifest::Sharing,
};

/// As many links may lead from one to the next.
pub(super) const MAX_HOPS: usize = 40;

/// A file that a place may lead to.
#[derive(Debug)]
pub(super) struct File {
    /// From the top of its area.
    pub(super) path: RelPath,
    pub(super) key: FileKey,
    pub(super) origin: Origin,
    /// Most of very many files are none.
    pub(super) disk: Option<Box<DiskFile>>,
}

/// A file that is a disk.
#[derive(Debug)]
pub(super) struct DiskFile {
    /// Where it really is, if that is not where its path says.
    elsewhere: Option<PathBuf>,
    pub(super) stamp: Stamp,
    pub(super) info: Result<Arc<DiskInfo>, Box<DiskFault>>,
    pub(super) blocks: Option<Box<DiskFault>>,
}

impl File {
    fn of(scanned: &ScannedFile, elsewhere: Option<PathBuf>, origin: Origin) -> Self {
        let disk = scanned.disk.clone().map(|info| DiskFile {
            elsewhere,
            stamp: scanned.stamp,
            info,
            blocks: scanned.blocks.clone(),
        });
        Self {
            path: scanned.path.clone(),
            key: scanned.stamp.key,
            origin,
            disk: disk.map(Box::new),
        }
    }
}

/// An entry among all areas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct At {
    pub(super) area: usize,
    pub(super) entry: usize,
}

/// One folder that was named, and what is in it.
#[derive(Debug)]
pub(super) struct Area {
    pub(super) place: Place,
    root: PathBuf,
    label: String,
    pub(super) entries: Vec<File>,
    /// The entries, ordered as [`RelPath::cmp_folded`] has it: there may be very many.
    by_name: Vec<usize>,
    links: HashMap<String, Vec<(RelPath, PathBuf)>>,
    /// Files that are in the store: where, and how unpack brings them back.
    aliases: HashMap<String, (At, Sharing)>,
    /// Paths looked at so far; only where nothing was scanned ahead.
    looked_at: Option<HashSet<String>>,
}

impl Area {
    /// The area of a scanned folder. `number` counts the inventories.
    pub(super) fn of(inventory: &Inventory, place: Place, label: &str, number: usize) -> Self {
        let mut area = Self::unscanned(&inventory.root, place, label);
        area.looked_at = None;
        let count = inventory.files.len() + inventory.own.store.len();
        area.entries.reserve_exact(count);
        let inventory_files = inventory.files.iter().enumerate();
        area.entries.extend(inventory_files.map(|(file, scanned)| {
            let inventory = number;
            File::of(scanned, None, Origin::File { inventory, file })
        }));
        let stored = inventory.own.store.iter().enumerate();
        area.entries.extend(stored.map(|(file, scanned)| {
            let inventory = number;
            File::of(scanned, None, Origin::Store { inventory, file })
        }));
        area.by_name.extend(0..count);
        let path = |entry: usize| &area.entries[entry].path;
        area.by_name
            .sort_by(|&a, &b| path(a).cmp_folded(path(b).as_str()));
        for (path, target) in &inventory.links {
            area.add_link(path.clone(), target.clone());
        }
        area
    }

    /// The area of a folder in which files are looked up one by one.
    pub(super) fn unscanned(root: &Path, place: Place, label: &str) -> Self {
        Self {
            place,
            root: root.to_owned(),
            label: label.to_owned(),
            entries: Vec::new(),
            by_name: Vec::new(),
            links: HashMap::new(),
            aliases: HashMap::new(),
            looked_at: Some(HashSet::new()),
        }
    }

    fn add(&mut self, file: File) {
        let behind = self.fold_range(file.path.as_str()).end;
        self.by_name.insert(behind, self.entries.len());
        self.entries.push(file);
    }

    fn add_link(&mut self, path: RelPath, target: PathBuf) {
        let links = self.links.entry(path.folded()).or_default();
        links.push((path, target));
    }

    /// Where the disk of an entry really is.
    pub(super) fn standing(&self, entry: usize) -> PathBuf {
        let file = &self.entries[entry];
        let elsewhere = file.disk.as_ref().and_then(|disk| disk.elsewhere.clone());
        elsewhere.unwrap_or_else(|| file.path.below(&self.root))
    }

    /// How findings call the file at `path` of this area.
    pub(super) fn shown(&self, path: &str) -> String {
        match self.label.as_str() {
            "" => path.to_owned(),
            label => format!("{label}/{path}"),
        }
    }

    /// Returns the entries whose path is `path`, or is but for case.
    fn fitting(&self, path: &str) -> &[usize] {
        &self.by_name[self.fold_range(path)]
    }

    /// Where such entries stand in [`Self::by_name`], or would.
    fn fold_range(&self, path: &str) -> Range<usize> {
        let cmp = |&entry: &usize| self.entries[entry].path.cmp_folded(path);
        let start = self.by_name.partition_point(|entry| cmp(entry).is_lt());
        let end = self.by_name.partition_point(|entry| cmp(entry).is_le());
        start..end
    }

    pub(super) fn exact(&self, path: &str) -> Option<usize> {
        let fitting = self.fitting(path).iter().copied();
        fitting
            .into_iter()
            .find(|&entry| self.entries[entry].path.as_str() == path)
    }

    /// Returns where the first link on the way along `path` leads, the rest of the path added.
    fn through_link(&self, path: &str) -> Option<Option<Place>> {
        let ends = path
            .match_indices('/')
            .map(|(end, _)| end)
            .chain([path.len()]);
        for end in ends {
            let Some(links) = self.links.get(&fold_case(&path[..end])) else {
                continue;
            };
            let exact = links.iter().find(|(link, _)| link.as_str() == &path[..end]);
            let (link, target) = exact.or_else(|| links.first())?;
            let folder = self.place.below(link).folder();
            let mut place = folder.join_system(target);
            if let Some(place) = &mut place {
                let rest = path[end..].split('/').filter(|part| !part.is_empty());
                place.parts.extend(rest.map(str::to_owned));
            }
            return Some(place);
        }
        None
    }

    /// Looks at `path` on the disk, part by part, unless it was looked at before.
    fn look_at(&mut self, path: &str, meter: &Arc<IoMeter>) {
        let Some(seen) = &mut self.looked_at else {
            return;
        };
        let Ok(path) = RelPath::new(path) else { return };
        if !seen.insert(path.as_str().to_owned()) {
            return;
        }
        let ends = path.as_str().match_indices('/').map(|(end, _)| end);
        for end in ends.chain([path.as_str().len()]) {
            let Ok(part) = RelPath::new(&path.as_str()[..end]) else {
                return;
            };
            match fs::look(&part.below(&self.root)) {
                Ok(fs::Entry::Folder(_)) => {}
                Ok(fs::Entry::Link(target)) => return self.add_link_once(part, target),
                Ok(fs::Entry::File(stamp)) if part == path => {
                    return self.open(part, path.below(&self.root), stamp, meter);
                }
                _ => return,
            }
        }
    }

    fn add_link_once(&mut self, path: RelPath, target: PathBuf) {
        let known = self.links.get(&path.folded());
        if !known.is_some_and(|links| links.iter().any(|(link, _)| *link == path)) {
            self.add_link(path, target);
        }
    }

    /// Adds a file by one name, which may be a link to it.
    pub(super) fn add_named(&mut self, path: RelPath, file: PathBuf, meter: &Arc<IoMeter>) {
        let Some(seen) = &mut self.looked_at else {
            return;
        };
        if let (true, Ok(stamp)) = (seen.insert(path.as_str().to_owned()), fs::stamp(&file)) {
            self.open(path, file, stamp, meter);
        }
    }

    fn open(&mut self, path: RelPath, file: PathBuf, stamp: Stamp, meter: &Arc<IoMeter>) {
        let mut scanned = ScannedFile {
            path,
            stamp,
            vm: None,
            disk: None,
            blocks: None,
        };
        let probed = probe(&file, &scanned, meter);
        (scanned.disk, scanned.blocks) = (probed.disk, probed.blocks);
        self.add(File::of(&scanned, Some(file), Origin::Elsewhere));
    }
}

/// What a place leads to.
#[derive(Debug)]
pub(super) enum Found {
    /// To a file. `place` is the way it is opened: by its own path, unless a link was on the way.
    File { at: At, place: Place },
    /// To nothing.
    Nothing,
    /// To several files that differ but for case.
    Several(Vec<String>),
    /// Out of every area.
    Outside,
}

enum Step {
    Is(At),
    StandsFor(At, Sharing),
    Several(Vec<String>),
    Follow(Place),
    Nothing,
    Outside,
}

/// Every folder that was named.
#[derive(Debug, Default)]
pub(super) struct Areas(pub(super) Vec<Area>);

impl Areas {
    /// Finds what `place` leads to, through links that stay inside.
    pub(super) fn find(&mut self, place: &Place, meter: &Arc<IoMeter>) -> Found {
        let mut here = place.clone();
        for hop in 0..MAX_HOPS {
            match self.step(&here, meter) {
                Step::Is(at) if hop == 0 => return self.directly(at),
                Step::StandsFor(at, Sharing::Link) => return self.directly(at),
                // The very bytes of the file, as if they stood where it did.
                Step::Is(at) | Step::StandsFor(at, Sharing::Copy) => {
                    let place = place.clone();
                    return Found::File { at, place };
                }
                Step::Several(names) => return Found::Several(names),
                Step::Nothing => return Found::Nothing,
                Step::Outside => return Found::Outside,
                Step::Follow(next) => here = next,
            }
        }
        Found::Nothing
    }

    fn directly(&self, at: At) -> Found {
        let area = &self.0[at.area];
        Found::File {
            at,
            place: area.place.below(&area.entries[at.entry].path),
        }
    }

    fn step(&mut self, here: &Place, meter: &Arc<IoMeter>) -> Step {
        let mut inside = Vec::new();
        for (number, area) in self.0.iter_mut().enumerate() {
            if let Some(rest) = here.strip(&area.place) {
                let path = rest.join("/");
                area.look_at(&path, meter);
                inside.push((number, path));
            }
        }
        if inside.is_empty() {
            return Step::Outside;
        }
        self.file(&inside)
            .or_else(|| self.alias(&inside))
            .or_else(|| self.link(&inside))
            .unwrap_or(Step::Nothing)
    }

    fn file(&self, inside: &[(usize, String)]) -> Option<Step> {
        let exact = inside.iter().find_map(|(area, path)| {
            let entry = self.0[*area].exact(path)?;
            Some(At { area: *area, entry })
        });
        if let Some(at) = exact {
            return Some(Step::Is(at));
        }
        let fitting = inside.iter().flat_map(|&(area, ref path)| {
            let entries = self.0[area].fitting(path).iter();
            entries.map(move |&entry| At { area, entry })
        });
        let mut fitting: Vec<_> = fitting.collect();
        // Folders that overlap show one file twice.
        fitting.dedup_by_key(|at| self.0[at.area].entries[at.entry].key);
        match fitting.as_slice() {
            [] => None,
            [one] => Some(Step::Is(*one)),
            several => Some(Step::Several(
                several.iter().map(|at| self.shown(*at)).collect(),
            )),
        }
    }

    pub(super) fn shown(&self, at: At) -> String {
        let area = &self.0[at.area];
        area.shown(area.entries[at.entry].path.as_str())
    }

    fn alias(&self, inside: &[(usize, String)]) -> Option<Step> {
        inside.iter().find_map(|(area, path)| {
            let (at, sharing) = self.0[*area].aliases.get(&fold_case(path))?;
            Some(Step::StandsFor(*at, *sharing))
        })
    }

    fn link(&self, inside: &[(usize, String)]) -> Option<Step> {
        inside.iter().find_map(|(area, path)| {
            let target = self.0[*area].through_link(path)?;
            Some(target.map_or(Step::Outside, Step::Follow))
        })
    }

    /// Lets `path` of `area` stand for a file of the store.
    pub(super) fn add_alias(&mut self, area: usize, path: &RelPath, at: At, sharing: Sharing) {
        let aliases = &mut self.0[area].aliases;
        aliases.insert(path.folded(), (at, sharing));
    }

    /// How findings call a place; a place outside by its last part.
    pub(super) fn call(&self, place: &Place) -> String {
        let area = |area: &Area| {
            let rest = place.strip(&area.place)?;
            (!rest.is_empty()).then(|| area.shown(&rest.join("/")))
        };
        let inside = self.0.iter().find_map(area);
        inside.unwrap_or_else(|| place.parts.last().cloned().unwrap_or_default())
    }
}
