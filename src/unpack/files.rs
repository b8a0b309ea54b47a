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
    pub(super) known: &'a Known<'a>,
    /// The destination's store; absent where everything is copied.
    pub(super) shelf: Option<&'a Shelf>,
    pub(super) finisher: &'a Finisher<'a>,
    pub(super) run: &'a Run<'a>,
}

/// Carries out what a plan says of files and RefDisks.
pub(super) fn carry_out(shop: &Workshop<'_>) -> Result<(), UnpackError> {
    let mut tasks = tasks(shop);
    // The biggest first, so that no worker is left alone with it at the end.
    tasks.sort_by_key(|task| std::cmp::Reverse(task.length()));
    let bytes = tasks.iter().map(Task::to_read).fold(0, u64::saturating_add);
    shop.run
        .progress
        .begin("copying", tasks.len() as u64, bytes);
    let done = tasks.par_iter().try_for_each(|task| match task {
        Task::File(step) => begin(&of_file(shop, step), shop),
        Task::RefDisk(job) => begin(job, shop),
    });
    shop.run.progress.end();
    done
}

fn begin<'a>(job: &Job<'a>, shop: &Workshop<'a>) -> Result<(), UnpackError> {
    shop.run.go_on()?;
    shop.run.progress.file(&job.shown);
    job.carry_out(shop)
}

/// A job that waits for its turn.
enum Task<'a> {
    /// To copy a file of the pack: there may be very many, and each becomes a job when it is begun.
    File(&'a FileStep),
    /// What is made of a RefDisk.
    RefDisk(Box<Job<'a>>),
}

impl Task<'_> {
    const fn length(&self) -> u64 {
        match self {
            Self::File(step) => step.length,
            Self::RefDisk(job) => job.length,
        }
    }

    const fn to_read(&self) -> u64 {
        match self {
            Self::File(step) => step.length,
            Self::RefDisk(job) => job.to_read(),
        }
    }
}

fn tasks<'a>(shop: &Workshop<'a>) -> Vec<Task<'a>> {
    let mut stored: HashMap<ContentId, Vec<&FileStep>> = HashMap::new();
    let mut tasks = Vec::new();
    for step in shop.plan.files.iter().filter(|step| step.action.writes()) {
        match &step.source {
            FileSource::Pack => tasks.push(Task::File(step)),
            FileSource::Store(made) => stored.entry(made.ref_disk).or_default().push(step),
        }
    }
    for disk in &shop.manifest.ref_disks {
        let steps = stored.remove(&disk.id).unwrap_or_default();
        let job = of_ref_disk(shop, disk, steps);
        tasks.extend(job.map(|job| Task::RefDisk(Box::new(job))));
    }
    tasks
}

fn of_file<'a>(shop: &Workshop<'a>, step: &'a FileStep) -> Job<'a> {
    Job {
        source: step.path.below(&shop.places.pack),
        shown: step.path.to_string(),
        length: step.length,
        digest: step.packed,
        in_pack: Some(&step.path),
        targets: vec![Target::File(step)],
        clones: Vec::new(),
        shared: None,
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
    let shared = in_store
        .filter(|step| step.action == RefDiskAction::Share)
        .zip(shop.shelf)
        .map(|(step, shelf)| (step, shelf.path_of(step)));
    let from_store = shop.plan.link == Link::Reflink && in_store.is_some();
    let (clones, copies) = if from_store {
        (steps, Vec::new())
    } else {
        (Vec::new(), steps)
    };
    if wanted.is_none() && shared.is_none() && clones.is_empty() && copies.is_empty() {
        return None;
    }
    let store_targets = wanted.map(Target::RefDisk).into_iter();
    Some(Job {
        source: shop.places.ref_disk(shop.manifest, disk, shop.names),
        shown: disk.file.clone(),
        length: disk.length,
        digest: disk.id,
        in_pack: None,
        targets: store_targets
            .chain(copies.into_iter().map(Target::File))
            .collect(),
        clones,
        shared,
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
