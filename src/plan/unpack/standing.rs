//! What stands at the destination, and what is done about it.

use serde::{Deserialize, Serialize};

use super::{FileAction, FileStep, LinkAction, LinkKind, LinkStep};
use crate::{
    base::{ContentId, RelPath},
    formats::ParentPaths,
    fs::FileKey,
    plan::Seen,
    report::{Code, Finding},
};

/// What is remembered of a file that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Where.
    pub path: RelPath,
    /// The digest it was packed with.
    pub packed: ContentId,
    /// The digest of what was written; absent for a block clone that was changed afterwards, which
    /// nobody has read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<ContentId>,
    /// What it looked like.
    pub seen: Seen,
    /// How it names its parent, where its locators were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Box<ParentPaths>>,
}

/// What is remembered of a link that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRecord {
    /// Where.
    pub path: RelPath,
    /// What kind of link.
    pub kind: LinkKind,
    /// The RefDisk it leads to; absent for a junction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ref_disk: Option<ContentId>,
    /// Where a symbolic link or junction leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Which file a hard link is a name of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<FileKey>,
}

/// What stands at a path of the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Nothing,
    /// A file that labpack wrote, unchanged since.
    Unchanged(FileRecord),
    /// A file that labpack wrote, and somebody has changed.
    Used,
    /// A link that labpack made.
    Linked {
        /// What is remembered of it.
        record: LinkRecord,
        /// Whether it leads to where it is to lead now.
        right: bool,
    },
    /// Something that labpack did not put there: what it is.
    Foreign(&'static str),
}

impl FileStep {
    /// Decides what is done about the file, from what stands at its path. `reset` writes one
    /// again that was used since. Returns what is to be said of it.
    pub fn meet(&mut self, found: &Standing, reset: bool) -> Option<Finding> {
        self.action = match found {
            Standing::Nothing => FileAction::Write,
            Standing::Unchanged(record) if self.is_in(record) => FileAction::Keep,
            Standing::Unchanged(_) | Standing::Linked { .. } => FileAction::Replace,
            Standing::Used if reset => FileAction::Reset,
            Standing::Used | Standing::Foreign(_) => FileAction::LeaveUsed,
        };
        (self.action == FileAction::LeaveUsed).then(|| left(&self.path, found))
    }

    fn is_in(&self, record: &FileRecord) -> bool {
        record.packed == self.packed && record.parent == self.parent
    }
}

impl LinkStep {
    /// Decides what is done about the link, from what stands at its path. `reset` makes one again
    /// whose place was used since. Returns what is to be said of it.
    pub fn meet(&mut self, found: &Standing, reset: bool) -> Option<Finding> {
        self.action = match found {
            Standing::Nothing => LinkAction::Make,
            Standing::Linked {
                record,
                right: true,
            } if record.kind == self.kind && record.ref_disk == self.ref_disk => LinkAction::Keep,
            Standing::Linked { .. } | Standing::Unchanged(_) => LinkAction::Replace,
            Standing::Used if reset => LinkAction::Replace,
            Standing::Used | Standing::Foreign(_) => LinkAction::LeaveUsed,
        };
        (self.action == LinkAction::LeaveUsed).then(|| left(&self.path, found))
    }
}

/// Says why what stands at `path` is left alone.
fn left(path: &RelPath, found: &Standing) -> Finding {
    match found {
        Standing::Foreign(what) => foreign(path, what),
        _ => used(path),
    }
}

fn used(path: &RelPath) -> Finding {
    let message = "has been changed since it was unpacked, and was left alone";
    Finding::warning(Code::UsedSince, path, message)
        .next("run again with --reset to put it back to how it was packed")
}

fn foreign(path: &RelPath, what: &str) -> Finding {
    let message = format!("{what} stands there that labpack did not write");
    Finding::error(Code::NameInUse, path, message)
        .next("move it away, or unpack into another folder")
}
