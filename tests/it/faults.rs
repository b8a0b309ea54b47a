//! What every harness of faults goes through: each verb on a small lab, and what must hold
//! however it ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use labpack::{
    formats::DiskFormat,
    fs::is_temp_name,
    pack,
    store::{self, GcOptions},
    unpack::LinkMode,
};

use crate::support::{
    Thing, Watch, What, contents, copy,
    small_labs::{self, Builder, named},
    tree, verbs,
};

/// A verb, at work in a folder of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Deed {
    PackInPlace,
    PackToOutput,
    Restore,
    Unpack(LinkMode),
    Gc,
}

pub(crate) const EVERY: [Deed; 8] = [
    Deed::PackInPlace,
    Deed::PackToOutput,
    Deed::Restore,
    Deed::Unpack(LinkMode::Copy),
    Deed::Unpack(LinkMode::Hardlink),
    Deed::Unpack(LinkMode::Symlink),
    Deed::Unpack(LinkMode::Relocate),
    Deed::Gc,
];

/// What a deed begins with; made once, and only read.
pub(crate) struct Original {
    _scratch: tempfile::TempDir,
    pub(crate) lab: PathBuf,
    pub(crate) other_lab: PathBuf,
    pub(crate) pack: PathBuf,
    tree: BTreeMap<PathBuf, Thing>,
    other_tree: BTreeMap<PathBuf, Thing>,
    packed: BTreeMap<PathBuf, Thing>,
}

/// A folder in memory, where there is one: the harness knows what a disk would have flushed.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// The original whose disks are VHDs of a few KiB.
pub(crate) fn original() -> &'static Original {
    original_of(DiskFormat::Vhd)
}

/// The original in a format; VHDXs have a few MiB each, for there are no smaller ones.
fn original_of(format: DiskFormat) -> &'static Original {
    static VHD: OnceLock<Original> = OnceLock::new();
    static VHDX: OnceLock<Original> = OnceLock::new();
    let original = match format {
        DiskFormat::Vhd => &VHD,
        DiskFormat::Vhdx => &VHDX,
    };
    original.get_or_init(|| {
        let scratch = scratch();
        let [lab, other_lab, pack] =
            ["lab", "other lab", "pack"].map(|name| scratch.path().join(name));
        small_labs::smallest(&lab, format);
        two_on_another_parent(&other_lab, format);
        verbs::pack(&verbs::to(&lab, &pack));
        Original {
            tree: files(&lab),
            other_tree: files(&other_lab),
            packed: files(&pack),
            lab,
            other_lab,
            pack,
            _scratch: scratch,
        }
    })
}

fn two_on_another_parent(root: &Path, format: DiskFormat) {
    let lab = Builder::smallest(root, format);
    for (number, vm) in [(11, "C"), (12, "D")] {
        lab.vm(vm);
        let base = lab.base(vm, "other", 77);
        lab.child(vm, &named(vm, format), number, &base);
    }
    lab.done();
}

/// Everything in a folder but for the times of folders, which are not flushed.
pub(crate) fn files(root: &Path) -> BTreeMap<PathBuf, Thing> {
    let mut things = tree(root);
    for thing in things.values_mut() {
        if thing.what == What::Folder {
            thing.modified = (0, 0);
        }
    }
    things
}

/// Why a verb did not come through.
pub(crate) type Stopped = Box<dyn Error + Send + Sync>;

fn come<T, E: Error + Send + Sync + 'static>(done: Result<T, E>) -> Result<(), Stopped> {
    done.map(drop).map_err(Into::into)
}

/// Runs `work` in one thread, so that its steps come one after the other.
pub(crate) fn in_one_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    in_thread("at work", work)
}

/// As [`in_one_thread`], in a thread of this name.
pub(crate) fn in_thread<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
    let name = name.to_owned();
    let pool = pool.thread_name(move |_| name.clone());
    pool.build().unwrap().install(work)
}

impl Deed {
    /// The deed on the original in a format.
    pub(crate) fn on(self, format: DiskFormat) -> Trial {
        Trial { deed: self, format }
    }

    /// As [`Trial::prepare`], on VHDs; so are the others.
    pub(crate) fn prepare(self, root: &Path) {
        self.on(DiskFormat::Vhd).prepare(root);
    }

    pub(crate) fn work(self, root: &Path) -> Result<(), Stopped> {
        self.on(DiskFormat::Vhd).work(root)
    }

    pub(crate) fn nothing_is_lost(self, root: &Path, when: &str) {
        self.on(DiskFormat::Vhd).nothing_is_lost(root, when);
    }

    pub(crate) fn goes_on(self, root: &Path, when: &str) {
        self.on(DiskFormat::Vhd).goes_on(root, when);
    }
}

/// A deed, and the format of the disks that it is done to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial {
    deed: Deed,
    format: DiskFormat,
}

impl Trial {
    fn original(self) -> &'static Original {
        original_of(self.format)
    }

    /// Lays out what the deed begins with.
    pub(crate) fn prepare(self, root: &Path) {
        let original = self.original();
        match self.deed {
            Deed::PackInPlace => copy(&original.lab, &root.join("lab")),
            Deed::PackToOutput => {}
            // Which may get further names.
            Deed::Unpack(_) => copy(&original.pack, &root.join("pack")),
            Deed::Restore => {
                copy(&original.lab, &root.join("lab"));
                verbs::pack(&verbs::here(&root.join("lab")));
            }
            Deed::Gc => {
                let labs = [(&original.lab, "lab"), (&original.other_lab, "other lab")];
                for (from, name) in labs {
                    copy(from, &root.join(name));
                    verbs::pack(&into_store(root, name));
                }
                let store = root.join("store");
                verbs::try_restore(&root.join("other lab"), Some(&store)).unwrap();
            }
        }
    }

    /// Does it.
    pub(crate) fn work(self, root: &Path) -> Result<(), Stopped> {
        let original = self.original();
        match self.deed {
            Deed::PackInPlace => come(self.pack(verbs::here(&root.join("lab")))),
            Deed::PackToOutput => come(self.pack(verbs::to(&original.lab, &root.join("pack")))),
            Deed::Restore => come(verbs::try_restore(&root.join("lab"), None)),
            Deed::Unpack(link) => {
                let request = verbs::by(link, &root.join("pack"), &root.join("vms"));
                come(verbs::try_unpack(&request).map(drop))
            }
            Deed::Gc => {
                let options = GcOptions {
                    dry_run: false,
                    grace: Duration::ZERO,
                };
                let run = Watch::default();
                let report = store::gc(&root.join("store"), options, &run.run())?;
                if report.findings.is_empty() {
                    return Ok(());
                }
                Err(format!("{:?}", report.findings).into())
            }
        }
    }

    fn pack(self, request: pack::Request) -> Result<(), pack::PackError> {
        pack::pack(&request, &Watch::default().run()).map(drop)
    }

    /// Demands that every file's bytes stand somewhere, but for those of disks in the middle of a
    /// chain: in the store their parents have other names.
    pub(crate) fn nothing_is_lost(self, root: &Path, when: &str) {
        let original = self.original();
        let stand: BTreeSet<[u8; 32]> = contents(root).into_values().filter_map(digest).collect();
        let expected = match self.deed {
            Deed::PackInPlace | Deed::Restore | Deed::Gc => &original.tree,
            Deed::PackToOutput | Deed::Unpack(_) => {
                assert_eq!(files(&original.lab), original.tree, "{when}: it only reads");
                let pack = root.join("pack");
                if matches!(self.deed, Deed::Unpack(_)) {
                    assert_eq!(files(&pack), original.packed, "{when}: likewise");
                }
                return;
            }
        };
        for (path, thing) in expected {
            let whole = path.file_stem().is_none_or(|stem| stem != "mid");
            let found = digest(thing.what.clone()).is_none_or(|bytes| stand.contains(&bytes));
            assert!(!whole || found, "{when}: {} is nowhere", path.display());
        }
    }

    /// Does it again, and proves that all is as if nothing had ever happened.
    pub(crate) fn goes_on(self, root: &Path, when: &str) {
        let done = || {
            self.work(root)
                .unwrap_or_else(|why| panic!("{when}: {}", Chain(&*why)));
        };
        let original = self.original();
        let lab = root.join("lab");
        match self.deed {
            Deed::PackInPlace => {
                done();
                no_leftovers(root, when);
                restored(&lab, None, &original.tree, when);
            }
            Deed::PackToOutput => {
                done();
                no_leftovers(root, when);
                restored(&root.join("pack"), None, &original.tree, when);
            }
            Deed::Restore => {
                if lab.join("labpack.json").exists() || lab.join("labpack.journal").exists() {
                    done();
                }
                assert_eq!(files(&lab), original.tree, "{when}");
            }
            Deed::Unpack(link) => {
                done();
                unpacked(&root.join("vms"), original, link, when);
            }
            Deed::Gc => {
                done();
                collected(root, original, when);
            }
        }
        no_leftovers(root, when);
    }
}

fn into_store(root: &Path, lab: &str) -> pack::Request {
    pack::Request {
        store: Some(root.join("store")),
        ..verbs::here(&root.join(lab))
    }
}

fn restored(pack: &Path, store: Option<&Path>, original: &BTreeMap<PathBuf, Thing>, when: &str) {
    verbs::try_restore(pack, store).unwrap_or_else(|why| panic!("{when}: {}", Chain(&why)));
    let mut restored = files(pack);
    // Whether the folder itself was there before is not the verb's to say.
    restored.retain(|path, _| original.contains_key(path) || !path.as_os_str().is_empty());
    assert_eq!(&restored, original, "{when}");
}

fn unpacked(vms: &Path, original: &Original, link: LinkMode, when: &str) {
    let report = verbs::verify(vms, None, true);
    let findings: Vec<_> = report.all_findings().collect();
    assert!(!report.found_errors(), "{when}: {findings:#?}");
    assert_eq!((report.chains.ok, report.chains.broken), (2, 0), "{when}");
    if link == LinkMode::Copy {
        for vm in ["A", "B 2"] {
            let there = files(&original.lab.join(vm));
            assert_eq!(files(&vms.join(vm)), there, "{when}");
        }
    }
}

fn collected(root: &Path, original: &Original, when: &str) {
    let store = root.join("store");
    let run = Watch::default();
    let listed = store::list(&store, &run.run()).unwrap();
    assert_eq!(listed.entries.len(), 2, "{when}: {listed:#?}");
    let report = store::check(&store, &run.run()).unwrap();
    assert!(report.findings.is_empty(), "{when}: {:#?}", report.findings);
    restored(&root.join("lab"), Some(&store), &original.tree, when);
    assert_eq!(
        files(&root.join("other lab")),
        original.other_tree,
        "{when}"
    );
}

/// Demands that nothing is left that was on its way.
pub(crate) fn no_leftovers(root: &Path, when: &str) {
    for path in contents(root).into_keys() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let on_its_way = is_temp_name(&name)
            || name.ends_with(".labpack-move")
            || name.starts_with(".labpack-incoming")
            || name.ends_with(".partial")
            || name == "labpack.journal";
        assert!(!on_its_way, "{when}: {} is left", path.display());
    }
}

pub(crate) fn digest(what: What) -> Option<[u8; 32]> {
    match what {
        What::File { digest, .. } => Some(*digest.as_bytes()),
        What::Folder | What::Link(_) => None,
    }
}

/// An error with its causes.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.0, self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// How much is tried: `LABPACK_TEST_ROUNDS`, or so much by default.
pub(crate) fn rounds(default: u64) -> u64 {
    let named = std::env::var("LABPACK_TEST_ROUNDS").ok();
    named.map_or(default, |text| default.max(text.parse().unwrap()))
}

/// Where the dice begin: `LABPACK_TEST_SEED`, or 1.
pub(crate) fn seed() -> u64 {
    let named = std::env::var("LABPACK_TEST_SEED").ok();
    named.map_or(1, |text| text.parse().unwrap())
}
