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
    plan::Lab,
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
    Ok(read_with_digest(pack)?.map(|(manifest, _)| manifest))
}

fn read_with_digest(pack: &Path) -> Result<Option<(Manifest, ContentId)>, PackError> {
    let path = pack.join(Manifest::FILE_NAME);
    if fs::look(&path)? == Entry::Missing {
        return Ok(None);
    }
    let bytes = fs::read_bounded(&path, Manifest::MAX_BYTES)?;
    let digest = blake3::hash(&bytes).into();
    let manifest = manifest::read(bytes).map_err(PackError::document(&path))?;
    Ok(Some((manifest, digest)))
}

/// The pack that stands in an output folder. Of its files, which may be very many, no more is kept
/// than a new pack of them needs.
pub(super) struct Outline {
    /// Its manifest; of its files those alone that have fields which this version does not know.
    pub(super) manifest: Manifest,
    /// Where its files stand.
    pub(super) placed: Vec<RelPath>,
    /// BLAKE3 of the manifest's bytes.
    digest: ContentId,
}

impl Outline {
    /// Reads the manifest in `pack`; `None` where there is none.
    pub(super) fn read(pack: &Path) -> Result<Option<Self>, PackError> {
        let Some((mut manifest, digest)) = read_with_digest(pack)? else {
            return Ok(None);
        };
        let placed = placed(&manifest).cloned().collect();
        let in_vms = manifest.vms.iter_mut().map(|vm| &mut vm.files);
        for files in in_vms.chain([&mut manifest.other_files]) {
            files.retain(|file| !file.unknown.is_empty());
            files.shrink_to_fit();
        }
        Ok(Some(Self {
            manifest,
            placed,
            digest,
        }))
    }

    /// Lets its paths be those of `lab`, as far as it has them.
    pub(super) fn share_paths(&mut self, lab: &Lab) {
        for path in &mut self.placed {
            share_path(path, lab);
        }
    }

    /// Tells whether what stands in `pack` is what was read before: the very bytes, or nothing.
    pub(super) fn stands(earlier: Option<&Self>, pack: &Path) -> Result<bool, PackError> {
        let path = pack.join(Manifest::FILE_NAME);
        let found = fs::bounded_digest(&path, Manifest::MAX_BYTES)?;
        Ok(found == earlier.map(|earlier| earlier.digest))
    }
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
    let found = manifest::read(bytes).map_err(PackError::document(&path))?;
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

/// Lets the paths of a manifest be those of `lab`, as far as it has them.
pub(super) fn share_paths(manifest: &mut Manifest, lab: &Lab) {
    let in_vms = manifest.vms.iter_mut().flat_map(|vm| &mut vm.files);
    for file in in_vms.chain(&mut manifest.other_files) {
        share_path(&mut file.path, lab);
    }
}

fn share_path(path: &mut RelPath, lab: &Lab) {
    if let Some(at) = lab.find(path) {
        path.clone_from(&lab.files[at].path);
    }
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
    // Most likely there are none, of very many files.
    let files = earlier.files().filter(|file| !file.unknown.is_empty());
    let files: HashMap<String, &PackedFile> =
        files.map(|file| (file.path.folded(), file)).collect();
    let all = manifest.vms.iter_mut().flat_map(|vm| &mut vm.files);
    let all = all.chain(&mut manifest.other_files);
    for file in all.take_while(|_| !files.is_empty()) {
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn golden() -> Manifest {
        manifest::read(include_bytes!("../../manifests/golden-v1.json")).unwrap()
    }

    /// A folder with these bytes as its manifest.
    fn pack_with(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(Manifest::FILE_NAME);
        fs::write_atomic(&file, bytes).unwrap();
        (folder, file)
    }

    #[test]
    fn a_manifest_is_the_one_that_was_read_if_it_says_the_same() {
        let golden = golden();
        let (pack, file) = pack_with(&manifest::write(&golden));
        assert!(is_manifest(pack.path(), Some(&golden)).unwrap());
        assert!(!is_manifest(pack.path(), None).unwrap());
        let compact = serde_json::to_vec(&golden).unwrap();
        fs::write_atomic(&file, &compact).unwrap();
        assert!(is_manifest(pack.path(), Some(&golden)).unwrap());
        fs::remove_file(&file).unwrap();
        assert!(!is_manifest(pack.path(), Some(&golden)).unwrap());
        assert!(is_manifest(pack.path(), None).unwrap());
    }

    #[test]
    fn a_manifest_with_one_other_field_is_another() {
        let golden = golden();
        let mut other = golden.clone();
        other.tool.push('x');
        let (pack, _) = pack_with(&manifest::write(&other));
        assert!(!is_manifest(pack.path(), Some(&golden)).unwrap());
    }

    #[test]
    fn a_manifest_with_more_behind_it_is_another() {
        let golden = golden();
        let mut bytes = manifest::write(&golden);
        bytes.push(b' ');
        let (pack, file) = pack_with(&bytes);
        assert!(is_manifest(pack.path(), Some(&golden)).unwrap());
        bytes.extend(b"{}");
        fs::write_atomic(&file, &bytes).unwrap();
        is_manifest(pack.path(), Some(&golden)).unwrap_err();
    }

    #[test]
    fn a_pack_stands_as_it_was_read_as_long_as_no_byte_of_its_manifest_differs() {
        let mut bytes = manifest::write(&golden());
        let (pack, file) = pack_with(&bytes);
        let outline = Outline::read(pack.path()).unwrap();
        assert!(Outline::stands(outline.as_ref(), pack.path()).unwrap());
        assert!(!Outline::stands(None, pack.path()).unwrap());
        bytes.push(b'\n');
        fs::write_atomic(&file, &bytes).unwrap();
        assert!(!Outline::stands(outline.as_ref(), pack.path()).unwrap());
        fs::remove_file(&file).unwrap();
        assert!(!Outline::stands(outline.as_ref(), pack.path()).unwrap());
        assert!(Outline::stands(None, pack.path()).unwrap());
    }

    #[test]
    fn of_a_pack_those_files_are_kept_that_have_unknown_fields() {
        let mut manifest = golden();
        let count = placed(&manifest).count();
        let odd = manifest.vms[0].files.first_mut().unwrap();
        odd.unknown.insert("x".to_owned(), true.into());
        let path = odd.path.clone();
        let (pack, _) = pack_with(&manifest::write(&manifest));
        let outline = Outline::read(pack.path()).unwrap().unwrap();
        assert_eq!(outline.placed.len(), count);
        let kept: Vec<_> = outline.manifest.files().map(|file| &file.path).collect();
        let known = golden();
        let before = known.files().filter(|file| !file.unknown.is_empty());
        let mut expected: Vec<_> = before.map(|file| &file.path).chain([&path]).collect();
        expected.sort();
        expected.dedup();
        assert_eq!(kept.len(), expected.len());
        assert!(kept.contains(&&path));
    }
}
