//! What volumes can do: links, clones, and being full.

#[cfg(target_os = "linux")]
use std::process::{Command, Stdio};

use super::*;

#[test]
fn a_trial_of_links_leaves_no_trace_and_believes_only_what_it_sees() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    create_dir_all(&from).unwrap();
    create_dir_all(&to).unwrap();
    let trial = try_links(&from, &to).unwrap();
    println!("{trial:?}");
    assert_eq!(trial.hardlink, Ok(()));
    assert!(names(&from).is_empty() && names(&to).is_empty());
    if cfg!(unix) {
        assert_eq!(trial.symlink, Ok(()));
        assert_eq!(
            trial.junction,
            Err("junctions exist only on Windows".to_owned())
        );
    }
}

#[test]
fn the_volume_of_a_path_that_does_not_exist_is_that_of_the_folder_above() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    write_atomic(&file, b"x").unwrap();
    let there = volume(&dir.path().join("not").join("yet")).unwrap();
    assert_eq!(there.key, stamp(&file).unwrap().key.volume);
    assert!(there.free > 0 && !there.file_system.is_empty(), "{there:?}");
}

/// Runs a program; tells whether it succeeded.
#[cfg(target_os = "linux")]
fn done(program: &str, args: &[&dyn AsRef<std::ffi::OsStr>]) -> bool {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A volume mounted on a folder; taken off again at the end.
#[cfg(target_os = "linux")]
struct Mounted(tempfile::TempDir);

#[cfg(target_os = "linux")]
impl Mounted {
    fn tmpfs(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = done(
            "mount",
            &[&"-t", &"tmpfs", &"-o", &options, &"none", &dir.path()],
        );
        mounted.then(|| Self(dir))
    }

    fn image(make: &str, image: &Path) -> Option<Self> {
        fs::File::create(image).unwrap().set_len(256 << 20).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mounted =
            done(make, &[&image]) && done("mount", &[&"-o", &"loop", &image, &dir.path()]);
        mounted.then(|| Self(dir))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Mounted {
    fn drop(&mut self) {
        done("umount", &[&self.0.path()]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_its_own_answer_and_leaves_nothing_behind() {
    let Some(mounted) = Mounted::tmpfs("size=1m") else {
        println!("skipped: may not mount a tmpfs");
        return;
    };
    let source = tempfile::tempdir().unwrap();
    let from = source.path().join("disk");
    fs::write(&from, vec![1; 3 * MIB]).unwrap();
    let full = copy(&from, &mounted.0.path().join("disk"), &meter());
    assert!(matches!(full, Err(FsError::NoSpace { .. })), "{full:?}");
    assert!(names(mounted.0.path()).is_empty());
    let trial = try_links(source.path(), mounted.0.path()).unwrap();
    assert_eq!(trial.hardlink, Err("on another volume".to_owned()));
    assert!(trial.reflink.is_err());
    assert_eq!(trial.symlink, Ok(()));
}

#[cfg(target_os = "linux")]
#[test]
fn a_clone_shares_its_bytes_and_is_counted_where_the_volume_can() {
    let images = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::image("mkfs.btrfs", &images.path().join("btrfs")) else {
        println!("skipped: cannot make and mount a btrfs volume");
        return;
    };
    let root = mounted.0.path();
    let (from, to) = (root.join("from"), root.join("to"));
    fs::write(&from, vec![5; MIB + 17]).unwrap();
    let meter = meter();
    let source = SourceFile::open(&from, &meter).unwrap();
    let mut temp = TempFile::clone_of(&source, &to, &meter).unwrap().unwrap();
    let patch = Patch::single(vec![Write::bytes(3, [6; 4])]);
    temp.apply(&patch).unwrap();
    temp.finish(&finish(Existing::Refuse)).unwrap();
    let mut expected = vec![5; MIB + 17];
    patch.apply_to_vec(&mut expected).unwrap();
    assert!(fs::read(&to).unwrap() == expected, "the clone differs");
    assert_eq!(meter.totals().cloned, MIB as u64 + 17);
    assert_eq!(meter.totals().written, 4);
    assert_eq!(volume(root).unwrap().file_system, "btrfs");
    assert_eq!(try_links(root, root).unwrap().reflink, Ok(()));
}

#[test]
fn a_clone_between_volumes_or_where_there_are_none_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::write(&from, vec![5; MIB]).unwrap();
    let meter = meter();
    let source = SourceFile::open(&from, &meter).unwrap();
    let clone = TempFile::clone_of(&source, &dir.path().join("to"), &meter).unwrap();
    if clone.is_some() {
        println!("skipped: this file system clones blocks");
        return;
    }
    assert_eq!(meter.totals().cloned, 0);
    assert_eq!(names(dir.path()), ["from"]);
}
