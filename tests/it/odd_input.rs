//! Exports, packs and names as they should not be: each is refused by name, and left as it is.

use std::{fs, path::Path};

use labpack::{
    base::{IoMeter, Progress, Run},
    formats::DiskFormat,
    fs::{FsError, seam},
    pack::{self, PackError},
    report::Code,
};
use serde_json::Value;

use crate::support::{
    labs::Made,
    shell::{args, refused, run},
    small_labs::{Lab, four_on_one_parent},
    tree,
};

impl Lab {
    #[track_caller]
    fn is_refused(&self, code: &str, name: &str) {
        refused(&args!["pack", self.export], &self.export, code, name);
    }
}

#[test]
fn a_parent_that_is_missing_is_named_with_its_child() {
    let lab = Lab::new();
    fs::remove_file(lab.disk(2, "base.vhdx")).unwrap();
    lab.is_refused("missing-parent", "vm2.vhdx");
}

#[test]
fn a_parent_with_another_id_is_told_from_the_one_that_was_recorded() {
    let lab = Lab::new();
    Made::base(DiskFormat::Vhdx, "base.vhdx", 77).write_to(lab.disk(3, "").as_path());
    lab.is_refused("parent-id-mismatch", "vm3.vhdx");
}

#[test]
fn a_truncated_parent_is_found_before_anything_moves() {
    let lab = Lab::new();
    let path = lab.disk(1, "base.vhdx");
    let file = fs::File::options().write(true).open(&path).unwrap();
    let len = file.metadata().unwrap().len();
    file.set_len(len - (2 << 20)).unwrap();
    drop(file);
    lab.is_refused("truncated", "base.vhdx");
}

#[test]
fn disks_that_are_each_others_parents_are_refused() {
    let lab = Lab::new();
    let (folder, disks) = ("C:\\Export", lab.disk(1, ""));
    let b = Made::base(DiskFormat::Vhdx, "B.vhdx", 90);
    let a = Made::child(&b, "A.vhdx", 91, folder);
    Made::child(&a, "B.vhdx", 90, folder).write_to(&disks);
    a.write_to(&disks);
    lab.is_refused("cycle", "A.vhdx");
}

/// The two copies of the header of a VHDX.
const HEADERS: [usize; 2] = [64 << 10, 128 << 10];

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_vhdx_without_a_good_header_is_refused() {
    let lab = Lab::new();
    edit(&lab.disk(4, "vm4.vhdx"), |bytes| {
        HEADERS.iter().for_each(|at| bytes[at + 100] ^= 1);
    });
    lab.is_refused("corrupt", "vm4.vhdx");
}

#[test]
fn a_vhdx_whose_log_was_not_replayed_is_refused_with_what_to_do() {
    let lab = Lab::new();
    edit(&lab.disk(4, "vm4.vhdx"), |bytes| {
        for at in HEADERS {
            let header = &mut bytes[at..at + 4096];
            header[48..64].fill(0xAB);
            header[4..8].fill(0);
            let sum = crc32c::crc32c(header);
            header[4..8].copy_from_slice(&sum.to_le_bytes());
        }
    });
    lab.is_refused("dirty-log", "vm4.vhdx");
    let said = run(args!["pack", lab.export]);
    assert!(said.err.contains("next:"), "{}", said.err);
}

#[test]
fn disks_of_one_name_in_one_chain_are_packed_with_a_warning() {
    let lab = Lab::new();
    let base = Made::base(DiskFormat::Vhdx, "vm.vhdx", 60);
    base.write_to(&lab.export.join("VM 1/Base"));
    let mut child = Made::child(&base, "vm.vhdx", 61, "C:\\Export\\VM 1\\Base");
    let parent = child.disk.parent.as_mut().unwrap();
    parent.paths.relative = Some("..\\Base\\vm.vhdx".to_owned());
    child.write_to(&lab.disk(1, ""));
    let said = run(args!["pack", lab.export, "--json"]).ends(0);
    assert_eq!(said.codes(), ["same-named-chain"], "{}", said.out);
}

/// Does something once, when a stretch of work of this name begins.
struct When<F>(&'static str, F);

impl<F: Fn() + Sync> Progress for When<F> {
    fn begin(&self, what: &str, _: u64, _: u64) {
        if what == self.0 {
            (self.1)();
        }
    }
}

fn request(export: &Path) -> pack::Request {
    pack::Request {
        exports: vec![export.to_owned()],
        ..pack::Request::default()
    }
}

#[test]
fn a_file_that_changes_between_the_scan_and_its_reading_stops_the_pack() {
    let lab = Lab::new();
    let leaf = lab.disk(2, "vm2.vhdx");
    let guest = When("reading", || edit(&leaf, |bytes| bytes.extend([0; 4096])));
    let meter = std::sync::Arc::new(IoMeter::default());
    let stopped = pack::pack(
        &request(&lab.export),
        &Run {
            progress: &guest,
            meter: &meter,
        },
    );
    let Err(PackError::Fs(FsError::Changed { path, .. })) = &stopped else {
        panic!("{stopped:?}");
    };
    assert_eq!(path, &leaf);
    assert!(!lab.export.join("labpack.json").exists());
    run(args!["pack", lab.export]).ends(0);
}

#[test]
fn an_occurrence_that_changes_while_it_is_packed_is_kept_as_it_is() {
    let lab = Lab::new();
    let (twin, of_hook) = (lab.disk(3, "base.vhdx"), lab.disk(3, "base.vhdx"));
    let manifest = lab.export.join("labpack.json");
    let guard = seam::install(move |step| {
        if step.kind == seam::StepKind::Rename && step.path == manifest {
            edit(&of_hook, |bytes| bytes.extend([7; 512]));
        }
        Ok(())
    });
    let watch = crate::support::Watch::default();
    let kept = pack::pack(&request(&lab.export), &watch.run());
    drop(guard);
    let Err(PackError::Kept(findings)) = &kept else {
        panic!("{kept:?}")
    };
    assert_eq!(findings.0[0].code, Code::FileChanged);
    assert!(findings.0[0].path.contains("VM 3"), "{findings:?}");
    assert_eq!(
        fs::read(&twin).unwrap().last(),
        Some(&7),
        "the changed file is left alone"
    );
}

#[test]
fn a_file_that_is_open_for_writing_elsewhere_is_refused_by_name() {
    if cfg!(not(windows)) {
        println!("skipped: only Windows tells who has a file open");
        return;
    }
    let lab = Lab::new();
    let open = fs::File::options()
        .write(true)
        .open(lab.disk(2, "vm2.vhdx"))
        .unwrap();
    let said = run(args!["pack", lab.export]).ends(3);
    assert!(said.err.contains("vm2.vhdx"), "{}", said.err);
    drop(open);
    run(args!["pack", lab.export]).ends(0);
}

#[test]
fn a_path_that_is_no_folder_or_not_there_is_named() {
    let lab = Lab::new();
    let file = lab.beside("file.txt");
    fs::write(&file, "no export").unwrap();
    let said = run(args!["pack", file]).ends(3);
    assert!(
        said.err.contains("file.txt") && said.err.contains("no folder"),
        "{}",
        said.err
    );
    for verb in ["pack", "restore", "verify", "tree", "inspect"] {
        let said = run(args![verb, lab.beside("nowhere")]).ends(3);
        assert!(said.err.contains("nowhere"), "{verb}: {}", said.err);
        run(args![verb, lab.beside("nowhere"), "--json"])
            .ends(3)
            .json();
    }
    let said = run(args!["unpack", lab.beside("nowhere"), lab.beside("dest")]).ends(3);
    assert!(said.err.contains("nowhere"), "{}", said.err);
    assert!(!lab.beside("dest").exists());
}

#[test]
fn a_folder_with_nothing_in_it_is_no_export() {
    let scratch = tempfile::tempdir().unwrap();
    refused(
        &args!["pack", scratch.path()],
        scratch.path(),
        "empty-export",
        "nothing in this folder",
    );
}

#[test]
fn a_packed_export_is_left_as_it_is_and_says_so() {
    let lab = Lab::new();
    run(args!["pack", lab.export]).ends(0);
    let before = tree(&lab.export);
    let said = run(args!["pack", lab.export]).ends(0);
    assert!(said.out.contains("nothing to do"), "{}", said.out);
    assert_eq!(tree(&lab.export), before);
}

/// A pack whose manifest says something else.
fn with_manifest(change: impl FnOnce(&mut Value)) -> Lab {
    let lab = Lab::new();
    run(args!["pack", lab.export]).ends(0);
    let path = lab.export.join("labpack.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    lab
}

#[test]
fn a_manifest_of_a_newer_version_is_refused_with_both_numbers() {
    let lab = with_manifest(|manifest| manifest["version"] = 7.into());
    let (before, dest) = (tree(&lab.export), lab.beside("dest"));
    let lines: [&[_]; 3] = [
        &args!["pack", lab.export],
        &args!["restore", lab.export],
        &args!["unpack", lab.export, dest],
    ];
    for line in lines {
        let said = run(line).ends(3);
        assert!(said.err.contains("labpack.json"), "{line:?}: {}", said.err);
        assert!(
            said.err.contains("is 7") && said.err.contains("up to 1"),
            "{}",
            said.err
        );
    }
    assert_eq!(tree(&lab.export), before);
    assert!(!dest.exists());
}

#[test]
fn a_manifest_that_leads_outside_is_refused() {
    let outside = "../outside.vhdx";
    let lab = with_manifest(|manifest| manifest["vms"][0]["files"][0]["path"] = outside.into());
    let (before, dest) = (tree(lab.scratch.path()), lab.beside("dest"));
    for line in [
        &args!["restore", lab.export][..],
        &args!["unpack", lab.export, dest],
    ] {
        let said = run(line).ends(3);
        assert!(
            said.err.contains("../outside.vhdx"),
            "{line:?}: {}",
            said.err
        );
    }
    assert_eq!(tree(lab.scratch.path()), before);
}

#[cfg(unix)]
#[test]
fn links_in_an_export_are_refused_by_name() {
    let lab = Lab::new();
    std::os::unix::fs::symlink("/etc/hosts", lab.export.join("VM 1/a link")).unwrap();
    lab.is_refused("link-in-export", "a link");
}

#[cfg(target_os = "linux")]
#[test]
fn names_equal_but_for_case_are_refused() {
    let lab = Lab::new();
    fs::write(lab.export.join("VM 1/NOTES ON IT.txt"), "").unwrap();
    lab.is_refused("case-collision", "NOTES ON IT.txt");
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_windows_does_not_take_are_refused() {
    for name in ["aux.txt", "what?.txt", "trailing dot."] {
        let lab = Lab::new();
        fs::write(lab.export.join("VM 1").join(name), "").unwrap();
        lab.is_refused("bad-name", name);
    }
}

#[test]
fn exports_with_odd_names_are_packed_and_brought_back() {
    for name in ["with blanks  in it", "Übungs-Labor 実習 🖥", "-leading-dash"] {
        let scratch = tempfile::tempdir().unwrap();
        four_on_one_parent(&scratch.path().join(name), DiskFormat::Vhdx);
        let before = tree(&scratch.path().join(name));
        let here = |line: &[&str]| {
            let mut command = crate::support::shell::labpack();
            let output = command
                .current_dir(scratch.path())
                .args(line)
                .output()
                .unwrap();
            crate::support::shell::Said::of(output).ends(0)
        };
        let slashed = format!("{name}/");
        here(&["pack", "--", &slashed]);
        here(&["unpack", "--", name, "dest/"]);
        here(&["verify", "--", name, "dest"]);
        here(&["restore", "--", &slashed]);
        assert_eq!(tree(&scratch.path().join(name)), before, "{name}");
    }
}

#[test]
fn the_folder_one_stands_in_is_an_export_like_any_other() {
    let lab = Lab::new();
    let before = tree(&lab.export);
    for line in [["pack", "."], ["verify", "."], ["restore", "./"]] {
        let mut command = crate::support::shell::labpack();
        let output = command
            .current_dir(&lab.export)
            .args(line)
            .output()
            .unwrap();
        crate::support::shell::Said::of(output).ends(0);
    }
    assert_eq!(tree(&lab.export), before);
}
