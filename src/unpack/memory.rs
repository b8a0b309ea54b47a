//! What labpack remembers of what it wrote: the receipt, and the log of a run under way.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::{self, BufRead},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::UnpackError;
use crate::{
    base::{ContentId, FileTime, RelPath},
    formats::ParentPaths,
    fs::{self, Entry, FsError, LineLog},
    manifest::Manifest,
    plan::{FileRecord, FileRecords, Link, LinkRecord, Receipt},
    store::{PARTIAL_NAME as PARTIAL, RECEIPT_NAME},
};

/// The receipt that stands in a destination.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// What it says, as [`Receipt::gist`].
    gist: ContentId,
    /// BLAKE3 of its bytes.
    digest: ContentId,
}

impl Standing {
    /// Tells whether it still stands in `dest`, and says what `receipt` would.
    pub(super) fn says(&self, receipt: &Receipt, dest: &Path) -> bool {
        let found = || fs::bounded_digest(&dest.join(RECEIPT_NAME), Receipt::MAX_BYTES);
        // What cannot be read any more is not what was read.
        self.gist == receipt.gist() && found().is_ok_and(|found| found == Some(self.digest))
    }
}

/// Reads the receipt of the lab that was unpacked into `dest`, with BLAKE3 of its bytes; `None`
/// where there is none.
///
/// # Errors
/// Where it is there and cannot be read.
pub(super) fn receipt_of(dest: &Path) -> Result<Option<(Receipt, ContentId)>, UnpackError> {
    let path = dest.join(RECEIPT_NAME);
    if fs::look(&path)? == Entry::Missing {
        return Ok(None);
    }
    let bytes = fs::read_bounded(&path, Receipt::MAX_BYTES)?;
    let digest = blake3::hash(&bytes).into();
    let read = Receipt::read(bytes);
    read.map(|receipt| Some((receipt, digest)))
        .map_err(|source| UnpackError::Receipt { path, source })
}

/// Writes the receipt.
pub(super) fn write_receipt(receipt: &Receipt, dest: &Path) -> Result<(), UnpackError> {
    let path = dest.join(RECEIPT_NAME);
    Ok(fs::write_atomic_with(&path, |out| receipt.write(out))?)
}

/// A file that is about to get its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    pub(super) path: RelPath,
    pub(super) packed: ContentId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) written: Option<ContentId>,
    pub(super) length: u64,
    pub(super) modified: FileTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<Box<ParentPaths>>,
}

/// A line of the log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    /// A run began.
    Run(Link),
    /// A file is about to get its name.
    Intent(Intent),
    /// It has its name.
    File(FileRecord),
    /// A link was made.
    Link(LinkRecord),
}

impl Line {
    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("every value has a JSON form")
    }
}

/// What is remembered of earlier runs.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) link: Option<Link>,
    pub(super) store: Option<PathBuf>,
    pub(super) files: FileRecords,
    pub(super) links: BTreeMap<RelPath, LinkRecord>,
    pub(super) intents: HashMap<RelPath, Intent>,
    /// Absent where none stands.
    pub(super) receipt: Option<Standing>,
    /// Whether a run was interrupted.
    pub(super) interrupted: bool,
}

impl Memory {
    pub(super) fn read(dest: &Path) -> Result<Self, UnpackError> {
        let mut memory = Self::default();
        if let Some((receipt, digest)) = receipt_of(dest)? {
            let gist = receipt.gist();
            memory.receipt = Some(Standing { gist, digest });
            memory.link = Some(receipt.link);
            memory.store = receipt.store.map(Into::into);
            memory.files = receipt.files;
            memory.links.extend(
                receipt
                    .links
                    .into_iter()
                    .map(|link| (link.path.clone(), link)),
            );
        }
        let partial = dest.join(PARTIAL);
        if fs::look(&partial)? != Entry::Missing {
            memory.interrupted = true;
            let log = fs::open_bounded(&partial, Receipt::MAX_BYTES)?;
            memory
                .take_all(log)
                .map_err(|error| FsError::from_io("read", &partial, error))?;
        }
        Ok(memory)
    }

    /// Lets what is remembered share the paths of the manifest.
    pub(super) fn share_paths(&mut self, manifest: &Manifest) {
        let paths: HashSet<_> = manifest.files().map(|file| &file.path).collect();
        self.files.share(|path| paths.get(path).copied());
    }

    fn take_all(&mut self, log: impl BufRead) -> io::Result<()> {
        for line in log.split(b'\n') {
            self.take(&line?);
        }
        Ok(())
    }

    /// Takes in a line; one that a crash tore tells nothing.
    fn take(&mut self, line: &[u8]) {
        match serde_json::from_slice(line) {
            Ok(Line::Run(link)) => self.link = Some(link),
            Ok(Line::Intent(intent)) => drop(self.intents.insert(intent.path.clone(), intent)),
            Ok(Line::File(file)) => self.wrote(file),
            Ok(Line::Link(link)) => self.linked(link),
            Err(_) => {}
        }
    }

    pub(super) fn wrote(&mut self, file: FileRecord) {
        self.intents.remove(&file.path);
        self.links.remove(&file.path);
        self.files.insert(file);
    }

    pub(super) fn wrote_all(&mut self, files: FileRecords) {
        if !self.links.is_empty() {
            files.paths().for_each(|path| drop(self.links.remove(path)));
        }
        self.files.append(files);
    }

    pub(super) fn linked(&mut self, link: LinkRecord) {
        self.intents.remove(&link.path);
        self.files.remove(&link.path);
        self.links.insert(link.path.clone(), link);
    }
}

/// Reads the log of a run and returns how many files, links and intents it tells of: the door by
/// which a fuzzer reaches this reader.
#[doc(hidden)]
#[must_use]
pub fn read_log(log: &[u8]) -> [usize; 3] {
    let mut memory = Memory::default();
    memory.take_all(log).expect("bytes in memory are read");
    [memory.files.len(), memory.links.len(), memory.intents.len()]
}

/// The log of this run.
#[derive(Debug)]
pub(super) struct RunLog {
    log: LineLog,
    path: PathBuf,
}

impl RunLog {
    pub(super) fn begin(dest: &Path, link: Link) -> Result<Self, UnpackError> {
        let path = dest.join(PARTIAL);
        let log = LineLog::open(&path)?;
        let run = Self { log, path };
        run.log.append(&Line::Run(link).to_bytes())?;
        Ok(run)
    }

    /// To be called before files get their names: without this, nobody would know after a power
    /// cut that labpack wrote them.
    pub(super) fn intend(&self, files: impl Iterator<Item = Intent>) -> Result<(), UnpackError> {
        for intent in files {
            let line = Line::Intent(intent).to_bytes();
            self.log.append_unflushed(&line)?;
        }
        Ok(self.log.flush()?)
    }

    /// Should a power cut take this, what was intended tells of the file, at the price of reading
    /// it again.
    pub(super) fn wrote(&self, file: &FileRecord) -> Result<(), UnpackError> {
        Ok(self
            .log
            .append_unflushed(&Line::File(file.clone()).to_bytes())?)
    }

    /// Takes down links.
    pub(super) fn linked<'a>(
        &self,
        links: impl Iterator<Item = &'a LinkRecord>,
    ) -> Result<(), UnpackError> {
        let mut links = links.peekable();
        if links.peek().is_none() {
            return Ok(());
        }
        for link in links {
            let line = Line::Link(link.clone()).to_bytes();
            self.log.append_unflushed(&line)?;
        }
        Ok(self.log.flush()?)
    }

    /// Removes the log, once the receipt says it all.
    pub(super) fn close(self) -> Result<(), UnpackError> {
        let Self { log, path } = self;
        drop(log);
        Ok(fs::remove_file(&path)?)
    }
}
