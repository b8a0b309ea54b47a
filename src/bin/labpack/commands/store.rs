//! `labpack store list`, `check` and `gc`.

use std::path::Path;

use labpack::{
    report::Findings,
    store::{self, GcOptions, ListedRefDisk},
};

use super::Shell;
use crate::{
    answer::{Answer, Failure},
    cli::Store,
    render::{Table, clean, plural, size},
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
        } => {
            let options = GcOptions {
                dry_run: *dry_run,
                grace: *grace,
            };
            gc(store, options, shell)
        }
    }
}

fn list(path: &Path, shell: &Shell<'_>) -> Result<Answer, Failure> {
    let list = store::list(path, &shell.run)?;
    let mut table = Table::new(["RefDisk", "size", "used by", "last used"]);
    for disk in &list.entries {
        table.row([
            disk.file.clone(),
            length(disk),
            plural(disk.used_by.len() as u64, "pack"),
            disk.last_used.clone(),
        ]);
    }
    let number = plural(list.entries.len() as u64, "RefDisk");
    let mut text = table.print(shell.paint) + "\n";
    for user in &list.users {
        let state = serde_json::to_value(user.state)?;
        let state = state.as_str().unwrap_or_default();
        text += &format!("used by {} ({state})\n", clean(&user.path));
    }
    text += &format!("{number}, {}\n", size(list.bytes));
    Ok(Answer::new(text, list, Findings::default()))
}

fn length(disk: &ListedRefDisk) -> String {
    if disk.present {
        size(disk.length)
    } else {
        "not there".to_owned()
    }
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
    Ok(Answer::new(text, report, findings))
}

fn gc(path: &Path, options: GcOptions, shell: &Shell<'_>) -> Result<Answer, Failure> {
    let report = store::gc(path, options, &shell.run)?;
    let word = if options.dry_run {
        "would remove"
    } else {
        "removed"
    };
    let mut done = String::new();
    for disk in &report.removed {
        let (file, length) = (clean(&disk.file), size(disk.length));
        done += &format!("{word} {file} ({length}, last used {})\n", disk.last_used);
    }
    let gone = plural(report.removed.len() as u64, "RefDisk");
    let kept = plural(report.kept, "RefDisk");
    let (freed, left) = (size(report.removed_bytes), size(report.kept_bytes));
    done += &format!("{word} {gone}, {freed}; {kept}, {left}, stay\n");
    let text = shell.report(&report.findings, &done);
    let findings = report.findings.clone();
    Ok(Answer::new(text, report, findings))
}
