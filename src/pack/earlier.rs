//! The pack that stands in a folder already, if there is one.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

use super::{PackError, layout::STORE, shelf::stands};
use crate::{
    base::{ContentId, RelPath},
    fs::{self, Entry, Fence},
    manifest::{self, Manifest, PackedFile, StorePlace},
    report::Code,
};

/// Where RefDisks are to be.
#[derive(Debug, Clone)]
pub(super) struct Stock {
    /// Whose store it is.
    pub(super) place: StorePlace,
    /// Its folder.
    pub(super) folder: PathBuf,
}

impl Stock {
    /// The store of the pack in `pack`: its own, unless another is named.
    pub(super) fn of(pack: &Path, named: Option<&Path>) -> Result<Self, PackError> {
        let own = pack.join(STORE);
        let folder = named.map_or(Ok(own.clone()), fs::absolute)?;
        let place = if folder == own {
            StorePlace::Own
        } else {
            StorePlace::Shared
        };
        Ok(Self { place, folder })
    }

    /// Puts up a fence around folders and, where it is not the pack's, around the store.
    pub(super) fn fence<'a>(&'a self, folders: impl IntoIterator<Item = &'a PathBuf>) -> Fence {
        let shared = Some(&self.folder).filter(|_| self.place == StorePlace::Shared);
        Fence::around(folders.into_iter().chain(shared).map(PathBuf::as_path))
    }
}

/// Reads the manifest in `pack`; `None` where there is none.
pub(super) fn read_manifest(pack: &Path) -> Result<Option<Manifest>, PackError> {
    let path = pack.join(Manifest::FILE_NAME);
    if fs::look(&path)? == Entry::Missing {
        return Ok(None);
    }
    let bytes = fs::read_bounded(&path, Manifest::MAX_BYTES)?;
    let manifest = manifest::read(&bytes).map_err(PackError::document(&path))?;
    Ok(Some(manifest))
}

/// Tells whether the manifest in `pack` is the one that was read before.
pub(super) fn is_manifest(pack: &Path, earlier: Option<&Manifest>) -> Result<bool, PackError> {
    let path = pack.join(Manifest::FILE_NAME);
    let Some(earlier) = earlier else {
        return Ok(fs::look(&path)? == Entry::Missing);
    };
    if fs::look(&path)? == Entry::Missing {
        return Ok(false);
    }
    // Most likely it is byte for byte what labpack writes: to see that takes no second manifest.
    let bytes = fs::read_bounded(&path, Manifest::MAX_BYTES)?;
    let mut rest = Expected(&bytes);
    if manifest::write_to(earlier, &mut rest).is_ok() && rest.0.is_empty() {
        return Ok(true);
    }
    let found = manifest::read(&bytes).map_err(PackError::document(&path))?;
    Ok(found == *earlier)
}

/// Takes the bytes that it begins with, and no others.
struct Expected<'a>(&'a [u8]);

impl io::Write for Expected<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self
            .0
            .strip_prefix(bytes)
            .ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Checks that a pack's RefDisks are where this run would put more of them.
pub(super) fn check_stock(
    pack: &Path,
    earlier: Option<&Manifest>,
    stock: &Stock,
) -> Result<(), PackError> {
    let Some(earlier) = earlier.filter(|earlier| !earlier.ref_disks.is_empty()) else {
        return Ok(());
    };
    match (earlier.store, stock.place) {
        (StorePlace::Own, StorePlace::Shared) => Err(PackError::refuse(
            Code::MissingRefDisk,
            pack,
            "the RefDisks of this pack are in its own folder, and another store was named",
            "leave out --store, or restore the pack first",
        )),
        (StorePlace::Shared, StorePlace::Own) => Err(PackError::refuse(
            Code::MissingRefDisk,
            pack,
            "the RefDisks of this pack are in a store that other labs share",
            "name the store with --store",
        )),
        _ => Ok(()),
    }
}

/// Returns the files of a manifest by path, as a case-insensitive file system compares paths.
pub(super) fn by_path(manifest: &Manifest) -> HashMap<String, &PackedFile> {
    manifest
        .files()
        .map(|file| (file.path.folded(), file))
        .collect()
}

/// Returns where the file of each RefDisk is that stands in the store.
pub(super) fn standing(
    manifest: &Manifest,
    store: &Path,
) -> Result<HashMap<PathBuf, ContentId>, PackError> {
    let mut found = HashMap::new();
    for disk in &manifest.ref_disks {
        let file = store.join(&disk.file);
        if stands(&file, disk.length)? {
            found.insert(file, disk.id);
        }
    }
    Ok(found)
}

/// Takes fields that this version does not know over from the earlier manifest.
pub(super) fn keep_unknown(earlier: &Manifest, manifest: &mut Manifest) {
    manifest.unknown = earlier.unknown.clone();
    manifest.totals.unknown = earlier.totals.unknown.clone();
    let files = by_path(earlier);
    let all = manifest.vms.iter_mut().flat_map(|vm| &mut vm.files);
    for file in all.chain(&mut manifest.other_files) {
        if let Some(before) = files.get(&file.path.folded()) {
            file.unknown = before.unknown.clone();
        }
    }
    for vm in &mut manifest.vms {
        let before = earlier.vms.iter().find(|before| before.folder == vm.folder);
        vm.unknown = before
            .map(|before| before.unknown.clone())
            .unwrap_or_default();
    }
    for folder in &mut manifest.folders {
        let before = earlier
            .folders
            .iter()
            .find(|before| before.path == folder.path);
        folder.unknown = before
            .map(|before| before.unknown.clone())
            .unwrap_or_default();
    }
}

/// Returns the paths at which files of the pack stand.
pub(super) fn placed(manifest: &Manifest) -> impl Iterator<Item = &RelPath> {
    manifest.placed().map(|file| &file.path)
}
