//! The one document that `--json` prints.
//!
//! Every document has `command`, `version`, `exit_code`, `seconds` and `findings`; a command that did not
//! finish adds `error`, `causes` and, where it can be said, `next_step`; one that did its own
//! fields, which are those of the library's answer. One that finished a part of its work has both.

use std::time::Duration;

use labpack::report::Findings;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    advice::advice,
    answer::{Answer, Failure},
    exit::Exit,
};

#[derive(Serialize)]
struct Document<'a> {
    command: &'a str,
    version: &'static str,
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_step: Option<&'static str>,
    findings: &'a Findings,
    #[serde(flatten)]
    body: Map<String, Value>,
}

/// The document of a command that finished.
pub(crate) fn of_answer(command: &str, answer: &Answer, took: Duration) -> String {
    print(&Document {
        command,
        version: env!("CARGO_PKG_VERSION"),
        exit_code: answer.exit().code(),
        seconds: Some(took.as_secs_f64()),
        error: None,
        causes: None,
        next_step: None,
        findings: &answer.findings,
        body: fields(answer),
    })
}

/// The fields that are a command's own.
fn fields(answer: &Answer) -> Map<String, Value> {
    let mut body = answer.body();
    // The document's own list holds all findings, also those told of single disks.
    body.remove("findings");
    // One clock for all commands, and not a second one of the library's.
    body.remove("seconds");
    body
}

/// The document of a command that did not.
pub(crate) fn of_failure(command: &str, failure: &Failure, took: Duration) -> String {
    let done = failure.done.as_deref();
    let before = done.map_or(&[][..], |done| &done.findings.0);
    let findings = Findings([before, &failure.findings.0].concat());
    let causes = failure.error.chain().skip(1).map(ToString::to_string);
    print(&Document {
        command,
        version: env!("CARGO_PKG_VERSION"),
        exit_code: failure.exit.code(),
        seconds: Some(took.as_secs_f64()),
        error: Some(failure.error.to_string()),
        causes: Some(causes.collect()),
        next_step: advice(&failure.error),
        findings: &findings,
        body: done.map(fields).unwrap_or_default(),
    })
}

/// The document of a command line that could not be read.
pub(crate) fn of_usage(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    print(&Document {
        command: "",
        version: env!("CARGO_PKG_VERSION"),
        exit_code: Exit::Usage.code(),
        seconds: None,
        error: Some(text.to_owned()),
        causes: Some(Vec::new()),
        next_step: None,
        findings: &Findings::default(),
        body: Map::new(),
    })
}

fn print(document: &Document<'_>) -> String {
    let text = serde_json::to_string_pretty(document);
    text.expect("keys are strings and numbers are finite") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use labpack::report::{Code, Finding};
    use serde_json::json;

    #[test]
    fn an_answer_and_a_failure_have_the_same_head() {
        let mut findings = Findings::default();
        findings.push(Finding::error(Code::MissingParent, "a.vhdx", "gone"));
        let body = json!({ "chains": { "ok": 1 }, "findings": [] });
        let answer = Answer::new(String::new(), body, findings.clone());
        let document: Value =
            serde_json::from_str(&of_answer("verify", &answer, Duration::from_millis(1500)))
                .unwrap();
        assert_eq!(document["exit_code"], 1);
        assert_eq!(document["seconds"], 1.5);
        assert_eq!(document["chains"]["ok"], 1);
        assert_eq!(document["findings"][0]["code"], "missing-parent");

        let error = anyhow::anyhow!("no").context("cannot pack");
        let failure = Failure::refused(error, findings);
        let document: Value =
            serde_json::from_str(&of_failure("pack", &failure, Duration::ZERO)).unwrap();
        assert_eq!(document["exit_code"], 3);
        assert_eq!(document["error"], "cannot pack");
        assert_eq!(document["causes"], json!(["no"]));
        assert_eq!(document["findings"][0]["path"], "a.vhdx");
        assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    }
}
