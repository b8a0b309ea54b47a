//! Carries out what preflight found possible, and takes down what was done.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{
    Counts, Outcome, Request, UnpackError,
    files::{self, Workshop},
    finish::{Finisher, flush_folders},
    import_script,
    known::Known,
    links,
    memory::{self, Memory, RunLog},
    places::Places,
    preflight::Ready,
    probe, vm_access,
};
use crate::{
    base::{RelPath, Run},
    export::examine,
    fs::{self, Entry, VolumeFlush},
    manifest::Manifest,
    plan::{FileRecord, LinkRecord, Receipt, UnpackPlan},
    report::{Code, Finding, Findings},
};

/// What an unpack is about.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) request: &'a Request,
    pub(super) places: &'a Places,
    pub(super) manifest: &'a Manifest,
    pub(super) start: Instant,
    pub(super) run: &'a Run<'a>,
}

impl Scene<'_> {
    /// What a dry run answers.
    pub(super) fn planned(self, ready: Ready) -> Outcome {
        let Ready {
            plan,
            why,
            findings,
            ..
        } = ready;
        let mut outcome = self.outcome(&plan, why, findings);
        outcome.dry_run = true;
        outcome.next = Some("run the same command without --dry-run".to_owned());
        outcome.plan = Some(plan);
        outcome
    }

    fn outcome(self, plan: &UnpackPlan, why: String, findings: Findings) -> Outcome {
        let store = (!plan.ref_disks.is_empty()).then(|| self.places.store());
        Outcome {
            dest: self.places.dest.display().to_string(),
            vm_access: store.as_deref().and_then(vm_access::needed),
            store: store.map(|store| store.display().to_string()),
            link: plan.link,
            why,
            dry_run: false,
            counts: Counts::of(plan, self.manifest.vms.len() as u64),
            plan: None,
            findings,
            io: self.run.meter.totals(),
            seconds: self.start.elapsed().as_secs_f64(),
            next: None,
        }
    }
}

/// An unpack under way.
pub(super) struct Work<'a> {
    pub(super) scene: Scene<'a>,
    pub(super) memory: Memory,
}

impl Work<'_> {
    pub(super) fn carry_out(mut self, mut ready: Ready) -> Result<Outcome, UnpackError> {
        let mut findings = std::mem::take(&mut ready.findings);
        if ready.plan.is_done() && !self.memory.interrupted {
            self.clear_temps(&ready.plan)?;
            let standing = links::carry_out(&ready.plan, self.scene.places, None, self.scene.run)?;
            self.remember(BTreeMap::new(), standing);
            let script = self.take_down(&ready.plan, &mut findings)?;
            return self.finish(&ready.plan, ready.why, findings, script);
        }
        let volume = VolumeFlush::of(&self.scene.places.dest)?;
        self.prepare(&ready.plan)?;
        let log = RunLog::begin(&self.scene.places.dest, ready.plan.link)?;
        let (plan, why) = self.copy_and_link(ready, &log, volume.as_ref())?;
        self.flush_folders(&plan, volume.as_ref())?;
        self.set_folder_times(&plan)?;
        let script = self.take_down(&plan, &mut findings)?;
        log.close()?;
        self.finish(&plan, why, findings, script)
    }

    /// Writes script and receipt; tells whether there is a script.
    fn take_down(&self, plan: &UnpackPlan, findings: &mut Findings) -> Result<bool, UnpackError> {
        let Scene {
            places, manifest, ..
        } = self.scene;
        let script = import_script::write(&places.dest, manifest, findings)?;
        self.write_receipt(plan, findings)?;
        Ok(script)
    }

    fn copy_and_link(
        &mut self,
        ready: Ready,
        log: &RunLog,
        volume: Option<&VolumeFlush>,
    ) -> Result<(UnpackPlan, String), UnpackError> {
        let Scene {
            places,
            manifest,
            run,
            ..
        } = self.scene;
        let Ready {
            plan,
            why,
            stock,
            names,
            ..
        } = ready;
        let uses_store = !plan.ref_disks.is_empty();
        let shelf = if uses_store {
            Some(stock.begin(places, manifest, &plan, run)?)
        } else {
            None
        };
        let known = Known::of(places, manifest, run);
        let finisher = Finisher::new(log, volume);
        let shop = Workshop {
            places,
            manifest,
            plan: &plan,
            names: &names,
            known: &known,
            shelf: shelf.as_ref(),
            finisher: &finisher,
            run,
        };
        files::carry_out(&shop)?;
        let written = finisher.close()?;
        let made = links::carry_out(&plan, places, Some(log), run)?;
        if let Some(shelf) = &shelf {
            shelf.register_use(places, &plan, run)?;
        }
        self.remember(written, made);
        Ok((plan, why))
    }

    /// Makes the folders, and removes temporary files that an interrupted run left.
    fn prepare(&self, plan: &UnpackPlan) -> Result<(), UnpackError> {
        for folder in probe::folders(plan) {
            fs::create_dir_all_unlisted(&self.scene.places.file(&folder))?;
        }
        self.clear_temps(plan)
    }

    /// Makes sure that everything is found after a power cut, before anything says that the lab is
    /// there.
    fn flush_folders(
        &self,
        plan: &UnpackPlan,
        volume: Option<&VolumeFlush>,
    ) -> Result<(), UnpackError> {
        let places = self.scene.places;
        let folders = probe::folders(plan);
        let below = folders.iter().map(|folder| places.file(folder));
        flush_folders(below.chain([places.dest.clone()]), volume)
    }

    /// Removes temporary files that an interrupted run left, or one that could not remove them.
    fn clear_temps(&self, plan: &UnpackPlan) -> Result<(), UnpackError> {
        let places = self.scene.places;
        fs::remove_stale_temps(&places.dest)?;
        fs::remove_stale_temps(&places.store())?;
        for folder in probe::folders(plan) {
            fs::remove_stale_temps(&places.file(&folder))?;
        }
        Ok(())
    }

    /// Gives those folders their times back that were changed by what came into them.
    fn set_folder_times(&self, plan: &UnpackPlan) -> Result<(), UnpackError> {
        let files = plan
            .files
            .iter()
            .filter(|step| step.action.writes())
            .map(|step| &step.path);
        let changed: BTreeSet<RelPath> = files
            .chain(links::made(plan))
            .filter_map(RelPath::folder)
            .collect();
        for folder in &plan.folders {
            // The first run made them all.
            if !self.memory.finished || changed.contains(&folder.path) {
                fs::set_folder_time(&self.scene.places.file(&folder.path), folder.modified)?;
            }
        }
        Ok(())
    }

    fn remember(&mut self, written: BTreeMap<RelPath, FileRecord>, links: Vec<LinkRecord>) {
        written
            .into_values()
            .for_each(|file| self.memory.wrote(file));
        links.into_iter().for_each(|link| self.memory.linked(link));
    }

    fn write_receipt(&self, plan: &UnpackPlan, findings: &mut Findings) -> Result<(), UnpackError> {
        let places = self.scene.places;
        let store = (!plan.ref_disks.is_empty()).then(|| places.store_in_receipt());
        let mut receipt = Receipt::new(&places.pack, store.as_deref(), plan.link);
        receipt.ref_disks = plan.ref_disks.iter().map(|step| step.id).collect();
        let files = plan.files.iter().map(|step| &step.path);
        let planned: BTreeSet<_> = files
            .chain(plan.links.iter().map(|step| &step.path))
            .collect();
        let mut stays = |path: &RelPath| -> Result<bool, UnpackError> {
            if planned.contains(path) {
                return Ok(true);
            }
            let stands = fs::look(&places.file(path))? != Entry::Missing;
            findings.extend(stands.then(|| no_longer_packed(path)));
            Ok(stands)
        };
        for file in self.memory.files.values() {
            if stays(&file.path)? {
                receipt.files.push(file.clone());
            }
        }
        for link in self.memory.links.values() {
            if stays(&link.path)? {
                receipt.links.push(link.clone());
            }
        }
        memory::write_receipt(&receipt, &places.dest)
    }

    /// Follows every chain where it is now.
    fn finish(
        self,
        plan: &UnpackPlan,
        why: String,
        mut findings: Findings,
        script: bool,
    ) -> Result<Outcome, UnpackError> {
        let Scene { places, run, .. } = self.scene;
        let store = (!plan.ref_disks.is_empty()).then(|| places.store());
        let stores: Vec<_> = store.into_iter().collect();
        let examined = examine(std::slice::from_ref(&places.dest), &stores, run)?;
        findings.extend(examined.all_findings().cloned());
        let mut outcome = self.scene.outcome(plan, why, findings);
        if let Some(store) = stores
            .first()
            .filter(|_| self.scene.request.grant_vm_access)
        {
            vm_access::grant(store, &mut outcome);
        }
        outcome.next = script.then(|| {
            let script = places.dest.join(import_script::NAME);
            format!("powershell -File \"{}\" -WhatIf", script.display())
        });
        Ok(outcome)
    }
}

fn no_longer_packed(path: &RelPath) -> Finding {
    let message = "was unpacked before and is not needed any more; it was left where it is";
    Finding::note(Code::NoLongerPacked, path, message)
}
