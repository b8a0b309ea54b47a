//! `labpack pack`.

use anyhow::Error;
use labpack::{
    pack::{self, Outcome, PackError, Packed, Request},
    plan::{PackPlan, Saving},
    report::{Findings, quoted},
};

use super::Shell;
use crate::{
    answer::{Answer, Failure},
    cli::Pack,
    render::{Table, clean, percent, plural, size},
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
    match pack::pack(&request, &shell.run) {
        Ok(outcome) => Ok(answer(args, outcome, &ending(args, shell), shell)),
        Err(PackError::Among {
            done,
            export,
            source,
        }) => {
            let any = !done.packs.is_empty();
            let which = format!("stopped at {}", clean(&quoted(&export)));
            let done = any.then(|| answer(args, *done, &shell.io(), shell));
            Err(failure(*source).of_one(which, done))
        }
        Err(error) => Err(failure(error)),
    }
}

fn answer(args: &Pack, outcome: Outcome, ending: &str, shell: &Shell<'_>) -> Answer {
    let findings = outcome.packs.iter().flat_map(|pack| &pack.findings);
    let findings = Findings(findings.cloned().collect());
    let packs = outcome.packs.iter();
    let done: String = packs.map(|pack| summary(args, pack, shell)).collect();
    let text = shell.report(&findings, &(done + ending));
    Answer::new(text, outcome, findings)
}

/// A refusal brings its reasons along as findings; the error need not tell the first of them again.
pub(super) fn failure(error: PackError) -> Failure {
    match error {
        PackError::Refused(findings) => {
            Failure::refused(Error::msg("refused, and nothing was changed"), findings)
        }
        PackError::Kept(findings) => Failure::refused(
            Error::msg("some files changed while labpack worked, and were left alone"),
            findings,
        ),
        other => other.into(),
    }
}

fn summary(args: &Pack, pack: &Packed, shell: &Shell<'_>) -> String {
    let totals = &pack.totals;
    let found = size(totals.export_bytes);
    let mut text = pack.plan.as_ref().map_or_else(String::new, steps);
    text += &table(&pack.savings).print(shell.paint);
    text.push('\n');
    if pack.resumed {
        text += "finished an interrupted run first\n";
    }
    if changed_nothing(args, pack) {
        text += "nothing to do: it is packed already\n";
    }
    text += &format!(
        "found {found} in {} of {}\n",
        plural(totals.files, "file"),
        plural(totals.vms, "VM"),
    );
    text += &format!(
        "{}, {}, in {}\n",
        plural(totals.ref_disks, "RefDisk"),
        size(totals.ref_disk_bytes),
        clean(&quoted(&pack.store)),
    );
    let word = if args.dry_run { "would save" } else { "saved" };
    let saved = pack.saved_bytes();
    let share = percent(saved, totals.export_bytes);
    text += &format!("{word} {} of {found} ({share})\n", size(saved));
    text + &next(args, pack)
}

/// Tells whether an export that is packed in place stands as it would be packed now.
fn changed_nothing(args: &Pack, pack: &Packed) -> bool {
    args.output.is_none()
        && !pack.resumed
        && pack.stored + pack.removed == 0
        && pack.totals.ref_disks > 0
}

/// What a dry run would do, file by file.
fn steps(plan: &PackPlan) -> String {
    let mut text = String::new();
    for entry in &plan.entries {
        let (from, file) = (clean(entry.from.as_str()), clean(&entry.file));
        text += &format!("store   {from} as {file}\n");
    }
    for removal in &plan.removals {
        text += &format!("remove  {}\n", clean(removal.path.as_str()));
    }
    for placed in plan.manifest.placed() {
        text += &format!("keep    {}\n", clean(placed.path.as_str()));
    }
    text + "\n"
}

fn table(savings: &[Saving]) -> Table {
    let mut table = Table::new(["VM", "found", "left in the VM", "in the store", ""]);
    for vm in savings {
        let name = match vm.vm.as_str() {
            "" => "(no VM)",
            name => name,
        };
        table.row([
            name.to_owned(),
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
    let next = format!("next:  {}\n", clean(&packed.next));
    if args.output.is_some() {
        return next;
    }
    let shared = args.store.is_some();
    let store = shared.then(|| format!(" --store {}", quoted(&packed.store)));
    let undo = format!(
        "labpack restore {}{}",
        quoted(&packed.pack),
        store.unwrap_or_default()
    );
    next + &format!("undo:  {}\n", clean(&undo))
}

fn ending(args: &Pack, shell: &Shell<'_>) -> String {
    let mut text = shell.io();
    if args.dry_run {
        text += "nothing was changed; the same command without --dry-run does it\n";
    }
    text
}
