//! Links at the destination.

use std::{
    collections::HashMap,
    path::{Component, Path, PathBuf},
};

use super::{UnpackError, memory::RunLog, places::Places};
use crate::{
    base::{ContentId, RelPath, Run},
    fs::{self, Entry},
    plan::{LinkAction, LinkKind, LinkRecord, LinkStep, UnpackPlan},
};

/// Where links lead.
#[derive(Debug)]
pub(super) struct LinkTargets {
    store: PathBuf,
    /// The store's folder below the destination, where it is in it.
    inside: Option<PathBuf>,
    files: HashMap<ContentId, String>,
}

impl LinkTargets {
    pub(super) fn of(places: &Places, plan: &UnpackPlan) -> Self {
        let store = places.store();
        let inside = store.strip_prefix(&places.dest).ok().map(Path::to_owned);
        let files = plan
            .ref_disks
            .iter()
            .map(|step| (step.id, step.file.clone()))
            .collect();
        Self {
            store,
            inside,
            files,
        }
    }

    fn file(&self, step: &LinkStep) -> PathBuf {
        let name = step.ref_disk.and_then(|id| self.files.get(&id));
        name.map_or_else(|| self.store.clone(), |name| self.store.join(name))
    }

    /// Returns what a symbolic link says: relative where the store moves along with the lab.
    fn symlink(&self, step: &LinkStep) -> PathBuf {
        let Some(inside) = &self.inside else {
            return self.file(step);
        };
        let ups = step.path.parts().count().saturating_sub(1);
        let mut target: PathBuf = std::iter::repeat_n(Component::ParentDir, ups).collect();
        target.push(inside);
        target.extend(step.ref_disk.and_then(|id| self.files.get(&id)));
        target
    }

    /// Returns what is to be remembered of a link once it is made.
    pub(super) fn record(&self, step: &LinkStep) -> Result<LinkRecord, UnpackError> {
        let mut record = LinkRecord {
            path: step.path.clone(),
            kind: step.kind,
            ref_disk: step.ref_disk,
            target: None,
            key: None,
        };
        let text = |path: PathBuf| path.to_str().map(str::to_owned);
        match step.kind {
            LinkKind::Hardlink => {
                if let Entry::File(stamp) = fs::look(&self.file(step))? {
                    record.key = Some(stamp.key);
                }
            }
            LinkKind::Symlink => record.target = text(self.symlink(step)),
            LinkKind::Junction => record.target = text(self.store.clone()),
        }
        Ok(record)
    }

    fn make(&self, step: &LinkStep, path: &Path) -> Result<(), UnpackError> {
        match step.kind {
            LinkKind::Hardlink => fs::hard_link(&self.file(step), path)?,
            LinkKind::Symlink => fs::symlink_file(&self.symlink(step), path)?,
            LinkKind::Junction => fs::junction(&self.store, path)?,
        }
        Ok(())
    }
}

/// Makes the links of a plan; returns what is to be remembered of those that stand then.
pub(super) fn carry_out(
    plan: &UnpackPlan,
    places: &Places,
    log: Option<&RunLog>,
    run: &Run<'_>,
) -> Result<Vec<LinkRecord>, UnpackError> {
    let targets = LinkTargets::of(places, plan);
    let standing = plan
        .links
        .iter()
        .filter(|step| step.action != LinkAction::LeaveUsed);
    let steps: Vec<_> = standing.collect();
    let records = steps
        .iter()
        .map(|step| targets.record(step))
        .collect::<Result<Vec<_>, _>>()?;
    let of = |action| {
        let both = steps.iter().zip(&records);
        both.filter(move |(step, _)| step.action == action)
    };
    if let Some(log) = log {
        // Where nothing stands yet, nothing is forgotten by taking down all of them beforehand.
        log.linked(of(LinkAction::Make).map(|(_, record)| record))?;
    }
    for (step, _) in of(LinkAction::Make) {
        run.go_on()?;
        targets.make(step, &places.file(&step.path))?;
    }
    for (step, record) in of(LinkAction::Replace) {
        run.go_on()?;
        let path = places.file(&step.path);
        fs::remove_file(&path)?;
        targets.make(step, &path)?;
        if let Some(log) = log {
            log.linked(std::iter::once(record))?;
        }
    }
    Ok(records)
}

/// Returns how many new names each RefDisk gets.
pub(super) fn new_names(plan: &UnpackPlan) -> HashMap<ContentId, u64> {
    let mut names = HashMap::new();
    for step in plan
        .links
        .iter()
        .filter(|step| step.kind == LinkKind::Hardlink)
    {
        if let (true, Some(id)) = (step.action.makes(), step.ref_disk) {
            *names.entry(id).or_insert(0_u64) += 1;
        }
    }
    names
}

/// Returns the paths whose folders a plan changes.
pub(super) fn made(plan: &UnpackPlan) -> impl Iterator<Item = &RelPath> {
    plan.links
        .iter()
        .filter(|step| step.action.makes())
        .map(|step| &step.path)
}
