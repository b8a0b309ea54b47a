//! What must agree between a child and the parent that it was made on.

use super::Disk;
use crate::{
    formats::{DiskFormat, DiskInfo, LogState},
    report::{Code, Finding, WindowsError},
};

/// File systems keep times to two seconds (FAT) or better.
const TIME_TOLERANCE: u64 = 2;

/// Returns what does not agree. Of two disks of which one cannot be read, nothing can be said.
pub(super) fn between(child: &Disk, parent: &Disk) -> Vec<Finding> {
    let (Some(below), Some(above)) = (&child.info, &parent.info) else {
        return Vec::new();
    };
    let pair = Pair {
        child,
        parent,
        below,
        above,
    };
    [pair.sizes(), pair.sectors(), pair.page83(), pair.time()]
        .into_iter()
        .flatten()
        .collect()
}

struct Pair<'a> {
    child: &'a Disk,
    parent: &'a Disk,
    below: &'a DiskInfo,
    above: &'a DiskInfo,
}

impl Pair<'_> {
    fn sizes(&self) -> Option<Finding> {
        let (own, parents) = (self.below.virtual_size, self.above.virtual_size);
        let message = format!(
            "the disk has {own}, but its parent `{}` has {parents}",
            self.parent.path
        );
        match self.below.format {
            DiskFormat::Vhd if own != parents => Some(
                Finding::error(Code::SizeMismatch, &self.child.path, message)
                    .windows(WindowsError::SIZE_MISMATCH)
                    .next("the parent was resized after the child was made: put back the copy of the right size"),
            ),
            // A VHDX child may be larger: beyond its parent's end it reads zeros.
            DiskFormat::Vhdx if own < parents => Some(
                Finding::warning(Code::ChildSmaller, &self.child.path, message)
                    .next("make sure that the disk was made smaller on purpose"),
            ),
            _ => None,
        }
    }

    fn sectors(&self) -> Option<Finding> {
        let (own, parents) = (self.below.logical_sector, self.above.logical_sector);
        (own != parents).then(|| {
            let message = format!(
                "logical sectors have {own} bytes, but those of the parent `{}` have {parents}",
                self.parent.path
            );
            Finding::error(Code::SectorSizeMismatch, &self.child.path, message)
                .next("put back the parent that the child was made on, or export the VM again")
        })
    }

    fn page83(&self) -> Option<Finding> {
        let (own, parents) = (self.below.page83_id?, self.above.page83_id?);
        (own != parents).then(|| {
            let message = format!(
                "the guest sees disk id {own}, but that of the parent `{}` is {parents}",
                self.parent.path
            );
            Finding::warning(Code::DiskIdDiffers, &self.child.path, message).next(
                "harmless where somebody reset the id on purpose (Set-VHD -ResetDiskIdentifier)",
            )
        })
    }

    fn time(&self) -> Option<Finding> {
        let recorded = self.below.parent.as_ref()?.timestamp?;
        let found = self.parent.modified;
        (found.abs_diff(i64::from(recorded)) > TIME_TOLERANCE).then(|| {
            let message = format!(
                "the parent was modified {recorded} seconds after 2000 when the child was made, but `{}` was {found} seconds after 2000",
                self.parent.path
            );
            Finding::warning(Code::ParentTimeDiffers, &self.child.path, message)
                .windows(WindowsError::PARENT_TIME_MISMATCH)
                .next("hosts before 2012 may refuse the chain: copy disks with their times (robocopy /COPY:DAT)")
        })
    }
}

/// Returns the error of a disk whose log must be replayed first.
pub(super) fn log(disk: &Disk, is_parent: bool) -> Option<Finding> {
    let info = disk.info.as_deref()?;
    (info.log == LogState::Pending).then(|| {
        let next = if is_parent {
            "export the VM again from its host; attaching a parent for writing would change its id, and every child would refuse it"
        } else {
            "attach and detach the disk once, as administrator, on a Hyper-V host; then run the command again"
        };
        Finding::error(
            Code::DirtyLog,
            &disk.path,
            "the log holds changes that are not applied yet; the disk was not shut down cleanly",
        )
        .next(next)
    })
}

/// Returns the error of a disk that is its own ancestor.
pub(super) fn cycle(disk: &Disk) -> Finding {
    Finding::error(Code::Cycle, &disk.path, "the disk is its own ancestor")
        .windows(WindowsError::CYCLE)
        .next("put back the parent that the disk was made on, or export the VM again")
}

/// Returns the error of a disk that is one level too far down.
pub(super) fn too_deep(disk: &Disk, levels: usize) -> Finding {
    let message = format!("the chain has more than {levels} levels");
    Finding::error(Code::ChainTooDeep, &disk.path, message)
        .next("merge checkpoints or children into their parents on a Hyper-V host")
}

/// Returns the warning about a disk that has the name of one of its ancestors.
pub(super) fn same_name(disk: &Disk, ancestor: &Disk) -> Finding {
    let message = format!(
        "has the same file name as its ancestor `{}`; Hyper-V's own export of such a chain fails (0x80070050)",
        ancestor.path
    );
    Finding::warning(Code::SameNamedChain, &disk.path, message)
        .next("labpack keeps both; for Hyper-V's export, rename one and reconnect it with Set-VHD -ParentPath")
}

/// Returns the error of a disk below a broken one.
pub(super) fn broken_ancestor(disk: &Disk, culprit: &Disk, direct: bool) -> Finding {
    let whose = if direct {
        "the parent"
    } else {
        "further up the chain,"
    };
    let message = format!("{whose} `{}` cannot be used", culprit.path);
    Finding::error(Code::BrokenAncestor, &disk.path, message)
        .windows(WindowsError::PARENT_CHAIN)
        .next("see what is said about that disk")
}
