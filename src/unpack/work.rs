//! Carries out what preflight found possible, and takes down what was done.

use std::{collections::HashSet, path::PathBuf, time::Instant};

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
    plan::{FileRecords, Link, LinkRecord, Receipt, UnpackPlan},
    report::{Code, Finding, Findings},
};

/// What an unpack is about.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) request: &'a Request,
    pub(super) places: &'a Places,
    pub(super) start: Instant,
    pub(super) run: &'a Run<'a>,
}

/// What is told of an unpack that was carried out, or of one that is planned.
pub(super) struct Account {
    link: Link,
    why: String,
    counts: Counts,
    /// Absent where no disk is shared.
    store: Option<PathBuf>,
    /// The pack's, where VMs could use it instead of copies.
    pack_store: Option<PathBuf>,
    findings: Findings,
    /// Whether there is a script.
    script: bool,
}

impl Account {
    /// Begins it with what preflight has to say.
    fn of(ready: &mut Ready, manifest: &Manifest, places: &Places) -> Self {
        let plan = &ready.plan;
        Self {
            link: plan.link,
            counts: Counts::of(plan, manifest.vms.len() as u64),
            store: (!plan.ref_disks.is_empty()).then(|| places.store()),
            pack_store: ready.pack_store.take(),
            why: std::mem::take(&mut ready.why),
            findings: std::mem::take(&mut ready.findings),
            script: false,
        }
    }
}

impl Scene<'_> {
    /// What a dry run answers.
    pub(super) fn planned(self, mut ready: Ready, manifest: &Manifest) -> Outcome {
        let account = Account::of(&mut ready, manifest, self.places);
        let mut outcome = self.outcome(account);
        outcome.dry_run = true;
        outcome.next = Some("run the same command without --dry-run".to_owned());
        outcome.plan = Some(ready.plan);
        outcome
    }

    /// Follows every chain where it is now.
    pub(super) fn finish(self, mut account: Account) -> Result<Outcome, UnpackError> {
        let Self { places, run, .. } = self;
        let stores: Vec<_> = account.store.iter().cloned().collect();
        let examined = examine(std::slice::from_ref(&places.dest), &stores, run)?;
        account.findings.extend(examined.all_findings().cloned());
        let script = account.script;
        let mut outcome = self.outcome(account);
        if let Some(store) = stores.first().filter(|_| self.request.grant_vm_access) {
            vm_access::grant(store, &mut outcome);
        }
        outcome.next = script.then(|| {
            let script = places.dest.join(import_script::NAME);
            format!("powershell -File \"{}\" -WhatIf", script.display())
        });
        Ok(outcome)
    }

    fn outcome(self, account: Account) -> Outcome {
        let store = account.store;
        Outcome {
            dest: self.places.dest.display().to_string(),
            vm_access: store.as_deref().and_then(vm_access::needed),
            store: store.map(|store| store.display().to_string()),
            pack_store: account.pack_store.map(|store| store.display().to_string()),
            link: account.link,
            why: account.why,
            dry_run: false,
            counts: account.counts,
            plan: None,
            findings: account.findings,
            io: self.run.meter.totals(),
            seconds: self.start.elapsed().as_secs_f64(),
            next: None,
        }
    }
}

/// An unpack under way.
pub(super) struct Work<'a> {
    pub(super) scene: Scene<'a>,
    pub(super) manifest: &'a Manifest,
    pub(super) memory: Memory,
}

impl Work<'_> {
    pub(super) fn carry_out(mut self, mut ready: Ready) -> Result<Account, UnpackError> {
        let places = self.scene.places;
        let mut account = Account::of(&mut ready, self.manifest, places);
        if ready.plan.is_done() && !self.memory.interrupted {
            self.clear_temps(&ready.plan)?;
            let standing = links::carry_out(&ready.plan, places, None, self.scene.run)?;
            self.remember(FileRecords::default(), standing);
            account.script = self.take_down(&ready.plan, &mut account.findings)?;
            return Ok(account);
        }
        let volume = VolumeFlush::of(&places.dest)?;
        self.prepare(&ready.plan)?;
        let log = RunLog::begin(&places.dest, ready.plan.link)?;
        let plan = self.copy_and_link(ready, &log, volume.as_ref())?;
        self.flush_folders(&plan, volume.as_ref())?;
        self.set_folder_times(&plan)?;
        account.script = self.take_down(&plan, &mut account.findings)?;
        log.close()?;
        Ok(account)
    }

    /// Writes script and receipt; tells whether there is a script.
    fn take_down(
        &mut self,
        plan: &UnpackPlan,
        findings: &mut Findings,
    ) -> Result<bool, UnpackError> {
        let dest = &self.scene.places.dest;
        let script = import_script::write(dest, self.manifest, findings)?;
        self.write_receipt(plan, findings)?;
        Ok(script)
    }

    fn copy_and_link(
        &mut self,
        ready: Ready,
        log: &RunLog,
        volume: Option<&VolumeFlush>,
    ) -> Result<UnpackPlan, UnpackError> {
        let Scene { places, run, .. } = self.scene;
        let manifest = self.manifest;
        let Ready {
            plan, stock, names, ..
        } = ready;
        let uses_store = !plan.ref_disks.is_empty();
        let shelf = if uses_store {
            Some(stock.begin(places, manifest, &plan, run)?)
        } else {
            None
        };
        let known = Known::of(places, manifest, &plan, run);
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
        Ok(plan)
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
        let changed: HashSet<RelPath> = files
            .chain(links::made(plan))
            .filter_map(RelPath::folder)
            .collect();
        for folder in &plan.folders {
            // The first run made them all.
            if self.memory.receipt.is_none() || changed.contains(&folder.path) {
                fs::set_folder_time(&self.scene.places.file(&folder.path), folder.modified)?;
            }
        }
        Ok(())
    }

    fn remember(&mut self, written: FileRecords, links: Vec<LinkRecord>) {
        self.memory.wrote_all(written);
        links.into_iter().for_each(|link| self.memory.linked(link));
    }

    /// Writes the receipt, unless the one that stands says the same.
    fn write_receipt(
        &mut self,
        plan: &UnpackPlan,
        findings: &mut Findings,
    ) -> Result<(), UnpackError> {
        let places = self.scene.places;
        self.forget_what_is_gone(plan, findings)?;
        let store = (!plan.ref_disks.is_empty()).then(|| places.store_in_receipt());
        let mut receipt = Receipt::new(&places.pack, store.as_deref(), plan.link);
        receipt.ref_disks = plan.ref_disks.iter().map(|step| step.id).collect();
        receipt.files = std::mem::take(&mut self.memory.files);
        receipt.links = std::mem::take(&mut self.memory.links)
            .into_values()
            .collect();
        match &self.memory.receipt {
            Some(standing) if standing.says(&receipt, &places.dest) => Ok(()),
            _ => memory::write_receipt(&receipt, &places.dest),
        }
    }

    /// Forgets files and links that no plan wants any more, unless they still stand.
    fn forget_what_is_gone(
        &mut self,
        plan: &UnpackPlan,
        findings: &mut Findings,
    ) -> Result<(), UnpackError> {
        let files = plan.files.iter().map(|step| &step.path);
        let links = plan.links.iter().map(|step| &step.path);
        let planned: HashSet<_> = files.chain(links).collect();
        let memory = &self.memory;
        let remembered = memory.files.paths().chain(memory.links.keys());
        let mut gone = Vec::new();
        for path in remembered.filter(|path| !planned.contains(path)) {
            if fs::look(&self.scene.places.file(path))? == Entry::Missing {
                gone.push(path.clone());
            } else {
                findings.push(no_longer_packed(path));
            }
        }
        for path in gone {
            self.memory.files.remove(&path);
            self.memory.links.remove(&path);
        }
        Ok(())
    }
}

fn no_longer_packed(path: &RelPath) -> Finding {
    let message = "was unpacked before and is not needed any more; it was left where it is";
    Finding::note(Code::NoLongerPacked, path, message)
}
