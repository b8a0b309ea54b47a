//! Why the file system did not do what was asked.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::base::Cancelled;

/// Why the file system did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// The system said no.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried, as a verb: `open`, `rename`.
        action: &'static str,
        /// With what it was tried.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file changed while it was being worked on.
    #[error("`{path}` changed while labpack worked on it: {what}")]
    Changed {
        /// The file.
        path: PathBuf,
        /// What is different, found and expected.
        what: String,
    },
    /// Somebody else has it open (Windows: sharing or lock violation).
    #[error("`{path}` is open in another program")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Something stands there already.
    #[error("`{path}` exists already")]
    Exists {
        /// Where it stands.
        path: PathBuf,
    },
    /// The disk, or the share of it that the user may fill, is full.
    #[error("no space left for `{path}`")]
    NoSpace {
        /// The file that found no room.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Larger than the caller allows.
    #[error("`{path}` is {len} bytes long, expected at most {max}")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        len: u64,
        /// The most that the caller takes.
        max: u64,
    },
    /// The user stopped the work.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// `ERROR_SHARING_VIOLATION` and `ERROR_LOCK_VIOLATION`.
const IN_USE: [i32; 2] = [32, 33];

impl FsError {
    /// The error for what the system answered when `action` was tried with `path`.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            _ if cfg!(windows) && source.raw_os_error().is_some_and(|n| IN_USE.contains(&n)) => {
                Self::InUse { path }
            }
            io::ErrorKind::AlreadyExists => Self::Exists { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { path, source }
            }
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    /// As [`FsError::io`], for `map_err`.
    pub(crate) fn when(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::io(action, path, source)
    }

    /// Takes back what [`FsError::into_io`] wrapped, or says that `action` failed with `path`.
    pub(crate) fn from_io(action: &'static str, path: &Path, error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(inner) => inner,
            Err(error) => Self::io(action, path, error),
        }
    }

    /// Wraps the error for a trait that speaks `io::Error`; [`FsError::from_io`] takes it out again.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::Io { source, .. } | Self::NoSpace { source, .. } => source.kind(),
            Self::Exists { .. } => io::ErrorKind::AlreadyExists,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_through_io_error() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let wrapped = FsError::io("write", Path::new("a"), full).into_io();
        assert_eq!(wrapped.kind(), io::ErrorKind::StorageFull);
        let back = FsError::from_io("read", Path::new("b"), wrapped);
        assert!(matches!(back, FsError::NoSpace { path, .. } if path == Path::new("a")));
    }
}
