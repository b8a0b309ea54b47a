//! Errors that come from the kernel itself: the device below the file system cannot write any
//! more, or has a block that cannot be read. Once it works again, the same command completes.
//!
//! Device-mapper makes the device fail where the kernel has it; a loop device whose image has no
//! room, or is cut short, fails too, though not in every block.

use std::{
    error::Error,
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use labpack::{fs::seam, unpack::LinkMode};

use crate::{
    faults::{Chain, Deed, Stopped, files, in_one_thread, original, rounds, scratch},
    support::{
        copy,
        device::{BLOCK, Device},
        verbs,
    },
};

/// Refuses all writes from the `at`-th step of a deed on. Tells whether the deed ended with an
/// error, if it had so many steps.
fn refuse_from(device: &Arc<Device>, deed: Deed, at: u64) -> Option<bool> {
    let root = device.fresh();
    in_one_thread(|| deed.prepare(&root));
    device.remount("rw");
    let steps = Arc::new(AtomicU64::new(0));
    let (below, count, failing) = (root.clone(), Arc::clone(&steps), Arc::clone(device));
    let guard = seam::install(move |step| {
        if step.path.starts_with(&below) && count.fetch_add(1, Ordering::SeqCst) + 1 == at {
            failing.refuse_writes();
        }
        Ok(())
    });
    let done = in_one_thread(|| deed.work(&root));
    drop(guard);
    if steps.load(Ordering::SeqCst) < at {
        done.unwrap();
        return None;
    }
    let when = format!("{deed:?}, no writes from step {at} on");
    device.mend();
    device.remount("rw");
    deed.nothing_is_lost(&root, &when);
    deed.goes_on(&root, &when);
    let told = done.as_ref().err();
    if let Some(why) = told {
        assert!(is_of_the_device(&**why), "{when}: {}", Chain(&**why));
    }
    Some(told.is_some())
}

/// Tells whether an error is the device's: it cannot, or it has no room, or the file system gave up
/// writing after that.
fn is_of_the_device(why: &(dyn Error + 'static)) -> bool {
    let code = why
        .downcast_ref::<io::Error>()
        .and_then(io::Error::raw_os_error);
    matches!(code, Some(5 | 28 | 30)) // EIO, ENOSPC, EROFS
        || why.source().is_some_and(is_of_the_device)
}

fn refuse_everywhere(device: Device) {
    let device = Arc::new(device);
    let every = if rounds(0) > 0 { 1 } else { 13 };
    for deed in [
        Deed::PackInPlace,
        Deed::PackToOutput,
        Deed::Restore,
        Deed::Unpack(LinkMode::Copy),
    ] {
        let stops = (1..).step_by(every);
        let told: Vec<bool> = stops
            .map_while(|at| refuse_from(&device, deed, at))
            .collect();
        let errors = told.iter().filter(|told| **told).count();
        println!("{deed:?}: {} stops, {errors} errors", told.len());
        assert!(
            told[0],
            "{deed:?}: nothing could be written, and it ended well"
        );
        // What little is left to do late may find its blocks on the device already.
        assert!(errors > 1, "{deed:?}: {errors} of {}", told.len());
    }
}

#[test]
fn a_mapped_device_that_refuses_writes_loses_nothing() {
    if let Some(device) = Device::mapped() {
        refuse_everywhere(device);
    }
}

#[test]
fn a_device_without_room_for_its_writes_loses_nothing() {
    if let Some(device) = Device::looped() {
        refuse_everywhere(device);
    }
}

/// The disk of a VM, with a block in it that no other has.
const LEAF: &str = "A/Virtual Hard Disks/A.vhd";

/// Spoils a block of one VM's disk in a copy of `from`, which `verb` works on into another folder;
/// then its `LEAF` is as the one in `to`.
/// The error says `told`.
fn read_a_bad_block(
    device: &Device,
    verb: fn(&Path, &Path) -> Result<(), Stopped>,
    (from, to): (&Path, &Path),
    told: &str,
) {
    let (root, work) = (device.fresh(), scratch());
    let out = work.path().join("out");
    copy(from, &root);
    device.remount("ro");
    device.spoil(&fullest_block(&fs::read(from.join(LEAF)).unwrap()));
    let why = verb(&root, &out).expect_err("a block cannot be read, and it ended well");
    let said = Chain(&*why).to_string();
    assert!(said.contains(told), "{told} is not told: {said}");
    device.mend();
    device.remount("ro");
    assert_eq!(files(&root), files(from));
    verb(&root, &out).unwrap();
    let leaves = [out.as_path(), to].map(|folder| fs::read(folder.join(LEAF)).unwrap());
    assert!(leaves[0] == leaves[1], "{LEAF} came out otherwise");
}

fn read_bad_blocks(device: &Device, told: &str) {
    let (lab, pack) = (original().lab.as_path(), original().pack.as_path());
    let do_pack = |from: &Path, out: &Path| Ok(verbs::try_pack(&verbs::to(from, out)).map(drop)?);
    read_a_bad_block(device, do_pack, (lab, pack), told);
    let do_unpack = |from: &Path, out: &Path| {
        let request = verbs::by(LinkMode::Copy, from, out);
        Ok(verbs::try_unpack(&request).map(drop)?)
    };
    read_a_bad_block(device, do_unpack, (pack, lab), told);
}

/// The block of a file that has the most in it, zeros and empty entries of tables apart.
fn fullest_block(bytes: &[u8]) -> Vec<u8> {
    let full = |block: &&[u8]| {
        block
            .iter()
            .filter(|byte| !matches!(byte, 0 | 0xFF))
            .count()
    };
    bytes.chunks_exact(BLOCK).max_by_key(full).unwrap().to_vec()
}

#[test]
fn a_block_that_a_mapped_device_cannot_read_is_told_by_name_and_nothing_is_lost() {
    if let Some(device) = Device::mapped() {
        read_bad_blocks(&device, "A/Virtual Hard Disks/A.vhd");
    }
}

#[test]
fn a_block_that_a_device_cannot_read_is_told_and_nothing_is_lost() {
    if let Some(device) = Device::looped() {
        // All that lies behind the block is gone too, and it is chance which file is missed first.
        read_bad_blocks(&device, "(os error 5)");
    }
}
