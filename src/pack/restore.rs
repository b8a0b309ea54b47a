//! Makes the export of a pack again, byte for byte.
//!
//! Each RefDisk is read once. While its bytes stream by, every file that it stands for is written
//! and hashed; the last one of a pack's own store is the RefDisk itself, which moves back once its
//! digest has been proved. A RefDisk that has further names, those of a lab that was linked to it,
//! is copied to the last as well: whoever writes into the one must not write into the other.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    PackError, RestoreOutcome, RestoreRequest,
    carry_out::{clear_temps, prove, put_back, residue_patch, restore_root},
    earlier::{Stock, read_manifest},
    journal::{self, Deed},
    layout::{JOURNAL, LOCK, SEEN, moving},
    outcome::seconds,
    preflight::check_space,
    recover::recover,
    seen,
    shelf::{Shelf, stands},
};
use crate::{
    base::{ContentId, FileTime, Patch, RelPath, Run},
    fs::{self, Entry, Existing, Finish, FolderLock, SourceFile, Subject, TempFile, content_id},
    manifest::{InStore, Manifest, PackedFile, RefDisk, StorePlace},
    report::{Code, Finding, Findings},
    store::INDEX_NAME,
};

/// As many copies are written at once.
const AT_ONCE: usize = 32;

/// Undoes a pack in place: afterwards the folder is the export that it was.
///
/// # Errors
/// [`PackError`]; nothing is lost by any of them, and running the same command again goes on.
pub fn restore(request: &RestoreRequest, run: &Run<'_>) -> Result<RestoreOutcome, PackError> {
    let started = Instant::now();
    let pack = fs::absolute(&request.pack)?;
    let stock = Stock::of(&pack, request.store.as_deref())?;
    let _fence = stock.fence([&pack]);
    let resumed = root_of_restore(&pack)?;
    if resumed.is_none() {
        recover(&pack, &stock, request.dry_run, run)?;
    }
    let Some(manifest) = read_manifest(&pack)? else {
        return no_manifest(request, pack, resumed, run, started);
    };
    let root = resumed.unwrap_or_else(|| seen::recall_root(&pack));
    check_store(&pack, &manifest, &stock)?;
    let shelf = Shelf::open(&stock, Some(&manifest), run)?;
    let job = Job::of(&pack, &stock, &manifest, &shelf, run)?;
    let mut outcome = job.outcome(request.dry_run, started);
    if !request.dry_run {
        let lock = FolderLock::acquire(&pack.join(LOCK), run)?;
        journal::write_restore(&pack, root)?;
        job.carry_out()?;
        if stock.place == StorePlace::Shared {
            shelf.leave(&pack, run)?;
        }
        clean_up(&pack, &stock, root, run)?;
        // Where Windows keeps a removed file until it is closed, the lock's goes only here, and
        // the folder's time with it.
        drop(lock);
        restore_root(&pack, root)?;
        outcome.io = run.meter.totals();
        outcome.seconds = seconds(started.elapsed());
    }
    Ok(outcome)
}

/// The time of the export's folder, as an interrupted restore has it; `None` where there is none.
fn root_of_restore(pack: &Path) -> Result<Option<Option<FileTime>>, PackError> {
    Ok(match journal::read(pack)? {
        Some(Deed::Restore { root }) => Some(root),
        _ => None,
    })
}

/// The manifest goes last but for the journal: what is left to do is to clean up.
fn no_manifest(
    request: &RestoreRequest,
    pack: PathBuf,
    resumed: Option<Option<FileTime>>,
    run: &Run<'_>,
    started: Instant,
) -> Result<RestoreOutcome, PackError> {
    let Some(root) = resumed else {
        let message = "is no pack: there is no labpack.json in it";
        let next = "name the folder that was packed";
        return Err(PackError::refuse(Code::MissingFile, &pack, message, next));
    };
    let stock = Stock::of(&pack, request.store.as_deref())?;
    if !request.dry_run {
        clean_up(&pack, &stock, root, run)?;
    }
    Ok(RestoreOutcome {
        dry_run: request.dry_run,
        export: pack,
        files: 0,
        bytes: 0,
        left_in_store: 0,
        findings: Findings::default(),
        io: run.meter.totals(),
        seconds: seconds(started.elapsed()),
    })
}

fn check_store(pack: &Path, manifest: &Manifest, stock: &Stock) -> Result<(), PackError> {
    if manifest.store == stock.place || manifest.ref_disks.is_empty() {
        return Ok(());
    }
    let (message, next) = match manifest.store {
        StorePlace::Own => (
            "the RefDisks are in the pack's own folder",
            "leave out --store",
        ),
        StorePlace::Shared => (
            "the RefDisks are in a store that other labs share",
            "name the store with --store",
        ),
    };
    Err(PackError::refuse(Code::MissingRefDisk, pack, message, next))
}

/// A RefDisk, and the files that are made of it.
struct Share<'a> {
    disk: &'a RefDisk,
    /// Those that are not there yet, by path.
    missing: Vec<&'a PackedFile>,
    /// The last of its files, in a pack's own store.
    last: Option<&'a PackedFile>,
    /// The last, if the RefDisk itself becomes it.
    heir: Option<&'a PackedFile>,
}

struct Job<'a> {
    pack: &'a Path,
    stock: &'a Stock,
    manifest: &'a Manifest,
    shelf: &'a Shelf,
    shares: Vec<Share<'a>>,
    run: &'a Run<'a>,
}

impl<'a> Job<'a> {
    /// Finds out what is to be done, and every reason why it cannot be.
    fn of(
        pack: &'a Path,
        stock: &'a Stock,
        manifest: &'a Manifest,
        shelf: &'a Shelf,
        run: &'a Run<'a>,
    ) -> Result<Self, PackError> {
        let mut users: BTreeMap<ContentId, Vec<&PackedFile>> = BTreeMap::new();
        for file in manifest.files() {
            if let Some(InStore { ref_disk, .. }) = file.place.in_store() {
                users.entry(*ref_disk).or_default().push(file);
            }
        }
        let mut job = Self {
            pack,
            stock,
            manifest,
            shelf,
            shares: Vec::new(),
            run,
        };
        let mut findings = shelf.needed_elsewhere(pack, stock.place)?;
        for disk in &manifest.ref_disks {
            let mut files = users.remove(&disk.id).unwrap_or_default();
            files.sort_by(|a, b| a.path.cmp(&b.path));
            let share = job.share(disk, &files, &mut findings)?;
            job.shares.push(share);
        }
        if findings.any_error() {
            return Err(PackError::Refused(findings));
        }
        let copies = job.shares.iter().map(|share| {
            let copies = share.missing.len() - usize::from(share.heir.is_some());
            let stored = stock.folder.join(&share.disk.file);
            let bytes = fs::bytes_to_copy(&stored).unwrap_or(share.disk.length);
            bytes.saturating_mul(copies as u64)
        });
        check_space(pack, copies.sum())?;
        Ok(job)
    }

    fn share(
        &self,
        disk: &'a RefDisk,
        files: &[&'a PackedFile],
        findings: &mut Findings,
    ) -> Result<Share<'a>, PackError> {
        let mut missing = Vec::new();
        for file in files {
            match self.state(file)? {
                State::Missing => missing.push(*file),
                State::Right => {}
                State::Foreign => findings.push(in_use(file)),
            }
        }
        let own = self.stock.place == StorePlace::Own;
        let last = files.last().copied().filter(|_| own);
        let mut heir = last.filter(|last| missing.iter().any(|file| file.path == last.path));
        if let Some(last) = heir
            && self.has_other_names(disk, last)?
        {
            heir = None;
        }
        let share = Share {
            disk,
            missing,
            last,
            heir,
        };
        if !share.missing.is_empty() && !self.is_there(&share)? {
            findings.push(gone(disk));
        }
        Ok(share)
    }

    /// Tells whether the RefDisk has names beside that in the store, and that on its way to `last`.
    fn has_other_names(&self, disk: &RefDisk, last: &PackedFile) -> Result<bool, PackError> {
        let Entry::File(stored) = fs::look(&self.stock.folder.join(&disk.file))? else {
            return Ok(false);
        };
        let leaves = match fs::look(&moving(&last.path.below(self.pack)))? {
            Entry::File(moving) => moving.key == stored.key,
            _ => false,
        };
        Ok(stored.links > 1 + u64::from(leaves))
    }

    /// Tells whether the RefDisk is in the store, or on its way back to the last of its files.
    fn is_there(&self, share: &Share<'_>) -> Result<bool, PackError> {
        if stands(&self.stock.folder.join(&share.disk.file), share.disk.length)? {
            return Ok(true);
        }
        match (share.heir, share.missing.len()) {
            (Some(heir), 1) => Ok(stands(&moving(&heir.path.below(self.pack)), heir.length)?),
            _ => Ok(false),
        }
    }

    fn state(&self, file: &PackedFile) -> Result<State, PackError> {
        let path = file.path.below(self.pack);
        match fs::look(&path)? {
            Entry::Missing => Ok(State::Missing),
            Entry::File(stamp) if stamp.len == file.length => {
                let source = SourceFile::open(&path, self.run.meter)?;
                let right = content_id(&source, self.run)? == file.digest;
                Ok(if right { State::Right } else { State::Foreign })
            }
            _ => Ok(State::Foreign),
        }
    }

    fn outcome(&self, dry_run: bool, started: Instant) -> RestoreOutcome {
        let missing = || self.shares.iter().flat_map(|share| &share.missing);
        let shared = self.stock.place == StorePlace::Shared;
        RestoreOutcome {
            dry_run,
            export: self.pack.to_owned(),
            files: missing().count() as u64,
            bytes: missing().map(|file| file.length).sum(),
            left_in_store: if shared {
                self.manifest.ref_disks.len() as u64
            } else {
                0
            },
            findings: Findings::default(),
            io: self.run.meter.totals(),
            seconds: seconds(started.elapsed()),
        }
    }

    fn carry_out(&self) -> Result<(), PackError> {
        let bytes = self.shares.iter().map(|share| share.disk.length).sum();
        self.run
            .progress
            .begin("restoring", self.shares.len() as u64, bytes);
        clear_temps(self.pack, self.manifest)?;
        for folder in &self.manifest.folders {
            fs::create_dir_all(&folder.path.below(self.pack))?;
        }
        for share in &self.shares {
            self.run.go_on()?;
            self.run.progress.file(&share.disk.file);
            self.bring_back(share)?;
        }
        for folder in self.manifest.folders.iter().rev() {
            fs::set_folder_time(&folder.path.below(self.pack), folder.modified)?;
        }
        self.run.progress.end();
        Ok(())
    }

    fn bring_back(&self, share: &Share<'_>) -> Result<(), PackError> {
        let stored = self.stock.folder.join(&share.disk.file);
        let in_store = stands(&stored, share.disk.length)?;
        if in_store && !share.missing.is_empty() {
            let mut copies: Vec<&PackedFile> = share.missing.clone();
            copies.retain(|file| share.heir.is_none_or(|heir| heir.path != file.path));
            let mut heir = share.heir;
            let mut chunks = copies.chunks(AT_ONCE);
            // The heir's digest is proved in the first pass, and there is one even if it is alone.
            self.copy_out(share.disk, chunks.next().unwrap_or_default(), heir.take())?;
            for chunk in chunks {
                self.copy_out(share.disk, chunk, None)?;
            }
        }
        let heir = match share.heir {
            // A lab may have been linked to it since.
            Some(heir) if in_store && self.has_other_names(share.disk, heir)? => {
                self.copy_out(share.disk, &[heir], None)?;
                None
            }
            heir => heir,
        };
        match heir {
            Some(heir) => self.hand_over(share.disk, in_store, heir),
            None if self.stock.place == StorePlace::Own => {
                // A power cut may have left it under this name too.
                if let Some(last) = share.last {
                    fs::remove_file(&moving(&last.path.below(self.pack)))?;
                }
                Ok(fs::remove_file(&stored)?)
            }
            None => Ok(()),
        }
    }

    /// Writes files from a RefDisk, and proves that the heir would be right.
    fn copy_out(
        &self,
        disk: &RefDisk,
        files: &[&PackedFile],
        heir: Option<&PackedFile>,
    ) -> Result<(), PackError> {
        let source = SourceFile::open(&self.stock.folder.join(&disk.file), self.run.meter)?;
        let all: Vec<&PackedFile> = files.iter().copied().chain(heir).collect();
        let patch = |file: &&PackedFile| self.patch(disk, &source, file);
        let patches: Vec<Patch> = all.iter().map(patch).collect();
        let mut temps = Vec::new();
        for file in files {
            temps.push(TempFile::create(
                &file.path.below(self.pack),
                self.run.meter,
            )?);
        }
        let mut asked = patches.iter().fold(Subject::of(&source), Subject::form);
        for temp in &mut temps {
            asked = asked.into_sink(temp);
        }
        let made = asked.read(self.run)?.forms;
        for (file, found) in all.iter().zip(made) {
            check_digest(file, found)?;
        }
        for ((file, mut temp), patch) in files.iter().zip(temps).zip(&patches) {
            temp.apply(patch)?;
            temp.finish(&Finish {
                modified: file.modified,
                attributes: file.attributes,
                existing: Existing::Refuse,
            })?;
        }
        Ok(())
    }

    /// Lets the RefDisk itself become the last of its files.
    fn hand_over(
        &self,
        disk: &RefDisk,
        in_store: bool,
        heir: &PackedFile,
    ) -> Result<(), PackError> {
        let target = heir.path.below(self.pack);
        let temp = moving(&target);
        if in_store {
            // A power cut may have left it under both names. What is in the store was just proved.
            fs::remove_file(&temp)?;
            fs::rename_new(&self.stock.folder.join(&disk.file), &temp)?;
        }
        let source = SourceFile::open(&temp, self.run.meter)?;
        let patch = self.patch(disk, &source, heir);
        drop(source);
        if !in_store {
            // An interrupted run may have patched half of it.
            prove(&temp, heir, &patch, self.run)?;
        }
        put_back(&temp, &target, heir, &patch, self.run)
    }

    /// What makes a file of the RefDisk's, as that stands now.
    fn patch(&self, disk: &RefDisk, source: &SourceFile, file: &PackedFile) -> Patch {
        let mut patch = self.shelf.as_packed(disk, self.manifest, source);
        patch.then(residue_patch(file));
        patch
    }
}

enum State {
    Missing,
    Right,
    Foreign,
}

pub(super) fn check_digest(file: &PackedFile, found: ContentId) -> Result<(), PackError> {
    if found == file.digest {
        return Ok(());
    }
    let message = format!(
        "its bytes would be {found}, expected {}: the RefDisk is damaged",
        file.digest
    );
    let finding = Finding::error(Code::DamagedRefDisk, &file.path, message)
        .next("put the RefDisk back from a copy of the pack, then run the same command again");
    Err(PackError::Refused(Findings(vec![finding])))
}

fn in_use(file: &PackedFile) -> Finding {
    let message = "another file stands where this one was";
    Finding::error(Code::NameInUse, &file.path, message)
        .next("move it away, or run `labpack pack` again to take it into the pack")
}

fn gone(disk: &RefDisk) -> Finding {
    let users: Vec<&str> = disk.used_by.iter().map(RelPath::as_str).collect();
    let message = format!(
        "is not in the store, and {} cannot come back",
        users.join(", ")
    );
    Finding::error(Code::MissingRefDisk, &disk.file, message)
        .next("put the RefDisk back, or name its store with --store")
}

/// Removes labpack's own files, the journal last. A store with something foreign in it stays.
fn clean_up(
    pack: &Path,
    stock: &Stock,
    root: Option<FileTime>,
    run: &Run<'_>,
) -> Result<(), PackError> {
    run.go_on()?;
    fs::remove_stale_temps(pack)?;
    fs::remove_file(&pack.join(SEEN))?;
    if stock.place == StorePlace::Own {
        fs::remove_stale_temps(&stock.folder)?;
        fs::remove_file(&stock.folder.join(INDEX_NAME))?;
        fs::remove_file(&stock.folder.join(crate::store::LOCK_NAME))?;
        if matches!(fs::look(&stock.folder)?, Entry::Folder(_)) {
            fs::remove_empty_folder(&stock.folder)?;
        }
    }
    fs::remove_file(&pack.join(Manifest::FILE_NAME))?;
    fs::remove_file(&pack.join(LOCK))?;
    // Should the power go, nobody would know any more what a file that came back is there for.
    if matches!(fs::look(&stock.folder)?, Entry::Folder(_)) {
        fs::sync_folder(&stock.folder)?;
    }
    fs::sync_folder(pack)?;
    fs::remove_file(&pack.join(JOURNAL))?;
    fs::sync_folder(pack)?;
    restore_root(pack, root)
}
