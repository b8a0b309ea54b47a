//! What the user asks of an unpack.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::plan::Link;

/// What the user asks of an unpack.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The pack.
    pub pack: PathBuf,
    /// Where the lab goes.
    pub dest: PathBuf,
    /// Where the RefDisks go, or are already; by default the folder `RefDisk` at the destination.
    pub store: Option<PathBuf>,
    /// How VMs come to their shared parents. [`LinkMode::Hardlink`] gives the store further names of
    /// the pack's own RefDisks, where both are on one volume that cannot clone blocks.
    pub link: LinkMode,
    /// Whether RefDisks are copied all the same.
    pub copy_ref_disks: bool,
    /// Whether files that have been used since are put back to how they were packed.
    pub reset: bool,
    /// Whether to say only what would be done.
    pub dry_run: bool,
    /// Whether every VM of the Windows host is given the right to read the RefDisks. Elsewhere
    /// this is refused.
    pub grant_vm_access: bool,
    /// The path by which Windows will know the destination, where labpack runs elsewhere.
    pub windows_dest: Option<String>,
}

impl Request {
    /// Unpacks `pack` to `dest`, everything else as it is by default.
    #[must_use]
    pub fn new(pack: impl Into<PathBuf>, dest: impl Into<PathBuf>) -> Self {
        Self {
            pack: pack.into(),
            dest: dest.into(),
            ..Self::default()
        }
    }
}

/// How VMs come to their shared parents: a way that is named is taken, or nothing is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum LinkMode {
    /// The first that works of reflink, hardlink, symlink, relocate.
    #[default]
    Auto,
    /// [`Link::Reflink`].
    Reflink,
    /// [`Link::Hardlink`].
    Hardlink,
    /// [`Link::Symlink`].
    Symlink,
    /// [`Link::Junction`].
    Junction,
    /// [`Link::Relocate`].
    Relocate,
    /// [`Link::Copy`].
    Copy,
}

impl LinkMode {
    /// Returns the way that is named, if one is.
    #[must_use]
    pub const fn named(self) -> Option<Link> {
        match self {
            Self::Auto => None,
            Self::Reflink => Some(Link::Reflink),
            Self::Hardlink => Some(Link::Hardlink),
            Self::Symlink => Some(Link::Symlink),
            Self::Junction => Some(Link::Junction),
            Self::Relocate => Some(Link::Relocate),
            Self::Copy => Some(Link::Copy),
        }
    }
}

impl From<Link> for LinkMode {
    fn from(link: Link) -> Self {
        match link {
            Link::Reflink => Self::Reflink,
            Link::Hardlink => Self::Hardlink,
            Link::Symlink => Self::Symlink,
            Link::Junction => Self::Junction,
            Link::Relocate => Self::Relocate,
            Link::Copy => Self::Copy,
        }
    }
}

impl fmt::Display for LinkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.named().map_or("auto", Link::as_str))
    }
}

/// A text that names no way of linking.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "link mode is `{0}`, expected auto, reflink, hardlink, symlink, junction, relocate or copy"
)]
pub struct ParseLinkModeError(String);

impl FromStr for LinkMode {
    type Err = ParseLinkModeError;

    fn from_str(text: &str) -> Result<Self, ParseLinkModeError> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let link = Link::ALL.into_iter().find(|link| link.as_str() == text);
        link.map(Self::from)
            .ok_or_else(|| ParseLinkModeError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_read_as_it_is_written() {
        let named = Link::ALL.into_iter().map(LinkMode::from);
        for mode in named.chain([LinkMode::Auto]) {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert!("Copy ".parse::<LinkMode>().is_err());
    }
}
