//! The three ways in which a VHD spells its parent.

use super::locator::MOST_TEXT;
use crate::formats::{FormatError, ParentPaths};

/// A parent's paths, as they are written into a child.
pub(super) struct Names {
    /// For `W2ku`, UTF-16LE.
    pub(super) absolute: Vec<u8>,
    /// For `W2ru`, UTF-16LE.
    pub(super) relative: Vec<u8>,
    /// For the header, UTF-16BE.
    pub(super) field: [u8; 512],
}

impl Names {
    /// Spells `paths`.
    ///
    /// The format has no way to leave a path out. Without a relative one, `W2ru` names the file
    /// beside the child, as Windows needs a usable name there; without an absolute one, `W2ku`
    /// holds the relative, as XenServer writes it.
    pub(super) fn of(paths: &ParentPaths) -> Result<Self, FormatError> {
        let (relative, absolute) = (paths.relative.as_deref(), paths.absolute.as_deref());
        let Some(path) = absolute.or(relative) else {
            return Err(FormatError::unsupported("parent path", "a VHD without one"));
        };
        let beside = format!(r".\{}", file_name(path));
        Ok(Self {
            absolute: text(path)?,
            relative: text(relative.unwrap_or(&beside))?,
            field: field(absolute).map_or_else(|| bare_field(path), Ok)?,
        })
    }
}

/// The last part of a path, Windows' or POSIX'.
fn file_name(path: &str) -> &str {
    path.rsplit(['\\', '/']).next().unwrap_or(path)
}

fn text(path: &str) -> Result<Vec<u8>, FormatError> {
    let bytes: Vec<u8> = path.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if !(1..=MOST_TEXT).contains(&len) {
        let what = format!("a path of {len} bytes");
        return Err(FormatError::unsupported("parent path", what));
    }
    Ok(bytes)
}

/// The header's field with this path in it, if there is one and it fits with a terminator.
fn field(path: Option<&str>) -> Option<[u8; 512]> {
    let bytes: Vec<u8> = path?.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let mut field = [0; 512];
    if bytes.len() > 510 {
        return None;
    }
    field.get_mut(..bytes.len())?.copy_from_slice(&bytes);
    Some(field)
}

fn bare_field(path: &str) -> Result<[u8; 512], FormatError> {
    field(Some(file_name(path))).ok_or_else(|| {
        let what = format!("a file name longer than 255 units, `{}`,", file_name(path));
        FormatError::unsupported("parent name", what)
    })
}
