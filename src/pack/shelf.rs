//! The RefDisks that stand in a store already, as the planner asks for them.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    base::{CanonicalId, ContentId, DiskId, IoMeter, ReadAt},
    formats::canonical_form,
    fs::{self, Entry, FsError, SourceFile},
    manifest::RefDisk,
    plan::{Known, KnownDisks, Masked},
};

/// Masked bytes beyond this are not compared: the disk is taken for one of its own.
pub(super) const MASK_LIMIT: usize = 16 << 20;
/// The unit in which masked bytes are kept.
const PIECE: usize = 512;

/// What stands in a store.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    disks: HashMap<ContentId, RefDisk>,
    meter: Arc<IoMeter>,
}

impl Shelf {
    /// Those of `disks` that stand in `folder`, as long as they should be.
    pub(super) fn of(
        folder: &Path,
        disks: impl IntoIterator<Item = RefDisk>,
        meter: &Arc<IoMeter>,
    ) -> Result<Self, FsError> {
        let mut standing = HashMap::new();
        for disk in disks {
            if stands(&folder.join(&disk.file), disk.length)? {
                standing.insert(disk.id, disk);
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            disks: standing,
            meter: Arc::clone(meter),
        })
    }

    /// Tells whether a disk with this id and length may well be there.
    pub(super) fn may_have(&self, own_id: DiskId, length: u64) -> bool {
        let fits = |disk: &RefDisk| {
            disk.length == length && disk.disk.as_ref().is_some_and(|facts| facts.own_id == own_id)
        };
        self.disks.values().any(fits)
    }

    /// The RefDisk with its masked bytes; `None` where these cannot be told.
    fn known(&self, disk: &RefDisk) -> Option<Known> {
        let masks = disk.disk.as_ref().is_some_and(|facts| facts.canonical.is_some());
        let masked = if masks {
            let source = SourceFile::open(&self.folder.join(&disk.file), &self.meter).ok()?;
            masked_bytes(&source)?
        } else {
            Masked::default()
        };
        let disk = disk.clone();
        Some(Known { disk, masked })
    }
}

impl KnownDisks for Shelf {
    fn by_id(&self, id: &ContentId) -> Option<Known> {
        self.known(self.disks.get(id)?)
    }

    fn twin(
        &self,
        canonical: &CanonicalId,
        own_id: DiskId,
        parent: Option<ContentId>,
    ) -> Option<Known> {
        let fits = |disk: &&RefDisk| {
            disk.disk.as_ref().is_some_and(|facts| {
                facts.canonical == Some(*canonical)
                    && facts.own_id == own_id
                    && facts.parent == parent
            })
        };
        // Should there be several, the choice must not depend on the order in a map.
        self.known(self.disks.values().filter(fits).min_by_key(|disk| disk.id)?)
    }
}

/// Tells whether a file of this length stands at `path`.
pub(super) fn stands(path: &Path, length: u64) -> Result<bool, FsError> {
    Ok(matches!(fs::look(path)?, Entry::File(stamp) if stamp.len == length))
}

/// Reads the masked bytes of a disk, and nothing else of it; `None` where there are too many, or
/// where the disk cannot be understood.
pub(super) fn masked_bytes(file: &dyn ReadAt) -> Option<Masked> {
    let form = canonical_form(file).ok()?;
    let (mut pieces, mut kept) = (Vec::new(), 0);
    let mut buffer = vec![0; 128 * PIECE];
    for mask in &form.masks {
        let mut at = mask.start();
        while at < mask.end() {
            // At most the buffer's length.
            let len = (mask.end() - at).min(buffer.len() as u64) as usize;
            file.read_exact_at(&mut buffer[..len], at).ok()?;
            for (number, piece) in buffer[..len].chunks(PIECE).enumerate() {
                if piece.iter().any(|&byte| byte != 0) {
                    kept += piece.len();
                    pieces.push((at + (number * PIECE) as u64, piece.to_vec()));
                }
            }
            if kept > MASK_LIMIT {
                return None;
            }
            at += len as u64;
        }
    }
    Some(Masked {
        ranges: form.masks,
        pieces,
    })
}
