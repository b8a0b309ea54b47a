//! A finding, and a list of them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Code, Severity, WindowsError};

/// Something found that the user should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in a word that never changes.
    pub code: Code,
    /// The file it is about.
    pub path: String,
    /// One sentence: what was found, and what was expected.
    pub message: String,
    /// The error that Hyper-V would show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows_error: Option<WindowsError>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
}

impl Finding {
    /// A finding that makes a disk or a run fail.
    #[must_use]
    pub fn error(code: Code, path: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, path, message)
    }

    /// A finding that must be said though everything reads right.
    #[must_use]
    pub fn warning(code: Code, path: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, path, message)
    }

    /// A finding worth knowing.
    #[must_use]
    pub fn note(code: Code, path: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, path, message)
    }

    fn new(
        severity: Severity,
        code: Code,
        path: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        let (path, message) = (path.to_string(), message.into());
        Self {
            severity,
            code,
            path,
            message,
            windows_error: None,
            next_step: None,
        }
    }

    /// Adds the error that Hyper-V would show.
    #[must_use]
    pub const fn windows(mut self, error: WindowsError) -> Self {
        self.windows_error = Some(error);
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next_step = Some(step.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}[{}] {}: {}",
            self.severity, self.code, self.path, self.message
        )?;
        if let Some(error) = self.windows_error {
            write!(f, " (Hyper-V: {error})")?;
        }
        if let Some(step) = &self.next_step {
            write!(f, "; {step}")?;
        }
        Ok(())
    }
}

/// Findings, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Adds one.
    pub fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Adds many.
    pub fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.0.extend(findings);
    }

    /// Tells whether one of them is an error.
    #[must_use]
    pub fn any_error(&self) -> bool {
        self.errors().next().is_some()
    }

    /// Returns the errors among them.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.0
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
    }

    /// Returns all of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.0.iter()
    }

    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Findings {
    type Item = &'a Finding;
    type IntoIter = std::slice::Iter<'a, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Prints one finding a line.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_as_one_line_with_the_error_of_hyper_v_and_the_next_step() {
        let finding = Finding::error(
            Code::MissingParent,
            "VM/a.vhdx",
            "names `.\\b.vhdx`, which is not there",
        )
        .windows(WindowsError::PARENT_NOT_FOUND)
        .next("copy b.vhdx beside it");
        assert_eq!(
            finding.to_string(),
            "error[missing-parent] VM/a.vhdx: names `.\\b.vhdx`, which is not there (Hyper-V: 0xC03A000D); copy b.vhdx beside it"
        );
        let json = serde_json::to_string(&finding).unwrap();
        assert!(json.contains(r#""windows_error":"0xC03A000D""#), "{json}");
        assert_eq!(serde_json::from_str::<Finding>(&json).unwrap(), finding);
    }
}
