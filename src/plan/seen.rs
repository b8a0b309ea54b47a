//! What files looked like when they were last read, and what reading them told.
//!
//! A file that still looks so need not be read again. Losing this costs time and nothing else; it
//! is never trusted alone for a file that is about to be removed.

use std::{fmt, io};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};

use super::{Digest, Seen};
use crate::{
    base::{CanonicalId, ContentId, FileTime, RelPath},
    manifest::{Document, Manifest},
};

/// What reading a file once told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// What it looked like.
    pub seen: Seen,
    /// BLAKE3 of its bytes.
    pub content: ContentId,
    /// Digest without what a relocation may touch, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical: Option<Box<CanonicalId>>,
    /// Its store form, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_form: Option<Box<RememberedForm>>,
    /// What its copy in the pack looked like, where the pack is a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<Box<Seen>>,
}

/// The store form of a disk beside a parent of this name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedForm {
    /// The name of the parent's file.
    pub parent: String,
    /// BLAKE3 of the store form.
    pub id: ContentId,
}

impl Remembered {
    /// Returns what the file in the pack looked like.
    #[must_use]
    pub fn in_pack(&self) -> Seen {
        let copy = self.copy.as_ref().map(|copy| Seen {
            disk: self.seen.disk,
            ..**copy
        });
        copy.unwrap_or(self.seen)
    }

    /// What `digest` tells about a file that looks like `seen`.
    #[must_use]
    pub fn of(seen: Seen, digest: &Digest) -> Self {
        let identity = digest.identity.as_ref();
        Self {
            seen,
            content: digest.content,
            canonical: identity.map(|identity| Box::new(identity.canonical)),
            store_form: identity.map(|identity| {
                Box::new(RememberedForm {
                    parent: identity.store_form.parent.clone(),
                    id: identity.store_form.id,
                })
            }),
            copy: None,
        }
    }
}

/// The file `labpack.seen.json`: what is known of files, one after the other, and when the folder of
/// the export was modified, where the pack is made in place. A manifest only knows what is below
/// that folder.
#[derive(Debug)]
pub enum SeenFiles {}

const DOCUMENT: Document = Document {
    format: "labpack-seen",
    newest: 1,
    max_bytes: SeenFiles::MAX_BYTES,
};

impl SeenFiles {
    /// Its name in a pack.
    pub const FILE_NAME: &str = "labpack.seen.json";
    /// A longer file is not read.
    pub const MAX_BYTES: u64 = 256 << 20;

    /// Reads the file from the pieces of it that `bytes` gives: `each` is given one file after the
    /// other, and the time of the folder is returned. After an error nothing holds of what was
    /// given. Of fields that no version knows nothing is kept.
    ///
    /// # Errors
    /// Where it is no such file, or one of a newer version.
    pub fn read(
        bytes: impl io::Read,
        mut each: impl FnMut(RelPath, Remembered),
    ) -> Result<Option<FileTime>, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_reader(bytes);
        let header = reader.deserialize_map(SeenVisitor(&mut each))?;
        reader.end()?;
        if header.format.as_deref() == Some(DOCUMENT.format)
            && (1..=DOCUMENT.newest).contains(&header.version.unwrap_or(0))
            && header.files.is_some()
        {
            return Ok(header.root.flatten());
        }
        Err(de::Error::custom(
            "another format, or another version of it",
        ))
    }

    /// Writes the file, one of its files after the other: there may be very many.
    ///
    /// # Errors
    /// What `out` says; where it would be longer than any that is read.
    pub fn write<'a, I>(
        root: Option<FileTime>,
        files: impl Fn() -> I,
        out: &mut dyn io::Write,
    ) -> io::Result<()>
    where
        I: Iterator<Item = (&'a RelPath, Remembered)>,
    {
        let written = Written {
            format: DOCUMENT.format,
            version: DOCUMENT.newest,
            root,
            files: Entries(files),
        };
        DOCUMENT.write(&written, out)
    }
}

/// What is known of files, in the order of their paths. There may be very many of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RememberedFiles(Vec<(RelPath, Remembered)>);

impl RememberedFiles {
    /// Returns every file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&RelPath, &Remembered)> {
        self.0.iter().map(|(path, known)| (path, known))
    }
}

/// Of two that have one path, the later counts.
impl FromIterator<(RelPath, Remembered)> for RememberedFiles {
    fn from_iter<I: IntoIterator<Item = (RelPath, Remembered)>>(files: I) -> Self {
        let mut files: Vec<_> = files.into_iter().collect();
        // To sort takes room, and most often they are in order.
        if !files.is_sorted_by_key(|(path, _)| path) {
            files.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        files.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Self(files)
    }
}

impl Serialize for RememberedFiles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for RememberedFiles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut files = Vec::new();
        FilesSeed(&mut |path, known| files.push((path, known))).deserialize(deserializer)?;
        Ok(files.into_iter().collect())
    }
}

/// The fields of [`SeenFiles`], as far as they are there.
#[derive(Default)]
struct SeenHeader {
    format: Option<String>,
    version: Option<u32>,
    root: Option<Option<FileTime>>,
    files: Option<()>,
}

/// Puts the value of a key into its place. A key that stands twice is refused: nobody could tell
/// which of the two counts.
fn once<T, E: de::Error>(
    place: &mut Option<T>,
    key: &'static str,
    value: impl FnOnce() -> Result<T, E>,
) -> Result<(), E> {
    if place.is_some() {
        return Err(E::duplicate_field(key));
    }
    *place = Some(value()?);
    Ok(())
}

/// Takes each file that is read.
type Each<'a> = &'a mut dyn FnMut(RelPath, Remembered);

struct SeenVisitor<'a>(Each<'a>);

impl<'de> Visitor<'de> for SeenVisitor<'_> {
    type Value = SeenHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what is known of files, and of which version")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SeenHeader, A::Error> {
        let mut header = SeenHeader::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "format" => once(&mut header.format, "format", || map.next_value())?,
                "version" => once(&mut header.version, "version", || map.next_value())?,
                "root" => once(&mut header.root, "root", || map.next_value())?,
                "files" => once(&mut header.files, "files", || {
                    map.next_value_seed(FilesSeed(&mut *self.0))
                })?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(header)
    }
}

/// More files than a lab may have are refused.
struct FilesSeed<'a>(Each<'a>);

impl<'de> DeserializeSeed<'de> for FilesSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FilesSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what is known of files, by path")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut left = Manifest::MOST_FILES;
        while let Some((path, known)) = map.next_entry()? {
            left = left
                .checked_sub(1)
                .ok_or_else(|| de::Error::custom("more files than a lab may have"))?;
            (self.0)(path, known);
        }
        Ok(())
    }
}

/// [`SeenFiles`] on their way out.
#[derive(Serialize)]
struct Written<F: Serialize> {
    format: &'static str,
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<FileTime>,
    files: F,
}

struct Entries<F>(F);

impl<'a, F, I> Serialize for Entries<F>
where
    F: Fn() -> I,
    I: Iterator<Item = (&'a RelPath, Remembered)>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map((self.0)())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::FileKey;

    fn known(number: usize) -> Remembered {
        Remembered {
            seen: Seen {
                key: FileKey { volume: 1, file: 2 },
                length: number as u64,
                modified: FileTime(5),
                disk: None,
            },
            content: ContentId::from(blake3::hash(b"7")),
            canonical: None,
            store_form: None,
            copy: None,
        }
    }

    fn path(number: usize) -> RelPath {
        RelPath::new(format!("{number:06}.log")).unwrap()
    }

    fn written(count: usize) -> Vec<u8> {
        let files: Vec<_> = (0..count).rev().map(path).collect();
        let each = || files.iter().map(|path| (path, known(count)));
        let mut bytes = Vec::new();
        SeenFiles::write(None, each, &mut bytes).unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<(RelPath, Remembered)>, serde_json::Error> {
        let mut files = Vec::new();
        SeenFiles::read(bytes, |path, known| files.push((path, known)))?;
        Ok(files)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let expected: Vec<_> = [2, 1, 0].map(|at| (path(at), known(3))).into();
        assert_eq!(read(&written(3)).unwrap(), expected);
    }

    #[test]
    fn more_files_than_a_lab_may_have_are_not_kept() {
        let most = Manifest::MOST_FILES;
        assert_eq!(read(&written(most)).unwrap().len(), most);
        let error = read(&written(most + 1)).unwrap_err();
        assert!(error.to_string().contains("more files"), "{error}");
    }

    #[test]
    fn another_format_or_version_is_not_read() {
        let text = String::from_utf8(written(1)).unwrap();
        let changes = [
            ("labpack-seen", "x"),
            (":1,", ":2,"),
            (":1,", ":0,"),
            ("\"version\":1,", ""),
            ("\"files\"", "\"other\""),
        ];
        for (from, to) in changes {
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text);
            read(other.as_bytes()).unwrap_err();
        }
        read(&text.as_bytes()[..text.len() - 1]).unwrap_err();
    }

    #[test]
    fn a_key_that_stands_twice_is_not_read() {
        let text = String::from_utf8(written(1)).unwrap();
        let fields = [
            r#""format":"labpack-seen""#,
            r#""version":1"#,
            r#""root":null,"root":null"#,
            r#""files":{}"#,
        ];
        for field in fields {
            let twice = text.replacen('{', &format!("{{{field},"), 1);
            let error = read(twice.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("duplicate"), "{field}: {error}");
        }
        let unknown = text.replacen('{', r#"{"new":1,"new":2,"#, 1);
        assert_eq!(read(unknown.as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn of_two_files_of_one_path_the_later_counts_and_they_are_in_order() {
        let files = [
            (path(2), known(1)),
            (path(1), known(2)),
            (path(2), known(3)),
        ];
        let files = RememberedFiles::from_iter(files);
        let expected = [(path(1), known(2)), (path(2), known(3))];
        assert!(
            files
                .iter()
                .eq(expected.iter().map(|(path, known)| (path, known)))
        );
    }
}
