//! `labpack.seen.json`: what the last run knew of files.

use std::path::Path;

use crate::{
    base::{CanonicalId, ContentId, FileTime, RelPath},
    fs::{self, FsError},
    plan::{Lab, Remembered, RememberedForm, Seen, SeenFiles},
};

/// What the last run knew of the files of a lab, by file. There may be very many: no more is kept
/// of each than another run asks for.
#[derive(Debug, Default)]
pub(super) struct Memory(Vec<Option<Recalled>>);

/// What the last run knew of a file.
#[derive(Debug, Clone)]
pub(super) struct Recalled {
    /// BLAKE3 of its bytes.
    pub(super) content: ContentId,
    /// Digest without what a relocation may touch, where it was asked for.
    pub(super) canonical: Option<Box<CanonicalId>>,
    /// Its store form, where it was asked for.
    pub(super) store_form: Option<Box<RememberedForm>>,
    /// What its copy in the pack looked like.
    copy: Option<Box<Seen>>,
    /// It looks as it did.
    is_same: bool,
}

impl Memory {
    /// Reads what the last run knew of the files of a lab; nothing where that cannot be read.
    pub(super) fn recall(pack: &Path, lab: &Lab) -> Self {
        let mut files = vec![None; lab.files.len()];
        let read = read(pack, |path, known| {
            if let Some(at) = lab.find(&path) {
                let is_same = lab.files[at].seen() == Some(known.seen);
                files[at] = Some(Recalled::of(known, is_same));
            }
        });
        match read {
            Some(_) => Self(files),
            None => Self::default(),
        }
    }

    /// Returns what is known of a file that looks as it did.
    pub(super) fn of_same(&self, at: usize) -> Option<&Recalled> {
        self.get(at).filter(|known| known.is_same)
    }

    /// Returns what the copy of a file in the pack looked like, if it was of these bytes.
    pub(super) fn copy_of(&self, at: usize, content: ContentId) -> Option<&Seen> {
        let known = self.get(at).filter(|known| known.content == content)?;
        known.copy.as_deref()
    }

    fn get(&self, at: usize) -> Option<&Recalled> {
        self.0.get(at)?.as_ref()
    }
}

impl Recalled {
    /// `is_same`: whether the file looks as it did.
    pub(super) fn of(known: Remembered, is_same: bool) -> Self {
        Self {
            content: known.content,
            canonical: known.canonical,
            store_form: known.store_form,
            copy: known.copy,
            is_same,
        }
    }
}

/// Reads when the folder of the export was modified before it became a pack.
pub(super) fn recall_root(pack: &Path) -> Option<FileTime> {
    read(pack, |_, _| ())?
}

fn read(pack: &Path, each: impl FnMut(RelPath, Remembered)) -> Option<Option<FileTime>> {
    let path = pack.join(SeenFiles::FILE_NAME);
    let file = fs::open_bounded(&path, SeenFiles::MAX_BYTES).ok()?;
    SeenFiles::read(file, each).ok()
}

/// Keeps what this run knows of files for the next one.
pub(super) fn remember<'a, I>(
    pack: &Path,
    files: impl Fn() -> I,
    root: Option<FileTime>,
) -> Result<(), FsError>
where
    I: Iterator<Item = (&'a RelPath, Remembered)>,
{
    fs::write_atomic_with(&pack.join(SeenFiles::FILE_NAME), |out| {
        SeenFiles::write(root, &files, out)
    })
}
