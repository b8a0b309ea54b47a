use std::path::PathBuf;

use super::{
    carry_out, done,
    lab::{Kind, Lab, VMS, same_but_for_paths},
    refused, request,
};
use crate::{
    base::{IoMeter, ReadAt, RelPath, Run, Silent},
    export::open_chain,
    formats::{self, DiskFormat, HintKind},
    fs,
    manifest::StorePlace,
    plan::Link,
    unpack::{LinkMode, Request},
};

const BOTH: [DiskFormat; 2] = [DiskFormat::Vhd, DiskFormat::Vhdx];

/// Checks files and guests at the destination; tells how many of the lab's files stand there.
fn check(lab: &Lab, request: &Request) -> usize {
    let mut stand = 0;
    for (at, bytes) in &lab.files {
        let path = RelPath::new(at.as_str()).unwrap().below(&lab.dest());
        if path.exists() {
            let found = std::fs::read(&path).unwrap();
            assert!(
                same_but_for_paths(bytes, &found),
                "{at} holds something else"
            );
            stand += 1;
        }
    }
    let store = request
        .store
        .clone()
        .unwrap_or_else(|| lab.dest().join("RefDisk"));
    for (number, vm) in VMS.iter().enumerate() {
        let meter = std::sync::Arc::new(IoMeter::default());
        let run = Run {
            progress: &Silent,
            meter: &meter,
        };
        let roots = [lab.dest(), store.clone()];
        let roots = if store.exists() {
            &roots[..]
        } else {
            &roots[..1]
        };
        let disk = open_chain(&lab.leaf(vm), roots, &run).unwrap();
        let mut guest = vec![0; disk.len() as usize];
        disk.read_exact_at(&mut guest, 0).unwrap();
        assert!(
            guest == Lab::guest(number),
            "the guest of {vm} sees something else"
        );
    }
    stand
}

/// Tells whether the lab's volume clones blocks: RefDisks are clones then, and share no file.
fn clones(lab: &Lab) -> bool {
    let trial = fs::try_links(lab.root.path(), lab.root.path());
    trial.unwrap().reflink.is_ok()
}

fn hint(path: &std::path::Path, kind: HintKind) -> String {
    let info = formats::read_info(&std::fs::read(path).unwrap()).unwrap();
    let parent = info.parent.unwrap();
    parent
        .hints
        .iter()
        .find(|hint| hint.kind == kind)
        .unwrap()
        .path
        .clone()
}

#[test]
fn under_hard_links_every_file_reads_the_same_and_every_chain_holds() {
    for format in BOTH {
        let lab = Lab::of(format);
        let request = request(&lab, LinkMode::Hardlink);
        let outcome = done(&request);
        assert_eq!(outcome.link, Link::Hardlink);
        assert_eq!(check(&lab, &request), lab.files.len());
        // Base, mid, and the base under its name in the store, for each VM.
        assert_eq!(outcome.counts.links_made, 6);
        let stamp = fs::stamp(
            &RelPath::new(lab.disk("DC01", "base"))
                .unwrap()
                .below(&lab.dest()),
        );
        // Both names of each VM, those in the stores of lab and pack.
        let apart = cfg!(windows) || clones(&lab);
        assert_eq!(stamp.unwrap().links, if apart { 5 } else { 6 });
    }
}

#[test]
fn whoever_copies_ref_disks_on_the_volume_of_the_pack_hears_of_the_packs_own() {
    let lab = Lab::of(DiskFormat::Vhdx);
    let own = lab.pack().join("RefDisk");
    if clones(&lab) {
        println!("skipped: copies cost nothing on this volume, which clones blocks");
        return;
    }
    let told = |request: &Request| carry_out(request).unwrap().pack_store.map(PathBuf::from);
    let auto = request(&lab, LinkMode::Auto);
    let planned = Request {
        dry_run: true,
        ..auto.clone()
    };
    assert_eq!(told(&planned), Some(own.clone()));
    assert_eq!(told(&auto), Some(own.clone()));
    assert_eq!(told(&auto), None, "they stand there");
    let other = |link, store: Option<PathBuf>| Request {
        dest: lab.root.path().join(format!("{link} {}", store.is_some())),
        link,
        store,
        ..auto.clone()
    };
    assert_eq!(told(&other(LinkMode::Relocate, None)), Some(own.clone()));
    assert_eq!(told(&other(LinkMode::Copy, None)), None);
    // The disk in the middle of the chain is copied.
    assert_eq!(told(&other(LinkMode::Hardlink, None)), Some(own.clone()));
    let copied = Request {
        dest: lab.root.path().join("copied"),
        copy_ref_disks: true,
        ..auto.clone()
    };
    assert_eq!(told(&copied), None, "that was asked for");
    assert_eq!(told(&other(LinkMode::Relocate, Some(own))), None);
}

#[cfg(unix)]
#[test]
fn under_symbolic_links_every_file_reads_the_same_and_every_chain_holds() {
    for format in BOTH {
        let lab = Lab::of(format);
        let request = request(&lab, LinkMode::Symlink);
        done(&request);
        assert_eq!(check(&lab, &request), lab.files.len());
        let link = RelPath::new(lab.disk("SRV 02", "mid"))
            .unwrap()
            .below(&lab.dest());
        let target = std::fs::read_link(link).unwrap();
        assert!(target.starts_with("../../RefDisk"), "{}", target.display());
    }
}

#[test]
fn when_relocated_each_child_names_the_refdisk_itself() {
    for format in BOTH {
        let lab = Lab::of(format);
        let request = request(&lab, LinkMode::Relocate);
        let outcome = done(&request);
        assert_eq!(outcome.counts.links_made, 0);
        // The shared parents, two for each VM, are in the store alone.
        assert_eq!(check(&lab, &request), lab.files.len() - 4);
        let leaf = lab.leaf("DC01");
        assert!(hint(&leaf, HintKind::Relative).starts_with(r"..\..\RefDisk\mid."));
        let absolute = hint(&leaf, HintKind::Absolute);
        assert!(
            std::path::Path::new(&absolute).is_file() || cfg!(windows),
            "{absolute}"
        );
    }
}

#[test]
fn a_copy_is_the_export_byte_for_byte() {
    for format in BOTH {
        let lab = Lab::of(format);
        let request = request(&lab, LinkMode::Copy);
        let outcome = carry_out(&request).unwrap();
        // The paths of the export's own children were true where it was exported.
        assert!(!outcome.findings.any_error(), "{}", outcome.findings);
        for (at, bytes) in &lab.files {
            let path = RelPath::new(at.as_str()).unwrap().below(&lab.dest());
            assert!(
                std::fs::read(path).unwrap() == *bytes,
                "{at} holds something else"
            );
        }
        assert!(!lab.dest().join("RefDisk").exists());
        assert_eq!(outcome.store, None);
    }
}

#[test]
fn block_clones_are_the_export_but_for_locators() {
    let lab = Lab::of(DiskFormat::Vhdx);
    let trial = fs::try_links(lab.root.path(), lab.root.path()).unwrap();
    if let Err(why) = trial.reflink {
        eprintln!("skipped: no block clones in the folder for temporary files: {why}");
        let findings = refused(&request(&lab, LinkMode::Reflink));
        assert!(findings.contains("error[link-unavailable]"), "{findings}");
        assert!(!lab.dest().exists());
        return;
    }
    for format in BOTH {
        let lab = Lab::of(format);
        let request = request(&lab, LinkMode::Reflink);
        let outcome = done(&request);
        assert_eq!(outcome.link, Link::Reflink);
        assert_eq!(check(&lab, &request), lab.files.len());
        assert!(outcome.io.cloned > 0);
    }
}

#[cfg(unix)]
#[test]
fn junctions_are_refused_where_there_are_none_and_nothing_else_is_taken() {
    let lab = Lab::of(DiskFormat::Vhdx);
    let findings = refused(&request(&lab, LinkMode::Junction));
    assert!(
        findings.contains("error[link-unavailable] --link junction"),
        "{findings}"
    );
    assert!(!lab.dest().exists(), "something was left behind");
}

#[test]
fn auto_takes_the_first_way_that_works_and_says_why() {
    let lab = Lab::of(DiskFormat::Vhdx);
    let outcome = done(&request(&lab, LinkMode::Auto));
    let trial = fs::try_links(lab.root.path(), lab.root.path()).unwrap();
    match trial.reflink {
        Ok(()) => assert_eq!(outcome.link, Link::Reflink),
        Err(why) => {
            assert_eq!(outcome.link, Link::Hardlink);
            assert!(outcome.why.contains(&why), "{}", outcome.why);
        }
    }
    check(&lab, &request(&lab, LinkMode::Auto));
}

#[test]
fn a_pack_whose_refdisks_are_in_a_shared_store_uses_them_where_they_are() {
    for link in [LinkMode::Hardlink, LinkMode::Relocate] {
        let lab = Lab::build(&Kind {
            format: DiskFormat::Vhdx,
            store: StorePlace::Shared,
        });
        let findings = refused(&request(&lab, link));
        assert!(
            findings.contains("name the store with --store"),
            "{findings}"
        );
        let store = Some(lab.root.path().join("shared"));
        let request = Request {
            store,
            ..request(&lab, link)
        };
        let outcome = done(&request);
        assert_eq!(
            (
                outcome.counts.ref_disks_written,
                outcome.counts.ref_disks_kept
            ),
            (0, 2)
        );
        check(&lab, &request);
        assert!(!lab.dest().join("RefDisk").exists());
    }
}

#[test]
fn two_labs_in_one_store_share_the_refdisks_and_the_second_reads_none_of_them() {
    let lab = Lab::of(DiskFormat::Vhdx);
    let store = Some(lab.root.path().join("host store"));
    let first = Request {
        store: store.clone(),
        ..request(&lab, LinkMode::Hardlink)
    };
    done(&first);
    let dest = lab.root.path().join("second");
    let outcome = done(&Request {
        dest,
        ..first.clone()
    });
    assert_eq!(outcome.counts.ref_disks_written, 0);
    let own: u64 = lab.manifest.files().map(|file| file.length).sum();
    assert!(outcome.io.read < own);
    check(&lab, &first);
}

#[test]
fn each_byte_of_the_pack_is_read_at_most_once() {
    let lab = Lab::of(DiskFormat::Vhd);
    for link in [LinkMode::Copy, LinkMode::Relocate] {
        let dest = lab.root.path().join(link.to_string());
        let outcome = carry_out(&Request {
            dest,
            ..request(&lab, link)
        })
        .unwrap();
        let totals = lab.manifest.count().unwrap();
        assert!(
            outcome.io.read <= totals.packed_bytes,
            "{:?} of {totals:?}",
            outcome.io
        );
    }
}

#[test]
fn with_a_windows_path_the_children_name_their_parents_as_that_host_knows_them() {
    let lab = Lab::of(DiskFormat::Vhdx);
    let windows_dest = Some(r"E:\Class".to_owned());
    carry_out(&Request {
        windows_dest,
        ..request(&lab, LinkMode::Relocate)
    })
    .unwrap();
    let absolute = hint(&lab.leaf("DC01"), HintKind::Absolute);
    assert!(absolute.starts_with(r"E:\Class\RefDisk\mid."), "{absolute}");
}

#[test]
fn times_of_files_and_folders_come_along() {
    let lab = Lab::of(DiskFormat::Vhdx);
    done(&request(&lab, LinkMode::Hardlink));
    for file in lab.manifest.files() {
        let stamp = fs::stamp(&file.path.below(&lab.dest())).unwrap();
        assert!(stamp.modified.same(file.modified), "{}", file.path);
    }
    for folder in &lab.manifest.folders {
        let found = fs::look(&folder.path.below(&lab.dest())).unwrap();
        assert_eq!(found, fs::Entry::Folder(folder.modified), "{}", folder.path);
    }
}

#[test]
fn a_dry_run_shows_the_plan_and_leaves_no_trace() {
    let lab = Lab::of(DiskFormat::Vhdx);
    let dry = Request {
        dry_run: true,
        ..request(&lab, LinkMode::Auto)
    };
    let outcome = carry_out(&dry).unwrap();
    assert!(!lab.dest().exists());
    let plan = outcome.plan.unwrap();
    assert_eq!(plan.ref_disks.len(), 2);
    let json = serde_json::to_string(&plan).unwrap();
    assert!(json.contains(r#""action":"write""#), "{json}");
}
