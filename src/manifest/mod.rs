//! `labpack.json`: the packed lab, described.
//!
//! [`Manifest`] and the types in it are version 1, field by field; the JSON schema is made from
//! them ([`schema`]). [`read`] trusts nothing: whoever holds a [`Manifest`] that it returned may
//! rely on every path, reference and sum in it. [`write()`] gives the same bytes for the same value.
//! Which files belong into a manifest, and where it lies, is the business of others; no disk is
//! touched here.

mod check;
mod clock;
mod document;
mod error;
mod place;
mod read;
mod schema;
mod shed;
mod tally;
mod unknown;
mod v1;
mod write;

#[cfg(test)]
mod sample;

pub(crate) use check::check;
pub use clock::{now, parse_utc, utc};
pub(crate) use document::{Document, invalid};
pub use error::DocumentError;
pub use read::read;
pub use schema::schema;
pub use unknown::Unknown;
pub use v1::{
    DiskFacts, Folder, InStore, Manifest, PackedFile, ParentFacts, Place, RefDisk, RefDiskFacts,
    Residue, Role, Run, Sharing, StorePlace, Totals, Vm,
};
pub use write::write;
pub(crate) use write::write_to;

/// Why a manifest was not read.
pub type ManifestError = DocumentError;

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
