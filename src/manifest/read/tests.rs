use proptest::prelude::*;
use serde_json::{Value, json};

use super::read;
use crate::manifest::{
    DocumentError, Folder, Manifest, Place, Role, Run, Sharing, Unknown, Vm,
    sample::{self, GOLDEN, sample},
    write,
};

/// Reads the sample after a change to its JSON.
fn read_changed(change: impl FnOnce(&mut Value)) -> Result<Manifest, DocumentError> {
    let mut json = serde_json::to_value(sample()).unwrap();
    change(&mut json);
    read(serde_json::to_vec(&json).unwrap())
}

#[track_caller]
fn refused(pointer: &str, value: Value, says: &str) {
    let read = read_changed(|json| *json.pointer_mut(pointer).unwrap() = value);
    let error = read.expect_err("it was read");
    let text = match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    assert!(text.contains(says), "{text}");
}

/// Reads the sample after a change that leaves sums and users right.
#[track_caller]
fn refused_though_complete(change: impl FnOnce(&mut Manifest), says: &str) {
    let mut manifest = sample();
    change(&mut manifest);
    let error = read(write(&sample::completed(manifest))).expect_err("it was read");
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn the_golden_manifest_is_read_and_written_again_to_the_byte() {
    let golden = read(GOLDEN).unwrap();
    assert_eq!(
        String::from_utf8(write(&golden)).unwrap(),
        String::from_utf8(GOLDEN.to_vec()).unwrap()
    );
}

#[test]
fn the_sample_is_read_as_it_was_written_with_or_without_a_byte_order_mark() {
    let bytes = write(&sample());
    assert_eq!(read(&bytes).unwrap(), sample());
    let marked = [b"\xEF\xBB\xBF".as_slice(), &bytes].concat();
    assert_eq!(read(&marked).unwrap(), sample());
}

#[test]
fn another_format_is_named() {
    refused(
        "/format",
        json!("zip"),
        "`format` is \"zip\", expected \"labpack-manifest\"",
    );
    refused("/format", json!([1, {}]), "`format` is a list");
    let error = read(b"{}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`format` is missing, expected \"labpack-manifest\""
    );
}

#[test]
fn a_newer_version_is_refused_before_anything_in_it_is_looked_at() {
    let newer = br#"{"format": "labpack-manifest", "version": 7, "vms": 3, "vms": {}}"#;
    let error = read(newer).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`version` is 7, and this labpack reads up to 1: update labpack"
    );
    for (bad, says) in [
        (json!(0), "is 0"),
        (json!("1"), "is \"1\""),
        (json!(-1), "negative"),
    ] {
        refused("/version", bad, says);
    }
}

#[test]
fn a_type_error_tells_the_path_of_keys() {
    refused(
        "/vms/1/files/2/length",
        json!("long"),
        "unreadable at vms[1].files[2].length",
    );
    refused("/vms/1/files/2/path", json!("../x"), "vms[1].files[2].path");
    refused(
        "/vms/0/files/0/digest",
        json!("12"),
        "vms[0].files[0].digest",
    );
}

#[test]
fn a_long_manifest_is_read_alike_whether_its_bytes_are_kept_or_given_away() {
    let mut json = serde_json::to_value(sample()).unwrap();
    json["a"] = json!([1e300, 0.1, "\u{e9}".repeat(3 << 20)]);
    let mut bytes = "\u{feff}".to_owned().into_bytes();
    serde_json::to_writer_pretty(&mut bytes, &json).unwrap();
    let kept = read(&bytes).unwrap();
    assert_eq!(kept.unknown.names().collect::<Vec<_>>(), ["a"]);
    assert_eq!(read(bytes).unwrap(), kept);

    // Behind the long text, so that what stood before is free already.
    *json.pointer_mut("/vms/1/files/2/length").unwrap() = json!("long");
    let bytes = serde_json::to_vec_pretty(&json).unwrap();
    let place = |read: Result<Manifest, _>| match read {
        Err(DocumentError::Unreadable { place, .. }) => place,
        other => panic!("{other:?}"),
    };
    assert_eq!(place(read(&bytes)), "vms[1].files[2].length");
    let length = String::from_utf8(bytes.clone()).unwrap();
    let line = length
        .lines()
        .position(|line| line.contains("\"long\""))
        .unwrap();
    let told = place(read(bytes));
    assert!(
        told.starts_with(&format!("line {}, column ", line + 1)),
        "{told}"
    );
}

#[test]
fn what_is_no_json_or_nested_without_end_is_refused() {
    for bad in ["", "[]", "{", "\u{0}", "{} {}"] {
        assert!(read(bad.as_bytes()).is_err(), "{bad:?}");
    }
    let head = r#"{"format": "labpack-manifest", "version": 1, "x": "#;
    let deep = format!("{head}{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(
        read(deep.as_bytes()),
        Err(DocumentError::Unreadable { .. })
    ));
    let deep = "[".repeat(100_000);
    assert!(matches!(
        read(deep.as_bytes()),
        Err(DocumentError::Unreadable { .. })
    ));
}

#[test]
fn a_manifest_that_is_too_long_is_refused_by_its_length() {
    let long = vec![b' '; usize::try_from(Manifest::MAX_BYTES).unwrap() + 1];
    assert!(matches!(read(&long), Err(DocumentError::TooLong { .. })));
}

#[test]
fn a_number_in_an_unknown_field_does_not_drift_when_it_is_written_again() {
    let text = String::from_utf8(write(&sample())).unwrap();
    let number = "1600099999999999999999999999999999999999999999999900000123456700";
    let text = text.replacen('{', &format!("{{\"x\": {number},"), 1);
    let read_once = read(text.as_bytes()).unwrap();
    assert_eq!(read(write(&read_once)).unwrap(), read_once);
}

#[test]
fn more_values_than_any_lab_has_are_refused_before_they_are_kept() {
    let text = String::from_utf8(write(&sample())).unwrap();
    let with = |values| text.replacen('{', &format!("{{\"x\": [{}0],", "0,".repeat(values)), 1);
    assert!(read(with(3_000_000).as_bytes()).is_ok());
    let Err(error) = read(with(3 << 20).as_bytes()) else {
        panic!("more values than may be were taken");
    };
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.starts_with("more than 3145728 values"), "{source}");
}

#[test]
fn a_key_that_stands_twice_is_refused_even_among_unknown_ones() {
    let text = String::from_utf8(write(&sample())).unwrap();
    let text = text.replacen("{", r#"{"x": {"y": 1, "y": 2},"#, 1);
    let error = read(text.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("unreadable at x.y"), "{error}");
}

#[test]
fn paths_that_stand_twice_differ_by_case_or_go_through_a_file_are_refused() {
    for (other, says) in [
        ("read me.txt", "stands twice"),
        ("READ me.TXT", "only by upper and lower case"),
        ("dc 01/x", "only by upper and lower case"),
        ("DC 01/virtual hard disks/x", "only by upper and lower case"),
        (
            "read me.txt/x",
            "goes through `read me.txt`, which is a file",
        ),
        ("DC 01/Virtual Hard Disks", "stands twice"),
        ("DC 01", "stands twice"),
        ("DC 01/Virtual Hard Disks/base.vhdx/a/b", "which is a file"),
    ] {
        refused_though_complete(
            |manifest| {
                let digest = sample::id("other");
                let file = sample::file(other, 1, digest, Role::File, Place::Pack);
                manifest.other_files.push(file);
            },
            says,
        );
    }
}

#[test]
fn a_name_between_a_file_and_what_is_below_it_hides_nothing() {
    refused_though_complete(
        |manifest| {
            for at in ["a", "a b", "a-b", "a/x"] {
                let digest = sample::id(at);
                let file = sample::file(at, 1, digest, Role::File, Place::Pack);
                manifest.other_files.push(file);
            }
        },
        "goes through `a`",
    );
}

#[test]
fn references_that_lead_nowhere_are_refused() {
    let nobody = json!("00".repeat(32));
    refused(
        "/vms/0/files/0/place/ref_disk",
        nobody.clone(),
        "a RefDisk of the manifest",
    );
    refused(
        "/ref_disks/1/disk/parent",
        nobody,
        "a RefDisk listed before it",
    );
    refused(
        "/vms/0/files/2/disk/parent/path",
        json!("DC 01/x"),
        "which is not listed",
    );
    let read = read_changed(|json| json["ref_disks"].as_array_mut().unwrap().swap(0, 1));
    assert!(read.unwrap_err().to_string().contains("listed before it"));
}

#[test]
fn ref_disks_have_plain_names_that_bear_their_ids_and_stand_once() {
    let short = sample::id("base").short();
    for (name, says) in [
        ("index.json".to_owned(), "expected a name such as `disk."),
        (
            format!("../base.{short}.vhdx"),
            "expected a plain file name",
        ),
        (format!("x/base.{short}.vhdx"), "lies in a folder"),
        (format!("base.{short}.a.vhdx"), "expected a name such as"),
        (short.clone(), "expected a name such as"),
        (String::new(), "is empty"),
    ] {
        refused("/ref_disks/0/file", json!(name), says);
    }
    let read = read_changed(|json| json["ref_disks"][0]["file"] = json!(format!("base.{short}")));
    assert!(read.is_ok());
    refused_though_complete(
        |manifest| manifest.ref_disks.push(manifest.ref_disks[0].clone()),
        "stands twice",
    );
}

#[test]
fn a_stored_file_agrees_with_its_ref_disk() {
    refused_though_complete(|m| m.vms[0].files[0].length += 1, "as its RefDisk");
    refused_though_complete(
        |m| m.vms[0].files[0].digest = sample::id("x"),
        "and no residue",
    );
    refused_though_complete(
        |m| m.vms[0].files[0].role = Role::CheckpointParent,
        "expected shared by copy",
    );
    refused(
        "/ref_disks/1/disk/kind",
        json!("dynamic"),
        "a dynamic disk with a parent",
    );
}

#[test]
fn residue_is_sorted_apart_and_inside_the_file() {
    let run = |offset, len| Run {
        offset,
        bytes: vec![1; len],
    };
    for runs in [
        vec![run(0, 0)],
        vec![run(10, 2), run(0, 2)],
        vec![run(0, 2), run(1, 2)],
        vec![run((4 << 20) - 1, 2)],
        vec![run(u64::MAX, 2)],
    ] {
        refused_though_complete(
            |manifest| {
                let place = sample::stored(sample::id("mid"), Sharing::Link, runs);
                manifest.vms[1].files[1].place = place;
            },
            "in its residue",
        );
    }
}

#[test]
fn vm_folders_differ_and_hold_their_files() {
    refused_though_complete(|m| m.vms[1].folder = m.vms[0].folder.clone(), "own");
    refused_though_complete(|m| m.vms[1].folder = None, "the only VM folder");
    refused_though_complete(|m| m.vms[1].folder = Some(sample::path("Ün")), "below it");
    let mut alone = sample();
    alone.vms.truncate(1);
    alone.vms[0].folder = None;
    assert!(read(write(&sample::completed(alone))).is_ok());
}

#[test]
fn users_and_totals_agree_with_the_rest() {
    refused(
        "/ref_disks/0/used_by",
        json!([]),
        "does not name `DC 01/Virtual Hard Disks/base",
    );
    refused(
        "/ref_disks/0/used_by/0",
        json!("read me.txt"),
        "`used_by` names `read me.txt`",
    );
    let read = read_changed(|json| {
        let users = json["ref_disks"][0]["used_by"].as_array_mut().unwrap();
        users.push(users[0].clone());
    });
    assert!(read.unwrap_err().to_string().contains("names a file twice"));
    for total in [
        "vms",
        "files",
        "export_bytes",
        "packed_bytes",
        "ref_disks",
        "ref_disk_bytes",
    ] {
        refused(
            &format!("/totals/{total}"),
            json!(77),
            &format!("totals.{total}: 77, expected"),
        );
    }
    refused(
        "/vms/0/files/2/length",
        json!(u64::MAX),
        "more bytes than 64 bits hold",
    );
    refused("/created", json!("yesterday"), "created: \"yesterday\"");
}

#[test]
fn unknown_fields_are_reported_and_survive_a_rewrite() {
    let places = [
        "",
        "/totals",
        "/vms/0",
        "/vms/0/files/0",
        "/vms/0/files/2/disk",
        "/vms/0/files/2/disk/parent",
        "/other_files/0",
        "/folders/1",
        "/ref_disks/1",
        "/ref_disks/1/disk",
    ];
    let manifest = read_changed(|json| {
        for place in places {
            json.pointer_mut(place).unwrap()["news"] = json!({"a": [1, null, "x"]});
        }
    });
    let manifest = manifest.unwrap();
    assert_eq!(
        manifest.unknown_fields(),
        [
            "news",
            "totals.news",
            "vms[0].news",
            "vms[0].files[0].news",
            "vms[0].files[2].disk.news",
            "vms[0].files[2].disk.parent.news",
            "other_files[0].news",
            "folders[1].news",
            "ref_disks[1].news",
            "ref_disks[1].disk.news",
        ]
    );
    let again: Value = serde_json::from_slice(&write(&manifest)).unwrap();
    for place in places {
        assert_eq!(
            again.pointer(place).unwrap()["news"]["a"],
            json!([1, null, "x"])
        );
    }
    assert_eq!(manifest.count().unwrap(), manifest.totals);
}

#[test]
fn an_unknown_field_that_could_not_be_kept_is_refused() {
    for place in [
        "/vms/0/files/0/place",
        "/vms/0/files/2/place",
        "/vms/1/files/1/place/residue/0",
        "/vms/0/files/3/attributes",
    ] {
        let read = read_changed(|json| json.pointer_mut(place).unwrap()["news"] = json!(1));
        assert!(read.is_err(), "{place}");
    }
}

/// Manifests of every shape that is allowed: any names, places and residues.
fn any_manifest() -> impl Strategy<Value = Manifest> {
    let name = "[^/\\\\:*?\"<>|\\x00-\\x1f\\x7f-\\x9f]{1,12}".prop_map(|text| format!("x{text}x"));
    let file = (
        name.clone(),
        any::<u32>(),
        any::<i64>(),
        0..3_u8,
        prop::collection::vec(any::<u8>(), 1..40),
    );
    let vm = (name, prop::collection::vec(file, 0..6));
    prop::collection::vec(vm, 0..4).prop_map(|vms| {
        let mut manifest = sample();
        manifest.other_files.clear();
        manifest.folders.clear();
        manifest.vms.clear();
        for (at, (name, files)) in vms.into_iter().enumerate() {
            let folder = sample::path(&format!("{at}{name}"));
            manifest.folders.push(Folder {
                path: folder.clone(),
                modified: crate::base::FileTime(at as i64),
                unknown: Unknown::new(),
            });
            let files = files.into_iter().enumerate().map(
                |(at, (name, length, modified, place, bytes))| {
                    let mid = sample::id("mid");
                    let (length, place, digest) = match place {
                        0 => (u64::from(length), Place::Pack, sample::id(&name)),
                        1 => (4 << 20, sample::stored(mid, Sharing::Copy, vec![]), mid),
                        _ => {
                            let run = Run {
                                offset: u64::from(length) % (4_000_000),
                                bytes,
                            };
                            (
                                4 << 20,
                                sample::stored(mid, Sharing::Link, vec![run]),
                                sample::id(&name),
                            )
                        }
                    };
                    let path = format!("{folder}/{at}{name}");
                    let mut file = sample::file(&path, length, digest, Role::Parent, place);
                    file.modified = crate::base::FileTime(modified);
                    file.attributes.hidden = modified < 0;
                    file
                },
            );
            let files = files.collect();
            manifest.vms.push(Vm {
                name,
                folder: Some(folder.clone()),
                files,
                unknown: Unknown::new(),
            });
        }
        sample::completed(manifest)
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_the_same(manifest in any_manifest()) {
        let bytes = write(&manifest);
        let again = read(&bytes).unwrap();
        prop_assert_eq!(&again, &manifest);
        prop_assert_eq!(write(&again), bytes);
    }

    #[test]
    fn no_damage_to_the_bytes_makes_the_reader_panic(at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = GOLDEN.to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = read(&bytes);
    }
}
