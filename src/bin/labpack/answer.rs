//! What a command comes to, before it is printed.

use std::fmt;

use labpack::{base::Cancelled, fs::FsError, report::Findings};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::exit::Exit;

/// What a command that finished has to say.
pub(crate) struct Answer {
    /// For people.
    pub(crate) text: String,
    /// For scripts. A large lab's is large, and made only where it is asked for.
    body: Box<dyn Fn() -> serde_json::Result<Value>>,
    /// What was found; an error among them means exit code 1.
    pub(crate) findings: Findings,
}

impl Answer {
    /// An answer whose document has the fields of `body`.
    pub(crate) fn new(text: String, body: impl Serialize + 'static, findings: Findings) -> Self {
        Self {
            text,
            body: Box::new(move || serde_json::to_value(&body)),
            findings,
        }
    }

    /// The fields that this command adds to the document.
    ///
    /// A path that is not Unicode has no JSON. The work is done all the same: the document then
    /// says only why it is short.
    pub(crate) fn body(&self) -> Map<String, Value> {
        match (self.body)() {
            Ok(Value::Object(fields)) => fields,
            Ok(other) => Map::from_iter([("result".to_owned(), other)]),
            Err(error) => Map::from_iter([("incomplete".to_owned(), error.to_string().into())]),
        }
    }

    /// How the command ended.
    pub(crate) fn exit(&self) -> Exit {
        if self.findings.any_error() {
            Exit::FoundWrong
        } else {
            Exit::Done
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut answer = f.debug_struct("Answer");
        answer.field("text", &self.text).finish_non_exhaustive()
    }
}

/// Why a command did not finish.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The error, with its causes.
    pub(crate) error: anyhow::Error,
    /// What was found before, and may be the reason.
    pub(crate) findings: Findings,
    /// How the command ended.
    pub(crate) exit: Exit,
    /// What had been done before.
    pub(crate) done: Option<Box<Answer>>,
}

impl Failure {
    /// One of several things that a command was to do failed: `which`; those before it are `done`.
    pub(crate) fn of_one(self, which: String, done: Option<Answer>) -> Self {
        Self {
            error: self.error.context(which),
            done: done.map(Box::new),
            ..self
        }
    }

    /// A command that refuses to begin, for the reasons in `findings`.
    pub(crate) fn refused(error: impl Into<anyhow::Error>, findings: Findings) -> Self {
        Self {
            findings,
            ..Self::from(error.into())
        }
    }

    /// A command line that clap could not know to be wrong.
    pub(crate) fn usage(message: String) -> Self {
        Self {
            error: anyhow::Error::msg(message),
            findings: Findings::default(),
            exit: Exit::Usage,
            done: None,
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let exit = if error.chain().any(is_cancelled) {
            Exit::Interrupted
        } else {
            Exit::Stopped
        };
        Self {
            error,
            findings: Findings::default(),
            exit,
            done: None,
        }
    }
}

/// Errors that pass another on as it is hide it from the chain of causes, but not its words.
fn is_cancelled(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<Cancelled>()
        || matches!(error.downcast_ref(), Some(FsError::Cancelled(_)))
        || error.to_string() == Cancelled.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_path_without_json_makes_the_document_short_and_no_failure() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};
        let odd = Path::new(OsStr::from_bytes(b"lab\xff"));
        let answer = Answer::new(String::new(), odd.to_owned(), Findings::default());
        assert_eq!(answer.exit(), Exit::Done);
        assert!(answer.body().contains_key("incomplete"));
    }

    #[test]
    fn an_interruption_is_told_from_an_error_however_deep_it_lies() {
        let deep = anyhow::Error::new(FsError::from(Cancelled)).context("cannot pack");
        assert_eq!(Failure::from(deep).exit, Exit::Interrupted);
        let of_one = Failure::from(Cancelled).of_one("stopped at `b`".to_owned(), None);
        assert_eq!(of_one.exit, Exit::Interrupted);
        let other = anyhow::anyhow!("disk full").context("cannot pack");
        assert_eq!(Failure::from(other).exit, Exit::Stopped);
    }
}
