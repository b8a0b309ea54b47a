//! `index.json`: what the RefDisks of a store are, and who uses them.

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::{CanonicalId, ContentId, DiskId, FileTime, RelPath, fold_case},
    fs::{FileKey, Stamp},
    manifest::{Document, DocumentError, RefDisk, RefDiskFacts, Unknown, invalid, now, parse_utc},
};

use super::layout::bears_id;

/// The index of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) format: String,
    pub(super) version: u32,
    pub(super) entries: Vec<Entry>,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}

/// One RefDisk, as the index has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// BLAKE3 of the file as it was packed (a mid-chain disk: in store form).
    pub id: ContentId,
    /// Its name in the store.
    pub file: String,
    /// Its length in bytes.
    pub length: u64,
    /// When it was modified.
    pub modified: FileTime,
    /// What the file looked like when its bytes were last known to be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<KnownStamp>,
    /// What it is, if a disk that others depend on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<RefDiskFacts>,
    /// For a mid-chain disk, the file name of its parent that its store form was made with. The
    /// parent may stand under another name here, brought by another pack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_file: Option<String>,
    /// The packs and unpacked labs that use it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packs: Vec<PackUse>,
    /// When it was last taken in or asked for, in UTC.
    pub last_used: String,
    /// Others may use it that the index does not name: it was found when a lost index was made
    /// anew, or used from a folder whose path is not Unicode. It is never collected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub users_unknown: bool,
    /// Fields that this version does not know; kept as they are.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What a file looked like: as long as this holds, its bytes are taken for unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KnownStamp {
    /// Which file it is.
    pub key: FileKey,
    /// Its length in bytes.
    pub length: u64,
    /// When it was modified.
    pub modified: FileTime,
}

impl KnownStamp {
    /// Tells whether a file with this stamp is the one that was known, unchanged.
    #[must_use]
    pub fn is(&self, stamp: &Stamp) -> bool {
        self.key == stamp.key && self.length == stamp.len && self.modified.same(stamp.modified)
    }
}

impl From<&Stamp> for KnownStamp {
    fn from(stamp: &Stamp) -> Self {
        Self {
            key: stamp.key,
            length: stamp.len,
            modified: stamp.modified,
        }
    }
}

/// A pack or an unpacked lab that uses a RefDisk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackUse {
    /// Its folder, as an absolute path of this system.
    pub path: String,
    /// When it was last seen to use it, in UTC.
    pub seen: String,
}

impl Entry {
    /// The entry of a RefDisk that a manifest names and that has just come into the store.
    /// `parent_file` is the name of its parent in that manifest, for a disk with one.
    #[must_use]
    pub fn new(disk: &RefDisk, parent_file: Option<&str>, stamp: Option<&Stamp>) -> Self {
        Self {
            id: disk.id,
            file: disk.file.clone(),
            length: disk.length,
            modified: disk.modified,
            stamp: stamp.map(KnownStamp::from),
            disk: disk.disk.clone(),
            parent_file: parent_file.map(ToOwned::to_owned),
            packs: Vec::new(),
            last_used: now(),
            users_unknown: false,
            unknown: Unknown::new(),
        }
    }

    /// Returns the RefDisk that is its parent.
    #[must_use]
    pub fn parent(&self) -> Option<ContentId> {
        self.disk.as_ref()?.parent
    }

    /// Takes over what `newer`, which has the same id, knows more or later.
    fn merge(&mut self, newer: Self) {
        if self.file == newer.file {
            self.stamp = newer.stamp.or(self.stamp);
        }
        self.disk = newer.disk.or_else(|| self.disk.take());
        self.parent_file = self.parent_file.take().or(newer.parent_file);
        for pack in newer.packs {
            self.used_by(pack);
        }
        // Times of this form sort as text.
        self.last_used = newer.last_used.max(std::mem::take(&mut self.last_used));
        self.unknown.extend(newer.unknown);
    }

    /// Takes down a user, once.
    pub(super) fn used_by(&mut self, user: PackUse) {
        match self.packs.iter_mut().find(|known| known.path == user.path) {
            Some(known) => known.seen = user.seen,
            None => self.packs.push(user),
        }
    }
}

impl Index {
    pub(super) const FORMAT: &'static str = "labpack-store";
    /// 1: the first.
    pub(super) const VERSION: u32 = 1;
    pub(super) const MAX_BYTES: u64 = 256 * 1024 * 1024;
    const DOCUMENT: Document = Document {
        format: Self::FORMAT,
        newest: Self::VERSION,
        max_bytes: Self::MAX_BYTES,
    };

    pub(super) fn empty() -> Self {
        Self {
            format: Self::FORMAT.to_owned(),
            version: Self::VERSION,
            entries: Vec::new(),
            unknown: Unknown::new(),
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, DocumentError> {
        let index: Self = Self::DOCUMENT.read(bytes)?;
        let (mut ids, mut names) = (HashSet::new(), HashSet::new());
        for entry in &index.entries {
            check_entry(entry)?;
            if !ids.insert(entry.id) || !names.insert(fold_case(&entry.file)) {
                let expected = "each RefDisk once";
                return Err(invalid(named(entry), "stands twice", expected));
            }
        }
        Ok(index)
    }

    /// The index as bytes, entries by file name.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .expect("every key is a string and every value has a JSON form");
        bytes.push(b'\n');
        bytes
    }

    pub(super) fn find(&self, id: &ContentId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == *id)
    }

    pub(super) fn find_mut(&mut self, id: &ContentId) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.id == *id)
    }

    pub(super) fn twins(
        &self,
        canonical: &CanonicalId,
        own_id: DiskId,
        parent: Option<ContentId>,
    ) -> impl Iterator<Item = &Entry> {
        let canonical = *canonical;
        self.entries.iter().filter(move |entry| {
            entry.disk.as_ref().is_some_and(|disk| {
                disk.canonical == Some(canonical) && disk.own_id == own_id && disk.parent == parent
            })
        })
    }

    /// Returns these ids and those of their ancestors.
    pub(super) fn with_ancestors(
        &self,
        ids: impl Iterator<Item = ContentId>,
    ) -> HashSet<ContentId> {
        let parents: HashMap<ContentId, ContentId> = self
            .entries
            .iter()
            .filter_map(|entry| Some((entry.id, entry.parent()?)))
            .collect();
        let mut all = HashSet::new();
        for id in ids {
            let mut next = Some(id);
            // What is in already has brought its ancestors along.
            while let Some(id) = next.filter(|id| all.insert(*id)) {
                next = parents.get(&id).copied();
            }
        }
        all
    }

    /// Adds an entry, or merges it into the one with its id; returns what stands then. The file
    /// that was there first stays the RefDisk's, as long as it `stands`.
    pub(super) fn add(
        &mut self,
        entry: Entry,
        stands: impl FnOnce(&Entry) -> bool,
    ) -> Result<Entry, DocumentError> {
        check_entry(&entry)?;
        let folded = fold_case(&entry.file);
        let mut others = self.entries.iter().filter(|other| other.id != entry.id);
        if others.any(|other| fold_case(&other.file) == folded) {
            let found = "its file is another RefDisk's";
            return Err(invalid(named(&entry), found, "a file of its own"));
        }
        let Some(known) = self.find_mut(&entry.id) else {
            self.entries.push(entry.clone());
            self.entries.sort_by(|a, b| a.file.cmp(&b.file));
            return Ok(entry);
        };
        if known.file != entry.file && !stands(known) {
            known.file.clone_from(&entry.file);
            known.stamp = None;
        }
        known.merge(entry);
        Ok(known.clone())
    }
}

/// Reads an index and returns the bytes in which it would be written: the door by which a fuzzer
/// reaches this reader.
///
/// # Errors
/// As opening a store with that index.
#[doc(hidden)]
pub fn reread_index(bytes: &[u8]) -> Result<Vec<u8>, DocumentError> {
    Index::read(bytes).map(|index| index.write())
}

fn named(entry: &Entry) -> String {
    format!("RefDisk `{}`", entry.file)
}

/// The index is trusted with names that will be removed: each is a plain name that bears its id.
fn check_entry(entry: &Entry) -> Result<(), DocumentError> {
    let plain = |file: &str| RelPath::new(file).is_ok_and(|path| path.folder().is_none());
    if !plain(&entry.file) || !bears_id(&entry.file, &entry.id) {
        let expected = format!("a plain name with {} in it", entry.id.short());
        let place = format!("RefDisk {}", entry.id);
        return Err(invalid(place, shown(&entry.file), expected));
    }
    if let Some(parent) = entry.parent_file.as_ref().filter(|parent| !plain(parent)) {
        let place = format!("{}, parent_file", named(entry));
        return Err(invalid(place, shown(parent), "a plain name"));
    }
    if parse_utc(&entry.last_used).is_none() {
        let place = format!("{}, last_used", named(entry));
        let expected = "a time such as 2026-07-01T12:34:56Z";
        return Err(invalid(place, shown(&entry.last_used), expected));
    }
    Ok(())
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(300).collect::<String>())
}
