//! `labpack.json`: the packed lab, described.

mod v1;

pub use v1::{
    DiskFacts, Folder, Manifest, PackedFile, ParentFacts, Place, RefDisk, RefDiskFacts, Residue,
    Role, Run, Sharing, StorePlace, Totals, Vm,
};

/// Bytes as base64 text.
mod base64_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}
