//! Removing RefDisks that nobody needs.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Entry, Store, StoreError,
    index::Index,
    packs::{JOURNAL_NAME, Names, PARTIAL_NAME, RECEIPT_NAME, names, with_cause},
};
use crate::{
    base::{ContentId, Run},
    fs,
    manifest::{Manifest, now, parse_utc},
    report::{Code, Finding, Findings},
};

/// How to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GcOptions {
    /// Only say what would go.
    pub dry_run: bool,
    /// RefDisks that were taken in or asked for so recently stay: a pack that is being made does
    /// not name them yet.
    pub grace: Duration,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self {
            dry_run: false,
            grace: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// What went, or would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GcReport {
    /// The store's folder.
    pub store: String,
    /// Nothing was removed: this is what would be.
    pub dry_run: bool,
    /// The RefDisks that went, or would.
    pub removed: Vec<RemovedRefDisk>,
    /// Their bytes.
    pub removed_bytes: u64,
    /// How many stay.
    pub kept: u64,
    /// Their bytes.
    pub kept_bytes: u64,
    /// Temporary files of dead processes that were removed.
    pub stale_temps: u64,
    /// What was odd, and what was kept because of it.
    pub findings: Findings,
}

/// A RefDisk that went, or would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RemovedRefDisk {
    /// Its id.
    pub id: ContentId,
    /// Its name in the store.
    pub file: String,
    /// Its length in bytes.
    pub length: u64,
    /// When it was last taken in or asked for, in UTC.
    pub last_used: String,
}

/// Removes the RefDisks that no known pack names, after a grace period.
///
/// Known are the packs and unpacked labs that were registered with the store, and the pack that
/// the store belongs to. Each is asked again: its manifest or receipt says which RefDisks it
/// needs. One that cannot be read counts as naming everything, one that is out of reach as naming
/// what it was registered for. Parents of RefDisks that stay, stay.
///
/// # Errors
/// As [`Store::open`]. A file that cannot be removed is a finding.
pub fn gc(dir: &Path, options: GcOptions, run: &Run<'_>) -> Result<GcReport, StoreError> {
    let store = Store::open(dir, run)?;
    let _fence = fs::Fence::around([store.dir()]);
    if options.dry_run {
        let index = store.snapshot().clone();
        let choice = choose(&store, &index, options.grace);
        return Ok(report(&store, &index, options, choice));
    }
    // Nobody registers a use while the choice is made and carried out.
    let mut collected = store.update(run, |index| {
        let mut choice = choose(&store, index, options.grace);
        let before = index.clone();
        let stopped = remove(&store, index, &mut choice, run);
        stopped.map(|()| report(&store, &before, options, choice))
    })?;
    collected.stale_temps = fs::remove_stale_temps(store.dir())?;
    Ok(collected)
}

/// What goes, children before their parents, and what is to be said.
struct Choice {
    remove: Vec<Entry>,
    findings: Findings,
}

fn choose(store: &Store, index: &Index, grace: Duration) -> Choice {
    let mut findings = Findings::default();
    let mut kept = named(store, index, &mut findings);
    let oldest = parse_utc(&now())
        .unwrap_or(0)
        .saturating_sub_unsigned(grace.as_secs());
    for entry in &index.entries {
        let used = parse_utc(&entry.last_used).unwrap_or(i64::MAX);
        if entry.users_unknown {
            findings.push(users_unknown(store, entry));
        }
        if entry.users_unknown || used > oldest {
            kept.insert(entry.id);
        }
    }
    let kept = index.with_ancestors(kept.into_iter());
    let goes = index
        .entries
        .iter()
        .filter(|entry| !kept.contains(&entry.id));
    let mut remove: Vec<Entry> = goes.cloned().collect();
    let depths = depths(index);
    remove.sort_by_key(|entry| std::cmp::Reverse(depths.get(&entry.id).copied()));
    Choice { remove, findings }
}

/// Returns the ids that a known pack names.
fn named(store: &Store, index: &Index, findings: &mut Findings) -> HashSet<ContentId> {
    let mut users: BTreeMap<PathBuf, Vec<ContentId>> = BTreeMap::new();
    for entry in &index.entries {
        for user in &entry.packs {
            users
                .entry(PathBuf::from(&user.path))
                .or_default()
                .push(entry.id);
        }
    }
    if let Some(own) = own_pack(store.dir()) {
        users.entry(own.to_owned()).or_default();
    }
    let mut kept = HashSet::new();
    for (path, registered) in users {
        let path_text = path.display();
        match names(&path) {
            Names::These(named) => kept.extend(named),
            Names::Gone => {}
            Names::OutOfReach => {
                findings.push(out_of_reach(&path, registered.len()));
                kept.extend(registered);
            }
            Names::Unfinished => {
                let message = "holds what a run at work, or an interrupted one, remembers; \
                     every RefDisk stays";
                let finding = Finding::warning(Code::UnfinishedRun, path_text, message);
                findings.push(finding.next("let it end, or run its command again"));
                kept.extend(index.entries.iter().map(|entry| entry.id));
            }
            Names::Unreadable(why) => {
                let message = format!("{why}; every RefDisk stays, since it may name any");
                let next = "repair or remove the pack, then run `labpack store gc` again";
                let finding = Finding::warning(Code::Unreadable, path_text, message);
                findings.push(finding.next(next));
                kept.extend(index.entries.iter().map(|entry| entry.id));
            }
        }
    }
    kept
}

/// Returns the folder of the pack that the store in `dir` belongs to, if it belongs to one.
pub(super) fn own_pack(dir: &Path) -> Option<&Path> {
    let around = dir.parent()?;
    // What cannot be looked at may be there.
    let there = |name| !matches!(fs::look(&around.join(name)), Ok(fs::Entry::Missing));
    [
        Manifest::FILE_NAME,
        RECEIPT_NAME,
        JOURNAL_NAME,
        PARTIAL_NAME,
    ]
    .into_iter()
    .any(there)
    .then_some(around)
}

fn out_of_reach(path: &Path, ref_disks: usize) -> Finding {
    let message = format!("cannot be reached; {ref_disks} RefDisks stay for it");
    let next = "bring its drive or share back, then run `labpack store gc` again";
    Finding::note(Code::Unreadable, path.display(), message).next(next)
}

fn users_unknown(store: &Store, entry: &Entry) -> Finding {
    let message = "stays, since the index does not know who uses it";
    let next = "remove it by hand once no lab needs it";
    let path = store.path_of(&entry.file);
    Finding::note(Code::UnusedRefDisk, path.display(), message).next(next)
}

/// How many ancestors each entry has in the index.
fn depths(index: &Index) -> HashMap<ContentId, usize> {
    let of = |entry: &Entry| index.with_ancestors(std::iter::once(entry.id)).len();
    index
        .entries
        .iter()
        .map(|entry| (entry.id, of(entry)))
        .collect()
}

/// Removes files, then their entries: a crash in between leaves entries without files, which mean
/// nothing and go the next time.
fn remove(
    store: &Store,
    index: &mut Index,
    choice: &mut Choice,
    run: &Run<'_>,
) -> Result<(), StoreError> {
    let mut removed = Vec::new();
    let mut stopped = Ok(());
    for entry in std::mem::take(&mut choice.remove) {
        if let Err(cancelled) = run.go_on() {
            stopped = Err(cancelled.into());
            break;
        }
        let path = store.path_of(&entry.file);
        match fs::remove_file(&path) {
            Ok(()) => removed.push(entry),
            Err(error) => {
                let message = with_cause(&error);
                let finding = Finding::warning(Code::FileInUse, path.display(), message);
                choice
                    .findings
                    .push(finding.next("close what uses it, and run it again"));
            }
        }
    }
    let gone: HashSet<ContentId> = removed.iter().map(|entry| entry.id).collect();
    index.entries.retain(|entry| !gone.contains(&entry.id));
    choice.remove = removed;
    stopped
}

fn report(store: &Store, before: &Index, options: GcOptions, choice: Choice) -> GcReport {
    let bytes = |lengths: &mut dyn Iterator<Item = u64>| lengths.fold(0, u64::saturating_add);
    let all = bytes(&mut before.entries.iter().map(|entry| entry.length));
    let removed_bytes = bytes(&mut choice.remove.iter().map(|entry| entry.length));
    let removed = choice.remove.into_iter().map(|entry| RemovedRefDisk {
        id: entry.id,
        file: entry.file,
        length: entry.length,
        last_used: entry.last_used,
    });
    let removed: Vec<RemovedRefDisk> = removed.collect();
    GcReport {
        store: store.dir().display().to_string(),
        dry_run: options.dry_run,
        kept: (before.entries.len() - removed.len()) as u64,
        kept_bytes: all.saturating_sub(removed_bytes),
        removed,
        removed_bytes,
        stale_temps: 0,
        findings: choice.findings,
    }
}
