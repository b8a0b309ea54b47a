//! What goes, and what stays.

use super::*;

fn collect(place: &Place) -> GcReport {
    gc(&place.dir(), AT_ONCE, &place.run()).unwrap()
}

fn removed(report: &GcReport) -> Vec<ContentId> {
    report.removed.iter().map(|disk| disk.id).collect()
}

/// Sets back every entry's last use by a day and more.
fn age(place: &Place, from: &str) {
    let path = place.dir().join(INDEX_NAME);
    let text = String::from_utf8(read(&path).unwrap()).unwrap();
    let mut index: serde_json::Value = serde_json::from_str(&text).unwrap();
    for entry in index["entries"].as_array_mut().unwrap() {
        entry["last_used"] = from.into();
    }
    write(&path, serde_json::to_vec(&index).unwrap()).unwrap();
}

#[test]
fn what_a_known_pack_names_stays_with_its_ancestors_and_the_rest_goes_children_first() {
    let place = Place::new();
    let store = place.store();
    let (base, mid) = chain(DiskFormat::Vhdx);
    let (named, lone) = (plain("named"), plain("lone"));
    for disk in [&base, &mid, &named, &lone] {
        place.bring(&store, disk);
    }
    let pack = place.pack(&store, "pack", &[&base, &mid]);
    place.pack(&store, "other", &[&named]);
    let report = collect(&place);
    assert_eq!(removed(&report), [lone.named.id]);
    assert_eq!((report.kept, report.removed_bytes), (3, lone.named.length));
    assert!(!store.path_of(&lone.named.file).exists());
    // The pack is removed: nothing needs the chain any more.
    std::fs::remove_dir_all(pack).unwrap();
    let report = collect(&place);
    assert_eq!(removed(&report), [mid.named.id, base.named.id]);
    assert_eq!(report.kept, 1);
    assert_eq!(place.codes(), []);
}

#[test]
fn a_pack_that_no_longer_names_a_refdisk_does_not_keep_it() {
    let place = Place::new();
    let store = place.store();
    let (old, new) = (plain("old"), plain("new"));
    place.bring(&store, &old);
    place.bring(&store, &new);
    place.pack(&store, "pack", &[&old]);
    place.pack(&store, "pack", &[&new]);
    assert_eq!(removed(&collect(&place)), [old.named.id]);
}

#[test]
fn nothing_goes_before_the_grace_period_is_over() {
    let place = Place::new();
    let store = place.store();
    let disk = plain("lone");
    place.bring(&store, &disk);
    let collect = || gc(&place.dir(), GcOptions::default(), &place.run()).unwrap();
    assert_eq!(removed(&collect()), []);
    age(&place, "2020-01-01T00:00:00Z");
    // Asking for it starts the period anew, even if no pack stands there yet.
    let pack = place.at("being made");
    let ids = [disk.named.id];
    store.register_use(&ids, &pack, &place.run()).unwrap();
    assert_eq!(removed(&collect()), []);
    age(&place, "2020-01-01T00:00:00Z");
    assert_eq!(removed(&collect()), [disk.named.id]);
    assert_eq!(collect().kept, 0);
}

#[test]
fn a_clock_that_was_ahead_keeps_and_does_not_overflow() {
    let place = Place::new();
    let store = place.store();
    place.bring(&store, &plain("lone"));
    age(&place, "9999-12-31T23:59:59Z");
    assert_eq!(collect(&place).kept, 1);
    let longest = GcOptions {
        dry_run: true,
        grace: Duration::MAX,
    };
    age(&place, "0001-01-01T00:00:00Z");
    assert_eq!(gc(&place.dir(), longest, &place.run()).unwrap().kept, 1);
}

#[test]
fn a_dry_run_says_what_would_go_and_touches_nothing() {
    let place = Place::new();
    let store = place.store();
    let disk = plain("lone");
    place.bring(&store, &disk);
    let index = read(place.dir().join(INDEX_NAME)).unwrap();
    let options = GcOptions {
        dry_run: true,
        ..AT_ONCE
    };
    let report = gc(&place.dir(), options, &place.run()).unwrap();
    assert_eq!(removed(&report), [disk.named.id]);
    assert!(report.dry_run);
    assert!(store.path_of(&disk.named.file).exists());
    assert_eq!(read(place.dir().join(INDEX_NAME)).unwrap(), index);
}

#[test]
fn a_pack_that_cannot_be_read_keeps_everything() {
    let place = Place::new();
    let store = place.store();
    let (one, two) = (plain("one"), plain("two"));
    place.bring(&store, &one);
    place.bring(&store, &two);
    let pack = place.pack(&store, "pack", &[&one]);
    for (name, bytes) in [
        (Manifest::FILE_NAME, "{"),
        (
            Manifest::FILE_NAME,
            r#"{"format": "labpack-manifest", "version": 9}"#,
        ),
        (RECEIPT_NAME, "[]"),
        (RECEIPT_NAME, r#"{"format": "other", "ref_disks": []}"#),
    ] {
        let good = read(pack.join(Manifest::FILE_NAME)).unwrap();
        write(pack.join(name), bytes).unwrap();
        let report = collect(&place);
        assert_eq!(
            (report.removed.len(), report.kept),
            (0, 2),
            "{name} {bytes}"
        );
        let codes: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, [Code::Unreadable]);
        remove_file(pack.join(name)).unwrap();
        write(pack.join(Manifest::FILE_NAME), good).unwrap();
    }
    assert_eq!(removed(&collect(&place)), [two.named.id]);
}

#[test]
fn an_unpacked_lab_keeps_what_its_receipt_names() {
    let place = Place::new();
    let store = place.store();
    let (one, two) = (plain("one"), plain("two"));
    place.bring(&store, &one);
    place.bring(&store, &two);
    let lab = place.at("lab");
    std::fs::create_dir(&lab).unwrap();
    let receipt = serde_json::json!({
        "format": "labpack-receipt", "version": 3, "ref_disks": [one.named.id], "more": {},
    });
    write(lab.join(RECEIPT_NAME), receipt.to_string()).unwrap();
    let ids = [one.named.id, two.named.id];
    store.register_use(&ids, &lab, &place.run()).unwrap();
    assert_eq!(removed(&collect(&place)), [two.named.id]);
}

#[test]
fn a_lab_whose_drive_is_away_keeps_what_it_was_registered_for() {
    let place = Place::new();
    let store = place.store();
    let (one, two, lone) = (plain("one"), plain("two"), plain("lone"));
    for disk in [&one, &two, &lone] {
        place.bring(&store, disk);
    }
    // A mount point with nothing mounted, and a drive that is not there at all.
    let mount = place.at("mount");
    std::fs::create_dir(&mount).unwrap();
    let run = place.run();
    store
        .register_use(&[one.named.id], &mount.join("lab"), &run)
        .unwrap();
    let nowhere = place.at("share/that/is/away");
    store.register_use(&[two.named.id], &nowhere, &run).unwrap();
    let report = collect(&place);
    assert_eq!(removed(&report), [lone.named.id]);
    assert_eq!(report.findings.0.len(), 2);
    store.unregister_use(&nowhere, &run).unwrap();
    assert_eq!(removed(&collect(&place)), [two.named.id]);
}

#[test]
fn the_pack_that_a_store_belongs_to_counts_without_being_registered() {
    let place = Place::new();
    let store = place.store();
    let (one, two) = (plain("one"), plain("two"));
    place.bring(&store, &one);
    place.bring(&store, &two);
    let manifest = manifest_of(&[&one]);
    write(place.at(Manifest::FILE_NAME), manifest::write(&manifest)).unwrap();
    assert_eq!(removed(&collect(&place)), [two.named.id]);
}

#[test]
fn entries_without_files_and_files_of_dead_processes_go_too() {
    let place = Place::new();
    let store = place.store();
    let disk = plain("gone");
    place.bring(&store, &disk);
    fs::remove_file(&store.path_of(&disk.named.file)).unwrap();
    assert_eq!(removed(&collect(&place)), [disk.named.id]);
    assert!(store.path_of(INDEX_NAME).exists());
}

#[test]
fn an_interrupted_run_keeps_everything_until_it_is_ended() {
    let place = Place::new();
    let store = place.store();
    // In place, a disk is moved into the store before any manifest names it.
    let moved = plain("moved");
    place.bring(&store, &moved);
    for folder in [place.folder.path().to_owned(), place.at("lab")] {
        std::fs::create_dir_all(&folder).unwrap();
        write(folder.join(JOURNAL_NAME), "{}").unwrap();
        let ids = [moved.named.id];
        store.register_use(&ids, &folder, &place.run()).unwrap();
        let report = collect(&place);
        assert_eq!(report.kept, 1);
        assert_eq!(report.findings.0[0].code, Code::UnfinishedRun);
        remove_file(folder.join(JOURNAL_NAME)).unwrap();
    }
    assert_eq!(removed(&collect(&place)), [moved.named.id]);
}

#[cfg(unix)]
#[test]
fn a_user_whose_path_is_not_unicode_keeps_what_it_uses() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let store = place.store();
    let disk = plain("iso");
    place.bring(&store, &disk);
    let folder = place
        .folder
        .path()
        .join(std::ffi::OsStr::from_bytes(b"lab \xff"));
    store
        .register_use(&[disk.named.id], &folder, &place.run())
        .unwrap();
    assert_eq!(collect(&place).kept, 1);
}
