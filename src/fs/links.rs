//! Ways of making one file appear in another place, and finding out which of them work.

use std::{
    fs::{File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Entry, FsError, SourceFile, Stamp, TempFile, deeds,
    look::{absolute, look, stamp},
    seam::{StepKind, step, step_from},
    system,
    temp::{TRIES, temp_path},
};
use crate::base::{IoMeter, ReadAt};

/// Gives the file `original` another name, `link`.
///
/// # Errors
/// [`FsError::Exists`] if something stands at `link`; what the system says.
pub fn hard_link(original: &Path, link: &Path) -> Result<(), FsError> {
    step_from(StepKind::Link, original, link, || {
        system::hard_link(original, link).map_err(|error| say(Way::HardLink, error))
    })
}

/// Gives the file `original` another name, `link`, once `check` has seen its stamp under a temporary
/// name and allows that. Flushes the folder.
///
/// # Errors
/// As [`hard_link`], and what `check` says; the temporary name is removed then.
pub fn hard_link_if<E: From<FsError>>(
    original: &Path,
    link: &Path,
    check: impl FnOnce(&Stamp) -> Result<(), E>,
) -> Result<Stamp, E> {
    // Under a lock nobody takes the temporary name for one that was left behind.
    let held = system::open_shared(original).map_err(FsError::when("open", original))?;
    let _ = held.try_lock_shared();
    let temp = temp_path(link)?;
    hard_link(original, &temp)?;
    let named = named_if(&temp, link, check);
    if named.is_err() {
        // What cannot be removed now is removed by the next run, as after a crash.
        let _ = deeds::remove_file(&temp);
    }
    named
}

fn named_if<E: From<FsError>>(
    temp: &Path,
    link: &Path,
    check: impl FnOnce(&Stamp) -> Result<(), E>,
) -> Result<Stamp, E> {
    check(&stamp(temp)?)?;
    deeds::rename_new(temp, link)?;
    Ok(stamp(link)?)
}

/// Makes `link` a symbolic link to the file `target`, which need not exist.
///
/// # Errors
/// [`FsError::Exists`] if something stands at `link`; an error that says what to do where the
/// right is missing; also where the system says that it made the link, and did not.
pub fn symlink_file(target: &Path, link: &Path) -> Result<(), FsError> {
    make_link(Way::Symlink, target, link, system::symlink_file)
}

/// Makes `link` a junction to the folder `target`, an absolute path on a local volume. Windows
/// only; elsewhere an error of kind `Unsupported`.
///
/// # Errors
/// As [`symlink_file`].
pub fn junction(target: &Path, link: &Path) -> Result<(), FsError> {
    make_link(Way::Junction, target, link, system::junction)
}

fn make_link(
    way: Way,
    target: &Path,
    link: &Path,
    make: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> Result<(), FsError> {
    step(StepKind::Link, link, || {
        make(target, link).map_err(|error| say(way, error))?;
        // Wine says Ok and makes nothing.
        match std::fs::read_link(link) {
            Ok(_) => Ok(()),
            Err(error) => Err(io::Error::new(
                error.kind(),
                "the system said that it made the link, but none is there",
            )),
        }
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Reflink,
    HardLink,
    Symlink,
    Junction,
}

/// `ERROR_PRIVILEGE_NOT_HELD`: what a user without the right to make symbolic links is told.
const PRIVILEGE_NOT_HELD: i32 = 1314;

/// `ERROR_INVALID_FUNCTION` and `ERROR_NOT_SUPPORTED`; ENOTTY. `std` has no kind for them.
const UNHEARD_OF: &[i32] = if cfg!(windows) { &[1, 50] } else { &[25] };

/// What an error means to a user, where labpack knows more than the system says.
fn explain(way: Way, error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind::{
        CrossesDevices, InvalidInput, PermissionDenied, TooManyLinks, Unsupported,
    };
    let code = error.raw_os_error();
    if cfg!(windows) && code == Some(PRIVILEGE_NOT_HELD) {
        return Some(
            "the right to create symbolic links is missing: turn on Developer Mode, run as \
             administrator, or have the policy \"Create symbolic links\" \
             (SeCreateSymbolicLinkPrivilege) give it to your account and sign in again",
        );
    }
    match error.kind() {
        CrossesDevices => Some("on another volume"),
        TooManyLinks => Some("the file has as many names as the file system allows"),
        Unsupported => Some(way.unsupported()),
        _ if code.is_some_and(|code| UNHEARD_OF.contains(&code)) => Some(way.unsupported()),
        InvalidInput if way == Way::Reflink => Some(way.unsupported()),
        // What Linux says for FAT.
        PermissionDenied if cfg!(unix) => way.denied(),
        _ => None,
    }
}

impl Way {
    const fn unsupported(self) -> &'static str {
        match self {
            Self::Reflink => "the file system cannot clone blocks",
            Self::HardLink => "the file system has no hard links",
            Self::Symlink => "the file system has no symbolic links",
            Self::Junction if cfg!(windows) => "the file system has no junctions",
            Self::Junction => "junctions exist only on Windows",
        }
    }

    const fn denied(self) -> Option<&'static str> {
        match self {
            Self::HardLink => {
                Some("the file system has no hard links, or the file belongs to another user")
            }
            Self::Symlink => {
                Some("the file system has no symbolic links, or the folder may not be written to")
            }
            Self::Reflink | Self::Junction => None,
        }
    }
}

/// The error with the user's words in it; its kind stays.
fn say(way: Way, error: io::Error) -> io::Error {
    match explain(way, &error) {
        Some(words) => io::Error::new(error.kind(), words),
        None => error,
    }
}

/// What a trial in two existing folders showed; `Err` says why not, in the user's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTrial {
    /// A block clone: an independent file that shares storage.
    pub reflink: Result<(), String>,
    /// Another name for the file.
    pub hardlink: Result<(), String>,
    /// A symbolic link to the file.
    pub symlink: Result<(), String>,
    /// A junction to its folder.
    pub junction: Result<(), String>,
}

/// Tries each way of linking from `to_dir` to a file in `from_dir`, and removes every trace.
///
/// # Errors
/// Where the file that is linked to cannot be made, or a trace cannot be removed.
pub fn try_links(from_dir: &Path, to_dir: &Path) -> Result<LinkTrial, FsError> {
    let folders = [from_dir, to_dir];
    let before = folders.map(look);
    let done = try_all(from_dir, to_dir);
    // A folder in which something came and went bears another time; a dry run leaves none.
    for (folder, before) in folders.into_iter().zip(before) {
        if let Ok(Entry::Folder(modified)) = before {
            let _ = deeds::set_folder_time(folder, modified);
        }
    }
    done
}

/// Tries to give the file `original` a name in an existing folder, and removes that name again; `Err`
/// within says why not, in the user's words.
///
/// # Errors
/// Where the name cannot be removed.
pub fn try_hard_link(original: &Path, to_dir: &Path) -> Result<Result<(), String>, FsError> {
    let before = look(to_dir);
    let link = temp_path(&to_dir.join(TRIAL_NAME))?;
    let done = match hard_link(original, &link) {
        Ok(()) => deeds::remove_file(&link).map(Ok),
        Err(error) => Ok(Err(words(&error))),
    };
    if let Ok(Entry::Folder(modified)) = before {
        let _ = deeds::set_folder_time(to_dir, modified);
    }
    done
}

fn try_all(from_dir: &Path, to_dir: &Path) -> Result<LinkTrial, FsError> {
    let original = Original::create(from_dir)?;
    Ok(LinkTrial {
        reflink: try_reflink(&original, to_dir)?,
        hardlink: try_way(to_dir, |link| {
            hard_link(&original.path, link)?;
            original.compare(link)
        })?,
        symlink: try_way(to_dir, |link| {
            symlink_file(&original.path, link)?;
            original.compare(link)
        })?,
        junction: try_way(to_dir, |link| {
            junction(original.folder(), link)?;
            original.compare(&link.join(original.path.file_name().unwrap_or_default()))
        })?,
    })
}

const TRIAL_NAME: &str = "link-trial";
const TRIAL_LEN: usize = 64 << 10;

/// The file that is linked to. Its name is temporary; a shared lock keeps it from being cleared
/// away, and lets others read it on Windows, where an exclusive one would not.
struct Original {
    path: PathBuf,
    bytes: Vec<u8>,
    _held: Option<File>,
}

impl Original {
    fn create(folder: &Path) -> Result<Self, FsError> {
        let folder = absolute(folder)?;
        for _ in 0..TRIES {
            if let Some(original) = Self::try_create(&folder)? {
                return Ok(original);
            }
        }
        let taken = io::Error::other("another program takes every new file away");
        Err(FsError::io("try links in", &folder, taken))
    }

    /// `None` where the file was cleared away before it was locked.
    fn try_create(folder: &Path) -> Result<Option<Self>, FsError> {
        let path = temp_path(&folder.join(TRIAL_NAME))?;
        let mut original = Self {
            bytes: (0..TRIAL_LEN).map(|i| (i % 251) as u8).collect(),
            path,
            _held: None,
        };
        let (path, bytes) = (&original.path, &original.bytes);
        let file = step(StepKind::Create, path, || {
            let mut file = system::create_new(path)?;
            // Nobody may clear it away meanwhile; whether somebody has is seen below.
            let _ = file.try_lock();
            file.write_all(bytes)?;
            file.sync_all()?;
            Ok(file)
        })?;
        let held = match system::open_shared(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            held => held.map_err(FsError::when("open", path))?,
        };
        // There is a moment without a lock, and it should be short.
        let _ = file.unlock();
        // On a file system without locks the trial works all the same.
        if let Err(TryLockError::WouldBlock) = held.try_lock_shared() {
            return Ok(None);
        }
        let held_as = system::stamp_of(&held).map_err(FsError::when("look at", path))?;
        let stands = system::stamp_at(path, false).is_ok_and(|named| named.key == held_as.key);
        original._held = Some(held);
        Ok(stands.then_some(original))
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Checks that `link` leads to this file's bytes.
    fn compare(&self, link: &Path) -> Result<(), FsError> {
        let through = SourceFile::open_following(link, &Arc::default())?;
        let mut bytes = vec![0; self.bytes.len()];
        through
            .read_exact_at(&mut bytes, 0)
            .map_err(FsError::when("read through", link))?;
        self.same(link, &bytes)
    }

    fn same(&self, link: &Path, bytes: &[u8]) -> Result<(), FsError> {
        if bytes == self.bytes {
            return Ok(());
        }
        let other = io::Error::new(io::ErrorKind::InvalidData, "other bytes are there");
        Err(FsError::io("read through", link, other))
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        // What is left has a temporary name; the next run removes it.
        let _ = deeds::remove_file(&self.path);
    }
}

fn try_reflink(original: &Original, to_dir: &Path) -> Result<Result<(), String>, FsError> {
    let meter = Arc::new(IoMeter::default());
    let source = SourceFile::open(&original.path, &meter)?;
    let clone = match TempFile::try_clone_of(&source, &to_dir.join(TRIAL_NAME), &meter)? {
        Ok(clone) => clone,
        Err(error) => return Ok(Err(say(Way::Reflink, error).to_string())),
    };
    let mut bytes = vec![0; original.bytes.len()];
    let read = clone.read_exact_at(&mut bytes, 0);
    let read = read.map_err(FsError::when("read", clone.path()));
    let same = read.and_then(|()| original.same(clone.path(), &bytes));
    Ok(same.map_err(|error| words(&error)))
}

fn try_way(
    to_dir: &Path,
    way: impl FnOnce(&Path) -> Result<(), FsError>,
) -> Result<Result<(), String>, FsError> {
    let link = temp_path(&to_dir.join(TRIAL_NAME))?;
    let outcome = way(&link).map_err(|error| words(&error));
    // Wine's junctions are real folders.
    match link.symlink_metadata() {
        Ok(found) if found.is_dir() => deeds::remove_empty_folder(&link).map(drop)?,
        _ => deeds::remove_file(&link)?,
    }
    Ok(outcome)
}

/// The reason alone: the paths of a trial mean nothing to the user.
fn words(error: &FsError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
