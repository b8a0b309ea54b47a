//! The one place through which every state-changing step passes.
//!
//! Each step says what it is about to do before it does it, and again once it is done. Nobody
//! listens as a rule, and the question costs one relaxed load; a test installs a hook that fails
//! the step, notes it down or ends the process there. Steps are asked in the thread that takes
//! them.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::FsError;

/// What a step is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum StepKind {
    /// Create a temporary file or a lock file.
    Create,
    /// Clone another file's blocks into a temporary file.
    Clone,
    /// Write into a temporary file.
    Write,
    /// Set a file's length.
    SetLen,
    /// Flush a file.
    Flush,
    /// Set a file's or folder's times or attributes.
    SetAttributes,
    /// Rename; the path is the new name.
    Rename,
    /// Remove a file or a link.
    Remove,
    /// Remove an empty folder.
    RemoveFolder,
    /// Create a folder.
    CreateFolder,
    /// Create a hard link, symbolic link or junction; the path is the link.
    Link,
    /// Write into a file that has its final name.
    Patch,
    /// Flush a folder: what was renamed, made or removed in it stays so.
    FlushFolder,
    /// Flush everything on a volume; the path is a folder on it.
    FlushVolume,
    /// Read a piece of a file. Changes nothing: only [`install_on_reads`] hears of it.
    Read,
}

impl StepKind {
    const fn verb(self) -> &'static str {
        match self {
            Self::Create | Self::CreateFolder => "create",
            Self::Clone => "clone into",
            Self::Write | Self::Patch => "write to",
            Self::SetLen => "set the length of",
            Self::Flush => "flush",
            Self::SetAttributes => "set the time and attributes of",
            Self::Rename => "rename to",
            Self::Remove | Self::RemoveFolder => "remove",
            Self::Link => "make the link",
            Self::FlushFolder => "flush the folder",
            Self::FlushVolume => "flush the volume of",
            Self::Read => "read",
        }
    }
}

/// A step about to be taken.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// What it is.
    pub kind: StepKind,
    /// What it is done to.
    pub path: &'a Path,
    /// Where a file that is renamed stood, or the file that a hard link is another name of.
    pub from: Option<&'a Path>,
}

type Ask = dyn Fn(Step<'_>) -> io::Result<()> + Send + Sync;

/// What hears of steps.
#[derive(Clone)]
struct Hook {
    before: Arc<Ask>,
    after: Arc<Ask>,
    reads: Arc<Ask>,
}

static ARMED: AtomicBool = AtomicBool::new(false);
static HOOK: RwLock<Option<Hook>> = RwLock::new(None);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Keeps a hook installed; dropped, it takes the hook out.
#[must_use]
pub struct Guard(#[expect(dead_code, reason = "held, never looked at")] MutexGuard<'static, ()>);

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        set(None);
    }
}

fn set(hook: Option<Hook>) {
    ARMED.store(hook.is_some(), Ordering::SeqCst);
    *HOOK.write().unwrap_or_else(PoisonError::into_inner) = hook;
}

/// Installs `hook` until the guard is dropped, once any other guard is gone.
///
/// The hook hears every step of the process, those of tests that run beside this one too: it
/// goes by the path.
pub fn install(hook: impl Fn(Step<'_>) -> io::Result<()> + Send + Sync + 'static) -> Guard {
    install_around(hook, |_| Ok(()))
}

/// As [`install`], with a hook that hears of each step again once it was taken; an error from
/// that one is what the step comes to, though it was taken.
pub fn install_around(
    before: impl Fn(Step<'_>) -> io::Result<()> + Send + Sync + 'static,
    after: impl Fn(Step<'_>) -> io::Result<()> + Send + Sync + 'static,
) -> Guard {
    install_hook(Hook {
        before: Arc::new(before),
        after: Arc::new(after),
        reads: Arc::new(|_| Ok(())),
    })
}

/// As [`install`], for pieces of files that are about to be read, and nothing else.
pub fn install_on_reads(
    hook: impl Fn(Step<'_>) -> io::Result<()> + Send + Sync + 'static,
) -> Guard {
    install_hook(Hook {
        before: Arc::new(|_| Ok(())),
        after: Arc::new(|_| Ok(())),
        reads: Arc::new(hook),
    })
}

fn install_hook(hook: Hook) -> Guard {
    let turn = ONE_AT_A_TIME.lock();
    let guard = Guard(turn.unwrap_or_else(PoisonError::into_inner));
    set(Some(hook));
    guard
}

/// Heeds `LABPACK_STOP_AT=<n>`: the process aborts before its n-th step, counted from 1.
pub fn from_environment() {
    let Some(last) = std::env::var("LABPACK_STOP_AT")
        .ok()
        .and_then(|n| n.parse::<u64>().ok())
    else {
        return;
    };
    let steps = AtomicU64::new(0);
    let guard = install(move |_| {
        if steps.fetch_add(1, Ordering::SeqCst).saturating_add(1) == last {
            std::process::abort();
        }
        Ok(())
    });
    // For as long as the process lives.
    std::mem::forget(guard);
}

/// Announces a step and takes it.
pub(crate) fn step<T>(
    kind: StepKind,
    path: &Path,
    deed: impl FnOnce() -> io::Result<T>,
) -> Result<T, FsError> {
    let from = None;
    around(Step { kind, path, from }, deed)
}

/// As [`step`], for one that concerns the file at `from` too.
pub(crate) fn step_from<T>(
    kind: StepKind,
    from: &Path,
    path: &Path,
    deed: impl FnOnce() -> io::Result<T>,
) -> Result<T, FsError> {
    let from = Some(from);
    around(Step { kind, path, from }, deed)
}

fn around<T>(step: Step<'_>, deed: impl FnOnce() -> io::Result<T>) -> Result<T, FsError> {
    heard(step, deed).map_err(FsError::when(step.kind.verb(), step.path))
}

/// Announces that a piece of the file at `path` is about to be read.
pub(super) fn before_reading(path: &Path) -> io::Result<()> {
    let step = Step {
        kind: StepKind::Read,
        path,
        from: None,
    };
    listening().map_or(Ok(()), |hook| (hook.reads)(step))
}

/// Returns the hook, where there is one. The lock is free again while it runs: it may take long.
fn listening() -> Option<Hook> {
    if !ARMED.load(Ordering::Relaxed) {
        return None;
    }
    HOOK.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn heard<T>(step: Step<'_>, deed: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let Some(hook) = listening() else {
        return deed();
    };
    (hook.before)(step)?;
    let done = deed()?;
    (hook.after)(step)?;
    Ok(done)
}

/// The steps below `root`, in order, that `work` takes. For tests.
pub fn record<T>(root: &Path, work: impl FnOnce() -> T) -> (T, Vec<(StepKind, PathBuf)>) {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let (heard, below) = (Arc::clone(&steps), root.to_owned());
    let guard = install(move |step| {
        if step.path.starts_with(&below) {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.push((step.kind, step.path.to_owned()));
        }
        Ok(())
    });
    let done = work();
    drop(guard);
    let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
    (done, std::mem::take(&mut steps))
}
