//! What a power cut may take: nothing that the receipt tells of.

use super::{carry_out, has_symlinks, lab::Lab, request};
use crate::{
    formats::DiskFormat,
    fs::seam::{self, StepKind},
    store::RECEIPT_NAME,
    unpack::LinkMode,
};

#[test]
fn each_folder_is_flushed_between_what_came_into_it_and_the_receipt() {
    use StepKind::{CreateFolder, FlushFolder, FlushVolume, Link, Rename};
    let mut ways = vec![LinkMode::Hardlink, LinkMode::Relocate, LinkMode::Copy];
    ways.extend(has_symlinks().then_some(LinkMode::Symlink));
    for link in ways {
        let lab = Lab::of(DiskFormat::Vhdx);
        let work = || carry_out(&request(&lab, link));
        let (outcome, steps) = seam::record(&lab.dest(), work);
        outcome.unwrap();
        let receipt = (Rename, lab.dest().join(RECEIPT_NAME));
        let end = steps.iter().position(|step| *step == receipt).unwrap();
        let mut came = 0;
        for (at, (kind, path)) in steps[..end].iter().enumerate() {
            // What was only tried is gone again.
            let stays = path.symlink_metadata().is_ok() && *path != lab.dest();
            if !stays || !matches!(kind, Link | Rename | CreateFolder) {
                continue;
            }
            came += 1;
            let folder = path.parent().unwrap();
            let flushed = steps[at..end].iter().any(|(kind, path)| {
                *kind == FlushVolume || (*kind == FlushFolder && path == folder)
            });
            assert!(flushed, "{link}: {kind:?} {}", path.display());
        }
        assert!(came > 10, "{link}: {came}");
    }
}

#[test]
fn a_refdisk_that_another_program_brought_is_flushed_before_it_is_shared() {
    let lab = Lab::of(DiskFormat::Vhdx);
    let name = &lab.manifest.ref_disks[0].file;
    let (ours, theirs) = (lab.dest().join("RefDisk"), lab.pack().join("RefDisk"));
    let work = || carry_out(&request(&lab, LinkMode::Hardlink));
    let (outcome, steps) = seam::record(lab.root.path(), work);
    if outcome.unwrap().counts.ref_disks_shared == 0 {
        println!("skipped: on Windows, and where blocks are cloned, nothing is shared");
        return;
    }
    let at = |step| steps.iter().position(|taken| *taken == step).unwrap();
    let flushed = at((StepKind::Flush, theirs.join(name)));
    assert!(flushed < at((StepKind::Rename, ours.join(name))));
}
