//! Paths inside an export, a pack or a destination.

use std::{
    borrow::Cow,
    cmp::Ordering,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A path below a folder, its parts separated by `/`, that means the same on every system and
/// can lead nowhere else: no empty part, `.`, `..`, drive, `:`, device name, control character,
/// trailing dot or blank.
///
/// Clones share the text: a file's path stands in many tables.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(Arc<str>);

/// Why a text is not a [`RelPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path `{path}` {why}")]
pub struct BadRelPath {
    /// The text.
    pub path: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Names that Windows takes for devices, with any extension.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

impl RelPath {
    /// Checks `text`, whose parts are separated by `/`.
    ///
    /// # Errors
    /// [`BadRelPath`] says what is wrong.
    pub fn new(text: impl Into<String>) -> Result<Self, BadRelPath> {
        let path = text.into();
        match fault(&path) {
            Some(why) => Err(BadRelPath { path, why }),
            None => Ok(Self(path.into())),
        }
    }

    /// The path of `path` below a folder, as this system writes it.
    ///
    /// # Errors
    /// [`BadRelPath`] where a part is not Unicode, or would not be a name everywhere.
    pub fn from_system(path: &Path) -> Result<Self, BadRelPath> {
        let mut text = String::new();
        for part in path.components() {
            let bad = |why| BadRelPath {
                path: path.display().to_string(),
                why,
            };
            let std::path::Component::Normal(name) = part else {
                return Err(bad("does not stay below its folder"));
            };
            let name = name
                .to_str()
                .ok_or_else(|| bad("has a name that is not Unicode"))?;
            if name.contains('\\') {
                return Err(bad(
                    "has a backslash in a name, which Windows takes for a separator",
                ));
            }
            if !text.is_empty() {
                text.push('/');
            }
            text.push_str(name);
        }
        Self::new(text)
    }

    /// The path, parts separated by `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The path without its last part; `None` where there is but one.
    #[must_use]
    pub fn folder(&self) -> Option<Self> {
        self.0
            .rsplit_once('/')
            .map(|(folder, _)| Self(folder.into()))
    }

    /// The first part.
    #[must_use]
    pub fn top(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }

    /// Its parts, in order.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// This path, one part longer.
    ///
    /// # Errors
    /// [`BadRelPath`] where `name` is no name.
    pub fn join(&self, name: &str) -> Result<Self, BadRelPath> {
        Self::new(format!("{}/{name}", self.0))
    }

    /// The path on this system, below `root`.
    #[must_use]
    pub fn below(&self, root: &Path) -> PathBuf {
        let mut path = root.to_owned();
        path.extend(self.parts());
        path
    }

    /// A text that is equal for two paths which a case-insensitive file system takes for one.
    #[must_use]
    pub fn folded(&self) -> String {
        fold_case(&self.0)
    }

    /// Compares [`Self::folded`] with what [`fold_case`] makes of `other`, and makes neither.
    #[must_use]
    pub fn cmp_folded(&self, other: &str) -> Ordering {
        fold_letters(&self.0).cmp(fold_letters(other))
    }
}

/// Returns `name` as a case-insensitive file system compares it: upper case, letter by letter,
/// as NTFS does it (no letter becomes two).
#[must_use]
pub fn fold_case(name: &str) -> String {
    fold_letters(name).collect()
}

/// The letters of what [`fold_case`] returns.
pub(crate) fn fold_letters(name: &str) -> impl Iterator<Item = char> + '_ {
    name.chars().map(fold_letter)
}

fn fold_letter(letter: char) -> char {
    if letter.is_ascii() {
        return letter.to_ascii_uppercase();
    }
    let mut upper = letter.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => letter,
    }
}

fn fault(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("is empty");
    }
    if path.len() > 32_767 {
        return Some("is longer than 32,767 bytes");
    }
    path.split('/').find_map(part_fault)
}

fn part_fault(part: &str) -> Option<&'static str> {
    if part.is_empty() {
        return Some("is absolute or has an empty part");
    }
    if part == "." || part == ".." {
        return Some("has a `.` or `..` part");
    }
    if part.contains(['\\', ':', '*', '?', '"', '<', '>', '|']) {
        return Some("has a character that Windows does not allow in names");
    }
    if part.chars().any(char::is_control) {
        return Some("has a control character");
    }
    if part.ends_with(['.', ' ']) {
        return Some("has a part that ends in a dot or a blank, which Windows drops");
    }
    if part.encode_utf16().count() > 255 {
        return Some("has a part longer than 255 characters");
    }
    is_device(part).then_some("has a part that Windows takes for a device")
}

fn is_device(part: &str) -> bool {
    let stem = part
        .split('.')
        .next()
        .unwrap_or(part)
        .trim_end()
        .to_lowercase();
    if DEVICES.contains(&stem.as_str()) {
        return true;
    }
    let Some(digit) = stem
        .strip_prefix("com")
        .or_else(|| stem.strip_prefix("lpt"))
    else {
        return false;
    };
    matches!(
        digit,
        "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³"
    )
}

impl FromStr for RelPath {
    type Err = BadRelPath;

    fn from_str(text: &str) -> Result<Self, BadRelPath> {
        Self::new(text)
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl JsonSchema for RelPath {
    fn schema_name() -> Cow<'static, str> {
        "RelPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A path below a folder, its parts separated by `/`, that means the same \
                on every system and can lead nowhere else: no empty part, `.`, `..`, drive, `:`, \
                device name, control character, trailing dot or blank.",
        })
    }
}

impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_could_lead_elsewhere_is_refused() {
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a/./b",
            "a//b",
            "a/",
            "C:/x",
            "C:x",
            "x:stream",
            r"\\srv\share",
            r"a\b",
            "nul",
            "a/COM1.vhd",
            "lpt¹.txt",
            "con .txt",
            "a./b",
            "a /b",
            "a?",
            "a\u{1}b",
            "CONIN$",
        ] {
            assert!(RelPath::new(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn ordinary_names_are_taken() {
        for good in [
            "VM 1/Virtual Hard Disks/Ünïcode.vhdx",
            "console",
            "com10",
            "a.b.c",
            ".hidden",
            "nullable",
        ] {
            assert_eq!(RelPath::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_path_comes_apart_and_together() {
        let path = RelPath::new("VM/Disks/a.vhd").unwrap();
        assert_eq!(path.name(), "a.vhd");
        assert_eq!(path.top(), "VM");
        assert_eq!(path.folder().unwrap().join("a.vhd"), Ok(path.clone()));
        assert_eq!(
            path.below(Path::new("root")),
            Path::new("root").join("VM").join("Disks").join("a.vhd")
        );
        assert_eq!(RelPath::from_system(&path.below(Path::new(""))), Ok(path));
        assert!(RelPath::from_system(Path::new("..").join("x").as_path()).is_err());
    }

    #[test]
    fn case_folds_letter_by_letter() {
        assert_eq!(fold_case("straße Ünï"), "STRAßE ÜNÏ");
        let paths = ["a/B", "A/b", "a", "A b/c", "straße", "STRAßE", "ünï", "z"];
        for one in paths.map(|path| RelPath::new(path).unwrap()) {
            for other in paths {
                let expected = one.folded().cmp(&fold_case(other));
                assert_eq!(one.cmp_folded(other), expected, "{one} {other}");
            }
        }
    }
}
