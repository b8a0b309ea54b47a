//! Packs an export where it is.

use std::path::{Path, PathBuf};

use super::{
    PackError, Packed, Request,
    carry_out::{Carrier, restore_root},
    digest::Reader,
    earlier::{self, Stock, check_stock, is_manifest, keep_unknown, read_manifest},
    has_journal,
    journal::{self, Mode, Work},
    layout::LOCK,
    next::next,
    preflight::{bytes_to_other_volume, check_apart, check_space},
    reads::Reads,
    recover::recover,
    seen::{self, Memory},
    shelf::Shelf,
    survey::{Survey, Terms, survey},
    tool,
};
use crate::{
    base::{FileTime, Run},
    fs::{self, Entry, FolderLock},
    manifest::{self, Manifest},
    plan::{Lab, PackPlan, Planner, RememberedFiles, Rules},
    report::Findings,
};

/// Packs the export in `export`.
pub(super) fn pack(request: &Request, export: &Path, run: &Run<'_>) -> Result<Packed, PackError> {
    let root = fs::absolute(export)?;
    let stock = Stock::of(&root, request.store.as_deref())?;
    let _fence = stock.fence([&root]);
    check_apart(std::slice::from_ref(&root), None, &stock)?;
    if !request.dry_run && matches!(fs::look(&root)?, Entry::Folder(_)) {
        // Before a night's worth of bytes is read.
        fs::check_writable(&root)?;
    }
    let mut resumed = false;
    loop {
        resumed |= recover(&root, &stock, request.dry_run, run)?.resumed;
        let made = Made::of(request, &root, &stock, run)?;
        let done = Done {
            request,
            root: &root,
            stock: &stock,
            resumed,
        };
        if request.dry_run {
            return Ok(done.packed(made.plan, made.survey.findings));
        }
        if made.changes_nothing() {
            // A run that was killed before it had a journal may have left its beginning.
            fs::remove_stale_temps(&root)?;
            return Ok(done.packed(made.plan, made.survey.findings));
        }
        let _lock = FolderLock::acquire(&root.join(LOCK), run)?;
        // Until the journal has it, only the folder itself knows its time.
        restore_root(&root, made.root)?;
        // Another process may have packed the same export while this one read it.
        if has_journal(&root)? || !is_manifest(&root, made.earlier.as_ref())? {
            continue;
        }
        let (findings, work) = made.into_work();
        if work.carry_out(&root, &stock, run)? {
            return Ok(done.packed(work.plan, findings));
        }
    }
}

/// A pack, planned.
struct Made {
    survey: Survey,
    earlier: Option<Manifest>,
    plan: PackPlan,
    reads: Reads,
    /// When the export's folder was modified before it became a pack.
    root: Option<FileTime>,
}

impl Made {
    fn of(request: &Request, root: &Path, stock: &Stock, run: &Run<'_>) -> Result<Self, PackError> {
        let mut earlier = read_manifest(root)?;
        let time = match (&earlier, fs::look(root)?) {
            (None, Entry::Folder(modified)) => Some(modified),
            _ => seen::recall_root(root),
        };
        check_stock(root, earlier.as_ref(), stock)?;
        let exports = [root.to_owned()];
        let terms = Terms {
            exports: &exports,
            prefixed: false,
            earlier: earlier
                .as_ref()
                .map(|manifest| (manifest, stock.folder.as_path())),
            keep_broken: request.keep_broken,
            include_external: false,
        };
        let survey = survey(&terms, run)?;
        if let Some(earlier) = &mut earlier {
            earlier::share_paths(earlier, &survey.lab);
        }
        let shelf = Shelf::open(stock, earlier.as_ref(), run)?;
        let rules = Rules {
            all_parents: request.all_parents,
            store: stock.place,
            in_place: true,
        };
        let mut planner = Planner::new(&survey.lab, &shelf, rules);
        let mut reader = Reader {
            lab: &survey.lab,
            memory: Memory::recall(root, &survey.lab),
            copies: None,
            run,
        };
        let reads = reader.read_all(&mut planner)?;
        // There may be very many files, and room is needed for what is planned of them.
        reader.memory = Memory::default();
        let mut plan = planner.finish(reads.digests(), &tool(), manifest::now());
        if let Some(earlier) = &earlier {
            keep_unknown(earlier, &mut plan.manifest);
        }
        reader.confirm(&trusted(&survey.lab, &plan, &reads), &reads)?;
        shelf.prove(&plan, run)?;
        check_space(
            &stock.folder,
            bytes_to_other_volume(root, &stock.folder, &plan)?,
        )?;
        Ok(Self {
            survey,
            earlier,
            plan,
            reads,
            root: time,
        })
    }

    /// Tells whether the pack that stands is the one that would be made.
    fn changes_nothing(&self) -> bool {
        let Some(earlier) = &self.earlier else {
            return false;
        };
        self.plan.entries.is_empty()
            && self.plan.removals.is_empty()
            && self.plan.manifest.says_the_same(earlier)
    }

    fn into_work(self) -> (Findings, Work) {
        let memory = self.memory();
        let work = Work {
            mode: Mode::InPlace,
            plan: self.plan,
            memory,
            root: self.root,
            waiting: Vec::new(),
            obsolete: Vec::new(),
            obsolete_folders: Vec::new(),
            unused: Vec::new(),
        };
        (self.survey.findings, work)
    }

    fn memory(&self) -> RememberedFiles {
        let lab = &self.survey.lab;
        let placed = earlier::placed(&self.plan.manifest);
        placed
            .filter_map(|path| {
                let at = lab.find(path)?;
                // A twin of it may have been read in its stead.
                let seen = lab.files[at].seen()?;
                Some((path.clone(), self.reads.get(at)?.remembered(seen)))
            })
            .collect()
    }
}

impl Work {
    /// Does what was planned; false where the store has lost a RefDisk since, and nothing was done.
    fn carry_out(&self, root: &Path, stock: &Stock, run: &Run<'_>) -> Result<bool, PackError> {
        journal::write_pack(root, self)?;
        let carrier = Carrier {
            pack: root,
            stock,
            work: self,
            run,
        };
        if !carrier.claim()? {
            journal::close(root)?;
            restore_root(root, self.root)?;
            return Ok(false);
        }
        let kept = carrier.carry_out()?;
        if kept.any_error() {
            return Err(PackError::Kept(kept));
        }
        Ok(true)
    }
}

/// What is told of a pack beside its plan.
struct Done<'a> {
    request: &'a Request,
    root: &'a Path,
    stock: &'a Stock,
    resumed: bool,
}

impl Done<'_> {
    fn packed(&self, plan: PackPlan, findings: Findings) -> Packed {
        let mut packed = Packed {
            exports: vec![self.root.to_owned()],
            pack: self.root.to_owned(),
            store: self.stock.folder.clone(),
            resumed: self.resumed,
            totals: plan.manifest.totals.clone(),
            stored: plan.entries.len() as u64,
            removed: (plan.removals.len() + plan.entries.len()) as u64,
            kept: plan.manifest.placed().count() as u64,
            savings: plan.savings.clone(),
            findings,
            next: String::new(),
            plan: self.request.dry_run.then_some(plan),
        };
        packed.next = next(self.request, &packed, self.stock);
        packed
    }
}

/// The files that the plan moves or removes, and that were not read in this run.
fn trusted(lab: &Lab, plan: &PackPlan, reads: &Reads) -> Vec<usize> {
    let moved = plan.entries.iter().map(|entry| &entry.from);
    let gone = plan
        .removals
        .iter()
        .map(|removal| &removal.path)
        .chain(moved);
    let at = gone.filter_map(|path| lab.find(path));
    at.filter(|&at| reads.get(at).is_some_and(|read| read.trusted))
        .collect()
}

/// Exports as absolute paths.
pub(super) fn absolute(exports: &[PathBuf]) -> Result<Vec<PathBuf>, PackError> {
    exports.iter().map(|path| Ok(fs::absolute(path)?)).collect()
}
