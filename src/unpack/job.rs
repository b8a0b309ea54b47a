//! One source, read once, and everything that is made of it.

use std::path::{Path, PathBuf};

use super::{UnpackError, files::Workshop, finish::Whole, sharing};
use crate::{
    base::{Attributes, ContentId, Patch, Patched, ReadAt, RelPath},
    formats::{self, FormatError, ParentPaths},
    fs::{self, Existing, Finish, FsError, SourceFile, Stamp, Subject, TempFile},
    plan::{FileSource, FileStep, RefDiskStep, Seen},
};

/// So many files are open for writing at once, for each worker.
const OPEN: usize = 32;

/// One source, and what is made of it.
pub(super) struct Job<'a> {
    pub(super) source: PathBuf,
    /// How progress calls it.
    pub(super) shown: String,
    pub(super) length: u64,
    /// The digest of the source.
    pub(super) digest: ContentId,
    /// The source's path in the pack, unless it is a RefDisk.
    pub(super) in_pack: Option<&'a RelPath>,
    /// What is written while the source streams by.
    pub(super) targets: Vec<Target<'a>>,
    /// What is cloned from the destination's store afterwards.
    pub(super) clones: Vec<&'a FileStep>,
    /// The RefDisk of which the destination's store gets a further name, and that name.
    pub(super) shared: Option<(&'a RefDiskStep, PathBuf)>,
    /// Where the RefDisk is in the destination's store, if it is to be there.
    pub(super) in_store: Option<PathBuf>,
    /// For a mid-chain RefDisk, the name of its parent in the pack.
    pub(super) parent_file: Option<&'a str>,
}

/// Something made of a source.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    /// A file of a VM.
    File(&'a FileStep),
    /// The RefDisk in the destination's store.
    RefDisk(&'a RefDiskStep),
}

/// A target with the change that makes it of the source.
struct Making<'a> {
    target: Target<'a>,
    path: PathBuf,
    /// What lies over the source before any path is written.
    residue: Patch,
    /// All of it.
    patch: Patch,
}

impl<'a> Job<'a> {
    pub(super) const fn to_read(&self) -> u64 {
        if self.targets.is_empty() && self.shared.is_none() {
            0
        } else {
            self.length
        }
    }

    pub(super) fn carry_out(&self, shop: &Workshop<'a>) -> Result<(), UnpackError> {
        let source = self.open(shop)?;
        let makings: Vec<_> = self
            .targets
            .iter()
            .map(|target| self.making(*target, &source, shop))
            .collect::<Result<_, _>>()?;
        let mut proved = None;
        let mut source = Some(source);
        for makings in makings.chunks(OPEN) {
            let source = match source.take() {
                Some(source) => source,
                None => self.open(shop)?,
            };
            proved = Some(self.copy(source, makings, shop)?);
        }
        drop(source);
        for step in &self.clones {
            shop.run.go_on()?;
            self.clone(step, shop)?;
        }
        match &self.shared {
            Some((step, path)) => self.share(proved, step, path, shop),
            None => Ok(()),
        }
    }

    fn open(&self, shop: &Workshop<'_>) -> Result<SourceFile, UnpackError> {
        Ok(SourceFile::open(&self.source, shop.run.meter)?)
    }

    fn making(
        &self,
        target: Target<'a>,
        source: &SourceFile,
        shop: &Workshop<'_>,
    ) -> Result<Making<'a>, UnpackError> {
        let residue = target.residue();
        let mut patch = residue.clone();
        if let Some(paths) = target.parent() {
            patch.then(self.relink(source, &residue, paths)?);
        }
        Ok(Making {
            target,
            path: target.path(shop),
            residue,
            patch,
        })
    }

    fn relink(
        &self,
        source: &SourceFile,
        residue: &Patch,
        paths: &ParentPaths,
    ) -> Result<Patch, UnpackError> {
        let file = Patched {
            file: source,
            patch: residue,
        };
        formats::relink(&file, paths).map_err(|error| self.format(error))
    }

    fn format(&self, source: FormatError) -> UnpackError {
        UnpackError::Format {
            path: self.source.clone(),
            source,
        }
    }

    /// Reads the source once, into its digest and everything that is made of it. Returns the stamp
    /// of what proved to be right.
    fn copy(
        &self,
        source: SourceFile,
        makings: &[Making<'a>],
        shop: &Workshop<'a>,
    ) -> Result<Stamp, UnpackError> {
        let mut temps = Vec::with_capacity(makings.len());
        for making in makings {
            temps.push(Temp::beside(&making.path, &source, shop)?);
        }
        let digests = if temps.iter().all(|temp| temp.cloned) && self.is_known(&source, shop) {
            shop.run.meter.add_skipped(source.len());
            shop.run.progress.advance(source.len());
            makings
                .iter()
                .map(|making| making.known(self.digest))
                .collect()
        } else {
            self.pour(&source, makings, &mut temps, shop)?
        };
        // What gets a copy's name may be a further name of it, and older Windows lets nothing take
        // the place of a file that is open.
        let proved = *source.opened();
        drop(source);
        for ((making, mut temp), written) in makings.iter().zip(temps).zip(digests) {
            temp.file.apply(&making.patch)?;
            making.finish(temp, written, self.length, shop)?;
        }
        Ok(proved)
    }

    /// Tells whether the source is the file that had this digest, unchanged since.
    fn is_known(&self, source: &SourceFile, shop: &Workshop<'_>) -> bool {
        let known = match self.in_pack {
            Some(path) => shop.known.take_file(path, self.digest),
            None => shop.known.ref_disk(self.digest),
        };
        let same_disk = |seen: &Seen| {
            seen.disk
                .is_none_or(|id| formats::read_info(source).is_ok_and(|info| info.own_id == id))
        };
        known.is_some_and(|seen| seen.is(source.opened()) && same_disk(&seen))
    }

    /// Returns the digest of each file as it will be, once the source proved to be right.
    fn pour(
        &self,
        source: &SourceFile,
        makings: &[Making<'_>],
        temps: &mut [Temp],
        shop: &Workshop<'_>,
    ) -> Result<Vec<Option<ContentId>>, UnpackError> {
        // A file as it was packed, and as it is written: where no path is, that is the same.
        let mut asked = Subject::of(source);
        for making in makings {
            asked = asked.form(&making.residue).form(&making.patch);
        }
        for temp in temps.iter_mut().filter(|temp| !temp.cloned) {
            asked = asked.into_sink(&mut temp.file);
        }
        let digests = asked.read(shop.run)?;
        self.compare(digests.content, self.digest)?;
        let made = makings.iter().zip(digests.forms.chunks_exact(2));
        made.map(|(making, made)| {
            if let Target::File(step) = making.target {
                self.compare(made[0], step.packed)?;
            }
            Ok(Some(made[1]))
        })
        .collect()
    }

    fn compare(&self, found: ContentId, expected: ContentId) -> Result<(), UnpackError> {
        if found == expected {
            return Ok(());
        }
        Err(UnpackError::Damaged {
            path: self.source.clone(),
            found,
            expected,
        })
    }

    /// Gives the RefDisk a further name at `path`, in the destination's store. `proved` is what it
    /// was when its bytes were found to be right, if they were read.
    fn share(
        &self,
        proved: Option<Stamp>,
        step: &RefDiskStep,
        path: &Path,
        shop: &Workshop<'_>,
    ) -> Result<(), UnpackError> {
        let proved = proved.map_or_else(|| self.prove(shop), Ok)?;
        let come = sharing::link(&self.source, &proved, &shop.places.pack, path);
        settle_ref_disk(step, come, shop)
    }

    /// Makes sure that the source's bytes are right, and returns its stamp.
    fn prove(&self, shop: &Workshop<'_>) -> Result<Stamp, UnpackError> {
        let source = self.open(shop)?;
        if self.is_known(&source, shop) {
            shop.run.meter.add_skipped(source.len());
            shop.run.progress.advance(source.len());
        } else {
            self.compare(fs::content_id(&source, shop.run)?, self.digest)?;
        }
        Ok(*source.opened())
    }

    /// Clones a file from the destination's store, whose copy has been proved; nothing is read
    /// but headers.
    fn clone(&self, step: &'a FileStep, shop: &Workshop<'a>) -> Result<(), UnpackError> {
        let source = self.open(shop)?;
        let in_store = self.in_store.as_deref().unwrap_or(&self.source);
        let stored = SourceFile::open(in_store, shop.run.meter)?;
        let making = self.making(Target::File(step), &source, shop)?;
        if stored.len() != self.length {
            // There was no room for its parent's path, and the store's copy grew: the pack's, of
            // which this is to be a copy, cannot be made of it.
            return self.copy(source, &[making], shop).map(drop);
        }
        let mut patch = self.as_packed(&stored)?;
        patch.then(making.patch.clone());
        let temp = TempFile::clone_of(&stored, &making.path, shop.run.meter)?;
        let no_clone = || UnpackError::NoClone {
            path: in_store.to_owned(),
        };
        let mut file = temp.ok_or_else(no_clone)?;
        file.apply(&patch)?;
        shop.finisher.take(Whole {
            step,
            file,
            cloned: true,
            written: patch.is_empty().then_some(self.digest),
            length: making.length(self.length),
        })
    }

    /// Returns the change that takes back what naming the parent changed in the store's copy.
    fn as_packed(&self, stored: &SourceFile) -> Result<Patch, UnpackError> {
        let Some(parent) = self.parent_file else {
            return Ok(Patch::default());
        };
        // Store form depends on nothing that naming a parent changes.
        formats::store_form(stored, parent).map_err(|error| self.format(error))
    }
}

/// A file under way.
struct Temp {
    file: TempFile,
    /// Whether its bytes came by block clone.
    cloned: bool,
}

impl Temp {
    fn beside(path: &Path, source: &SourceFile, shop: &Workshop<'_>) -> Result<Self, UnpackError> {
        let meter = shop.run.meter;
        let folder = path.parent().unwrap_or(path);
        let one_volume = fs::stamp(folder)?.key.volume == source.opened().key.volume;
        if one_volume && let Some(file) = TempFile::clone_of(source, path, meter)? {
            return Ok(Self { file, cloned: true });
        }
        Ok(Self {
            file: TempFile::create(path, meter)?,
            cloned: false,
        })
    }
}

impl<'a> Target<'a> {
    fn residue(self) -> Patch {
        match self {
            Self::File(FileStep {
                source: FileSource::Store(made),
                ..
            }) => made.residue.patch(),
            Self::File(_) | Self::RefDisk(_) => Patch::default(),
        }
    }

    fn parent(self) -> Option<&'a ParentPaths> {
        match self {
            Self::File(step) => step.parent.as_deref(),
            Self::RefDisk(step) => step.parent.as_ref(),
        }
    }
}

impl<'a> Making<'a> {
    /// The digest of what is made of a source with this one, where that is known without reading:
    /// unless its locators are written.
    fn known(&self, source: ContentId) -> Option<ContentId> {
        let packed = match self.target {
            Target::File(step) => step.packed,
            Target::RefDisk(_) => source,
        };
        (self.patch == self.residue).then_some(packed)
    }

    fn length(&self, source: u64) -> u64 {
        self.patch.len_after(source)
    }

    fn finish(
        &self,
        Temp { file, cloned }: Temp,
        written: Option<ContentId>,
        source_len: u64,
        shop: &Workshop<'a>,
    ) -> Result<(), UnpackError> {
        match self.target {
            Target::File(step) => shop.finisher.take(Whole {
                step,
                file,
                cloned,
                written,
                length: self.length(source_len),
            }),
            Target::RefDisk(step) => finish_ref_disk(step, file, shop),
        }
    }
}

fn finish_ref_disk(
    step: &RefDiskStep,
    temp: TempFile,
    shop: &Workshop<'_>,
) -> Result<(), UnpackError> {
    let Some(disk) = shop.manifest.ref_disk(&step.id) else {
        return Ok(());
    };
    let how = Finish {
        modified: disk.modified,
        attributes: Attributes {
            read_only: true,
            ..Attributes::default()
        },
        existing: Existing::Refuse,
    };
    settle_ref_disk(step, temp.finish(&how).map_err(Into::into), shop)
}

/// Takes down that a RefDisk has come into the store.
fn settle_ref_disk(
    step: &RefDiskStep,
    come: Result<Stamp, UnpackError>,
    shop: &Workshop<'_>,
) -> Result<(), UnpackError> {
    let stamp = match (come, shop.shelf) {
        // Another lab, unpacked at the same time, may have brought the same.
        (Err(UnpackError::Fs(FsError::Exists { path })), Some(shelf)) => shelf
            .has_come(shop.manifest, step, shop.run)?
            .ok_or(UnpackError::Fs(FsError::Exists { path }))?,
        (come, _) => come?,
    };
    let Some(shelf) = shop.shelf else {
        return Ok(());
    };
    shelf.register(shop.manifest, step, Some(&stamp), shop.run)
}
