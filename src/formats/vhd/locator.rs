//! Parent locators: where the parent may be, as strangers wrote it down.

use std::collections::HashSet;

use super::{
    SECTOR,
    header::Header,
    raw::{RawHeader, RawLocator},
};
use crate::{
    base::{ByteRange, ReadAt},
    formats::{FormatError, HintKind, PathHint},
};

/// An absolute Windows path, UTF-16LE.
pub(super) const W2KU: [u8; 4] = *b"W2ku";
/// A path from the child's folder, UTF-16LE.
pub(super) const W2RU: [u8; 4] = *b"W2ru";
/// An absolute path in a Windows code page; deprecated.
pub(super) const WI2K: [u8; 4] = *b"Wi2k";
/// A relative path in a Windows code page; deprecated.
pub(super) const WI2R: [u8; 4] = *b"Wi2r";
/// A `file://` URL, UTF-8.
pub(super) const MACX: [u8; 4] = *b"MacX";
/// An alias record of old Macintoshes, opaque to us.
pub(super) const MAC: [u8; 4] = *b"Mac ";

/// The most bytes of a path: 32,767 units.
pub(super) const MOST_TEXT: u64 = 65_534;

impl RawLocator {
    /// Tells whether the slot names something.
    pub(super) fn is_used(&self) -> bool {
        self.code != Self::UNUSED.code
    }

    /// The area that the slot reserves; `None` if there is none, or past all files.
    ///
    /// The specification counts it in sectors, every writer since Virtual PC in bytes: below 512
    /// it can only be sectors. What is neither, or holds less than the path, says nothing, and
    /// the path's own sectors count.
    pub(super) fn area(&self) -> Option<ByteRange> {
        let (space, len) = (u64::from(self.space.get()), u64::from(self.len.get()));
        let space = if space < SECTOR {
            space.saturating_mul(SECTOR)
        } else {
            space
        };
        let space = if space == 0 || !space.is_multiple_of(SECTOR) || space < len {
            len.next_multiple_of(SECTOR)
        } else {
            space
        };
        ByteRange::new(self.offset.get(), space).filter(|area| !area.is_empty())
    }

    /// The bytes of the path, if they can be one and lie in a file of `file_len` bytes.
    pub(super) fn text(&self, file_len: u64) -> Option<ByteRange> {
        let len = u64::from(self.len.get());
        ByteRange::new(self.offset.get(), len)
            .filter(|text| (1..=MOST_TEXT).contains(&len) && text.end() <= file_len)
    }
}

/// Makes a hint of a slot's bytes, if they are well-formed.
type Decode = fn(&[u8]) -> Option<PathHint>;

/// Reads what the header says about where the parent is, in the order in which to try it.
pub(super) fn hints(file: &dyn ReadAt, header: &Header) -> Result<Vec<PathHint>, FormatError> {
    let mut hints = Vec::new();
    let ways: [([u8; 4], Decode); 5] = [
        (W2RU, |text| {
            hint(HintKind::Relative, utf16(text, u16::from_le_bytes))
        }),
        (W2KU, |text| w2ku(utf16(text, u16::from_le_bytes))),
        (WI2R, |text| hint(HintKind::Relative, latin1(text))),
        (WI2K, |text| hint(HintKind::Absolute, latin1(text))),
        (MACX, |text| hint(HintKind::Url, utf8(text))),
    ];
    for (code, decode) in ways {
        if let Some(text) = first_text(file, &header.raw, code)? {
            hints.extend(decode(&text));
        }
    }
    let name = utf16(&header.raw.parent_name, u16::from_be_bytes);
    hints.extend(hint(HintKind::Name, name));
    // XenServer writes the same path several times; it is tried once.
    let mut seen = HashSet::new();
    hints.retain(|hint| seen.insert(hint.clone()));
    Ok(hints)
}

/// Reads the path of the first slot that bears `code` and points into the file.
fn first_text(
    file: &dyn ReadAt,
    raw: &RawHeader,
    code: [u8; 4],
) -> Result<Option<Vec<u8>>, FormatError> {
    let mut slots = raw.locators.iter().filter(|slot| slot.code == code);
    let text = slots.find_map(|slot| slot.text(file.len()));
    text.map(|range| read_range(file, range)).transpose()
}

/// Reads a locator's bytes; the caller has bounded their number.
pub(super) fn read_range(file: &dyn ReadAt, range: ByteRange) -> Result<Vec<u8>, FormatError> {
    let place = || format!("parent locator at {:#x}", range.start());
    let len =
        usize::try_from(range.len()).map_err(|_| FormatError::unsupported(place(), "room"))?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, range.start())
        .map_err(|source| FormatError::unreadable(place(), source))?;
    Ok(bytes)
}

fn hint(kind: HintKind, path: Option<String>) -> Option<PathHint> {
    let path = path.filter(|path| !path.is_empty())?;
    Some(PathHint { kind, path })
}

/// XenServer keeps relative paths where absolute ones belong.
fn w2ku(path: Option<String>) -> Option<PathHint> {
    let path = path?;
    let has_drive = path.chars().nth(1) == Some(':');
    let kind = if has_drive || path.starts_with(['\\', '/']) {
        HintKind::Absolute
    } else {
        HintKind::Relative
    };
    hint(kind, Some(path))
}

/// Text up to a terminator that some writers count; `None` if it is not well-formed.
fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (units, rest) = bytes.as_chunks();
    let units: Vec<u16> = units.iter().map(|&bytes| unit(bytes)).collect();
    let text = units.split(|&unit| unit == 0).next().unwrap_or_default();
    if text.len() == units.len() && !rest.is_empty() {
        return None;
    }
    String::from_utf16(text).ok()
}

fn utf8(bytes: &[u8]) -> Option<String> {
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    str::from_utf8(text).ok().map(str::to_owned)
}

/// The code page of deprecated paths is not recorded; where it matters they are not found.
fn latin1(bytes: &[u8]) -> Option<String> {
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    Some(text.iter().map(|&byte| char::from(byte)).collect())
}
