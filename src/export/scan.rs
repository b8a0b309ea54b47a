//! One walk over an export, and one look into each file.

use std::{
    collections::HashMap,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Mutex,
};

use rayon::prelude::*;

use super::{
    Inventory, OwnFiles, ScannedFile,
    own::{Owner, Recogniser},
    probe::{Probed, probe},
    vm_folder::VmFolders,
};
use crate::{
    base::{Cancelled, FileTime, RelPath, Run},
    fs::{self, BadEntry, Entry, FileKey, FsError},
    report::{Code, Finding, Findings},
};

/// Scans the export in `root`: every name, and the headers and tables of every disk. Files are not
/// read any further, and no link is followed.
///
/// # Errors
/// Where `root` is no folder that can be read, and when the user stops the work.
pub fn scan(root: &Path, run: &Run<'_>) -> Result<Inventory, FsError> {
    let root = fs::absolute(root)?;
    let found = fs::look(&root)?;
    if let Entry::Missing | Entry::File(_) | Entry::Other = found {
        return Err(not_a_folder(root, &found));
    }
    let mut walked = Walked::of(&root, run)?;
    walked.look_into_files(&root, run)?;
    Ok(walked.sort_out(root))
}

fn not_a_folder(path: PathBuf, found: &Entry) -> FsError {
    let (kind, why) = match found {
        Entry::Missing => (ErrorKind::NotFound, "there is no such folder"),
        _ => (
            ErrorKind::NotADirectory,
            "it is no folder; name the folder that Export-VM wrote to",
        ),
    };
    let source = std::io::Error::new(kind, why);
    FsError::Io {
        action: "read",
        path,
        source,
    }
}

#[derive(Default)]
struct Walked {
    folders: Vec<(RelPath, FileTime)>,
    files: Vec<ScannedFile>,
    links: Vec<(RelPath, PathBuf)>,
    findings: Findings,
}

impl Walked {
    fn of(root: &Path, run: &Run<'_>) -> Result<Self, FsError> {
        let mut walked = Self::default();
        for found in fs::walk(root) {
            run.go_on()?;
            match found {
                Ok(found) => walked.add(found.path, found.entry),
                Err(bad) => walked.findings.push(bad_entry(root, &bad)),
            }
        }
        walked.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        walked.links.sort();
        Ok(walked)
    }

    fn add(&mut self, path: RelPath, entry: Entry) {
        match entry {
            Entry::File(stamp) => self.files.push(ScannedFile {
                path,
                stamp,
                vm: None,
                disk: None,
                blocks: None,
            }),
            Entry::Folder(modified) => self.folders.push((path, modified)),
            Entry::Link(target) => self.links.push((path, target)),
            Entry::Other => self.findings.push(special(&path)),
            // It went while the walk was under way.
            Entry::Missing => {}
        }
    }

    /// Reads headers, several files at a time. Names of one file are read once.
    fn look_into_files(&mut self, root: &Path, run: &Run<'_>) -> Result<(), FsError> {
        let progress = run.progress;
        progress.begin("reading headers", self.files.len() as u64, 0);
        let known: Mutex<HashMap<FileKey, Probed>> = Mutex::default();
        let look = |file: &mut ScannedFile| -> Result<Option<Finding>, Cancelled> {
            run.go_on()?;
            progress.file(file.path.as_str());
            let probed = probe_once(root, file, &known, run);
            (file.disk, file.blocks) = (probed.disk, probed.blocks);
            Ok(probed.oddity.map(|odd| odd.finding(file.path.as_str())))
        };
        let odd: Result<Vec<_>, Cancelled> = self
            .files
            .par_iter_mut()
            .filter_map(|file| look(file).transpose())
            .collect();
        progress.end();
        self.findings.extend(odd?);
        Ok(())
    }

    fn sort_out(mut self, root: PathBuf) -> Inventory {
        let recogniser = Recogniser::of(self.files.iter().map(|file| &file.path));
        self.folders.retain(|(path, _)| !recogniser.is_store(path));
        let mut own = OwnFiles::default();
        self.files.retain(|file| {
            let owner = recogniser.owner(&file.path);
            match owner {
                Owner::Manifest => own.manifest = Some(file.stamp),
                Owner::Journal => own.journal = Some(file.stamp),
                Owner::Receipt => own.receipt = Some(file.stamp),
                Owner::Script => own.script = Some(file.stamp),
                Owner::Store => own.store.push(file.clone()),
                Owner::Temp => own.temps.push(file.path.clone()),
                Owner::Export | Owner::Memory => {}
            }
            matches!(owner, Owner::Export)
        });
        self.files.shrink_to_fit();
        self.findings.extend(self.collisions());
        let vms = self.find_vms(&root);
        if self.files.is_empty() && self.links.is_empty() && own.manifest.is_none() {
            self.findings.push(empty(&root));
        }
        Inventory {
            root,
            vms: vms.folders,
            folders: self.folders,
            files: self.files,
            links: self.links,
            findings: self.findings,
            own,
        }
    }

    fn find_vms(&mut self, root: &Path) -> VmFolders {
        let name = root.file_name().unwrap_or(root.as_os_str());
        let folders = self.folders.iter().map(|(path, _)| path);
        let all = folders.chain(self.files.iter().map(|file| &file.path));
        let disks = self.files.iter().filter(|file| file.disk.is_some());
        let disks = disks.map(|file| &file.path);
        let vms = VmFolders::of(&name.to_string_lossy(), all, disks);
        for file in &mut self.files {
            file.vm = vms.holding(&file.path);
        }
        vms
    }

    /// Names that Windows could not keep apart.
    fn collisions(&self) -> Vec<Finding> {
        let folders = self.folders.iter().map(|(path, _)| path);
        let files = self.files.iter().map(|file| &file.path);
        let links = self.links.iter().map(|(path, _)| path);
        // There may be very many: they are put in order, and no text is made of any.
        let mut paths: Vec<&RelPath> = folders.chain(files).chain(links).collect();
        paths.sort_by(|one, other| one.cmp_folded(other.as_str()));
        let pairs = paths.windows(2).filter_map(|pair| match pair {
            [one, other] if one.cmp_folded(other.as_str()).is_eq() => Some(collision(one, other)),
            _ => None,
        });
        pairs.collect()
    }
}

fn probe_once(
    root: &Path,
    file: &ScannedFile,
    known: &Mutex<HashMap<FileKey, Probed>>,
    run: &Run<'_>,
) -> Probed {
    let look = || probe(&file.path.below(root), file, run.meter);
    if file.stamp.links < 2 {
        return look();
    }
    // Names may differ in what they call themselves, so only what was found to be a disk is
    // taken over. Held while the file is read: a second worker waits instead of reading it too.
    let mut known = known
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(probed) = known.get(&file.stamp.key) {
        return probed.clone();
    }
    let probed = look();
    if probed.disk.is_some() {
        known.insert(file.stamp.key, probed.clone());
    }
    probed
}

fn bad_entry(root: &Path, bad: &BadEntry) -> Finding {
    let inside = bad.path.strip_prefix(root).unwrap_or(&bad.path);
    let shown = inside.display();
    if RelPath::from_system(inside).is_ok() {
        return Finding::error(Code::NoAccess, shown, bad.why.clone())
            .next("see that the folder and what is in it can be read, then run again");
    }
    Finding::error(Code::BadName, shown, bad.why.clone())
        .next("rename it; labpack carries only names that every system can keep")
}

fn special(path: &RelPath) -> Finding {
    Finding::warning(
        Code::SpecialFile,
        path,
        "is neither a file, a folder nor a link; labpack leaves it where it is",
    )
}

fn collision(one: &RelPath, other: &RelPath) -> Finding {
    let message = format!("differs from `{one}` only in case, so Windows cannot keep both");
    Finding::error(Code::CaseCollision, other, message).next("rename one of the two")
}

fn empty(root: &Path) -> Finding {
    Finding::error(
        Code::EmptyExport,
        root.display(),
        "there is nothing in this folder, expected the folders of exported VMs",
    )
    .next("name the folder that Export-VM wrote to")
}
