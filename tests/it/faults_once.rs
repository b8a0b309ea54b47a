//! One step fails once, and everything after it works: the run ends with an error, nothing is
//! lost, and the same command completes.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use labpack::fs::seam::{self, StepKind};

use crate::faults::{Deed, EVERY, in_one_thread, rounds, scratch};

/// How a step fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// The device says no; the step is not taken.
    Device,
    /// There is no room; the step is not taken.
    Full,
    /// The step is taken, and an error comes all the same, as a network drive may answer.
    Late,
}

impl Fault {
    fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Device | Self::Late => 5, // EIO
            Self::Full => 28,               // ENOSPC
        })
    }
}

/// What came of a run in which a step failed: the step, and whether the run ended well anyway.
struct Came {
    step: Option<StepKind>,
    well: bool,
}

fn fail(deed: Deed, at: u64, fault: Fault) -> Came {
    let folder = scratch();
    let root = folder.path().to_owned();
    in_one_thread(|| deed.prepare(&root));
    let steps = Arc::new(AtomicU64::new(0));
    let failed = Arc::new(Mutex::new(None));
    let (below, note) = (root.clone(), Arc::clone(&failed));
    let hit = move |step: seam::Step<'_>| {
        if step.path.starts_with(&below) && steps.fetch_add(1, Ordering::SeqCst) + 1 == at {
            *note.lock().unwrap() = Some((step.kind, step.path.to_owned()));
            return Err(fault.error());
        }
        Ok(())
    };
    let guard = if fault == Fault::Late {
        seam::install_around(|_| Ok(()), hit)
    } else {
        seam::install(hit)
    };
    let done = in_one_thread(|| deed.work(&root));
    drop(guard);
    let step = failed.lock().unwrap().take();
    let when = format!("{deed:?}, {fault:?} at step {at}, {step:?}");
    deed.nothing_is_lost(&root, &when);
    deed.goes_on(&root, &when);
    Came {
        step: step.map(|(kind, _)| kind),
        well: done.is_ok(),
    }
}

/// Fails each step once, or one in `every` of them.
fn fail_everywhere(fault: Fault, every: u64) {
    let every = if rounds(0) > 0 { 1 } else { every };
    let mut faults = 0;
    for (number, deed) in (0..).zip(EVERY) {
        let mut shrugged: BTreeMap<StepKind, u64> = BTreeMap::new();
        for turn in 0.. {
            let at = 1 + number % every + turn * every;
            let came = fail(deed, at, fault);
            let Some(step) = came.step else {
                assert!(came.well, "{deed:?}: nothing failed");
                break;
            };
            faults += 1;
            if came.well {
                *shrugged.entry(step).or_default() += 1;
            }
        }
        println!("{deed:?}, {fault:?}: came through after {shrugged:?}");
    }
    println!("{faults} faults");
    assert!(faults > 900 / every, "{faults}");
}

#[test]
fn an_error_of_the_device_at_any_step_loses_nothing() {
    fail_everywhere(Fault::Device, 2);
}

#[test]
fn a_full_disk_at_any_step_loses_nothing() {
    fail_everywhere(Fault::Full, 5);
}

#[test]
fn a_step_that_was_taken_and_still_fails_loses_nothing() {
    fail_everywhere(Fault::Late, 3);
}
