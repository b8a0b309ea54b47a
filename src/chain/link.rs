//! Which of the files that a child's hints lead to is its parent.

use super::{Disk, Lookup, NodeId, Surroundings};
use crate::{
    formats::{DiskFormat, DiskInfo, HintKind, ParentLink, PathHint},
    report::{Code, Finding, Severity, WindowsError},
};

/// What following a child's hints came to.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// The parent; where none is right, the first disk that a hint leads to.
    pub(super) parent: Option<NodeId>,
    /// Whether the parent is the one that the child was made on.
    pub(super) right: bool,
    /// What was found on the way.
    pub(super) findings: Vec<Finding>,
}

struct Tried<'a> {
    hint: &'a PathHint,
    lookup: Lookup,
}

/// Follows the hints of `child` in order. The one that leads to the right id counts, wherever
/// the others lead.
pub(super) fn link(around: &mut dyn Surroundings, child: NodeId) -> Link {
    let disk = around.disk(child).clone();
    let Some(info) = &disk.info else {
        return Link::default();
    };
    let Some(parent) = &info.parent else {
        return Link::default();
    };
    let look = |hint| Tried {
        hint,
        lookup: around.look(child, hint),
    };
    let tried: Vec<_> = parent.hints.iter().map(look).collect();
    let case = Case {
        around: &*around,
        disk: &disk,
        format: info.format,
        parent,
        tried: &tried,
    };
    match case.right() {
        Some(right) => Link {
            parent: Some(right),
            right: true,
            findings: case.stale(right).into_iter().collect(),
        },
        None => case.astray(),
    }
}

struct Case<'a> {
    around: &'a dyn Surroundings,
    disk: &'a Disk,
    format: DiskFormat,
    parent: &'a ParentLink,
    tried: &'a [Tried<'a>],
}

impl Case<'_> {
    fn disks(&self) -> impl Iterator<Item = NodeId> {
        self.tried.iter().filter_map(|tried| match tried.lookup {
            Lookup::Disk(node) => Some(node),
            _ => None,
        })
    }

    fn right(&self) -> Option<NodeId> {
        let accepted =
            |info: &DiskInfo| info.format == self.format && self.parent.accepts(info.own_id);
        self.disks()
            .find(|&node| self.around.disk(node).info.as_deref().is_some_and(accepted))
    }

    /// One finding for all the hints that lead elsewhere than to `right`.
    fn stale(&self, right: NodeId) -> Option<Finding> {
        let here = self.around.disk(right);
        let mut worst = None;
        let mut elsewhere = Vec::new();
        for tried in self.tried {
            if let Some(severity) = self.staleness(tried, here.identity) {
                worst = worst.max(Some(severity));
                elsewhere.push(self.describe(tried));
            }
        }
        let message = format!(
            "the parent is `{}`, yet the disk also names other places: {}",
            here.path,
            elsewhere.join("; ")
        );
        let finding = match worst? {
            Severity::Note => Finding::note(Code::StalePath, &self.disk.path, message),
            _ => Finding::warning(Code::StalePath, &self.disk.path, message),
        };
        Some(finding.next("Hyper-V corrects such a path when it opens the chain for writing"))
    }

    fn staleness(&self, tried: &Tried<'_>, right: usize) -> Option<Severity> {
        match &tried.lookup {
            Lookup::Disk(node) if self.around.disk(*node).identity == right => None,
            // A moved lab: the path may well be good there, and nobody has looked.
            Lookup::Outside => Some(Severity::Note),
            Lookup::NotHere => None,
            // Windows never looks for the bare name; it is right beside the child or of no use.
            Lookup::Missing(_) if tried.hint.kind == HintKind::Name => None,
            _ => Some(Severity::Warning),
        }
    }

    /// No hint leads to the right disk: says so, and keeps the first disk that there is.
    fn astray(&self) -> Link {
        let Some(first) = self.disks().next() else {
            return Link {
                findings: vec![self.nowhere()],
                ..Link::default()
            };
        };
        let candidate = self.around.disk(first);
        let finding = match candidate.info.as_deref() {
            // Its own findings say what is wrong; the child's chain is broken by it.
            None => None,
            Some(info) if info.format != self.format => Some(self.mixed(candidate, info)),
            Some(info) => Some(self.mismatch(candidate, info)),
        };
        Link {
            parent: Some(first),
            right: finding.is_none(),
            findings: finding.into_iter().collect(),
        }
    }

    fn mixed(&self, candidate: &Disk, info: &DiskInfo) -> Finding {
        let message = format!(
            "a {} cannot have a {} as parent, but its locators lead to `{}`",
            self.format, info.format, candidate.path
        );
        Finding::error(Code::MixedFormats, &self.disk.path, message)
            .windows(WindowsError::UNKNOWN_FORMAT)
            .next("export the VM again, or put back the parent in the format that it had")
    }

    fn mismatch(&self, candidate: &Disk, info: &DiskInfo) -> Finding {
        let message = format!(
            "names parent {}, but `{}` is {}",
            self.parent.id, candidate.path, info.own_id
        );
        Finding::error(Code::ParentIdMismatch, &self.disk.path, message)
            .windows(WindowsError::PARENT_ID_MISMATCH)
            .next("the parent was written to or exchanged after the child was made: put back the copy that the child was made on")
    }

    fn nowhere(&self) -> Finding {
        let of = |f: fn(&Lookup) -> bool| self.tried.iter().any(|tried| f(&tried.lookup));
        let told: Vec<_> = self
            .tried
            .iter()
            .map(|tried| self.describe(tried))
            .collect();
        let told = match told.as_slice() {
            [] => "the disk names no place for it".to_owned(),
            told => told.join("; "),
        };
        let missing = self.tried.iter().any(|tried| {
            matches!(tried.lookup, Lookup::Missing(_)) && tried.hint.kind != HintKind::Name
        });
        let path = &self.disk.path;
        if of(|lookup| matches!(lookup, Lookup::Ambiguous(_))) {
            let message = format!("cannot tell which file is the parent: {told}");
            return Finding::error(Code::AmbiguousName, path, message)
                .next("rename or remove the file that is not the parent");
        }
        if of(|lookup| matches!(lookup, Lookup::NotADisk(_))) {
            let message = format!("no parent found: {told}");
            return Finding::error(Code::MissingParent, path, message)
                .windows(WindowsError::NOT_A_VIRTUAL_DISK)
                .next("put back the parent disk, or export the VM again");
        }
        if !missing && of(|lookup| matches!(lookup, Lookup::Outside)) {
            let message = format!(
                "the parent lies outside of the folders that were named, and was not opened: {told}"
            );
            return Finding::error(Code::ParentOutside, path, message).next(
                "name the parent's folder as well; to take the parent along, pack with --output and --include-external",
            );
        }
        let message = format!("no parent found: {told}");
        Finding::error(Code::MissingParent, path, message)
            .windows(WindowsError::PARENT_NOT_FOUND)
            .next(format!(
                "put the parent disk ({}) back where the child looks for it, or export the VM again",
                self.parent.id
            ))
    }

    fn describe(&self, tried: &Tried<'_>) -> String {
        let hint = &tried.hint.path;
        match &tried.lookup {
            Lookup::Disk(node) => {
                format!("`{hint}` leads to `{}`", self.around.disk(*node).path)
            }
            Lookup::Missing(place) => format!("`{hint}` leads to `{place}`, where nothing is"),
            Lookup::NotADisk(place) => format!("`{hint}` leads to `{place}`, which is no disk"),
            Lookup::Ambiguous(names) => format!("`{hint}` fits {}", list(names)),
            Lookup::Outside => format!("`{hint}` leads outside"),
            Lookup::NotHere => format!("`{hint}` has no meaning on this system"),
        }
    }
}

fn list(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(" and ")
}
