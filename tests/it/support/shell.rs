//! The command, run as a user would.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use super::tree;

/// The arguments as one list, whatever they are made of.
macro_rules! args {
    ($($arg:expr),* $(,)?) => { [$(std::ffi::OsStr::new(&$arg).to_owned()),*] };
}
pub(crate) use args;

/// The built command.
pub(crate) fn labpack() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_labpack"));
    command.env_remove("NO_COLOR").env_remove("RUST_LOG");
    command
}

/// How a run of the command ended, and what it said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The one document on stdout; anything beside it fails the test.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The codes of the findings in the document, each once; but for the notes that only Windows
    /// has, where the path of the machine that exported a disk has a meaning.
    pub(crate) fn codes(&self) -> Vec<String> {
        let document = self.json();
        let findings = document["findings"].as_array().unwrap().iter();
        let mut codes: Vec<_> = findings
            .filter(|finding| !(cfg!(windows) && finding["severity"] == "note"))
            .map(|finding| finding["code"].as_str().unwrap().to_owned())
            .collect();
        codes.sort();
        codes.dedup();
        codes
    }

    /// What was said on stderr, without the notes that [`Said::codes`] leaves out.
    pub(crate) fn told(&self) -> Vec<&str> {
        let mut in_note = false;
        let lines = self.err.lines().filter(|line| {
            in_note = line.starts_with("note[") || (in_note && line.starts_with(' '));
            !(cfg!(windows) && in_note)
        });
        lines.collect()
    }

    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

/// Runs the command to its end.
pub(crate) fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Said {
    Said::of(labpack().args(args).output().unwrap())
}

/// Starts the command, and keeps what it says for [`end`].
pub(crate) fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Child {
    let mut command = labpack();
    command.args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits for the end of a command that was started.
pub(crate) fn end(child: Child) -> Said {
    Said::of(child.wait_with_output().unwrap())
}

/// Runs `args` for people and for scripts: both end with 3, leave everything below `watched` as
/// it is, name `name` on stderr and give the finding `code`.
#[track_caller]
pub(crate) fn refused(args: &[OsString], watched: &Path, code: &str, name: &str) -> Said {
    let before = tree(watched);
    let said = run(args).ends(3);
    assert!(said.err.contains(name), "{name} is not named: {}", said.err);
    assert!(said.err.contains("error"), "{}", said.err);
    assert_eq!(said.out, "", "a refusal goes to stderr");
    let scripts = run(args.iter().cloned().chain(args!["--json"])).ends(3);
    assert!(
        scripts.codes().iter().any(|found| found == code),
        "no {code}: {}",
        scripts.out
    );
    assert_eq!(scripts.json()["exit_code"], 3);
    assert_eq!(tree(watched), before, "a refusal changed something");
    said
}
