//! Copies files and RefDisks: each source is read once, into everything that is made of it.

use std::{collections::HashMap, path::PathBuf};

use rayon::prelude::*;

use super::{
    UnpackError,
    finish::Finisher,
    job::{Job, Target},
    known::Known,
    places::Places,
    refdisks::{Shelf, parent_file},
};
use crate::{
    base::{ContentId, Run},
    manifest::{Manifest, RefDisk},
    plan::{FileSource, FileStep, Link, RefDiskAction, UnpackPlan},
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
    pub(super) finisher: &'a Finisher<'a>,
    pub(super) run: &'a Run<'a>,
}

/// Carries out what a plan says of files and RefDisks.
pub(super) fn carry_out(shop: &Workshop<'_>) -> Result<(), UnpackError> {
    let mut jobs = jobs(shop);
    // The biggest first, so that no worker is left alone with it at the end.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.length));
    let bytes = jobs.iter().map(Job::to_read).fold(0, u64::saturating_add);
    shop.run.progress.begin("copying", jobs.len() as u64, bytes);
    let done = jobs
        .par_iter()
        .try_for_each(|job| -> Result<(), UnpackError> {
            shop.run.go_on()?;
            shop.run.progress.file(&job.shown);
            job.carry_out(shop)
        });
    shop.run.progress.end();
    done
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
