//! `labpack pack`.

use labpack::report::Findings;

use super::Shell;
use crate::{
    answer::{Answer, Failure},
    cli::Pack,
    pending::{
        PendingError as PackError,
        pack::{self, Packed, Request},
    },
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
    let findings = outcome.packs.iter().flat_map(|pack| &pack.findings);
    let findings = Findings(findings.cloned().collect());
    let packs = outcome.packs.iter();
    let done: String = packs.map(|pack| summary(args, pack, shell)).collect();
    let text = shell.report(&findings, &(done + &ending(args, shell)));
    Answer::new(text, &outcome, findings)
}

/// A refusal brings its reasons along.
pub(super) fn failure(error: PackError) -> Failure {
    match error {
        PackError::Refused(ref findings) | PackError::Kept(ref findings) => {
            let findings = findings.clone();
            Failure::refused(error, findings)
        }
        other => other.into(),
    }
}

fn summary(args: &Pack, pack: &Packed, shell: &Shell<'_>) -> String {
    let totals = &pack.totals;
    let saved = totals.export_bytes.saturating_sub(totals.packed_bytes);
    let found = size(totals.export_bytes);
    let mut text = table(pack).print(shell.paint) + "\n";
    if pack.resumed {
        text += "finished an interrupted run first\n";
    }
    text += &format!(
        "found {found} in {} of {}\n",
        plural(totals.files, "file"),
        plural(totals.vms, "VM"),
    );
    text += &format!(
        "{} {} in {}, for all who use them\n",
        plural(totals.ref_disks, "RefDisk"),
        size(totals.ref_disk_bytes),
        quoted(&pack.store),
    );
    let word = if args.dry_run { "would save" } else { "saved" };
    let share = percent(saved, totals.export_bytes);
    text += &format!("{word} {} of {found} ({share})\n", size(saved));
    text + &next(args, pack)
}

fn table(pack: &Packed) -> Table {
    let mut table = Table::new(["VM", "found", "left in the VM", "in the store", ""]);
    for vm in &pack.savings {
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

/// The commands to type next.
fn next(args: &Pack, packed: &Packed) -> String {
    if args.dry_run {
        return String::new();
    }
    let store = args.store.as_deref();
    let store = store.map(|store| format!(" --store {}", quoted(store)));
    let store = store.unwrap_or_default();
    let pack = quoted(&packed.pack);
    let unpack = format!("next:  labpack unpack {pack} DEST{store}\n");
    if args.output.is_some() {
        unpack
    } else {
        unpack + &format!("undo:  labpack restore {pack}{store}\n")
    }
}

fn ending(args: &Pack, shell: &Shell<'_>) -> String {
    let mut text = shell.io();
    if args.dry_run {
        text += "nothing was changed; without --dry-run it will be\n";
    }
    text
}
