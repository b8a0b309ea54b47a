//! RefDisk: the folder of shared disks.
mod layout;
pub use layout::{INDEX_NAME, LOCK_NAME, file_name};
