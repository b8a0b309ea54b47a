//! Which fields of a manifest this version does not know.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Manifest, PackedFile, RefDisk, Vm};

/// Fields that this version does not know, by name. There are none in most of very many files:
/// that takes no more room than a pointer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unknown(Option<Box<Map<String, Value>>>);

impl Unknown {
    /// No field.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// Tells whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds a field, in the place of one of its name.
    pub fn insert(&mut self, name: String, value: Value) {
        self.0.get_or_insert_default().insert(name, value);
    }

    /// Adds fields, in the place of those of their names.
    pub fn extend(&mut self, others: Self) {
        for (name, value) in others.0.into_iter().flat_map(|fields| *fields) {
            self.insert(name, value);
        }
    }

    /// Returns the names of the fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .flat_map(|fields| fields.keys().map(String::as_str))
    }
}

impl Serialize for Unknown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().flat_map(|fields| fields.iter()))
    }
}

impl<'de> Deserialize<'de> for Unknown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Map::deserialize(deserializer)?;
        Ok(Self((!fields.is_empty()).then(|| Box::new(fields))))
    }
}

impl JsonSchema for Unknown {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Unknown".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Map::<String, Value>::json_schema(generator)
    }
}

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
            .extend(fields.names().map(|name| format!("{place}{name}")));
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
