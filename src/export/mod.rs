//! A folder of VM folders → an inventory of its files and disks, and what is to be said of them.
//!
//! [`scan`] walks an export once and reads each disk's headers: the [`Inventory`] is all that later
//! stages know of it. [`Neighbourhood`] answers where a child's hints lead among one or several
//! inventories; nothing outside of them is ever opened, or even looked at. [`judge`] puts both
//! together with the rules of [`chain`](crate::chain), and [`examine`] says the result disk by
//! disk: what `verify` reports, and what unpack holds its own work against.
//!
//! In a pack the parents are in the store. [`PackView`] lets every chain be followed all the same.

mod examine;
mod find;
mod inventory;
mod judge;
mod neighbourhood;
mod open;
mod own;
mod packed;
mod probe;
mod scan;
mod streams;
#[cfg(test)]
mod tests;
mod vm_folder;

pub use examine::{DiskRole, Examination, ExaminedDisk, examine};
pub use inventory::{DiskFault, Inventory, ScannedFile, VmFolder};
pub use judge::{Judgement, judge};
pub use neighbourhood::{Neighbourhood, Origin};
pub use open::{OpenChainError, open_chain};
pub use own::OwnFiles;
pub use packed::PackView;
pub use scan::scan;
pub use streams::streams_lost;
