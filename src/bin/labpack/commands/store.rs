//! `labpack store list`, `check` and `gc`.

use std::{path::Path, time::Duration};

use super::Shell;
use crate::{
    answer::{Answer, Failure},
    cli::Store,
    pending::store::{self, GcOptions},
    render::{Table, plural, size},
};

/// Looks after a store.
///
/// # Errors
/// Where the folder is no store or cannot be read, and when the user stops the work.
pub(super) fn carry_out(command: &Store, shell: &Shell<'_>) -> Result<Answer, Failure> {
    match command {
        Store::List { store } => list(store, shell),
        Store::Check { store } => check(store, shell),
        Store::Gc {
            store,
            dry_run,
            grace,
        } => gc(store, *dry_run, *grace, shell),
    }
}

fn list(path: &Path, shell: &Shell<'_>) -> Result<Answer, Failure> {
    let list = store::list(path, &shell.run)?;
    let mut table = Table::new(["RefDisk", "size", "used by"]);
    for disk in &list.ref_disks {
        let users = plural(disk.users.len() as u64, "pack");
        table.row([disk.file.clone(), size(disk.length), users]);
    }
    let text = shell.report(&list.findings, &table.print(shell.paint));
    let findings = list.findings.clone();
    Answer::new(text, &list, findings)
}

fn check(path: &Path, shell: &Shell<'_>) -> Result<Answer, Failure> {
    let report = store::check(path, &shell.run)?;
    let read = plural(report.ref_disks, "RefDisk");
    let verdict = if report.findings.any_error() {
        "not all hold the bytes that their names stand for"
    } else {
        "each holds the bytes that its name stands for"
    };
    let done = format!("{read} read again: {verdict}\n{}", shell.io());
    let text = shell.report(&report.findings, &done);
    let findings = report.findings.clone();
    Answer::new(text, &report, findings)
}

fn gc(path: &Path, dry_run: bool, grace: Duration, shell: &Shell<'_>) -> Result<Answer, Failure> {
    let report = store::gc(path, &GcOptions { dry_run, grace }, &shell.run)?;
    let word = if dry_run { "would remove" } else { "removed" };
    let bytes = report
        .removed
        .iter()
        .map(|disk| disk.length)
        .fold(0, u64::saturating_add);
    let number = plural(report.removed.len() as u64, "RefDisk");
    let mut done: String = report
        .removed
        .iter()
        .map(|disk| {
            format!(
                "{word} {} ({})\n",
                crate::render::clean(&disk.file),
                size(disk.length)
            )
        })
        .collect();
    let kept = plural(report.kept, "RefDisk");
    done += &format!("{word} {number}, {}; {kept} kept\n", size(bytes));
    let text = shell.report(&report.findings, &done);
    let findings = report.findings.clone();
    Answer::new(text, &report, findings)
}
