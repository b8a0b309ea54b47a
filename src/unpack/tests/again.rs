use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, Once},
};

use super::{
    carry_out, done, has_symlinks,
    lab::{Lab, put, same_but_for_paths},
    remove_tree, request, tree, unread,
};
use crate::{
    base::{Progress, RelPath, Run, Silent},
    formats::{DiskFormat, ParentPaths},
    fs::seam,
    plan::{Receipt, Seen},
    report::Code,
    store::RECEIPT_NAME,
    unpack::{
        LinkMode, Request,
        memory::{Intent, Memory, receipt_of},
        places::Places,
        preflight::read_manifest,
        probe::adopt,
        unpack,
    },
};

fn ways() -> Vec<LinkMode> {
    let mut ways = vec![LinkMode::Hardlink, LinkMode::Relocate, LinkMode::Copy];
    ways.extend(has_symlinks().then_some(LinkMode::Symlink));
    ways
}

#[test]
fn a_second_run_writes_nothing_and_reads_no_content() {
    for link in ways() {
        let lab = Lab::of(DiskFormat::Vhdx);
        carry_out(&request(&lab, link)).unwrap();
        let before = tree(&lab.dest());
        for link in [link, LinkMode::Auto] {
            let again = request(&lab, link);
            let (outcome, steps) = seam::record(lab.root.path(), || carry_out(&again));
            let outcome = outcome.unwrap();
            assert!(unread(&outcome.io), "{link}: {:?}", outcome.io);
            assert_eq!(steps, [], "{link}");
            assert_eq!(outcome.counts.files_written, 0);
        }
        assert!(tree(&lab.dest()) == before, "{link}");
    }
}

#[test]
fn a_second_run_stays_with_the_store_that_was_named() {
    let lab = Lab::of(DiskFormat::Vhd);
    let store = lab.root.path().join("host store");
    let first = Request {
        store: Some(store.clone()),
        ..request(&lab, LinkMode::Relocate)
    };
    done(&first);
    let outcome = done(&request(&lab, LinkMode::Auto));
    assert_eq!(outcome.store, Some(store.display().to_string()));
    assert_eq!(outcome.counts.files_written, 0);
    assert!(!lab.dest().join("RefDisk").exists());
}

/// As a VM that ran: bytes at the end of the first block, and a new time.
fn use_disk(lab: &Lab) -> (PathBuf, Vec<u8>) {
    let leaf = lab.leaf("DC01");
    let packed = fs::read(&leaf).unwrap();
    let mut used = packed.clone();
    let end = used.len() - 5000;
    used[end] ^= 0xFF;
    fs::write(&leaf, &used).unwrap();
    (leaf, packed)
}

#[test]
fn a_disk_that_was_used_is_left_alone_and_reset_puts_it_back() {
    let lab = Lab::of(DiskFormat::Vhdx);
    done(&request(&lab, LinkMode::Hardlink));
    let (leaf, packed) = use_disk(&lab);
    let used = fs::read(&leaf).unwrap();
    let outcome = carry_out(&request(&lab, LinkMode::Auto)).unwrap();
    let codes: Vec<_> = outcome
        .findings
        .iter()
        .map(|finding| finding.code)
        .collect();
    assert_eq!(codes, [Code::UsedSince]);
    assert!(!outcome.findings.any_error());
    assert!(fs::read(&leaf).unwrap() == used);

    let outcome = done(&Request {
        reset: true,
        ..request(&lab, LinkMode::Auto)
    });
    assert_eq!(
        (outcome.counts.files_reset, outcome.counts.files_written),
        (1, 1)
    );
    assert!(fs::read(&leaf).unwrap() == packed);
    // Only that disk was read.
    assert!(outcome.io.read <= packed.len() as u64);
    assert!(unread(&done(&request(&lab, LinkMode::Auto)).io));
}

#[test]
fn a_used_disk_is_told_by_its_id_even_if_its_time_was_put_back() {
    let lab = Lab::of(DiskFormat::Vhdx);
    done(&request(&lab, LinkMode::Hardlink));
    let leaf = lab.leaf("DC01");
    let modified = leaf.metadata().unwrap().modified().unwrap();
    let other = fs::read(lab.leaf("SRV 02")).unwrap();
    assert_eq!(other.len() as u64, leaf.metadata().unwrap().len());
    fs::write(&leaf, other).unwrap();
    fs::File::options()
        .write(true)
        .open(&leaf)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    let outcome = carry_out(&request(&lab, LinkMode::Auto)).unwrap();
    assert_eq!(outcome.counts.files_left, 1);
}

#[test]
fn what_went_missing_comes_back_and_nothing_else_is_touched() {
    for link in ways() {
        let lab = Lab::of(DiskFormat::Vhd);
        carry_out(&request(&lab, link)).unwrap();
        let before = tree(&lab.dest().join("SRV 02"));
        remove_tree(&lab.dest().join("DC01"));
        let outcome = carry_out(&request(&lab, LinkMode::Auto)).unwrap();
        assert_eq!(outcome.link.as_str(), link.to_string());
        assert_eq!(outcome.counts.ref_disks_written, 0);
        assert!(tree(&lab.dest().join("SRV 02")) == before);
        assert!(lab.leaf("DC01").is_file());
    }
}

#[test]
fn a_new_pack_replaces_what_is_unchanged_and_leaves_what_it_no_longer_holds() {
    let mut lab = Lab::of(DiskFormat::Vhdx);
    done(&request(&lab, LinkMode::Relocate));
    let config = lab.manifest.vms[0]
        .files
        .iter_mut()
        .find(|f| f.length == 777)
        .unwrap();
    let path = config.path.clone();
    config.length = 5;
    config.digest = blake3::hash(b"newer").into();
    put(&path.below(&lab.pack()), b"newer");
    let gone = lab.manifest.vms[1]
        .files
        .iter()
        .position(|f| f.length == 777)
        .unwrap();
    let gone = lab.manifest.vms[1].files.remove(gone).path;
    lab.write_manifest();
    let outcome = carry_out(&request(&lab, LinkMode::Auto)).unwrap();
    assert_eq!(outcome.counts.files_written, 1);
    assert_eq!(fs::read(path.below(&lab.dest())).unwrap(), b"newer");
    let codes: Vec<_> = outcome
        .findings
        .iter()
        .map(|finding| finding.code)
        .collect();
    assert_eq!(codes, [Code::NoLongerPacked]);
    assert!(gone.below(&lab.dest()).is_file());
}

#[test]
fn a_lab_can_be_unpacked_in_another_way_over_itself() {
    let mut pairs = vec![
        (LinkMode::Hardlink, LinkMode::Copy),
        (LinkMode::Copy, LinkMode::Hardlink),
    ];
    if has_symlinks() {
        pairs.push((LinkMode::Hardlink, LinkMode::Symlink));
        pairs.push((LinkMode::Symlink, LinkMode::Hardlink));
    }
    for (from, to) in pairs {
        let lab = Lab::of(DiskFormat::Vhdx);
        carry_out(&request(&lab, from)).unwrap();
        let outcome = carry_out(&request(&lab, to)).unwrap();
        assert!(
            !outcome.findings.any_error(),
            "{from} {to}: {}",
            outcome.findings
        );
        for (at, bytes) in &lab.files {
            let found = fs::read(RelPath::new(at.as_str()).unwrap().below(&lab.dest())).unwrap();
            assert!(same_but_for_paths(bytes, &found), "{from} {to}: {at}");
        }
        assert!(
            unread(&carry_out(&request(&lab, LinkMode::Auto)).unwrap().io),
            "{from} {to}"
        );
    }
}

/// Meddles with a file while labpack works.
struct Meddler<'a> {
    meddle: &'a (dyn Fn() + Sync),
    begun: Once,
}

impl Progress for Meddler<'_> {
    fn cancelled(&self) -> bool {
        self.begun.call_once(self.meddle);
        false
    }
}

#[test]
fn a_receipt_that_somebody_changes_during_a_run_is_written_again() {
    let lab = Lab::of(DiskFormat::Vhdx);
    let request = request(&lab, LinkMode::Hardlink);
    carry_out(&request).unwrap();
    let path = lab.dest().join(RECEIPT_NAME);
    let whole = fs::read(&path).unwrap();
    let run_while = |meddle: &(dyn Fn() + Sync)| {
        let meddler = Meddler {
            meddle,
            begun: Once::new(),
        };
        let run = Run {
            progress: &meddler,
            meter: &Arc::default(),
        };
        unpack(&request, &run).unwrap();
        assert!(meddler.begun.is_completed());
        fs::read(&path).unwrap()
    };
    assert!(run_while(&|| ()) == whole, "it says the same");
    let longer = [&whole[..], b"\n"].concat();
    assert!(run_while(&|| fs::write(&path, &longer).unwrap()) != longer);
    assert_eq!(
        run_while(&|| fs::remove_file(&path).unwrap()).first(),
        Some(&b'{')
    );
    let (receipt, _) = receipt_of(&lab.dest()).unwrap().unwrap();
    assert!(receipt.says_the_same(&Receipt::read(&whole).unwrap()));
}

#[test]
fn a_run_interrupted_at_any_step_is_gone_on_with() {
    use seam::StepKind::{Link, Remove, Rename};
    let lab = Lab::of(DiskFormat::Vhdx);
    let (_, steps) = seam::record(&lab.dest(), || {
        carry_out(&request(&lab, LinkMode::Hardlink))
    });
    let (whole, _) = receipt_of(&lab.dest()).unwrap().unwrap();
    for (stop, (kind, _)) in steps.iter().enumerate() {
        // What changes a name each time; of the others, which are many and alike, some.
        if !matches!(kind, Link | Remove | Rename) && stop % 9 != 0 {
            continue;
        }
        let dest = lab.root.path().join(format!("stopped at {stop}"));
        let cut = Request {
            dest: dest.clone(),
            ..request(&lab, LinkMode::Hardlink)
        };
        interrupt(&dest, stop, &cut);
        let outcome = carry_out(&cut).unwrap_or_else(|e| panic!("{kind:?} {stop}: {e:?}"));
        assert!(
            !outcome.findings.any_error(),
            "{kind:?} {stop}: {}",
            outcome.findings
        );
        let (receipt, _) = receipt_of(&dest).unwrap().unwrap();
        assert_eq!(paths(&receipt), paths(&whole), "{kind:?} {stop}");
        // Whose a link with a temporary name is cannot be told; it is left for an hour.
        let temps = tree(&dest)
            .into_iter()
            .filter(|(path, ..)| path.ends_with("labpack-tmp"));
        let left: Vec<_> = temps
            .filter(|(.., bytes)| !bytes.is_empty())
            .map(|(path, ..)| path)
            .collect();
        assert!(left.is_empty(), "{kind:?} {stop}: {left:?}");
        remove_tree(&dest);
    }
}

/// Blocks that are cloned and then named to another parent have no digest: only length and time
/// tell of the intent.
#[test]
fn a_file_that_was_to_be_replaced_is_not_taken_for_the_one_in_its_place() {
    let lab = Lab::of(DiskFormat::Vhd);
    let request = request(&lab, LinkMode::Copy);
    carry_out(&request).unwrap();
    let mut memory = Memory::read(&lab.dest()).unwrap();
    let old = memory.files.iter().next().unwrap();
    let intent = |seen: Seen| Intent {
        path: old.path.clone(),
        packed: old.packed,
        written: None,
        length: seen.length,
        modified: seen.modified,
        parent: Some(Box::new(ParentPaths {
            relative: Some(".\\other.vhd".to_owned()),
            ..ParentPaths::default()
        })),
    };
    let places = Places::of(&request).unwrap();
    let manifest = read_manifest(&places).unwrap();
    let run = Run {
        progress: &Silent,
        meter: &Arc::default(),
    };
    memory.intents.insert(old.path.clone(), intent(old.seen));
    adopt(&mut memory, &places, &manifest, &run).unwrap();
    assert_eq!(memory.files.get(&old.path).as_ref(), Some(&old));

    // Another file, though it looks the same, is the one that was intended.
    let mut other = old.clone();
    other.seen.key.file += 1;
    memory.files.insert(other);
    memory.intents.insert(old.path.clone(), intent(old.seen));
    adopt(&mut memory, &places, &manifest, &run).unwrap();
    assert_ne!(memory.files.get(&old.path).unwrap().parent, old.parent);
}

fn paths(receipt: &Receipt) -> Vec<(String, Option<crate::base::ContentId>)> {
    let files = receipt
        .files
        .iter()
        .map(|file| (file.path.to_string(), Some(file.packed)));
    let links = receipt
        .links
        .iter()
        .map(|link| (link.path.to_string(), link.ref_disk));
    files.chain(links).collect()
}

/// Runs until the step `stop`, which fails as every one after it does.
fn interrupt(dest: &std::path::Path, stop: usize, request: &Request) {
    let steps = std::sync::atomic::AtomicUsize::new(0);
    let below = dest.to_owned();
    let guard = seam::install(move |step| {
        if !step.path.starts_with(&below) {
            return Ok(());
        }
        let number = steps.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if number < stop {
            Ok(())
        } else {
            Err(io::Error::other("the power went"))
        }
    });
    let _ = carry_out(request);
    drop(guard);
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_elsewhere_now_is_not_touched() {
    let lab = Lab::of(DiskFormat::Vhdx);
    done(&request(&lab, LinkMode::Symlink));
    let link = RelPath::new(lab.disk("DC01", "base"))
        .unwrap()
        .below(&lab.dest());
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
    let findings = super::refused(&Request {
        reset: true,
        ..request(&lab, LinkMode::Auto)
    });
    assert!(findings.contains("error[name-in-use]"), "{findings}");
    assert_eq!(
        fs::read_link(&link).unwrap(),
        PathBuf::from("/etc/hostname")
    );
}
