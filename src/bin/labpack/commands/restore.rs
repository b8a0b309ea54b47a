//! `labpack restore`.

use labpack::pack::{RestoreRequest, restore};

use super::{Shell, pack::failure};
use crate::{
    answer::{Answer, Failure},
    cli::Restore,
    render::{plural, size},
};

/// Undoes an in-place pack.
///
/// # Errors
/// Where restoring is refused or fails, and when the user stops the work.
pub(super) fn carry_out(args: &Restore, shell: &Shell<'_>) -> Result<Answer, Failure> {
    let request = RestoreRequest {
        pack: args.pack.clone(),
        store: args.store.clone(),
        dry_run: args.dry_run,
    };
    let outcome = restore(&request, &shell.run).map_err(failure)?;
    let word = if args.dry_run {
        "would bring back"
    } else {
        "brought back"
    };
    let (files, bytes) = (plural(outcome.files, "file"), size(outcome.bytes));
    let mut done = format!("{word} {files}, {bytes}\n");
    if outcome.left_in_store > 0 {
        let left = plural(outcome.left_in_store, "RefDisk");
        done += &format!(
            "{left} left in the shared store: `labpack store gc` removes what nobody uses\n"
        );
    }
    done += &shell.io();
    let text = shell.report(&outcome.findings, &done);
    let findings = outcome.findings.clone();
    Ok(Answer::new(text, outcome, findings))
}
