//! RefDisk: the folder of shared disks.
//!
//! A store holds each disk once, under a name that bears its id ([`file_name`]), and beside them
//! an index of what they are and who uses them ([`Entry`]). [`Store`] is a handle on one: it
//! finds a RefDisk, tells whether a file that stands there is the one it should be
//! ([`Store::presence`]), and takes down what has come in. [`check`] reads everything again,
//! [`list`] shows it, [`gc`] removes what nobody needs.
//!
//! Bytes are brought in by whoever has them: written to a temporary file, flushed, renamed to
//! [`Store::path_of`], then [`Store::register`]ed. Several processes share a store; the lock is
//! held while the index is read, changed and written, never while bytes move.

mod check;
mod error;
mod gc;
mod index;
mod layout;
mod list;
mod packs;
mod presence;
mod rebuild;
#[expect(
    clippy::module_inception,
    reason = "the handle is what the stage is named after"
)]
mod store;

#[cfg(test)]
mod tests;

pub use check::{StoreReport, check};
pub use error::StoreError;
pub use gc::{GcOptions, GcReport, RemovedRefDisk, gc};
#[doc(hidden)]
pub use index::reread_index;
pub use index::{Entry, KnownStamp, PackUse};
pub use layout::{INDEX_NAME, LOCK_NAME, file_name};
pub use list::{ListedRefDisk, ListedUser, StoreList, UserState, list};
pub use packs::{JOURNAL_NAME, PARTIAL_NAME, RECEIPT_NAME};
pub use presence::{Expected, Presence, content_id};
pub use store::Store;
