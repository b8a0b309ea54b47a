//! The folders an unpack works with.

use std::{
    collections::HashMap,
    path::{Component, Path, PathBuf},
};

use super::{Request, UnpackError, memory::Memory};
use crate::{
    base::{ContentId, RelPath, Run},
    fs::{self, Entry, Fence},
    manifest::{Manifest, RefDisk, StorePlace},
    plan::{Location, Roots},
    report::{Code, Finding, Findings},
    store::{RECEIPT_NAME, Store},
};

/// The folder of RefDisks, in a pack and in a destination.
const STORE: &str = "RefDisk";

/// The folders an unpack works with, all absolute.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) pack: PathBuf,
    pub(super) dest: PathBuf,
    /// The store named on the command line.
    named_store: Option<PathBuf>,
    windows_dest: Option<String>,
}

impl Places {
    pub(super) fn of(request: &Request) -> Result<Self, UnpackError> {
        let store = request.store.as_deref().map(fs::absolute).transpose()?;
        Ok(Self {
            pack: fs::absolute(&request.pack)?,
            dest: fs::absolute(&request.dest)?,
            named_store: store,
            windows_dest: request.windows_dest.clone(),
        })
    }

    /// Puts up a fence around the folders that the user named.
    pub(super) fn fence(&self) -> Fence {
        let named = [
            Some(&self.pack),
            Some(&self.dest),
            self.named_store.as_ref(),
        ];
        Fence::around(named.into_iter().flatten().map(PathBuf::as_path))
    }

    /// Stays with the store of the last run, unless another was named.
    ///
    /// A receipt is a stranger's word: a store outside of the destination counts only if it says
    /// itself that this lab uses it.
    pub(super) fn stay_with(&mut self, memory: &Memory, run: &Run<'_>) -> Result<(), UnpackError> {
        if self.named_store.is_some() {
            return Ok(());
        }
        let Some(store) = &memory.store else {
            return Ok(());
        };
        let below = self.dest.join(store);
        let inside = store
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !inside && !self.is_known_to(&below, run) {
            return Err(UnpackError::Refused(Findings(vec![unknown_store(&below)])));
        }
        self.named_store = Some(below);
        Ok(())
    }

    fn is_known_to(&self, store: &Path, run: &Run<'_>) -> bool {
        let Ok(store) = Store::open(store, run) else {
            return false;
        };
        let entries = store.entries();
        let mut users = entries.iter().flat_map(|entry| &entry.packs);
        users.any(|user| Path::new(&user.path) == self.dest)
    }

    /// The store as a receipt has it.
    pub(super) fn store_in_receipt(&self) -> PathBuf {
        let store = self.store();
        let inside = store.strip_prefix(&self.dest).map(Path::to_owned);
        inside.unwrap_or(store)
    }

    /// The store that the destination's VMs will use.
    pub(super) fn store(&self) -> PathBuf {
        let named = self.named_store.clone();
        named.unwrap_or_else(|| self.dest.join(STORE))
    }

    /// Tells whether the store is a part of the lab.
    pub(super) fn has_store_inside(&self) -> bool {
        self.store().starts_with(&self.dest)
    }

    /// The store that a pack may have of its own.
    pub(super) fn own_store(&self) -> PathBuf {
        self.pack.join(STORE)
    }

    /// The store of the pack, where it is on the destination's volume and nobody has named a store.
    pub(super) fn near_store(&self, manifest: &Manifest) -> Option<PathBuf> {
        let unnamed = self.named_store.is_none() && manifest.store == StorePlace::Own;
        let store = Some(self.own_store()).filter(|_| unnamed)?;
        let key = |path: &Path| Some(fs::volume(path).ok()?.key);
        (key(&store)? == key(&self.dest)?).then_some(store)
    }

    /// Where a RefDisk of the pack is. In a shared store another pack may have named it: `names`.
    pub(super) fn ref_disk(
        &self,
        manifest: &Manifest,
        disk: &RefDisk,
        names: &HashMap<ContentId, String>,
    ) -> PathBuf {
        match manifest.store {
            StorePlace::Own => self.own_store().join(&disk.file),
            StorePlace::Shared => self.store().join(names.get(&disk.id).unwrap_or(&disk.file)),
        }
    }

    pub(super) fn file(&self, path: &RelPath) -> PathBuf {
        path.below(&self.dest)
    }

    /// Checks how the folders lie to each other, and returns them as texts.
    pub(super) fn roots(&self, manifest: &Manifest, findings: &mut Findings) -> Option<Roots> {
        self.check_apart(findings);
        if manifest.store == StorePlace::Shared
            && self.named_store.is_none()
            && !manifest.ref_disks.is_empty()
        {
            findings.push(unnamed_store());
        }
        let roots = Roots {
            dest: shown(&self.dest, findings)?,
            store: shown(&self.store(), findings)?,
            windows_dest: match &self.windows_dest {
                None => None,
                Some(text) => Some(windows(text, findings)?),
            },
        };
        Some(roots)
    }

    fn check_apart(&self, findings: &mut Findings) {
        let (pack, dest) = (&self.pack, &self.dest);
        if dest.starts_with(pack) || pack.starts_with(dest) {
            let message = format!("lies inside the pack `{}`, or around it", pack.display());
            let message = if pack == dest {
                "is the pack itself".to_owned()
            } else {
                message
            };
            findings.push(
                Finding::error(Code::NameInUse, dest.display(), message).next(
                    "unpack into a folder of its own; `labpack restore` undoes a pack in place",
                ),
            );
        }
        if self.store() == *dest {
            findings.push(
                Finding::error(
                    Code::NameInUse,
                    dest.display(),
                    "is also named as the store",
                )
                .next("name another folder with --store"),
            );
        }
    }
}

fn unknown_store(store: &Path) -> Finding {
    let message = format!(
        "names the store `{}`, which is not there or does not know this lab",
        store.display()
    );
    Finding::error(Code::MissingRefDisk, RECEIPT_NAME, message)
        .next("if it is the right one, name it with --store")
}

fn unnamed_store() -> Finding {
    let message = "the pack's RefDisks are in a store that other labs share";
    Finding::error(Code::MissingRefDisk, Manifest::FILE_NAME, message)
        .next("name the store with --store")
}

fn shown(path: &Path, findings: &mut Findings) -> Option<Location> {
    let location = Location::here(path);
    if location.is_none() {
        let message =
            "is a path that cannot be written into a disk: not Unicode, or no drive or share";
        findings.push(Finding::error(Code::BadName, path.display(), message));
    }
    location
}

fn windows(text: &str, findings: &mut Findings) -> Option<Location> {
    let location = Location::windows(text);
    if location.is_none() {
        let message = "is no absolute Windows path, expected one such as `D:\\Labs`";
        findings.push(Finding::error(Code::BadName, text, message));
    }
    location
}

/// Returns the folder at `path`, or the nearest above it that is there.
pub(super) fn nearest_folder(path: &Path) -> Result<&Path, UnpackError> {
    for above in path.ancestors() {
        if fs::look(above)? != Entry::Missing {
            return Ok(above);
        }
    }
    Ok(path)
}
