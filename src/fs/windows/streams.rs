//! Alternate data streams: what a file holds beside its bytes.

use std::{io, path::Path, ptr::from_mut};

use windows_sys::Win32::{
    Foundation::{ERROR_HANDLE_EOF, HANDLE, INVALID_HANDLE_VALUE},
    Storage::FileSystem::{
        FindClose, FindFirstStreamW, FindNextStreamW, FindStreamInfoStandard,
        WIN32_FIND_STREAM_DATA,
    },
};

use super::wide;

/// Errors of file systems that know no streams, and of systems that know not the question:
/// `ERROR_INVALID_FUNCTION`, `ERROR_NOT_SUPPORTED`, `ERROR_INVALID_PARAMETER`,
/// `ERROR_CALL_NOT_IMPLEMENTED`.
const UNHEARD_OF: [i32; 4] = [1, 50, 87, 120];

/// Returns the names of a file's streams, but for that of its bytes.
pub(in crate::fs) fn other_streams(path: &Path) -> io::Result<Vec<String>> {
    let mut found = WIN32_FIND_STREAM_DATA {
        StreamSize: 0,
        cStreamName: [0; 296],
    };
    let mut names = Vec::new();
    let Some(search) = Search::begin(path, &mut found)? else {
        return Ok(names);
    };
    loop {
        names.extend(name(&found.cStreamName));
        if !search.next(&mut found)? {
            return Ok(names);
        }
    }
}

/// A search under way.
struct Search(HANDLE);

impl Search {
    fn begin(path: &Path, found: &mut WIN32_FIND_STREAM_DATA) -> io::Result<Option<Self>> {
        let path = wide(path)?;
        // SAFETY: `path` ends in a zero, `found` is the structure that the level asks for.
        let search = unsafe {
            FindFirstStreamW(
                path.as_ptr(),
                FindStreamInfoStandard,
                from_mut(found).cast(),
                0,
            )
        };
        if search == INVALID_HANDLE_VALUE || search.is_null() {
            return end().map(|()| None);
        }
        Ok(Some(Self(search)))
    }

    fn next(&self, found: &mut WIN32_FIND_STREAM_DATA) -> io::Result<bool> {
        // SAFETY: the search is open, `found` is the structure that it was begun with.
        if unsafe { FindNextStreamW(self.0, from_mut(found).cast()) } == 0 {
            return end().map(|()| false);
        }
        Ok(true)
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        // SAFETY: the search is open, and closed only here.
        unsafe { FindClose(self.0) };
    }
}

/// The last error: an answer where it means that there is nothing more.
fn end() -> io::Result<()> {
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(code) if code == ERROR_HANDLE_EOF.cast_signed() || UNHEARD_OF.contains(&code) => {
            Ok(())
        }
        _ => Err(error),
    }
}

/// `:Zone.Identifier:$DATA` is called `Zone.Identifier`; `::$DATA` is the file's bytes.
fn name(units: &[u16]) -> Option<String> {
    let whole = units.split(|&unit| unit == 0).next().unwrap_or_default();
    let whole = String::from_utf16_lossy(whole);
    let name = whole.strip_prefix(':')?.split(':').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_called_as_users_know_it_and_the_bytes_of_a_file_are_none() {
        let units = |text: &str| -> Vec<u16> { text.encode_utf16().chain([0, 7]).collect() };
        let known = name(&units(":Zone.Identifier:$DATA"));
        assert_eq!(known.as_deref(), Some("Zone.Identifier"));
        assert_eq!(name(&units("::$DATA")), None);
        assert_eq!(name(&units("")), None);
    }

    #[test]
    fn an_ordinary_file_has_no_other_streams() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(other_streams(file.path()).unwrap(), Vec::<String>::new());
    }
}
