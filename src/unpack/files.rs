//! Copies files and RefDisks: each source is read once, into everything that is made of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use rayon::prelude::*;

use super::{
    UnpackError,
    job::{Job, Target},
    known::Known,
    memory::RunLog,
    places::Places,
    refdisks::{Shelf, parent_file},
};
use crate::{
    base::{ContentId, RelPath, Run},
    fs,
    manifest::{Manifest, RefDisk},
    plan::{FileRecord, FileSource, FileStep, Link, RefDiskAction, UnpackPlan},
};

/// Everything that the workers share.
pub(super) struct Workshop<'a> {
    pub(super) places: &'a Places,
    pub(super) manifest: &'a Manifest,
    pub(super) plan: &'a UnpackPlan,
    pub(super) names: &'a HashMap<ContentId, String>,
    /// What of the pack need not be read.
    pub(super) known: &'a Known,
    /// The destination's store; absent where everything is copied.
    pub(super) shelf: Option<&'a Shelf>,
    pub(super) log: &'a RunLog,
    pub(super) run: &'a Run<'a>,
}

/// Carries out what a plan says of files and RefDisks; returns what is to be remembered of the
/// files that were written.
pub(super) fn carry_out(shop: &Workshop<'_>) -> Result<BTreeMap<RelPath, FileRecord>, UnpackError> {
    let mut jobs = jobs(shop);
    // The biggest first, so that no worker is left alone with it at the end.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.length));
    let bytes = jobs.iter().map(Job::to_read).fold(0, u64::saturating_add);
    shop.run.progress.begin("copying", jobs.len() as u64, bytes);
    let records = Mutex::new(BTreeMap::new());
    let done = jobs
        .par_iter()
        .try_for_each(|job| -> Result<(), UnpackError> {
            shop.run.go_on()?;
            shop.run.progress.file(&job.shown);
            let written = job.carry_out(shop)?;
            let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
            records.extend(
                written
                    .into_iter()
                    .map(|record| (record.path.clone(), record)),
            );
            Ok(())
        });
    shop.run.progress.end();
    done?;
    let records: BTreeMap<RelPath, FileRecord> =
        records.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Once for all that came into a folder, and before anything says that the lab is there.
    let folders: BTreeSet<_> = records.keys().map(RelPath::folder).collect();
    for folder in folders {
        let top = || shop.places.dest.clone();
        fs::sync_folder(&folder.map_or_else(top, |folder| shop.places.file(&folder)))?;
    }
    Ok(records)
}

fn jobs<'a>(shop: &Workshop<'a>) -> Vec<Job<'a>> {
    let mut stored: HashMap<ContentId, Vec<&FileStep>> = HashMap::new();
    let mut jobs = Vec::new();
    for step in shop.plan.files.iter().filter(|step| step.action.writes()) {
        match &step.source {
            FileSource::Pack => jobs.push(of_file(shop, step)),
            FileSource::Store { ref_disk, .. } => stored.entry(*ref_disk).or_default().push(step),
        }
    }
    for disk in &shop.manifest.ref_disks {
        let steps = stored.remove(&disk.id).unwrap_or_default();
        jobs.extend(of_ref_disk(shop, disk, steps));
    }
    jobs
}

fn of_file<'a>(shop: &Workshop<'a>, step: &'a FileStep) -> Job<'a> {
    Job {
        source: step.path.below(&shop.places.pack),
        shown: step.path.to_string(),
        length: step.length,
        digest: step.packed,
        known: shop.known.file(&step.path, step.packed),
        targets: vec![Target::File(step)],
        clones: Vec::new(),
        in_store: None,
        parent_file: None,
    }
}

fn of_ref_disk<'a>(
    shop: &Workshop<'a>,
    disk: &'a RefDisk,
    steps: Vec<&'a FileStep>,
) -> Option<Job<'a>> {
    let in_store = shop.plan.ref_disks.iter().find(|step| step.id == disk.id);
    let wanted = in_store.filter(|step| step.action == RefDiskAction::Write);
    let from_store = shop.plan.link == Link::Reflink && in_store.is_some();
    let (clones, copies) = if from_store {
        (steps, Vec::new())
    } else {
        (Vec::new(), steps)
    };
    if wanted.is_none() && clones.is_empty() && copies.is_empty() {
        return None;
    }
    let store_targets = wanted.map(Target::RefDisk).into_iter();
    Some(Job {
        source: shop.places.ref_disk(shop.manifest, disk, shop.names),
        shown: disk.file.clone(),
        length: disk.length,
        digest: disk.id,
        known: shop.known.ref_disk(disk.id),
        targets: store_targets
            .chain(copies.into_iter().map(Target::File))
            .collect(),
        clones,
        in_store: in_store
            .zip(shop.shelf)
            .map(|(step, shelf)| shelf.path_of(step)),
        parent_file: parent_file(shop.manifest, disk.id),
    })
}

impl Target<'_> {
    /// Returns the path that the target gets.
    pub(super) fn path(&self, shop: &Workshop<'_>) -> PathBuf {
        match self {
            Self::File(step) => shop.places.file(&step.path),
            Self::RefDisk(step) => {
                let in_store = shop.shelf.map(|shelf| shelf.path_of(step));
                in_store.unwrap_or_else(|| shop.places.store().join(&step.file))
            }
        }
    }
}
