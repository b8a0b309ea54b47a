//! The file system, as labpack uses it.
//!
//! Everything that touches the disk is here, so that it can be counted, interrupted and made to
//! fail by a test; what a disk *means* is left to others.
//!
//! * Reading: [`SourceFile`] holds a file open and notices when it changes. A [`Subject`] is a file
//!   that is read once, start to end, for its [`Digests`]: that of its bytes, and of what changes
//!   would make of them. On the way the bytes go into every [`Sink`]: [`MaskCapture`], and
//!   [`TempFile`], which is how a file is copied. Several that are most likely one are
//!   [read abreast](read_abreast). Headers and tables, which are asked for in many small pieces, are
//!   read through [`ReadAhead`].
//! * Writing: [`TempFile`] stands under a temporary name until it is whole, flushed and renamed;
//!   [`patch_in_place`] changes a file in stages. Small deeds are functions: [`rename_new`],
//!   [`remove_file`], [`create_dir_all`], [`hard_link`] …; [`LineLog`] takes down what is done.
//!   [`VolumeFlush`] makes the disk wait once for many files.
//! * Looking: [`look`], [`stamp`], [`walk`], [`volume`], [`try_links`], [`try_hard_link`].
//! * Staying inside: a [`Fence`] around the folders that the user named.
//! * Among processes: [`FolderLock`], [`remove_stale_temps`].
//! * Memory goes back to the system: [`return_large_allocations`].
//!
//! Every step that changes something is announced at one place, [`seam`], before it is taken.
//! What differs between systems is in `unix.rs` and `windows.rs`, which offer the same functions.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the place where std::fs belongs"
)]

mod append;
mod content;
mod deeds;
mod error;
mod fence;
mod form;
mod in_order;
mod links;
mod lock;
mod look;
mod memory;
mod read_ahead;
#[doc(hidden)]
pub mod seam;
mod sinks;
mod source;
mod spare;
mod stamp;
#[cfg(not(target_os = "linux"))]
#[path = "no_syncfs.rs"]
mod syncfs;
#[cfg(target_os = "linux")]
mod syncfs;
mod temp;
mod tree;
mod vm_access;
mod volume;
mod volume_flush;
mod walk;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

#[cfg(test)]
mod tests;

pub use append::LineLog;
pub use content::{Digests, Subject, content_id, read_abreast};
pub use deeds::{
    create_dir_all, create_dir_all_unlisted, patch_in_place, remove_empty_folder, remove_file,
    rename_new, rename_over, rename_over_unlisted, set_folder_time, set_times_and_attributes,
    sync_file, sync_folder, write_atomic, write_atomic_with,
};
pub use error::FsError;
pub use fence::Fence;
pub use links::{
    LinkTrial, hard_link, hard_link_if, junction, symlink_file, try_hard_link, try_links,
};
pub use lock::FolderLock;
pub use look::{Entry, absolute, bytes_to_copy, check_writable, look, other_streams, stamp};
pub use memory::return_large_allocations;
pub use read_ahead::ReadAhead;
pub use sinks::{MaskCapture, Sink};
pub use source::{SourceFile, bounded_digest, open_bounded, read_bounded};
pub use stamp::{FileKey, Stamp};
pub use temp::{Existing, Finish, TempFile, is_temp_name, remove_stale_temps};
pub use vm_access::{grant_vm_access, vm_access_command};
pub use volume::{Volume, volume};
pub use volume_flush::VolumeFlush;
pub use walk::{BadEntry, Found, walk};
