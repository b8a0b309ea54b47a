//! The RefDisks that stand in a store already, as the planner asks for them.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{PackError, earlier::Stock, others};
use crate::{
    base::{CanonicalId, ContentId, DiskId, IoMeter, Patch, ReadAt, Run, is_blank},
    formats::{canonical_form, store_form},
    fs::{self, Entry, FsError, SourceFile},
    manifest::{Manifest, RefDisk, StorePlace, Unknown},
    plan::{Known, KnownDisks, Masked, PackPlan},
    report::{Code, Finding, Findings},
    store::{self, Expected, Presence, Store, StoreError},
};

/// Masked bytes beyond this are not compared: the disk is taken for one of its own.
pub(super) const MASK_LIMIT: usize = 16 << 20;
/// The unit in which masked bytes are kept.
const PIECE: usize = 512;

/// What stands in a store.
#[derive(Debug)]
pub(super) struct Shelf {
    /// `None` where there is no store yet.
    store: Option<Store>,
    folder: PathBuf,
    disks: HashMap<ContentId, Shelved>,
    meter: Arc<IoMeter>,
}

#[derive(Debug)]
struct Shelved {
    disk: RefDisk,
    /// For a mid-chain disk, the name of its parent that its store form was made with.
    parent_file: Option<String>,
}

impl Shelf {
    /// The store in `stock`, and in it what a manifest names; of a shared store everything.
    pub(super) fn open(
        stock: &Stock,
        manifest: Option<&Manifest>,
        run: &Run<'_>,
    ) -> Result<Self, PackError> {
        let store = match Store::open(&stock.folder, run) {
            Err(StoreError::NoStore { .. }) => None,
            store => Some(store?),
        };
        let mut disks = HashMap::new();
        if let Some(store) = store.as_ref().filter(|_| stock.place == StorePlace::Shared) {
            let all = store.entries().into_iter().map(Shelved::of_entry);
            disks.extend(all.map(|shelved| (shelved.disk.id, shelved)));
        }
        for disk in manifest.iter().flat_map(|manifest| &manifest.ref_disks) {
            let parent = disk.disk.as_ref().and_then(|facts| facts.parent);
            let parent = parent.and_then(|id| manifest?.ref_disk(&id));
            let parent_file = parent.map(|parent| parent.file.clone());
            let known = disks
                .remove(&disk.id)
                .and_then(|shelved: Shelved| shelved.parent_file);
            let parent_file = known.or(parent_file);
            disks.insert(
                disk.id,
                Shelved {
                    disk: disk.clone(),
                    parent_file,
                },
            );
        }
        let folder = stock.folder.clone();
        disks.retain(|_, shelved| {
            stands(&folder.join(&shelved.disk.file), shelved.disk.length).unwrap_or(false)
        });
        Ok(Self {
            store,
            folder,
            disks,
            meter: Arc::clone(run.meter),
        })
    }

    /// Tells whether a disk with this id and length may well be there.
    pub(super) fn may_have(&self, own_id: DiskId, length: u64) -> bool {
        let fits = |shelved: &Shelved| {
            let facts = shelved.disk.disk.as_ref();
            shelved.disk.length == length && facts.is_some_and(|facts| facts.own_id == own_id)
        };
        self.disks.values().any(fits)
    }

    /// Proves each RefDisk that stands already and that a plan relies on: those that occurrences
    /// are removed for, and those that would enter the store.
    pub(super) fn prove(&self, plan: &PackPlan, run: &Run<'_>) -> Result<(), PackError> {
        let entering = plan.entries.iter().map(|entry| entry.id);
        let removals = plan.removals.iter().map(|removal| removal.ref_disk);
        let relied: BTreeSet<ContentId> = entering.chain(removals).collect();
        let mut findings = Findings::default();
        for disk in relied.iter().filter_map(|id| plan.manifest.ref_disk(id)) {
            findings.extend(self.fault(disk, &plan.manifest, run)?);
        }
        if findings.any_error() {
            return Err(PackError::Refused(findings));
        }
        Ok(())
    }

    fn fault(
        &self,
        disk: &RefDisk,
        manifest: &Manifest,
        run: &Run<'_>,
    ) -> Result<Option<Finding>, PackError> {
        let named = |why: &str| {
            let message = format!("stands in the store under the name of a RefDisk: {why}");
            Finding::error(Code::DamagedRefDisk, &disk.file, message)
                .next("put the RefDisk back from a copy; nothing that relies on it was removed")
        };
        let made_since;
        let store = match &self.store {
            Some(store) => store,
            // Another lab may have brought the same RefDisk meanwhile.
            None => match Store::open(&self.folder, run) {
                Err(StoreError::NoStore { .. }) => {
                    let taken = fs::look(&self.folder.join(&disk.file))? != Entry::Missing;
                    return Ok(taken.then(|| named("it came from elsewhere")));
                }
                opened => {
                    made_since = opened?;
                    &made_since
                }
            },
        };
        let shelved = self
            .disks
            .get(&disk.id)
            .and_then(|shelved| shelved.parent_file.as_deref());
        let expected = Expected {
            id: disk.id,
            file: &disk.file,
            length: disk.length,
            parent_file: shelved.or_else(|| parent_file(manifest, disk)),
        };
        match store.presence(&expected, run)? {
            Presence::Damaged(why) => Ok(Some(named(&why))),
            Presence::Missing | Presence::Known(_) | Presence::Checked(_) => Ok(None),
        }
    }

    /// Returns the change that makes the file of a RefDisk, whatever paths are in it just now,
    /// what it was when it was packed; nothing for a disk without a parent.
    ///
    /// A RefDisk that an interrupted restore has moved out of the store is not on the shelf any
    /// more: then its parent's name is the manifest's.
    pub(super) fn as_packed(
        &self,
        disk: &RefDisk,
        manifest: &Manifest,
        file: &dyn ReadAt,
    ) -> Patch {
        let shelved = self.disks.get(&disk.id);
        let parent = shelved.and_then(|shelved| shelved.parent_file.as_deref());
        as_packed(parent.or_else(|| parent_file(manifest, disk)), file)
    }

    /// Returns an error for each other lab that uses the pack's own store.
    pub(super) fn needed_elsewhere(
        &self,
        pack: &Path,
        place: StorePlace,
    ) -> Result<Findings, PackError> {
        let mut findings = Findings::default();
        if let (Some(store), StorePlace::Own) = (&self.store, place) {
            let users = others::users(store, pack)?;
            findings.extend(users.iter().map(|user| others::in_use_by(user, pack)));
        }
        Ok(findings)
    }

    /// Takes down that a pack uses nothing in the store any more.
    pub(super) fn leave(&self, pack: &Path, run: &Run<'_>) -> Result<(), PackError> {
        match &self.store {
            Some(store) => Ok(store.unregister_use(pack, run)?),
            None => Ok(()),
        }
    }

    /// The RefDisk with its masked bytes; `None` where these cannot be told.
    fn known(&self, shelved: &Shelved) -> Option<Known> {
        let disk = shelved.disk.clone();
        if disk
            .disk
            .as_ref()
            .is_none_or(|facts| facts.canonical.is_none())
        {
            return Some(Known {
                disk,
                masked: Masked::default(),
            });
        }
        let source = SourceFile::open(&self.folder.join(&disk.file), &self.meter).ok()?;
        let masked = match &shelved.parent_file {
            None => masked_bytes(&source)?,
            // Whatever paths are in it just now, it counts as it was packed.
            Some(parent) => masked_bytes(&source)?.after(&store_form(&source, parent).ok()?),
        };
        Some(Known { disk, masked })
    }
}

impl Shelved {
    fn of_entry(entry: store::Entry) -> Self {
        let disk = RefDisk {
            id: entry.id,
            file: entry.file,
            length: entry.length,
            modified: entry.modified,
            disk: entry.disk,
            used_by: Vec::new(),
            unknown: Unknown::new(),
        };
        Self {
            disk,
            parent_file: entry.parent_file,
        }
    }
}

/// Returns the change that makes the file of a RefDisk, whatever paths are in it just now, what it
/// was when it was packed with a parent of this name; nothing for a disk without a parent.
pub(super) fn as_packed(parent: Option<&str>, file: &dyn ReadAt) -> Patch {
    // A disk that cannot be understood is damaged, which its digest will show.
    let patch = parent.and_then(|parent| store_form(file, parent).ok());
    patch.unwrap_or_default()
}

/// Returns the name in the store of a RefDisk's parent.
pub(super) fn parent_file<'a>(manifest: &'a Manifest, disk: &RefDisk) -> Option<&'a str> {
    let parent = disk.disk.as_ref()?.parent?;
    manifest
        .ref_disk(&parent)
        .map(|parent| parent.file.as_str())
}

impl KnownDisks for Shelf {
    fn by_id(&self, id: &ContentId) -> Option<Known> {
        self.known(self.disks.get(id)?)
    }

    fn twin(
        &self,
        canonical: &CanonicalId,
        own_id: DiskId,
        parent: Option<ContentId>,
    ) -> Option<Known> {
        let fits = |shelved: &&Shelved| {
            shelved.disk.disk.as_ref().is_some_and(|facts| {
                facts.canonical == Some(*canonical)
                    && facts.own_id == own_id
                    && facts.parent == parent
            })
        };
        // Should there be several, the choice must not depend on the order in a map.
        self.known(
            self.disks
                .values()
                .filter(fits)
                .min_by_key(|shelved| shelved.disk.id)?,
        )
    }
}

/// Tells whether a file of this length stands at `path`.
pub(super) fn stands(path: &Path, length: u64) -> Result<bool, FsError> {
    Ok(matches!(fs::look(path)?, Entry::File(stamp) if stamp.len == length))
}

/// Reads the masked bytes of a disk, and nothing else of it; `None` where there are too many, or
/// where the disk cannot be understood.
pub(super) fn masked_bytes(file: &dyn ReadAt) -> Option<Masked> {
    let form = canonical_form(file).ok()?;
    let (mut pieces, mut kept) = (Vec::new(), 0);
    let mut buffer = vec![0; 128 * PIECE];
    for mask in &form.masks {
        let mut at = mask.start();
        while at < mask.end() {
            // At most the buffer's length.
            let len = (mask.end() - at).min(buffer.len() as u64) as usize;
            file.read_exact_at(&mut buffer[..len], at).ok()?;
            for (number, piece) in buffer[..len].chunks(PIECE).enumerate() {
                if !is_blank(piece) {
                    kept += piece.len();
                    pieces.push((at + (number * PIECE) as u64, piece.to_vec()));
                }
            }
            if kept > MASK_LIMIT {
                return None;
            }
            at += len as u64;
        }
    }
    Some(Masked {
        ranges: form.masks,
        pieces,
    })
}
