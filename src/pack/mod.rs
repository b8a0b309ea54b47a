//! Carries out a pack plan, and undoes it.
//!
//! [`pack`] goes from exports to a pack in these steps, each in a file of its own:
//!
//! 1. `survey`: scan, follow the chains, make a [`Lab`](crate::plan::Lab) of it or say every
//!    reason why not;
//! 2. `digest`: read each file once, parents before their children; with an output folder copy it
//!    on the way (`staging`);
//! 3. the [`Planner`](crate::plan::Planner) says which files are one;
//! 4. `preflight`: look whether it can be done;
//! 5. `journal`: write down what will be done;
//! 6. `carry_out`: do it; again after a crash, from the journal.
//!
//! In place (`in_place`) the first occurrence of each RefDisk moves into the store by rename and
//! the others are removed; to another folder (`output`) the exports are only read. [`restore`]
//! makes the export of the pack again, byte for byte. Until the journal is written nothing in the
//! pack is changed, and a refusal leaves no trace.

mod ask;
mod batches;
mod carry_out;
mod digest;
mod earlier;
mod error;
mod in_place;
mod journal;
mod layout;
mod next;
mod others;
mod outcome;
mod output;
mod preflight;
mod reads;
mod recover;
mod request;
mod restore;
mod seen;
mod shelf;
mod staging;
mod survey;

pub use error::PackError;
#[doc(hidden)]
pub use journal::reread_journal;
pub use outcome::{Outcome, Packed, RestoreOutcome};
pub use request::{Request, RestoreRequest};
pub use restore::restore;

use std::{path::Path, time::Instant};

use crate::{
    base::Run,
    fs::{self, Entry},
    report::Code,
};

/// Packs exports: each in place, or all into one output folder.
///
/// # Errors
/// [`PackError`]; nothing is lost by any of them, and running the same command again goes on.
pub fn pack(request: &Request, run: &Run<'_>) -> Result<Outcome, PackError> {
    let started = Instant::now();
    if request.exports.is_empty() {
        let path = Path::new(".");
        return Err(PackError::refuse(
            Code::EmptyExport,
            path,
            "no export was named",
            "name one",
        ));
    }
    if request.include_external && request.output.is_none() {
        return Err(PackError::refuse(
            Code::ParentOutside,
            &request.exports[0],
            "a child would have to name its parent from outside by another path, and in place no disk of the export is written to",
            "pack into another folder with --output",
        ));
    }
    let outcome = |packs| Outcome {
        dry_run: request.dry_run,
        packs,
        io: run.meter.totals(),
        seconds: outcome::seconds(started.elapsed()),
    };
    let exports = match (&request.output, &*request.exports) {
        (Some(output), _) => return Ok(outcome(vec![output::pack(request, output, run)?])),
        (None, [alone]) => return Ok(outcome(vec![in_place::pack(request, alone, run)?])),
        (None, exports) => exports,
    };
    let mut packs = Vec::new();
    for export in exports {
        match in_place::pack(request, export, run) {
            Ok(pack) => packs.push(pack),
            Err(source) => {
                return Err(PackError::Among {
                    done: Box::new(outcome(packs)),
                    export: export.clone(),
                    source: Box::new(source),
                });
            }
        }
    }
    Ok(outcome(packs))
}

/// Who writes a manifest.
fn tool() -> String {
    format!("labpack {}", env!("CARGO_PKG_VERSION"))
}

/// Tells whether somebody left a journal in `pack`.
fn has_journal(pack: &Path) -> Result<bool, PackError> {
    Ok(fs::look(&pack.join(layout::JOURNAL))? != Entry::Missing)
}
