//! Which fields of a manifest this version does not know.

use super::{Manifest, PackedFile, RefDisk, Unknown, Vm};

impl Manifest {
    /// Returns the path of every field that this version does not know: `vms[0].owner`. They
    /// survive when the manifest is written again.
    #[must_use]
    pub fn unknown_fields(&self) -> Vec<String> {
        let mut found = Names(Vec::new());
        found.add("", &self.unknown);
        found.add("totals.", &self.totals.unknown);
        for (at, vm) in self.vms.iter().enumerate() {
            found.vm(&format!("vms[{at}]."), vm);
        }
        found.files("other_files", &self.other_files);
        for (at, folder) in self.folders.iter().enumerate() {
            found.add(&format!("folders[{at}]."), &folder.unknown);
        }
        for (at, disk) in self.ref_disks.iter().enumerate() {
            found.ref_disk(&format!("ref_disks[{at}]."), disk);
        }
        found.0
    }
}

struct Names(Vec<String>);

impl Names {
    fn add(&mut self, place: &str, fields: &Unknown) {
        self.0
            .extend(fields.keys().map(|name| format!("{place}{name}")));
    }

    fn vm(&mut self, place: &str, vm: &Vm) {
        self.add(place, &vm.unknown);
        self.files(&format!("{place}files"), &vm.files);
    }

    fn files(&mut self, list: &str, files: &[PackedFile]) {
        for (at, file) in files.iter().enumerate() {
            let place = format!("{list}[{at}].");
            self.add(&place, &file.unknown);
            let Some(disk) = &file.disk else { continue };
            self.add(&format!("{place}disk."), &disk.unknown);
            if let Some(parent) = &disk.parent {
                self.add(&format!("{place}disk.parent."), &parent.unknown);
            }
        }
    }

    fn ref_disk(&mut self, place: &str, disk: &RefDisk) {
        self.add(place, &disk.unknown);
        if let Some(facts) = &disk.disk {
            self.add(&format!("{place}disk."), &facts.unknown);
        }
    }
}
