//! What labpack's own JSON documents have in common: a format, a version, and strict reading.

use std::{
    borrow::Cow,
    cell::Cell,
    collections::HashSet,
    fmt,
    io::{self, Write},
};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{DocumentError, place::place_at, shed::Shed, tally::Tally};

/// The most values that a document may have, at any depth: more than 120,000 files come to in a
/// journal, which says the most of each. A value that no version knows is kept, in far more bytes
/// of memory than it has in the file.
pub(super) const MOST_VALUES: u32 = 3 << 20;
/// How deep a document of labpack's own may nest. Readers stop at 128, and the manifest stands
/// within the journal.
pub(super) const MOST_LEVELS: u32 = 120;

/// A document that is longer than this, in bytes, is not kept until all of it is read.
const LONG: usize = 4 << 20;

/// A kind of document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Document {
    /// What `format` says.
    pub(crate) format: &'static str,
    /// The newest version that is read.
    pub(crate) newest: u32,
    /// The longest that is read, in bytes.
    pub(crate) max_bytes: u64,
}

impl Document {
    /// Reads a document of this kind: first its length, then format and version, then that no
    /// key stands twice and that it has no more than [`MOST_VALUES`], then the rest. Nesting ends
    /// at serde_json's limit of 128.
    ///
    /// Bytes that are given away are freed while the rest is read, and an error in that tells the
    /// line where another tells the field.
    pub(crate) fn read<'a, T: DeserializeOwned>(
        &self,
        bytes: impl Into<Cow<'a, [u8]>>,
    ) -> Result<T, DocumentError> {
        let bytes = bytes.into();
        let (len, max) = (bytes.len() as u64, self.max_bytes);
        if len > max {
            return Err(DocumentError::TooLong { len, max });
        }
        // Editors on Windows put a byte order mark before what they save.
        let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
        self.check_header(&parse(text)?)?;
        look_through(text)?;
        let start = bytes.len() - text.len();
        match bytes {
            Cow::Owned(bytes) if bytes.len() > LONG => parse_and_free(bytes, start),
            bytes => parse(&bytes[start..]),
        }
    }

    /// Writes a value as a document of this kind, compact and piece by piece. One that
    /// [`Self::read`] would not take for its length, its depth or the number of its values is an
    /// error, and is not to be kept.
    pub(crate) fn write<T: Serialize>(&self, value: &T, out: &mut dyn Write) -> io::Result<()> {
        let mut tally = Tally::new(out);
        serde_json::to_writer(&mut tally, value)?;
        tally.check(self)
    }

    /// As [`Self::write`], indented, with a line feed at the end.
    pub(crate) fn write_pretty<T: Serialize>(
        &self,
        value: &T,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut tally = Tally::new(out);
        serde_json::to_writer_pretty(&mut tally, value)?;
        tally.write_all(b"\n")?;
        tally.check(self)
    }

    fn check_header(&self, header: &Header) -> Result<(), DocumentError> {
        match &header.format {
            Scalar::Text(format) if format == self.format => {}
            other => {
                return Err(DocumentError::OtherFormat {
                    found: other.to_string(),
                    expected: self.format,
                });
            }
        }
        let newest = self.newest;
        match header.version {
            Scalar::Number(found) if found > u64::from(newest) => {
                Err(DocumentError::Newer { found, newest })
            }
            Scalar::Number(1..) => Ok(()),
            ref other => Err(DocumentError::BadVersion {
                found: other.to_string(),
                newest,
            }),
        }
    }
}

/// An error about what a document says.
pub(crate) fn invalid(
    place: impl fmt::Display,
    found: impl fmt::Display,
    expected: impl fmt::Display,
) -> DocumentError {
    DocumentError::Invalid {
        place: place.to_string(),
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, DocumentError> {
    serde_json::from_slice(text).map_err(|source| unreadable(text, source))
}

fn parse_and_free<T: DeserializeOwned>(bytes: Vec<u8>, start: usize) -> Result<T, DocumentError> {
    let bytes = io::BufReader::new(Shed::new(bytes, start));
    serde_json::from_reader(bytes).map_err(|source| DocumentError::Unreadable {
        place: format!("line {}, column {}", source.line(), source.column()),
        source,
    })
}

fn unreadable(text: &[u8], source: serde_json::Error) -> DocumentError {
    DocumentError::Unreadable {
        place: place_at(text, source.line(), source.column()),
        source,
    }
}

/// Looks at every value and keeps none.
fn look_through(text: &[u8]) -> Result<(), DocumentError> {
    let left = Cell::new(MOST_VALUES);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let looked = UniqueSeed { left: &left }.deserialize(&mut reader);
    let looked = looked.and_then(|()| reader.end());
    looked.map_err(|source| unreadable(text, source))
}

/// The fields that every version has.
#[derive(Deserialize)]
#[serde(default)]
struct Header {
    format: Scalar,
    version: Scalar,
}

impl Default for Header {
    fn default() -> Self {
        let missing = || Scalar::Other("missing");
        Self {
            format: missing(),
            version: missing(),
        }
    }
}

/// A value of which no more is kept than a message needs.
enum Scalar {
    Text(String),
    Number(u64),
    Other(&'static str),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(number) => number.fmt(f),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.chars().take(80).collect()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Scalar, E> {
        Ok(Scalar::Other("negative"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::Other("a fraction"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other("true or false"))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other("null"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalar, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other("an object"))
    }
}

/// Any value in which no object has one key twice: readers differ in which of the two they take.
#[derive(Clone, Copy)]
struct UniqueSeed<'a> {
    /// How many values more there may be.
    left: &'a Cell<u32>,
}

impl<'de> DeserializeSeed<'de> for UniqueSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Some(left) = self.left.get().checked_sub(1) else {
            let message = format!("more than {MOST_VALUES} values");
            return Err(de::Error::custom(message));
        };
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(de::Error::custom("this key stands twice in its object"));
            }
            seen.insert(key);
            map.next_value_seed(self)?;
        }
        Ok(())
    }
}
