//! What a pack, or its undoing, came to.

use std::{path::PathBuf, time::Duration};

use serde::Serialize;

use crate::{
    base::IoTotals,
    manifest::Totals,
    plan::{PackPlan, Saving},
    report::Findings,
};

/// What a pack came to.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Whether this is only what would be done.
    pub dry_run: bool,
    /// Each pack that was made.
    pub packs: Vec<Packed>,
    /// Bytes moved in all.
    pub io: IoTotals,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// One pack.
#[derive(Debug, Clone, Serialize)]
pub struct Packed {
    /// The exports in it.
    pub exports: Vec<PathBuf>,
    /// Where it is.
    pub pack: PathBuf,
    /// Where its RefDisks are.
    pub store: PathBuf,
    /// Whether an interrupted run was finished first.
    pub resumed: bool,
    /// What it comes to.
    pub totals: Totals,
    /// RefDisks that came into the store.
    pub stored: u64,
    /// Files of the export that were removed from it, their bytes being in the store.
    pub removed: u64,
    /// Files that stand in the pack at their own paths.
    pub kept: u64,
    /// What is saved, VM by VM.
    pub savings: Vec<Saving>,
    /// What is worth knowing.
    pub findings: Findings,
    /// The command to type next.
    pub next: String,
    /// What would be done, in full: only for a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PackPlan>,
}

impl Packed {
    /// Returns the bytes that the pack is smaller than its exports.
    #[must_use]
    pub const fn saved_bytes(&self) -> u64 {
        let totals = &self.totals;
        totals.export_bytes.saturating_sub(totals.packed_bytes)
    }
}

/// What undoing a pack came to.
#[derive(Debug, Clone, Serialize)]
pub struct RestoreOutcome {
    /// Whether this is only what would be done.
    pub dry_run: bool,
    /// The folder, which is an export again.
    pub export: PathBuf,
    /// Files that came back, or would.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// RefDisks that were left in a shared store.
    pub left_in_store: u64,
    /// What is worth knowing.
    pub findings: Findings,
    /// Bytes moved.
    pub io: IoTotals,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// How long something took, in seconds.
pub(super) fn seconds(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64()
}
