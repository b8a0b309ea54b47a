//! What stands at the destination, and what is done about it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{FileAction, FileStep, LinkAction, LinkKind, LinkStep, UnpackPlan};
use crate::{
    base::{ContentId, RelPath},
    formats::ParentPaths,
    fs::FileKey,
    plan::Seen,
    report::{Code, Finding, Findings},
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
    pub parent: Option<ParentPaths>,
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

impl UnpackPlan {
    /// Decides what is done about each file and link, from what stands at its path; a path that
    /// is not in `standing` is free. `reset` writes files again that were used since.
    pub fn meet(&mut self, standing: &HashMap<RelPath, Standing>, reset: bool) {
        let nothing = Standing::Nothing;
        let mut findings = Findings::default();
        for step in &mut self.files {
            let found = standing.get(&step.path).unwrap_or(&nothing);
            step.action = file_action(step, found, reset, &mut findings);
        }
        for step in &mut self.links {
            let found = standing.get(&step.path).unwrap_or(&nothing);
            step.action = link_action(step, found, reset, &mut findings);
        }
        self.findings.extend(findings.0);
    }
}

fn file_action(
    step: &FileStep,
    found: &Standing,
    reset: bool,
    findings: &mut Findings,
) -> FileAction {
    match found {
        Standing::Nothing => FileAction::Write,
        Standing::Unchanged(record) if is_same(step, record) => FileAction::Keep,
        Standing::Unchanged(_) | Standing::Linked { .. } => FileAction::Replace,
        Standing::Used if reset => FileAction::Reset,
        Standing::Used => {
            findings.push(used(&step.path));
            FileAction::LeaveUsed
        }
        Standing::Foreign(what) => {
            findings.push(foreign(&step.path, what));
            FileAction::LeaveUsed
        }
    }
}

fn is_same(step: &FileStep, record: &FileRecord) -> bool {
    record.packed == step.packed && record.parent == step.parent
}

fn link_action(
    step: &LinkStep,
    found: &Standing,
    reset: bool,
    findings: &mut Findings,
) -> LinkAction {
    match found {
        Standing::Nothing => LinkAction::Make,
        Standing::Linked {
            record,
            right: true,
        } if record.kind == step.kind && record.ref_disk == step.ref_disk => LinkAction::Keep,
        Standing::Linked { .. } | Standing::Unchanged(_) => LinkAction::Replace,
        Standing::Used if reset => LinkAction::Replace,
        Standing::Used => {
            findings.push(used(&step.path));
            LinkAction::LeaveUsed
        }
        Standing::Foreign(what) => {
            findings.push(foreign(&step.path, what));
            LinkAction::LeaveUsed
        }
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
