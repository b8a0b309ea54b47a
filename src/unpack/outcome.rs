//! What an unpack came to.

use serde::Serialize;

use crate::{
    base::IoTotals,
    plan::{FileAction, Link, LinkAction, RefDiskAction, UnpackPlan},
    report::Findings,
};

/// What an unpack came to, or would come to (`--dry-run`).
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Where the lab is now.
    pub dest: String,
    /// Where its RefDisks are; absent where no disk is shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// The pack's own store, where it is on the volume that RefDisks were copied to: named with
    /// `--store`, it saves the copies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pack_store: Option<String>,
    /// How VMs come to their shared parents.
    pub link: Link,
    /// Why in this way.
    pub why: String,
    /// Whether nothing was done, and `plan` says what would be.
    pub dry_run: bool,
    /// What was done, by number.
    pub counts: Counts,
    /// What would be done, file by file; only for `--dry-run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<UnpackPlan>,
    /// What was found, the chains at the destination included.
    pub findings: Findings,
    /// Bytes moved.
    pub io: IoTotals,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// On Windows, the right of VMs to read the RefDisks; absent where no disk is shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_access: Option<VmAccess>,
    /// What to type next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The right of every VM of a Windows host to read the RefDisks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VmAccess {
    /// What gives it.
    pub command: String,
    /// Whether it was given.
    pub granted: bool,
}

/// How many files, links and RefDisks an unpack dealt with, and in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// VMs of the lab.
    pub vms: u64,
    /// Files written, put back ones included.
    pub files_written: u64,
    /// Their bytes.
    pub bytes_written: u64,
    /// Files that stood there unchanged.
    pub files_kept: u64,
    /// Files that have been used since, and were left alone.
    pub files_left: u64,
    /// Files that had been used, and were put back.
    pub files_reset: u64,
    /// Links made.
    pub links_made: u64,
    /// Links that stood there.
    pub links_kept: u64,
    /// RefDisks brought into the store.
    pub ref_disks_written: u64,
    /// Their bytes.
    pub ref_disk_bytes: u64,
    /// RefDisks that the store got a further name of, the pack's own files.
    pub ref_disks_shared: u64,
    /// Their bytes, which were not copied.
    pub shared_bytes: u64,
    /// RefDisks that stood in the store.
    pub ref_disks_kept: u64,
}

impl Counts {
    pub(super) fn of(plan: &UnpackPlan, vms: u64) -> Self {
        let mut counts = Self {
            vms,
            ..Self::default()
        };
        for step in &plan.files {
            counts.add_file(step.action, step.length);
        }
        for step in &plan.links {
            match step.action {
                LinkAction::Keep => counts.links_kept += 1,
                LinkAction::Make | LinkAction::Replace => counts.links_made += 1,
                LinkAction::LeaveUsed => counts.files_left += 1,
            }
        }
        for step in &plan.ref_disks {
            match step.action {
                RefDiskAction::Have => counts.ref_disks_kept += 1,
                RefDiskAction::Write => {
                    counts.ref_disks_written += 1;
                    counts.ref_disk_bytes = counts.ref_disk_bytes.saturating_add(step.length);
                }
                RefDiskAction::Share => {
                    counts.ref_disks_shared += 1;
                    counts.shared_bytes = counts.shared_bytes.saturating_add(step.length);
                }
            }
        }
        counts
    }

    fn add_file(&mut self, action: FileAction, length: u64) {
        match action {
            FileAction::Keep => self.files_kept += 1,
            FileAction::LeaveUsed => self.files_left += 1,
            FileAction::Write | FileAction::Replace | FileAction::Reset => {
                self.files_written += 1;
                self.bytes_written = self.bytes_written.saturating_add(length);
                self.files_reset += u64::from(action == FileAction::Reset);
            }
        }
    }
}
