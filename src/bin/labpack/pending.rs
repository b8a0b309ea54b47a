//! Stands in for the parts of the library that are not there yet: their types as the command is
//! written against them, and calls that say so. Goes away with the last of them.
#![expect(
    dead_code,
    reason = "the fields are filled by the library that is to come"
)]

use std::{path::PathBuf, time::Duration};

use labpack::{
    base::{ContentId, IoTotals, Run},
    manifest::Totals,
    report::Findings,
};
use serde::Serialize;

#[derive(Debug, thiserror::Error)]
pub(crate) enum PendingError {
    #[error("this labpack cannot do that yet")]
    NotYet,
    #[error("nothing was changed: see the findings")]
    Refused(Findings),
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
    pub(crate) struct Saving {
        pub(crate) vm: String,
        pub(crate) bytes: u64,
        pub(crate) in_store: u64,
    }

    #[derive(Debug, Serialize)]
    pub(crate) struct Outcome {
        pub(crate) pack: PathBuf,
        pub(crate) totals: Totals,
        pub(crate) savings: Vec<Saving>,
        pub(crate) findings: Findings,
        pub(crate) io: IoTotals,
    }

    pub(crate) type PackError = PendingError;

    pub(crate) fn pack(_: &Request, _: &Run<'_>) -> Result<Outcome, PackError> {
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
        pub(crate) files: u64,
        pub(crate) bytes: u64,
        pub(crate) findings: Findings,
        pub(crate) io: IoTotals,
    }

    pub(crate) fn restore(_: &RestoreRequest, _: &Run<'_>) -> Result<RestoreOutcome, PackError> {
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

    pub(crate) type UnpackError = PendingError;

    pub(crate) fn unpack(_: &Request, _: &Run<'_>) -> Result<Outcome, UnpackError> {
        Err(PendingError::NotYet)
    }
}

pub(crate) mod store {
    use super::*;

    #[derive(Debug, Serialize)]
    pub(crate) struct ListedRefDisk {
        pub(crate) file: String,
        pub(crate) id: ContentId,
        pub(crate) length: u64,
        pub(crate) users: Vec<String>,
    }

    #[derive(Debug, Serialize)]
    pub(crate) struct StoreList {
        pub(crate) ref_disks: Vec<ListedRefDisk>,
        pub(crate) findings: Findings,
    }

    #[derive(Debug, Serialize)]
    pub(crate) struct StoreReport {
        pub(crate) ref_disks: u64,
        pub(crate) bytes: u64,
        pub(crate) findings: Findings,
        pub(crate) io: IoTotals,
    }

    #[derive(Debug)]
    pub(crate) struct GcOptions {
        pub(crate) dry_run: bool,
        pub(crate) grace: Duration,
    }

    #[derive(Debug, Serialize)]
    pub(crate) struct RemovedRefDisk {
        pub(crate) file: String,
        pub(crate) length: u64,
    }

    #[derive(Debug, Serialize)]
    pub(crate) struct GcReport {
        pub(crate) removed: Vec<RemovedRefDisk>,
        pub(crate) kept: u64,
        pub(crate) findings: Findings,
    }

    pub(crate) fn list(_: &std::path::Path, _: &Run<'_>) -> Result<StoreList, PendingError> {
        Err(PendingError::NotYet)
    }

    pub(crate) fn check(_: &std::path::Path, _: &Run<'_>) -> Result<StoreReport, PendingError> {
        Err(PendingError::NotYet)
    }

    pub(crate) fn gc(
        _: &std::path::Path,
        _: &GcOptions,
        _: &Run<'_>,
    ) -> Result<GcReport, PendingError> {
        Err(PendingError::NotYet)
    }
}
