//! RefDisks of the destination's store: which stand there, and taking down those that come in.

use std::{collections::HashMap, path::PathBuf};

use super::{UnpackError, places::Places};
use crate::{
    base::{ContentId, Run},
    fs::Stamp,
    manifest::{Manifest, RefDisk},
    plan::{RefDiskAction, RefDiskStep, UnpackPlan},
    report::{Code, Finding, Findings},
    store::{Entry, Expected, Presence, Store, StoreError},
};

/// What the destination's store holds before the unpack.
#[derive(Debug, Default)]
pub(super) struct Stock {
    store: Option<Store>,
    /// Files that stand under a RefDisk's name and are the RefDisk.
    standing: HashMap<ContentId, Stamp>,
    /// Those among them that the store's index does not know.
    unregistered: Vec<ContentId>,
}

impl Stock {
    /// Opens the destination's store, if it is there.
    pub(super) fn open(places: &Places, run: &Run<'_>) -> Result<Self, UnpackError> {
        let store = match Store::open(&places.store(), run) {
            Err(StoreError::NoStore { .. }) => None,
            opened => Some(opened?),
        };
        Ok(Self {
            store,
            ..Self::default()
        })
    }

    /// Returns the names under which RefDisks stand in the store, where another pack brought them.
    pub(super) fn names(&self, manifest: &Manifest) -> HashMap<ContentId, String> {
        let Some(store) = &self.store else {
            return HashMap::new();
        };
        let disks = manifest.ref_disks.iter();
        disks
            .filter_map(|disk| Some((disk.id, store.find(&disk.id)?.file)))
            .collect()
    }

    /// Looks for the RefDisks that are needed. One that is not known unchanged is read.
    pub(super) fn look_for(
        &mut self,
        needed: &[RefDiskStep],
        manifest: &Manifest,
        findings: &mut Findings,
        run: &Run<'_>,
    ) -> Result<(), UnpackError> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        for step in needed {
            run.go_on()?;
            let expected = Expected {
                id: step.id,
                file: &step.file,
                length: step.length,
                parent_file: parent_file(manifest, step.id),
            };
            match store.presence(&expected, run)? {
                Presence::Missing => {}
                Presence::Known(stamp) => drop(self.standing.insert(step.id, stamp)),
                Presence::Checked(stamp) => {
                    self.standing.insert(step.id, stamp);
                    self.unregistered.push(step.id);
                }
                Presence::Damaged(why) => findings.push(damaged(&store.path_of(&step.file), &why)),
            }
        }
        Ok(())
    }

    /// Decides what is done about each RefDisk of a plan.
    pub(super) fn meet(&self, plan: &mut UnpackPlan) {
        for step in &mut plan.ref_disks {
            if self.standing.contains_key(&step.id) {
                step.action = RefDiskAction::Have;
            }
        }
    }

    /// Returns how many names the file of a RefDisk has already.
    pub(super) fn links(&self, id: &ContentId) -> u64 {
        self.standing.get(id).map_or(1, |stamp| stamp.links)
    }

    /// Opens the store for the work, takes down what was found in it, and that `places.dest` uses
    /// it from now on.
    pub(super) fn begin(
        self,
        places: &Places,
        manifest: &Manifest,
        plan: &UnpackPlan,
        run: &Run<'_>,
    ) -> Result<Shelf, UnpackError> {
        let store = match self.store {
            Some(store) => store,
            None => Store::create(&places.store(), run)?,
        };
        let dest = places.dest.clone();
        let shelf = Shelf { store, dest };
        for step in plan
            .ref_disks
            .iter()
            .filter(|step| self.unregistered.contains(&step.id))
        {
            let stamp = self.standing.get(&step.id);
            shelf.register(manifest, step, stamp, run)?;
        }
        shelf.register_use(places, plan, run)?;
        Ok(shelf)
    }
}

fn damaged(path: &std::path::Path, why: &str) -> Finding {
    let message = format!("stands in the store under a RefDisk's name, but {why}");
    Finding::error(Code::DamagedRefDisk, path.display(), message)
        .next("move it away; it is brought from the pack again")
}

/// Returns the name of a RefDisk's parent in the pack, by which its store form names it.
pub(super) fn parent_file(manifest: &Manifest, id: ContentId) -> Option<&str> {
    let parent = manifest.ref_disk(&id)?.disk.as_ref()?.parent?;
    manifest
        .ref_disk(&parent)
        .map(|parent| parent.file.as_str())
}

/// The destination's store, at work.
#[derive(Debug)]
pub(super) struct Shelf {
    store: Store,
    /// The lab that uses it.
    dest: PathBuf,
}

impl Shelf {
    pub(super) fn path_of(&self, step: &RefDiskStep) -> PathBuf {
        self.store.path_of(&step.file)
    }

    /// Takes down a RefDisk that stands in the store.
    pub(super) fn register(
        &self,
        manifest: &Manifest,
        step: &RefDiskStep,
        stamp: Option<&Stamp>,
        run: &Run<'_>,
    ) -> Result<(), UnpackError> {
        let Some(disk) = manifest.ref_disk(&step.id) else {
            return Ok(());
        };
        let disk = RefDisk {
            file: step.file.clone(),
            ..disk.clone()
        };
        let entry = Entry::new(&disk, parent_file(manifest, step.id), stamp);
        self.store.register_for(entry, &self.dest, run)?;
        Ok(())
    }

    /// Tells whether another process has brought the RefDisk meanwhile.
    pub(super) fn has_come(
        &self,
        manifest: &Manifest,
        step: &RefDiskStep,
        run: &Run<'_>,
    ) -> Result<Option<Stamp>, UnpackError> {
        let expected = Expected {
            id: step.id,
            file: &step.file,
            length: step.length,
            parent_file: parent_file(manifest, step.id),
        };
        Ok(match self.store.presence(&expected, run)? {
            Presence::Known(stamp) | Presence::Checked(stamp) => Some(stamp),
            Presence::Missing | Presence::Damaged(_) => None,
        })
    }

    pub(super) fn register_use(
        &self,
        places: &Places,
        plan: &UnpackPlan,
        run: &Run<'_>,
    ) -> Result<(), UnpackError> {
        let ids: Vec<_> = plan.ref_disks.iter().map(|step| step.id).collect();
        Ok(self.store.register_use(&ids, &places.dest, run)?)
    }
}
