//! Exit codes: the one table, for scripts to rely on.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; nothing wrong found.
    Done,
    /// Finished, and found something wrong.
    FoundWrong,
    /// The command line is wrong.
    Usage,
    /// Stopped by an error.
    Stopped,
    /// Stopped by the user.
    Interrupted,
}

/// Every exit, its code, and what it means.
pub(crate) const TABLE: [(Exit, u8, &str); 5] = [
    (Exit::Done, 0, "done; nothing wrong found"),
    (
        Exit::FoundWrong,
        1,
        "finished, and found something wrong: the report says what",
    ),
    (Exit::Usage, 2, "the command line is wrong"),
    (
        Exit::Stopped,
        3,
        "stopped by an error; nothing is lost, the same command again goes on",
    ),
    (
        Exit::Interrupted,
        130,
        "interrupted (Ctrl-C); nothing is lost, the same command again goes on",
    ),
];

impl Exit {
    /// The code that the calling program sees.
    pub(crate) fn code(self) -> u8 {
        let row = TABLE.iter().find(|(exit, ..)| *exit == self);
        row.expect("every exit is in the table").1
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The table as `--help` shows it.
pub(crate) fn help() -> String {
    let rows = TABLE.iter();
    let rows = rows.map(|(_, code, meaning)| format!("\n  {code:>3}  {meaning}"));
    format!("Exit codes:{}", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_has_the_code_that_scripts_rely_on() {
        let all = [
            Exit::Done,
            Exit::FoundWrong,
            Exit::Usage,
            Exit::Stopped,
            Exit::Interrupted,
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 130]);
    }
}
