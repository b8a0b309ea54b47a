//! Whole exports with known contents.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::*;
use crate::{
    base::{Patched, Write},
    formats::{LogState, RemarkKind},
    report::{Code, WindowsError},
};

const ARCHIVE: &str = "exports/exports.tar.xz";

/// Unpacks exports B to E; `None` where fixtures or `tar` are missing.
fn unpacked() -> Option<(tempfile::TempDir, Value)> {
    let folder = fixture_folder()?;
    let to = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xJf")
        .arg(folder.join(ARCHIVE))
        .arg("-C")
        .arg(to.path());
    tar.args(
        [
            "B_vhdx_2level",
            "C_vhdx_3level",
            "D_checkpoints",
            "E_broken",
        ]
        .map(|part| format!("exports/{part}")),
    );
    let status = tar.status();
    if !status.as_ref().is_ok_and(|status| status.success()) {
        println!("skipped: tar cannot unpack {ARCHIVE}: {status:?}");
        return None;
    }
    let expect = std::fs::read(folder.join("exports/EXPECT.json")).unwrap();
    Some((to, serde_json::from_slice(&expect).unwrap()))
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

#[test]
fn every_disk_of_an_export_reads_as_it_was_written() {
    let Some((folder, expect)) = unpacked() else {
        return;
    };
    let root = folder.path().join("exports");
    let open = |path: &str| TestFile::open(&root.join(path));
    let mut by_content = BTreeMap::<String, Vec<String>>::new();
    let mut seen = HashSet::new();
    for disk in expect["disks"].as_array().unwrap() {
        let path = text(disk, "path");
        if text(disk, "format") != "vhdx" {
            continue;
        }
        let file = open(path);
        check_verdict(path, text(disk, "reason"), &file, &root);
        if text(disk, "verdict") != "broken" {
            check_blocks(&file).unwrap();
            let canonical = canonical_id(&file).unwrap().to_string();
            by_content
                .entry(canonical)
                .or_default()
                .push(path.to_owned());
        }
        let merged = text(disk, "merged_sha256");
        if !merged.is_empty() && seen.insert(merged.to_owned()) {
            let chain = disk["chain"].as_array().unwrap().iter();
            let chain = Chain::open(chain.map(|path| open(path.as_str().unwrap())));
            assert_eq!(chain.sha256(), merged, "{path}");
        }
    }
    assert!(seen.len() > 15, "only {} disks were found", seen.len());
    groups_are_one_disk(&expect, &by_content, &root);
}

fn check_verdict(path: &str, reason: &str, file: &Arc<dyn ReadAt>, root: &Path) {
    let info = read_info(file).unwrap();
    assert_eq!(
        info.log == LogState::Pending,
        reason == "dirty-log",
        "{path}"
    );
    let damaged: Vec<_> = info.remarks.iter().map(|remark| remark.kind).collect();
    let one_header = path.contains("active_header_crc") && path.ends_with("TRAIN-VM.vhdx");
    assert_eq!(
        damaged,
        vec![RemarkKind::HeaderCopy; usize::from(one_header)],
        "{path}"
    );
    match reason {
        "corrupt" => {
            let error = check_blocks(file).unwrap_err();
            assert_eq!(error.code(), Code::Truncated, "{path}: {error}");
            assert_eq!(error.windows_error(), Some(WindowsError::BAT_CORRUPT));
            assert!(canonical_form(file).is_err());
        }
        "dirty-log" => {
            let refused = open_layer(Arc::clone(file)).err().unwrap();
            assert!(matches!(refused, FormatError::PendingLog), "{path}");
        }
        "linkage-mismatch" => {
            let parent = root.join(path).with_file_name("Template.vhdx");
            let parent = read_info(&TestFile::open(&parent)).unwrap();
            assert!(!info.parent.unwrap().accepts(parent.own_id), "{path}");
        }
        _ => {}
    }
}

/// Copies of one disk have one canonical digest, no others do, and children become the same
/// bytes in store form.
fn groups_are_one_disk(expect: &Value, by_content: &BTreeMap<String, Vec<String>>, root: &Path) {
    for group in expect["groups"].as_array().unwrap() {
        let files = group["files"].as_array().unwrap().iter();
        let files: HashSet<&str> = files.map(|file| file.as_str().unwrap()).collect();
        if files.iter().any(|file| !file.ends_with("vhdx")) {
            continue;
        }
        let one_disk = by_content
            .values()
            .any(|members| files.iter().all(|file| members.iter().any(|m| m == file)));
        assert!(one_disk, "{files:?}");
        let stored: HashSet<_> = files.iter().map(|file| stored(&root.join(file))).collect();
        assert_eq!(stored.len(), 1, "{files:?}");
    }
    for members in by_content.values() {
        let names: HashSet<_> = members.iter().map(|path| path.rsplit('/').next()).collect();
        assert_eq!(names.len(), 1, "{members:?}");
    }
}

/// The digest of a disk in store form; `None` for one without a parent.
fn stored(path: &Path) -> Option<blake3::Hash> {
    let file = TestFile::open(path);
    let before = read_info(&file).unwrap();
    let parent = before.parent.clone()?;
    let patch = store_form(&file, "parent-0123456789ab.vhdx").unwrap();
    let mut bytes = vec![0; file.len() as usize];
    Patched {
        file: &file,
        patch: &patch,
    }
    .read_exact_at(&mut bytes, 0)
    .unwrap();
    let after = read_info(&bytes).unwrap();
    assert_eq!(after.own_id, before.own_id);
    let link = after.parent.unwrap();
    assert_eq!((link.id, link.id2), (parent.id, parent.id2));
    assert_eq!(link.hints[0].path, r".\parent-0123456789ab.vhdx");
    assert_eq!(canonical_id(&bytes).unwrap(), canonical_id(&file).unwrap());
    check_blocks(&bytes).unwrap();
    let small = patch.writes().map(|write| match &write.payload {
        crate::base::Payload::Bytes(bytes) => bytes.len(),
        crate::base::Payload::Zeros(_) => 0,
    });
    assert!(
        small.sum::<usize>() < 1 << 16,
        "masked bytes are zeroed without being held"
    );
    assert!(
        patch
            .writes()
            .all(|write: &Write| write.offset + write.len() <= file.len())
    );
    Some(blake3::hash(&bytes))
}
