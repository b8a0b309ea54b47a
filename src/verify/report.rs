//! What verify answers.

use schemars::JsonSchema;
use serde::Serialize;

use super::content::Checked;
use crate::{
    base::{IoTotals, Run},
    export::{Examination, ExaminedDisk},
    report::{Finding, Findings, Severity},
};

/// What was verified, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VerifyReport {
    /// Every disk that was examined, by path, with what was found about it.
    pub disks: Vec<ExaminedDisk>,
    /// How the chains fared.
    pub chains: Chains,
    /// What was found about no single disk: about names, links, packs, contents.
    pub findings: Findings,
    /// What reading the contents came to; absent unless it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentTotals>,
    /// Bytes read for it.
    pub io: IoTotals,
}

/// How many chains, each counted by its leaf, are good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Chains {
    /// Every file is found, and what must agree does.
    pub ok: u64,
    /// The chain must not be used.
    pub broken: u64,
}

/// What reading contents came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ContentTotals {
    /// Files that were read.
    pub files: u64,
    /// Files whose bytes are not those in the manifest, or that could not be read.
    pub differing: u64,
}

impl Chains {
    /// Counts every chain once: by its leaf, or, where disks are each other's ancestors and none
    /// is a leaf, by its circle.
    fn of(disks: &[ExaminedDisk]) -> Self {
        let mut chains = Self::default();
        let mut counted = vec![false; disks.len()];
        let (leaves, others): (Vec<_>, Vec<_>) =
            (0..disks.len()).partition(|&at| disks[at].role.is_leaf());
        for start in leaves.into_iter().chain(others) {
            let is_leaf = disks[start].role.is_leaf();
            if counted[start] && !is_leaf {
                continue;
            }
            let mut next = Some(start);
            while let Some(at) = next.filter(|&at| !std::mem::replace(&mut counted[at], true)) {
                next = disks[at].parent;
            }
            if disks[start].broken {
                chains.broken += 1;
            } else if is_leaf {
                chains.ok += 1;
            }
        }
        chains
    }
}

impl VerifyReport {
    pub(super) fn of(examination: Examination, content: Option<Checked>, run: &Run<'_>) -> Self {
        let chains = Chains::of(&examination.disks);
        let mut findings = examination.findings;
        let content = content.map(|checked| {
            findings.extend(checked.findings.0);
            checked.totals
        });
        Self {
            disks: examination.disks,
            chains,
            findings,
            content,
            io: run.meter.totals(),
        }
    }

    /// Returns every finding: those about no disk first, then disk by disk.
    pub fn all_findings(&self) -> impl Iterator<Item = &Finding> {
        let disks = self.disks.iter().flat_map(|disk| &disk.findings);
        self.findings.iter().chain(disks)
    }

    /// Tells whether anything is wrong: a broken chain, a damaged or missing file.
    #[must_use]
    pub fn found_errors(&self) -> bool {
        self.all_findings()
            .any(|finding| finding.severity == Severity::Error)
    }
}
