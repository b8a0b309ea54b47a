//! A manifest as bytes.

use std::io;

use super::{Manifest, read::DOCUMENT};

/// Returns the manifest as `labpack.json` holds it: indented JSON in UTF-8, fields in the order
/// of the types, a line feed at the end. The same value gives the same bytes.
#[must_use]
pub fn write(manifest: &Manifest) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(manifest)
        .expect("every key is a string and every value has a JSON form");
    bytes.push(b'\n');
    bytes
}

/// Writes what [`write`] returns, piece by piece. One that could not be read again for its length
/// or the number of its values is an error.
pub(crate) fn write_to(manifest: &Manifest, out: &mut dyn io::Write) -> io::Result<()> {
    DOCUMENT.write_pretty(manifest, out)
}
