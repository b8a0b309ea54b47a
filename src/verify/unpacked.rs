//! What the bytes of an unpacked lab are to be: as its receipt says.

use std::{
    fmt,
    path::{Component, Path, PathBuf},
};

use super::content::Reading;
use crate::{
    base::{ContentId, Run},
    fs::{self, Entry, FsError},
    plan::{FileRecord, Receipt},
    report::{Code, Finding, Findings},
    store::{RECEIPT_NAME, Store},
};

/// A lab that labpack unpacked.
pub(super) struct UnpackedLab<'a> {
    pub(super) root: &'a Path,
    /// The folders that were named: a store elsewhere is not opened.
    pub(super) named: &'a [PathBuf],
}

impl UnpackedLab<'_> {
    /// Adds every file that nobody has changed since it was unpacked, and every RefDisk in use.
    /// Returns what else is to be said.
    ///
    /// # Errors
    /// When the receipt, or what stands at a path, cannot be read.
    pub(super) fn add_to(&self, reading: &mut Reading, run: &Run<'_>) -> Result<Findings, FsError> {
        let path = self.root.join(RECEIPT_NAME);
        let bytes = fs::read_bounded(&path, Receipt::MAX_BYTES)?;
        let receipt = match Receipt::read(bytes) {
            Ok(receipt) => receipt,
            Err(error) => return Ok(Findings(vec![unusable(&path, &error)])),
        };
        let mut findings = Findings::default();
        for file in receipt.files.iter() {
            run.go_on()?;
            findings.extend(self.add_file(&file, reading)?);
        }
        findings.extend(self.add_ref_disks(&receipt, reading, run));
        Ok(findings)
    }

    fn add_file(
        &self,
        file: &FileRecord,
        reading: &mut Reading,
    ) -> Result<Option<Finding>, FsError> {
        let path = file.path.below(self.root);
        let stamp = match fs::look(&path)? {
            Entry::File(stamp) => stamp,
            Entry::Missing => return Ok(Some(gone(path.display()))),
            _ => return Ok(Some(used(path.display()))),
        };
        if !file.seen.is(&stamp) {
            return Ok(Some(used(path.display())));
        }
        match file.written {
            Some(digest) => reading.file(path, digest),
            None => return Ok(Some(unread(path.display()))),
        }
        Ok(None)
    }

    fn add_ref_disks(
        &self,
        receipt: &Receipt,
        reading: &mut Reading,
        run: &Run<'_>,
    ) -> Vec<Finding> {
        if receipt.ref_disks.is_empty() {
            return Vec::new();
        }
        let dir = self.root.join(receipt.store.as_deref().unwrap_or_default());
        if !is_named(&dir, self.named) {
            return vec![elsewhere(&dir)];
        }
        let store = match Store::open(&dir, run) {
            Ok(store) => store,
            Err(error) => return vec![no_store(&dir, &error)],
        };
        let ids = receipt.ref_disks.iter();
        ids.filter_map(|id| add_ref_disk(&store, *id, reading))
            .collect()
    }
}

/// Tells whether a path that a receipt names is a folder that the user named, or inside one
/// without a detour: by no `..`, and through no link.
fn is_named(dir: &Path, named: &[PathBuf]) -> bool {
    let Ok(dir) = fs::absolute(dir) else {
        return false;
    };
    let is_folder = |path: &Path| matches!(fs::look(path), Ok(Entry::Folder(_)));
    let straight = |folder: &PathBuf| {
        let Ok(rest) = dir.strip_prefix(folder) else {
            return false;
        };
        let mut at = folder.clone();
        rest.components().all(|step| {
            at.push(step);
            matches!(step, Component::Normal(_)) && is_folder(&at)
        })
    };
    named.iter().any(straight)
}

fn add_ref_disk(store: &Store, id: ContentId, reading: &mut Reading) -> Option<Finding> {
    let Some(entry) = store.find(&id) else {
        let message = format!("RefDisk {id}, which the lab uses, is not in the store");
        return Some(
            Finding::error(Code::MissingRefDisk, store.dir().display(), message)
                .next("unpack again; that brings back what is missing"),
        );
    };
    let path = store.path_of(&entry.file);
    let shown = path.display().to_string();
    reading.ref_disk(&path, &shown, id, entry.parent_file.as_deref());
    None
}

fn unusable(path: &Path, error: &dyn std::error::Error) -> Finding {
    let cause = error.source().map_or(String::new(), |e| format!(": {e}"));
    Finding::error(Code::Corrupt, path.display(), format!("{error}{cause}"))
        .next("without a receipt nothing is known of the bytes that were unpacked; unpack again")
}

fn gone(shown: impl fmt::Display) -> Finding {
    Finding::error(
        Code::MissingFile,
        shown,
        "was unpacked, and is not there any more",
    )
    .next("unpack again; that brings back what is missing")
}

fn used(shown: impl fmt::Display) -> Finding {
    let message = "has been used since it was unpacked: its bytes are its VM's, and were not read";
    Finding::note(Code::UsedSince, shown, message)
}

fn unread(shown: impl fmt::Display) -> Finding {
    let message = "is a block clone whose locators were rewritten: its chain was followed, its \
                   bytes have no digest to be held against";
    Finding::note(Code::NoDigest, shown, message)
}

fn elsewhere(dir: &Path) -> Finding {
    let message = "holds the lab's RefDisks, and is in none of the folders that were named";
    Finding::warning(Code::MissingRefDisk, dir.display(), message)
        .next("name it with --store to have the RefDisks read as well")
}

fn no_store(dir: &Path, error: &dyn std::error::Error) -> Finding {
    let cause = error.source().map_or(String::new(), |e| format!(": {e}"));
    Finding::error(
        Code::MissingRefDisk,
        dir.display(),
        format!("{error}{cause}"),
    )
    .next("unpack again; that brings back what is missing")
}
