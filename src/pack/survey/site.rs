//! One export of those that make a lab.

use std::{collections::HashSet, path::Path, sync::Arc};

use crate::{
    base::{RelPath, Run},
    export::{Inventory, scan},
    pack::PackError,
    report::{Code, Finding},
};

/// One export.
pub(super) struct Site {
    pub(super) inventory: Inventory,
    /// The inventory's, for each of its files to share.
    pub(super) root: Arc<Path>,
    pub(super) prefix: Option<RelPath>,
}

impl Site {
    pub(super) fn of(root: &Path, prefixed: bool, run: &Run<'_>) -> Result<Self, PackError> {
        let inventory = scan(root, run)?;
        let name = inventory.root.file_name().unwrap_or_default();
        let prefix = match prefixed.then(|| RelPath::from_system(Path::new(name))) {
            Some(Err(bad)) => {
                let next = "rename the folder, or pack it by itself";
                return Err(PackError::refuse(
                    Code::BadName,
                    &inventory.root,
                    bad.why,
                    next,
                ));
            }
            prefix => prefix.and_then(Result::ok),
        };
        Ok(Self {
            root: inventory.root.as_path().into(),
            inventory,
            prefix,
        })
    }

    /// The path of something in this export, from the top of the pack.
    pub(super) fn path(&self, below: &RelPath) -> RelPath {
        let Some(prefix) = &self.prefix else {
            return below.clone();
        };
        // Two paths that are sound make a sound one, unless it becomes too long: then it stays
        // what it is, and two files of one path are refused.
        RelPath::new(format!("{prefix}/{below}")).unwrap_or_else(|_| below.clone())
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = self.inventory.findings.0.clone();
        findings.extend(
            self.inventory
                .links
                .iter()
                .map(|(path, target)| link(path, target)),
        );
        if let Some(prefix) = &self.prefix {
            for finding in &mut findings {
                finding.path = format!("{prefix}/{}", finding.path);
            }
        }
        findings
    }
}

fn link(path: &RelPath, target: &Path) -> Finding {
    let message = format!(
        "is a link to `{}`, and links cannot be packed",
        target.display()
    );
    Finding::error(Code::LinkInExport, path, message)
        .next("replace the link by what it leads to, or remove it")
}

pub(super) fn same_names(sites: &[Site], prefixed: bool) -> Vec<Finding> {
    let mut seen = HashSet::new();
    let again = |site: &&Site| {
        let prefix = site
            .prefix
            .as_ref()
            .map_or_else(String::new, RelPath::folded);
        !seen.insert(prefix)
    };
    let twice = |site: &Site| {
        let message = "two exports have folders of one name";
        Finding::error(Code::NameInUse, site.inventory.root.display(), message)
            .next("rename one of the folders, or pack the two to different places")
    };
    let again: Vec<_> = sites.iter().filter(again).map(twice).collect();
    if prefixed { again } else { Vec::new() }
}
