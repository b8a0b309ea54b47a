//! What the user asks for.

use std::path::PathBuf;

/// A lab to be packed.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The exports. In place each becomes a pack of its own; with `output` all become one.
    pub exports: Vec<PathBuf>,
    /// Where the pack is to be; `None` packs in place.
    pub output: Option<PathBuf>,
    /// A store that several labs share; `None` takes the pack's own.
    pub store: Option<PathBuf>,
    /// Only plan.
    pub dry_run: bool,
    /// Carry VMs with broken chains along, untouched.
    pub keep_broken: bool,
    /// Bring parents from outside of the exports along; they are only read. Asks for `output`: in
    /// the pack each child names such a parent beside itself.
    pub include_external: bool,
    /// Store parents that stand there only once, too.
    pub all_parents: bool,
}

/// A pack to be undone.
#[derive(Debug, Clone, Default)]
pub struct RestoreRequest {
    /// The pack's folder.
    pub pack: PathBuf,
    /// The store, where it is not the pack's own.
    pub store: Option<PathBuf>,
    /// Only look whether it can be done.
    pub dry_run: bool,
}
