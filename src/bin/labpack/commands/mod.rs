//! One file a command: arguments → a call of the library → an [`Answer`].

mod documents;
mod inspect;
mod pack;
mod restore;
mod store;
mod tree;
mod unpack;
mod verify;

use std::time::Instant;

use labpack::{base::Run, report::Findings};

use crate::{
    answer::{Answer, Failure},
    cli::{Command, Global},
    render::{self, Paint},
};

/// What every command is handed.
pub(crate) struct Shell<'a> {
    /// Who watches, and where bytes are counted.
    pub(crate) run: Run<'a>,
    /// The options that every command takes.
    pub(crate) options: &'a Global,
    /// How text is painted.
    pub(crate) paint: Paint,
    /// When the command began.
    pub(crate) began: Instant,
}

impl Shell<'_> {
    /// The report of a command: what was found, then what was done. Quiet, only what was found.
    fn report(&self, findings: &Findings, done: &str) -> String {
        let found = render::findings(findings, self.options.verbose > 0, self.paint);
        match (self.options.quiet, found.is_empty()) {
            (true, _) => found,
            (false, true) => done.to_owned(),
            (false, false) => format!("{found}\n{done}"),
        }
    }

    /// What was read and written, in how long.
    fn io(&self) -> String {
        render::io(&self.run.meter.totals(), self.began.elapsed())
    }
}

/// Does what the command line asks.
///
/// # Errors
/// [`Failure`], with the exit code that it means.
pub(crate) fn carry_out(command: &Command, shell: &Shell<'_>) -> Result<Answer, Failure> {
    match command {
        Command::Pack(args) => pack::carry_out(args, shell),
        Command::Unpack(args) => unpack::carry_out(args, shell),
        Command::Restore(args) => restore::carry_out(args, shell),
        Command::Verify(args) => verify::carry_out(args, shell),
        Command::Inspect(args) => inspect::carry_out(args, shell),
        Command::Tree(args) => tree::carry_out(args, shell),
        Command::Store(args) => store::carry_out(args, shell),
        Command::Completions { shell } => documents::completions(*shell),
        Command::Man { command } => documents::man(command),
    }
}
