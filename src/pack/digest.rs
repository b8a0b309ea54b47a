//! Each file read once: hashed as often as its identity asks, and copied on the way where the
//! pack is made elsewhere.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rayon::prelude::*;

use super::{
    PackError,
    shelf::{MASK_LIMIT, masked_bytes},
    staging::Staging,
};
use crate::{
    base::{ByteRange, ContentId, DiskId, Patch, Payload, ReadAt, Run},
    formats::{CanonicalForm, ParentPaths, canonical_form, relink, store_form},
    fs::{
        CanonicalHasher, ContentHasher, FsError, MaskCapture, PatchedHasher, Sink, SourceFile,
        TempFile, content_ids, stream,
    },
    plan::{
        Digest, Identity, Lab, LabFile, Masked, Planner, Remembered, RememberedFiles,
        RememberedForm, Seen, StoreForm,
    },
    report::Code,
};

/// Reads the files of a lab.
pub(super) struct Reader<'a> {
    pub(super) lab: &'a Lab,
    /// What the last run knew.
    pub(super) memory: RememberedFiles,
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

/// What reading a file came to.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) digest: Digest,
    /// The name of its parent's file in the store, where its store form was made.
    parent: Option<Box<str>>,
    /// A copy waits in the staging folder.
    pub(super) copied: bool,
    /// The copy that the last run made stands in the pack, and is still right.
    pub(super) stands: bool,
    /// The file was not read in this run.
    pub(super) trusted: bool,
}

impl Read {
    /// Of a file that was read, and of which nothing else was asked.
    fn of(content: ContentId) -> Self {
        Self {
            digest: Digest::of(content),
            parent: None,
            copied: false,
            stands: false,
            trusted: false,
        }
    }

    /// What the next run may go by, of a file that looks like `seen`.
    pub(super) fn remembered(&self, seen: Seen) -> Remembered {
        Remembered::of(seen, &self.digest, self.parent.as_deref())
    }
}

/// A file, by its names in the lab.
struct Twins {
    at: usize,
    /// Its other names.
    others: Vec<usize>,
    /// The name of its parent's file in the store.
    parent: Option<Box<str>>,
}

/// Files that are read abreast.
struct Group {
    /// The only one of them that may be copied.
    first: Twins,
    others: Vec<Twins>,
}

impl Group {
    fn files(&self) -> impl Iterator<Item = &Twins> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// As many files are read abreast at most: each is held open meanwhile.
const ABREAST: usize = 8;

/// What was read, by file.
#[derive(Debug)]
pub(super) struct Reads(Vec<Option<Read>>);

impl Reads {
    fn of(lab: &Lab) -> Self {
        Self(vec![None; lab.files.len()])
    }

    fn extend(&mut self, found: impl IntoIterator<Item = (usize, Read)>) {
        for (at, read) in found {
            self.0[at] = Some(read);
        }
    }

    pub(super) fn get(&self, at: usize) -> Option<&Read> {
        self.0[at].as_ref()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Read)> {
        let reads = self.0.iter_mut().enumerate();
        reads.filter_map(|(at, read)| Some((at, read.as_mut()?)))
    }

    /// Returns the digest of each file that was read.
    pub(super) fn digests(&self) -> impl Iterator<Item = (usize, ContentId)> + '_ {
        let reads = self.0.iter().enumerate();
        reads.filter_map(|(at, read)| Some((at, read.as_ref()?.digest.content)))
    }

    /// What the next run may go by, of the files that stand in the lab. It takes their place in
    /// memory.
    pub(super) fn into_remembered(self, lab: Lab) -> RememberedFiles {
        let files = lab.files.into_iter().zip(self.0);
        files
            .filter_map(|(file, read)| {
                let seen = file.seen()?;
                Some((file.path, read?.remembered(seen)))
            })
            .collect()
    }
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
            let names = |at: usize| planner.parent_name(at).map(Into::into);
            let here = level
                .iter()
                .copied()
                .filter(|&at| self.lab.files[at].seen().is_some());
            let here = here.map(|at| (at, names(at))).collect();
            self.read_many(here, true, &mut reads)?;
            let found = level
                .iter()
                .filter_map(|&at| Some((at, reads.get(at)?.digest.clone())));
            planner.settle_level(&level, &found.collect());
        }
        let rest = standing()
            .filter(|&at| reads.get(at).is_none())
            .map(|at| (at, None))
            .collect();
        self.read_many(rest, false, &mut reads)?;
        self.run.progress.end();
        Ok(reads)
    }

    /// Reads files side by side, the largest first; names of one file once, and files that are
    /// most likely alike abreast.
    fn read_many(
        &self,
        files: Vec<(usize, Option<Box<str>>)>,
        shareable: bool,
        reads: &mut Reads,
    ) -> Result<(), PackError> {
        let mut work = self.abreast(self.twins(files), shareable);
        work.sort_unstable_by_key(|group| (Reverse(self.bytes_of(group)), group.first.at));
        let found = Mutex::new(reads);
        work.into_par_iter()
            .with_max_len(1)
            .try_for_each(|group| -> Result<(), PackError> {
                let read = self.read_abreast(&group, shareable)?;
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.extend(read);
                Ok(())
            })
    }

    /// Puts the names of each file together, of which the same is asked.
    fn twins(&self, mut files: Vec<(usize, Option<Box<str>>)>) -> Vec<Twins> {
        let key = |at: usize| self.lab.files[at].seen().map(|seen| seen.key);
        files.sort_unstable_by(|(one, parent), (other, other_parent)| {
            let keys = key(*one).cmp(&key(*other));
            keys.then_with(|| parent.cmp(other_parent))
                .then(one.cmp(other))
        });
        let mut twins: Vec<Twins> = Vec::with_capacity(files.len());
        for (at, parent) in files {
            let is_same = |twin: &&mut Twins| {
                let relink = |at: usize| &self.lab.files[at].relink;
                key(twin.at) == key(at) && relink(twin.at) == relink(at) && twin.parent == parent
            };
            match twins.last_mut().filter(is_same) {
                Some(twin) => twin.others.push(at),
                None => twins.push(Twins {
                    at,
                    others: Vec::new(),
                    parent,
                }),
            }
        }
        twins
    }

    fn bytes_of(&self, group: &Group) -> u64 {
        let lengths = group.files().map(|file| self.lab.files[file.at].length);
        lengths.sum()
    }

    /// Puts files together that are most likely alike. Of those only the first may be copied.
    fn abreast(&self, mut files: Vec<Twins>, shareable: bool) -> Vec<Group> {
        // Files that are copied come first, and each begins a group.
        files.sort_unstable_by_key(|file| (!self.is_copied(file.at), file.at));
        let mut groups: Vec<Group> = Vec::with_capacity(files.len());
        // Of disks that look alike, the group that was begun last.
        let mut last: HashMap<_, usize> = HashMap::new();
        for file in files {
            let looks = self.looks(file.at, shareable);
            let begun = looks.and_then(|looks| last.get(&looks).copied());
            let begun = begun.map(|at| &mut groups[at].others);
            match begun.filter(|others| others.len() + 1 < ABREAST) {
                Some(others) if !self.is_copied(file.at) => others.push(file),
                _ => {
                    last.extend(looks.map(|looks| (looks, groups.len())));
                    groups.push(Group {
                        first: file,
                        others: Vec::new(),
                    });
                }
            }
        }
        groups
    }

    fn is_copied(&self, at: usize) -> bool {
        let copies = self.copies.as_ref();
        copies.is_some_and(|copies| !copies.expected.contains(&at))
    }

    /// Equal for two disks that are most likely one. `None` where more is asked of a disk than the
    /// digest of its bytes.
    fn looks(&self, at: usize, shareable: bool) -> Option<(u64, DiskId)> {
        let file = &self.lab.files[at];
        let plain = file.relink.is_none() && !(shareable && file.is_child());
        Some((file.length, file.seen()?.disk.filter(|_| plain)?))
    }

    /// Reads files abreast, but for those that are known.
    fn read_abreast(
        &self,
        group: &Group,
        shareable: bool,
    ) -> Result<Vec<(usize, Read)>, PackError> {
        let mut found = Vec::new();
        let mut unknown = Vec::new();
        for file in group.files() {
            self.run.go_on()?;
            let here = &self.lab.files[file.at];
            self.run.progress.file(here.path.as_str());
            let (place, seen) = standing(here);
            let source = open(&place, &seen, self.run)?;
            let ask = Ask::of(&source, here, file.parent.as_deref(), shareable);
            match self.known(here, &seen, ask.as_ref(), &source, shareable) {
                Some(read) => {
                    self.skip(here.length);
                    found.extend(self.for_each_name(file, read));
                }
                None => unknown.push((file, source, ask)),
            }
        }
        let mut unknown = unknown.into_iter();
        let Some((first, source, ask)) = unknown.next() else {
            return Ok(found);
        };
        let (others, sources): (Vec<_>, Vec<_>) =
            unknown.map(|(file, source, _)| (file, source)).unzip();
        let (read, digests) = self.stream(first.at, &source, ask.as_ref(), &sources, shareable)?;
        found.extend(self.for_each_name(first, read));
        for (file, content) in others.into_iter().zip(digests) {
            found.extend(self.for_each_name(file, Read::of(content)));
        }
        Ok(found)
    }

    fn for_each_name(&self, file: &Twins, read: Read) -> impl Iterator<Item = (usize, Read)> {
        let again = Read {
            copied: false,
            ..read.clone()
        };
        let others = file.others.iter().map(move |&at| {
            self.skip(self.lab.files[at].length);
            (at, again.clone())
        });
        std::iter::once((file.at, read)).chain(others)
    }

    fn skip(&self, bytes: u64) {
        self.run.meter.add_skipped(bytes);
        self.run.progress.advance(bytes);
    }

    /// What an earlier run, or an interrupted one, tells of a file that looks the same.
    fn known(
        &self,
        file: &LabFile,
        seen: &Seen,
        ask: Option<&Ask>,
        source: &SourceFile,
        shareable: bool,
    ) -> Option<Read> {
        if file.relink.is_some() {
            // What is remembered may be a copy that names its parent otherwise.
            return None;
        }
        let copies = self.copies.as_ref();
        let waiting = copies.and_then(|copies| copies.staging.recall(file, seen, shareable));
        let copied = waiting.is_some();
        let before = || {
            self.memory
                .get(&file.path)
                .filter(|known| known.seen == *seen)
                .cloned()
        };
        let remembered = waiting.or_else(before)?;
        let identity = match ask {
            None => None,
            Some(ask) => Some(Box::new(ask.remembered(&remembered, source)?)),
        };
        let digest = Digest {
            content: remembered.content,
            identity,
        };
        Some(Read {
            digest,
            parent: ask.map(|ask| ask.parent.as_str().into()),
            copied,
            stands: false,
            trusted: true,
        })
    }

    /// Reads a file once, and `others` abreast of it, of which nothing is asked but the digest.
    fn stream(
        &self,
        at: usize,
        source: &SourceFile,
        ask: Option<&Ask>,
        others: &[SourceFile],
        shareable: bool,
    ) -> Result<(Read, Vec<ContentId>), PackError> {
        let file = &self.lab.files[at];
        let staging = self.copies.as_ref().filter(|_| self.is_copied(at));
        let mut copy = match staging {
            Some(copies) => Some(
                copies
                    .staging
                    .begin(source, &file.path, shareable, self.run)?,
            ),
            None => None,
        };
        let (digest, digests) = if others.is_empty() {
            (self.make(file, source, ask, copy.as_mut())?, Vec::new())
        } else {
            let copy = copy.as_mut().filter(|(_, cloned)| !cloned);
            let copy = copy.map(|(copy, _)| copy);
            let (content, digests) = content_ids(source, others, copy, self.run)?;
            (Digest::of(content), digests)
        };
        let read = Read {
            digest,
            parent: ask.map(|ask| ask.parent.as_str().into()),
            copied: copy.is_some(),
            stands: false,
            trusted: false,
        };
        if let (Some((copy, _)), Some(copies)) = (copy, staging) {
            let remembered = read.remembered(standing(file).1);
            copies.staging.finish(copy, file, &remembered, shareable)?;
        }
        Ok((read, digests))
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
        let found = self.make(file, &source, None, Some(&mut copy))?;
        same(&place, found.content, read.digest.content)?;
        copies
            .staging
            .finish(copy.0, file, &read.remembered(seen), for_store)
    }

    /// Reads a file once, for everything that is asked, and into a copy that may have the bytes
    /// already by block clone.
    fn make(
        &self,
        file: &LabFile,
        source: &SourceFile,
        ask: Option<&Ask>,
        copy: Option<&mut (TempFile, bool)>,
    ) -> Result<Digest, PackError> {
        match (&file.relink, copy) {
            (Some(paths), copy) => self.relinked(file, paths, source, copy),
            (None, Some((copy, false))) => digest(source, ask, Some(copy), self.run),
            (None, _) => digest(source, ask, None, self.run),
        }
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
        let mut hasher = PatchedHasher::new(&patch, source.len());
        match copy {
            Some((copy, cloned)) => {
                let mut sinks: Vec<&mut dyn Sink> = vec![&mut hasher];
                if !*cloned {
                    sinks.push(copy);
                }
                stream(source, &mut sinks, self.run)?;
                copy.apply(&patch)?;
            }
            None => {
                stream(source, &mut [&mut hasher], self.run)?;
            }
        }
        Ok(Digest::of(hasher.finish()))
    }

    /// Reads files again that are to be removed and were not read in this run.
    pub(super) fn confirm(&self, files: &[usize], reads: &Reads) -> Result<(), PackError> {
        files.par_iter().try_for_each(|&at| {
            self.run.go_on()?;
            let (place, seen) = standing(&self.lab.files[at]);
            let found = digest(&open(&place, &seen, self.run)?, None, None, self.run)?;
            let expected = reads.get(at).map(|read| read.digest.content);
            same(
                &place,
                found.content,
                expected.expect("it is a file that was trusted"),
            )
        })
    }
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

fn same(place: &Path, found: ContentId, expected: ContentId) -> Result<(), PackError> {
    if found == expected {
        return Ok(());
    }
    Err(changed(
        place,
        &format!("its bytes are {found}, expected {expected}"),
    ))
}

/// What is asked of a disk beside the digest of its bytes.
struct Ask {
    form: CanonicalForm,
    /// The parent's name in the store.
    parent: String,
    /// The change to store form.
    patch: Patch,
}

impl Ask {
    /// `None` where nothing is, or where the disk has no canonical form.
    fn of(
        source: &SourceFile,
        file: &LabFile,
        parent: Option<&str>,
        shareable: bool,
    ) -> Option<Self> {
        // A base disk is exported byte for byte; only paths in a child differ from copy to copy.
        if !shareable || !file.is_child() {
            return None;
        }
        let form = canonical_form(source)
            .ok()
            .filter(|form| !form.masks.is_empty())?;
        let parent = parent?;
        let patch = store_form(source, parent).ok()?;
        if !changes_masked_bytes_alone(source, &form, &patch)? {
            return None;
        }
        Some(Self {
            form,
            parent: parent.to_owned(),
            patch,
        })
    }

    /// The identity of a disk that need not be read again but for what is masked.
    fn remembered(&self, known: &Remembered, source: &dyn ReadAt) -> Option<Identity> {
        let form = known.store_form.as_deref();
        let RememberedForm { id, .. } = form.filter(|form| form.parent == self.parent)?;
        let store_form = StoreForm {
            id: *id,
            patch: self.patch.clone(),
        };
        let (canonical, masked) = (*known.canonical.as_deref()?, masked_bytes(source)?);
        Some(Identity {
            canonical,
            masked,
            store_form,
        })
    }
}

/// Tells whether a patch leaves every byte that is not masked as it is: only then do the masked
/// bytes bring a file back from its store form. `None` where the file cannot be read.
fn changes_masked_bytes_alone(
    source: &dyn ReadAt,
    form: &CanonicalForm,
    patch: &Patch,
) -> Option<bool> {
    if patch.new_len.is_some_and(|len| len != source.len()) {
        return Some(false);
    }
    for write in patch
        .writes()
        .filter(|write| matches!(write.payload, Payload::Bytes(_)))
    {
        // As long as bytes that are in memory already.
        let mut before = vec![0; usize::try_from(write.len()).ok()?];
        source.read_exact_at(&mut before, write.offset).ok()?;
        let mut after = before.clone();
        patch.apply(write.offset, &mut after);
        form.mask(write.offset, &mut before);
        form.mask(write.offset, &mut after);
        if before != after {
            return Some(false);
        }
    }
    let zeroed = patch
        .writes()
        .filter(|write| matches!(write.payload, Payload::Zeros(_)));
    let mut zeroed = zeroed.filter_map(|write| ByteRange::new(write.offset, write.len()));
    Some(zeroed.all(|range| range.is_empty() || form.masks.iter().any(|mask| mask.contains(range))))
}

/// Reads a file once, for everything that is asked.
fn digest(
    source: &SourceFile,
    ask: Option<&Ask>,
    copy: Option<&mut TempFile>,
    run: &Run<'_>,
) -> Result<Digest, PackError> {
    let Some(ask) = ask else {
        let (content, _) = content_ids(source, &[], copy, run)?;
        return Ok(Digest::of(content));
    };
    let mut content = ContentHasher::new();
    let mut canonical = CanonicalHasher::new(&ask.form);
    let mut masked = MaskCapture::new(&ask.form, MASK_LIMIT);
    let mut stored = PatchedHasher::new(&ask.patch, source.len());
    let mut sinks: Vec<&mut dyn Sink> =
        vec![&mut content, &mut canonical, &mut masked, &mut stored];
    sinks.extend(copy.map(|sink| sink as &mut dyn Sink));
    stream(source, &mut sinks, run)?;
    let identity = masked.finish().map(|pieces| Identity {
        canonical: canonical.finish(),
        masked: Masked {
            ranges: ask.form.masks.clone(),
            pieces,
        },
        store_form: StoreForm {
            id: stored.finish(),
            patch: ask.patch.clone(),
        },
    });
    Ok(Digest {
        content: content.finish(),
        identity: identity.map(Box::new),
    })
}
