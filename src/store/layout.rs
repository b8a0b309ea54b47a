//! What files in a store are called.

use crate::base::{ContentId, RelPath};

/// The index's name.
pub const INDEX_NAME: &str = "index.json";
/// The lock file's name; the file means nothing, the system's lock on it does.
pub const LOCK_NAME: &str = ".lock";
/// A stem is cut to so many characters.
const STEM: usize = 64;
/// An extension is cut to so many.
const EXTENSION: usize = 16;
/// Digits of the id in a name.
pub(super) const SHORT: usize = 12;

/// Returns the name under which a store keeps a file called `name` with this id:
/// `<stem>.<first 12 digits of the id>.<extension>`.
///
/// The extension is in lower case; a checkpoint disk gets that of an ordinary one, for
/// `New-VHD` takes no `.avhdx` as a parent. The name is valid on every system, and the same
/// when it is made from itself.
///
/// # Examples
/// ```
/// use labpack::{base::ContentId, store::file_name};
///
/// let id = ContentId::from_bytes([0xab; 32]);
/// assert_eq!(file_name("Base.AVHDX", &id, true), "Base.abababababab.vhdx");
/// assert_eq!(file_name("Base.abababababab.vhdx", &id, true), "Base.abababababab.vhdx");
/// ```
#[must_use]
pub fn file_name(name: &str, id: &ContentId, is_disk: bool) -> String {
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem, extension),
        _ => (name, ""),
    };
    let stem = clean_stem(stem);
    let short = id.short();
    match clean_extension(extension, is_disk).as_str() {
        "" => format!("{stem}.{short}"),
        extension => format!("{stem}.{short}.{extension}"),
    }
}

/// Tells whether a name could be that of a file which a store keeps.
pub(super) fn is_ref_disk_name(name: &str) -> bool {
    shorts(name).next().is_some()
}

/// Tells whether a store's file name bears this id.
pub(super) fn bears_id(name: &str, id: &ContentId) -> bool {
    let short = id.short();
    shorts(name).any(|part| part == short)
}

/// Returns what may be digits of an id in a name: its last part, and the one before.
fn shorts(name: &str) -> impl Iterator<Item = &str> {
    // The first part is the stem, whatever it looks like.
    let dots = name.matches('.').count();
    name.rsplit('.')
        .take(dots.min(2))
        .filter(|part| is_short(part))
}

fn is_short(part: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    part.len() == SHORT && part.bytes().all(digit)
}

/// A file that was unpacked bears an id already: names do not grow from pack to pack.
fn without_ids(mut stem: &str) -> &str {
    while let Some((rest, part)) = stem.rsplit_once('.') {
        if rest.is_empty() || !is_short(part) {
            break;
        }
        stem = rest;
    }
    stem
}

fn clean_stem(stem: &str) -> String {
    let kept: String = without_ids(stem)
        .chars()
        .take(STEM)
        .map(clean_char)
        .collect();
    let kept = without_ids(kept.trim_end_matches(['.', ' '])).trim_end_matches(['.', ' ']);
    let fits = |stem: &str| RelPath::new(format!("{stem}.x")).is_ok();
    match kept {
        "" => "disk".to_owned(),
        kept if fits(kept) => kept.to_owned(),
        // What is still no name is that of a device.
        device => format!("_{device}"),
    }
}

fn clean_extension(extension: &str, is_disk: bool) -> String {
    let lower = extension.to_lowercase();
    let kept: String = lower.chars().take(EXTENSION).map(clean_char).collect();
    match kept.trim_matches(['.', ' ']) {
        "avhdx" if is_disk => "vhdx".to_owned(),
        "avhd" if is_disk => "vhd".to_owned(),
        // The id of a file without an extension.
        other if is_short(other) => String::new(),
        other => other.to_owned(),
    }
}

fn clean_char(c: char) -> char {
    let bad = c.is_control() || "/\\:*?\"<>|".contains(c);
    if bad { '_' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> ContentId {
        ContentId::from_bytes([0x12; 32])
    }

    #[test]
    fn extensions_are_lower_case_and_no_parent_is_called_a_checkpoint() {
        for (name, is_disk, expected) in [
            ("Win 10.VHDX", true, "Win 10.121212121212.vhdx"),
            ("a_1B2C.avhd", true, "a_1B2C.121212121212.vhd"),
            ("notes.AVHDX", false, "notes.121212121212.avhdx"),
            ("state.VMRS", false, "state.121212121212.vmrs"),
            ("README", false, "README.121212121212"),
            (".hidden", false, ".hidden.121212121212"),
            ("base.0123456789ab.vhdx", true, "base.121212121212.vhdx"),
            (
                "base.0123456789AB.vhdx",
                true,
                "base.0123456789AB.121212121212.vhdx",
            ),
            ("CON.vhdx", true, "_CON.121212121212.vhdx"),
            ("a:b?.vhd", true, "a_b_.121212121212.vhd"),
            ("... .vhd", true, "disk.121212121212.vhd"),
        ] {
            assert_eq!(file_name(name, &id(), is_disk), expected, "{name}");
        }
    }

    #[test]
    fn a_long_stem_is_cut_between_characters() {
        let name = file_name(&format!("{}.vhdx", "ü💾".repeat(200)), &id(), true);
        assert_eq!(name.chars().count(), STEM + 1 + SHORT + 5);
    }

    proptest! {
        #[test]
        fn any_name_becomes_a_valid_one_that_bears_the_id_and_stays(name in ".{0,90}", is_disk: bool) {
            let made = file_name(&name, &id(), is_disk);
            let path = RelPath::new(made.as_str()).unwrap();
            prop_assert!(path.folder().is_none());
            prop_assert!(bears_id(&made, &id()));
            prop_assert_eq!(file_name(&made, &id(), is_disk), made);
        }
    }
}
