//! Progress out of, and cancellation into, long work.

use std::sync::Arc;

use super::IoMeter;

/// Somebody who watches long work. Called from several workers at once.
pub trait Progress: Sync {
    /// A stretch of work begins: `what` is done to `files` files of `bytes` bytes in all.
    fn begin(&self, what: &str, files: u64, bytes: u64) {
        let _ = (what, files, bytes);
    }

    /// Work on the file `name` begins.
    fn file(&self, name: &str) {
        let _ = name;
    }

    /// `bytes` more are done, read or skipped.
    fn advance(&self, bytes: u64) {
        let _ = bytes;
    }

    /// The stretch of work is over.
    fn end(&self) {}

    /// The work waits for somebody else, and says for whom.
    fn waiting(&self, message: &str) {
        let _ = message;
    }

    /// Tells whether the user wants to stop (Ctrl-C); asked between two chunks.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}

/// The work was stopped at the user's wish; running the same command again goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Cancelled;

/// What every verb is handed: who watches, and where bytes are counted.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// Who watches, and may stop the work.
    pub progress: &'a dyn Progress,
    /// Where bytes are counted.
    pub meter: &'a Arc<IoMeter>,
}

impl Run<'_> {
    /// Returns an error once the user wants to stop.
    ///
    /// # Errors
    /// [`Cancelled`], when so.
    pub fn go_on(&self) -> Result<(), Cancelled> {
        if self.progress.cancelled() {
            Err(Cancelled)
        } else {
            Ok(())
        }
    }
}
