//! The VM folders of a lab.

use std::collections::{BTreeMap, HashMap};

use super::Site;
use crate::{base::RelPath, manifest::Manifest, plan::LabVm};

/// The VM folders, and which of them a path is in.
pub(super) struct VmList {
    pub(super) vms: Vec<LabVm>,
    whole: bool,
    by_folder: HashMap<String, usize>,
}

impl VmList {
    /// Those that are found, and those that an earlier pack knew: what made them known may be in
    /// the store by now.
    pub(super) fn of(sites: &[Site], earlier: Option<&Manifest>) -> Self {
        let before = earlier.map_or(&[] as &[_], |manifest| &manifest.vms);
        if let Some(whole) = before.iter().find(|vm| vm.folder.is_none()) {
            return Self::whole(whole.name.clone());
        }
        let mut folders: BTreeMap<RelPath, String> = BTreeMap::new();
        for site in sites {
            for vm in &site.inventory.vms {
                match (&vm.folder, &site.prefix) {
                    (Some(folder), _) => folders.insert(site.path(folder), vm.name.clone()),
                    (None, Some(prefix)) => folders.insert(prefix.clone(), vm.name.clone()),
                    (None, None) if before.is_empty() => return Self::whole(vm.name.clone()),
                    (None, None) => None,
                };
            }
        }
        for vm in before {
            folders.extend(vm.folder.clone().map(|folder| (folder, vm.name.clone())));
        }
        Self::topmost(folders)
    }

    fn whole(name: String) -> Self {
        let vms = vec![LabVm { name, folder: None }];
        Self {
            vms,
            whole: true,
            by_folder: HashMap::new(),
        }
    }

    fn topmost(folders: BTreeMap<RelPath, String>) -> Self {
        let mut list = Self {
            vms: Vec::new(),
            whole: false,
            by_folder: HashMap::new(),
        };
        // A folder comes before what is in it.
        for (folder, name) in folders {
            if list.holding(&folder).is_none() {
                list.by_folder.insert(folder.folded(), list.vms.len());
                list.vms.push(LabVm {
                    name,
                    folder: Some(folder),
                });
            }
        }
        list
    }

    pub(super) fn holding(&self, path: &RelPath) -> Option<usize> {
        if self.whole {
            return Some(0);
        }
        let folded = path.folded();
        let ends = folded
            .match_indices('/')
            .map(|(end, _)| end)
            .chain([folded.len()]);
        ends.into_iter()
            .find_map(|end| self.by_folder.get(&folded[..end]).copied())
    }
}
