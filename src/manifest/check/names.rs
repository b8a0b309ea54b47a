//! Every name stands once, on every file system.

use std::cmp::Ordering;

use crate::{
    base::{RelPath, fold_letters},
    manifest::{DocumentError, Manifest, document::invalid},
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}

/// There may be very many: of a path no other text is made.
struct Name<'a> {
    path: &'a RelPath,
    kind: Kind,
}

impl Name<'_> {
    /// The path as a case-insensitive file system compares it. A zero character stands between
    /// the parts: no name has one, so that what is below a path sorts directly behind it.
    fn key(&self) -> impl Iterator<Item = char> {
        let letters = fold_letters(self.path.as_str());
        letters.map(|letter| if letter == '/' { '\0' } else { letter })
    }

    fn cmp(&self, other: &Self) -> Ordering {
        let keys = self.key().cmp(other.key());
        keys.then_with(|| self.path.cmp(other.path))
    }
}

/// Checks that no path stands twice, is equal to another but for case, in whole or in a folder,
/// or goes through a file.
///
/// Once sorted, paths that share a beginning stand together: each need only be held against the
/// one before.
pub(super) fn check(manifest: &Manifest) -> Result<(), DocumentError> {
    let name = |path, kind| Name { path, kind };
    let files = manifest.files().map(|file| name(&file.path, Kind::File));
    let folders = manifest.folders.iter();
    let folders = folders.map(|folder| name(&folder.path, Kind::Folder));
    let mut names: Vec<Name<'_>> = files.chain(folders).collect();
    names.sort_by(Name::cmp);
    for (before, name) in names.iter().zip(names.iter().skip(1)) {
        check_pair(before, name)?;
    }
    Ok(())
}

fn check_pair(before: &Name<'_>, name: &Name<'_>) -> Result<(), DocumentError> {
    let refused = |found: String, expected| {
        let place = format!("path `{}`", name.path);
        Err(invalid(place, found, expected))
    };
    let shared = before.path.parts().zip(name.path.parts());
    let shared = shared.take_while(|(a, b)| fold_letters(a).eq(fold_letters(b)));
    let shared = shared.count();
    let mut parts = before.path.parts().zip(name.path.parts()).take(shared);
    if parts.any(|(a, b)| a != b) {
        let found = format!(
            "differs from `{}` only by upper and lower case",
            before.path
        );
        return refused(found, "one spelling for one name");
    }
    if shared < before.path.parts().count() {
        return Ok(());
    }
    if before.key().eq(name.key()) {
        return refused("stands twice".to_owned(), "each path once");
    }
    if before.kind == Kind::File {
        let found = format!("goes through `{}`, which is a file", before.path);
        return refused(found, "a folder there");
    }
    Ok(())
}
