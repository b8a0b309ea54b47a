//! Carries out a journal: RefDisks into the store, files to their places, the manifest, and only
//! then what the manifest makes superfluous.
//!
//! Every step looks first whether it was taken before, so that the whole may be done again after
//! a crash. At every instant the bytes of each file stand somewhere: an occurrence is removed only
//! once its RefDisk stands, is flushed and is named by a manifest that is.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io,
    path::{Path, PathBuf},
};

use rayon::prelude::*;

use super::{
    PackError,
    digest::same,
    earlier::{Stock, is_manifest},
    journal::{self, Mode, Work},
    layout::{self, entering},
    restore::check_digest,
    seen,
    shelf::{as_packed, parent_file, stands},
    staging::{self, Staging},
};
use crate::{
    base::{Attributes, ContentId, FileTime, Patch, RelPath, Run},
    fs::{self, Entry, Existing, Finish, FsError, SourceFile, Stamp, Subject, TempFile},
    manifest::{self, Manifest, PackedFile, RefDisk, StorePlace},
    plan::{Remembered, Removal, Seen, StoreEntry, StoredWrite},
    report::{Code, Finding, Findings},
    store::{self, Expected, Presence, Store},
};

/// A pack on its way.
pub(super) struct Carrier<'a> {
    pub(super) pack: &'a Path,
    pub(super) stock: &'a Stock,
    pub(super) work: &'a Work,
    pub(super) run: &'a Run<'a>,
}

impl Carrier<'_> {
    /// Does everything that the journal says, and closes it. Returns what was left alone.
    pub(super) fn carry_out(&self) -> Result<Findings, PackError> {
        let entries = &self.work.plan.entries;
        self.run.progress.begin("packing", entries.len() as u64, 0);
        clear_temps(self.pack, self.manifest())?;
        let store = self.open_store()?;
        for entry in entries {
            self.run.go_on()?;
            self.run.progress.file(&entry.file);
            self.enter(entry)?;
        }
        if self.work.mode == Mode::Output {
            self.place_copies()?;
        }
        if let Some(store) = store {
            self.register(&store)?;
        }
        self.write_manifest()?;
        let kept = self.clear_away()?;
        self.set_folder_times()?;
        self.finish()?;
        self.run.progress.end();
        Ok(kept)
    }

    fn store(&self) -> &Path {
        &self.stock.folder
    }

    fn staging(&self) -> Staging {
        Staging::of(self.pack, self.store())
    }

    fn manifest(&self) -> &Manifest {
        &self.work.plan.manifest
    }

    fn ref_disk(&self, id: &ContentId) -> Result<&RefDisk, PackError> {
        self.manifest()
            .ref_disk(id)
            .ok_or_else(|| PackError::Journal {
                path: self.pack.join(layout::JOURNAL),
                why: format!("its manifest has no RefDisk {id}"),
            })
    }

    /// Brings a RefDisk into the store. Under its final name it is whole and flushed.
    fn enter(&self, entry: &StoreEntry) -> Result<(), PackError> {
        let disk = self.ref_disk(&entry.id)?;
        let target = self.store().join(&entry.file);
        let temp = entering(&target, self.pack);
        if stands(&target, disk.length)? {
            return self.give_way(disk, &temp);
        }
        if fs::look(&temp)? == Entry::Missing {
            self.fetch(entry, &temp)?;
        }
        let patch = StoredWrite::patch(&entry.patch).unwrap_or_default();
        if !patch.is_empty() {
            fs::patch_in_place(&temp, &patch, self.run.meter)?;
        }
        let attributes = Attributes {
            read_only: true,
            ..Attributes::default()
        };
        fs::set_times_and_attributes(&temp, disk.modified, attributes)?;
        fs::sync_file(&temp)?;
        match fs::rename_new(&temp, &target) {
            Err(FsError::Exists { .. }) => self.give_way(disk, &temp),
            moved => Ok(moved?),
        }
    }

    /// A RefDisk stands in the store: an earlier try of this pack brought it there, or another
    /// pack did meanwhile. Once it is proved to be the one wanted, what was on its way is dropped.
    fn give_way(&self, disk: &RefDisk, temp: &Path) -> Result<(), PackError> {
        let store = Store::create(self.store(), self.run)?;
        let expected = Expected {
            id: disk.id,
            file: &disk.file,
            length: disk.length,
            parent_file: parent_file(self.manifest(), disk),
        };
        match store.presence(&expected, self.run)? {
            Presence::Known(_) | Presence::Checked(_) => Ok(fs::remove_file(temp)?),
            Presence::Missing | Presence::Damaged(_) => {
                let what = format!(
                    "a file that is not RefDisk {} stands under its name",
                    disk.id
                );
                let path = store.path_of(&disk.file);
                Err(PackError::Fs(FsError::Changed { path, what }))
            }
        }
    }

    /// Opens the store, if one is needed, and gives it an index before anything enters: RefDisks
    /// without one would be read to find out what they are.
    fn open_store(&self) -> Result<Option<Store>, PackError> {
        if self.manifest().ref_disks.is_empty() {
            return Ok(None);
        }
        let store = Store::create(self.store(), self.run)?;
        fs::remove_stale_temps(self.store())?;
        store.register_use(&[], self.pack, self.run)?;
        Ok(Some(store))
    }

    /// Takes down that this pack relies on RefDisks which the store has already; tells whether
    /// they still stand. Once the journal is there, nothing of what a user relies on is collected;
    /// before, somebody may have collected what nobody used.
    pub(super) fn claim(&self) -> Result<bool, PackError> {
        let new: HashSet<ContentId> = self.work.plan.entries.iter().map(|e| e.id).collect();
        let disks = self.manifest().ref_disks.iter();
        let known: Vec<&RefDisk> = disks.filter(|disk| !new.contains(&disk.id)).collect();
        if known.is_empty() {
            return Ok(true);
        }
        let ids: Vec<ContentId> = known.iter().map(|disk| disk.id).collect();
        let store = Store::create(self.store(), self.run)?;
        store.register_use(&ids, self.pack, self.run)?;
        for disk in known {
            if !stands(&store.path_of(&disk.file), disk.length)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes the RefDisks down in the store's index, and that this pack uses them.
    fn register(&self, store: &Store) -> Result<(), PackError> {
        for entry in &self.work.plan.entries {
            let disk = self.ref_disk(&entry.id)?;
            let Entry::File(stamp) = fs::look(&store.path_of(&disk.file))? else {
                continue;
            };
            let parent = parent_file(self.manifest(), disk);
            let entry = store::Entry::new(disk, parent, Some(&stamp));
            store.register_for(entry, self.pack, self.run)?;
        }
        let used: Vec<ContentId> = self
            .manifest()
            .ref_disks
            .iter()
            .map(|disk| disk.id)
            .collect();
        Ok(store.register_use(&used, self.pack, self.run)?)
    }

    /// Where the bytes of a RefDisk come from.
    fn source_of(&self, entry: &StoreEntry) -> PathBuf {
        match self.work.mode {
            Mode::InPlace => entry.from.below(self.pack),
            Mode::Output => {
                let waiting = self
                    .work
                    .waiting
                    .iter()
                    .find(|copy| copy.path == entry.from);
                let for_store = waiting.is_some_and(|copy| copy.for_store);
                self.staging().place(&entry.from, for_store)
            }
        }
    }

    /// Moves an occurrence into the store; copies it where it cannot be moved, or where another
    /// name of the same file would see what is written into it.
    fn fetch(&self, entry: &StoreEntry, temp: &Path) -> Result<(), PackError> {
        let from = self.source_of(entry);
        let stamp = self.unchanged(&from, &entry.seen)?;
        let others_see = stamp.links > 1;
        if others_see {
            return self.copy(entry, &from, temp);
        }
        match fs::rename_new(&from, temp) {
            Err(FsError::Io { source, .. }) if is_other_volume(&source) => {
                self.copy(entry, &from, temp)
            }
            moved => Ok(moved?),
        }
    }

    /// Returns the stamp of a file, if it looks as it did when it was read.
    fn unchanged(&self, path: &Path, seen: &Seen) -> Result<Stamp, PackError> {
        let changed = |what: &str| {
            let (path, what) = (path.to_owned(), what.to_owned());
            Err(PackError::Fs(FsError::Changed { path, what }))
        };
        match (fs::look(path)?, self.work.mode) {
            (Entry::File(stamp), Mode::InPlace) if seen.is(&stamp) => Ok(stamp),
            // The copy is labpack's own, and another file than the one that was seen.
            (Entry::File(stamp), Mode::Output) if seen.length == stamp.len => Ok(stamp),
            (Entry::Missing, _) => changed("it is gone"),
            _ => changed("it was written to, or replaced, after it had been read"),
        }
    }

    fn copy(&self, entry: &StoreEntry, from: &Path, temp: &Path) -> Result<(), PackError> {
        let source = SourceFile::open(from, self.run.meter)?;
        let mut copy = TempFile::create(temp, self.run.meter)?;
        let digests = Subject::of(&source).into_sink(&mut copy).read(self.run)?;
        self.is_same(from, digests.content, self.digest_of(&entry.from)?)?;
        let modified = self.ref_disk(&entry.id)?.modified;
        let attributes = Attributes::default();
        copy.finish(&Finish {
            modified,
            attributes,
            existing: Existing::Refuse,
        })?;
        Ok(())
    }

    /// Checks what was read of `from`. A copy that waited and is damaged is not gone by again.
    fn is_same(&self, from: &Path, found: ContentId, expected: ContentId) -> Result<(), PackError> {
        if found != expected && self.work.mode == Mode::Output {
            staging::forget(from)?;
        }
        same(from, found, expected)
    }

    fn digest_of(&self, path: &RelPath) -> Result<ContentId, PackError> {
        let file = self.manifest().files().find(|file| file.path == *path);
        file.map(|file| file.digest)
            .ok_or_else(|| PackError::Journal {
                path: self.pack.join(layout::JOURNAL),
                why: format!("its manifest has no file `{path}`"),
            })
    }

    /// Puts copies of files that stay files to their places in the pack.
    fn place_copies(&self) -> Result<(), PackError> {
        for folder in &self.manifest().folders {
            fs::create_dir_all(&folder.path.below(self.pack))?;
        }
        self.dress_copies()?;
        let staging = self.staging();
        let placed = self.manifest().placed();
        let placed: HashMap<&RelPath, &PackedFile> =
            placed.map(|file| (&file.path, file)).collect();
        let mut changed = BTreeSet::new();
        for copy in &self.work.waiting {
            self.run.go_on()?;
            let waiting = staging.place(&copy.path, copy.for_store);
            if let Some(file) = placed.get(&copy.path)
                && fs::look(&waiting)? != Entry::Missing
            {
                self.place_copy(file, &waiting)?;
                changed.insert(file.path.folder());
            }
        }
        // Once for all that came into a folder, and before the manifest tells of them.
        for folder in changed {
            let path = folder.map_or_else(|| self.pack.to_owned(), |path| path.below(self.pack));
            fs::sync_folder(&path)?;
        }
        Ok(staging.settle()?)
    }

    /// Copies that stay may have got another time or other attributes in the export.
    fn dress_copies(&self) -> Result<(), PackError> {
        for file in self.manifest().placed() {
            let path = file.path.below(self.pack);
            if let Entry::File(stamp) = fs::look(&path)?
                && !(stamp.modified.same(file.modified) && stamp.attributes == file.attributes)
            {
                fs::set_times_and_attributes(&path, file.modified, file.attributes)?;
            }
        }
        Ok(())
    }

    fn place_copy(&self, file: &PackedFile, waiting: &Path) -> Result<(), PackError> {
        let target = file.path.below(self.pack);
        fs::set_times_and_attributes(waiting, file.modified, file.attributes)?;
        // What may stand there is the last pack's, or another try of this one's: see `check_names`.
        match fs::rename_over_unlisted(waiting, &target) {
            Err(FsError::Io { source, .. }) if is_other_volume(&source) => {
                self.copy_to(file, waiting, &target)
            }
            moved => Ok(moved?),
        }
    }

    fn copy_to(&self, file: &PackedFile, waiting: &Path, target: &Path) -> Result<(), PackError> {
        let source = SourceFile::open(waiting, self.run.meter)?;
        let mut copy = TempFile::create(target, self.run.meter)?;
        let digests = Subject::of(&source).into_sink(&mut copy).read(self.run)?;
        self.is_same(waiting, digests.content, file.digest)?;
        copy.finish(&Finish {
            modified: file.modified,
            attributes: file.attributes,
            existing: Existing::Replace,
        })?;
        Ok(())
    }

    /// Writes the manifest, unless it could not be read again.
    fn write_manifest(&self) -> Result<(), PackError> {
        let path = self.pack.join(Manifest::FILE_NAME);
        manifest::check(self.manifest()).map_err(PackError::document(&path))?;
        let fill = |out: &mut dyn io::Write| manifest::write_to(self.manifest(), out);
        Ok(fs::write_atomic_with(&path, fill)?)
    }

    /// Removes what the manifest makes superfluous.
    fn clear_away(&self) -> Result<Findings, PackError> {
        match self.work.mode {
            Mode::InPlace => self.remove_occurrences(),
            Mode::Output => self.remove_obsolete().map(|()| Findings::default()),
        }
    }

    /// Removes occurrences side by side: that of a large file which is in memory takes a while.
    fn remove_occurrences(&self) -> Result<Findings, PackError> {
        let moved = self.work.plan.entries.iter().map(|entry| Removal {
            path: entry.from.clone(),
            seen: entry.seen,
            ref_disk: entry.id,
        });
        let removals: Vec<Removal> = self
            .work
            .plan
            .removals
            .iter()
            .cloned()
            .chain(moved)
            .collect();
        let kept: Result<Vec<_>, PackError> = removals
            .par_iter()
            .map(|removal| {
                self.run.go_on()?;
                self.remove(removal)
            })
            .collect();
        Ok(Findings(kept?.into_iter().flatten().collect()))
    }

    /// Removes an occurrence, if it and its RefDisk are what they were. It is held open meanwhile.
    fn remove(&self, removal: &Removal) -> Result<Option<Finding>, PackError> {
        let path = removal.path.below(self.pack);
        if fs::look(&path)? == Entry::Missing {
            return Ok(None);
        }
        let disk = self.ref_disk(&removal.ref_disk)?;
        if !stands(&self.store().join(&disk.file), disk.length)? {
            let message = format!("its RefDisk `{}` is not in the store any more", disk.file);
            return Ok(Some(Finding::error(
                Code::MissingRefDisk,
                &removal.path,
                message,
            )));
        }
        let held = match SourceFile::open(&path, self.run.meter) {
            Err(FsError::InUse { .. }) => return Ok(Some(in_use(&removal.path))),
            held => held?,
        };
        if !removal.seen.is(held.opened()) || held.check_unchanged().is_err() {
            return Ok(Some(changed(&removal.path)));
        }
        fs::remove_file(&path)?;
        Ok(None)
    }

    fn remove_obsolete(&self) -> Result<(), PackError> {
        for path in &self.work.obsolete {
            fs::remove_file(&path.below(self.pack))?;
        }
        let mut folders: Vec<&RelPath> = self.work.obsolete_folders.iter().collect();
        folders.sort();
        for folder in folders.iter().rev() {
            fs::remove_empty_folder(&folder.below(self.pack))?;
        }
        for disk in &self.work.unused {
            fs::remove_file(&self.store().join(&disk.file))?;
        }
        Ok(())
    }

    /// Gives folders the times that they had before files came and went in them.
    fn set_folder_times(&self) -> Result<(), PackError> {
        for folder in self.manifest().folders.iter().rev() {
            let path = folder.path.below(self.pack);
            if matches!(fs::look(&path)?, Entry::Folder(_)) {
                fs::set_folder_time(&path, folder.modified)?;
            }
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), PackError> {
        let files = || {
            self.work
                .memory
                .iter()
                .map(|(path, known)| (path, self.known(path, known)))
        };
        seen::remember(self.pack, files, self.work.root)?;
        if self.work.mode == Mode::Output {
            self.staging().clear()?;
        }
        journal::close(self.pack)
    }

    /// What the next run may go by, of one file, and what its copy looks like.
    fn known(&self, path: &RelPath, known: &Remembered) -> Remembered {
        let mut known = known.clone();
        if self.work.mode == Mode::Output {
            // Where nobody can look, the copy is made again.
            let copy = fs::look(&path.below(self.pack));
            known.copy = match copy {
                Ok(Entry::File(stamp)) => Some(Box::new(Seen::new(&stamp, None))),
                _ => known.copy,
            };
        }
        known
    }

    /// Takes back what was done of a pack in place that cannot be finished, because a file that
    /// it was to move has changed since. No manifest names the RefDisks yet.
    pub(super) fn take_back(&self) -> Result<(), PackError> {
        for entry in &self.work.plan.entries {
            let from = entry.from.below(self.pack);
            let target = self.store().join(&entry.file);
            let temp = entering(&target, self.pack);
            let here = [&temp, &target]
                .into_iter()
                .find(|path| matches!(fs::look(path), Ok(Entry::File(_))));
            let (Some(here), Entry::Missing) = (here, fs::look(&from)?) else {
                continue;
            };
            if here == &target && self.stock.place == StorePlace::Shared {
                // Another pack may rely on it by now.
                self.copy_back(&target, entry)?;
                continue;
            }
            if here == &target {
                fs::rename_new(&target, &temp)?;
            }
            self.put_back(&temp, entry)?;
        }
        self.set_folder_times()?;
        fs::remove_empty_folder(self.store())?;
        journal::close(self.pack)?;
        restore_root(self.pack, self.work.root)
    }

    fn copy_back(&self, stored: &Path, entry: &StoreEntry) -> Result<(), PackError> {
        let path = &entry.from;
        let Some(file) = self.manifest().files().find(|file| file.path == *path) else {
            return Ok(());
        };
        let parent = parent_file(self.manifest(), self.ref_disk(&entry.id)?);
        let source = SourceFile::open(stored, self.run.meter)?;
        let mut copy = TempFile::create(&path.below(self.pack), self.run.meter)?;
        // Whoever brought it there since may have given it other paths.
        let mut patch = as_packed(parent, &source);
        patch.then(residue_patch(file));
        let asked = Subject::of(&source).form(&patch).into_sink(&mut copy);
        check_digest(file, asked.read(self.run)?.forms[0])?;
        copy.apply(&patch)?;
        copy.finish(&Finish {
            modified: file.modified,
            attributes: file.attributes,
            existing: Existing::Refuse,
        })?;
        Ok(())
    }

    fn put_back(&self, temp: &Path, entry: &StoreEntry) -> Result<(), PackError> {
        let Some(file) = self.manifest().files().find(|file| file.path == entry.from) else {
            return Ok(());
        };
        // It may be patched halfway. The residue is what makes the file of a whole RefDisk.
        let mut patch = StoredWrite::patch(&entry.patch).unwrap_or_default();
        patch.then(residue_patch(file));
        prove(temp, file, &patch, self.run)?;
        put_back(temp, &file.path.below(self.pack), file, &patch, self.run)
    }

    /// Tells whether the manifest that the journal has is the one that stands.
    pub(super) fn is_written(&self) -> Result<bool, PackError> {
        is_manifest(self.pack, Some(self.manifest()))
    }
}

/// Removes temporary files that an interrupted run left in a pack.
pub(super) fn clear_temps(pack: &Path, manifest: &Manifest) -> Result<(), PackError> {
    fs::remove_stale_temps(pack)?;
    for folder in &manifest.folders {
        fs::remove_stale_temps(&folder.path.below(pack))?;
    }
    Ok(())
}

/// Proves that a patch makes an occurrence of the RefDisk that stands at `temp`.
pub(super) fn prove(
    temp: &Path,
    file: &PackedFile,
    patch: &Patch,
    run: &Run<'_>,
) -> Result<(), PackError> {
    let source = SourceFile::open(temp, run.meter)?;
    let digests = Subject::of(&source).form(patch).read(run)?;
    check_digest(file, digests.forms[0])
}

/// Makes an occurrence of a RefDisk of the RefDisk itself, which stands at `temp`.
pub(super) fn put_back(
    temp: &Path,
    target: &Path,
    file: &PackedFile,
    patch: &Patch,
    run: &Run<'_>,
) -> Result<(), PackError> {
    if !patch.is_empty() {
        fs::patch_in_place(temp, patch, run.meter)?;
    }
    fs::set_times_and_attributes(temp, file.modified, file.attributes)?;
    fs::sync_file(temp)?;
    Ok(fs::rename_new(temp, target)?)
}

/// What is laid over a RefDisk to get one of its occurrences.
pub(super) fn residue_patch(file: &PackedFile) -> Patch {
    let stored = file.place.in_store();
    stored.map_or_else(Patch::default, |stored| stored.residue.patch())
}

/// Gives the export's folder the time that it had before anything came or went in it.
pub(super) fn restore_root(root: &Path, modified: Option<FileTime>) -> Result<(), PackError> {
    match modified {
        Some(modified) => Ok(fs::set_folder_time(root, modified)?),
        None => Ok(()),
    }
}

fn is_other_volume(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::CrossesDevices
}

fn changed(path: &RelPath) -> Finding {
    let message = "changed after it had been read, and was left where it is";
    Finding::error(Code::FileChanged, path, message)
        .next("run the same command again; it takes the file as it is now")
}

fn in_use(path: &RelPath) -> Finding {
    Finding::error(
        Code::FileInUse,
        path,
        "is open in another program, and was left where it is",
    )
    .next("shut down the VM that uses it, then run the same command again")
}
