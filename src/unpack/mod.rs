//! Brings a pack to a host, and links every VM to its parents.
//!
//! First everything that could go wrong is asked (`preflight`): the pack is held against its
//! manifest, the destination against the receipt of the last run (`memory`, `probe`), the ways of
//! linking are tried (`ways`). What comes out is a plan, which `--dry-run` shows. Then files and
//! RefDisks are copied, each source read once (`files`, `job`), flushed and named (`finish`), or
//! shared with the pack (`sharing`), links
//! are made (`links`), the receipt and `import-vms.ps1` are written, and every chain is followed where it is now.
//!
//! A run that was interrupted is gone on with: each finished file is in the log beside the receipt.
//! A file that was used since it was written is left alone, unless it is to be put back; what
//! labpack did not write is never touched.

mod error;
mod files;
mod finish;
mod import_script;
mod job;
mod known;
mod links;
mod memory;
mod outcome;
mod places;
mod preflight;
mod probe;
mod refdisks;
mod request;
mod sharing;
mod vm_access;
mod ways;
mod work;

#[cfg(test)]
mod tests;

pub use error::UnpackError;
#[doc(hidden)]
pub use memory::read_log;
pub use outcome::{Counts, Outcome, VmAccess};
pub use request::{LinkMode, ParseLinkModeError, Request};

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use self::{
    memory::Memory,
    places::Places,
    work::{Scene, Work},
};
use crate::{
    base::{FileTime, Run},
    fs::{self, Entry, FolderLock},
};

/// Held for the whole run; the file means nothing.
const LOCK: &str = ".labpack.lock";

/// Unpacks a lab, or says what that would do.
///
/// # Errors
/// [`UnpackError::Refused`] where preflight found problems: all of them, and nothing is written.
/// Any other error leaves what was done so far; the same call goes on from there.
pub fn unpack(request: &Request, run: &Run<'_>) -> Result<Outcome, UnpackError> {
    let start = Instant::now();
    vm_access::check(request)?;
    let mut places = Places::of(request)?;
    let _fence = places.fence();
    let manifest = preflight::read_manifest(&places)?;
    let held = if request.dry_run {
        None
    } else {
        Some(Held::take(&places.dest, run)?)
    };
    let mut memory = Memory::read(&places.dest)?;
    memory.share_paths(&manifest);
    let stayed = places.stay_with(&memory, run);
    let _store_fence = places.fence();
    let ready =
        stayed.and_then(|()| preflight::check(request, &places, &manifest, &mut memory, run));
    let ready = match ready {
        Ok(ready) => ready,
        Err(error) => {
            held.map_or(Ok(()), Held::give_up)?;
            return Err(error);
        }
    };
    let scene = Scene {
        request,
        places: &places,
        start,
        run,
    };
    if request.dry_run {
        return Ok(scene.planned(ready, &manifest));
    }
    let work = Work {
        scene,
        manifest: &manifest,
        memory,
    };
    let account = work.carry_out(ready)?;
    // To look at all that stands there now takes room of its own.
    drop(manifest);
    scene.finish(account)
}

/// The destination, held against other processes.
struct Held {
    lock: FolderLock,
    dest: PathBuf,
    /// The folders that were made for this, the destination last.
    made: Vec<PathBuf>,
    /// The folder that was there, the destination or the nearest above it, and its time.
    there: Option<(PathBuf, FileTime)>,
    /// Whether the lock's file was made for this.
    lock_made: bool,
}

impl Held {
    fn take(dest: &Path, run: &Run<'_>) -> Result<Self, UnpackError> {
        let (mut made, mut there) = (Vec::new(), None);
        for folder in dest.ancestors().map(Path::to_owned) {
            match fs::look(&folder)? {
                Entry::Missing => made.insert(0, folder),
                Entry::Folder(modified) => {
                    there = Some((folder, modified));
                    break;
                }
                _ => break,
            }
        }
        fs::create_dir_all(dest)?;
        let lock_made = fs::look(&dest.join(LOCK))? == Entry::Missing;
        let lock = FolderLock::acquire(&dest.join(LOCK), run)?;
        let dest = dest.to_owned();
        Ok(Self {
            lock,
            dest,
            made,
            there,
            lock_made,
        })
    }

    /// Leaves no trace of a run that was refused.
    fn give_up(self) -> Result<(), UnpackError> {
        if self.lock_made {
            self.lock.remove(&self.dest.join(LOCK))?;
        }
        for folder in self.made.iter().rev() {
            fs::remove_empty_folder(folder)?;
        }
        if let Some((folder, modified)) = &self.there {
            fs::set_folder_time(folder, *modified)?;
        }
        Ok(())
    }
}
