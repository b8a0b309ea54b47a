//! Stands in for the parts of the library that are not there yet: their types as the command is
//! written against them, and calls that say so. Goes away with the last of them.
#![expect(
    dead_code,
    reason = "the fields are filled by the library that is to come"
)]

use std::path::PathBuf;

use labpack::{
    base::{IoTotals, Run},
    manifest::Totals,
    plan::Saving,
    report::Findings,
};
use serde::Serialize;

#[derive(Debug, thiserror::Error)]
pub(crate) enum PendingError {
    #[error("this labpack cannot do that yet")]
    NotYet,
    #[error("nothing was changed: see the findings")]
    Refused(Findings),
    #[error("some files changed meanwhile and were left alone: see the findings")]
    Kept(Findings),
}

pub(crate) mod pack {
    use super::*;

    #[derive(Debug, Default)]
    pub(crate) struct Request {
        pub(crate) exports: Vec<PathBuf>,
        pub(crate) output: Option<PathBuf>,
        pub(crate) store: Option<PathBuf>,
        pub(crate) dry_run: bool,
        pub(crate) keep_broken: bool,
        pub(crate) include_external: bool,
        pub(crate) all_parents: bool,
    }

    #[derive(Debug, Serialize)]
    pub(crate) struct Outcome {
        pub(crate) dry_run: bool,
        pub(crate) packs: Vec<Packed>,
        pub(crate) io: IoTotals,
        pub(crate) seconds: f64,
    }

    #[derive(Debug, Serialize)]
    pub(crate) struct Packed {
        pub(crate) exports: Vec<PathBuf>,
        pub(crate) pack: PathBuf,
        pub(crate) store: PathBuf,
        pub(crate) resumed: bool,
        pub(crate) totals: Totals,
        pub(crate) stored: u64,
        pub(crate) removed: u64,
        pub(crate) kept: u64,
        pub(crate) savings: Vec<Saving>,
        pub(crate) findings: Findings,
    }

    pub(crate) fn pack(_: &Request, _: &Run<'_>) -> Result<Outcome, PendingError> {
        Err(PendingError::NotYet)
    }

    #[derive(Debug, Default)]
    pub(crate) struct RestoreRequest {
        pub(crate) pack: PathBuf,
        pub(crate) store: Option<PathBuf>,
        pub(crate) dry_run: bool,
    }

    #[derive(Debug, Serialize)]
    pub(crate) struct RestoreOutcome {
        pub(crate) dry_run: bool,
        pub(crate) export: PathBuf,
        pub(crate) files: u64,
        pub(crate) bytes: u64,
        pub(crate) left_in_store: u64,
        pub(crate) findings: Findings,
        pub(crate) io: IoTotals,
        pub(crate) seconds: f64,
    }

    pub(crate) fn restore(_: &RestoreRequest, _: &Run<'_>) -> Result<RestoreOutcome, PendingError> {
        Err(PendingError::NotYet)
    }
}

pub(crate) mod unpack {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum LinkMode {
        Auto,
        Reflink,
        Hardlink,
        Symlink,
        Junction,
        Relocate,
        Copy,
    }

    #[derive(Debug)]
    pub(crate) struct Request {
        pub(crate) pack: PathBuf,
        pub(crate) dest: PathBuf,
        pub(crate) store: Option<PathBuf>,
        pub(crate) link: LinkMode,
        pub(crate) reset: bool,
        pub(crate) dry_run: bool,
        pub(crate) windows_dest: Option<String>,
    }

    #[derive(Debug, Serialize)]
    pub(crate) struct Outcome {
        pub(crate) dest: PathBuf,
        pub(crate) link: String,
        pub(crate) why: String,
        pub(crate) files: u64,
        pub(crate) already: u64,
        pub(crate) chains: u64,
        pub(crate) script: Option<PathBuf>,
        pub(crate) findings: Findings,
        pub(crate) io: IoTotals,
    }

    pub(crate) fn unpack(_: &Request, _: &Run<'_>) -> Result<Outcome, PendingError> {
        Err(PendingError::NotYet)
    }
}
