//! A process that dies at any step leaves a store that holds what it held.

use std::io;

use super::*;
use crate::fs::seam::{install, record};

/// Does `work` with every step from the `last`-th on failing, as if the process had died there.
fn dying_before<T>(root: &Path, last: usize, work: impl FnOnce() -> T) -> T {
    let root = root.to_owned();
    let steps = std::sync::atomic::AtomicUsize::new(0);
    let guard = install(move |step| {
        let ours = step.path.starts_with(&root);
        if ours && steps.fetch_add(1, std::sync::atomic::Ordering::SeqCst) >= last {
            return Err(io::Error::other("the process is dead"));
        }
        Ok(())
    });
    let done = work();
    drop(guard);
    done
}

#[test]
fn a_crash_while_registering_leaves_the_old_index_or_the_new_one() {
    let steps = {
        let place = Place::new();
        let store = place.store();
        place.bring(&store, &plain("old"));
        let entry = Entry::new(&plain("new").named, None, None);
        record(place.folder.path(), || {
            store.register(entry, &place.run()).unwrap()
        })
        .1
    };
    assert!(steps.len() >= 3, "{steps:?}");
    for last in 0..steps.len() {
        let place = Place::new();
        let store = place.store();
        let (old, new) = (plain("old"), plain("new"));
        place.bring(&store, &old);
        let entry = Entry::new(&new.named, None, None);
        let registered = dying_before(place.folder.path(), last, || {
            store.register(entry.clone(), &place.run())
        });
        let after = place.store();
        assert!(after.find(&old.named.id).is_some(), "step {last}");
        let known = after.entries().iter().any(|known| known.id == new.named.id);
        assert!(known || registered.is_err(), "step {last}");
        // The next one goes on as if nothing had been.
        place.bring(&after, &new);
        assert_eq!(place.store().entries().len(), 2);
    }
}

#[test]
fn a_crash_while_collecting_never_takes_what_is_named_and_the_next_run_ends_it() {
    let setting = || {
        let place = Place::new();
        let store = place.store();
        let (base, mid) = chain(DiskFormat::Vhdx);
        let kept = plain("kept");
        for disk in [&base, &mid, &kept] {
            place.bring(&store, disk);
        }
        place.pack(&store, "pack", &[&kept]);
        (place, kept)
    };
    let (place, _) = setting();
    let collect = || gc(&place.dir(), AT_ONCE, &place.run());
    let steps = record(place.folder.path(), || collect().unwrap()).1;
    for last in 0..steps.len() {
        let (place, kept) = setting();
        let died = dying_before(place.folder.path(), last, || {
            gc(&place.dir(), AT_ONCE, &place.run())
        });
        // A file that could not be removed is a finding, anything else an error.
        drop(died);
        let store = place.store();
        assert!(store.find(&kept.named.id).is_some(), "step {last}");
        let report = gc(&place.dir(), AT_ONCE, &place.run()).unwrap();
        assert_eq!(report.kept, 1, "step {last}");
        assert_eq!(place.codes(), [], "step {last}");
        assert!(store.read(&kept.named.id, &place.run()).is_ok());
    }
}

#[test]
fn a_file_that_was_never_registered_is_harmless_and_taken_in_later() {
    let place = Place::new();
    let store = place.store();
    place.bring(&store, &plain("old"));
    let disk = plain("new");
    write(store.path_of(&disk.named.file), &disk.bytes).unwrap();
    assert_eq!(place.codes(), [Code::ForeignFile]);
    let entry = Entry::new(&disk.named, None, None);
    let presence = store.presence(&(&entry).into(), &place.run()).unwrap();
    let Presence::Checked(stamp) = presence else {
        panic!("{presence:?}")
    };
    let entry = Entry::new(&disk.named, None, Some(&stamp));
    store.register(entry, &place.run()).unwrap();
    assert_eq!(place.codes(), []);
}
