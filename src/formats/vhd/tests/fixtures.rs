//! Disks that Windows and others wrote, from the folder that `LABPACK_FIXTURES` names.

#![expect(
    clippy::disallowed_methods,
    reason = "reads fixtures, outside of the file-system layer"
)]

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use super::images::*;
use crate::{
    base::VirtualSize,
    formats::{DiskInfo, DiskKind, Layer, RemarkKind, vhd},
    report::{Code, WindowsError},
};

/// Returns the folder, or says aloud that a test is skipped.
fn root() -> Option<PathBuf> {
    let root = std::env::var_os("LABPACK_FIXTURES").map(PathBuf::from);
    if root.is_none() {
        println!("skipped: LABPACK_FIXTURES is not set");
    }
    root
}

/// Returns a disk's bytes, unpacked by the system's tools; `None`, said aloud, without them.
fn unpacked(root: &Path, name: &str) -> Option<Vec<u8>> {
    for (suffix, tool) in [(".gz", "gzip"), (".bz2", "bzip2")] {
        let packed = root.join(format!("{name}{suffix}"));
        if packed.exists() {
            let Ok(output) = Command::new(tool).arg("-dc").arg(&packed).output() else {
                println!("skipped: {tool} is not installed");
                return None;
            };
            assert!(output.status.success(), "{tool} {name}");
            return Some(output.stdout);
        }
    }
    Some(fs::read(root.join(name)).unwrap())
}

fn sha256(chain: &[Box<dyn Layer>]) -> String {
    let mut hasher = Sha256::new();
    let size = chain[0].info().virtual_size.0;
    let mut buf = vec![0; 1 << 20];
    for at in (0..size).step_by(buf.len()) {
        let len = (size - at).min(buf.len() as u64) as usize;
        read_chain(chain, at, &mut buf[..len]).unwrap();
        hasher.update(&buf[..len]);
    }
    let digest = hasher.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Kind, virtual size, length, block size, own id, creator.
type Facts = (DiskKind, u64, u64, Option<u32>, &'static str, &'static str);

fn check_facts(name: &str, file: &[u8], facts: Facts) -> DiskInfo {
    let info = vhd::read_info(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    let own_id = info.own_id.to_string();
    let found = (
        info.kind,
        info.virtual_size.0,
        info.file_len,
        info.block_size,
        own_id.as_str(),
        info.creator.as_str(),
    );
    assert_eq!(found, facts, "{name}");
    assert_eq!(info.remarks, [], "{name}");
    vhd::check_blocks(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    info
}

#[test]
fn disks_without_a_parent_say_what_their_makers_put_down() {
    use DiskKind::{Dynamic, Fixed};
    const TWO: Option<u32> = Some(2 << 20);
    let Some(root) = root() else { return };
    let disks: [(&str, Facts); 15] = [
        (
            "dfvfs/ext2.vhd",
            (
                Dynamic,
                4_212_736,
                2_100_224,
                TWO,
                "b61f53ca-a786-4528-90e2-55ba791a1c4c",
                "qemu 5.3",
            ),
        ),
        (
            "dfvfs/fat-parent.vhd",
            (
                Fixed,
                4_194_304,
                4_194_816,
                None,
                "5fa21a55-f394-aa4d-9958-1951a67d5540",
                "win  10.0",
            ),
        ),
        (
            "dfvfs/ntfs-parent.vhd",
            (
                Fixed,
                4_194_304,
                4_194_816,
                None,
                "e7ea9200-8493-954e-a816-9572339be931",
                "win  10.0",
            ),
        ),
        (
            "dfvfs/ntfs-fixed.vhd",
            (
                Fixed,
                4_194_304,
                4_194_816,
                None,
                "be061b15-28ce-014a-8fc6-ecc139a451c1",
                "win  10.0",
            ),
        ),
        (
            "dfvfs/ntfs-dynamic.vhd",
            (
                Dynamic,
                4_194_304,
                4_210_688,
                TWO,
                "b71b9577-b88c-1646-993c-471798ca53ee",
                "win  10.0",
            ),
        ),
        (
            "dissect.hypervisor/dynamic.vhd",
            (
                Dynamic,
                10_485_760,
                6_311_936,
                TWO,
                "4b6a0d04-f946-d74e-836f-d3dc87e1816b",
                "win  10.0",
            ),
        ),
        (
            "dissect.hypervisor/fixed.vhd",
            (
                Fixed,
                10_485_760,
                10_486_272,
                None,
                "b895e418-3894-e744-9a88-9a420be4e5ca",
                "win  10.0",
            ),
        ),
        (
            "qemu-sample_images/d2v-zerofilled.vhd",
            (
                Dynamic,
                263_454_720,
                264_308_224,
                TWO,
                "e7b829fd-e66d-ba49-ac19-6ebdab26cea3",
                "d2v 1.0",
            ),
        ),
        (
            "qemu-sample_images/hyperv2012r2-dynamic.vhd",
            (
                Dynamic,
                136_365_211_648,
                266_240,
                TWO,
                "6d2d5fc8-eeba-de4c-8cee-de3a12db7c98",
                "win  6.3",
            ),
        ),
        (
            "qemu-sample_images/virtualpc-dynamic.vhd",
            (
                Dynamic,
                136_365_211_648,
                262_656,
                TWO,
                "33ea0013-6191-4d02-b93f-88af84296f85",
                "vpc  1.0",
            ),
        ),
        (
            "go-vhd/qemu.vhd",
            (
                Dynamic,
                41_953_280,
                2560,
                TWO,
                "787bb12d-a507-4d8e-8f08-2ad2e2148e32",
                "qemu 5.3",
            ),
        ),
        (
            "go-vhd/vbox.vhd",
            (
                Dynamic,
                41_943_040,
                2560,
                TWO,
                "8392ddae-ee02-9e4f-8111-50f4f6c6f227",
                "vbox 4.3",
            ),
        ),
        (
            "go-vhd/win8.vhd",
            (
                Dynamic,
                41_943_040,
                8192,
                TWO,
                "adb71975-4b5b-0b40-b025-d06dab31b26f",
                "win  6.3",
            ),
        ),
        (
            "go-vhd/win8.1-1GB.vhd",
            (
                Dynamic,
                1_073_741_824,
                8192,
                TWO,
                "45169fc3-b8a4-7745-a9e3-7089070d6426",
                "win  6.3",
            ),
        ),
        (
            "go-vhd/xapi.vhd",
            (
                Dynamic,
                41_943_040,
                3584,
                TWO,
                "52f28ef1-9372-41bb-ad2b-b4ca3b06d304",
                "tap 1.3",
            ),
        ),
    ];
    for (name, facts) in disks {
        let Some(file) = unpacked(&root, name) else {
            return;
        };
        assert!(check_facts(name, &file, facts).parent.is_none(), "{name}");
    }
}

#[test]
fn children_that_windows_made_name_their_parents() {
    use DiskKind::Differencing;
    const TWO: Option<u32> = Some(2 << 20);
    const DFVFS: &str = r"C:\Projects\dfvfs\test_data\";
    let Some(root) = root() else { return };
    let disks: [(&str, Facts, &str, &str, &str); 3] = [
        (
            "dfvfs/fat-differential.vhd",
            (
                Differencing,
                4_194_304,
                2_183_168,
                TWO,
                "f84f1636-cd9e-9041-a69e-dcc2380e416a",
                "win  10.0",
            ),
            "5fa21a55-f394-aa4d-9958-1951a67d5540",
            DFVFS,
            "fat-parent.vhd",
        ),
        (
            "dfvfs/ntfs-differential.vhd",
            (
                Differencing,
                4_194_304,
                4_284_416,
                TWO,
                "722fa4e2-59c4-c645-8456-ddb430ac4a19",
                "win  10.0",
            ),
            "e7ea9200-8493-954e-a816-9572339be931",
            DFVFS,
            "ntfs-parent.vhd",
        ),
        (
            "go-vhd/win8-child.vhd",
            (
                Differencing,
                41_943_040,
                81_920,
                TWO,
                "41306552-577d-8f47-9771-6af2bac3499b",
                "win  10.0",
            ),
            "adb71975-4b5b-0b40-b025-d06dab31b26f",
            r"C:\Users\sergi\Downloads\",
            "win8.vhd",
        ),
    ];
    for (name, facts, parent, folder, parent_name) in disks {
        let Some(file) = unpacked(&root, name) else {
            return;
        };
        let link = check_facts(name, &file, facts).parent.unwrap();
        assert_eq!(
            (link.id.to_string().as_str(), link.timestamp),
            (parent, None),
            "{name}"
        );
        let expected = [
            format!(r"Relative .\{parent_name}"),
            format!("Absolute {folder}{parent_name}"),
            format!("Name {folder}{parent_name}"),
        ];
        assert_eq!(hints(&file), expected, "{name}");
        rewrite(name, &file);
    }
}

/// Relinks a disk and brings it into store form, and checks that its data stay what they are.
fn rewrite(name: &str, file: &[u8]) {
    let (_, id) = canonical(file);
    let patch = vhd::relink(&file, &paths(r"..\RefDisk\b.vhd", r"E:\RefDisk\b.vhd")).unwrap();
    let after = patched(file, &patch);
    assert_eq!(hints(&after)[0], r"Relative ..\RefDisk\b.vhd", "{name}");
    assert_eq!(after.len(), file.len(), "{name}");
    assert_eq!(canonical(&after).1, id, "{name}");
    let stored = |file: &[u8]| patched(file, &vhd::store_form(&file, "b.vhd").unwrap());
    assert!(stored(file) == stored(&after), "{name}");
    vhd::check_blocks(&after).unwrap();
}

#[test]
fn an_empty_child_is_written_as_windows_writes_it() {
    let Some(root) = root() else { return };
    let Some(theirs) = unpacked(&root, "go-vhd/win8-child.vhd") else {
        return;
    };
    let mut disk = child(40 * MIB, Vec::new());
    disk.block_size = None;
    disk.own_id = vhd::read_info(&theirs).unwrap().own_id;
    let parent = disk.parent.as_mut().unwrap();
    parent.id = vhd::read_info(&theirs).unwrap().parent.unwrap().id;
    parent.paths = paths(r".\win8.vhd", r"C:\Users\sergi\Downloads\win8.vhd");
    let mut ours = disk.to_bytes().unwrap();
    let time = footer(&theirs).timestamp;
    edit_footers(&mut ours, |raw| raw.timestamp = time);
    assert!(ours == theirs);
}

#[test]
fn disks_with_wrong_checksums_are_corrupt() {
    let Some(root) = root() else { return };
    for name in ["dfvfs/image.vhd", "dfvfs/image-differential.vhd"] {
        let Some(file) = unpacked(&root, name) else {
            return;
        };
        let error = vhd::read_info(&file).unwrap_err();
        assert_eq!(error.code(), Code::Corrupt, "{name}");
        assert_eq!(
            error.windows_error(),
            Some(WindowsError::FOOTER_CHECKSUM),
            "{name}"
        );
    }
}

#[test]
fn chains_read_as_independent_readers_read_them() {
    let Some(root) = root() else { return };
    let expected = fs::read_to_string(root.join("EXPECTED.tsv")).unwrap();
    let mut checked = 0;
    for line in expected.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split('\t').collect();
        let (chain, size, digest) = (fields[0], fields[1], fields[2]);
        if !chain.ends_with(".vhd") || chain.contains("image") && chain.starts_with("dfvfs") {
            continue;
        }
        let folder = chain.split('/').next().unwrap();
        let names = chain
            .split(',')
            .map(|name| name.rsplit('/').next().unwrap());
        let mut layers = Vec::new();
        for name in names {
            let Some(file) = unpacked(&root, &format!("{folder}/{name}")) else {
                return;
            };
            layers.push(layer(file));
        }
        assert_eq!(
            layers[0].info().virtual_size,
            VirtualSize(size.parse().unwrap()),
            "{chain}"
        );
        assert_eq!(sha256(&layers), digest, "{chain}");
        checked += 1;
    }
    assert_eq!(checked, 10);
}

/// Unpacks the exports that hold VHDs.
fn exports(root: &Path) -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir().unwrap();
    let folders = [
        "exports/A_vhd_2level",
        "exports/D_checkpoints/LABY/TRAIN-OLD 05",
        "exports/E_broken/vhd_tail_footer",
        "exports/E_broken/vhd_id_mismatch",
    ];
    let archive = root.join("exports/exports.tar.xz");
    let mut tar = Command::new("tar");
    let tar = tar
        .arg("-xJf")
        .arg(archive)
        .arg("-C")
        .arg(dir.path())
        .args(folders);
    match tar.status() {
        Ok(status) => assert!(status.success(), "tar"),
        Err(_) => {
            println!("skipped: tar is not installed");
            return None;
        }
    }
    Some(dir)
}

#[test]
fn exported_chains_read_as_they_were_written() {
    let Some(root) = root() else { return };
    let Some(dir) = exports(&root) else { return };
    let expect = fs::read(root.join("exports/EXPECT.json")).unwrap();
    let expect: serde_json::Value = serde_json::from_slice(&expect).unwrap();
    let disks = expect["disks"].as_array().unwrap();
    let mut verdicts = HashMap::new();
    for disk in disks.iter().filter(|disk| disk["format"] == "vhd") {
        let name = disk["path"].as_str().unwrap();
        let chain = disk["chain"].as_array().unwrap().iter();
        let files = chain.map(|path| dir.path().join("exports").join(path.as_str().unwrap()));
        let files: Vec<_> = files.map(|path| fs::read(path).unwrap()).collect();
        for file in &files {
            vhd::check_blocks(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        if vhd::read_info(&files[0]).unwrap().parent.is_some() {
            rewrite(name, &files[0]);
        }
        let layers: Vec<_> = files.into_iter().map(layer).collect();
        let verdict = disk["verdict"].as_str().unwrap();
        *verdicts.entry(verdict).or_insert(0) += 1;
        let linked = layers.windows(2).all(|pair| {
            let link = pair[0].info().parent.as_ref().unwrap();
            link.accepts(pair[1].info().own_id)
        });
        assert_eq!(linked, verdict != "broken", "{name}");
        let mut remarks = layers.iter().flat_map(|layer| &layer.info().remarks);
        let remarked = remarks.any(|remark| remark.kind == RemarkKind::FooterCopy);
        assert_eq!(remarked, verdict == "warn", "{name}");
        if let Some(digest) = disk["merged_sha256"].as_str() {
            assert_eq!(sha256(&layers), digest, "{name}");
        }
    }
    assert_eq!(
        verdicts,
        HashMap::from([("ok", 14), ("warn", 2), ("broken", 1)])
    );
}
