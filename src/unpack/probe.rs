//! What stands at the destination, held against what is remembered.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{
    UnpackError,
    links::LinkTargets,
    memory::{Intent, Memory},
    places::Places,
};
use crate::{
    base::{RelPath, Run},
    formats,
    fs::{self, Entry, SourceFile, Stamp},
    manifest::Manifest,
    plan::{
        FileRecord, FileStep, LinkKind, LinkRecord, LinkStep, Seen, Standing, UnpackPlan, vhdx_id,
    },
    report::{Code, Finding, Findings},
};

/// Looks at every path that a plan wants something to stand at.
pub(super) struct Probe<'a> {
    pub(super) places: &'a Places,
    pub(super) memory: &'a Memory,
    pub(super) targets: &'a LinkTargets,
    pub(super) run: &'a Run<'a>,
}

impl Probe<'_> {
    /// Decides what is done about each file and link. `reset` writes files again that were used.
    pub(super) fn meet(&self, plan: &mut UnpackPlan, reset: bool) -> Result<(), UnpackError> {
        for step in &mut plan.files {
            self.run.go_on()?;
            let found = self.at_file(step)?;
            plan.findings.extend(step.meet(&found, reset));
        }
        for step in &mut plan.links {
            self.run.go_on()?;
            let found = self.at_link(step)?;
            plan.findings.extend(step.meet(&found, reset));
        }
        Ok(())
    }

    fn at_file(&self, step: &FileStep) -> Result<Standing, UnpackError> {
        let path = self.places.file(&step.path);
        Ok(match fs::look(&path)? {
            Entry::File(stamp) => self.remembered(&step.path, &path, &stamp)?,
            entry => self.no_file(&step.path, &entry, None),
        })
    }

    fn remembered(
        &self,
        name: &RelPath,
        path: &Path,
        stamp: &Stamp,
    ) -> Result<Standing, UnpackError> {
        if let Some(record) = self.memory.files.get(name) {
            let unchanged = record.seen.is(stamp) && self.same_disk(&record.seen, path);
            return Ok(if unchanged {
                Standing::Unchanged(record)
            } else {
                Standing::Used
            });
        }
        Ok(match self.memory.links.get(name) {
            Some(record) if record.key == Some(stamp.key) => Standing::Linked {
                record: record.clone(),
                right: false,
            },
            Some(_) => Standing::Used,
            None => Standing::Foreign("a file"),
        })
    }

    /// Tells whether a VHDX still has the id that its first write would have changed.
    fn same_disk(&self, seen: &Seen, path: &Path) -> bool {
        let Some(id) = seen.disk else { return true };
        let source = SourceFile::open(path, self.run.meter).ok();
        let info = source.and_then(|source| formats::read_info(&source).ok());
        info.is_some_and(|info| info.own_id == id)
    }

    fn at_link(&self, step: &LinkStep) -> Result<Standing, UnpackError> {
        let path = self.places.file(&step.path);
        let wanted = self.targets.record(step)?;
        Ok(match fs::look(&path)? {
            Entry::File(stamp)
                if step.kind == LinkKind::Hardlink && wanted.key == Some(stamp.key) =>
            {
                Standing::Linked {
                    record: wanted,
                    right: true,
                }
            }
            Entry::File(stamp) => self.remembered(&step.path, &path, &stamp)?,
            entry => self.no_file(&step.path, &entry, Some(wanted)),
        })
    }

    /// What stands there if it is no file. `wanted` is the link that is to stand there.
    fn no_file(&self, name: &RelPath, entry: &Entry, wanted: Option<LinkRecord>) -> Standing {
        let target = match entry {
            Entry::Link(target) => target.to_str().map(plain),
            Entry::Missing => return Standing::Nothing,
            Entry::Folder(_) => return Standing::Foreign("a folder"),
            _ => return Standing::Foreign("something that is no file"),
        };
        let leads =
            |record: &LinkRecord| target.is_some() && record.target.as_deref().map(plain) == target;
        // The very link that would be made, whether or not a crash kept it from being taken down.
        if let Some(record) = wanted.filter(leads) {
            return Standing::Linked {
                record,
                right: true,
            };
        }
        match self.memory.links.get(name) {
            Some(record) if leads(record) => Standing::Linked {
                record: record.clone(),
                right: false,
            },
            _ => Standing::Foreign("a link"),
        }
    }
}

/// A link's target as it was asked for: Windows gives junctions back with a prefix.
fn plain(target: &str) -> &str {
    let target = target.strip_prefix(r"\\?\").unwrap_or(target);
    target.trim_end_matches('\\')
}

/// Takes up files that got their names, though an interrupted run could not take that down.
pub(super) fn adopt(
    memory: &mut Memory,
    places: &Places,
    manifest: &Manifest,
    run: &Run<'_>,
) -> Result<(), UnpackError> {
    for (name, intent) in std::mem::take(&mut memory.intents) {
        run.go_on()?;
        let path = places.file(&name);
        let Entry::File(stamp) = fs::look(&path)? else {
            continue;
        };
        // It may be the one that was to be replaced, and look the same but for what names a parent.
        let old = memory.files.get(&name);
        if old.is_some_and(|old| old.seen.is(&stamp)) || !is_intended(&intent, &path, &stamp, run)?
        {
            continue;
        }
        let vhdx = manifest
            .files()
            .find(|file| file.path == name)
            .and_then(vhdx_id);
        memory.wrote(FileRecord {
            path: name,
            packed: intent.packed,
            written: intent.written,
            seen: Seen::new(&stamp, vhdx),
            parent: intent.parent,
        });
    }
    Ok(())
}

/// Tells whether the file is the one that was about to be named so.
fn is_intended(
    intent: &Intent,
    path: &Path,
    stamp: &Stamp,
    run: &Run<'_>,
) -> Result<bool, UnpackError> {
    if stamp.len != intent.length || !stamp.modified.same(intent.modified) {
        return Ok(false);
    }
    let Some(written) = intent.written else {
        return Ok(true);
    };
    let source = SourceFile::open(path, run.meter)?;
    Ok(fs::content_id(&source, run)? == written)
}

/// Finds what stands in the way of folders: files, and links, through which nothing is written.
pub(super) fn check_folders(
    places: &Places,
    plan: &UnpackPlan,
    findings: &mut Findings,
) -> Result<(), UnpackError> {
    let mut paths: Vec<PathBuf> = vec![places.dest.clone()];
    paths.extend(folders(plan).iter().map(|folder| places.file(folder)));
    for (at, path) in paths.iter().enumerate() {
        let what = match fs::look(path)? {
            Entry::Missing | Entry::Folder(_) => continue,
            // The destination itself is the user's to choose.
            Entry::Link(_) if at == 0 => continue,
            Entry::Link(_) => "a link stands there, and labpack writes through none",
            _ => "something that is no folder stands there",
        };
        findings.push(
            Finding::error(Code::NameInUse, path.display(), what)
                .next("move it away, or unpack into another folder"),
        );
    }
    Ok(())
}

/// Returns every folder that a plan needs, parents before what is in them.
pub(super) fn folders(plan: &UnpackPlan) -> BTreeSet<RelPath> {
    let listed = plan.folders.iter().map(|folder| Some(folder.path.clone()));
    let files = plan.files.iter().map(|step| step.path.folder());
    let links = plan.links.iter().map(|step| step.path.folder());
    let mut all = BTreeSet::new();
    for folder in listed.chain(files).chain(links) {
        let above = std::iter::successors(folder, RelPath::folder);
        for folder in above {
            if !all.insert(folder) {
                break;
            }
        }
    }
    all
}
