//! Other labs that live off a pack's own store: somebody may have named it with `--store`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::earlier::read_manifest;
use crate::{
    fs::{self, Entry, FsError},
    manifest::{Manifest, StorePlace},
    report::{Code, Finding},
    store::{RECEIPT_NAME, Store},
};

/// The only field of a receipt that matters here.
#[derive(Deserialize)]
struct Receipt {
    store: Option<PathBuf>,
}

/// Returns the labs other than `pack` that use RefDisks of `store`, as far as they are still there.
pub(super) fn users(store: &Store, pack: &Path) -> Result<Vec<PathBuf>, FsError> {
    let named: BTreeSet<PathBuf> = store
        .entries()
        .into_iter()
        .flat_map(|entry| entry.packs)
        .map(|user| PathBuf::from(user.path))
        .filter(|user| user != pack)
        .collect();
    let mut users = Vec::new();
    for user in named {
        if uses(&user, store.dir())? {
            users.push(user);
        }
    }
    Ok(users)
}

/// Tells whether the lab at `user` uses the store. A lab that cannot be read is taken to.
fn uses(user: &Path, store: &Path) -> Result<bool, FsError> {
    let packed = match read_manifest(user) {
        Ok(manifest) => manifest.is_some_and(|manifest| manifest.store == StorePlace::Shared),
        Err(_) => true,
    };
    Ok(packed || unpacked_from(user, store)?)
}

fn unpacked_from(user: &Path, store: &Path) -> Result<bool, FsError> {
    let receipt = user.join(RECEIPT_NAME);
    if fs::look(&receipt)? == Entry::Missing {
        return Ok(false);
    }
    let bytes = fs::read_bounded(&receipt, Manifest::MAX_BYTES)?;
    let receipt: Option<Receipt> = serde_json::from_slice(&bytes).ok();
    Ok(receipt.is_none_or(|receipt| receipt.store.is_some_and(|used| used == store)))
}

/// Says that the RefDisks cannot be taken away from a lab that uses them.
pub(super) fn in_use_by(user: &Path, pack: &Path) -> Finding {
    let message = format!("the lab at `{}` uses RefDisks of this pack", user.display());
    Finding::error(Code::NameInUse, pack.display(), message)
        .next("restore or delete that lab first, or unpack the pack elsewhere with --link copy")
}
