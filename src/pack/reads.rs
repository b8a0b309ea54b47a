//! What reading the files of a lab came to.

use crate::{
    base::ContentId,
    plan::{Digest, Lab, Remembered, RememberedFiles, Seen},
};

/// What reading a file came to.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) digest: Digest,
    /// A copy waits in the staging folder.
    pub(super) copied: bool,
    /// The copy that the last run made stands in the pack, and is still right.
    pub(super) stands: bool,
    /// The file was not read in this run.
    pub(super) trusted: bool,
}

impl Read {
    /// Of a file that was read.
    pub(super) fn of(digest: Digest) -> Self {
        Self {
            digest,
            copied: false,
            stands: false,
            trusted: false,
        }
    }

    /// What the next run may go by, of a file that looks like `seen`.
    pub(super) fn remembered(&self, seen: Seen) -> Remembered {
        Remembered::of(seen, &self.digest)
    }
}

/// What was read, by file.
#[derive(Debug)]
pub(super) struct Reads(Vec<Option<Read>>);

impl Reads {
    pub(super) fn of(lab: &Lab) -> Self {
        Self(vec![None; lab.files.len()])
    }

    pub(super) fn extend(&mut self, found: impl IntoIterator<Item = (usize, Read)>) {
        for (at, read) in found {
            self.0[at] = Some(read);
        }
    }

    pub(super) fn get(&self, at: usize) -> Option<&Read> {
        self.0[at].as_ref()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Read)> {
        let reads = self.0.iter_mut().enumerate();
        reads.filter_map(|(at, read)| Some((at, read.as_mut()?)))
    }

    /// Returns the digest of each file that was read.
    pub(super) fn digests(&self) -> impl Iterator<Item = (usize, ContentId)> + '_ {
        let reads = self.0.iter().enumerate();
        reads.filter_map(|(at, read)| Some((at, read.as_ref()?.digest.content)))
    }

    /// What the next run may go by, of the files that stand in the lab. It takes their place in
    /// memory.
    pub(super) fn into_remembered(self, lab: Lab) -> RememberedFiles {
        let files = lab.files.into_iter().zip(self.0);
        files
            .filter_map(|(file, read)| {
                let seen = file.seen()?;
                Some((file.path, read?.remembered(seen)))
            })
            .collect()
    }
}
