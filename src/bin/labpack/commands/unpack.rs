//! `labpack unpack`.

use std::path::Path;

use clap::ValueEnum;
use labpack::{
    fs::absolute,
    plan::{FileAction, FileStep, LinkAction, LinkStep, RefDiskAction, RefDiskStep, UnpackPlan},
    report::quoted,
    unpack::{self, Counts, LinkMode, Outcome, Request, UnpackError},
};

use super::Shell;
use crate::{
    answer::{Answer, Failure},
    cli::{self, Unpack},
    render::{clean, plural, size},
};

/// Brings a pack to a host.
///
/// # Errors
/// Where unpacking is refused or fails, and when the user stops the work.
pub(super) fn carry_out(args: &Unpack, shell: &Shell<'_>) -> Result<Answer, Failure> {
    let request = Request {
        pack: args.pack.clone(),
        dest: args.dest.clone(),
        store: args.store.clone(),
        link: mode(args.link),
        copy_ref_disks: args.copy_refdisks,
        reset: args.reset,
        dry_run: args.dry_run,
        grant_vm_access: args.grant_vm_access,
        windows_dest: args.windows_dest.clone(),
    };
    let mut outcome = unpack::unpack(&request, &shell.run).map_err(failure)?;
    outcome.next = next(args, outcome.next)?;
    let text = shell.report(&outcome.findings, &summary(&outcome, shell));
    let findings = outcome.findings.clone();
    Ok(Answer::new(text, outcome, findings))
}

/// The command to type next. Elsewhere than on Windows nobody knows by which path the host will
/// see the script, unless the user said so.
fn next(args: &Unpack, import: Option<String>) -> Result<Option<String>, Failure> {
    if args.dry_run {
        return again(args).map(Some);
    }
    let dest = args.windows_dest.as_deref();
    let folder = dest.map_or_else(
        || ".".to_owned(),
        |dest| dest.trim_end_matches('\\').to_owned(),
    );
    let on_host = |_| format!("powershell -File \"{folder}\\import-vms.ps1\" -WhatIf");
    Ok(if cfg!(windows) {
        import
    } else {
        import.map(on_host)
    })
}

/// The command that does what a dry run only planned.
fn again(args: &Unpack) -> Result<String, Failure> {
    let mut words = vec!["labpack unpack".to_owned()];
    for path in [&args.pack, &args.dest] {
        words.push(quoted(&absolute(path)?));
    }
    if let Some(store) = &args.store {
        words.push(format!("--store {}", quoted(&absolute(store)?)));
    }
    if let Some(mode) = args
        .link
        .to_possible_value()
        .filter(|_| args.link != cli::LinkMode::Auto)
    {
        words.push(format!("--link {}", mode.get_name()));
    }
    words.extend(args.copy_refdisks.then(|| "--copy-refdisks".to_owned()));
    words.extend(args.reset.then(|| "--reset".to_owned()));
    if let Some(dest) = &args.windows_dest {
        words.push(format!("--windows-dest {}", quoted(Path::new(dest))));
    }
    Ok(words.join(" "))
}

/// A refusal brings its reasons along.
fn failure(error: UnpackError) -> Failure {
    match error {
        UnpackError::Refused(ref findings) => {
            let findings = findings.clone();
            Failure::refused(error, findings)
        }
        other => other.into(),
    }
}

const fn mode(mode: cli::LinkMode) -> LinkMode {
    match mode {
        cli::LinkMode::Auto => LinkMode::Auto,
        cli::LinkMode::Reflink => LinkMode::Reflink,
        cli::LinkMode::Hardlink => LinkMode::Hardlink,
        cli::LinkMode::Symlink => LinkMode::Symlink,
        cli::LinkMode::Junction => LinkMode::Junction,
        cli::LinkMode::Relocate => LinkMode::Relocate,
        cli::LinkMode::Copy => LinkMode::Copy,
    }
}

fn summary(outcome: &Outcome, shell: &Shell<'_>) -> String {
    let mut text = outcome.plan.as_ref().map_or_else(String::new, steps);
    let place = clean(&outcome.dest);
    text += &format!("{} in {place}\n", plural(outcome.counts.vms, "VM"));
    text += &counts(&outcome.counts, outcome.dry_run);
    text += &format!("parents by {}: {}\n", outcome.link, clean(&outcome.why));
    text += &sharing(outcome);
    text += &shell.io();
    text += &vm_access(outcome);
    if let Some(next) = &outcome.next {
        let here = cfg!(windows) || outcome.dry_run;
        let place = if here { "" } else { " on the Hyper-V host" };
        text += &format!("next{place}:  {}\n", clean(next));
    }
    text
}

/// That RefDisks are shared with the pack, or what would save their copies.
fn sharing(outcome: &Outcome) -> String {
    let counts = &outcome.counts;
    if counts.ref_disks_shared > 0 {
        let disks = plural(counts.ref_disks_shared, "RefDisk");
        let would = if outcome.dry_run { "would be " } else { "" };
        return format!(
            "{disks}, {}, {would}shared with the pack: pack or lab may go, and whoever writes into \
             one changes both (--copy-refdisks copies them)\n",
            size(counts.shared_bytes)
        );
    }
    let Some(store) = &outcome.pack_store else {
        return String::new();
    };
    let store = quoted(Path::new(store));
    let saved = size(outcome.counts.ref_disk_bytes);
    let would = if outcome.dry_run {
        format!("would save {saved}")
    } else {
        format!("would have saved {saved}")
    };
    format!(
        "--store {} {would}: the VMs use the pack's own RefDisks, and the pack has to stay\n",
        clean(&store)
    )
}

/// Whether VMs may read the RefDisks, or what lets them.
fn vm_access(outcome: &Outcome) -> String {
    match &outcome.vm_access {
        None => String::new(),
        Some(access) if access.granted => "every VM may read the RefDisks\n".to_owned(),
        Some(access) => format!(
            "if a VM may not read its RefDisk (0x80070005, 0xC03A0016): {}\n",
            clean(&access.command)
        ),
    }
}

fn counts(counts: &Counts, dry_run: bool) -> String {
    let would = if dry_run { "would be " } else { "" };
    let files = plural(counts.files_written, "file");
    let mut text = format!("{files}, {}, {would}written", size(counts.bytes_written));
    let more = [
        (counts.files_reset, "of them put back"),
        (counts.files_kept, "stood there already"),
        (counts.files_left, "used since, left alone"),
    ];
    for (number, what) in more.into_iter().filter(|(number, _)| *number > 0) {
        text += &format!("; {number} {what}");
    }
    let disks = plural(counts.ref_disks_written, "RefDisk");
    let bytes = size(counts.ref_disk_bytes);
    let there = counts.ref_disks_kept;
    text += &format!("\n{disks}, {bytes}, {would}stored; {there} stood there already\n");
    if counts.links_made + counts.links_kept > 0 {
        let links = plural(counts.links_made, "link");
        text += &format!(
            "{links} {would}made; {} stood there already\n",
            counts.links_kept
        );
    }
    text
}

/// What a dry run would do, file by file. What stands there already is not told again.
fn steps(plan: &UnpackPlan) -> String {
    let disks = plan.ref_disks.iter().filter_map(ref_disk);
    let files = plan.files.iter().filter_map(file);
    let links = plan.links.iter().filter_map(link);
    let mut text: String = disks.chain(files).chain(links).collect();
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn ref_disk(step: &RefDiskStep) -> Option<String> {
    match step.action {
        RefDiskAction::Have => None,
        RefDiskAction::Write => Some(line("store", &step.file, step.length)),
        RefDiskAction::Share => Some(line("share", &step.file, step.length)),
    }
}

fn file(step: &FileStep) -> Option<String> {
    let word = match step.action {
        FileAction::Keep => return None,
        FileAction::Write => "write",
        FileAction::Replace => "replace",
        FileAction::LeaveUsed => "leave",
        FileAction::Reset => "reset",
    };
    Some(line(word, step.path.as_str(), step.length))
}

fn link(step: &LinkStep) -> Option<String> {
    let word = match step.action {
        LinkAction::Keep => return None,
        LinkAction::Make => "link",
        LinkAction::Replace => "relink",
        LinkAction::LeaveUsed => "leave",
    };
    Some(format!("{word:<7} {}\n", clean(step.path.as_str())))
}

fn line(word: &str, path: &str, length: u64) -> String {
    format!("{word:<7} {} ({})\n", clean(path), size(length))
}
