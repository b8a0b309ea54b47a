//! What a store holds, for people.

use std::{collections::BTreeSet, path::Path};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Entry, Store, StoreError,
    packs::{Names, names},
};
use crate::{
    base::{ContentId, Run},
    manifest::RefDiskFacts,
};

/// What a store holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StoreList {
    /// The store's folder.
    pub store: String,
    /// Its RefDisks, by file name.
    pub entries: Vec<ListedRefDisk>,
    /// The packs and unpacked labs that use them, by path.
    pub users: Vec<ListedUser>,
    /// Bytes of all RefDisks that are there.
    pub bytes: u64,
}

/// A RefDisk of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ListedRefDisk {
    /// Its id.
    pub id: ContentId,
    /// Its name in the store.
    pub file: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its file stands there, with this length.
    pub present: bool,
    /// What it is, if a disk that others depend on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<RefDiskFacts>,
    /// The folders of the packs and labs that use it.
    pub used_by: Vec<String>,
    /// When it was last taken in or asked for, in UTC.
    pub last_used: String,
}

/// A pack or an unpacked lab that uses a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ListedUser {
    /// Its folder.
    pub path: String,
    /// Whether it is there.
    pub state: UserState,
}

/// Whether a pack or an unpacked lab is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UserState {
    /// It is, and says what it uses.
    Present,
    /// It is not there any more.
    Gone,
    /// Its drive or share seems not to be there just now.
    OutOfReach,
    /// A run is at work there, or was interrupted.
    Unfinished,
    /// It is there and cannot be read.
    Unreadable,
}

/// Lists the RefDisks of the store in `dir`, without reading them.
///
/// # Errors
/// As [`Store::open`].
pub fn list(dir: &Path, run: &Run<'_>) -> Result<StoreList, StoreError> {
    let store = Store::open(dir, run)?;
    let entries: Vec<ListedRefDisk> = store
        .entries()
        .into_iter()
        .map(|entry| listed(&store, entry))
        .collect();
    let paths: BTreeSet<&String> = entries.iter().flat_map(|entry| &entry.used_by).collect();
    let users = paths.into_iter().map(|path| ListedUser {
        path: path.clone(),
        state: match names(Path::new(path)) {
            Names::These(_) => UserState::Present,
            Names::Gone => UserState::Gone,
            Names::OutOfReach => UserState::OutOfReach,
            Names::Unfinished => UserState::Unfinished,
            Names::Unreadable(_) => UserState::Unreadable,
        },
    });
    let users = users.collect();
    let present = entries.iter().filter(|entry| entry.present);
    Ok(StoreList {
        store: store.dir().display().to_string(),
        bytes: present.fold(0, |sum, entry| entry.length.saturating_add(sum)),
        users,
        entries,
    })
}

fn listed(store: &Store, entry: Entry) -> ListedRefDisk {
    ListedRefDisk {
        id: entry.id,
        present: store.stands(&entry),
        file: entry.file,
        length: entry.length,
        disk: entry.disk,
        used_by: entry.packs.into_iter().map(|user| user.path).collect(),
        last_used: entry.last_used,
    }
}
