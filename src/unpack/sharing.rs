//! RefDisks that a lab shares with its pack: under `--link hardlink` the lab's store gets a further
//! name of the pack's own file instead of a copy. Either folder may go without harm to the other;
//! only who writes into a RefDisk, which is read-only, changes both.
//!
//! Not on Windows, nor where Windows will use the lab: while a VM has one name of a file open there,
//! none of its names can be removed or renamed, and neither pack nor another lab is to wait for a VM.

use std::path::{Path, PathBuf};

use super::{UnpackError, links::new_names, places::nearest_folder, preflight::Ground};
use crate::{
    base::FileTime,
    fs::{self, Entry, FsError, Stamp},
    manifest::StorePlace,
    plan::{RefDiskAction, RefDiskStep, UnpackPlan},
    report::{Code, Finding},
    store::JOURNAL_NAME,
};

/// File systems on which other hosts work too. This one may see a name or a number of names that is
/// no longer true.
const OF_OTHER_HOSTS: [&str; 3] = ["nfs", "cifs", "9p"];

impl Ground<'_> {
    /// Shares those RefDisks that would be copied within a volume, where that works; notes why it
    /// does not. One with a parent is copied: it will name that parent by another path. Whoever
    /// calls this has asked [`Ground::may_share`].
    pub(super) fn share(&self, plan: &mut UnpackPlan) -> Result<(), UnpackError> {
        let store = self.places.store();
        let volume = fs::volume(&store)?;
        let near = fs::volume(&self.places.pack)?.key == volume.key;
        if !near || OF_OTHER_HOSTS.contains(&volume.file_system.as_str()) {
            return Ok(());
        }
        let folder = nearest_folder(&store)?;
        let names = new_names(plan);
        let copied =
            |step: &&mut RefDiskStep| step.action == RefDiskAction::Write && step.parent.is_none();
        for step in plan.ref_disks.iter_mut().filter(copied) {
            self.run.go_on()?;
            let Some(disk) = self.manifest.ref_disk(&step.id) else {
                continue;
            };
            let wish = Wish {
                source: self.places.own_store().join(&disk.file),
                modified: disk.modified,
                // The name in the store is new as well.
                names: names.get(&step.id).map_or(1, |new| new.saturating_add(1)),
                most: volume.max_links,
                folder,
            };
            match wish.obstacle()? {
                None => step.action = RefDiskAction::Share,
                Some(why) => plan.findings.push(not_shared(&step.file, &why)),
            }
        }
        Ok(())
    }

    /// Tells whether pack and lab have stores of their own, and both are used from here. Of several
    /// labs that live off one store not all have asked for this.
    pub(super) fn may_share(&self) -> bool {
        let from_here = !cfg!(windows) && self.roots.windows_dest.is_none();
        from_here && self.has_own_stores()
    }

    fn has_own_stores(&self) -> bool {
        self.manifest.store == StorePlace::Own && self.places.has_store_inside()
    }

    /// Finds RefDisks that are shared already, where they are to be copied.
    pub(super) fn find_shared(&self, plan: &mut UnpackPlan) -> Result<(), UnpackError> {
        if !self.has_own_stores() {
            return Ok(());
        }
        let standing = |step: &&RefDiskStep| step.action == RefDiskAction::Have;
        let (ours, theirs) = (self.places.store(), self.places.own_store());
        for step in plan.ref_disks.iter().filter(standing) {
            let Some(disk) = self.manifest.ref_disk(&step.id) else {
                continue;
            };
            let stored = fs::look(&ours.join(&step.file))?;
            let original = fs::look(&theirs.join(&disk.file))?;
            if let (Entry::File(stored), Entry::File(original)) = (stored, original)
                && stored.key == original.key
            {
                plan.findings.push(shared_already(&step.file));
            }
        }
        Ok(())
    }
}

/// A RefDisk of the pack that is to get further names.
struct Wish<'a> {
    source: PathBuf,
    /// The time that it is to have.
    modified: FileTime,
    /// So many new names.
    names: u64,
    /// So many names may a file have.
    most: Option<u64>,
    /// Where a name is tried.
    folder: &'a Path,
}

impl Wish<'_> {
    /// Tells what stands in its way.
    fn obstacle(&self) -> Result<Option<String>, UnpackError> {
        let Entry::File(stamp) = fs::look(&self.source)? else {
            return Ok(Some("that is no file".to_owned()));
        };
        if !stamp.attributes.read_only {
            return Ok(Some("that is not read-only".to_owned()));
        }
        if !stamp.modified.same(self.modified) {
            return Ok(Some("that has another modification time".to_owned()));
        }
        let names = stamp.links.saturating_add(self.names);
        if let Some(most) = self.most.filter(|&most| names > most) {
            return Ok(Some(format!(
                "that would need {names} names, and the file system allows {most}"
            )));
        }
        Ok(fs::try_hard_link(&self.source, self.folder)?.err())
    }
}

fn shared_already(file: &str) -> Finding {
    let message = "stands in the lab's store already, as a further name of the pack's own file";
    Finding::error(Code::NameInUse, file, message)
        .next("remove it from the lab's store, and run the same command again: it is copied then")
}

fn not_shared(file: &str, why: &str) -> Finding {
    let message = format!("is copied, not shared with the pack's own file: {why}");
    Finding::note(Code::LinkUnavailable, file, message)
}

/// Gives the pack's RefDisk, which was `proved` to hold the right bytes, a further name, `path`.
///
/// The pack may be restored meanwhile, and hand its RefDisk over to a VM. A restore writes its
/// journal before it counts the file's names, and here the name is made before anything is looked
/// for: a restore that counted before is seen, by its journal or, once it is through, by what it
/// took away; one that counts later sees the name.
pub(super) fn link(
    original: &Path,
    proved: &Stamp,
    pack: &Path,
    path: &Path,
) -> Result<Stamp, UnpackError> {
    // Whoever copied the pack here may not have waited for the disk.
    fs::sync_file(original)?;
    fs::hard_link_if(original, path, |stamp| {
        if let Some(what) = stamp.difference(proved) {
            let path = original.to_owned();
            return Err(FsError::Changed { path, what }.into());
        }
        let at_work = fs::look(&pack.join(JOURNAL_NAME))? != Entry::Missing;
        let stands = matches!(fs::look(original)?, Entry::File(now) if now.key == stamp.key);
        if at_work || !stands {
            let path = pack.to_owned();
            return Err(UnpackError::PackAtWork { path });
        }
        Ok(())
    })
}
