//! What will be done, as a value.
//!
//! A plan is computed from an inventory and from digests; it looks at no disk. `--dry-run` prints
//! it, the journal keeps it, and the verbs carry it out and decide nothing.
//!
//! * [`Lab`]: an export as the planner sees it: files, who is whose parent, what may be shared;
//! * [`Identity`]: which files are one disk, and in which bytes they differ all the same;
//! * [`PackPlan`]: what enters the store, what is removed, what stays, and the manifest of it;
//! * [`SeenFiles`]: what files looked like when they were read, so that nobody reads them again;
//! * [`UnpackPlan`]: what a destination needs, file by file, and how each child will name its
//!   parent there.

mod identity;
mod lab;
mod pack;
mod parents;
mod seen;
mod unpack;

pub use identity::{Digest, Identity, Masked, StoreForm, residue};
pub use lab::{Lab, LabFile, LabVm, Origin, Seen, StoredFile};
pub use pack::{
    Known, KnownDisks, PackPlan, Planner, Removal, Rules, Saving, StoreEntry, StoredWrite,
};
pub use parents::{Location, Roots};
pub use seen::{Remembered, RememberedFiles, RememberedForm, SeenFiles};
pub use unpack::{
    FileAction, FileRecord, FileRecords, FileSource, FileStep, FromStore, Link, LinkAction,
    LinkKind, LinkRecord, LinkStep, Receipt, RefDiskAction, RefDiskStep, Standing, UnpackPlan,
    Wanted, vhdx_id,
};
