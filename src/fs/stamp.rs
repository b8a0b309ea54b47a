//! What the system says of a file at one moment.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::{Attributes, FileTime, ParseIdError};

/// Which file it is, whatever its names are: the volume and the file's number on it.
///
/// On Windows the volume's serial number and the 128-bit file id. In JSON the text
/// `volume:file`, both hexadecimal.
// There is one for each of very many files: without this, alignment would take a fourth of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(Rust, packed(8))]
pub struct FileKey {
    /// The volume; see also [`Volume::key`](super::Volume::key).
    pub volume: u64,
    /// The file on that volume.
    pub file: u128,
}

impl fmt::Display for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { volume, file } = *self;
        write!(f, "{volume:x}:{file:x}")
    }
}

impl FromStr for FileKey {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let (volume, file) = text.split_once(':').ok_or(ParseIdError)?;
        // `from_str_radix` would take a sign.
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit());
        if !digits(volume) || !digits(file) {
            return Err(ParseIdError);
        }
        Ok(Self {
            volume: u64::from_str_radix(volume, 16).map_err(|_| ParseIdError)?,
            file: u128::from_str_radix(file, 16).map_err(|_| ParseIdError)?,
        })
    }
}

impl Serialize for FileKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for FileKey {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FileKey".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{1,16}:[0-9a-f]{1,32}$" })
    }
}

/// What the system says of a file at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stamp {
    /// Which file it is.
    pub key: FileKey,
    /// Its length in bytes.
    pub len: u64,
    /// When its bytes were last written, as far as the system was told the truth.
    pub modified: FileTime,
    /// When anything about it last changed, names and attributes included; no program can set
    /// it. `None` where the file system does not keep it.
    pub changed: Option<FileTime>,
    /// Its attributes.
    pub attributes: Attributes,
    /// How many names it has.
    pub links: u64,
    /// On Windows: sparse, compressed or encrypted, which Hyper-V refuses in a disk. Elsewhere
    /// always false.
    pub sparse_or_compressed: bool,
}

impl Stamp {
    /// Tells whether this is the same file with the same bytes as at `earlier`: identity, length
    /// and modification time agree. Renaming, linking and attributes do not count.
    #[must_use]
    pub fn unchanged_content(&self, earlier: &Self) -> bool {
        self.key == earlier.key && self.len == earlier.len && self.modified.same(earlier.modified)
    }

    /// As [`Stamp::unchanged_content`], and nothing else about the file changed either, where the
    /// file system keeps [`Stamp::changed`]. A new name or attribute is a change here.
    #[must_use]
    pub fn unchanged_since(&self, earlier: &Self) -> bool {
        let untouched = match (self.changed, earlier.changed) {
            (Some(now), Some(then)) => now.same(then),
            _ => true,
        };
        untouched && self.unchanged_content(earlier)
    }

    /// Says in what this differs from `earlier`, in the order in which users care.
    pub(crate) fn difference(&self, earlier: &Self) -> Option<String> {
        if self.key != earlier.key {
            return Some("another file stands there now".to_owned());
        }
        if self.len != earlier.len {
            let (now, then) = (self.len, earlier.len);
            return Some(format!("it is {now} bytes long, expected {then}"));
        }
        let written = !self.modified.same(earlier.modified);
        written.then(|| "it was written to".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_string_in_json_and_comes_back() {
        let key = FileKey {
            volume: u64::MAX,
            file: u128::MAX - 1,
        };
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(json, format!("\"{}:{}e\"", "f".repeat(16), "f".repeat(31)));
        assert_eq!(serde_json::from_str::<FileKey>(&json).unwrap(), key);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in [
            "",
            ":",
            "1",
            "1:",
            ":1",
            "+1:2",
            "1:2:3",
            "g:1",
            &format!("{}:0", "f".repeat(17)),
        ] {
            assert!(bad.parse::<FileKey>().is_err(), "{bad:?} was taken");
        }
    }
}
