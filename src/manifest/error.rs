//! Why a document of labpack's own was not read.

/// Why a manifest, or a store's index, was not read. Which file it is, the caller adds.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is longer than any that labpack writes.
    #[error("{len} bytes long, expected at most {max}")]
    TooLong {
        /// Its length.
        len: u64,
        /// The most that is read.
        max: u64,
    },
    /// It is not JSON, or a value in it is not of the kind that belongs there.
    #[error("unreadable at {place}")]
    Unreadable {
        /// Where, as a path of keys and positions: `vms[0].files[2].path`.
        place: String,
        /// What the parser says, with line and column.
        source: serde_json::Error,
    },
    /// It is no document of this kind.
    #[error("`format` is {found}, expected \"{expected}\"")]
    OtherFormat {
        /// What `format` says.
        found: String,
        /// What it should say.
        expected: &'static str,
    },
    /// A newer labpack wrote it.
    #[error("`version` is {found}, and this labpack reads up to {newest}: update labpack")]
    Newer {
        /// Its version.
        found: u64,
        /// The newest version that this labpack knows.
        newest: u32,
    },
    /// Its version is none.
    #[error("`version` is {found}, expected a number from 1 to {newest}")]
    BadVersion {
        /// What `version` says.
        found: String,
        /// The newest version that this labpack knows.
        newest: u32,
    },
    /// It contradicts itself, or says what no labpack would.
    #[error("{place}: {found}, expected {expected}")]
    Invalid {
        /// Where: a path of keys, or the file it is about.
        place: String,
        /// What it says.
        found: String,
        /// What it should say.
        expected: String,
    },
}
