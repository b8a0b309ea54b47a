//! `labpack unpack`.

use super::Shell;
use crate::{
    answer::{Answer, Failure},
    cli::{self, Unpack},
    pending::{
        PendingError as UnpackError,
        unpack::{self, LinkMode, Outcome, Request},
    },
    render::{clean, plural, quoted},
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
        reset: args.reset,
        dry_run: args.dry_run,
        windows_dest: args.windows_dest.clone(),
    };
    let outcome = unpack::unpack(&request, &shell.run).map_err(failure)?;
    let text = shell.report(&outcome.findings, &summary(args, &outcome, shell));
    let findings = outcome.findings.clone();
    Answer::new(text, &outcome, findings)
}

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

fn summary(args: &Unpack, outcome: &Outcome, shell: &Shell<'_>) -> String {
    let word = if args.dry_run { "would write" } else { "wrote" };
    let files = plural(outcome.files, "file");
    let mut text = format!("{word} {files} to {}\n", quoted(&outcome.dest));
    if outcome.already > 0 {
        text += &format!("{} stood there already\n", plural(outcome.already, "file"));
    }
    text += &format!(
        "parents by {}: {}\n",
        clean(&outcome.link),
        clean(&outcome.why)
    );
    if args.dry_run {
        return text + "nothing was changed; without --dry-run it will be\n";
    }
    text += &format!("{} verified\n", plural(outcome.chains, "chain"));
    text += &shell.io();
    if let Some(script) = &outcome.script {
        text += &format!("next, on the Hyper-V host:  {}\n", quoted(script));
    }
    text
}
