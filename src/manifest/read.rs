//! From bytes to a manifest that can be relied on.

use std::borrow::Cow;

use super::{Document, DocumentError, Manifest, check::check};

pub(super) const DOCUMENT: Document = Document {
    format: Manifest::FORMAT,
    newest: Manifest::VERSION,
    max_bytes: Manifest::MAX_BYTES,
};

/// Reads `labpack.json`. Where its bytes are given away, they are freed meanwhile: there may be
/// very many.
///
/// What it returns holds to the following, whoever wrote the bytes: no path stands twice, differs
/// from another only by case, or goes through a file; VM folders differ, and hold their files;
/// each disk's parent is a listed file; RefDisks come after their parents, under plain names that
/// bear their ids; each stored file has a RefDisk as long as itself, a residue inside of it, and
/// is linked only if nothing writes into it; `used_by` and `totals` agree with the rest.
///
/// # Errors
/// [`DocumentError`]: what is wrong, where, and what was expected. A newer version is told from
/// a damaged one.
///
/// # Examples
/// ```
/// let newer = br#"{"format": "labpack-manifest", "version": 2}"#;
/// let error = labpack::manifest::read(newer).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "`version` is 2, and this labpack reads up to 1: update labpack"
/// );
/// ```
pub fn read<'a>(bytes: impl Into<Cow<'a, [u8]>>) -> Result<Manifest, DocumentError> {
    let manifest: Manifest = DOCUMENT.read(bytes)?;
    check(&manifest)?;
    Ok(manifest)
}

#[cfg(test)]
mod tests;
