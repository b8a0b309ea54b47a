//! Which files are read together: the names of one file, and files that are most likely alike.

use std::{cmp::Reverse, collections::HashMap, ops::Range};

use crate::{
    base::DiskId,
    fs::FileKey,
    plan::{Lab, LabFile},
};

/// So many files are read abreast at most: each is held open meanwhile.
const ABREAST: usize = 8;

/// What tells which files of a lab are read together.
pub(super) struct Sorter<'a> {
    pub(super) lab: &'a Lab,
    /// The file in the store that the parent of each has, where its name is asked for.
    pub(super) parents: &'a HashMap<usize, String>,
    /// Whether the files may be shared by link.
    pub(super) shareable: bool,
    /// Tells whether a file is copied while it is read.
    pub(super) is_copied: &'a (dyn Fn(usize) -> bool + Sync),
}

/// Files that are to be read, those that are read together side by side. There may be very many:
/// nothing but their order is kept.
pub(super) struct Batches {
    files: Vec<usize>,
    batches: Vec<Range<usize>>,
}

impl Batches {
    /// Returns each batch; what takes longest comes first.
    pub(super) fn all(&self) -> &[Range<usize>] {
        &self.batches
    }

    /// Returns the files of a batch. Names of one file follow one another.
    pub(super) fn files(&self, batch: &Range<usize>) -> &[usize] {
        &self.files[batch.clone()]
    }
}

/// A name of a file, beside the first of its names.
type Named = (usize, usize);

impl Sorter<'_> {
    /// Puts files together that are most likely alike. Of those only the first may be copied.
    pub(super) fn batches(&self, files: Vec<usize>) -> Batches {
        let named = self.named(files);
        let mut batches: Vec<Range<usize>> = Vec::with_capacity(named.len());
        let mut count = 0;
        for (at, &(first, _)) in named.iter().enumerate() {
            let before = at.checked_sub(1).map(|before| named[before].0);
            match batches.last_mut() {
                Some(batch) if before == Some(first) => batch.end += 1,
                Some(batch) if count < ABREAST && self.may_follow(before, first) => {
                    batch.end += 1;
                    count += 1;
                }
                _ => {
                    batches.push(at..at + 1);
                    count = 1;
                }
            }
        }
        let files: Vec<usize> = named.into_iter().map(|(_, at)| at).collect();
        let bytes = |batch: &Range<usize>| -> u64 {
            let files = files[batch.clone()].iter();
            files.map(|&at| self.lab.files[at].length).sum()
        };
        batches.sort_unstable_by_key(|batch| (Reverse(bytes(batch)), files[batch.start]));
        Batches { files, batches }
    }

    /// Tells whether two are names of one file, of which the same is asked.
    pub(super) fn is_one_file(&self, one: usize, other: usize) -> bool {
        let relink = |at: usize| &self.lab.files[at].relink;
        self.key(one) == self.key(other)
            && relink(one) == relink(other)
            && self.parents.get(&one) == self.parents.get(&other)
    }

    /// Every file with the first of its names: those that look alike follow one another, copied
    /// ones first.
    fn named(&self, mut files: Vec<usize>) -> Vec<Named> {
        let asked = |at: usize| (self.key(at), self.parents.get(&at), at);
        files.sort_unstable_by(|&one, &other| asked(one).cmp(&asked(other)));
        let mut named: Vec<Named> = Vec::with_capacity(files.len());
        for names in files.chunk_by(|&one, &other| self.is_one_file(one, other)) {
            named.extend(names.iter().map(|&at| (names[0], at)));
        }
        named.sort_unstable_by_key(|&(first, at)| {
            (self.looks(first), !(self.is_copied)(first), first, at)
        });
        named
    }

    fn may_follow(&self, before: Option<usize>, first: usize) -> bool {
        let looks = self.looks(first);
        let alike = looks.is_some() && before.is_some_and(|before| self.looks(before) == looks);
        alike && !(self.is_copied)(first)
    }

    fn key(&self, at: usize) -> Option<FileKey> {
        self.lab.files[at].seen().map(|seen| seen.key)
    }

    /// Equal for two disks that are most likely one. `None` for one that is to be changed while it
    /// is read.
    fn looks(&self, at: usize) -> Option<(u64, DiskId)> {
        let file: &LabFile = &self.lab.files[at];
        let stays = file.relink.is_none();
        Some((file.length, file.seen()?.disk.filter(|_| stays)?))
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::*;
    use crate::{
        base::{Attributes, FileTime, RelPath, VirtualSize},
        formats::{DiskFormat, DiskKind},
        manifest::{DiskFacts, Role, Unknown},
        plan::Origin,
    };

    /// A file of so many bytes; those of one `id` look like copies of one disk.
    fn file(number: usize, key: u64, length: u64, id: Option<u8>) -> LabFile {
        let disk = |id| DiskFacts {
            format: DiskFormat::Vhdx,
            kind: DiskKind::Dynamic,
            virtual_size: VirtualSize(1 << 30),
            own_id: DiskId::from_vhdx([id; 16]),
            parent: None,
            unknown: Unknown::new(),
        };
        let path = RelPath::new(format!("{number:03}.vhdx")).unwrap();
        LabFile {
            path: path.clone(),
            length,
            modified: FileTime(5),
            attributes: Attributes::default(),
            vm: None,
            role: Role::Parent,
            disk: id.map(|id| Box::new(disk(id))),
            parent: None,
            origin: Origin::Standing {
                root: Arc::from(Path::new("export")),
                below: path,
                key: FileKey {
                    volume: 1,
                    file: key.into(),
                },
            },
            external: false,
            relink: None,
        }
    }

    /// The batches of all files, of which `copied` are copied.
    fn batches(files: Vec<LabFile>, copied: &[usize]) -> Vec<Vec<usize>> {
        let all = (0..files.len()).collect();
        let lab = Lab {
            files,
            ..Lab::default()
        };
        let sorter = Sorter {
            lab: &lab,
            parents: &HashMap::new(),
            shareable: true,
            is_copied: &|at| copied.contains(&at),
        };
        let batches = sorter.batches(all);
        let files = |batch| batches.files(batch).to_vec();
        batches.all().iter().map(files).collect()
    }

    #[test]
    fn what_takes_longest_comes_first() {
        let lengths = [10, 30, 20];
        let files = lengths.iter().enumerate();
        let files = files.map(|(at, &length)| file(at, at as u64, length, None));
        assert_eq!(batches(files.collect(), &[]), [[1], [2], [0]]);
    }

    #[test]
    fn names_of_one_file_are_read_together_and_do_not_count() {
        // Ten names of one file that is a disk, and of one that is none.
        for id in [Some(7), None] {
            let mut files: Vec<_> = (0..10).map(|at| file(at, 1, 100, id)).collect();
            files.push(file(10, 2, 100, id));
            let expected = match id {
                Some(_) => vec![(0..11).collect()],
                None => vec![(0..10).collect::<Vec<_>>(), vec![10]],
            };
            assert_eq!(batches(files, &[]), expected);
        }
    }

    #[test]
    fn copies_of_one_disk_are_read_eight_abreast() {
        let files = (0..19).map(|at| file(at, at as u64, 100, Some(7)));
        let sizes: Vec<_> = batches(files.collect(), &[]).iter().map(Vec::len).collect();
        assert_eq!(sizes, [ABREAST, ABREAST, 3]);
    }

    #[test]
    fn files_of_another_length_or_id_are_read_by_themselves() {
        let files = vec![
            file(0, 0, 100, Some(7)),
            file(1, 1, 100, Some(8)),
            file(2, 2, 101, Some(7)),
            file(3, 3, 100, None),
            file(4, 4, 100, None),
            file(5, 5, 100, Some(7)),
        ];
        assert_eq!(
            batches(files, &[]),
            [vec![0, 5], vec![2], vec![1], vec![3], vec![4]]
        );
    }

    #[test]
    fn a_file_that_is_changed_while_it_is_read_is_read_by_itself() {
        let mut files: Vec<_> = (0..3).map(|at| file(at, at as u64, 100, Some(7))).collect();
        for relinked in [1, 2] {
            files[relinked].relink = Some(Box::default());
        }
        assert_eq!(batches(files, &[]), [[0], [1], [2]]);
    }

    #[test]
    fn of_files_that_are_read_abreast_the_first_alone_is_copied() {
        let files = (0..6).map(|at| file(at, at as u64, 100, Some(7)));
        assert_eq!(
            batches(files.collect(), &[2, 4]),
            [vec![4, 0, 1, 3, 5], vec![2]]
        );
    }
}
