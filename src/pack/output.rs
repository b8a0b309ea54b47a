//! Packs exports into another folder; they are only read.

use std::{
    collections::{HashMap, HashSet},
    mem,
    path::{Path, PathBuf},
};

use super::{
    PackError, Packed, Request,
    carry_out::Carrier,
    digest::{Copies, Reader},
    earlier::{Outline, Stock, check_stock, keep_unknown, placed},
    has_journal,
    in_place::absolute,
    journal::{self, Mode, Waiting, Work},
    layout::LOCK,
    next::next,
    preflight::{check_apart, check_empty, check_lengths, check_space, names_in_use, streams_lost},
    reads::Reads,
    recover::recover,
    seen::Memory,
    shelf::Shelf,
    staging::Staging,
    survey::{Survey, Terms, survey},
    tool,
};
use crate::{
    base::{ContentId, DiskId, ReadAt, RelPath, Run},
    fs::{self, Entry, FolderLock, SourceFile},
    manifest::{self, Manifest, StorePlace},
    plan::{Lab, LabFile, PackPlan, Planner, Rules},
    report::Code,
};

/// Packs all exports of the request into `output`.
pub(super) fn pack(request: &Request, output: &Path, run: &Run<'_>) -> Result<Packed, PackError> {
    let pack = fs::absolute(output)?;
    let exports = absolute(&request.exports)?;
    let stock = Stock::of(&pack, request.store.as_deref())?;
    let _fence = stock.fence(exports.iter().chain([&pack]));
    check_apart(&exports, Some(&pack), &stock)?;
    for export in &exports {
        check_is_export(export)?;
    }
    let recovered = recover(&pack, &stock, request.dry_run, run)?;
    let mut earlier = Outline::read(&pack)?;
    let manifest = earlier.as_ref().map(|earlier| &earlier.manifest);
    check_stock(&pack, manifest, &stock)?;
    if earlier.is_none() && !recovered.resumed {
        check_empty(&pack)?;
    }
    let prefixed = exports.len() > 1;
    let keep_broken = request.keep_broken;
    let terms = Terms {
        exports: &exports,
        prefixed,
        earlier: None,
        keep_broken,
        include_external: request.include_external,
    };
    let mut survey = survey(&terms, run)?;
    check_lengths(&pack, &survey.lab)?;
    survey.findings.extend(streams_lost(&survey.lab)?);
    if let Some(earlier) = &mut earlier {
        earlier.share_paths(&survey.lab);
    }
    let mut ours = recovered.ours;
    ours.extend(earlier.iter().flat_map(|earlier| &earlier.placed).cloned());
    let in_use = names_in_use(&pack, &survey.lab, &ours)?;
    drop(ours);
    if in_use.any_error() {
        return Err(PackError::Refused(in_use));
    }
    let mut job = Job {
        request,
        pack,
        exports,
        stock,
        earlier,
        survey,
        run,
    };
    match job.carry_out()? {
        Some(plan) => Ok(job.packed(plan, recovered.resumed)),
        // The store has lost a RefDisk that was counted on; copies that wait are used again.
        None => self::pack(request, output, run),
    }
}

fn check_is_export(export: &Path) -> Result<(), PackError> {
    let packed = fs::look(&export.join(Manifest::FILE_NAME))? != Entry::Missing;
    if !packed && !has_journal(export)? {
        return Ok(());
    }
    let message = "is a pack already: its parents are in its store";
    let next = "copy the pack as it is, or unpack it first";
    Err(PackError::refuse(Code::NameInUse, export, message, next))
}

/// Everything that is known before the first byte is read.
struct Job<'a> {
    request: &'a Request,
    pack: PathBuf,
    exports: Vec<PathBuf>,
    stock: Stock,
    earlier: Option<Outline>,
    survey: Survey,
    run: &'a Run<'a>,
}

impl Job<'_> {
    fn lab(&self) -> &Lab {
        &self.survey.lab
    }

    /// The manifest of the pack that stands, without its files.
    fn earlier_manifest(&self) -> Option<&Manifest> {
        self.earlier.as_ref().map(|earlier| &earlier.manifest)
    }

    /// Does the work; `None` where the store has lost a RefDisk meanwhile, and nothing was done.
    fn carry_out(&mut self) -> Result<Option<PackPlan>, PackError> {
        let memory = Memory::recall(&self.pack, self.lab());
        let shelf = Shelf::open(&self.stock, self.earlier_manifest(), self.run)?;
        if self.request.dry_run {
            let mut reader = Reader {
                lab: self.lab(),
                memory,
                copies: None,
                run: self.run,
            };
            return Ok(Some(self.read(&mut reader, &shelf)?.0));
        }
        let expected = self.expected_duplicates(&shelf)?;
        let bytes = self.bytes_to_copy(&memory, &expected);
        check_space(&self.pack, bytes)?;
        fs::create_dir_all(&self.pack)?;
        let _lock = FolderLock::acquire(&self.pack.join(LOCK), self.run)?;
        if has_journal(&self.pack)? || !Outline::stands(self.earlier.as_ref(), &self.pack)? {
            let message = "another labpack packed into this folder at the same time";
            let next = "run the same command again";
            return Err(PackError::refuse(
                Code::UnfinishedRun,
                &self.pack,
                message,
                next,
            ));
        }
        let mut staging = Staging::of(&self.pack, &self.stock.folder);
        staging.open()?;
        let copies = Some(Copies {
            staging: &staging,
            expected,
        });
        let mut reader = Reader {
            lab: self.lab(),
            memory,
            copies,
            run: self.run,
        };
        let (plan, reads) = self.read(&mut reader, &shelf)?;
        let waiting = self.waiting(&plan, &reads, &reader)?;
        staging.settle()?;
        shelf.prove(&plan, self.run)?;
        let unused = self.unused(&plan, &shelf)?;
        self.finish(plan, reads, waiting, unused)
    }

    fn read(&self, reader: &mut Reader<'_>, shelf: &Shelf) -> Result<(PackPlan, Reads), PackError> {
        let all_parents = self.request.all_parents;
        let rules = Rules {
            all_parents,
            store: self.stock.place,
            in_place: false,
        };
        let mut planner = Planner::new(self.lab(), shelf, rules);
        let mut reads = reader.read_all(&mut planner)?;
        for (at, read) in reads.iter_mut() {
            read.stands = self.stands(at, read.digest.content, &reader.memory)?;
        }
        // There may be very many files, and room is needed for what is planned of them.
        reader.memory = Memory::default();
        let mut plan = planner.finish(reads.digests(), &tool(), manifest::now());
        if let Some(earlier) = self.earlier_manifest() {
            keep_unknown(earlier, &mut plan.manifest);
        }
        Ok((plan, reads))
    }

    fn finish(
        &mut self,
        plan: PackPlan,
        reads: Reads,
        waiting: Vec<Waiting>,
        unused: Vec<manifest::RefDisk>,
    ) -> Result<Option<PackPlan>, PackError> {
        let obsolete = self.obsolete(&plan);
        let obsolete_folders = self.obsolete_folders(&plan);
        self.earlier = None;
        // What is done from here on stands in the plan.
        let lab = mem::take(&mut self.survey.lab);
        let memory = reads.into_remembered(lab);
        let work = Work {
            mode: Mode::Output,
            memory,
            root: None,
            waiting,
            obsolete,
            obsolete_folders,
            unused,
            plan,
        };
        journal::write_pack(&self.pack, &work)?;
        let (pack, stock, run) = (self.pack.as_path(), &self.stock, self.run);
        let carrier = Carrier {
            pack,
            stock,
            work: &work,
            run,
        };
        if !carrier.claim()? {
            journal::close(pack)?;
            return Ok(None);
        }
        carrier.carry_out()?;
        Ok(Some(work.plan))
    }

    /// The copies that the plan needs; those that were not made on the way are made now.
    fn waiting(
        &self,
        plan: &PackPlan,
        reads: &Reads,
        reader: &Reader<'_>,
    ) -> Result<Vec<Waiting>, PackError> {
        let lab = self.lab();
        let read_of = |path: &RelPath| {
            let at = lab.find(path)?;
            Some((at, reads.get(at)?))
        };
        let stored = plan.entries.iter().filter_map(|entry| read_of(&entry.from));
        let placed = placed(&plan.manifest).filter_map(read_of);
        let mut waiting = Vec::new();
        for (at, read) in stored.chain(placed.filter(|(_, read)| !read.stands)) {
            let for_store = lab.is_shareable(at);
            if !read.copied {
                reader.copy(at, read, for_store)?;
            }
            waiting.push(Waiting {
                path: lab.files[at].path.clone(),
                for_store,
            });
        }
        Ok(waiting)
    }

    /// Tells whether the copy that the last run made of a file is still there, and still right.
    fn stands(&self, at: usize, content: ContentId, memory: &Memory) -> Result<bool, PackError> {
        let Some(copy) = memory.copy_of(at, content) else {
            return Ok(false);
        };
        let path = self.lab().files[at].path.below(&self.pack);
        Ok(matches!(fs::look(&path)?, Entry::File(stamp) if copy.is(&stamp)))
    }

    fn obsolete(&self, plan: &PackPlan) -> Vec<RelPath> {
        let new: HashSet<&RelPath> = placed(&plan.manifest).collect();
        let old = self.earlier.iter().flat_map(|earlier| &earlier.placed);
        let gone: Vec<&RelPath> = old.filter(|path| !new.contains(path)).collect();
        if gone.is_empty() {
            return Vec::new();
        }
        let new: HashSet<String> = new.into_iter().map(RelPath::folded).collect();
        let gone = gone.into_iter();
        gone.filter(|path| !new.contains(&path.folded()))
            .cloned()
            .collect()
    }

    fn obsolete_folders(&self, plan: &PackPlan) -> Vec<RelPath> {
        let new = plan
            .manifest
            .folders
            .iter()
            .map(|folder| folder.path.folded());
        let new: HashSet<String> = new.collect();
        let old = self.earlier_manifest();
        let old = old.iter().flat_map(|manifest| &manifest.folders);
        let old = old.map(|folder| &folder.path);
        old.filter(|path| !new.contains(&path.folded()))
            .cloned()
            .collect()
    }

    /// RefDisks that the new manifest does not name, and that no other lab lives off.
    fn unused(&self, plan: &PackPlan, shelf: &Shelf) -> Result<Vec<manifest::RefDisk>, PackError> {
        let shared = self.stock.place == StorePlace::Shared;
        if shared
            || !shelf
                .needed_elsewhere(&self.pack, self.stock.place)?
                .is_empty()
        {
            return Ok(Vec::new());
        }
        let kept: HashSet<&String> = plan
            .manifest
            .ref_disks
            .iter()
            .map(|disk| &disk.file)
            .collect();
        let old = self.earlier_manifest();
        let old = old.iter().flat_map(|manifest| &manifest.ref_disks);
        Ok(old
            .filter(|disk| !kept.contains(&disk.file))
            .cloned()
            .collect())
    }

    /// Files that will most likely be stored as another file, or stand in the store already. Those
    /// are read and not copied.
    fn expected_duplicates(&self, shelf: &Shelf) -> Result<HashSet<usize>, PackError> {
        let lab = self.lab();
        let mut by_length: HashMap<u64, Vec<usize>> = HashMap::new();
        for (at, file) in lab.files.iter().enumerate() {
            by_length.entry(file.length).or_default().push(at);
        }
        let mut expected = HashSet::new();
        for (_, files) in by_length.iter().filter(|(length, _)| **length >= SAMPLE) {
            let mut seen = HashSet::new();
            for &at in files {
                let known = shareable_id(lab, at)
                    .is_some_and(|id| shelf.may_have(id, lab.files[at].length));
                let again = files.len() > 1 && !seen.insert(self.look_alike(at)?);
                if known || again {
                    expected.insert(at);
                }
            }
        }
        Ok(expected)
    }

    /// Equal for two files that are most likely one.
    fn look_alike(&self, at: usize) -> Result<LookAlike, PackError> {
        let lab = self.lab();
        let own_id = |at: usize| Some(lab.files[at].disk.as_ref()?.own_id);
        if let Some(id) = shareable_id(lab, at) {
            return Ok(LookAlike::Disk(id, lab.files[at].parent.and_then(own_id)));
        }
        // Many a VHDX begins and ends with the same bytes as others.
        Ok(LookAlike::Sample(
            own_id(at),
            sample(&lab.files[at], self.run)?,
        ))
    }

    fn bytes_to_copy(&self, memory: &Memory, expected: &HashSet<usize>) -> u64 {
        let files = self.lab().files.iter().enumerate();
        let new = files.filter(|(at, _)| memory.of_same(*at).is_none() && !expected.contains(at));
        let bytes = |file: &LabFile| {
            let at = file.at();
            at.map_or(0, |at| fs::bytes_to_copy(&at).unwrap_or(file.length))
        };
        new.map(|(_, file)| bytes(file)).sum()
    }

    fn packed(self, plan: PackPlan, resumed: bool) -> Packed {
        let mut packed = Packed {
            exports: self.exports,
            pack: self.pack,
            store: self.stock.folder.clone(),
            resumed,
            totals: plan.manifest.totals.clone(),
            stored: plan.entries.len() as u64,
            removed: 0,
            kept: plan.manifest.placed().count() as u64,
            savings: plan.savings.clone(),
            findings: self.survey.findings,
            next: String::new(),
            plan: self.request.dry_run.then_some(plan),
        };
        packed.next = next(self.request, &packed, &self.stock);
        packed
    }
}

/// So many bytes at both ends of a file are compared before it is read.
const SAMPLE: u64 = 64 * 1024;

#[derive(PartialEq, Eq, Hash)]
enum LookAlike {
    Disk(DiskId, Option<DiskId>),
    Sample(Option<DiskId>, [u8; 32]),
}

/// The id of a disk that may be shared by link.
fn shareable_id(lab: &Lab, at: usize) -> Option<DiskId> {
    let disk = lab.files[at].disk.as_ref()?;
    lab.is_shareable(at).then_some(disk.own_id)
}

fn sample(file: &LabFile, run: &Run<'_>) -> Result<[u8; 32], PackError> {
    let Some(at) = file.at() else {
        return Ok([0; 32]);
    };
    let source = SourceFile::open(&at, run.meter)?;
    let mut hasher = blake3::Hasher::new();
    let len = source.len().min(SAMPLE);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    for offset in [0, source.len() - len] {
        let read = source.read_exact_at(&mut bytes, offset);
        read.map_err(|error| fs::FsError::Io {
            action: "read",
            path: at.clone(),
            source: error,
        })?;
        hasher.update(&bytes);
    }
    Ok(hasher.finalize().into())
}
