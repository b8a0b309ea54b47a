//! Finishes what an interrupted run began.

use std::{collections::HashSet, path::Path};

use super::{
    PackError,
    carry_out::Carrier,
    earlier::Stock,
    has_journal,
    journal::{self, Deed, Mode, Work},
    layout::LOCK,
};
use crate::{
    base::{RelPath, Run},
    fs::{FolderLock, FsError},
    report::Code,
};

/// What came of an interrupted run.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    /// There was one, and it was finished or taken back.
    pub(super) resumed: bool,
    /// Files that it may have written into an output folder.
    pub(super) ours: HashSet<RelPath>,
}

/// Finishes an interrupted pack in `pack`, if there is one, or takes it back where it cannot be
/// finished. A dry run refuses instead.
pub(super) fn recover(
    pack: &Path,
    stock: &Stock,
    dry_run: bool,
    run: &Run<'_>,
) -> Result<Recovered, PackError> {
    if !has_journal(pack)? {
        return Ok(Recovered::default());
    }
    if dry_run {
        return Err(unfinished(
            pack,
            "run the same command without --dry-run to finish it",
        ));
    }
    let _lock = FolderLock::acquire(&pack.join(LOCK), run)?;
    match journal::read(pack)? {
        // Whoever held the lock has finished it.
        None => Ok(Recovered::default()),
        Some(Deed::Restore { .. }) => Err(unfinished(
            pack,
            "run `labpack restore` again; it goes on where it stopped",
        )),
        Some(Deed::Pack(work)) => finish(pack, stock, &work, run),
    }
}

fn unfinished(pack: &Path, next: &str) -> PackError {
    PackError::refuse(
        Code::UnfinishedRun,
        pack,
        "an earlier run was interrupted here",
        next,
    )
}

fn finish(pack: &Path, stock: &Stock, work: &Work, run: &Run<'_>) -> Result<Recovered, PackError> {
    work.check_stock(pack, stock)?;
    let carrier = Carrier {
        pack,
        stock,
        work,
        run,
    };
    let ours = work.waiting.iter().map(|copy| copy.path.clone()).collect();
    let stands = carrier.is_written()? || carrier.claim()?;
    let finished = if stands {
        carrier.carry_out()
    } else {
        let (path, what) = (
            stock.folder.clone(),
            "a RefDisk was removed from it".to_owned(),
        );
        Err(PackError::Fs(FsError::Changed { path, what }))
    };
    match finished {
        // What was left alone is looked at again, as it is now.
        Ok(_) => {}
        Err(PackError::Fs(FsError::Changed { .. })) if !carrier.is_written()? => match work.mode {
            Mode::InPlace => carrier.take_back()?,
            Mode::Output => journal::close(pack)?,
        },
        Err(error) => return Err(error),
    }
    Ok(Recovered {
        resumed: true,
        ours,
    })
}
