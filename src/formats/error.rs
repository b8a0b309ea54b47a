//! Why a disk cannot be used: corrupt, unsupported and unreachable are different answers.

use std::{fmt, io};

use crate::report::{Code, WindowsError};

/// Why a disk cannot be read, or not be changed.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// A structure is not what the format says.
    #[error("{place}: {found}, expected {expected}")]
    Corrupt {
        /// Which structure, and where in the file: `header at 0x10000`.
        place: String,
        /// What lies there: `checksum is 0x1b2c3d4e`.
        found: String,
        /// What should: `0x5f60718a`.
        expected: String,
        /// The code of the finding it makes.
        code: Code,
        /// What Hyper-V would say.
        windows: WindowsError,
    },
    /// The disk is sound as far as can be told, and beyond what labpack knows.
    #[error("{place}: {what} is not supported")]
    Unsupported {
        /// Which structure, and where in the file.
        place: String,
        /// What it asks for.
        what: String,
    },
    /// The VHDX log holds changes that are not applied yet.
    #[error("the log holds changes that are not applied yet")]
    PendingLog,
    /// The file could not be read.
    #[error("cannot read {place}")]
    Unreadable {
        /// Which structure, and where in the file.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// A new disk could not be written.
    #[error("cannot write {place}")]
    Unwritable {
        /// Which disk, and where in the file.
        place: String,
        /// What the system said.
        source: io::Error,
    },
}

impl FormatError {
    /// A structure that is not what the format says.
    pub(crate) fn corrupt(
        place: impl fmt::Display,
        found: impl fmt::Display,
        expected: impl fmt::Display,
        windows: WindowsError,
    ) -> Self {
        Self::Corrupt {
            place: place.to_string(),
            found: found.to_string(),
            expected: expected.to_string(),
            code: Code::Corrupt,
            windows,
        }
    }

    /// The same error under a code that says more than "corrupt".
    #[must_use]
    pub(crate) fn coded(self, with: Code) -> Self {
        match self {
            Self::Corrupt {
                place,
                found,
                expected,
                windows,
                ..
            } => Self::Corrupt {
                place,
                found,
                expected,
                code: with,
                windows,
            },
            other => other,
        }
    }

    /// Something labpack does not know.
    pub(crate) fn unsupported(place: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self::Unsupported {
            place: place.to_string(),
            what: what.to_string(),
        }
    }

    /// A read that failed. A file that ends too early is corrupt, not unreachable.
    pub(crate) fn unreadable(place: impl fmt::Display, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            return Self::corrupt(
                place,
                "the file ends inside it",
                "all of it",
                WindowsError::INVALID_FILE_SIZE,
            )
            .coded(Code::Truncated);
        }
        Self::Unreadable {
            place: place.to_string(),
            source,
        }
    }

    /// Neither signature is there.
    pub(crate) fn not_a_disk() -> Self {
        Self::corrupt(
            "signature",
            "neither `conectix` nor `vhdxfile`",
            "one of them",
            WindowsError::NOT_A_VIRTUAL_DISK,
        )
        .coded(Code::NotADisk)
    }

    /// The code of the finding that this error makes.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Corrupt { code, .. } => *code,
            Self::Unsupported { .. } => Code::Unsupported,
            Self::PendingLog => Code::DirtyLog,
            Self::Unreadable { .. } => Code::Unreadable,
            Self::Unwritable { .. } => Code::NoAccess,
        }
    }

    /// What Hyper-V would say, where that is known.
    #[must_use]
    pub const fn windows_error(&self) -> Option<WindowsError> {
        match self {
            Self::Corrupt { windows, .. } => Some(*windows),
            Self::Unsupported { .. } => Some(WindowsError::UNSUPPORTED_VERSION),
            Self::PendingLog | Self::Unreadable { .. } | Self::Unwritable { .. } => None,
        }
    }
}
