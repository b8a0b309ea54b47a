//! Finding, reading, checking, making the index anew.

use super::*;

#[test]
fn a_refdisk_that_came_in_is_found_by_id_and_by_twin_and_read_without_hashing() {
    let place = Place::new();
    let store = place.store();
    let (base, mid) = chain(DiskFormat::Vhdx);
    let entry = place.bring(&store, &base);
    place.bring(&store, &mid);
    assert_eq!(store.find(&base.named.id), Some(entry));
    let facts = mid.named.disk.as_ref().unwrap();
    let canonical = facts.canonical.unwrap();
    let twin = |own, parent| store.find_twin(&canonical, disk_id(own), parent);
    assert_eq!(twin(2, Some(base.named.id)).unwrap().id, mid.named.id);
    assert_eq!(twin(3, Some(base.named.id)), None);
    assert_eq!(twin(2, None), None);
    let source = store.read(&mid.named.id, &place.run()).unwrap();
    assert_eq!(source.opened().len, mid.named.length);
    assert!(source.opened().attributes.read_only);
    assert_eq!(source.opened().modified, mid.named.modified);
    assert_eq!(place.read_bytes(), 0);
    // Another process sees the same.
    let again = Store::open(&place.dir(), &place.run()).unwrap();
    assert_eq!(again.entries(), store.entries());
}

#[test]
fn a_refdisk_known_to_be_unchanged_is_not_read_and_any_other_is() {
    let place = Place::new();
    let store = place.store();
    let disk = plain("iso");
    let expected = Expected {
        id: disk.named.id,
        file: &disk.named.file,
        length: disk.named.length,
        parent_file: None,
    };
    let presence = || store.presence(&expected, &place.run()).unwrap();
    assert_eq!(presence(), Presence::Missing);
    place.bring(&store, &disk);
    assert!(matches!(presence(), Presence::Known(_)));
    assert_eq!(place.read_bytes(), 0);
    let path = store.path_of(&disk.named.file);
    fs::set_times_and_attributes(&path, FileTime(0), Attributes::default()).unwrap();
    let Presence::Checked(stamp) = presence() else {
        panic!("{:?}", presence())
    };
    assert_eq!(place.read_bytes(), disk.named.length);
    let entry = Entry::new(&disk.named, None, Some(&stamp));
    store.register(entry, &place.run()).unwrap();
    assert!(matches!(presence(), Presence::Known(_)));
    write(&path, &disk.bytes[1..]).unwrap();
    assert!(matches!(presence(), Presence::Damaged(why) if why.contains("bytes long, expected")));
}

#[test]
fn a_flipped_byte_is_found_by_a_check_and_never_trusted_again() {
    for format in [DiskFormat::Vhd, DiskFormat::Vhdx] {
        let place = Place::new();
        let store = place.store();
        let (base, mid) = chain(format);
        place.bring(&store, &base);
        place.bring(&store, &mid);
        assert_eq!(place.codes(), []);
        for disk in [&base, &mid] {
            let path = store.path_of(&disk.named.file);
            flip_a_byte(&path);
            assert_eq!(place.codes(), [Code::DamagedRefDisk], "{format}");
            let store = Store::open(&place.dir(), &place.run()).unwrap();
            let entry = store.find(&disk.named.id).unwrap();
            let presence = store.presence(&(&entry).into(), &place.run()).unwrap();
            assert!(matches!(presence, Presence::Damaged(_)), "{presence:?}");
            let read = store.read(&disk.named.id, &place.run());
            assert!(matches!(read, Err(StoreError::Damaged { .. })));
            flip_a_byte(&path);
        }
        assert_eq!(place.codes(), []);
    }
}

#[test]
fn a_mid_chain_refdisk_is_itself_whatever_paths_it_was_given() {
    for format in [DiskFormat::Vhd, DiskFormat::Vhdx] {
        let place = Place::new();
        let store = place.store();
        let (base, mid) = chain(format);
        place.bring(&store, &base);
        place.bring(&store, &mid);
        let path = store.path_of(&mid.named.file);
        let paths = ParentPaths {
            relative: Some(r".\another name for base.vhdx".to_owned()),
            absolute: Some(r"E:\Labs\RefDisk\another name for base.vhdx".to_owned()),
            volume: None,
        };
        let patch = formats::relink(&mid.bytes, &paths).unwrap();
        assert!(!patch.is_empty());
        fs::patch_in_place(&path, &patch, &place.meter).unwrap();
        assert_ne!(read(&path).unwrap(), mid.bytes);
        assert_eq!(place.codes(), [], "{format}");
    }
}

#[test]
fn a_check_names_what_is_missing_foreign_or_left_behind() {
    let place = Place::new();
    let store = place.store();
    let (gone, there) = (plain("gone"), plain("there"));
    place.bring(&store, &gone);
    place.bring(&store, &there);
    fs::remove_file(&store.path_of(&gone.named.file)).unwrap();
    write(place.dir().join("notes.txt"), "mine").unwrap();
    std::fs::create_dir(place.dir().join("old")).unwrap();
    write(place.dir().join("old/a.vhdx"), "mine").unwrap();
    let temp = TempFile::create(&store.path_of("x.vhdx"), &place.meter).unwrap();
    let report = check(&place.dir(), &place.run()).unwrap();
    let codes: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(
        codes,
        [
            Code::MissingRefDisk,
            Code::ForeignFile,
            Code::ForeignFile,
            Code::ForeignFile
        ]
    );
    assert_eq!((report.ref_disks, report.bytes), (2, there.named.length));
    let text = report.findings.to_string();
    assert!(
        text.contains("notes.txt") && text.contains("a temporary file"),
        "{text}"
    );
    assert_eq!(store.find(&gone.named.id), None);
    drop(temp);
}

fn without_times(mut entries: Vec<Entry>) -> Vec<Entry> {
    for entry in &mut entries {
        entry.stamp = None;
        entry.last_used.clear();
        entry.packs.iter_mut().for_each(|user| user.seen.clear());
    }
    entries
}

#[test]
fn an_index_made_anew_from_the_packs_equals_the_lost_one() {
    let place = Place::new();
    let store = place.store();
    let (base, mid) = chain(DiskFormat::Vhdx);
    let iso = plain("tools.iso");
    for disk in [&base, &mid, &iso] {
        place.bring(&store, disk);
    }
    let (one, two) = ([&base, &mid, &iso], [&base]);
    let first = place.pack(&store, "pack 1", &one);
    let second = place.pack(&store, "pack 2", &two);
    let before = store.entries();
    remove_file(place.dir().join(INDEX_NAME)).unwrap();
    let (one, two) = (manifest_of(&one), manifest_of(&two));
    let packs = [(first.as_path(), &one), (second.as_path(), &two)];
    Store::rebuild(&place.dir(), &packs, &place.run()).unwrap();
    assert_eq!(place.read_bytes(), 0);
    let after = Store::open(&place.dir(), &place.run()).unwrap().entries();
    assert_eq!(without_times(after), without_times(before));
    assert_eq!(place.codes(), []);
}

#[test]
fn an_index_is_made_anew_from_the_bytes_alone_where_no_manifest_is_known() {
    for format in [DiskFormat::Vhd, DiskFormat::Vhdx] {
        let place = Place::new();
        let store = place.store();
        let (base, mid) = chain(format);
        let iso = plain("tools.iso");
        for disk in [&base, &mid, &iso] {
            place.bring(&store, disk);
        }
        let before = store.entries();
        remove_file(place.dir().join(INDEX_NAME)).unwrap();
        write(place.dir().join("forged.0123456789ab.vhdx"), "no such disk").unwrap();
        let store = Store::open(&place.dir(), &place.run()).unwrap();
        let mut after = store.entries();
        assert!(after.iter().all(|entry| entry.users_unknown));
        after
            .iter_mut()
            .for_each(|entry| entry.users_unknown = false);
        assert_eq!(without_times(after), without_times(before), "{format}");
        // Nobody knows who uses them: nothing goes.
        let report = gc(&place.dir(), AT_ONCE, &place.run()).unwrap();
        assert_eq!((report.removed.len(), report.kept), (0, 3));
    }
}

#[test]
fn a_pack_that_lost_its_index_knows_its_own_refdisks_without_reading_them() {
    let place = Place::new();
    let store = place.store();
    let disk = plain("iso");
    place.bring(&store, &disk);
    let manifest = manifest_of(&[&disk]);
    write(place.at(Manifest::FILE_NAME), manifest::write(&manifest)).unwrap();
    remove_file(place.dir().join(INDEX_NAME)).unwrap();
    let store = Store::open(&place.dir(), &place.run()).unwrap();
    let entry = store.find(&disk.named.id).unwrap();
    assert!(!entry.users_unknown);
    assert_eq!(place.read_bytes(), 0);
    // Without a stamp it is read before it is handed out.
    store.read(&disk.named.id, &place.run()).unwrap();
    assert_eq!(place.read_bytes(), disk.named.length);
}

#[test]
fn a_folder_that_is_no_store_is_not_taken_for_one() {
    let place = Place::new();
    let open = |dir: &Path| Store::open(dir, &place.run()).map(drop);
    assert!(matches!(
        open(&place.at("nowhere")),
        Err(StoreError::NoStore { .. })
    ));
    write(place.at("a.vhdx"), "a disk of the user's").unwrap();
    assert!(matches!(
        open(place.folder.path()),
        Err(StoreError::NoStore { .. })
    ));
    assert!(matches!(
        open(&place.at("a.vhdx")),
        Err(StoreError::NoStore { .. })
    ));
}

#[test]
fn an_index_that_is_damaged_newer_or_names_other_files_is_refused_and_left_alone() {
    let place = Place::new();
    let store = place.store();
    place.bring(&store, &plain("iso"));
    let path = place.dir().join(INDEX_NAME);
    let good = String::from_utf8(read(&path).unwrap()).unwrap();
    let file = plain("iso").named.file;
    for bad in [
        good[..good.len() / 2].to_owned(),
        good.replacen("\"version\": 1", "\"version\": 2", 1),
        good.replace(&file, "../labpack.json"),
        good.replace(&file, "notes.txt"),
        good.replacen("\"last_used\": \"2", "\"last_used\": \"x", 1),
    ] {
        assert_ne!(bad, good);
        write(&path, &bad).unwrap();
        let opened = Store::open(&place.dir(), &place.run());
        assert!(matches!(opened, Err(StoreError::Index { .. })), "{bad}");
        let changed = store.unregister_use(&place.at("x"), &place.run());
        assert!(matches!(changed, Err(StoreError::Index { .. })), "{bad}");
        assert!(gc(&place.dir(), AT_ONCE, &place.run()).is_err());
        assert_eq!(read(&path).unwrap(), bad.as_bytes());
    }
}

#[test]
fn fields_of_a_later_labpack_survive_in_the_index() {
    let place = Place::new();
    let store = place.store();
    let disk = plain("iso");
    place.bring(&store, &disk);
    let path = place.dir().join(INDEX_NAME);
    let text = String::from_utf8(read(&path).unwrap()).unwrap();
    let text = text.replacen("\"version\": 1,", "\"version\": 1, \"news\": [1],", 1);
    let text = text.replacen("\"last_used\"", "\"colour\": \"red\", \"last_used\"", 1);
    write(&path, text).unwrap();
    place.pack(&store, "pack", &[&disk]);
    place.bring(&store, &plain("other"));
    let text = String::from_utf8(read(&path).unwrap()).unwrap();
    assert!(
        text.contains("\"news\"") && text.contains("\"colour\": \"red\""),
        "{text}"
    );
}

#[test]
fn a_list_tells_who_uses_what_and_what_is_there() {
    let place = Place::new();
    let store = place.store();
    let (one, two) = (plain("one"), plain("two"));
    place.bring(&store, &one);
    place.bring(&store, &two);
    let pack = place.pack(&store, "pack", &[&one, &two]);
    let lab = place.pack(&store, "lab", &[&one]);
    std::fs::remove_dir_all(&lab).unwrap();
    fs::remove_file(&store.path_of(&two.named.file)).unwrap();
    let list = list(&place.dir(), &place.run()).unwrap();
    let shown: Vec<_> = list
        .entries
        .iter()
        .map(|e| (e.id, e.present, e.used_by.len()))
        .collect();
    assert_eq!(shown, [(one.named.id, true, 2), (two.named.id, false, 1)]);
    assert_eq!(list.bytes, one.named.length);
    let states: Vec<_> = list
        .users
        .iter()
        .map(|user| (user.path.clone(), user.state))
        .collect();
    let text = |path: &Path| path.display().to_string();
    assert_eq!(
        states,
        [
            (text(&lab), UserState::Gone),
            (text(&pack), UserState::Present)
        ]
    );
    let json = serde_json::to_value(&list).unwrap();
    assert_eq!(json["users"][0]["state"], "gone");
}
