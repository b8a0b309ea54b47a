//! What is remembered of all files of a lab, in little room: there may be very many of them.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};

use super::FileRecord;
use crate::{
    base::{ContentId, DiskId, FileTime, RelPath},
    formats::ParentPaths,
    fs::FileKey,
    plan::Seen,
};

/// What is remembered of files, one record for each path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileRecords(BTreeMap<RelPath, Box<Kept>>);

/// A record without its path, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    packed: ContentId,
    volume: u64,
    /// As bytes: a number so long would leave gaps.
    file: [u8; 16],
    length: u64,
    modified: FileTime,
    /// Absent where the file was written as it was packed, is no disk and names no parent.
    rest: Option<Box<Rest>>,
}

/// What few records say.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rest {
    written: Option<ContentId>,
    disk: Option<DiskId>,
    parent: Option<Box<ParentPaths>>,
}

impl Kept {
    fn of(record: FileRecord) -> (RelPath, Box<Self>) {
        let FileRecord {
            path,
            packed,
            written,
            seen,
            parent,
        } = record;
        let rest = Rest {
            written,
            disk: seen.disk,
            parent,
        };
        let kept = Self {
            packed,
            volume: seen.key.volume,
            file: seen.key.file.to_ne_bytes(),
            length: seen.length,
            modified: seen.modified,
            rest: (rest != Rest::of_most(packed)).then(|| Box::new(rest)),
        };
        (path, Box::new(kept))
    }

    fn record(&self, path: &RelPath) -> FileRecord {
        let rest = self.rest.as_deref().cloned();
        let Rest {
            written,
            disk,
            parent,
        } = rest.unwrap_or_else(|| Rest::of_most(self.packed));
        FileRecord {
            path: path.clone(),
            packed: self.packed,
            written,
            seen: Seen {
                key: FileKey {
                    volume: self.volume,
                    file: u128::from_ne_bytes(self.file),
                },
                length: self.length,
                modified: self.modified,
                disk,
            },
            parent,
        }
    }
}

impl Rest {
    const fn of_most(packed: ContentId) -> Self {
        Self {
            written: Some(packed),
            disk: None,
            parent: None,
        }
    }
}

impl FileRecords {
    /// Returns what is remembered of the file at `path`.
    #[must_use]
    pub fn get(&self, path: &RelPath) -> Option<FileRecord> {
        self.0.get(path).map(|kept| kept.record(path))
    }

    /// Remembers a file, in place of what was remembered of its path.
    pub fn insert(&mut self, record: FileRecord) {
        let (path, kept) = Kept::of(record);
        self.0.insert(path, kept);
    }

    /// Remembers files, in place of what was remembered of their paths.
    pub fn append(&mut self, mut later: Self) {
        self.0.append(&mut later.0);
    }

    /// Forgets the file at `path`; returns what was remembered of it.
    pub fn remove(&mut self, path: &RelPath) -> Option<FileRecord> {
        let (path, kept) = self.0.remove_entry(path)?;
        Some(kept.record(&path))
    }

    /// Lets each path that `find` knows share its text with the one that is returned.
    pub fn share<'a>(&mut self, find: impl Fn(&RelPath) -> Option<&'a RelPath>) {
        let files = std::mem::take(&mut self.0).into_iter();
        let shared = files.map(|(path, kept)| (find(&path).cloned().unwrap_or(path), kept));
        self.0 = shared.collect();
    }

    /// Returns every path, in order.
    pub fn paths(&self) -> impl ExactSizeIterator<Item = &RelPath> {
        self.0.keys()
    }

    /// Returns what is remembered of each file, in the order of their paths.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = FileRecord> {
        self.0.iter().map(|(path, kept)| kept.record(path))
    }

    /// Returns how many files are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether no file is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<FileRecord> for FileRecords {
    fn from_iter<I: IntoIterator<Item = FileRecord>>(records: I) -> Self {
        Self(records.into_iter().map(Kept::of).collect())
    }
}

impl Serialize for FileRecords {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for FileRecords {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RecordsVisitor)
    }
}

struct RecordsVisitor;

impl<'de> Visitor<'de> for RecordsVisitor {
    type Value = FileRecords;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of what is remembered of files")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<FileRecords, A::Error> {
        let mut records = FileRecords::default();
        while let Some(record) = list.next_element()? {
            records.insert(record);
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str) -> FileRecord {
        let packed = ContentId::from(blake3::hash(name.as_bytes()));
        FileRecord {
            path: RelPath::new(name).unwrap(),
            packed,
            written: Some(packed),
            seen: Seen {
                key: FileKey {
                    volume: 7,
                    file: u128::MAX - 1,
                },
                length: 9,
                modified: FileTime(-3),
                disk: None,
            },
            parent: None,
        }
    }

    /// One record like most, and one each of those that differ.
    fn all_sorts() -> [FileRecord; 4] {
        let (mut cloned, mut disk, mut child) = (record("b"), record("c"), record("d"));
        cloned.written = None;
        disk.seen.disk = Some(DiskId::from_vhdx([5; 16]));
        child.parent = Some(Box::new(ParentPaths {
            relative: Some(r".\base.vhdx".to_owned()),
            ..ParentPaths::default()
        }));
        [record("a"), cloned, disk, child]
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let records: FileRecords = all_sorts().into_iter().rev().collect();
        assert!(records.iter().eq(all_sorts()));
        let text = serde_json::to_string(&records).unwrap();
        assert_eq!(text, serde_json::to_string(&all_sorts()).unwrap());
        let read: FileRecords = serde_json::from_str(&text).unwrap();
        assert_eq!(read, records);
    }

    #[test]
    fn of_two_records_for_one_path_the_later_counts() {
        let [_, cloned, ..] = all_sorts();
        let mut records: FileRecords = [record("a"), record("b")].into_iter().collect();
        records.append([cloned.clone()].into_iter().collect());
        assert_eq!(records.len(), 2);
        assert_eq!(records.remove(&cloned.path), Some(cloned));
        assert!(records.paths().eq([&record("a").path]));
    }

    #[test]
    fn paths_that_are_known_elsewhere_are_shared() {
        let mut records: FileRecords = all_sorts().into_iter().collect();
        let same = record("b").path;
        records.share(|path| (*path == same).then_some(&same));
        assert!(records.iter().eq(all_sorts()));
        let text = |path: &RelPath| path.as_str().as_ptr();
        assert!(records.paths().any(|path| text(path) == text(&same)));
    }
}
