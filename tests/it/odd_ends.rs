//! Runs that are ended before their end: nothing is lost, and the same command goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command},
    thread::sleep,
    time::{Duration, Instant},
};

use labpack::formats::DiskFormat;

use crate::support::{
    Thing, What, contents,
    labs::{Made, noise, vm},
    set_time,
    shell::{Said, args, end, run, start},
    small_labs, tree,
};

/// What is done when the end comes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Deed {
    PackInPlace,
    PackToOutput,
    Unpack,
    UnpackCopies,
    Restore,
}

impl Deed {
    /// How the line begins that says that bytes are on their way.
    const fn under_way(self) -> &'static str {
        match self {
            Self::PackInPlace | Self::PackToOutput => "reading: ",
            Self::Unpack | Self::UnpackCopies => "copying: ",
            Self::Restore => "restoring: ",
        }
    }
}

/// A lab in a folder that goes with the value, all that comes before the deed done to it.
struct Scene {
    scratch: tempfile::TempDir,
    deed: Deed,
    before: BTreeMap<PathBuf, Thing>,
}

impl Scene {
    fn new(deed: Deed, make: impl Fn(&Path)) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let lab = scratch.path().join("lab");
        make(&lab);
        let before = told(&lab);
        if matches!(deed, Deed::Unpack | Deed::UnpackCopies | Deed::Restore) {
            run(args!["pack", lab]).ends(0);
        }
        Self {
            scratch,
            deed,
            before,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The command.
    fn line(&self) -> Vec<OsString> {
        let (lab, pack, dest) = (self.at("lab"), self.at("pack"), self.at("dest"));
        match self.deed {
            Deed::PackInPlace => args!["pack", lab].to_vec(),
            Deed::PackToOutput => args!["pack", lab, "--output", pack].to_vec(),
            Deed::Unpack => args!["unpack", lab, dest].to_vec(),
            Deed::UnpackCopies => args!["unpack", lab, dest, "--link", "copy"].to_vec(),
            Deed::Restore => args!["restore", lab].to_vec(),
        }
    }

    /// Every file's bytes stand somewhere, but for those of disks in the middle of a chain: in
    /// the store their parents have other names.
    fn nothing_is_lost(&self, when: &str) {
        let stand: BTreeSet<_> = contents(self.scratch.path())
            .into_values()
            .filter_map(digest)
            .collect();
        let whole = self
            .before
            .iter()
            .filter(|(path, _)| path.file_stem().is_none_or(|stem| stem != "mid"));
        for (path, thing) in whole {
            let found = digest(thing.what.clone()).is_none_or(|bytes| stand.contains(&bytes));
            assert!(found, "{when}: {} is nowhere", path.display());
        }
        if self.deed == Deed::PackToOutput {
            assert_eq!(told(&self.at("lab")), self.before, "{when}: it only reads");
        }
    }

    /// Runs the command again, and proves that all is as if it had never been stopped.
    fn goes_on(&self, when: &str) {
        let (lab, line) = (self.at("lab"), self.line());
        let restored = self.deed == Deed::Restore && !lab.join("labpack.json").exists();
        if !restored || lab.join("labpack.journal").exists() {
            run(&line).ends(0);
        }
        self.no_leftovers(when);
        match self.deed {
            Deed::PackInPlace => drop(run(args!["verify", lab, "--content"]).ends(0)),
            Deed::PackToOutput => self.output_is_whole(when),
            Deed::Unpack | Deed::UnpackCopies => self.unpacked_is_whole(when),
            Deed::Restore => {}
        }
        if matches!(
            self.deed,
            Deed::PackInPlace | Deed::Unpack | Deed::UnpackCopies
        ) {
            run(args!["restore", lab]).ends(0);
        }
        assert_eq!(told(&lab), self.before, "{when}");
        self.no_leftovers(when);
    }

    fn output_is_whole(&self, when: &str) {
        let pack = self.at("pack");
        run(args!["verify", pack, "--content"]).ends(0);
        run(args!["restore", pack]).ends(0);
        assert_eq!(bytes(told(&pack)), bytes(self.before.clone()), "{when}");
    }

    fn unpacked_is_whole(&self, when: &str) {
        let dest = self.at("dest");
        let report = run(args!["verify", dest, "--json"]).ends(0).json();
        assert_eq!(report["chains"]["broken"], 0, "{when}");
        let again = run(self.line().into_iter().chain(args!["--json"])).ends(0);
        assert_eq!(again.json()["counts"]["files_written"], 0, "{when}");
        if self.deed == Deed::UnpackCopies {
            let mut copied = bytes(told(&dest));
            for own in ["labpack-unpacked.json", "import-vms.ps1", ".labpack.lock"] {
                copied.remove(Path::new(own));
            }
            assert_eq!(copied, bytes(self.before.clone()), "{when}");
        }
    }

    fn no_leftovers(&self, when: &str) {
        for path in contents(self.scratch.path()).into_keys() {
            assert!(!is_leftover(&path), "{when}: {} is left", path.display());
        }
    }
}

/// The folder, but for its own time: the lock is made in it before the journal that remembers it.
fn told(folder: &Path) -> BTreeMap<PathBuf, Thing> {
    let mut tree = tree(folder);
    tree.remove(Path::new(""));
    tree
}

fn bytes(things: BTreeMap<PathBuf, Thing>) -> BTreeMap<PathBuf, What> {
    let what = |(path, thing): (PathBuf, Thing)| (path, thing.what);
    things.into_iter().map(what).collect()
}

fn digest(what: What) -> Option<[u8; 32]> {
    match what {
        What::File { digest, .. } => Some(*digest.as_bytes()),
        What::Folder | What::Link(_) => None,
    }
}

fn is_leftover(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    is_temp(path) || name == ".labpack-incoming" || name == "labpack.journal"
}

fn is_temp(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "labpack-tmp")
}

fn signal(child: &Child, name: &str) {
    let mut kill = Command::new("kill");
    kill.args(["-s", name, &child.id().to_string()]);
    assert!(kill.status().unwrap().success(), "cannot send {name}");
}

/// A lab with enough in it that a run takes a while: three VMs on one parent of 24 MiB.
fn heavy(lab: &Path) {
    let mut base = Made::base(DiskFormat::Vhd, "base.vhd", 1);
    base.disk.virtual_size = 32 << 20;
    base.disk.data = vec![(0, noise(3, 24 << 20))];
    for number in 1..=3 {
        let disks = vm(lab, &format!("VM {number}"));
        base.write_to(&disks);
        let mut leaf = Made::child(&base, &format!("vm{number}.vhd"), 10 + number, "C:\\Export");
        leaf.disk.virtual_size = base.disk.virtual_size;
        leaf.write_to(&disks);
    }
    let things: Vec<PathBuf> = tree(lab).into_keys().rev().collect();
    for path in things {
        set_time(&lab.join(path), (1_600_000_000, 0));
    }
}

/// Starts the deed, sends the signal once bytes are on their way, and returns how it ended.
fn interrupted(scene: &Scene, name: &str) -> Said {
    let mut child = start(
        scene
            .line()
            .into_iter()
            .chain(args!["--progress", "plain", "--json"]),
    );
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut err = String::new();
    while !err
        .lines()
        .any(|line| line.starts_with(scene.deed.under_way()))
    {
        let read = stderr.read_line(&mut err).unwrap();
        assert!(read > 0, "it ended before it began: {err}");
    }
    signal(&child, name);
    stderr.read_to_string(&mut err).unwrap();
    Said { err, ..end(child) }
}

fn stopped_by_signals(deed: Deed) {
    for name in ["INT", "TERM"] {
        let scene = Scene::new(deed, heavy);
        let said = interrupted(&scene, name);
        let reads_all = matches!(deed, Deed::PackInPlace | Deed::PackToOutput);
        if said.code == Some(0) && !reads_all {
            println!("skipped: on this file system {deed:?} was done before the signal came");
            continue;
        }
        let said = said.ends(130);
        let document = said.json();
        assert_eq!(document["exit_code"], 130, "{document:#}");
        assert_eq!(document["error"], "interrupted", "{document:#}");
        assert!(said.err.contains("stopping"), "{}", said.err);
        let when = format!("{deed:?} after SIG{name}");
        for path in contents(scene.scratch.path()).into_keys() {
            assert!(!is_temp(&path), "{when}: {} is left", path.display());
        }
        scene.nothing_is_lost(&when);
        scene.goes_on(&when);
    }
}

#[test]
fn a_pack_in_place_that_is_told_to_stop_ends_with_130_and_goes_on() {
    stopped_by_signals(Deed::PackInPlace);
}

#[test]
fn a_pack_to_another_folder_that_is_told_to_stop_ends_with_130_and_goes_on() {
    stopped_by_signals(Deed::PackToOutput);
}

#[test]
fn an_unpack_that_is_told_to_stop_ends_with_130_and_goes_on() {
    stopped_by_signals(Deed::UnpackCopies);
}

#[test]
fn a_restore_that_is_told_to_stop_ends_with_130_and_goes_on() {
    stopped_by_signals(Deed::Restore);
}

#[test]
fn people_are_told_that_an_interrupted_run_lost_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let lab = scratch.path().join("lab");
    small_labs::small(&lab, DiskFormat::Vhd);
    let watch = crate::support::Watch::default();
    let lock = labpack::fs::FolderLock::acquire(&lab.join(".labpack.lock"), &watch.run()).unwrap();
    let mut child = start(args!["pack", lab]);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut err = String::new();
    while !err.contains("waiting") {
        assert!(stderr.read_line(&mut err).unwrap() > 0, "{err}");
    }
    signal(&child, "INT");
    stderr.read_to_string(&mut err).unwrap();
    let said = end(child).ends(130);
    assert_eq!(said.out, "");
    let last = err.lines().last().unwrap();
    insta::assert_snapshot!(last, @"interrupted: nothing is lost; run the same command again to go on");
    drop(lock);
    run(args!["pack", lab]).ends(0);
}

/// How many runs are killed of each kind: `LABPACK_TEST_ROUNDS`, a dozen by default.
fn rounds() -> u32 {
    let named = std::env::var("LABPACK_TEST_ROUNDS").ok();
    named.map_or(12, |text| text.parse().unwrap())
}

/// Some part of a run, another in each round and at each time.
fn moment(round: u32, rounds: u32, whole: Duration) -> Duration {
    let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let within = f64::from(nanos.subsec_nanos() % 1000) / 1000.0;
    whole.mul_f64((f64::from(round) + within) / f64::from(rounds))
}

fn killed_at_any_moment(deeds: &[Deed]) {
    let small = |lab: &Path| small_labs::small(lab, DiskFormat::Vhd);
    let untouched = Scene::new(deeds[0], small);
    let began = Instant::now();
    run(untouched.line()).ends(0);
    let whole = began.elapsed();
    let (mut killed, rounds) = (0, rounds());
    for round in 0..rounds {
        let deed = deeds[round as usize % deeds.len()];
        let scene = Scene::new(deed, small);
        let moment = moment(round, rounds, whole);
        let mut child = start(scene.line());
        sleep(moment);
        child.kill().unwrap();
        killed += u32::from(end(child).code.is_none());
        let when = format!("{deed:?} killed after {moment:?} of {whole:?}");
        scene.nothing_is_lost(&when);
        scene.goes_on(&when);
    }
    assert!(killed > 0, "all were done before they were killed");
    println!("{killed} of {rounds} were killed before their end");
}

#[test]
fn a_pack_in_place_killed_at_any_moment_loses_nothing() {
    killed_at_any_moment(&[Deed::PackInPlace]);
}

#[test]
fn a_pack_to_another_folder_killed_at_any_moment_loses_nothing() {
    killed_at_any_moment(&[Deed::PackToOutput]);
}

#[test]
fn an_unpack_killed_at_any_moment_loses_nothing() {
    killed_at_any_moment(&[Deed::Unpack, Deed::UnpackCopies]);
}

#[test]
fn a_restore_killed_at_any_moment_loses_nothing() {
    killed_at_any_moment(&[Deed::Restore]);
}

#[test]
fn a_pack_killed_while_it_copies_leaves_what_it_copied_to_the_next_run() {
    let scene = Scene::new(Deed::PackToOutput, heavy);
    let incoming = scene.at("pack").join(".labpack-incoming");
    let mut child = start(scene.line());
    let began = Instant::now();
    while fs::read_dir(&incoming).map_or(0, Iterator::count) < 2 {
        assert!(began.elapsed() < Duration::from_secs(20), "it never began");
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    end(child);
    scene.nothing_is_lost("killed while it copied");
    scene.goes_on("killed while it copied");
}
