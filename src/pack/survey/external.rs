//! Parents from outside of the exports, taken along as if Export-VM had put them there.
//!
//! Each stands beside the child that names it, under its own name, and the child names it there.
//! What is outside is only read.

use std::{collections::HashMap, path::Path};

use super::{Draft, Drafted, Parent, Whence};
use crate::{
    base::RelPath,
    chain::{NodeId, Surroundings},
    formats::{DiskInfo, HintKind, ParentPaths},
    manifest::Role,
    plan::{LabFile, Origin},
    report::{Code, Finding},
};

/// Brings parents from outside into a draft.
pub(super) struct External<'d, 'a> {
    draft: &'d mut Draft<'a>,
    /// Every path of the lab as a case-insensitive file system compares paths, and the disk that
    /// came there from outside.
    taken: HashMap<String, Option<NodeId>>,
}

impl<'d, 'a> External<'d, 'a> {
    pub(super) fn new(draft: &'d mut Draft<'a>) -> Self {
        let taken = draft.files.paths().map(|path| (path.folded(), None));
        Self {
            taken: taken.collect(),
            draft,
        }
    }

    pub(super) fn add_all(mut self, findings: &mut Vec<Finding>) {
        let judged = self.draft.judged;
        let nodes = judged.nodes.iter();
        let here = nodes.map(|(&at, &node)| (self.draft.path(at), node));
        let mut children: Vec<_> = here.collect();
        // In one order, whatever that of the map is.
        children.sort_by(|a, b| b.0.cmp(&a.0));
        while let Some((child, node)) = children.pop() {
            match self.add_parent(&child, node) {
                Ok(parent) => children.extend(parent),
                Err(finding) => findings.push(finding),
            }
        }
    }

    /// Brings the parent of one disk along, if it is outside; returns it if it is new here, for
    /// its own parent may be outside as well.
    fn add_parent(
        &mut self,
        child: &RelPath,
        node: NodeId,
    ) -> Result<Option<(RelPath, NodeId)>, Finding> {
        let judged = self.draft.judged;
        let broken = self.draft.files.get(child);
        let broken = broken.is_some_and(|child| child.file.role == Role::Broken);
        let Some(parent) = judged.graph.parent_of(node).filter(|_| !broken) else {
            return Ok(None);
        };
        if judged.disks.origin(parent) != Whence::Elsewhere {
            return Ok(None);
        }
        let outside = judged.disks.file(parent);
        let folder = outside.parent().unwrap_or(Path::new(""));
        let name = name_of(outside)?;
        let path = beside(child, &name)?;
        let known = self.taken.get(&path.folded()).copied();
        if known.is_some_and(|there| !there.is_some_and(|there| self.is_same(there, parent))) {
            return Err(in_the_way(child, &path, outside));
        }
        if known.is_none() {
            let (root, below) = (folder.into(), name);
            self.add(
                &path,
                parent,
                Origin::Standing {
                    root,
                    below,
                    key: judged.disks.stamp(parent).key,
                },
            );
        }
        let drafted = self
            .draft
            .files
            .get_mut(child)
            .expect("it is a disk of the lab");
        drafted.parent = Parent::Path(path.clone());
        let info = judged.disks.disk(node).info.as_deref();
        if !info.is_some_and(|info| names_beside(info, path.name())) {
            drafted.file.relink = Some(Box::new(ParentPaths {
                relative: Some(format!(r".\{}", path.name())),
                ..ParentPaths::default()
            }));
        }
        Ok(known.is_none().then_some((path, parent)))
    }

    fn is_same(&self, one: NodeId, other: NodeId) -> bool {
        let disks = &self.draft.judged.disks;
        disks.disk(one).identity == disks.disk(other).identity
    }

    fn add(&mut self, path: &RelPath, node: NodeId, origin: Origin) {
        let judged = self.draft.judged;
        let (stamp, info) = (
            judged.disks.stamp(node),
            judged.disks.disk(node).info.as_deref(),
        );
        let file = LabFile {
            path: path.clone(),
            length: stamp.len,
            modified: stamp.modified,
            attributes: stamp.attributes,
            vm: self.draft.vms.holding(path),
            role: judged.role(node),
            disk: info.map(LabFile::facts),
            parent: None,
            origin,
            external: true,
            relink: None,
        };
        self.taken.insert(path.folded(), Some(node));
        let parent = Parent::None;
        self.draft.files.insert(Drafted { file, parent });
    }
}

/// Tells whether a disk looks for its parent in its own folder, under this name.
fn names_beside(info: &DiskInfo, name: &str) -> bool {
    let beside = format!(r".\{name}");
    let mut hints = info.parent.iter().flat_map(|parent| &parent.hints);
    hints.any(|hint| hint.kind == HintKind::Relative && hint.path == beside)
}

fn name_of(outside: &Path) -> Result<RelPath, Finding> {
    let name = outside.file_name().unwrap_or_default();
    RelPath::from_system(Path::new(name)).map_err(|bad| {
        Finding::error(Code::BadName, outside.display(), bad.why)
            .next("rename the parent, and reconnect its children with Set-VHD -ParentPath")
    })
}

/// The path in the lab of a parent from outside: its own name, in the child's folder.
fn beside(child: &RelPath, name: &RelPath) -> Result<RelPath, Finding> {
    let path = match child.folder() {
        Some(folder) => format!("{folder}/{name}"),
        None => name.to_string(),
    };
    RelPath::new(path).map_err(|bad| {
        Finding::error(Code::BadName, child, bad.to_string())
            .next("give the export's folders shorter names")
    })
}

fn in_the_way(child: &RelPath, path: &RelPath, outside: &Path) -> Finding {
    let message = format!(
        "its parent `{}` is to stand beside it, and another file is there: `{path}`",
        outside.display()
    );
    Finding::error(Code::NameInUse, child, message)
        .next("rename the file in the export, or put the parent into the export yourself")
}
