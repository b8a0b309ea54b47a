//! `labpack verify`.

use labpack::{
    export::ExaminedDisk,
    report::Findings,
    verify::{Options, VerifyReport, verify},
};

use super::Shell;
use crate::{
    answer::{Answer, Failure},
    cli::Verify,
    render::{clean, count, plural},
};

/// Checks every chain.
///
/// # Errors
/// Where a path cannot be read, and when the user stops the work.
pub(super) fn carry_out(args: &Verify, shell: &Shell<'_>) -> Result<Answer, Failure> {
    let options = Options {
        content: args.content,
        store: args.store.clone(),
    };
    let report = verify(&args.paths, &options, &shell.run)?;
    let findings = Findings(report.all_findings().cloned().collect());
    let text = shell.report(&findings, &summary(&report, &findings, shell));
    Ok(Answer::new(text, report, findings))
}

fn summary(report: &VerifyReport, findings: &Findings, shell: &Shell<'_>) -> String {
    let mut text = String::new();
    if shell.options.verbose > 0 {
        text.extend(
            report
                .disks
                .iter()
                .filter(|disk| disk.role.is_leaf())
                .map(leaf),
        );
    }
    text += &chains(report);
    if let Some(content) = &report.content {
        let read = plural(content.files, "file");
        text += &match content.differing {
            0 if content.files == 0 => "nothing read again: --content compares a pack with its \
                 labpack.json, and none is here\n"
                .to_owned(),
            0 => format!("{read} read again: each holds the bytes that the manifest names\n"),
            n => format!("{read} read again: {} not what the manifest says\n", are(n)),
        };
    }
    if !findings.is_empty() {
        text += &format!("found {}\n", count(findings));
    }
    text + &shell.io()
}

fn leaf(disk: &ExaminedDisk) -> String {
    let state = if disk.broken { "broken" } else { "good" };
    let levels = plural(disk.levels as u64, "level");
    format!("{state}: {} ({levels})\n", clean(&disk.path))
}

fn chains(report: &VerifyReport) -> String {
    let (ok, broken) = (report.chains.ok, report.chains.broken);
    match (ok, broken) {
        (0, 0) => "no disk found\n".to_owned(),
        (_, 0) => format!("{}, all good\n", plural(ok, "chain")),
        _ => format!(
            "{}: {ok} good, {broken} broken\n",
            plural(ok + broken, "chain")
        ),
    }
}

fn are(number: u64) -> String {
    if number == 1 {
        "1 is".to_owned()
    } else {
        format!("{number} are")
    }
}
