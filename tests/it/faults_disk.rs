//! A disk that may lose its power: it knows what was flushed, and what was not.
//!
//! It listens at the seam. What a file holds lasts once the file was flushed; a name that was
//! made, changed or taken away lasts once its folder was. After a stop [`Disk::cut`] leaves one of
//! the states that are possible then: of what was not flushed some may have reached the disk, in
//! any order, the rest is gone, and bytes that never came are old bytes or zeros. Files stay the
//! files that they were (volume and number), as on a disk.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use labpack::fs::seam::{self, Step, StepKind};

use crate::support::set_time;

/// Numbers that look random, the same for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// What of the things that were not flushed reached the disk.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Loss {
    /// Nothing did.
    All,
    /// Whatever the dice say.
    Some { seed: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Folder,
    File(u64),
    Link(PathBuf),
}

/// A change of names that was not flushed.
#[derive(Debug, Clone)]
enum Change {
    Put(PathBuf, Node),
    Take(PathBuf, Node),
    Move(PathBuf, PathBuf, Node),
}

type Names = BTreeMap<PathBuf, Node>;

/// What of a file is certain to last.
#[derive(Debug, Clone, PartialEq)]
struct Lasting {
    bytes: Vec<u8>,
    modified: (i64, u32),
    mode: u32,
}

impl Lasting {
    fn of(path: &Path) -> io::Result<Self> {
        let found = path.symlink_metadata()?;
        Ok(Self {
            bytes: fs::read(path)?,
            modified: (found.mtime(), u32::try_from(found.mtime_nsec()).unwrap()),
            mode: found.mode(),
        })
    }

    fn put(&self, path: &Path) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(path, &self.bytes).unwrap();
        set_time(path, self.modified);
        fs::set_permissions(path, fs::Permissions::from_mode(self.mode)).unwrap();
    }
}

#[derive(Default)]
struct State {
    files: HashMap<u64, Lasting>,
    /// Names as they are.
    now: Names,
    /// Names that last.
    lasting: Names,
    /// What would have to be done to `lasting` to make it `now`.
    pending: Vec<Change>,
}

/// Everything below a folder, as a disk holds it.
pub(crate) struct Disk {
    root: PathBuf,
    /// Keeps files that have no name any more, for a name may come back.
    vault: PathBuf,
    state: Mutex<State>,
}

impl Disk {
    /// Takes everything below `root` for flushed, and `vault` for a folder beside it.
    pub(crate) fn of(root: &Path, vault: &Path) -> Arc<Self> {
        fs::create_dir(vault).unwrap();
        let mut state = State::default();
        for path in below(root) {
            let node = node(&path).unwrap();
            if let Node::File(number) = node {
                state.files.insert(number, Lasting::of(&path).unwrap());
            }
            state.now.insert(path, node);
        }
        state.lasting = state.now.clone();
        Arc::new(Self {
            root: root.to_owned(),
            vault: vault.to_owned(),
            state: Mutex::new(state),
        })
    }

    /// Listens; from its `last` step on nothing works any more.
    pub(crate) fn stop_at(self: &Arc<Self>, last: u64) -> seam::Guard {
        let (before, after) = (Arc::clone(self), Arc::clone(self));
        let steps = Mutex::new(0);
        seam::install_around(
            move |step| {
                if !step.path.starts_with(&before.root) {
                    return Ok(());
                }
                let mut steps = steps.lock().unwrap();
                *steps += 1;
                if *steps >= last {
                    return Err(io::Error::other("the power is cut"));
                }
                before.keep(step)
            },
            move |step| {
                if step.path.starts_with(&after.root) {
                    after.note(step)?;
                }
                Ok(())
            },
        )
    }

    /// Keeps a file that is about to lose its last name.
    fn keep(&self, step: Step<'_>) -> io::Result<()> {
        let found = match step.kind {
            StepKind::Remove | StepKind::Rename => step.path.symlink_metadata(),
            _ => return Ok(()),
        };
        match found {
            Ok(found) if found.is_file() && found.nlink() == 1 => {
                fs::hard_link(step.path, self.kept(found.ino()))
            }
            _ => Ok(()),
        }
    }

    fn kept(&self, number: u64) -> PathBuf {
        self.vault.join(number.to_string())
    }

    fn note(&self, step: Step<'_>) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let path = step.path.to_owned();
        match step.kind {
            StepKind::Create | StepKind::Link | StepKind::CreateFolder => {
                let node = node(&path)?;
                if let Node::File(number) = node {
                    let empty = Lasting {
                        bytes: Vec::new(),
                        ..Lasting::of(&path)?
                    };
                    state.files.entry(number).or_insert(empty);
                }
                if state.now.get(&path) != Some(&node) {
                    state.now.insert(path.clone(), node.clone());
                    state.pending.push(Change::Put(path, node));
                }
            }
            StepKind::Rename => {
                let from = step.from.unwrap().to_owned();
                let node = state.now.remove(&from).unwrap();
                assert_ne!(node, Node::Folder, "no folder is renamed");
                state.now.insert(path.clone(), node.clone());
                state.pending.push(Change::Move(from, path, node));
            }
            StepKind::Remove | StepKind::RemoveFolder => {
                if path.symlink_metadata().is_err()
                    && let Some(node) = state.now.remove(&path)
                {
                    state.pending.push(Change::Take(path, node));
                }
            }
            StepKind::Flush => {
                if let Node::File(number) = node(&path)? {
                    state.files.insert(number, Lasting::of(&path)?);
                }
            }
            StepKind::FlushFolder => state.flush(&path),
            StepKind::FlushVolume => state.flush_all()?,
            _ => {}
        }
        Ok(())
    }

    /// Leaves a state that the disk may be in after a power cut.
    pub(crate) fn cut(&self, loss: Loss, when: &str) {
        let state = std::mem::take(&mut *self.state.lock().unwrap());
        let known: Vec<&PathBuf> = state.now.keys().collect();
        let there = below(&self.root);
        let there: Vec<&PathBuf> = there.iter().collect();
        assert_eq!(known, there, "{when}: a step was not announced");
        let mut dice = Dice::of(match loss {
            Loss::All => 0,
            Loss::Some { seed } => seed,
        });
        let chance = match loss {
            Loss::All => 0,
            Loss::Some { .. } => [20, 50, 80][usize::try_from(dice.below(3)).unwrap()],
        };
        let names = state.names(&self.root, &mut dice, chance);
        let contents = self.contents(&state, &mut dice, chance);
        self.take_apart(&state.now);
        for (number, lasting) in &contents {
            lasting.put(&self.kept(*number));
        }
        for (path, node) in &names {
            match node {
                Node::Folder => fs::create_dir(path),
                Node::File(number) => fs::hard_link(self.kept(*number), path),
                Node::Link(target) => std::os::unix::fs::symlink(target, path),
            }
            .unwrap();
        }
        fs::remove_dir_all(&self.vault).unwrap();
    }

    /// What is in each file afterwards.
    fn contents(&self, state: &State, dice: &mut Dice, chance: u64) -> BTreeMap<u64, Lasting> {
        let named = |wanted| {
            let mut names = state.now.iter();
            let name = names.find(|(_, node)| **node == Node::File(wanted));
            name.map_or_else(|| self.kept(wanted), |(path, _)| path.clone())
        };
        let numbers: BTreeSet<u64> = state.files.keys().copied().collect();
        numbers
            .into_iter()
            .map(|number| {
                let now = Lasting::of(&named(number)).unwrap();
                let lasting = &state.files[&number];
                (number, mixed(lasting, &now, dice, chance))
            })
            .collect()
    }

    /// Moves each file to the vault, and takes away everything else.
    fn take_apart(&self, now: &Names) {
        for (path, node) in now {
            if let Node::File(number) = node {
                fs::rename(path, self.kept(*number)).unwrap();
                // Of two names of one file, rename(2) leaves both.
                let _ = fs::remove_file(path);
            }
        }
        for entry in fs::read_dir(&self.root).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

impl State {
    /// A flushed folder: what happened in it lasts. Half of a move to or from another folder
    /// lasts then, for no system promises more.
    fn flush(&mut self, folder: &Path) {
        let here = |path: &Path| path.parent() == Some(folder);
        for change in std::mem::take(&mut self.pending) {
            match &change {
                Change::Put(path, _) | Change::Take(path, _) => {
                    if here(path) {
                        apply(&mut self.lasting, &change);
                    } else {
                        self.pending.push(change);
                    }
                }
                Change::Move(from, to, node) => {
                    let halves = [
                        Change::Take(from.clone(), node.clone()),
                        Change::Put(to.clone(), node.clone()),
                    ];
                    match (here(from), here(to)) {
                        (false, false) => self.pending.push(change),
                        lasts => {
                            for (half, lasts) in halves.into_iter().zip([lasts.0, lasts.1]) {
                                if lasts {
                                    apply(&mut self.lasting, &half);
                                } else {
                                    self.pending.push(half);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// A flushed volume: everything lasts.
    fn flush_all(&mut self) -> io::Result<()> {
        for (path, node) in &self.now {
            if let Node::File(number) = node {
                self.files.insert(*number, Lasting::of(path)?);
            }
        }
        self.lasting = self.now.clone();
        self.pending.clear();
        Ok(())
    }

    /// The names that are there afterwards.
    fn names(&self, root: &Path, dice: &mut Dice, chance: u64) -> Names {
        let mut names = self.lasting.clone();
        for change in &self.pending {
            if dice.percent(chance) {
                apply(&mut names, change);
                if let Change::Move(from, _, node) = change
                    && dice.percent(20)
                {
                    names.insert(from.clone(), node.clone());
                }
            }
        }
        // A folder that is not there has nothing in it. Folders come before what is in them.
        let mut reached: Names = Names::new();
        for (path, node) in names {
            let above = path.parent().unwrap();
            if above == root || reached.get(above) == Some(&Node::Folder) {
                reached.insert(path, node);
            }
        }
        reached
    }
}

fn apply(names: &mut Names, change: &Change) {
    match change {
        Change::Put(path, node) => drop(names.insert(path.clone(), node.clone())),
        Change::Take(path, node) => {
            if names.get(path) == Some(node) {
                names.remove(path);
            }
        }
        Change::Move(from, to, node) => {
            apply(names, &Change::Take(from.clone(), node.clone()));
            names.insert(to.clone(), node.clone());
        }
    }
}

/// A file of which some sectors were flushed, and some were not.
fn mixed(lasting: &Lasting, now: &Lasting, dice: &mut Dice, chance: u64) -> Lasting {
    const SECTOR: usize = 512;
    let longer = dice.percent(chance);
    let len = if longer { now } else { lasting }.bytes.len();
    let mut bytes = vec![0; len];
    let all = dice.percent(chance / 2);
    for at in (0..len).step_by(SECTOR) {
        let end = (at + SECTOR).min(len);
        let source = if all || dice.percent(chance) {
            now
        } else {
            lasting
        };
        let there = source.bytes.get(at..end.min(source.bytes.len()));
        if let Some(there) = there {
            bytes[at..at + there.len()].copy_from_slice(there);
        }
    }
    Lasting {
        bytes,
        modified: if dice.percent(chance) { now } else { lasting }.modified,
        mode: if dice.percent(chance) { now } else { lasting }.mode,
    }
}

fn node(path: &Path) -> io::Result<Node> {
    let found = path.symlink_metadata()?;
    Ok(if found.is_dir() {
        Node::Folder
    } else if found.is_symlink() {
        Node::Link(fs::read_link(path)?)
    } else {
        Node::File(found.ino())
    })
}

/// Every path below a folder, sorted.
fn below(root: &Path) -> Vec<PathBuf> {
    let found = walkdir::WalkDir::new(root).min_depth(1);
    let mut paths: Vec<PathBuf> = found
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .collect();
    paths.sort();
    paths
}
