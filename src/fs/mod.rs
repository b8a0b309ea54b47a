//! stub: signatures that the other stages are written against
use crate::base::{
    Attributes, CanonicalId, ContentId, FileTime, IoMeter, Patch, ReadAt, RelPath, Run,
};
use crate::formats::CanonicalForm;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why the file system did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// The system said no. `action` is a verb: `open`, `rename`.
    #[error("cannot {action} `{path}`")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The file changed while it was being worked on.
    #[error("`{path}` changed while labpack worked on it: {what}")]
    Changed { path: PathBuf, what: String },
    /// Somebody else has it open (Windows: sharing violation).
    #[error("`{path}` is open in another program")]
    InUse { path: PathBuf },
    /// Something stands there already.
    #[error("`{path}` exists already")]
    Exists { path: PathBuf },
    /// The disk is full.
    #[error("no space left for `{path}`")]
    NoSpace { path: PathBuf, source: io::Error },
    /// Larger than the caller allows.
    #[error("`{path}` is {len} bytes long, expected at most {max}")]
    TooLong { path: PathBuf, len: u64, max: u64 },
    /// The user stopped the work.
    #[error(transparent)]
    Cancelled(#[from] crate::base::Cancelled),
}

/// Which file it is, whatever its names are: volume and file number (Windows: serial, 128-bit id).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileKey {
    pub volume: u64,
    pub file: u128,
} // serialised as the string "volume-hex:file-hex"

/// What the system says of a file at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub key: FileKey,
    pub len: u64,
    pub modified: FileTime,
    pub changed: Option<FileTime>,
    pub attributes: Attributes,
    pub links: u64,
    pub sparse_or_compressed: bool,
}

/// A file held open for reading; on Windows nobody can write to it meanwhile.
pub struct SourceFile(());
impl SourceFile {
    pub fn open(_path: &Path, _meter: &Arc<IoMeter>) -> Result<Self, FsError> {
        unimplemented!()
    }
    pub fn path(&self) -> &Path {
        unimplemented!()
    }
    /// The stamp when it was opened.
    pub fn opened(&self) -> &Stamp {
        unimplemented!()
    }
    /// Changed { .. } if length, time or identity (of the handle AND of the path) are not those it was opened with.
    pub fn check_unchanged(&self) -> Result<(), FsError> {
        unimplemented!()
    }
}
/// Counted as `inspected`.
impl ReadAt for SourceFile {
    fn len(&self) -> u64 {
        unimplemented!()
    }
    fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        unimplemented!()
    }
}

/// Takes a file's bytes as they stream by, in order, without gaps.
pub trait Sink {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// `len` zero bytes that are a hole in the source.
    fn hole(&mut self, offset: u64, len: u64) -> io::Result<()>;
}
/// Reads `source` once, start to end, into every sink; holes are found (SEEK_DATA / FSCTL_QUERY_ALLOCATED_RANGES) and not read. Counts `read` and `skipped`; calls progress.advance; asks run.go_on() between chunks; ends with check_unchanged().
pub fn stream(
    _source: &SourceFile,
    _sinks: &mut [&mut dyn Sink],
    _run: &Run<'_>,
) -> Result<(), FsError> {
    unimplemented!()
}

/// BLAKE3 of the bytes.
pub struct ContentHasher(());
impl ContentHasher {
    pub fn new() -> Self {
        unimplemented!()
    }
    pub fn finish(self) -> ContentId {
        unimplemented!()
    }
}
/// BLAKE3 of the bytes with a patch laid over them (new_len included).
pub struct PatchedHasher<'a>(&'a Patch);
impl<'a> PatchedHasher<'a> {
    pub fn new(_patch: &'a Patch, _source_len: u64) -> Self {
        unimplemented!()
    }
    pub fn finish(self) -> ContentId {
        unimplemented!()
    }
}
/// The canonical digest.
pub struct CanonicalHasher<'a>(&'a CanonicalForm);
impl<'a> CanonicalHasher<'a> {
    pub fn new(_form: &'a CanonicalForm) -> Self {
        unimplemented!()
    }
    pub fn finish(self) -> CanonicalId {
        unimplemented!()
    }
}
/// Keeps the masked bytes, up to `limit` non-zero bytes (in 512-byte pieces); beyond it gives up (`finish` returns None).
pub struct MaskCapture<'a>(&'a CanonicalForm);
impl<'a> MaskCapture<'a> {
    pub fn new(_form: &'a CanonicalForm, _limit: usize) -> Self {
        unimplemented!()
    }
    pub fn finish(self) -> Option<Vec<(u64, Vec<u8>)>> {
        unimplemented!()
    }
}
impl Sink for ContentHasher {
    fn data(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        unimplemented!()
    }
    fn hole(&mut self, _: u64, _: u64) -> io::Result<()> {
        unimplemented!()
    }
}
impl Sink for PatchedHasher<'_> {
    fn data(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        unimplemented!()
    }
    fn hole(&mut self, _: u64, _: u64) -> io::Result<()> {
        unimplemented!()
    }
}
impl Sink for CanonicalHasher<'_> {
    fn data(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        unimplemented!()
    }
    fn hole(&mut self, _: u64, _: u64) -> io::Result<()> {
        unimplemented!()
    }
}
impl Sink for MaskCapture<'_> {
    fn data(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        unimplemented!()
    }
    fn hole(&mut self, _: u64, _: u64) -> io::Result<()> {
        unimplemented!()
    }
}

/// A new file under a temporary name in the folder of `final_path`, held by an OS lock that dies with the process; removed when dropped unfinished.
pub struct TempFile(());
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Refuse,
    Replace,
}
/// How a finished file is to look.
#[derive(Debug, Clone, Copy)]
pub struct Finish {
    pub modified: FileTime,
    pub attributes: Attributes,
    pub existing: Existing,
}
impl TempFile {
    pub fn create(_final_path: &Path, _meter: &Arc<IoMeter>) -> Result<Self, FsError> {
        unimplemented!()
    }
    /// A block clone of `source`; None where the volume cannot. Counts `cloned`.
    pub fn clone_of(
        _source: &SourceFile,
        _final_path: &Path,
        _meter: &Arc<IoMeter>,
    ) -> Result<Option<Self>, FsError> {
        unimplemented!()
    }
    /// Sets the length (holes read as zero).
    pub fn set_len(&mut self, _len: u64) -> Result<(), FsError> {
        unimplemented!()
    }
    /// Writes the patch. Counts `written`.
    pub fn apply(&mut self, _patch: &Patch) -> Result<(), FsError> {
        unimplemented!()
    }
    pub fn path(&self) -> &Path {
        unimplemented!()
    }
    /// Flush, attributes and times, rename to the final path, flush the folder. Returns the stamp of the finished file.
    pub fn finish(self, _how: &Finish) -> Result<Stamp, FsError> {
        unimplemented!()
    }
}
/// Counts `written`. Holes stay holes (on Windows: unwritten, never the sparse attribute). A run of >= 64 KiB zero bytes on a 64 KiB boundary is not written either.
impl Sink for TempFile {
    fn data(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        unimplemented!()
    }
    fn hole(&mut self, _: u64, _: u64) -> io::Result<()> {
        unimplemented!()
    }
}

/// Reads a whole small file.
pub fn read_bounded(_path: &Path, _max: u64) -> Result<Vec<u8>, FsError> {
    unimplemented!()
}
/// Temporary file, flush, rename over `path`, flush the folder.
pub fn write_atomic(_path: &Path, _bytes: &[u8]) -> Result<(), FsError> {
    unimplemented!()
}
/// Renames; Exists if something stands at `to`. Flushes both folders.
pub fn rename_new(_from: &Path, _to: &Path) -> Result<(), FsError> {
    unimplemented!()
}
/// Writes a patch into an existing file, flushing after each stage. Clears and restores read-only.
pub fn patch_in_place(_path: &Path, _patch: &Patch, _meter: &Arc<IoMeter>) -> Result<(), FsError> {
    unimplemented!()
}
pub fn set_times_and_attributes(
    _path: &Path,
    _modified: FileTime,
    _attributes: Attributes,
) -> Result<(), FsError> {
    unimplemented!()
}
pub fn set_folder_time(_path: &Path, _modified: FileTime) -> Result<(), FsError> {
    unimplemented!()
}
/// Flushes a file's bytes.
pub fn sync_file(_path: &Path) -> Result<(), FsError> {
    unimplemented!()
}
pub fn sync_folder(_path: &Path) -> Result<(), FsError> {
    unimplemented!()
}
/// Removes a file (or a link, never what it leads to), read-only or not; fine if it is gone.
pub fn remove_file(_path: &Path) -> Result<(), FsError> {
    unimplemented!()
}
/// Removes a folder if it is empty; tells whether it did.
pub fn remove_empty_folder(_path: &Path) -> Result<bool, FsError> {
    unimplemented!()
}
pub fn create_dir_all(_path: &Path) -> Result<(), FsError> {
    unimplemented!()
}
pub fn hard_link(_original: &Path, _link: &Path) -> Result<(), FsError> {
    unimplemented!()
}
pub fn symlink_file(_target: &Path, _link: &Path) -> Result<(), FsError> {
    unimplemented!()
}
/// Windows only; elsewhere an error of kind Unsupported.
pub fn junction(_target: &Path, _link: &Path) -> Result<(), FsError> {
    unimplemented!()
}

/// What stands at a path (not followed if a link).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Missing,
    File(Stamp),
    Folder(FileTime),
    Link(PathBuf),
    Other,
}
pub fn look(_path: &Path) -> Result<Entry, FsError> {
    unimplemented!()
}
/// The stamp of the file at `path`, links followed.
pub fn stamp(_path: &Path) -> Result<Stamp, FsError> {
    unimplemented!()
}

/// One thing found by a walk.
pub struct Found {
    pub path: RelPath,
    pub entry: Entry,
}
pub struct BadEntry {
    pub path: PathBuf,
    pub why: String,
}
/// Walks a folder, links not followed, sorted by path, folders before what is in them; names that are no RelPath come as errors, one each.
pub fn walk(_root: &Path) -> impl Iterator<Item = Result<Found, BadEntry>> {
    std::iter::empty()
}

/// A volume's abilities, for preflight.
#[derive(Debug, Clone)]
pub struct Volume {
    pub key: u64,
    pub file_system: String,
    pub free: u64,
    pub max_file_len: Option<u64>,
    pub max_links: Option<u64>,
}
/// The volume on which `path`, or its nearest existing ancestor, lies.
pub fn volume(_path: &Path) -> Result<Volume, FsError> {
    unimplemented!()
}
/// What a trial in two existing folders showed; Err says why not, in the user's words.
pub struct LinkTrial {
    pub reflink: Result<(), String>,
    pub hardlink: Result<(), String>,
    pub symlink: Result<(), String>,
    pub junction: Result<(), String>,
}
/// Tries each way of linking from `to_dir` to a file in `from_dir`, and removes every trace.
pub fn try_links(_from_dir: &Path, _to_dir: &Path) -> Result<LinkTrial, FsError> {
    unimplemented!()
}

/// A lock on a folder among processes, in a file; dies with its process.
pub struct FolderLock(());
impl FolderLock {
    /// Waits, telling `run.progress.waiting` once.
    pub fn acquire(_lock_file: &Path, _run: &Run<'_>) -> Result<Self, FsError> {
        unimplemented!()
    }
    /// None if somebody else has it.
    pub fn try_acquire(_lock_file: &Path) -> Result<Option<Self>, FsError> {
        unimplemented!()
    }
}
/// Removes temporary files in `folder` whose process is gone; returns how many.
pub fn remove_stale_temps(_folder: &Path) -> Result<u64, FsError> {
    unimplemented!()
}
/// Tells whether a name is one of labpack's temporary names.
pub fn is_temp_name(_name: &str) -> bool {
    unimplemented!()
}
/// Makes a path absolute without following links; `..` taken off by text (Windows rules on Windows).
pub fn absolute(_path: &Path) -> Result<PathBuf, FsError> {
    unimplemented!()
}
