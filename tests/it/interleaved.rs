//! Two at once, their steps shuffled: each waits, refuses or completes, and in the end everything
//! verifies and comes back.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Barrier, Mutex},
    thread,
    time::Duration,
};

use labpack::{
    fs::seam,
    pack,
    store::{self, GcOptions},
    unpack::{self, LinkMode},
    verify,
};

use crate::{
    faults::{Chain, Stopped, files, in_one_thread, no_leftovers, original, rounds, scratch, seed},
    faults_disk::Dice,
    shared_refdisks::in_both,
    support::{Watch, copy, verbs},
};

/// Interleavings of each pair.
const ROUNDS: u64 = 40;

type Verb = Box<dyn Fn(&Path) -> Result<(), Stopped> + Send + Sync>;

/// Two verbs, what they begin with, and what must hold in the end.
struct Pair {
    name: &'static str,
    prepare: fn(&Path),
    verbs: [Verb; 2],
    /// Gets whether each of the two completed.
    check: fn(&Path, [bool; 2], &str),
}

fn shuffle(pair: &Pair) {
    let mut completed = [0_u64; 2];
    let mut whys = BTreeSet::new();
    for round in 0..rounds(ROUNDS) {
        let folder = scratch();
        let root = folder.path();
        let when = format!(
            "{}, round {round} (LABPACK_TEST_SEED={})",
            pair.name,
            seed()
        );
        in_one_thread(|| (pair.prepare)(root));
        let guard = loitering(root, seed() * 65_537 + round);
        let ends = at_once(&pair.verbs, root);
        drop(guard);
        let ends = ends.map(|end| match end {
            Ok(()) => true,
            Err(why) => {
                let why = Chain(&*why).to_string();
                assert!(!why.contains("damaged"), "{when}: {why}");
                whys.insert(why.replace(&*root.to_string_lossy(), ""));
                false
            }
        });
        for (sum, end) in completed.iter_mut().zip(ends) {
            *sum += u64::from(end);
        }
        (pair.check)(root, ends, &when);
        no_leftovers(root, &when);
    }
    println!(
        "{}: {} rounds, completed {completed:?}, else {whys:#?}",
        pair.name,
        rounds(ROUNDS)
    );
}

/// At each step the dice say who waits, and how long.
fn loitering(root: &Path, seed: u64) -> seam::Guard {
    let (below, dice) = (root.to_owned(), Mutex::new(Dice::of(seed)));
    seam::install(move |step| {
        if step.path.starts_with(&below) {
            let face = dice.lock().unwrap().below(12);
            match face {
                0..=5 => {}
                6..=9 => thread::yield_now(),
                _ => thread::sleep(Duration::from_micros(200 * (face - 9))),
            }
        }
        Ok(())
    })
}

fn at_once(verbs: &[Verb; 2], root: &Path) -> [Result<(), Stopped>; 2] {
    let begin = Barrier::new(2);
    thread::scope(|scope| {
        let runs = verbs.each_ref().map(|verb| {
            let begin = &begin;
            scope.spawn(move || {
                begin.wait();
                in_one_thread(|| verb(root))
            })
        });
        runs.map(|run| run.join().unwrap())
    })
}

fn pack(request: &pack::Request) -> Result<(), Stopped> {
    pack::pack(request, &Watch::default().run())?;
    Ok(())
}

fn pack_here(root: &Path) -> Result<(), Stopped> {
    pack(&verbs::here(&root.join("lab")))
}

fn pack_into_store(root: &Path, lab: &str) -> Result<(), Stopped> {
    pack(&pack::Request {
        store: Some(root.join("store")),
        ..verbs::here(&root.join(lab))
    })
}

fn unpack_of(pack: &Path, root: &Path, link: LinkMode) -> Result<(), Stopped> {
    let request = unpack::Request {
        store: Some(root.join("host store")),
        ..verbs::by(link, pack, &root.join("vms"))
    };
    verbs::try_unpack(&request)?;
    Ok(())
}

fn collect(store: &Path) -> Result<(), Stopped> {
    let options = GcOptions {
        dry_run: false,
        grace: Duration::ZERO,
    };
    store::gc(store, options, &Watch::default().run())?;
    Ok(())
}

/// Whether a collection found anything to collect in is not what is asked here.
fn collect_if_there(store: &Path) -> Result<(), Stopped> {
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(2));
        match collect(store) {
            Err(why) if why.to_string().contains("no store") => {}
            done => done?,
        }
    }
    Ok(())
}

fn copy_lab(root: &Path) {
    copy(&original().lab, &root.join("lab"));
}

fn copy_labs(root: &Path) {
    copy_lab(root);
    copy(&original().other_lab, &root.join("other lab"));
}

fn comes_back(lab: &Path, store: Option<&Path>, from: &Path, when: &str) {
    let report = verbs::verify(lab, store, true);
    let findings: Vec<_> = report.all_findings().collect();
    assert!(!report.found_errors(), "{when}: {findings:#?}");
    verbs::try_restore(lab, store).unwrap_or_else(|why| panic!("{when}: {}", Chain(&why)));
    assert_eq!(files(lab), files(from), "{when}");
}

fn must(done: Result<(), Stopped>, when: &str) {
    done.unwrap_or_else(|why| panic!("{when}: {}", Chain(&*why)));
}

fn labs_come_back(root: &Path, when: &str) {
    let store = root.join("store");
    for (lab, from) in [
        ("lab", &original().lab),
        ("other lab", &original().other_lab),
    ] {
        must(pack_into_store(root, lab), when);
        let report = store::check(&store, &Watch::default().run()).unwrap();
        assert!(report.findings.is_empty(), "{when}: {:#?}", report.findings);
        comes_back(&root.join(lab), Some(&store), from, when);
    }
}

fn vms_verify(root: &Path, when: &str) {
    let store = root.join("host store");
    let report = verbs::verify(&root.join("vms"), Some(&store), true);
    let findings: Vec<_> = report.all_findings().collect();
    assert!(!report.found_errors(), "{when}: {findings:#?}");
    assert_eq!((report.chains.ok, report.chains.broken), (2, 0), "{when}");
}

#[test]
fn two_packs_of_one_export_shuffled_lose_nothing() {
    shuffle(&Pair {
        name: "two packs on one export",
        prepare: copy_lab,
        verbs: [Box::new(pack_here), Box::new(pack_here)],
        check: |root, ends, when| {
            assert!(ends.contains(&true), "{when}: neither completed");
            must(pack_here(root), when);
            comes_back(&root.join("lab"), None, &original().lab, when);
        },
    });
}

#[test]
fn two_labs_that_enter_one_store_shuffled_both_come_back() {
    shuffle(&Pair {
        name: "two labs on one store",
        prepare: copy_labs,
        verbs: [
            Box::new(|root| pack_into_store(root, "lab")),
            Box::new(|root| pack_into_store(root, "other lab")),
        ],
        check: |root, ends, when| {
            assert_eq!(ends, [true; 2], "{when}");
            labs_come_back(root, when);
        },
    });
}

#[test]
fn two_copies_of_a_lab_that_enter_one_store_shuffled_both_come_back() {
    shuffle(&Pair {
        name: "one lab twice on one store",
        prepare: |root| {
            copy(&original().lab, &root.join("lab"));
            copy(&original().lab, &root.join("other lab"));
        },
        verbs: [
            Box::new(|root| pack_into_store(root, "lab")),
            Box::new(|root| pack_into_store(root, "other lab")),
        ],
        check: |root, _, when| {
            let store = root.join("store");
            for lab in ["lab", "other lab"] {
                must(pack_into_store(root, lab), when);
                comes_back(&root.join(lab), Some(&store), &original().lab, when);
            }
        },
    });
}

#[test]
fn a_collection_beside_a_pack_takes_nothing_that_it_needs() {
    shuffle(&Pair {
        name: "gc beside pack",
        prepare: |root| {
            copy_labs(root);
            must(pack_into_store(root, "other lab"), "before");
        },
        verbs: [
            Box::new(|root| pack_into_store(root, "lab")),
            Box::new(|root| collect_if_there(&root.join("store"))),
        ],
        check: |root, ends, when| {
            assert_eq!(ends, [true; 2], "{when}");
            labs_come_back(root, when);
        },
    });
}

#[test]
fn a_collection_beside_an_unpack_takes_nothing_that_it_needs() {
    for link in [LinkMode::Hardlink, LinkMode::Relocate] {
        shuffle(&Pair {
            name: "gc beside unpack",
            prepare: |_| {},
            verbs: [
                Box::new(move |root| unpack_of(&original().pack, root, link)),
                Box::new(|root| collect_if_there(&root.join("host store"))),
            ],
            check: |root, ends, when| {
                assert!(ends[0], "{when}: the unpack did not complete");
                vms_verify(root, when);
            },
        });
    }
}

#[test]
fn a_verify_beside_an_unpack_does_not_disturb_it() {
    shuffle(&Pair {
        name: "unpack beside verify",
        prepare: |root| std::fs::create_dir_all(root.join("vms")).unwrap(),
        verbs: [
            Box::new(|root| unpack_of(&original().pack, root, LinkMode::Hardlink)),
            Box::new(|root| {
                for _ in 0..3 {
                    let store = Some(root.join("host store")).filter(|store| store.exists());
                    let options = verify::Options {
                        content: true,
                        store,
                    };
                    let run = Watch::default();
                    // What it says of a lab on its way is not the matter.
                    let _ = verify::verify(&[root.join("vms")], &options, &run.run());
                    thread::sleep(Duration::from_millis(3));
                }
                Ok(())
            }),
        ],
        check: |root, ends, when| {
            assert_eq!(ends, [true; 2], "{when}");
            vms_verify(root, when);
        },
    });
}

#[test]
fn an_unpack_of_a_pack_that_is_being_restored_takes_nothing_wrong() {
    shuffle(&Pair {
        name: "unpack beside restore",
        prepare: |root| {
            copy_lab(root);
            must(pack_here(root), "before");
        },
        verbs: [
            Box::new(|root| unpack_of(&root.join("lab"), root, LinkMode::Relocate)),
            Box::new(|root| {
                verbs::try_restore(&root.join("lab"), None)?;
                Ok(())
            }),
        ],
        check: |root, ends, when| {
            assert!(ends[1], "{when}: the restore did not complete");
            assert_eq!(files(&root.join("lab")), files(&original().lab), "{when}");
            if !ends[0] {
                must(pack_here(root), when);
                must(unpack_of(&root.join("lab"), root, LinkMode::Relocate), when);
            }
            vms_verify(root, when);
        },
    });
}

#[test]
fn an_unpack_that_shares_refdisks_of_a_pack_that_is_being_restored_shares_no_file_of_the_export() {
    let unpack = |root: &Path| -> Result<(), Stopped> {
        let request = verbs::by(LinkMode::Hardlink, &root.join("lab"), &root.join("vms"));
        verbs::try_unpack(&request)?;
        Ok(())
    };
    shuffle(&Pair {
        name: "unpack that shares beside restore",
        prepare: |root| {
            copy_lab(root);
            must(pack_here(root), "before");
        },
        verbs: [
            Box::new(unpack),
            Box::new(|root| {
                verbs::try_restore(&root.join("lab"), None)?;
                Ok(())
            }),
        ],
        check: |root, ends, when| {
            let (lab, vms) = (root.join("lab"), root.join("vms"));
            assert!(ends[1], "{when}: the restore did not complete");
            assert_eq!(files(&lab), files(&original().lab), "{when}");
            let both = in_both(&vms, &lab);
            assert!(both.is_empty(), "{when}: {both:?}");
            if !ends[0] {
                must(pack_here(root), when);
                verbs::unpack(&verbs::by(LinkMode::Hardlink, &lab, &vms));
            }
            verbs::must_verify(&vms, None, 2);
        },
    });
}
