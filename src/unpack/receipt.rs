//! What labpack remembers of what it wrote: the receipt, and the log of a run under way.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::UnpackError;
use crate::{
    base::{ContentId, FileTime, RelPath},
    formats::ParentPaths,
    fs::{self, Entry, LineLog},
    manifest::{Document, now},
    plan::{FileRecord, Link, LinkRecord},
    store::RECEIPT_NAME,
};

/// The log of a run under way; the next run goes on from it.
const PARTIAL: &str = "labpack-unpacked.partial";
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// What an unpack left: `labpack-unpacked.json` at the top of the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Always `labpack-receipt`.
    pub format: String,
    /// The version of the format: 1.
    pub version: u32,
    /// Who wrote it.
    pub tool: String,
    /// When, in UTC.
    pub created: String,
    /// The pack, as an absolute path of this system.
    pub pack: String,
    /// The store: from the destination if it is in it, else as an absolute path of this system;
    /// absent where no disk is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// How VMs come to their shared parents.
    pub link: Link,
    /// The RefDisks that are in use.
    pub ref_disks: Vec<ContentId>,
    /// The files that were written, by path.
    pub files: Vec<FileRecord>,
    /// The links that were made, by path.
    pub links: Vec<LinkRecord>,
}

impl Receipt {
    /// What `format` says.
    pub const FORMAT: &'static str = "labpack-receipt";
    /// The newest version that is read, and the one written. 1: the first.
    pub const VERSION: u32 = 1;
    const DOCUMENT: Document = Document {
        format: Self::FORMAT,
        newest: Self::VERSION,
        max_bytes: MAX_BYTES,
    };

    /// Reads the receipt of the lab that was unpacked into `dest`; `None` where there is none.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub fn read(dest: &Path) -> Result<Option<Self>, UnpackError> {
        let path = dest.join(RECEIPT_NAME);
        if fs::look(&path)? == Entry::Missing {
            return Ok(None);
        }
        let bytes = fs::read_bounded(&path, MAX_BYTES)?;
        let read = Self::DOCUMENT.read(&bytes);
        read.map(Some)
            .map_err(|source| UnpackError::Receipt { path, source })
    }

    pub(super) fn new(pack: &Path, store: Option<&Path>, link: Link) -> Self {
        Self {
            format: Self::FORMAT.to_owned(),
            version: Self::VERSION,
            tool: concat!("labpack ", env!("CARGO_PKG_VERSION")).to_owned(),
            created: now(),
            pack: pack.display().to_string(),
            store: store.map(|store| store.display().to_string()),
            link,
            ref_disks: Vec::new(),
            files: Vec::new(),
            links: Vec::new(),
        }
    }

    /// Writes the receipt, unless the one that stands says the same.
    pub(super) fn write(&self, dest: &Path) -> Result<(), UnpackError> {
        let same = |old: Self| {
            Self {
                created: self.created.clone(),
                ..old
            } == *self
        };
        if Self::read(dest)?.is_some_and(same) {
            return Ok(());
        }
        let mut bytes = serde_json::to_vec_pretty(self)
            .expect("every key is a string, every value has a JSON form");
        bytes.push(b'\n');
        Ok(fs::write_atomic(&dest.join(RECEIPT_NAME), &bytes)?)
    }
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
    pub(super) parent: Option<ParentPaths>,
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

/// What is remembered of earlier runs.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) link: Option<Link>,
    pub(super) store: Option<PathBuf>,
    pub(super) files: BTreeMap<RelPath, FileRecord>,
    pub(super) links: BTreeMap<RelPath, LinkRecord>,
    pub(super) intents: HashMap<RelPath, Intent>,
    /// Whether a receipt stands.
    pub(super) finished: bool,
    /// Whether a run was interrupted.
    pub(super) interrupted: bool,
}

impl Memory {
    pub(super) fn read(dest: &Path) -> Result<Self, UnpackError> {
        let mut memory = Self::default();
        if let Some(receipt) = Receipt::read(dest)? {
            memory.finished = true;
            memory.link = Some(receipt.link);
            memory.store = receipt.store.map(|store| dest.join(store));
            memory.files.extend(
                receipt
                    .files
                    .into_iter()
                    .map(|file| (file.path.clone(), file)),
            );
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
            let bytes = fs::read_bounded(&partial, MAX_BYTES)?;
            bytes
                .split(|&byte| byte == b'\n')
                .for_each(|line| memory.take(line));
        }
        Ok(memory)
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
        self.files.insert(file.path.clone(), file);
    }

    pub(super) fn linked(&mut self, link: LinkRecord) {
        self.intents.remove(&link.path);
        self.files.remove(&link.path);
        self.links.insert(link.path.clone(), link);
    }
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
        run.put(&Line::Run(link))?;
        Ok(run)
    }

    fn put(&self, line: &Line) -> Result<(), UnpackError> {
        let bytes = serde_json::to_vec(line).expect("every value has a JSON form");
        Ok(self.log.append(&bytes)?)
    }

    /// To be called before the file gets its name.
    pub(super) fn intend(&self, intent: Intent) -> Result<(), UnpackError> {
        self.put(&Line::Intent(intent))
    }

    pub(super) fn wrote(&self, file: &FileRecord) -> Result<(), UnpackError> {
        self.put(&Line::File(file.clone()))
    }

    pub(super) fn linked(&self, link: &LinkRecord) -> Result<(), UnpackError> {
        self.put(&Line::Link(link.clone()))
    }

    /// Removes the log, once the receipt says it all.
    pub(super) fn close(self) -> Result<(), UnpackError> {
        let Self { log, path } = self;
        drop(log);
        Ok(fs::remove_file(&path)?)
    }
}
