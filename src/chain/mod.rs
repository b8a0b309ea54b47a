//! Disks → the parent graph, or why there is none; and a chain read as one disk.
//!
//! A differencing disk names its parent by an id and by several paths. The paths are hints from
//! a stranger: what a text means is [`path`]'s to say, and where it leads is asked of the
//! [`Surroundings`], whose gate stays inside the folders that the user named. Of the files that
//! the hints lead to, the one whose id is right is the parent ([`resolve`]).
//!
//! A node of the [`Graph`] is a disk *as opened through a path*, because Hyper-V takes a relative
//! hint from the folder through which the child was opened. One file may be several nodes; its
//! identity tells.
//!
//! Once a chain is known to hold, [`VirtualDisk`] reads it as its guest would. This stage never
//! touches the disk: others open what it names.

mod follow;
mod graph;
mod link;
pub mod path;
mod rules;
#[cfg(test)]
mod tests;
mod virtual_disk;

pub use graph::{Graph, MAX_LEVELS, resolve};
pub use virtual_disk::{BadLayers, VirtualDisk};

use std::sync::Arc;

use crate::{
    formats::{DiskInfo, PathHint},
    report::Finding,
};

/// A disk as opened through one path: an index that the [`Surroundings`] give out, from 0 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub usize);

/// What is known of a disk before its chain is.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The path through which it was opened, parts separated by `/`; findings name the disk by it.
    pub path: String,
    /// Equal for two nodes exactly if they are one file.
    pub identity: usize,
    /// When the file was modified, in seconds since 2000-01-01T00:00:00Z.
    pub modified: i64,
    /// What the disk says about itself; `None` where it cannot be read, and `findings` say why.
    pub info: Option<Arc<DiskInfo>>,
    /// What was found about the file itself. An error among them breaks every chain through it.
    pub findings: Vec<Finding>,
}

impl Disk {
    /// Returns the file's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Tells whether the name is that of an automatic disk (.avhd, .avhdx): deleting its
    /// checkpoint writes into its parent.
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        let extension = self.name().rsplit_once('.').map(|(_, extension)| extension);
        extension.is_some_and(|e| e.eq_ignore_ascii_case("avhd") || e.eq_ignore_ascii_case("avhdx"))
    }
}

/// The disks there are, and where hints lead among them.
pub trait Surroundings {
    /// Returns the disk at a node that was given out before.
    fn disk(&self, node: NodeId) -> &Disk;

    /// Follows a hint of the disk `child`, as far as the gate allows.
    fn look(&mut self, child: NodeId, hint: &PathHint) -> Lookup;
}

/// Where a hint leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// To a disk, readable or not.
    Disk(NodeId),
    /// To no file; the path that was tried.
    Missing(String),
    /// To a file that is no disk.
    NotADisk(String),
    /// To several files whose names differ but for case.
    Ambiguous(Vec<String>),
    /// Out of the folders that were named; nothing was looked at.
    Outside,
    /// Nowhere that this system knows, such as a drive on Linux.
    NotHere,
}
