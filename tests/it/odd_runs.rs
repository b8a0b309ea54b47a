//! Runs in bad company: no rights, no room, others at the same work.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    time::Duration,
};

use labpack::formats::DiskFormat;

use crate::support::{
    shell::{args, end, run, start},
    small_labs::four_on_one_parent,
    tree,
};

#[test]
fn two_packs_of_one_export_at_once_do_not_hurt_each_other() {
    for round in 0..4 {
        let scratch = tempfile::tempdir().unwrap();
        let lab = scratch.path().join("lab");
        four_on_one_parent(&lab, DiskFormat::Vhdx);
        let before = tree(&lab);
        let runs = [(); 2].map(|()| start(args!["pack", lab]));
        let ends = runs.map(end);
        assert!(
            ends.iter().any(|said| said.code == Some(0)),
            "round {round}: {ends:#?}"
        );
        for said in &ends {
            // The loser may find that a file it had scanned is gone; it says so, and no more.
            assert!(matches!(said.code, Some(0 | 3)), "round {round}: {said:#?}");
        }
        run(args!["pack", lab]).ends(0);
        run(args!["restore", lab]).ends(0);
        assert_eq!(tree(&lab), before, "round {round}");
    }
}

#[test]
fn a_gc_without_grace_keeps_what_a_pack_names_and_removes_it_after_a_restore() {
    let scratch = tempfile::tempdir().unwrap();
    let (lab, store) = (scratch.path().join("lab"), scratch.path().join("store"));
    four_on_one_parent(&lab, DiskFormat::Vhdx);
    run(args!["pack", lab, "--store", store]).ends(0);
    let kept = run(args!["store", "gc", store, "--grace", "0", "--json"]).ends(0);
    assert_eq!(kept.json()["kept"], 1, "{}", kept.out);
    assert!(kept.codes().is_empty(), "its user is known: {}", kept.out);
    run(args!["restore", lab, "--store", store]).ends(0);
    let gone = run(args!["store", "gc", store, "--grace", "0", "--json"]).ends(0);
    assert_eq!(
        gone.json()["removed"].as_array().unwrap().len(),
        1,
        "{}",
        gone.out
    );
}

/// A scratch folder with two labs in it that share their parent, and a place for a store.
struct TwoLabs {
    scratch: tempfile::TempDir,
    labs: [PathBuf; 2],
}

impl TwoLabs {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let labs = ["lab 1", "lab 2"].map(|name| scratch.path().join(name));
        for lab in &labs {
            four_on_one_parent(lab, DiskFormat::Vhdx);
        }
        Self { scratch, labs }
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

#[test]
fn two_labs_that_enter_one_store_at_once_share_their_parent_there() {
    for round in 0..3 {
        let two = TwoLabs::new();
        let (store, before) = (
            two.beside("store"),
            two.labs.each_ref().map(|lab| tree(lab)),
        );
        let runs = two.labs.each_ref();
        let runs = runs.map(|lab| start(args!["pack", lab, "--store", store]));
        for said in runs.map(end) {
            said.ends(0);
        }
        let listed = run(args!["store", "list", store, "--json"]).ends(0).json();
        let disks = listed["entries"].as_array().unwrap();
        assert_eq!(disks.len(), 1, "round {round}: {listed:#}");
        assert_eq!(
            disks[0]["used_by"].as_array().unwrap().len(),
            2,
            "{listed:#}"
        );
        run(args!["store", "check", store]).ends(0);
        let dests = ["dest 1", "dest 2"].map(|name| two.beside(name));
        let pairs = [0, 1].map(|at| args!["unpack", two.labs[at], dests[at], "--store", store]);
        for said in pairs.map(start).map(end) {
            said.ends(0);
        }
        for (lab, before) in two.labs.iter().zip(before) {
            run(args!["restore", lab, "--store", store]).ends(0);
            assert_eq!(tree(lab), before, "round {round}");
        }
        run(args!["verify", dests[0], dests[1], "--store", store]).ends(0);
    }
}

#[test]
fn two_unpacks_to_one_folder_at_once_leave_one_lab_there() {
    for round in 0..3 {
        let scratch = tempfile::tempdir().unwrap();
        let (lab, dest) = (scratch.path().join("lab"), scratch.path().join("dest"));
        four_on_one_parent(&lab, DiskFormat::Vhdx);
        run(args!["pack", lab]).ends(0);
        let line = args!["unpack", lab, dest];
        for said in [(); 2].map(|()| start(&line)).map(end) {
            said.ends(0);
        }
        let verified = run(args!["verify", dest, "--json"]).ends(0);
        assert_eq!(verified.json()["chains"]["ok"], 4, "round {round}");
        let again = run(line.iter().cloned().chain(args!["--json"]))
            .ends(0)
            .json();
        assert_eq!(
            again["counts"]["files_written"], 0,
            "round {round}: {again:#}"
        );
        run(args!["restore", lab]).ends(0);
    }
}

#[test]
fn a_gc_beside_a_pack_takes_nothing_that_the_pack_needs() {
    for round in 0..4 {
        let two = TwoLabs::new();
        let store = two.beside("store");
        run(args!["pack", two.labs[0], "--store", store]).ends(0);
        run(args!["restore", two.labs[0], "--store", store]).ends(0);
        let pack = start(args!["pack", two.labs[1], "--store", store]);
        std::thread::sleep(Duration::from_millis(5 * round));
        let gc = run(args!["store", "gc", store, "--grace", "0"]).ends(0);
        end(pack).ends(0);
        assert!(gc.out.contains("RefDisk"), "{}", gc.out);
        run(args!["verify", two.labs[1], "--store", store, "--content"]).ends(0);
        run(args!["store", "check", store]).ends(0);
    }
}

#[test]
fn whoever_waits_for_another_labpack_says_so_and_goes_on_when_it_is_done() {
    let scratch = tempfile::tempdir().unwrap();
    let lab = scratch.path().join("lab");
    four_on_one_parent(&lab, DiskFormat::Vhdx);
    let watch = crate::support::Watch::default();
    let lock = labpack::fs::FolderLock::acquire(&lab.join(".labpack.lock"), &watch.run()).unwrap();
    let mut child = start(args!["pack", lab]);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let waits = lines.find(|line| line.as_ref().unwrap().starts_with("waiting"));
    let waits = waits.expect("it waits").unwrap();
    assert!(
        waits.starts_with("waiting for another labpack") && waits.contains(".labpack.lock"),
        "{waits}"
    );
    drop(lock);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    run(args!["verify", lab, "--content"]).ends(0);
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

    use crate::support::{
        contents,
        labs::{Made, noise, vm},
        shell::Said,
    };

    /// A lab of `count` VMs on one parent, with `mib` MiB beside each that cannot be skipped.
    fn heavy(export: &Path, count: u8, mib: u64) {
        let base = Made::base(DiskFormat::Vhdx, "base.vhdx", 1);
        for number in 1..=count {
            let name = format!("VM {number}");
            let disks = vm(export, &name);
            base.write_to(&disks);
            let leaf = format!("vm{number}.vhdx");
            Made::child(&base, &leaf, 10 + number, "C:\\Export").write_to(&disks);
            fs::write(disks.join("data.bin"), noise(number, mib << 20)).unwrap();
        }
    }

    fn is_root() -> bool {
        let id = Command::new("id").arg("-u").output().unwrap();
        id.stdout == b"0\n"
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn an_export_that_may_not_be_written_to_is_refused_and_stays_as_it_is() {
        if !is_root() || Command::new("setpriv").arg("--version").output().is_err() {
            println!("skipped: needs root and setpriv, to become somebody without rights");
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        let (lab, program) = (scratch.path().join("lab"), scratch.path().join("labpack"));
        four_on_one_parent(&lab, DiskFormat::Vhdx);
        fs::copy(env!("CARGO_BIN_EXE_labpack"), &program).unwrap();
        for path in [scratch.path(), &program] {
            chmod(path, 0o755);
        }
        let before = tree(&lab);
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        let said = Said::of(command.arg(program).arg("pack").arg(&lab).output().unwrap()).ends(3);
        assert!(said.err.contains("lab"), "{}", said.err);
        assert!(
            said.err.to_lowercase().contains("permission denied"),
            "{}",
            said.err
        );
        assert_eq!(tree(&lab), before);
    }

    /// A file system of so many MiB, as long as the value lives.
    struct Volume(PathBuf);

    impl Volume {
        fn mount(at: PathBuf, mib: u32) -> Option<Self> {
            fs::create_dir_all(&at).unwrap();
            let size = format!("size={mib}m");
            let mut mount = Command::new("mount");
            let mount = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at);
            if mount.output().is_ok_and(|output| output.status.success()) {
                return Some(Self(at));
            }
            println!("skipped: no file system can be mounted here");
            None
        }
    }

    impl Drop for Volume {
        fn drop(&mut self) {
            let done = Command::new("umount").arg(&self.0).status();
            assert!(done.is_ok_and(|status| status.success()), "cannot unmount");
        }
    }

    #[test]
    fn a_volume_without_room_is_refused_before_a_byte_is_written() {
        let scratch = tempfile::tempdir().unwrap();
        let lab = scratch.path().join("lab");
        heavy(&lab, 2, 4);
        let Some(small) = Volume::mount(scratch.path().join("small"), 2) else {
            return;
        };
        let before = tree(&lab);
        for option in ["--output", "--store"] {
            let place = small.0.join("place");
            let said = run(args!["pack", lab, option, place]).ends(3);
            assert!(
                said.err.contains("no-space") && said.err.contains("small"),
                "{}",
                said.err
            );
            let said = run(args!["pack", lab, option, place, "--json"]).ends(3);
            assert_eq!(said.codes(), ["no-space"], "{option}");
            assert_eq!(tree(&lab), before, "{option}");
        }
        let written = fs::read_dir(&small.0).unwrap().count();
        assert_eq!(written, 0, "{:?}", contents(&small.0).keys());
    }
}
