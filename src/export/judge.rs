//! The chains of whole exports.

use super::{Inventory, Neighbourhood, Origin};
use crate::{
    base::{Cancelled, Run},
    chain::{Graph, NodeId, resolve},
};

/// The disks of one or several exports, and their chains.
#[derive(Debug)]
pub struct Judgement {
    /// The disks, and where they come from.
    pub disks: Neighbourhood,
    /// Who is whose parent, and what is wrong with it.
    pub graph: Graph,
    nodes: Vec<Vec<Option<NodeId>>>,
}

impl Judgement {
    /// Returns the node of a file of an inventory, if it is a disk.
    #[must_use]
    pub fn node(&self, inventory: usize, file: usize) -> Option<NodeId> {
        *self.nodes.get(inventory)?.get(file)?
    }
}

/// Judges the chain of every disk in `inventories`. A parent may be in any of them. Findings call
/// files by their path in the export, or below the export's folder where there are several.
///
/// # Errors
/// [`Cancelled`] when the user stops the work.
pub fn judge(inventories: &[&Inventory], run: &Run<'_>) -> Result<Judgement, Cancelled> {
    let mut disks = Neighbourhood::new(run.meter);
    for inventory in inventories {
        let label = match inventories.len() {
            1 => String::new(),
            _ => inventory.root.display().to_string(),
        };
        disks.add(inventory, &label);
    }
    let (mut starts, mut nodes) = (Vec::new(), Vec::new());
    for (number, inventory) in inventories.iter().enumerate() {
        let mut by_file = vec![None; inventory.files.len()];
        for node in disks.disks_of(number, run)? {
            if let Origin::File { file, .. } = disks.origin(node) {
                by_file[file] = Some(node);
            }
            starts.push(node);
        }
        nodes.push(by_file);
    }
    let graph = resolve(&mut disks, &starts);
    Ok(Judgement {
        disks,
        graph,
        nodes,
    })
}
