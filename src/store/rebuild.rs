//! The index made anew, from the RefDisks and the manifests that name them.

use std::{collections::HashMap, path::Path};

use super::{
    Entry, INDEX_NAME, PackUse, StoreError, gc::own_pack, index::Index, layout::bears_id,
    store::names_in,
};
use crate::{
    base::{CanonicalId, ContentId, Run},
    formats::{self, CanonicalForm, DiskInfo, HintKind},
    fs::{self, SourceFile, Stamp, Subject},
    manifest::{self, Manifest, RefDisk, RefDiskFacts, StorePlace, Unknown, now},
};

/// Makes the index of a store anew from its files and the manifest of the pack it belongs to.
pub(super) fn from_own_pack(dir: &Path, run: &Run<'_>) -> Result<Index, StoreError> {
    let own = own_pack(dir).map(|own| (own, own.join(Manifest::FILE_NAME)));
    let Some((own, path)) = own else {
        return from_packs(dir, &[], run);
    };
    if fs::look(&path)? == fs::Entry::Missing {
        return from_packs(dir, &[], run);
    }
    let bytes = fs::read_bounded(&path, Manifest::MAX_BYTES)?;
    let manifest = manifest::read(bytes).map_err(|source| StoreError::Index { path, source })?;
    let mut index = from_packs(dir, &[(own, &manifest)], run)?;
    if manifest.store != StorePlace::Own {
        // Others share it, and only the lost index knew who.
        index
            .entries
            .iter_mut()
            .for_each(|entry| entry.users_unknown = true);
    }
    Ok(index)
}

/// Makes the index of a store anew from its files and these packs' manifests.
pub(super) fn from_packs(
    dir: &Path,
    packs: &[(&Path, &Manifest)],
    run: &Run<'_>,
) -> Result<Index, StoreError> {
    let mut files: HashMap<String, Stamp> = names_in(dir)?.into_iter().collect();
    let mut index = Index::empty();
    for (folder, manifest) in packs {
        let user = PackUse {
            path: fs::absolute(folder)?.display().to_string(),
            seen: now(),
        };
        for disk in &manifest.ref_disks {
            if let Some(mut entry) = explained(disk, manifest, &files) {
                entry.packs.push(user.clone());
                add(dir, &mut index, entry)?;
            }
        }
    }
    for entry in &index.entries {
        files.remove(&entry.file);
    }
    let mut unexplained: Vec<String> = files.into_keys().collect();
    unexplained.sort();
    identify_all(dir, &unexplained, &mut index, run)?;
    Ok(index)
}

fn add(dir: &Path, index: &mut Index, entry: Entry) -> Result<(), StoreError> {
    let path = dir.join(INDEX_NAME);
    let added = index.add(entry, |_| true);
    added
        .map(drop)
        .map_err(|source| StoreError::Index { path, source })
}

/// The entry of a RefDisk that a manifest names, if a file stands for it. The file is not read:
/// without a stamp it will be, before anybody relies on it.
fn explained(disk: &RefDisk, manifest: &Manifest, files: &HashMap<String, Stamp>) -> Option<Entry> {
    let fits = |name: &str, stamp: &Stamp| bears_id(name, &disk.id) && stamp.len == disk.length;
    let named = files.get_key_value(&disk.file);
    let named = named.filter(|(name, stamp)| fits(name, stamp));
    // A shared store may have had it under another name before.
    let (file, _) = named.or_else(|| {
        files
            .iter()
            .filter(|(name, stamp)| fits(name, stamp))
            .min_by_key(|(name, _)| *name)
    })?;
    let parent = disk.disk.as_ref().and_then(|facts| facts.parent);
    let parent_file = parent
        .and_then(|id| manifest.ref_disk(&id))
        .map(|parent| parent.file.as_str());
    let mut entry = Entry::new(disk, parent_file, None);
    entry.file.clone_from(file);
    Some(entry)
}

fn identify_all(
    dir: &Path,
    names: &[String],
    index: &mut Index,
    run: &Run<'_>,
) -> Result<(), StoreError> {
    for name in names {
        let source = SourceFile::open(&dir.join(name), run.meter)?;
        run.progress.file(name);
        // What is no RefDisk after all stays where it is, a foreign file.
        if let Some(entry) = identify(&source, name, run)? {
            add(dir, index, entry)?;
        }
    }
    resolve_parents(index);
    Ok(())
}

/// Reads a file and returns its entry, if its name bears the id of its bytes, as they are or in
/// store form.
fn identify(source: &SourceFile, name: &str, run: &Run<'_>) -> Result<Option<Entry>, StoreError> {
    let info = formats::read_info(source).ok();
    let parent_file = info.as_ref().and_then(parent_name);
    let patch = parent_file
        .as_ref()
        .and_then(|parent| formats::store_form(source, parent).ok());
    let form = info
        .as_ref()
        .and_then(|_| formats::canonical_form(source).ok());
    let blanking = form.as_ref().map(CanonicalForm::blanking);
    let asked = patch.iter().chain(&blanking);
    let digests = asked.fold(Subject::of(source), Subject::form).read(run)?;
    let verbatim = digests.content;
    let mut made = digests.forms.into_iter();
    let stored = patch.and_then(|_| made.next());
    let blanked = blanking.and_then(|_| made.next());
    let (id, parent_file) = match stored {
        Some(id) if bears_id(name, &id) => (id, parent_file),
        _ if bears_id(name, &verbatim) => (verbatim, None),
        _ => return Ok(None),
    };
    // Where no byte may change, the id itself says it all.
    let form = form.filter(|form| !form.masks.is_empty());
    let canonical = form.zip(blanked).map(|(form, blanked)| form.id(blanked));
    let disk = info.map(|info| facts(&info, canonical));
    let named = RefDisk {
        id,
        file: name.to_owned(),
        length: source.opened().len,
        modified: source.opened().modified,
        disk,
        used_by: Vec::new(),
        unknown: Unknown::new(),
    };
    let mut entry = Entry::new(&named, parent_file.as_deref(), Some(source.opened()));
    entry.users_unknown = true;
    Ok(Some(entry))
}

fn facts(info: &DiskInfo, canonical: Option<CanonicalId>) -> RefDiskFacts {
    RefDiskFacts {
        format: info.format,
        kind: info.kind,
        virtual_size: info.virtual_size,
        own_id: info.own_id,
        canonical,
        parent: None,
        unknown: Unknown::new(),
    }
}

/// The file name by which a disk names its parent beside it.
fn parent_name(info: &DiskInfo) -> Option<String> {
    let hints = &info.parent.as_ref()?.hints;
    let relative = hints.iter().find(|hint| hint.kind == HintKind::Relative)?;
    let name = relative.path.rsplit(['\\', '/']).next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// Fills in the parents of disks that were identified by their bytes alone.
fn resolve_parents(index: &mut Index) {
    let ids: HashMap<String, ContentId> = index
        .entries
        .iter()
        .map(|entry| (entry.file.clone(), entry.id))
        .collect();
    for entry in &mut index.entries {
        let (Some(parent), Some(facts)) = (&entry.parent_file, &mut entry.disk) else {
            continue;
        };
        facts.parent = facts.parent.or_else(|| ids.get(parent).copied());
    }
}
