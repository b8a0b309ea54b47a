//! Each file read once, for every digest that its identity asks for, and copied on the way where
//! the pack is made elsewhere.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rayon::prelude::*;

use super::{
    PackError,
    ask::Ask,
    batches::Sorter,
    reads::{Read, Reads},
    seen::{Memory, Recalled},
    staging::Staging,
};
use crate::{
    base::{ContentId, ReadAt, Run},
    formats::{ParentPaths, relink},
    fs::{FsError, SourceFile, Subject, TempFile, content_id, read_abreast},
    plan::{Digest, Lab, LabFile, Planner, Seen},
    report::Code,
};

/// Reads the files of a lab.
pub(super) struct Reader<'a> {
    pub(super) lab: &'a Lab,
    /// What the last run knew.
    pub(super) memory: Memory,
    /// Where copies go, and of which files; `None` where the pack is made in place.
    pub(super) copies: Option<Copies<'a>>,
    pub(super) run: &'a Run<'a>,
}

/// Which files are copied while they are read.
pub(super) struct Copies<'a> {
    pub(super) staging: &'a Staging,
    /// Files that most likely are stored as another file: read, not copied.
    pub(super) expected: HashSet<usize>,
}

impl Reader<'_> {
    /// Reads every file: shareable parents level by level, since a disk's store form has the name
    /// of its parent's in it, then the others.
    pub(super) fn read_all(&self, planner: &mut Planner<'_>) -> Result<Reads, PackError> {
        let standing =
            || (0..self.lab.files.len()).filter(|&at| self.lab.files[at].seen().is_some());
        let bytes = standing().map(|at| self.lab.files[at].length).sum();
        self.run
            .progress
            .begin("reading", standing().count() as u64, bytes);
        let mut reads = Reads::of(self.lab);
        for level in self.lab.shareable_by_level() {
            let here = level
                .iter()
                .copied()
                .filter(|&at| self.lab.files[at].seen().is_some());
            let here: Vec<usize> = here.collect();
            let parent = |&at: &usize| Some((at, planner.parent_name(at)?.to_owned()));
            let parents = here.iter().filter_map(parent).collect();
            self.read_many(here, &parents, true, &mut reads)?;
            let found = level
                .iter()
                .filter_map(|&at| Some((at, reads.get(at)?.digest.clone())));
            planner.settle_level(&level, &found.collect());
        }
        let rest = standing().filter(|&at| reads.get(at).is_none()).collect();
        self.read_many(rest, &HashMap::new(), false, &mut reads)?;
        self.run.progress.end();
        Ok(reads)
    }

    /// Reads files side by side, the largest first; names of one file once, and files that are
    /// most likely alike abreast. `parents` names the parent's file in the store, where the store
    /// form of a file is asked for.
    fn read_many(
        &self,
        files: Vec<usize>,
        parents: &HashMap<usize, String>,
        shareable: bool,
        reads: &mut Reads,
    ) -> Result<(), PackError> {
        let sorter = Sorter {
            lab: self.lab,
            parents,
            shareable,
            is_copied: &|at| self.is_copied(at),
        };
        let batches = sorter.batches(files);
        let found = Mutex::new(reads);
        batches
            .all()
            .par_iter()
            .with_max_len(1)
            .try_for_each(|batch| -> Result<(), PackError> {
                let read = self.read_abreast(batches.files(batch), &sorter)?;
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.extend(read);
                Ok(())
            })
    }

    fn is_copied(&self, at: usize) -> bool {
        let copies = self.copies.as_ref();
        copies.is_some_and(|copies| !copies.expected.contains(&at))
    }

    /// Reads the files of a batch abreast, but for those that are known.
    fn read_abreast(
        &self,
        batch: &[usize],
        sorter: &Sorter<'_>,
    ) -> Result<Vec<(usize, Read)>, PackError> {
        let shareable = sorter.shareable;
        let mut found = Vec::with_capacity(batch.len());
        let mut unknown = Vec::new();
        for names in batch.chunk_by(|&one, &other| sorter.is_one_file(one, other)) {
            self.run.go_on()?;
            let here = &self.lab.files[names[0]];
            self.run.progress.file(here.path.as_str());
            let (place, seen) = standing(here);
            let source = open(&place, &seen, self.run)?;
            let parent = sorter.parents.get(&names[0]);
            let ask = Ask::of(&source, here, parent.map(String::as_str), shareable);
            match self.known(names[0], &seen, ask.as_ref(), &source, shareable) {
                Some(read) => {
                    self.skip(here.length);
                    found.extend(self.for_each_name(names, read));
                }
                None => unknown.push(Unread { names, source, ask }),
            }
        }
        let reads = self.stream(&unknown, shareable)?;
        for (unread, read) in unknown.iter().zip(reads) {
            found.extend(self.for_each_name(unread.names, read));
        }
        Ok(found)
    }

    /// What was read of a file, for all of its names; a copy has the first.
    fn for_each_name(&self, names: &[usize], read: Read) -> impl Iterator<Item = (usize, Read)> {
        let again = Read {
            copied: false,
            ..read.clone()
        };
        let others = names[1..].iter().map(move |&at| {
            self.skip(self.lab.files[at].length);
            (at, again.clone())
        });
        std::iter::once((names[0], read)).chain(others)
    }

    fn skip(&self, bytes: u64) {
        self.run.meter.add_skipped(bytes);
        self.run.progress.advance(bytes);
    }

    /// What an earlier run, or an interrupted one, tells of a file that looks the same.
    fn known(
        &self,
        at: usize,
        seen: &Seen,
        ask: Option<&Ask>,
        source: &SourceFile,
        shareable: bool,
    ) -> Option<Read> {
        let file = &self.lab.files[at];
        if file.relink.is_some() {
            // What is remembered may be a copy that names its parent otherwise.
            return None;
        }
        let copies = self.copies.as_ref();
        let waiting = copies.and_then(|copies| copies.staging.recall(file, seen, shareable));
        let copied = waiting.is_some();
        let waiting = waiting.map(|waiting| Recalled::of(waiting, true));
        let known = waiting.as_ref().or_else(|| self.memory.of_same(at))?;
        let identity = match ask {
            None => None,
            Some(ask) => Some(Box::new(ask.remembered(known, source)?)),
        };
        let digest = Digest {
            content: known.content,
            identity,
        };
        Some(Read {
            copied,
            trusted: true,
            ..Read::of(digest)
        })
    }

    /// Reads files abreast, each once; a copy is made of the first.
    fn stream(&self, files: &[Unread<'_>], shareable: bool) -> Result<Vec<Read>, PackError> {
        let Some(first) = files.first() else {
            return Ok(Vec::new());
        };
        let (file, source) = (&self.lab.files[first.names[0]], &first.source);
        let staging = self
            .copies
            .as_ref()
            .filter(|_| self.is_copied(first.names[0]));
        let mut copy = match staging {
            Some(copies) => Some(
                copies
                    .staging
                    .begin(source, &file.path, shareable, self.run)?,
            ),
            None => None,
        };
        let digests = self.make(file, files, copy.as_mut())?;
        let mut reads: Vec<Read> = digests.into_iter().map(Read::of).collect();
        if let (Some((copy, _)), Some(copies)) = (copy, staging) {
            reads[0].copied = true;
            let remembered = reads[0].remembered(standing(file).1);
            copies.staging.finish(copy, file, &remembered, shareable)?;
        }
        Ok(reads)
    }

    /// Copies a file whose bytes are needed after all.
    pub(super) fn copy(&self, at: usize, read: &Read, for_store: bool) -> Result<(), PackError> {
        let Some(copies) = &self.copies else {
            return Ok(());
        };
        self.run.go_on()?;
        let file = &self.lab.files[at];
        let (place, seen) = standing(file);
        let source = open(&place, &seen, self.run)?;
        let mut copy = copies
            .staging
            .begin(&source, &file.path, for_store, self.run)?;
        let names = &[at][..];
        let ask = None;
        let unread = Unread { names, source, ask };
        let found = self.make(file, &[unread], Some(&mut copy))?;
        same(&place, found[0].content, read.digest.content)?;
        copies
            .staging
            .finish(copy.0, file, &read.remembered(seen), for_store)
    }

    /// Reads files abreast, for everything that is asked; the first of them, `file`, into a copy as
    /// well, which may have the bytes already by block clone.
    fn make(
        &self,
        file: &LabFile,
        files: &[Unread<'_>],
        copy: Option<&mut (TempFile, bool)>,
    ) -> Result<Vec<Digest>, PackError> {
        if let (Some(paths), [first, others @ ..]) = (&file.relink, files) {
            debug_assert!(
                others.is_empty(),
                "a file that is changed is read by itself"
            );
            let digest = self.relinked(file, paths, &first.source, copy)?;
            return Ok(vec![digest]);
        }
        let asks = files.iter().map(|unread| unread.ask.as_ref());
        let mut captures: Vec<_> = asks.map(|ask| ask.map(Ask::capture)).collect();
        let mut copy = copy.filter(|(_, cloned)| !cloned).map(|(copy, _)| copy);
        let mut subjects = Vec::with_capacity(files.len());
        for (unread, capture) in files.iter().zip(&mut captures) {
            let mut subject = Subject::of(&unread.source);
            if let Some((ask, capture)) = unread.ask.as_ref().zip(capture.as_mut()) {
                subject = ask.add_to(subject, capture);
            }
            if let Some(copy) = copy.take() {
                subject = subject.into_sink(copy);
            }
            subjects.push(subject);
        }
        let told = read_abreast(subjects, self.run)?;
        let told = files.iter().zip(captures).zip(told);
        let digests = told.map(|((unread, capture), digests)| Digest {
            content: digests.content,
            identity: unread
                .ask
                .as_ref()
                .zip(capture)
                .and_then(|(ask, capture)| ask.answer(&digests, capture))
                .map(Box::new),
        });
        Ok(digests.collect())
    }

    /// As [`Self::make`], of the disk as it names its parent in the pack.
    fn relinked(
        &self,
        file: &LabFile,
        paths: &ParentPaths,
        source: &SourceFile,
        copy: Option<&mut (TempFile, bool)>,
    ) -> Result<Digest, PackError> {
        let patch = match relink(source, paths) {
            Ok(patch) if patch.len_after(source.len()) == source.len() => patch,
            Ok(_) => return Err(no_room(file, source, "it would have to grow")),
            Err(error) => return Err(no_room(file, source, &error.to_string())),
        };
        let mut subject = Subject::of(source).form(&patch);
        let digests = match copy {
            Some((copy, cloned)) => {
                if !*cloned {
                    subject = subject.into_sink(&mut *copy);
                }
                let digests = subject.read(self.run)?;
                copy.apply(&patch)?;
                digests
            }
            None => subject.read(self.run)?,
        };
        Ok(Digest::of(digests.forms[0]))
    }

    /// Reads files again that are to be removed and were not read in this run.
    pub(super) fn confirm(&self, files: &[usize], reads: &Reads) -> Result<(), PackError> {
        files.par_iter().try_for_each(|&at| {
            self.run.go_on()?;
            let (place, seen) = standing(&self.lab.files[at]);
            let found = content_id(&open(&place, &seen, self.run)?, self.run)?;
            let expected = reads.get(at).map(|read| read.digest.content);
            same(
                &place,
                found,
                expected.expect("it is a file that was trusted"),
            )
        })
    }
}

/// A file that has to be read.
struct Unread<'a> {
    /// Its names.
    names: &'a [usize],
    source: SourceFile,
    /// What is asked of it beside its digest.
    ask: Option<Ask>,
}

/// Where a file stands; asked only of files that do.
fn standing(file: &LabFile) -> (PathBuf, Seen) {
    let standing = file.at().zip(file.seen());
    standing.expect("only files that stand are read")
}

fn no_room(file: &LabFile, source: &SourceFile, why: &str) -> PackError {
    let message = format!(
        "`{}` cannot be made to name its parent from outside beside it: {why}",
        file.path
    );
    let next = "put the parent into the export, and reconnect the disk with Set-VHD -ParentPath";
    PackError::refuse(Code::Unsupported, source.path(), message, next)
}

/// Opens a file that must still look as it did.
fn open(place: &Path, seen: &Seen, run: &Run<'_>) -> Result<SourceFile, PackError> {
    let source = SourceFile::open(place, run.meter)?;
    if seen.is(source.opened()) {
        return Ok(source);
    }
    Err(changed(
        place,
        "it was written to after it had been looked at",
    ))
}

fn changed(path: &Path, what: &str) -> PackError {
    PackError::Fs(FsError::Changed {
        path: path.to_owned(),
        what: what.to_owned(),
    })
}

pub(super) fn same(place: &Path, found: ContentId, expected: ContentId) -> Result<(), PackError> {
    if found == expected {
        return Ok(());
    }
    Err(changed(
        place,
        &format!("its bytes are {found}, expected {expected}"),
    ))
}
