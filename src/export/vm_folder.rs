//! Which folders are those of VMs.

use std::collections::BTreeMap;

use super::VmFolder;
use crate::base::{RelPath, fold_case};

/// Folders and files that Export-VM puts into the folder of each VM.
const MARKS: [&str; 4] = [
    "VIRTUAL MACHINES",
    "VIRTUAL HARD DISKS",
    "SNAPSHOTS",
    "CONFIG.XML",
];

/// How sure it is that a folder is a VM's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    /// It holds a disk.
    Disk,
    /// It holds what Export-VM puts there.
    Mark,
}

/// The VM folders of an export, and which of them a path is in.
#[derive(Debug, Default)]
pub(super) struct VmFolders {
    pub(super) folders: Vec<VmFolder>,
    by_path: BTreeMap<String, usize>,
}

impl VmFolders {
    /// Finds them: the topmost folders that directly hold a mark or a disk. The export itself is
    /// one if it holds a mark, or holds a disk while nothing below it looks like a VM.
    pub(super) fn of<'a>(
        root_name: &str,
        paths: impl Iterator<Item = &'a RelPath>,
        disks: impl Iterator<Item = &'a RelPath>,
    ) -> Self {
        let mut signs: BTreeMap<String, Sign> = BTreeMap::new();
        for path in paths.filter(|path| MARKS.contains(&fold_case(path.name()).as_str())) {
            signs.insert(folder(path), Sign::Mark);
        }
        for path in disks {
            signs.entry(folder(path)).or_insert(Sign::Disk);
        }
        let marked_below = signs
            .iter()
            .any(|(path, sign)| !path.is_empty() && *sign == Sign::Mark);
        let whole = match signs.get("") {
            Some(Sign::Mark) => true,
            Some(Sign::Disk) => !marked_below,
            None => false,
        };
        if whole {
            return Self::whole(root_name);
        }
        signs.remove("");
        Self::topmost(signs.into_keys())
    }

    fn whole(name: &str) -> Self {
        Self {
            folders: vec![VmFolder {
                name: name.to_owned(),
                folder: None,
            }],
            by_path: BTreeMap::from([(String::new(), 0)]),
        }
    }

    fn topmost(paths: impl Iterator<Item = String>) -> Self {
        let mut vms = Self::default();
        // Ascending, so that a folder comes before what is in it.
        for path in paths {
            let Ok(folder) = RelPath::new(path.as_str()) else {
                continue;
            };
            if vms.holding(&folder).is_none() {
                vms.by_path.insert(path, vms.folders.len());
                vms.folders.push(VmFolder {
                    name: folder.name().to_owned(),
                    folder: Some(folder),
                });
            }
        }
        vms
    }

    /// Returns the VM folder that `path` is, or is in.
    pub(super) fn holding(&self, path: &RelPath) -> Option<usize> {
        let text = path.as_str();
        let ends = text
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([text.len()]);
        let mut tops = [0].into_iter().chain(ends);
        tops.find_map(|end| self.by_path.get(&text[..end]).copied())
    }
}

fn folder(path: &RelPath) -> String {
    path.folder()
        .map_or_else(String::new, |folder| folder.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vms(paths: &[&str]) -> Vec<String> {
        let paths: Vec<_> = paths.iter().map(|p| RelPath::new(*p).unwrap()).collect();
        let disks = paths.iter().filter(|path| path.as_str().ends_with(".vhdx"));
        let found = VmFolders::of("LAB", paths.iter(), disks);
        let shown = |vm: &VmFolder| vm.folder.as_ref().map_or(".".into(), ToString::to_string);
        found.folders.iter().map(shown).collect()
    }

    #[test]
    fn a_folder_with_a_mark_or_a_disk_is_a_vms_whatever_the_case() {
        assert_eq!(
            vms(&[
                "DC01/virtual machines",
                "DC01/virtual machines/x.xml",
                "old/Config.xml",
                "plain/d.vhdx",
                "docs/readme.txt"
            ]),
            ["DC01", "old", "plain"]
        );
    }

    #[test]
    fn the_topmost_folder_counts_at_any_depth() {
        assert_eq!(
            vms(&[
                "LABY/DC 01/Virtual Hard Disks",
                "LABY/DC 01/Virtual Hard Disks/d.vhdx"
            ]),
            ["LABY/DC 01"]
        );
        assert_eq!(vms(&["a/d.vhdx", "a/b/d.vhdx", "a-b/d.vhdx"]), ["a", "a-b"]);
    }

    #[test]
    fn an_export_may_itself_be_a_vm_folder() {
        assert_eq!(vms(&["Virtual Machines", "x/d.vhdx"]), ["."]);
        assert_eq!(vms(&["d.vhdx", "x/e.vhdx"]), ["."]);
    }

    #[test]
    fn a_stray_disk_at_the_top_makes_no_vm_of_a_folder_of_vms() {
        assert_eq!(vms(&["d.vhdx", "DC01/Snapshots"]), ["DC01"]);
    }
}
