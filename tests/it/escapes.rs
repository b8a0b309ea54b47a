//! Whatever a stranger wrote into a pack, an export, a destination or a store, labpack stays in
//! the folders that it was given: a tree outside is the same before and after.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use labpack::{
    base::DiskId,
    formats::{DiskFormat, DiskKind, NewDisk, NewParent, ParentPaths},
    fs::seam::{self, StepKind},
    unpack::LinkMode,
};
use serde_json::Value;

use crate::{
    faults::{Deed, Stopped, files, in_one_thread, original, scratch},
    support::{Thing, copy, set_time, small_labs::Builder, tree, verbs},
};

/// Texts that lead elsewhere, on one system or another, in the place of `A/notes on it.txt`.
const ELSEWHERE: [&str; 19] = [
    "/etc/passwd",
    "../outside/secret.txt",
    "A/../../outside/secret.txt",
    "A/./notes on it.txt",
    "A//notes on it.txt",
    "C:/Windows/win.ini",
    "C:win.ini",
    "//server/share/x.txt",
    r"\\server\share\x.txt",
    r"\\?\C:\x.txt",
    r"\\.\PhysicalDrive0",
    r"A\notes.txt",
    "A/notes.txt:stream",
    "A/NUL",
    "A/com1.txt",
    "A/notes.",
    "A/notes ",
    "A/no\u{0}tes",
    "a/VIRTUAL HARD DISKS/a.VHD", // with `A/Virtual Hard Disks/A.vhd` beside it
];

/// A folder that nobody named, with things in it that would be found missing.
struct Scene {
    scratch: tempfile::TempDir,
    outside: BTreeMap<PathBuf, Thing>,
}

impl Scene {
    fn new() -> Self {
        let scratch = scratch();
        let outside = scratch.path().join("outside");
        copy(&original().lab, &outside);
        fs::write(outside.join("secret.txt"), "a secret").unwrap();
        set_time(&outside.join("secret.txt"), (1_400_000_000, 0));
        set_time(&outside, (1_400_000_001, 0));
        Self {
            outside: tree(&outside),
            scratch,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The lab, copied here and packed in place.
    fn packed(&self) -> PathBuf {
        let pack = self.at("pack");
        copy(&original().lab, &pack);
        verbs::pack(&verbs::here(&pack));
        pack
    }

    #[track_caller]
    fn nothing_outside_changed(&self, when: &str) {
        assert_eq!(tree(&self.at("outside")), self.outside, "{when}");
    }
}

/// Puts `new` in the place of each string in a document that is `old`; tells how many there were.
fn substitute(value: &mut Value, old: &str, new: &str) -> usize {
    match value {
        Value::String(text) if text == old => {
            *text = new.to_owned();
            1
        }
        Value::Array(values) => values.iter_mut().map(|v| substitute(v, old, new)).sum(),
        Value::Object(map) => map.values_mut().map(|v| substitute(v, old, new)).sum(),
        _ => 0,
    }
}

fn edit(document: &Path, old: &str, new: &str) {
    let mut value: Value = serde_json::from_slice(&fs::read(document).unwrap()).unwrap();
    let found = substitute(&mut value, old, new);
    assert!(found > 0, "{old} is not in {}", document.display());
    fs::write(document, serde_json::to_vec(&value).unwrap()).unwrap();
}

fn boxed<T, E: std::error::Error + Send + Sync + 'static>(
    done: Result<T, E>,
) -> Result<(), Stopped> {
    done.map(drop).map_err(Into::into)
}

/// Every verb that reads a pack refuses it, and changes nothing anywhere.
fn refused_everywhere(scene: &Scene, pack: &Path, when: &str) {
    // The lock's file means nothing.
    let lock = Path::new(".labpack.lock");
    let mut before = files(pack);
    before.remove(lock);
    let dest = scene.at("vms");
    let verbs: [(&str, Result<(), Stopped>); 3] = [
        (
            "unpack",
            boxed(verbs::try_unpack(&verbs::by(
                LinkMode::Relocate,
                pack,
                &dest,
            ))),
        ),
        ("restore", boxed(verbs::try_restore(pack, None))),
        ("pack", boxed(verbs::try_pack(&verbs::here(pack)))),
    ];
    for (verb, done) in verbs {
        assert!(done.is_err(), "{when}: {verb} took it");
    }
    let mut after = files(pack);
    after.remove(lock);
    assert_eq!(after, before, "{when}");
    assert!(!dest.exists(), "{when}: something was unpacked");
    scene.nothing_outside_changed(when);
}

#[test]
fn a_manifest_whose_paths_lead_elsewhere_is_refused() {
    let scene = Scene::new();
    let pack = scene.packed();
    let manifest = pack.join("labpack.json");
    let good = fs::read(&manifest).unwrap();
    let document: Value = serde_json::from_slice(&good).unwrap();
    let ref_disk = document["ref_disks"][0]["file"]
        .as_str()
        .unwrap()
        .to_owned();
    for old in ["A/notes on it.txt", ref_disk.as_str()] {
        for new in ELSEWHERE {
            edit(&manifest, old, new);
            refused_everywhere(&scene, &pack, &format!("{old:?} became {new:?}"));
            fs::write(&manifest, &good).unwrap();
        }
    }
}

/// A pack in place that was stopped once its journal stood.
fn stopped(pack: &Path) {
    copy(&original().lab, pack);
    let below = pack.join("RefDisk");
    let guard = seam::install(move |step| {
        if step.kind == StepKind::Rename && step.path.starts_with(&below) {
            return Err(io::Error::other("stopped"));
        }
        Ok(())
    });
    assert!(verbs::try_pack(&verbs::here(pack)).is_err());
    drop(guard);
    assert!(pack.join("labpack.journal").exists());
}

#[test]
fn a_journal_whose_paths_lead_elsewhere_is_refused() {
    let scene = Scene::new();
    let pack = scene.at("pack");
    stopped(&pack);
    let journal = pack.join("labpack.journal");
    let good = fs::read(&journal).unwrap();
    let document: Value = serde_json::from_slice(&good).unwrap();
    let plan = &document["deed"]["pack"]["plan"];
    let file = plan["entries"][0]["file"].as_str().unwrap().to_owned();
    let from = plan["entries"][0]["from"].as_str().unwrap().to_owned();
    for old in ["A/notes on it.txt", &file, &from] {
        for new in ELSEWHERE {
            edit(&journal, old, new);
            refused_everywhere(&scene, &pack, &format!("{old:?} became {new:?}"));
            fs::write(&journal, &good).unwrap();
        }
    }
    verbs::pack(&verbs::here(&pack));
    verbs::restore(&pack);
    assert_eq!(files(&pack), files(&original().lab));
}

#[test]
fn a_receipt_whose_paths_lead_elsewhere_is_refused_or_passed_over() {
    for (old, news) in [
        ("A/notes on it.txt", &ELSEWHERE[..]),
        (
            "RefDisk",
            &["../outside", "/etc", "RefDisk/../../outside"][..],
        ),
    ] {
        for new in news {
            let scene = Scene::new();
            let dest = scene.at("vms");
            let request = verbs::by(LinkMode::Hardlink, &original().pack, &dest);
            verbs::unpack(&request);
            edit(&dest.join("labpack-unpacked.json"), old, new);
            let before = files(&dest);
            let done = boxed(verbs::try_unpack(&request));
            let when = format!("{old:?} became {new:?}");
            assert!(done.is_err(), "{when}: it was taken");
            assert_eq!(files(&dest), before, "{when}");
            scene.nothing_outside_changed(&when);
        }
    }
}

#[test]
fn a_log_or_a_note_that_leads_elsewhere_is_passed_over() {
    for new in ELSEWHERE {
        let scene = Scene::new();
        let dest = scene.at("vms");
        fs::create_dir(&dest).unwrap();
        let digest = "0".repeat(64);
        let line = serde_json::json!({ "intent": {
            "path": new, "packed": digest, "length": 8, "modified": 0,
        }});
        fs::write(dest.join("labpack-unpacked.partial"), format!("{line}\n")).unwrap();
        verbs::unpack(&verbs::by(LinkMode::Copy, &original().pack, &dest));
        let output = scene.at("output");
        let incoming = output.join(".labpack-incoming");
        fs::create_dir_all(&incoming).unwrap();
        let note = serde_json::json!({ "format": "labpack-incoming", "version": 1, "path": new });
        fs::write(incoming.join("0123456789abcdef01234567"), "bytes").unwrap();
        fs::write(
            incoming.join("0123456789abcdef01234567.json"),
            note.to_string(),
        )
        .unwrap();
        verbs::pack(&verbs::to(&original().lab, &output));
        assert!(!incoming.exists());
        scene.nothing_outside_changed(new);
    }
}

/// Moves what stands at `path` outside, if it is there, and leaves a link to it.
fn plant(scene: &mut Scene, path: &Path, to: &str) {
    let target = scene.at("outside").join(to);
    if path.exists() {
        fs::rename(path, &target).unwrap();
    }
    symlink(&target, path).unwrap();
    scene.outside = tree(&scene.at("outside"));
}

#[test]
fn a_link_planted_in_an_export_or_a_pack_is_not_followed() {
    for (planted, to) in [
        ("RefDisk", "store"),
        ("A", "moved"),
        ("A/Virtual Hard Disks", "moved"),
        ("A/Virtual Hard Disks/A.vhd", "moved"),
        ("A/notes on it.txt", "moved"),
        ("labpack.json", "moved"),
        ("RefDisk/index.json", "moved"),
    ] {
        let mut scene = Scene::new();
        let pack = scene.packed();
        plant(&mut scene, &pack.join(planted), to);
        let dest = scene.at("vms");
        let unpacked = verbs::try_unpack(&verbs::by(LinkMode::Copy, &pack, &dest));
        assert!(
            unpacked.is_err() || planted == "RefDisk/index.json",
            "{planted}: unpack took it"
        );
        scene.nothing_outside_changed(&format!("{planted}: unpack"));
        let _ = verbs::try_restore(&pack, None);
        scene.nothing_outside_changed(&format!("{planted}: restore"));
        let _ = verbs::try_pack(&verbs::here(&pack));
        scene.nothing_outside_changed(&format!("{planted}: pack"));
    }
    for planted in ["A", "A/Virtual Hard Disks", "A/Virtual Hard Disks/base.vhd"] {
        let mut scene = Scene::new();
        let lab = scene.at("lab");
        copy(&original().lab, &lab);
        plant(&mut scene, &lab.join(planted), "moved");
        let _ = verbs::try_pack(&verbs::here(&lab));
        let _ = verbs::try_pack(&verbs::to(&lab, &scene.at("output")));
        scene.nothing_outside_changed(planted);
    }
}

#[test]
fn a_link_planted_where_labpack_writes_is_not_followed() {
    for planted in ["A", "RefDisk", ".labpack.lock", "labpack-unpacked.partial"] {
        let mut scene = Scene::new();
        let dest = scene.at("vms");
        fs::create_dir(&dest).unwrap();
        plant(
            &mut scene,
            &dest.join(planted),
            if planted.contains("labpack") {
                "secret.txt"
            } else {
                "A"
            },
        );
        let done = verbs::try_unpack(&verbs::by(LinkMode::Hardlink, &original().pack, &dest));
        assert!(done.is_err(), "{planted}: it was taken");
        scene.nothing_outside_changed(planted);
    }
    for planted in [
        "RefDisk",
        ".labpack-incoming",
        ".labpack.lock",
        "labpack.journal",
    ] {
        let mut scene = Scene::new();
        let output = scene.at("output");
        fs::create_dir(&output).unwrap();
        plant(
            &mut scene,
            &output.join(planted),
            if planted.contains('j') || planted.contains("lock") {
                "secret.txt"
            } else {
                "A"
            },
        );
        let done = verbs::try_pack(&verbs::to(&original().lab, &output));
        assert!(done.is_err(), "{planted}: it was taken");
        scene.nothing_outside_changed(planted);
    }
    for planted in [".lock", "index.json"] {
        let mut scene = Scene::new();
        let (store, lab) = (scene.at("store"), scene.at("lab"));
        fs::create_dir(&store).unwrap();
        copy(&original().lab, &lab);
        plant(&mut scene, &store.join(planted), "secret.txt");
        let request = labpack::pack::Request {
            store: Some(store),
            ..verbs::here(&lab)
        };
        assert!(
            verbs::try_pack(&request).is_err(),
            "{planted}: it was taken"
        );
        scene.nothing_outside_changed(planted);
    }
}

/// A step that came, and what stood outside once a folder was swapped for it.
struct Swapped {
    step: String,
    outside: Option<BTreeMap<PathBuf, Thing>>,
}

/// So long ago that reading a file would show.
const UNREAD: i64 = 1_000_000_000;

/// Swaps the folder of the `at`-th step for a link to a copy of it, and proves that the copy stays
/// as it is, unread. Tells whether there was something to swap, if there was such a step.
fn swap(deed: Deed, at: u64) -> Option<bool> {
    let folder = scratch();
    let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
    fs::create_dir(&root).unwrap();
    in_one_thread(|| deed.prepare(&root));
    let swapped = Arc::new(Mutex::new(None));
    let (steps, note, below) = (AtomicU64::new(0), Arc::clone(&swapped), root.clone());
    let twin = outside.clone();
    let guard = seam::install(move |step| {
        if step.path.starts_with(&below) && steps.fetch_add(1, Ordering::SeqCst) + 1 == at {
            let inside = step.path.parent().unwrap();
            *note.lock().unwrap() = Some(Swapped {
                step: format!("{:?} {:?}", step.kind, step.path),
                outside: swappable(inside, &below).then(|| swap_for_link(inside, &twin)),
            });
        }
        Ok(())
    });
    let _ = in_one_thread(|| deed.work(&root));
    drop(guard);
    let Swapped { step, outside: was } = swapped.lock().unwrap().take()?;
    if let Some(was) = &was {
        let when = format!("{deed:?}, swapped at step {at}, {step}");
        assert_eq!(
            read_in(&outside),
            Vec::<PathBuf>::new(),
            "{when}: it was read"
        );
        assert_eq!(tree(&outside), *was, "{when}");
    }
    Some(was.is_some())
}

/// Tells whether a folder is one that labpack found for itself: nobody named it.
fn swappable(inside: &Path, root: &Path) -> bool {
    let named = ["", "lab", "other lab", "pack", "vms", "store"];
    let deep = inside.strip_prefix(root);
    deep.is_ok_and(|path| named.iter().all(|name| path != Path::new(name))) && inside.is_dir()
}

/// Leaves a link to a copy of a folder in its place; returns what is in the copy.
fn swap_for_link(inside: &Path, twin: &Path) -> BTreeMap<PathBuf, Thing> {
    copy_all(inside, twin);
    fs::rename(inside, inside.with_extension("aside")).unwrap();
    symlink(twin, inside).unwrap();
    let there = tree(twin);
    for path in there.keys().map(|path| twin.join(path)) {
        if !path.is_symlink() {
            let unread = filetime::FileTime::from_unix_time(UNREAD, 0);
            filetime::set_file_atime(path, unread).unwrap();
        }
    }
    there
}

/// The files of a folder that were read since [`swap_for_link`].
fn read_in(twin: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(twin).into_iter().map(Result::unwrap);
    let read = entries
        .filter(|entry| entry.file_type().is_file() && entry.metadata().unwrap().atime() != UNREAD);
    read.map(walkdir::DirEntry::into_path).collect()
}

/// As [`copy`], with links.
fn copy_all(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        let kind = entry.file_type();
        if kind.is_dir() {
            fs::create_dir_all(&target).unwrap();
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path()).unwrap(), &target).unwrap();
        } else {
            fs::copy(entry.path(), &target).unwrap();
            let time = filetime::FileTime::from_last_modification_time(&entry.metadata().unwrap());
            filetime::set_file_mtime(&target, time).unwrap();
        }
    }
}

#[test]
fn a_folder_swapped_for_a_link_while_labpack_runs_leads_nowhere() {
    // A collection finds no folder for itself: RefDisks lie in the store's.
    for deed in [
        Deed::PackInPlace,
        Deed::PackToOutput,
        Deed::Restore,
        Deed::Unpack(LinkMode::Hardlink),
        Deed::Unpack(LinkMode::Copy),
    ] {
        let done = (1..).map_while(|at| swap(deed, at));
        let (swaps, steps) = done.fold((0, 0), |(swaps, steps), swapped| {
            (swaps + u64::from(swapped), steps + 1)
        });
        println!("{deed:?}: {swaps} swaps at {steps} steps");
        assert!(swaps > 5, "{deed:?}: {swaps} swaps");
    }
}

#[test]
fn a_locator_that_leads_outside_is_not_followed() {
    let scene = Scene::new();
    let disk = scene.at("outside").join("A/Virtual Hard Disks/base.vhd");
    let long_ago = filetime::FileTime::from_unix_time(UNREAD, 0);
    for (relative, absolute) in [
        (
            r"..\..\..\outside\A\Virtual Hard Disks\base.vhd",
            disk.to_str().unwrap(),
        ),
        (r"..\..\..\..\..\..\..\etc\passwd", "/etc/passwd"),
        (r".\gone.vhd", r"C:\Windows\System32\config\SAM"),
        (r".\gone.vhd", r"\\server\share\base.vhd"),
        (r"\\server\share\base.vhd", r"\\?\UNC\server\share\base.vhd"),
        (r".\gone.vhd:stream", r"\\.\PhysicalDrive0"),
    ] {
        let lab = scene.at("lab");
        let folder = lab.join("VM/Virtual Hard Disks");
        fs::create_dir_all(&folder).unwrap();
        let mut child = NewDisk::new(
            DiskFormat::Vhd,
            DiskKind::Differencing,
            4 << 20,
            DiskId::from_vhd([9; 16]),
        );
        child.block_size = Some(4096);
        child.parent = Some(NewParent {
            id: DiskId::from_vhdx([200; 16]),
            paths: ParentPaths {
                relative: Some(relative.to_owned()),
                absolute: Some(absolute.to_owned()),
                volume: None,
            },
            timestamp: 0,
        });
        fs::write(folder.join("child.vhd"), child.to_bytes().unwrap()).unwrap();
        let before = files(&lab);
        filetime::set_file_atime(&disk, long_ago).unwrap();
        let done = verbs::try_pack(&verbs::here(&lab));
        assert!(done.is_err(), "{absolute}: it was packed");
        let report = verbs::verify(&lab, None, false);
        assert_eq!(report.chains.broken, 1, "{absolute}");
        assert_eq!(
            disk.metadata().unwrap().atime(),
            UNREAD,
            "{absolute}: it was read"
        );
        assert_eq!(files(&lab), before, "{absolute}");
        scene.nothing_outside_changed(absolute);
        fs::remove_dir_all(&lab).unwrap();
    }
}

#[test]
fn names_that_differ_in_unicode_form_only_are_two_names() {
    let scratch = scratch();
    let [lab, output, dest] = ["lab", "output", "vms"].map(|name| scratch.path().join(name));
    let builder = Builder::tiny(&lab);
    builder.vm("A");
    let base = builder.base("A", "base", 200);
    builder.child("A", "A.vhd", 1, &base);
    let twins = ["caf\u{e9}.txt", "cafe\u{301}.txt"];
    for name in twins {
        fs::write(lab.join("A").join(name), name).unwrap();
    }
    if fs::read_to_string(lab.join("A").join(twins[0])).unwrap() != twins[0] {
        println!("skipped: this file system takes the two for one");
        return;
    }
    builder.done();
    verbs::pack(&verbs::to(&lab, &output));
    verbs::unpack(&verbs::by(LinkMode::Copy, &output, &dest));
    for name in twins {
        assert_eq!(fs::read_to_string(dest.join("A").join(name)).unwrap(), name);
    }
    verbs::restore(&output);
    assert_eq!(files(&output), files(&lab));
}
