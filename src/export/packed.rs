//! A pack, seen as the export that it was.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{Inventory, Neighbourhood};
use crate::{
    base::{ContentId, RelPath},
    chain::NodeId,
    fs::{self, Entry, FsError},
    manifest::{self, InStore, Manifest, ManifestError, Place, RefDisk, Sharing, StorePlace},
    report::{Code, Finding},
};

/// The folder of RefDisks in a pack.
const STORE: &str = "RefDisk";

/// A packed export with its manifest: what is in the store stands, for whoever follows a chain,
/// where it stood in the export.
#[derive(Debug)]
pub struct PackView {
    /// The pack's folder.
    pub root: PathBuf,
    /// What stands in `labpack.json`.
    pub manifest: Manifest,
    /// Where the file of each RefDisk is; those that are nowhere are left out.
    pub stored: HashMap<ContentId, PathBuf>,
    /// The files that are in the pack, in order.
    present: Vec<RelPath>,
}

/// Reads the manifest of the pack in `root`; `None` where there is none. What keeps it from being
/// used is a finding. To read it takes room, as to scan the pack does: it wants to come first.
///
/// # Errors
/// Where `labpack.json` is there and cannot be read.
pub(super) fn read_manifest(root: &Path) -> Result<Option<Result<Manifest, Finding>>, FsError> {
    let path = root.join(Manifest::FILE_NAME);
    if !matches!(fs::look(&path)?, Entry::File(_)) {
        return Ok(None);
    }
    let bytes = fs::read_bounded(&path, Manifest::MAX_BYTES)?;
    Ok(Some(
        manifest::read(bytes).map_err(|error| unusable(&error)),
    ))
}

impl PackView {
    /// Sees the pack that was scanned as its manifest tells it. RefDisks are looked for in the
    /// pack's own store and in `stores`.
    ///
    /// # Errors
    /// Where it cannot be told what stands in a store.
    pub fn of(
        inventory: &Inventory,
        manifest: Manifest,
        stores: &[PathBuf],
    ) -> Result<Self, FsError> {
        let own = inventory.root.join(STORE);
        let mut stored = HashMap::new();
        for disk in &manifest.ref_disks {
            for store in std::iter::once(&own).chain(stores) {
                let file = store.join(&disk.file);
                if matches!(fs::look(&file)?, Entry::File(_)) {
                    stored.entry(disk.id).or_insert(file);
                }
            }
        }
        Ok(Self {
            root: inventory.root.clone(),
            manifest,
            stored,
            present: inventory.files.iter().map(|f| f.path.clone()).collect(),
        })
    }

    /// Tells whether a file is in the pack, at its own path.
    #[must_use]
    pub fn has(&self, path: &RelPath) -> bool {
        self.present.binary_search(path).is_ok()
    }

    /// Lets every file that is in the store stand where it stood, and returns the disks among
    /// them: shared parents as they are in the store, others as if at their own paths.
    pub(crate) fn place_in(&self, disks: &mut Neighbourhood) -> Vec<NodeId> {
        let mut nodes = Vec::new();
        for file in self.manifest.files() {
            let Some(InStore {
                ref_disk, sharing, ..
            }) = file.place.in_store()
            else {
                continue;
            };
            let Some(stored) = self.stored.get(ref_disk) else {
                continue;
            };
            if disks.add_alias(&self.root, &file.path, stored, *sharing) && file.disk.is_some() {
                nodes.extend(match sharing {
                    Sharing::Link => disks.disk_at(stored),
                    Sharing::Copy => disks.disk_at(&file.path.below(&self.root)),
                });
            }
        }
        nodes
    }

    /// Tells what the manifest names and the pack or the store has not, or has in another length.
    /// No file is read.
    pub(super) fn missing(&self, inventory: &Inventory) -> Vec<Finding> {
        let here = |path: &RelPath| Some(inventory.file(path)?.stamp.len);
        let packed = self
            .manifest
            .files()
            .filter(|file| file.place == Place::Pack);
        let mut findings: Vec<_> = packed
            .filter_map(|file| file_fault(&file.path, file.length, here(&file.path)))
            .collect();
        findings.extend(self.missing_ref_disks());
        findings
    }

    fn missing_ref_disks(&self) -> Vec<Finding> {
        if self.manifest.store == StorePlace::Shared && self.stored.is_empty() {
            return self.shared_store().into_iter().collect();
        }
        let disks = self.manifest.ref_disks.iter();
        disks
            .filter_map(|disk| ref_disk_fault(disk, self.stored.get(&disk.id)))
            .collect()
    }

    fn shared_store(&self) -> Option<Finding> {
        let count = self.manifest.ref_disks.len();
        let message = format!(
            "{count} RefDisks are in a store that other labs share, and are not in the folders that were named"
        );
        (count > 0).then(|| {
            Finding::error(Code::MissingRefDisk, Manifest::FILE_NAME, message)
                .next("name the store with --store")
        })
    }
}

fn unusable(error: &ManifestError) -> Finding {
    let code = match error {
        ManifestError::Newer { .. } => Code::Unsupported,
        _ => Code::Corrupt,
    };
    let cause = std::error::Error::source(error).map_or(String::new(), |e| format!(": {e}"));
    Finding::error(code, Manifest::FILE_NAME, format!("{error}{cause}"))
        .next("restore labpack.json from the place where the lab was packed, or pack the lab again")
}

fn file_fault(path: &RelPath, expected: u64, found: Option<u64>) -> Option<Finding> {
    match found {
        Some(len) if len == expected => None,
        Some(len) => {
            let message = format!("is {len} bytes long, expected {expected}");
            Some(
                Finding::error(Code::ContentDiffers, path, message)
                    .next("copy the file again from where the lab was packed"),
            )
        }
        None => Some(
            Finding::error(
                Code::MissingFile,
                path,
                "is named in labpack.json, but is not in the pack",
            )
            .next("copy the file again from where the lab was packed"),
        ),
    }
}

fn ref_disk_fault(disk: &RefDisk, stored: Option<&PathBuf>) -> Option<Finding> {
    let Some(stored) = stored else {
        let users: Vec<_> = disk
            .used_by
            .iter()
            .map(|path| format!("`{path}`"))
            .collect();
        let message = format!("is not in the store, but {} need it", users.join(", "));
        return Some(
            Finding::error(Code::MissingRefDisk, &disk.file, message)
                .next("copy the RefDisk again from where the lab was packed, or name its store with --store"),
        );
    };
    let len = len_of(stored)?;
    (len != disk.length).then(|| {
        let message = format!("is {len} bytes long, expected {}", disk.length);
        Finding::error(Code::DamagedRefDisk, &disk.file, message)
            .next("copy the RefDisk again from where the lab was packed")
    })
}

fn len_of(path: &Path) -> Option<u64> {
    fs::stamp(path).ok().map(|stamp| stamp.len)
}
