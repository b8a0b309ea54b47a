//! The power goes at every step: whatever of the unflushed things reached the disk, nothing is
//! lost, and the same command goes on.

use labpack::{
    formats::DiskFormat::{Vhd, Vhdx},
    fs::VolumeFlush,
    unpack::LinkMode,
};
use tempfile::TempDir;

use crate::{
    faults::{Deed, Trial, in_one_thread, rounds, scratch, seed},
    faults_disk::{Disk, Loss},
    support::volume::Mounted,
};

/// States that are made of each stop.
const STATES: u64 = 2;

/// Cuts the power before every step of a deed, or one in `every`, and after its last one.
fn cut_everywhere(deed: Trial, every: u64) {
    cut_everywhere_in(&scratch, deed, every);
}

fn cut_everywhere_in(place: &dyn Fn() -> TempDir, deed: Trial, every: u64) {
    let every = if rounds(0) > 0 { 1 } else { every };
    let (mut stops, mut states) = (0, 0);
    let mut last = 1;
    loop {
        let mut came_through = false;
        for state in 0..rounds(STATES) {
            let loss = match state {
                0 => Loss::All,
                // A state of its own for each stop and each deed's seed.
                _ => Loss::Some {
                    seed: seed() + last * 1_000_003 + state * 7919,
                },
            };
            came_through = cut(place(), deed, last, loss);
            states += 1;
        }
        stops += 1;
        if came_through {
            break;
        }
        last += every;
    }
    println!("{deed:?}: {stops} stops, {states} states of the disk");
    assert!(stops > 5, "{deed:?}: {stops} stops");
}

/// Tells whether the deed was done before its `last` step came.
fn cut(folder: TempDir, deed: Trial, last: u64, loss: Loss) -> bool {
    let when = format!(
        "{deed:?}, power cut at step {last}, {loss:?} (LABPACK_TEST_SEED={})",
        seed()
    );
    let (root, vault) = (folder.path().join("disk"), folder.path().join("vault"));
    std::fs::create_dir(&root).unwrap();
    in_one_thread(|| deed.prepare(&root));
    let disk = Disk::of(&root, &vault);
    let guard = disk.stop_at(last);
    let done = in_one_thread(|| deed.work(&root));
    drop(guard);
    disk.cut(loss, &when);
    deed.nothing_is_lost(&root, &when);
    deed.goes_on(&root, &when);
    done.is_ok()
}

#[test]
fn a_pack_in_place_loses_nothing_when_the_power_goes() {
    cut_everywhere(Deed::PackInPlace.on(Vhd), 1);
}

#[test]
fn a_pack_to_another_folder_goes_on_when_the_power_went() {
    cut_everywhere(Deed::PackToOutput.on(Vhd), 1);
}

#[test]
fn a_restore_loses_nothing_when_the_power_goes() {
    cut_everywhere(Deed::Restore.on(Vhd), 1);
}

#[test]
fn an_unpack_goes_on_when_the_power_went() {
    cut_everywhere(Deed::Unpack(LinkMode::Copy).on(Vhd), 1);
    cut_everywhere(Deed::Unpack(LinkMode::Hardlink).on(Vhd), 1);
    cut_everywhere(Deed::Unpack(LinkMode::Symlink).on(Vhd), 3);
    cut_everywhere(Deed::Unpack(LinkMode::Relocate).on(Vhd), 3);
}

/// On Btrfs: a folder in memory is not flushed as a whole.
#[test]
fn a_pack_and_an_unpack_go_on_when_the_power_went_where_files_are_flushed_together() {
    let Some(volume) = Mounted::btrfs() else {
        return;
    };
    let there = || tempfile::tempdir_in(volume.path()).unwrap();
    if VolumeFlush::of(&volume.path()).unwrap().is_none() {
        println!("skipped: no volume is flushed as a whole here");
        return;
    }
    cut_everywhere_in(&there, Deed::PackToOutput.on(Vhd), 1);
    cut_everywhere_in(&there, Deed::Unpack(LinkMode::Copy).on(Vhd), 1);
    cut_everywhere_in(&there, Deed::Unpack(LinkMode::Hardlink).on(Vhd), 1);
}

#[test]
fn a_collection_loses_nothing_when_the_power_goes() {
    cut_everywhere(Deed::Gc.on(Vhd), 1);
}

// A VHDX has some MiB, and each state of the disk takes a while: one step in a few must do. A
// RefDisk that becomes a file again is patched in stages, for whose sake a restore has more.

#[test]
fn packs_of_vhdx_lose_nothing_when_the_power_goes() {
    cut_everywhere(Deed::PackInPlace.on(Vhdx), 12);
    cut_everywhere(Deed::PackToOutput.on(Vhdx), 47);
    cut_everywhere(Deed::Restore.on(Vhdx), 4);
}

#[test]
fn unpacks_and_collections_of_vhdx_lose_nothing_when_the_power_goes() {
    cut_everywhere(Deed::Unpack(LinkMode::Copy).on(Vhdx), 41);
    cut_everywhere(Deed::Unpack(LinkMode::Hardlink).on(Vhdx), 41);
    cut_everywhere(Deed::Gc.on(Vhdx), 1);
}
