//! What the bytes of a pack are to be: as its manifest says.

use std::collections::HashMap;

use super::content::{Reading, Want};
use crate::{
    base::ContentId,
    export::PackView,
    manifest::{InStore, Place, RefDisk},
    report::Code,
};

impl Reading {
    /// Adds every file of a pack, every RefDisk, and each occurrence that is not its RefDisk byte
    /// for byte. What is missing has its finding already.
    pub(super) fn pack(&mut self, pack: &PackView) {
        let packed = pack.manifest.files();
        for file in packed.filter(|file| file.place == Place::Pack && pack.has(&file.path)) {
            let path = file.path.below(&pack.root);
            self.packed(path, &file.path, file.digest);
        }
        let names: HashMap<ContentId, &str> = pack
            .manifest
            .ref_disks
            .iter()
            .map(|disk| (disk.id, disk.file.as_str()))
            .collect();
        let parent_of = |disk: &RefDisk| names.get(&disk.disk.as_ref()?.parent?).copied();
        for disk in &pack.manifest.ref_disks {
            if let Some(stored) = pack.stored.get(&disk.id) {
                self.ref_disk(stored, &disk.file, disk.id, parent_of(disk));
            }
        }
        self.occurrences(pack);
    }

    fn occurrences(&mut self, pack: &PackView) {
        for file in pack.manifest.files() {
            let Some(InStore {
                ref_disk, residue, ..
            }) = file.place.in_store()
            else {
                continue;
            };
            if let Some(stored) = pack.stored.get(ref_disk).filter(|_| !residue.is_empty()) {
                self.made_of(
                    stored,
                    Want {
                        shown: file.path.to_string(),
                        residue: residue.patch(),
                        digest: file.digest,
                        code: Code::ContentDiffers,
                    },
                );
            }
        }
    }
}
