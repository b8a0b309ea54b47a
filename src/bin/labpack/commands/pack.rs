//! `labpack pack`.

use std::path::Path;

use super::Shell;
use crate::{
    answer::{Answer, Failure},
    cli::Pack,
    pending::pack::{self, Outcome, PackError, Request},
    render::{Table, percent, plural, quoted, size},
};

/// Packs exports, in place or into a new folder.
///
/// # Errors
/// Where packing is refused or fails, and when the user stops the work.
pub(super) fn carry_out(args: &Pack, shell: &Shell<'_>) -> Result<Answer, Failure> {
    let request = Request {
        exports: args.exports.clone(),
        output: args.output.clone(),
        store: args.store.clone(),
        dry_run: args.dry_run,
        keep_broken: args.keep_broken,
        include_external: args.include_external,
        all_parents: args.all_parents,
    };
    let outcome = pack::pack(&request, &shell.run).map_err(failure)?;
    let text = shell.report(&outcome.findings, &summary(args, &outcome, shell));
    let findings = outcome.findings.clone();
    Answer::new(text, &outcome, findings)
}

/// A refusal brings its reasons along.
pub(super) fn failure(error: PackError) -> Failure {
    match error {
        PackError::Refused(ref findings) => {
            let findings = findings.clone();
            Failure::refused(error, findings)
        }
        other => other.into(),
    }
}

fn summary(args: &Pack, outcome: &Outcome, shell: &Shell<'_>) -> String {
    let totals = &outcome.totals;
    let saved = totals.export_bytes.saturating_sub(totals.packed_bytes);
    let (found, stored) = (size(totals.export_bytes), size(totals.ref_disk_bytes));
    let mut text = table(outcome).print(shell.paint);
    text += &format!(
        "\nfound {found} in {} of {}; {} of {stored} {} for them all\n",
        plural(totals.files, "file"),
        plural(totals.vms, "VM"),
        plural(totals.ref_disks, "RefDisk"),
        if totals.ref_disks == 1 {
            "stands"
        } else {
            "stand"
        },
    );
    let share = percent(saved, totals.export_bytes);
    let word = if args.dry_run { "would save" } else { "saved" };
    text += &format!("{word} {} of {found} ({share})\n", size(saved));
    text + &shell.io() + &next(args, &outcome.pack)
}

fn table(outcome: &Outcome) -> Table {
    let mut table = Table::new(["VM", "found", "left in the VM", "shared", "shared %"]);
    for vm in &outcome.savings {
        table.row([
            vm.vm.clone(),
            size(vm.bytes),
            size(vm.bytes.saturating_sub(vm.in_store)),
            size(vm.in_store),
            percent(vm.in_store, vm.bytes),
        ]);
    }
    table
}

/// The command to type next.
fn next(args: &Pack, pack: &Path) -> String {
    let store = args
        .store
        .as_deref()
        .map(|store| format!(" --store {}", quoted(store)));
    let store = store.unwrap_or_default();
    if args.dry_run {
        return "nothing was changed; without --dry-run it will be\n".to_owned();
    }
    let unpack = format!("next:  labpack unpack {} DEST{store}\n", quoted(pack));
    let undo = format!("undo:  labpack restore {}{store}\n", quoted(pack));
    if args.output.is_some() {
        unpack
    } else {
        unpack + &undo
    }
}
