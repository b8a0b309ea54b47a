//! The handle on a store.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, RwLock, RwLockReadGuard},
};

use super::{
    Entry, INDEX_NAME, LOCK_NAME, PackUse, StoreError, index::Index, layout::is_ref_disk_name,
    rebuild,
};
use crate::{
    base::{CanonicalId, ContentId, DiskId, Run},
    fs::{self, FolderLock, SourceFile},
    manifest::{Manifest, now},
};

/// A store, as this process sees it. Shared by the workers of a verb.
///
/// What others do to the store shows after the next call that writes the index.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    index: RwLock<Index>,
    /// Held around the lock among processes, so that workers of one process do not report each
    /// other as "another labpack".
    writer: Mutex<()>,
}

impl Store {
    /// Opens the store in the folder `dir`.
    ///
    /// Where the index is gone, it is made anew from the RefDisks and the pack that the store
    /// belongs to; RefDisks which that pack does not name are read to be identified.
    ///
    /// # Errors
    /// [`StoreError::NoStore`] where there is neither; [`StoreError::Index`] for an index that is
    /// damaged or newer than this labpack.
    pub fn open(dir: &Path, run: &Run<'_>) -> Result<Self, StoreError> {
        let dir = fs::absolute(dir)?;
        let index = match load(&dir)? {
            Some(index) => index,
            None if names_in(&dir)?.is_empty() => return Err(StoreError::NoStore { path: dir }),
            None => rebuild::from_own_pack(&dir, run)?,
        };
        Ok(Self::with(dir, index))
    }

    /// Opens the store in the folder `dir`, which need not be there yet.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn create(dir: &Path, run: &Run<'_>) -> Result<Self, StoreError> {
        fs::create_dir_all(dir)?;
        match Self::open(dir, run) {
            Err(StoreError::NoStore { path }) => Ok(Self::with(path, Index::empty())),
            opened => opened,
        }
    }

    /// Makes the index anew from the RefDisks in `dir` and the packs that are known to use them,
    /// each with its folder. RefDisks that none of them names are read to be identified, and
    /// [`gc`](super::gc()) will not remove them: who uses them is not known. What an index that is
    /// there says stays.
    ///
    /// # Errors
    /// What the file system says; [`StoreError::Index`] for an index that is damaged or newer.
    pub fn rebuild(
        dir: &Path,
        packs: &[(&Path, &Manifest)],
        run: &Run<'_>,
    ) -> Result<Self, StoreError> {
        let dir = fs::absolute(dir)?;
        // Bytes may be read here: nothing is locked yet.
        let found = rebuild::from_packs(&dir, packs, run)?;
        let store = Self::with(dir, Index::empty());
        store.update(run, |index| {
            for entry in found.entries {
                let added = index.add(entry, |known| store.stands(known));
                added.map_err(|source| store.index_error(source))?;
            }
            Ok(())
        })?;
        Ok(store)
    }

    fn with(dir: PathBuf, index: Index) -> Self {
        Self {
            dir,
            index: RwLock::new(index),
            writer: Mutex::new(()),
        }
    }

    /// Returns the store's folder, as an absolute path.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns where a file of this name lies in the store.
    #[must_use]
    pub fn path_of(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// Returns every entry, by file name, whether its file stands or not.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.snapshot().entries.clone()
    }

    pub(super) fn snapshot(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the RefDisk with this id, if its file stands there with the right length.
    ///
    /// Its bytes are not read; see [`Store::presence`] and [`Store::read`].
    #[must_use]
    pub fn find(&self, id: &ContentId) -> Option<Entry> {
        let entry = self.snapshot().find(id).cloned();
        entry.filter(|entry| self.stands(entry))
    }

    /// Returns a RefDisk that is the same disk though its bytes may differ where a relocation may
    /// touch them: canonical digest, own id and parent RefDisk agree.
    #[must_use]
    pub fn find_twin(
        &self,
        canonical: &CanonicalId,
        own_id: DiskId,
        parent: Option<ContentId>,
    ) -> Option<Entry> {
        let index = self.snapshot();
        let mut twins = index.twins(canonical, own_id, parent);
        twins.find(|entry| self.stands(entry)).cloned()
    }

    /// Opens a RefDisk for reading, once its bytes are known to be right: unchanged since they
    /// were last read, or else read now.
    ///
    /// # Errors
    /// [`StoreError::Missing`] and [`StoreError::Damaged`], and what the file system says.
    pub fn read(&self, id: &ContentId, run: &Run<'_>) -> Result<SourceFile, StoreError> {
        let Some(entry) = self.find(id) else {
            let path = self.dir.clone();
            return Err(StoreError::Missing { path, id: *id });
        };
        let path = self.path_of(&entry.file);
        let source = SourceFile::open(&path, run.meter)?;
        let known = entry.stamp.is_some_and(|stamp| stamp.is(source.opened()));
        if !known && let Some(why) = super::presence::fault(&source, &(&entry).into(), run)? {
            return Err(StoreError::Damaged { path, why });
        }
        Ok(source)
    }

    pub(super) fn stands(&self, entry: &Entry) -> bool {
        let found = fs::look(&self.path_of(&entry.file));
        matches!(found, Ok(fs::Entry::File(stamp)) if stamp.len == entry.length)
    }

    /// Takes down a RefDisk whose file stands in the store; returns what the index holds then.
    ///
    /// Where another process has brought the same RefDisk under another name meanwhile, that one
    /// stays: the caller goes on with the entry it gets back, and removes its own file.
    ///
    /// # Errors
    /// What the file system says; an entry whose name does not bear its id.
    pub fn register(&self, entry: Entry, run: &Run<'_>) -> Result<Entry, StoreError> {
        self.update(run, |index| {
            let added = index.add(entry, |known| self.stands(known));
            added.map_err(|source| self.index_error(source))
        })
    }

    /// As [`Store::register`] and [`Store::register_use`] in one: at no moment does nobody use it.
    ///
    /// # Errors
    /// As [`Store::register`].
    pub fn register_for(
        &self,
        entry: Entry,
        pack: &Path,
        run: &Run<'_>,
    ) -> Result<Entry, StoreError> {
        let path = fs::absolute(pack)?;
        self.update(run, |index| {
            let added = index.add(entry, |known| self.stands(known));
            let added = added.map_err(|source| self.index_error(source))?;
            take_down_use(index, &[added.id], &path);
            Ok(added)
        })
    }

    /// Takes down that the pack or unpacked lab in the folder `pack` uses these RefDisks and
    /// their ancestors; ids that the store does not have are passed over.
    ///
    /// Do so before relying on a RefDisk that was found: it starts the grace period anew.
    ///
    /// # Errors
    /// What the file system says.
    pub fn register_use(
        &self,
        ids: &[ContentId],
        pack: &Path,
        run: &Run<'_>,
    ) -> Result<(), StoreError> {
        let path = fs::absolute(pack)?;
        self.update(run, |index| {
            take_down_use(index, ids, &path);
            Ok(())
        })
    }

    /// Takes down that the folder `pack` uses no RefDisk any more.
    ///
    /// # Errors
    /// What the file system says.
    pub fn unregister_use(&self, pack: &Path, run: &Run<'_>) -> Result<(), StoreError> {
        let path = fs::absolute(pack)?.display().to_string();
        self.update(run, |index| {
            for entry in &mut index.entries {
                entry.packs.retain(|user| user.path != path);
            }
            Ok(())
        })
    }

    /// Reads the index, changes it, and writes it if it changed, under the lock. Nothing that
    /// another process wrote meanwhile is lost.
    pub(super) fn update<T>(
        &self,
        run: &Run<'_>,
        change: impl FnOnce(&mut Index) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let _lock = FolderLock::acquire(&self.path_of(LOCK_NAME), run)?;
        let stored = load(&self.dir)?;
        let mut index = stored.clone().unwrap_or_else(|| self.snapshot().clone());
        let done = change(&mut index);
        // What a change that failed half-way did, such as removing files, is written all the same.
        if stored.as_ref() != Some(&index) {
            fs::write_atomic(&self.path_of(INDEX_NAME), &index.write())?;
        }
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
        done
    }

    fn index_error(&self, source: crate::manifest::DocumentError) -> StoreError {
        let path = self.path_of(INDEX_NAME);
        StoreError::Index { path, source }
    }
}

/// Takes down in the index who uses RefDisks, and their ancestors.
fn take_down_use(index: &mut Index, ids: &[ContentId], path: &Path) {
    let seen = now();
    for id in index.with_ancestors(ids.iter().copied()) {
        let Some(entry) = index.find_mut(&id) else {
            continue;
        };
        entry.last_used.clone_from(&seen);
        match path.to_str() {
            Some(path) => entry.used_by(PackUse {
                path: path.to_owned(),
                seen: seen.clone(),
            }),
            // JSON cannot hold the path, so that gc could not ask there.
            None => entry.users_unknown = true,
        }
    }
}

/// Reads the index; `None` where there is none.
fn load(dir: &Path) -> Result<Option<Index>, StoreError> {
    let path = dir.join(INDEX_NAME);
    if fs::look(&path)? == fs::Entry::Missing {
        return Ok(None);
    }
    let bytes = fs::read_bounded(&path, Index::MAX_BYTES)?;
    match Index::read(&bytes) {
        Ok(index) => Ok(Some(index)),
        Err(source) => Err(StoreError::Index { path, source }),
    }
}

/// Returns the names of the RefDisks that stand in a folder, whether an index names them or not.
pub(super) fn names_in(dir: &Path) -> Result<Vec<(String, fs::Stamp)>, StoreError> {
    if !matches!(fs::look(dir)?, fs::Entry::Folder(_) | fs::Entry::Link(_)) {
        let path = dir.to_owned();
        return Err(StoreError::NoStore { path });
    }
    let files = fs::walk(dir)
        .filter_map(Result::ok)
        .filter_map(|found| match found.entry {
            fs::Entry::File(stamp) => Some((found.path.as_str().to_owned(), stamp)),
            _ => None,
        });
    // What lies in a folder has a slash in its path, and is none of the store's.
    let here = files.filter(|(name, _)| !name.contains('/') && is_ref_disk_name(name));
    Ok(here.filter(|(name, _)| !fs::is_temp_name(name)).collect())
}
