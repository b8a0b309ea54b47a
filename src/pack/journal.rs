//! `labpack.journal`: what is being done, until it is done.
//!
//! Written whole before the first change and removed after the last. Every step of it can be
//! taken twice, so that an interrupted run is finished by doing all of it again. A journal found
//! in a folder is a stranger's word: it is held against what a pack would do before it is followed.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    io,
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{PackError, earlier::Stock, layout::JOURNAL};
use crate::{
    base::{FileTime, RelPath},
    fs::{self, Entry},
    manifest::{self, Document, Manifest, PackedFile, Place, RefDisk, StorePlace},
    plan::{PackPlan, RememberedFiles, StoredWrite},
};

/// The longest journal that is read. The manifest is in it.
const MAX_BYTES: u64 = 3 * Manifest::MAX_BYTES;

const DOCUMENT: Document = Document {
    format: "labpack-journal",
    newest: 1,
    max_bytes: MAX_BYTES,
};

#[derive(Deserialize)]
struct Journal {
    deed: Deed,
}

/// What is being done.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Deed {
    /// A pack is being made.
    Pack(Box<Work>),
    /// A pack is being undone.
    Restore {
        /// When the export's folder was modified before it became a pack.
        root: Option<FileTime>,
    },
}

/// A [`Journal`] as it is written: a pack is large, and is not copied for it.
#[derive(Serialize)]
struct JournalOf<'a> {
    format: &'static str,
    version: u32,
    deed: DeedOf<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum DeedOf<'a> {
    Pack(&'a Work),
    Restore { root: Option<FileTime> },
}

/// A pack that is being made.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Work {
    /// Where its files come from.
    pub(super) mode: Mode,
    /// What is done.
    pub(super) plan: PackPlan,
    /// What the next run may go by.
    pub(super) memory: RememberedFiles,
    /// When the export's folder was modified, in place.
    pub(super) root: Option<FileTime>,
    /// Copies that wait in the staging folder.
    pub(super) waiting: Vec<Waiting>,
    /// Files of the last pack that this one has no more.
    pub(super) obsolete: Vec<RelPath>,
    /// Folders of the last pack that this one has no more; they go if they are empty.
    pub(super) obsolete_folders: Vec<RelPath>,
    /// RefDisks of the last pack that this one has no more.
    pub(super) unused: Vec<RefDisk>,
}

/// Where the files of a pack come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mode {
    /// They are there.
    InPlace,
    /// They are copied.
    Output,
}

/// A copy that waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Waiting {
    /// The path of the file in the pack.
    pub(super) path: RelPath,
    /// In which of the two folders it waits.
    pub(super) for_store: bool,
}

/// Reads the journal in `pack`; `None` where there is none.
pub(super) fn read(pack: &Path) -> Result<Option<Deed>, PackError> {
    let path = pack.join(JOURNAL);
    if fs::look(&path)? == Entry::Missing {
        return Ok(None);
    }
    let bytes = fs::read_bounded(&path, MAX_BYTES)?;
    parse(bytes, &path).map(Some)
}

/// Reads a journal from its bytes; `path` is for errors.
fn parse<'a>(bytes: impl Into<Cow<'a, [u8]>>, path: &Path) -> Result<Deed, PackError> {
    let journal: Journal = DOCUMENT.read(bytes).map_err(PackError::document(path))?;
    if let Deed::Pack(work) = &journal.deed {
        check_work(work, path)?;
    }
    Ok(journal.deed)
}

/// Reads a journal and returns the bytes in which it would be written: the door by which a fuzzer
/// reaches this reader.
///
/// # Errors
/// As a pack that finds the journal.
#[doc(hidden)]
pub fn reread_journal(bytes: &[u8]) -> Result<Vec<u8>, PackError> {
    let deed = parse(bytes, Path::new(JOURNAL))?;
    let mut bytes = Vec::new();
    let deed = match &deed {
        Deed::Pack(work) => DeedOf::Pack(work),
        Deed::Restore { root } => DeedOf::Restore { root: *root },
    };
    let written = write_to(deed, &mut bytes);
    written.map_err(|source| PackError::Journal {
        path: JOURNAL.into(),
        why: source.to_string(),
    })?;
    Ok(bytes)
}

fn check_work(work: &Work, path: &Path) -> Result<(), PackError> {
    manifest::check(&work.plan.manifest).map_err(PackError::document(path))?;
    check(work).map_err(|why| PackError::Journal {
        path: path.to_owned(),
        why,
    })
}

/// Writes the journal of a pack, unless it could not be read again: then nobody could go on from
/// it.
pub(super) fn write_pack(pack: &Path, work: &Work) -> Result<(), PackError> {
    let path = pack.join(JOURNAL);
    check_work(work, &path)?;
    let fill = |out: &mut dyn io::Write| write_to(DeedOf::Pack(work), out);
    Ok(fs::write_atomic_with(&path, fill)?)
}

/// Writes the journal of a restore.
pub(super) fn write_restore(pack: &Path, root: Option<FileTime>) -> Result<(), PackError> {
    let fill = |out: &mut dyn io::Write| write_to(DeedOf::Restore { root }, out);
    Ok(fs::write_atomic_with(&pack.join(JOURNAL), fill)?)
}

fn write_to(deed: DeedOf<'_>, out: &mut dyn io::Write) -> io::Result<()> {
    let journal = JournalOf {
        format: DOCUMENT.format,
        version: DOCUMENT.newest,
        deed,
    };
    DOCUMENT.write(&journal, out)
}

/// Removes the journal.
pub(super) fn close(pack: &Path) -> Result<(), PackError> {
    fs::remove_file(&pack.join(JOURNAL))?;
    Ok(fs::sync_folder(pack)?)
}

impl Work {
    /// Checks that the store named now is the one that the work began with.
    pub(super) fn check_stock(&self, pack: &Path, stock: &Stock) -> Result<(), PackError> {
        if self.plan.manifest.store == stock.place {
            return Ok(());
        }
        let why = match self.plan.manifest.store {
            StorePlace::Own => "the interrupted run used the pack's own store: leave out --store",
            StorePlace::Shared => {
                "the interrupted run used a store that other labs share: name it with --store"
            }
        };
        let path = pack.join(JOURNAL);
        Err(PackError::Journal {
            path,
            why: why.to_owned(),
        })
    }
}

/// Checks that the steps are those of a pack with that manifest: whatever is moved or removed is
/// a file of it that has its place in the store.
fn check(work: &Work) -> Result<(), String> {
    let manifest = &work.plan.manifest;
    let files: HashMap<&RelPath, &PackedFile> =
        manifest.files().map(|file| (&file.path, file)).collect();
    let stored_as = |path| Some(files.get(path)?.place.in_store()?.ref_disk);
    for entry in &work.plan.entries {
        let disk = manifest.ref_disk(&entry.id);
        let named = disk.is_some_and(|disk| disk.file == entry.file);
        if !named || stored_as(&entry.from) != Some(entry.id) {
            return Err(format!(
                "its manifest does not put `{}` into the store",
                entry.from
            ));
        }
        if StoredWrite::patch(&entry.patch).is_none() {
            return Err(format!(
                "what is to be written into `{}` cannot be",
                entry.file
            ));
        }
    }
    for removal in &work.plan.removals {
        if stored_as(&removal.path) != Some(removal.ref_disk) {
            return Err(format!(
                "its manifest does not put `{}` into the store",
                removal.path
            ));
        }
    }
    check_obsolete(work, &files)
}

fn check_obsolete(work: &Work, files: &HashMap<&RelPath, &PackedFile>) -> Result<(), String> {
    let in_place = work.mode == Mode::InPlace;
    let named = |path: &RelPath| {
        files
            .get(path)
            .is_some_and(|file| file.place == Place::Pack)
    };
    let own = |path: &RelPath| super::layout::is_own(path.top());
    if let Some(path) = work
        .obsolete
        .iter()
        .find(|path| in_place || named(path) || own(path))
    {
        return Err(format!("`{path}` is not to be removed"));
    }
    let kept: HashSet<_> = work
        .plan
        .manifest
        .ref_disks
        .iter()
        .map(|disk| &disk.file)
        .collect();
    let plain = |disk: &RefDisk| {
        let name = RelPath::new(disk.file.as_str());
        name.is_ok_and(|name| name.folder().is_none()) && disk.file.contains(&disk.id.short())
    };
    match work
        .unused
        .iter()
        .find(|disk| kept.contains(&disk.file) || !plain(disk))
    {
        Some(disk) => Err(format!("RefDisk `{}` is not to be removed", disk.file)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{Attributes, ContentId, DiskId},
        fs::FileKey,
        manifest::{Role, Totals, Unknown},
        plan::{Remembered, Seen},
    };

    fn file(number: usize) -> PackedFile {
        PackedFile {
            path: RelPath::new(format!("a folder/{number:06}.log")).unwrap(),
            length: 1,
            modified: FileTime(5),
            attributes: Attributes {
                read_only: true,
                hidden: true,
                system: true,
                archive: true,
            },
            digest: ContentId::from(blake3::hash(b"7")),
            role: Role::File,
            disk: None,
            place: Place::Pack,
            unknown: Unknown::new(),
        }
    }

    fn remembered() -> Remembered {
        let seen = Seen {
            key: FileKey { volume: 1, file: 2 },
            length: 1,
            modified: FileTime(5),
            disk: Some(DiskId::from_vhdx([3; 16])),
        };
        Remembered {
            seen,
            content: ContentId::from(blake3::hash(b"7")),
            canonical: None,
            store_form: None,
            copy: None,
        }
    }

    /// A pack of so many files, of each of which all is known that can be.
    fn work(count: usize) -> Work {
        let files: Vec<PackedFile> = (0..count).map(file).collect();
        let path = |file: &PackedFile| file.path.clone();
        let memory = files.iter().map(|file| (path(file), remembered()));
        let waiting = files.iter().map(|file| Waiting {
            path: path(file),
            for_store: false,
        });
        let mut work = Work {
            mode: Mode::Output,
            memory: memory.collect(),
            root: None,
            waiting: waiting.collect(),
            obsolete: Vec::new(),
            obsolete_folders: Vec::new(),
            unused: Vec::new(),
            plan: PackPlan {
                manifest: Manifest {
                    format: Manifest::FORMAT.to_owned(),
                    version: Manifest::VERSION,
                    tool: "labpack".to_owned(),
                    created: manifest::now(),
                    store: StorePlace::Own,
                    totals: Totals::default(),
                    vms: Vec::new(),
                    other_files: files,
                    folders: Vec::new(),
                    ref_disks: Vec::new(),
                    unknown: Unknown::new(),
                },
                entries: Vec::new(),
                removals: Vec::new(),
                savings: Vec::new(),
            },
        };
        work.plan.manifest.totals = work.plan.manifest.count().unwrap();
        work
    }

    #[test]
    fn a_journal_of_as_many_files_as_a_lab_may_have_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        write_pack(folder.path(), &work(Manifest::MOST_FILES)).unwrap();
        let Some(Deed::Pack(read)) = read(folder.path()).unwrap() else {
            panic!("there is no pack in the journal");
        };
        assert_eq!(read.plan.manifest.other_files.len(), Manifest::MOST_FILES);
        assert_eq!(read.memory.iter().len(), Manifest::MOST_FILES);
    }

    #[test]
    fn a_journal_that_could_not_be_read_again_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut work = work(10);
        let mut deep = serde_json::Value::Null;
        for _ in 0..120 {
            deep = serde_json::Value::from(vec![deep]);
        }
        work.plan.manifest.unknown.insert("deep".to_owned(), deep);
        let error = write_pack(folder.path(), &work).unwrap_err();
        let causes = std::iter::successors(std::error::Error::source(&error), |e| e.source());
        let told: Vec<String> = causes.map(ToString::to_string).collect();
        assert!(told.iter().any(|why| why.contains("deep")), "{told:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
