//! Several at once.

use std::thread;

use super::*;

#[test]
fn registering_from_many_threads_and_handles_loses_nothing() {
    let place = Place::new();
    let shared = place.store();
    let disks: Vec<Sample> = (0..24).map(|i| plain(&format!("disk {i}"))).collect();
    thread::scope(|scope| {
        for (at, part) in disks.chunks(4).enumerate() {
            let (place, shared) = (&place, &shared);
            scope.spawn(move || {
                // Half of them as workers of one process, half as processes of their own.
                let own = (at % 2 == 0).then(|| place.store());
                let store = own.as_ref().unwrap_or(shared);
                for disk in part {
                    place.bring(store, disk);
                    let pack = place.at(&format!("pack {at}"));
                    store
                        .register_use(&[disk.named.id], &pack, &place.run())
                        .unwrap();
                }
            });
        }
    });
    let entries = Store::open(&place.dir(), &place.run()).unwrap().entries();
    assert_eq!(entries.len(), disks.len());
    assert!(
        entries.iter().all(|entry| entry.packs.len() == 1),
        "{entries:?}"
    );
    assert_eq!(place.codes(), []);
}

#[test]
fn whoever_finds_the_name_taken_checks_the_file_and_uses_it() {
    let place = Place::new();
    let (mine, theirs) = (place.store(), place.store());
    let disk = plain("iso");
    // Another process has finished the file, and not yet registered it.
    let path = theirs.path_of(&disk.named.file);
    write(&path, &disk.bytes).unwrap();
    let how = Finish {
        modified: disk.named.modified,
        attributes: Attributes::default(),
        existing: Existing::Refuse,
    };
    let mut temp = TempFile::create(&path, &place.meter).unwrap();
    temp.data(0, &disk.bytes).unwrap();
    assert!(matches!(temp.finish(&how), Err(fs::FsError::Exists { .. })));
    let expected = Expected {
        id: disk.named.id,
        file: &disk.named.file,
        length: disk.named.length,
        parent_file: None,
    };
    let presence = mine.presence(&expected, &place.run()).unwrap();
    assert!(matches!(presence, Presence::Checked(_)), "{presence:?}");
}

#[test]
fn a_refdisk_that_came_in_under_two_names_keeps_the_first_while_it_stands() {
    let place = Place::new();
    let (mine, theirs) = (place.store(), place.store());
    let first = plain("iso");
    let mut second = first.clone();
    second.named.file = file_name("another", &first.named.id, false);
    let kept = place.bring(&mine, &first);
    assert_eq!(place.bring(&theirs, &second).file, kept.file);
    // Once the first is gone, the second is what there is.
    fs::remove_file(&mine.path_of(&first.named.file)).unwrap();
    let entry = Entry::new(&second.named, None, None);
    let now = mine.register(entry, &place.run()).unwrap();
    assert_eq!(now.file, second.named.file);
    assert_eq!(mine.find(&first.named.id), Some(now));
    assert_eq!(mine.entries().len(), 1);
}

#[test]
fn a_file_is_never_two_refdisks() {
    let place = Place::new();
    let store = place.store();
    let disk = plain("iso");
    place.bring(&store, &disk);
    let mut other = plain("other").named;
    other.file = disk.named.file.to_uppercase();
    let registered = store.register(Entry::new(&other, None, None), &place.run());
    assert!(matches!(registered, Err(StoreError::Index { .. })));
    assert_eq!(store.entries().len(), 1);
}

#[test]
fn an_ordinary_use_names_the_ancestors_too() {
    let place = Place::new();
    let store = place.store();
    let (base, mid) = chain(DiskFormat::Vhdx);
    place.bring(&store, &base);
    place.bring(&store, &mid);
    let pack = place.at("pack");
    let ids = [mid.named.id, plain("never stored").named.id];
    store.register_use(&ids, &pack, &place.run()).unwrap();
    let users = |id| store.find(id).unwrap().packs.len();
    assert_eq!((users(&base.named.id), users(&mid.named.id)), (1, 1));
    store.register_use(&ids, &pack, &place.run()).unwrap();
    assert_eq!((users(&base.named.id), users(&mid.named.id)), (1, 1));
    store.unregister_use(&pack, &place.run()).unwrap();
    assert_eq!((users(&base.named.id), users(&mid.named.id)), (0, 0));
}
