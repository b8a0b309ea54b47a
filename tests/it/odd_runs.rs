//! Runs in bad company: no rights, no room, others at the same work, and an end before the end.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use labpack::formats::DiskFormat;

use crate::support::{
    contents,
    labs::{Made, noise, vm},
    shell::{Said, args, labpack, run},
    small_labs::four_on_one_parent,
    tree,
};

fn start(command: &mut Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn end(child: Child) -> Said {
    Said::of(child.wait_with_output().unwrap())
}

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

#[test]
fn two_packs_of_one_export_at_once_do_not_hurt_each_other() {
    for round in 0..4 {
        let scratch = tempfile::tempdir().unwrap();
        let lab = scratch.path().join("lab");
        four_on_one_parent(&lab, DiskFormat::Vhdx);
        let before = tree(&lab);
        let runs = [(); 2].map(|()| start(labpack().arg("pack").arg(&lab)));
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

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

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

    fn signal(child: &Child, name: &str) {
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    fn wait_for(path: &Path) -> bool {
        for _ in 0..2000 {
            if path.exists() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }

    #[test]
    fn ctrl_c_ends_with_130_and_the_same_command_finishes() {
        let scratch = tempfile::tempdir().unwrap();
        let (lab, pack) = (scratch.path().join("lab"), scratch.path().join("pack"));
        heavy(&lab, 2, 100);
        let before = tree(&lab);
        let line = args!["pack", lab, "--output", pack];
        let child = start(labpack().args(&line));
        assert!(
            wait_for(&pack.join(".labpack-incoming")),
            "the copy did not begin"
        );
        signal(&child, "INT");
        let said = end(child).ends(130);
        assert!(said.err.contains("interrupted"), "{}", said.err);
        assert!(!pack.join("labpack.json").exists());
        run(&line).ends(0);
        run(args!["verify", pack, "--content"]).ends(0);
        assert!(!pack.join(".labpack-incoming").exists());
        assert_eq!(tree(&lab), before, "the source is only read");
    }

    /// The export, but for its own folder's time: the lock is made in it before the journal that
    /// remembers the time; and but for temporary files of the dead.
    fn told(lab: &Path) -> std::collections::BTreeMap<PathBuf, crate::support::Thing> {
        let mut tree = tree(lab);
        tree.retain(|path, _| {
            let temp = path.extension().is_some_and(|end| end == "labpack-tmp");
            path != Path::new("") && !temp
        });
        tree
    }

    #[test]
    fn a_pack_killed_at_any_moment_is_finished_by_the_next_and_comes_back_whole() {
        let mut killed = 0;
        for round in 0..20 {
            let scratch = tempfile::tempdir().unwrap();
            let lab = scratch.path().join("lab");
            heavy(&lab, 3, 1);
            let before = told(&lab);
            let child = start(labpack().arg("pack").arg(&lab));
            std::thread::sleep(Duration::from_millis(2 + 4 * round));
            signal(&child, "KILL");
            killed += u32::from(end(child).code.is_none());
            run(args!["pack", lab]).ends(0);
            run(args!["verify", lab, "--content"]).ends(0);
            run(args!["restore", lab]).ends(0);
            assert_eq!(told(&lab), before, "round {round}");
        }
        println!("{killed} of 20 were killed before their end");
    }
}
