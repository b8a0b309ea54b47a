//! Files on their way into a lab, by path.

use std::{collections::HashMap, path::PathBuf};

use crate::{base::RelPath, plan::LabFile};

/// A file on its way into the lab.
pub(super) struct Drafted {
    pub(super) file: LabFile,
    pub(super) parent: Parent,
}

/// How a file's parent is found, once every file is there.
pub(super) enum Parent {
    None,
    /// By export and file.
    File(usize, usize),
    /// A file of the store.
    Stored(PathBuf),
    /// A file of the lab.
    Path(RelPath),
}

/// Every file so far. There may be very many of them, and each stands here once.
#[derive(Default)]
pub(super) struct Files {
    list: Vec<Drafted>,
    at: HashMap<RelPath, usize>,
}

impl Files {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            list: Vec::with_capacity(capacity),
            at: HashMap::with_capacity(capacity),
        }
    }

    /// Adds a file, in the place of one that has its path.
    pub(super) fn insert(&mut self, drafted: Drafted) {
        let path = &drafted.file.path;
        if let Some(&at) = self.at.get(path) {
            self.list[at] = drafted;
            return;
        }
        self.at.insert(path.clone(), self.list.len());
        self.list.push(drafted);
    }

    pub(super) fn nth(&self, at: usize) -> Option<&Drafted> {
        self.list.get(at)
    }

    pub(super) fn get(&self, path: &RelPath) -> Option<&Drafted> {
        self.nth(self.position(path)?)
    }

    pub(super) fn get_mut(&mut self, path: &RelPath) -> Option<&mut Drafted> {
        let at = self.position(path)?;
        self.list.get_mut(at)
    }

    /// Where a file is in the list.
    pub(super) fn position(&self, path: &RelPath) -> Option<usize> {
        self.at.get(path).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Drafted> {
        self.list.iter()
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &RelPath> {
        self.list.iter().map(|drafted| &drafted.file.path)
    }

    /// Puts them in the order of their paths.
    pub(super) fn sort(&mut self) {
        // No two have one path; to keep the order of equals would take as much memory again.
        self.list
            .sort_unstable_by(|a, b| a.file.path.cmp(&b.file.path));
        for (at, drafted) in self.list.iter().enumerate() {
            // Each is there: to insert them would make room for as many again.
            if let Some(known) = self.at.get_mut(&drafted.file.path) {
                *known = at;
            }
        }
    }

    /// The files alone, in their order.
    pub(super) fn into_files(self) -> Vec<LabFile> {
        let files = self.list.into_iter().map(|drafted| drafted.file);
        let mut files: Vec<LabFile> = files.collect();
        files.shrink_to_fit();
        files
    }
}
