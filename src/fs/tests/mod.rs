//! What the parts of `fs` promise together, tried on the real file system.

use std::{
    fs,
    io::{self, Write as _},
    path::{MAIN_SEPARATOR_STR, Path},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

mod others;
mod processes;
mod volumes;

use super::{
    seam::{StepKind, install, record},
    *,
};
use crate::base::{
    Attributes, ByteRange, ContentId, FileTime, IoMeter, Patch, Progress, Run, Silent, Write,
};

const MIB: usize = 1 << 20;

fn meter() -> Arc<IoMeter> {
    Arc::default()
}

fn finish(existing: Existing) -> Finish {
    Finish {
        modified: FileTime(1_600_000_000_123_456_700),
        attributes: Attributes::default(),
        existing,
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn copy(from: &Path, to: &Path, meter: &Arc<IoMeter>) -> Result<(ContentId, Stamp), FsError> {
    let source = SourceFile::open(from, meter)?;
    let mut temp = TempFile::create(to, meter)?;
    let run = Run {
        progress: &Silent,
        meter,
    };
    let digests = Subject::of(&source).into_sink(&mut temp).read(&run)?;
    Ok((digests.content, temp.finish(&finish(Existing::Refuse))?))
}

#[test]
fn a_rename_never_replaces_what_stands_there() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    fs::write(&a, "a").unwrap();
    fs::write(&b, "b").unwrap();
    assert!(matches!(rename_new(&a, &b), Err(FsError::Exists { path }) if path == b));
    assert_eq!(fs::read(&b).unwrap(), b"b");
    rename_new(&a, &dir.path().join("c")).unwrap();
    assert_eq!(names(dir.path()), ["b", "c"]);
    // Folders too.
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::create_dir(dir.path().join("e")).unwrap();
    let onto = rename_new(&dir.path().join("d"), &dir.path().join("e"));
    assert!(matches!(onto, Err(FsError::Exists { .. })), "{onto:?}");
}

#[test]
fn a_temporary_file_that_is_dropped_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut temp = TempFile::create(&dir.path().join("disk.vhdx"), &meter()).unwrap();
    temp.data(0, b"half").unwrap();
    let name = temp
        .path()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(names(dir.path()), [name.as_str()]);
    assert!(is_temp_name(&name), "{name}");
    drop(temp);
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_finished_file_has_the_bytes_time_and_attributes_that_were_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.vhdx");
    let meter = meter();
    let mut temp = TempFile::create(&path, &meter).unwrap();
    temp.data(0, b"bytes").unwrap();
    temp.hole(5, 100_000).unwrap();
    let how = Finish {
        attributes: Attributes {
            read_only: true,
            ..Attributes::default()
        },
        ..finish(Existing::Refuse)
    };
    let done = temp.finish(&how).unwrap();
    assert_eq!(done, stamp(&path).unwrap());
    assert_eq!(done.len, 100_005);
    assert!(done.modified.same(how.modified));
    assert!(done.attributes.read_only);
    assert_eq!(meter.totals().written, 5);
    assert_eq!(names(dir.path()), ["disk.vhdx"]);
    // A read-only file gives way only where it may be replaced.
    let temp = TempFile::create(&path, &meter).unwrap();
    let refused = temp.finish(&finish(Existing::Refuse));
    assert!(
        matches!(refused, Err(FsError::Exists { .. })),
        "{refused:?}"
    );
    assert_eq!(stamp(&path).unwrap().len, 100_005);
    let temp = TempFile::create(&path, &meter).unwrap();
    temp.finish(&finish(Existing::Replace)).unwrap();
    assert_eq!(stamp(&path).unwrap().len, 0);
    assert_eq!(names(dir.path()), ["disk.vhdx"]);
}

#[test]
fn a_name_of_any_length_gets_a_temporary_name_that_fits() {
    for stem in [
        "a".repeat(255),
        "ü".repeat(127),
        "漢".repeat(85),
        "x".to_owned(),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(&stem);
        let temp = TempFile::create(&path, &meter()).unwrap();
        let name = temp
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        assert!(name.len() <= 255 && is_temp_name(&name), "{name}");
        temp.finish(&finish(Existing::Refuse)).unwrap();
        assert_eq!(names(dir.path()), [stem]);
    }
    for other in [
        "disk.vhdx",
        ".x.labpack-tmp",
        ".x.0123456789abcdeg.labpack-tmp",
        "x.0123456789abcdef.labpack-tmp",
    ] {
        assert!(!is_temp_name(other), "{other}");
    }
}

#[test]
fn a_copy_reads_each_byte_once_and_holes_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let mut file = fs::File::create(&from).unwrap();
    file.write_all(&vec![1; MIB + 10]).unwrap();
    file.set_len(50 * MIB as u64 + 3).unwrap();
    drop(file);
    let meter = meter();
    let (id, done) = copy(&from, &to, &meter).unwrap();
    let whole = fs::read(&from).unwrap();
    assert_eq!(id, ContentId::from(blake3::hash(&whole)));
    assert!(fs::read(&to).unwrap() == whole, "the copy differs");
    let totals = meter.totals();
    assert_eq!(totals.read + totals.skipped, done.len);
    assert!(totals.written <= MIB as u64 + 2 * (64 << 10), "{totals:?}");
    if totals.skipped == 0 {
        println!("skipped: this file system shows no holes");
        return;
    }
    assert!(totals.read < 2 * MIB as u64, "{totals:?}");
}

#[cfg(unix)]
#[test]
fn a_copy_is_as_sparse_as_its_source_and_blocks_of_zeros_are_not_written() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let mut bytes = vec![0; 8 * MIB];
    bytes[3] = 1;
    bytes[4 * MIB + 5] = 1;
    fs::write(&from, &bytes).unwrap();
    let meter = meter();
    copy(&from, &to, &meter).unwrap();
    assert_eq!(meter.totals().read, bytes.len() as u64);
    assert_eq!(meter.totals().written, 2 * (64 << 10));
    assert!(fs::read(&to).unwrap() == bytes, "the copy differs");
    let blocks = fs::metadata(&to).unwrap().blocks();
    assert!(blocks * 512 < MIB as u64, "{blocks} blocks");
}

#[test]
fn zeros_over_bytes_already_written_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let mut temp = TempFile::create(&path, &meter()).unwrap();
    temp.data(0, &[7; 200_000]).unwrap();
    let patch = Patch {
        stages: vec![vec![
            Write::zeros(ByteRange::new(10, 150_000).unwrap()),
            Write::bytes(250_000, [9; 10]),
            Write::zeros(ByteRange::new(260_000, 100).unwrap()),
        ]],
        new_len: Some(300_000),
    };
    temp.apply(&patch).unwrap();
    temp.finish(&finish(Existing::Refuse)).unwrap();
    let mut expected = vec![7; 200_000];
    patch.apply_to_vec(&mut expected).unwrap();
    assert!(fs::read(&path).unwrap() == expected, "the file differs");
    let beyond = Patch::single(vec![Write::bytes(1, [0; 4])]);
    let mut temp = TempFile::create(&path, &meter()).unwrap();
    assert!(temp.apply(&beyond).is_err());
}

#[cfg(unix)]
#[test]
fn only_ordinary_files_are_opened_and_a_pipe_makes_nobody_wait() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    fs::write(&file, "bytes").unwrap();
    symlink_file(&file, &link).unwrap();
    let refused = |path: &Path| match SourceFile::open(path, &meter()) {
        Err(FsError::Io { source, .. }) => source.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(refused(&link).contains("symbolic link"));
    assert!(refused(dir.path()).contains("folder"));
    use crate::base::ReadAt;
    let mut bytes = [0; 5];
    let through = SourceFile::open_following(&link, &meter()).unwrap();
    through.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"bytes");
    assert!(read_bounded(&link, 10).is_err());
    let pipe = dir.path().join("pipe");
    if !std::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .is_ok_and(|s| s.success())
    {
        println!("skipped: no mkfifo");
        return;
    }
    assert!(refused(&pipe).contains("pipe"));
    assert_eq!(look(&pipe).unwrap(), Entry::Other);
}

#[test]
fn the_user_can_stop_a_stream_between_two_chunks() {
    struct Stop;
    impl Progress for Stop {
        fn cancelled(&self) -> bool {
            true
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    fs::write(&path, "x").unwrap();
    let meter = meter();
    let source = SourceFile::open(&path, &meter).unwrap();
    let run = Run {
        progress: &Stop,
        meter: &meter,
    };
    let stopped = content_id(&source, &run);
    assert!(matches!(stopped, Err(FsError::Cancelled(_))));
}

#[test]
fn a_small_file_is_read_whole_and_a_large_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("labpack.json");
    write_atomic(&path, b"12345").unwrap();
    assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
    let refused = read_bounded(&path, 4);
    assert!(matches!(
        refused,
        Err(FsError::TooLong { len: 5, max: 4, .. })
    ));
    write_atomic(&path, b"1").unwrap();
    assert_eq!(read_bounded(&path, 4).unwrap(), b"1");
    assert_eq!(names(dir.path()), ["labpack.json"]);
}

#[test]
fn a_patch_in_place_changes_a_read_only_file_and_leaves_it_read_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    fs::write(&path, [1; 1000]).unwrap();
    let read_only = Attributes {
        read_only: true,
        ..Attributes::default()
    };
    set_times_and_attributes(&path, FileTime(1_000_000_000), read_only).unwrap();
    let patch = Patch {
        stages: vec![
            vec![Write::bytes(990, [2; 20])],
            vec![Write::zeros(ByteRange::new(0, 10).unwrap())],
        ],
        new_len: Some(1010),
    };
    let (outcome, steps) = record(dir.path(), || patch_in_place(&path, &patch, &meter()));
    outcome.unwrap();
    let mut expected = vec![1; 1000];
    patch.apply_to_vec(&mut expected).unwrap();
    assert_eq!(fs::read(&path).unwrap(), expected);
    assert!(stamp(&path).unwrap().attributes.read_only);
    let kinds: Vec<_> = steps.into_iter().map(|(kind, _)| kind).collect();
    let (patch, flush) = (StepKind::Patch, StepKind::Flush);
    assert_eq!(kinds, [patch, patch, flush, patch, flush]);
    remove_file(&path).unwrap();
    remove_file(&path).unwrap();
    assert_eq!(look(&path).unwrap(), Entry::Missing);
}

#[test]
fn what_stands_at_a_path_is_told_and_folders_go_only_when_empty() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a").join("b").join("c");
    create_dir_all(&deep).unwrap();
    create_dir_all(&deep).unwrap();
    set_folder_time(&deep, FileTime(1_500_000_000_000_000_000)).unwrap();
    assert_eq!(
        look(&deep).unwrap(),
        Entry::Folder(FileTime(1_500_000_000_000_000_000))
    );
    let file = deep.join("file");
    write_atomic(&file, b"123").unwrap();
    assert!(matches!(
        look(&file).unwrap(),
        Entry::File(Stamp {
            len: 3,
            links: 1,
            ..
        })
    ));
    assert_eq!(look(&file.join("below")).unwrap(), Entry::Missing);
    assert!(create_dir_all(&file).is_err());
    assert!(!remove_empty_folder(&deep).unwrap());
    sync_file(&file).unwrap();
    sync_folder(&deep).unwrap();
    remove_file(&file).unwrap();
    assert!(remove_empty_folder(&deep).unwrap());
    assert!(!remove_empty_folder(&deep).unwrap());
}

#[test]
fn a_hard_link_is_the_same_file_and_never_replaces() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    write_atomic(&file, b"x").unwrap();
    let before = stamp(&file).unwrap();
    hard_link(&file, &link).unwrap();
    let after = stamp(&link).unwrap();
    assert_eq!((after.key, after.links), (before.key, 2));
    assert!(after.unchanged_content(&before));
    assert!(matches!(
        hard_link(&file, &link),
        Err(FsError::Exists { .. })
    ));
}

#[test]
fn a_walk_is_sorted_and_reports_links_and_bad_names() {
    // Wine makes no links, and Windows no such name.
    let links = cfg!(unix);
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    create_dir_all(&root.join("b").join("sub")).unwrap();
    for file in ["b/sub/x", "b.txt", "a"] {
        fs::write(root.join(file), file).unwrap();
    }
    if links {
        fs::write(root.join("b/nul"), "").unwrap();
        symlink_file(Path::new("/nowhere"), &root.join("link")).unwrap();
        symlink_file(root, &root.join("loop")).unwrap();
    }
    let seen: Vec<_> = walk(root)
        .map(|found| match found {
            Ok(Found { path, entry }) => (
                path.below(Path::new("")).display().to_string(),
                match entry {
                    Entry::File(stamp) => format!("file of {}", stamp.len),
                    Entry::Folder(_) => "folder".to_owned(),
                    Entry::Link(to) => format!("link to {}", to.display()),
                    other => format!("{other:?}"),
                },
            ),
            Err(bad) => (
                bad.path.strip_prefix(root).unwrap().display().to_string(),
                bad.why,
            ),
        })
        .collect();
    let expected = [
        ("a", "file of 1"),
        ("b", "folder"),
        ("b/nul", "has a part that Windows takes for a device"),
        ("b/sub", "folder"),
        ("b/sub/x", "file of 7"),
        ("b.txt", "file of 5"),
        ("link", "link to /nowhere"),
        ("loop", &format!("link to {}", root.display())),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .filter(|(path, _)| links || !["b/nul", "link", "loop"].contains(path))
        .map(|(path, what)| (path.replace('/', MAIN_SEPARATOR_STR), what.to_owned()))
        .collect();
    assert_eq!(seen, expected);
    let missing: Vec<_> = walk(&root.join("missing")).collect();
    assert!(matches!(missing.as_slice(), [Err(bad)] if bad.why.contains("cannot be read")));
}

#[test]
fn paths_become_absolute_by_text() {
    let here = std::env::current_dir().unwrap();
    assert_eq!(
        absolute(Path::new("x/../y/./z")).unwrap(),
        here.join("y").join("z")
    );
    assert!(absolute(Path::new("")).is_err());
}

/// Every step that finishing a file takes, stopped in turn: nothing is lost, nothing half done
/// bears the final name, and no temporary file stays.
#[test]
fn a_hook_can_stop_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let work = || {
        write_atomic(&path, b"new")?;
        let link = dir.path().join("link");
        hard_link(&path, &link)?;
        create_dir_all(&dir.path().join("folder"))?;
        remove_empty_folder(&dir.path().join("folder"))?;
        remove_file(&link)
    };
    let (outcome, steps) = record(dir.path(), work);
    outcome.unwrap();
    let kinds: Vec<_> = steps.iter().map(|(kind, _)| *kind).collect();
    for kind in [
        StepKind::Create,
        StepKind::Write,
        StepKind::SetAttributes,
        StepKind::Flush,
        StepKind::Rename,
        StepKind::FlushFolder,
        StepKind::Link,
        StepKind::CreateFolder,
        StepKind::RemoveFolder,
        StepKind::Remove,
    ] {
        assert!(kinds.contains(&kind), "{kind:?} was not announced");
    }
    for stop in 0..steps.len() {
        fs::write(&path, "old").unwrap();
        let count = AtomicU64::new(0);
        let below = dir.path().to_owned();
        let guard = install(move |step| {
            let nth = u64::from(step.path.starts_with(&below));
            if nth == 1 && count.fetch_add(1, Ordering::SeqCst) == stop as u64 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        });
        let outcome = work();
        drop(guard);
        assert!(
            matches!(outcome, Err(FsError::NoSpace { .. })),
            "step {stop}: {outcome:?}"
        );
        let bytes = fs::read(&path).unwrap();
        assert!(bytes == b"old" || bytes == b"new", "step {stop}");
        assert!(
            names(dir.path()).iter().all(|name| !is_temp_name(name)),
            "step {stop}"
        );
        for left in names(dir.path()).iter().filter(|name| *name != "disk") {
            let left = dir.path().join(left);
            let _ = remove_empty_folder(&left).is_ok_and(|done| done) || remove_file(&left).is_ok();
        }
    }
}
