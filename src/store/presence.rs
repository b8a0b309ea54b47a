//! Whether a file that stands in the store is the RefDisk that it should be.

use crate::{
    base::{ContentId, Run},
    formats,
    fs::{self, SourceFile, Stamp, Subject},
};

use super::{Entry, Store, StoreError};

/// A RefDisk, as far as telling it from others needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected<'a> {
    /// Its id.
    pub id: ContentId,
    /// Its name in the store.
    pub file: &'a str,
    /// Its length in bytes.
    pub length: u64,
    /// For a mid-chain disk, the file name of its parent that its store form was made with.
    pub parent_file: Option<&'a str>,
}

impl<'a> From<&'a Entry> for Expected<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            id: entry.id,
            file: &entry.file,
            length: entry.length,
            parent_file: entry.parent_file.as_deref(),
        }
    }
}

/// What stands where a RefDisk should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// Nothing.
    Missing,
    /// The RefDisk: the file has not changed since its bytes were last found right.
    Known(Stamp),
    /// The RefDisk: its bytes were read now, and are right. Registering it with this stamp saves
    /// reading it the next time.
    Checked(Stamp),
    /// Something else: why, found and expected.
    Damaged(String),
}

impl Store {
    /// Tells what stands in the store under a RefDisk's name, reading it only if it is not known
    /// to be unchanged.
    ///
    /// Whoever finds a name taken while bringing in a RefDisk asks this: another process may just
    /// have brought the same.
    ///
    /// # Errors
    /// What the file system says.
    pub fn presence(&self, expected: &Expected<'_>, run: &Run<'_>) -> Result<Presence, StoreError> {
        let path = self.path_of(expected.file);
        let stamp = match fs::look(&path)? {
            fs::Entry::Missing => return Ok(Presence::Missing),
            fs::Entry::File(stamp) => stamp,
            _ => return Ok(Presence::Damaged("it is no file".to_owned())),
        };
        if self.knows(expected, &stamp) {
            run.meter.add_skipped(stamp.len);
            run.progress.advance(stamp.len);
            return Ok(Presence::Known(stamp));
        }
        let source = SourceFile::open(&path, run.meter)?;
        Ok(match fault(&source, expected, run)? {
            Some(why) => Presence::Damaged(why),
            None => Presence::Checked(*source.opened()),
        })
    }

    fn knows(&self, expected: &Expected<'_>, stamp: &Stamp) -> bool {
        let index = self.snapshot();
        let entry = index.find(&expected.id);
        let entry = entry.filter(|entry| entry.file == expected.file);
        stamp.len == expected.length
            && entry.is_some_and(|entry| entry.stamp.is_some_and(|known| known.is(stamp)))
    }
}

/// Reads a file, and tells why it is not the RefDisk expected, if it is not.
pub(super) fn fault(
    source: &SourceFile,
    expected: &Expected<'_>,
    run: &Run<'_>,
) -> Result<Option<String>, StoreError> {
    let len = source.opened().len;
    if len != expected.length {
        let length = expected.length;
        return Ok(Some(format!("it is {len} bytes long, expected {length}")));
    }
    run.progress.file(expected.file);
    match content_id(source, expected.parent_file, run) {
        Ok(found) if found == expected.id => Ok(None),
        Ok(found) => Ok(Some(format!(
            "its digest is {found}, expected {}",
            expected.id
        ))),
        // It was understood when it was packed: what cannot be understood now is damaged.
        Err(StoreError::Format { source, .. }) => Ok(Some(source.to_string())),
        Err(error) => Err(error),
    }
}

/// Reads a file once, and returns the id that a RefDisk with its bytes has.
///
/// `parent_file` is given for a mid-chain disk: whatever paths it holds just now, it counts as
/// naming its parent by that file name beside it.
///
/// # Errors
/// What the file system says; [`StoreError::Format`] for a mid-chain disk that cannot be brought
/// into store form.
pub fn content_id(
    source: &SourceFile,
    parent_file: Option<&str>,
    run: &Run<'_>,
) -> Result<ContentId, StoreError> {
    let Some(parent_file) = parent_file else {
        return Ok(fs::content_id(source, run)?);
    };
    let form = formats::store_form(source, parent_file);
    let patch = form.map_err(|error| StoreError::Format {
        path: source.path().to_owned(),
        source: error,
    })?;
    Ok(Subject::of(source).form(&patch).read(run)?.forms[0])
}
