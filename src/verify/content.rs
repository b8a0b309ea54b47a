//! Reads files again, each once, and holds their bytes against everything that is known of them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, btree_map::Entry},
    io,
    path::{Path, PathBuf},
};

use rayon::prelude::*;

use super::ContentTotals;
use crate::{
    base::{ContentId, Patch, RelPath, Run},
    export::DiskFault,
    formats,
    fs::{FsError, ReadAhead, SourceFile, Subject, stamp},
    report::{Code, Finding, Findings},
};

/// What reading files came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Checked {
    /// How many, and how many are not as they should be.
    pub(super) totals: ContentTotals,
    /// What is wrong.
    pub(super) findings: Findings,
}

/// The files to be read. Packs and labs that share a store name the same RefDisks: each is read
/// once.
#[derive(Debug, Default)]
pub(super) struct Reading {
    files: BTreeMap<PathBuf, Expected>,
}

/// A file, and what its bytes are to show. There may be very many.
#[derive(Debug)]
struct Expected {
    shown: Shown,
    /// BLAKE3 of its bytes.
    digest: ContentId,
    /// The code of the finding if they are others.
    code: Code,
    /// What is expected of few files.
    more: Option<Box<More>>,
}

/// What a finding calls a file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    /// By its own path.
    Itself,
    Below(RelPath),
    Text(Box<str>),
}

#[derive(Debug, Default)]
struct More {
    /// For a mid-chain RefDisk, the file name of its parent that its id was made with: whatever
    /// paths the file holds just now, it counts as naming its parent so.
    parent_file: Option<String>,
    wants: Vec<Want>,
}

/// Bytes that a file, or what is made of it, is to have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Want {
    /// How a finding calls it.
    pub(super) shown: String,
    /// What is laid over the file.
    pub(super) residue: Patch,
    /// BLAKE3 of the bytes.
    pub(super) digest: ContentId,
    /// The code of the finding if they are others.
    pub(super) code: Code,
}

impl Shown {
    fn text(&self, path: &Path) -> String {
        match self {
            Self::Itself => path.display().to_string(),
            Self::Below(below) => below.to_string(),
            Self::Text(text) => text.to_string(),
        }
    }
}

impl Reading {
    /// Adds a file of a lab that is to have this digest.
    pub(super) fn file(&mut self, file: PathBuf, digest: ContentId) {
        self.expect(file, Shown::Itself, digest, Code::ContentDiffers);
    }

    /// Adds a file of a pack, at its path below that, that is to have this digest.
    pub(super) fn packed(&mut self, file: PathBuf, below: &RelPath, digest: ContentId) {
        let shown = Shown::Below(below.clone());
        self.expect(file, shown, digest, Code::ContentDiffers);
    }

    /// Adds a RefDisk. `parent_file` is given for a mid-chain disk.
    pub(super) fn ref_disk(
        &mut self,
        file: &Path,
        shown: &str,
        id: ContentId,
        parent_file: Option<&str>,
    ) {
        let shown = Shown::Text(shown.into());
        let is_new = !self.files.contains_key(file);
        let expected = self.expect(file.to_owned(), shown, id, Code::DamagedRefDisk);
        if let Some(parent) = parent_file.filter(|_| is_new) {
            expected.more().parent_file = Some(parent.to_owned());
        }
    }

    /// Adds something that is made of a RefDisk that was added.
    pub(super) fn made_of(&mut self, ref_disk: &Path, want: Want) {
        if let Some(expected) = self.files.get_mut(ref_disk) {
            expected.more().wants.push(want);
        }
    }

    fn expect(
        &mut self,
        file: PathBuf,
        shown: Shown,
        digest: ContentId,
        code: Code,
    ) -> &mut Expected {
        match self.files.entry(file) {
            Entry::Vacant(free) => free.insert(Expected {
                shown,
                digest,
                code,
                more: None,
            }),
            Entry::Occupied(taken) => {
                let path = taken.key().clone();
                let expected = taken.into_mut();
                if (&expected.shown, expected.digest, expected.code) != (&shown, digest, code) {
                    expected.also(Want {
                        shown: shown.text(&path),
                        residue: Patch::default(),
                        digest,
                        code,
                    });
                }
                expected
            }
        }
    }

    /// Reads every file.
    ///
    /// # Errors
    /// When the user stops the work. A file that cannot be read, or is gone, is a finding.
    pub(super) fn check(&self, run: &Run<'_>) -> Result<Checked, FsError> {
        let len = |path: &PathBuf| stamp(path).map_or(0, |stamp| stamp.len);
        let files = self
            .files
            .iter()
            .map(|(path, file)| (len(path), path, file));
        let mut files: Vec<_> = files.collect();
        let bytes = files
            .iter()
            .map(|(len, ..)| *len)
            .fold(0, u64::saturating_add);
        // What is left at the end is short.
        files.sort_by_key(|(len, ..)| Reverse(*len));
        run.progress
            .begin("reading", self.files.len() as u64, bytes);
        let found = files
            .par_iter()
            .with_max_len(1)
            .filter_map(|(_, path, file)| match file.check(path, run) {
                Ok(found) => (!found.is_empty()).then_some(Ok((path, found))),
                Err(error) => Some(Err(error)),
            });
        let found = found.collect::<Result<BTreeMap<_, _>, FsError>>();
        run.progress.end();
        let found = found?;
        Ok(Checked {
            totals: ContentTotals {
                files: self.files.len() as u64,
                differing: found.len() as u64,
            },
            findings: Findings(found.into_values().flatten().collect()),
        })
    }
}

impl Expected {
    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    fn also(&mut self, want: Want) {
        let wants = &mut self.more().wants;
        if !wants.contains(&want) {
            wants.push(want);
        }
    }

    fn check(&self, path: &Path, run: &Run<'_>) -> Result<Vec<Finding>, FsError> {
        run.go_on()?;
        let shown = self.shown.text(path);
        run.progress.file(&shown);
        match self.digests(path, run) {
            Ok(Ok(digests)) => Ok(self.differing(shown, &digests)),
            Ok(Err(why)) => {
                let damaged = Finding::error(Code::DamagedRefDisk, &shown, why);
                Ok(vec![damaged.next(COPY_AGAIN)])
            }
            Err(FsError::Cancelled(cancelled)) => Err(cancelled.into()),
            Err(error) => Ok(vec![unreadable(&shown, &error)]),
        }
    }

    fn wants(&self) -> &[Want] {
        self.more.as_ref().map_or(&[], |more| &more.wants)
    }

    /// Returns the digest of the file, and of everything that is made of it; as text, why it is no
    /// RefDisk.
    fn digests(
        &self,
        path: &Path,
        run: &Run<'_>,
    ) -> Result<Result<Vec<ContentId>, String>, FsError> {
        let source = SourceFile::open(path, run.meter)?;
        let more = self.more.as_ref();
        let stored = match more.and_then(|more| more.parent_file.as_deref()) {
            Some(parent) => match formats::store_form(&ReadAhead::new(&source), parent) {
                Ok(patch) => patch,
                // It was understood when it was packed.
                Err(error) => return Ok(Err(error.to_string())),
            },
            None => Patch::default(),
        };
        let made = self.wants().iter().map(|want| over(&stored, want));
        let patches: Vec<_> = std::iter::once(stored.clone()).chain(made).collect();
        let asked = patches.iter().fold(Subject::of(&source), Subject::form);
        Ok(Ok(asked.read(run)?.forms))
    }

    /// What is made of a file that is itself damaged needs no finding of its own.
    fn differing(&self, shown: String, digests: &[ContentId]) -> Vec<Finding> {
        let Some((own, made)) = digests.split_first() else {
            return Vec::new();
        };
        if self.digest != *own {
            let itself = Want {
                shown,
                residue: Patch::default(),
                digest: self.digest,
                code: self.code,
            };
            return vec![difference((&itself, own))];
        }
        let pairs = self.wants().iter().zip(made);
        let mut differing = pairs.filter(|(want, found)| want.digest != **found);
        let first = differing.next();
        let file_itself = first.is_some_and(|(want, _)| want.residue.is_empty());
        let rest = differing.filter(|_| !file_itself);
        first.into_iter().chain(rest).map(difference).collect()
    }
}

const COPY_AGAIN: &str = "copy the file again from where the lab was packed";

fn over(stored: &Patch, want: &Want) -> Patch {
    let mut patch = stored.clone();
    patch.then(want.residue.clone());
    patch
}

fn difference((want, found): (&Want, &ContentId)) -> Finding {
    let expected = want.digest;
    if want.residue.is_empty() {
        let message = format!("its bytes are {found}, expected {expected}");
        return Finding::error(want.code, &want.shown, message).next(COPY_AGAIN);
    }
    let message =
        format!("with its residue the RefDisk gives {found}, expected {expected} as it was packed");
    Finding::error(want.code, &want.shown, message)
        .next("copy labpack.json again from where the lab was packed")
}

fn unreadable(shown: &str, error: &FsError) -> Finding {
    if matches!(error, FsError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound) {
        return Finding::error(Code::MissingFile, shown, "is not there any more")
            .next("unpack again; that brings back what is missing");
    }
    DiskFault::from(error).finding(shown)
}
