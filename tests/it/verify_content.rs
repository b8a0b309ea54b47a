//! `verify --content`: every byte that something is known of, in packs and in unpacked labs.

use std::{
    fs::{self, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use labpack::{
    formats::DiskFormat,
    report::{Code, Severity},
    unpack::{self, LinkMode},
    verify::VerifyReport,
};
use serde_json::Value;

use crate::support::{bytes_in, small_labs, tree, verbs};

struct Lab {
    scratch: tempfile::TempDir,
}

impl Lab {
    /// Three VMs on three levels; the disk in the middle has a residue in all but one.
    fn packed(format: DiskFormat) -> Self {
        let lab = Self {
            scratch: tempfile::tempdir().unwrap(),
        };
        small_labs::three_levels(&lab.export(), format);
        verbs::pack(&verbs::to(&lab.export(), &lab.pack()));
        lab
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn export(&self) -> PathBuf {
        self.at("LABX")
    }

    fn pack(&self) -> PathBuf {
        self.at("packed")
    }

    fn unpacked(&self, link: LinkMode) -> PathBuf {
        let dest = self.at("vms");
        verbs::unpack(&verbs::by(link, &self.pack(), &dest));
        dest
    }
}

/// The codes of everything that is wrong, each with its path.
fn wrong(report: &VerifyReport) -> Vec<(Code, String)> {
    let errors = report
        .all_findings()
        .filter(|finding| finding.severity == Severity::Error);
    errors.map(|f| (f.code, f.path.clone())).collect()
}

/// A path as this system shows it.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.split('/').collect::<PathBuf>())
}

/// Turns one byte near the end of a file over, and leaves its time as it was.
fn rot(file: &Path) {
    let meta = fs::metadata(file).unwrap();
    let mut permissions = meta.permissions();
    let (read_only, modified) = (permissions.clone(), meta.modified().unwrap());
    #[expect(
        clippy::permissions_set_readonly_false,
        reason = "a RefDisk is read-only, and is made so again"
    )]
    permissions.set_readonly(false);
    fs::set_permissions(file, permissions).unwrap();
    let mut open = OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let at = SeekFrom::Start(meta.len() - 1000);
    let mut byte = [0];
    open.seek(at).unwrap();
    open.read_exact(&mut byte).unwrap();
    open.seek(at).unwrap();
    open.write_all(&[!byte[0]]).unwrap();
    open.set_modified(modified).unwrap();
    drop(open);
    fs::set_permissions(file, read_only).unwrap();
}

fn change_manifest(pack: &Path, change: impl FnOnce(&mut Value)) {
    let path = pack.join("labpack.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
}

/// The files in the manifest that are made of a RefDisk and a residue.
fn with_residue(manifest: &mut Value) -> Vec<&mut Value> {
    let vms = manifest["vms"].as_array_mut().unwrap();
    let files = vms
        .iter_mut()
        .flat_map(|vm| vm["files"].as_array_mut().unwrap());
    files
        .filter(|file| file["place"]["residue"].is_array())
        .collect()
}

#[test]
fn what_a_residue_and_a_refdisk_give_is_held_against_the_digest_of_the_export() {
    for format in [DiskFormat::Vhd, DiskFormat::Vhdx] {
        let lab = Lab::packed(format);
        let sound = verbs::verify(&lab.pack(), None, true);
        assert_eq!(wrong(&sound), [], "{format}");
        let mut occurrences = Vec::new();
        change_manifest(&lab.pack(), |manifest| {
            for file in with_residue(manifest) {
                occurrences.push(file["path"].as_str().unwrap().to_owned());
                // Another first byte in the first run of bytes.
                let bytes = &mut file["place"]["residue"][0]["bytes"];
                let text = bytes.as_str().unwrap();
                let other = if text.starts_with('A') { "B" } else { "A" };
                *bytes = format!("{other}{}", &text[1..]).into();
            }
        });
        assert!(!occurrences.is_empty(), "{format}: no residue to spoil");
        assert_eq!(wrong(&verbs::verify(&lab.pack(), None, false)), []);
        let report = verbs::verify(&lab.pack(), None, true);
        let expected = occurrences
            .into_iter()
            .map(|path| (Code::ContentDiffers, path));
        assert_eq!(wrong(&report), expected.collect::<Vec<_>>(), "{format}");
    }
}

#[test]
fn a_pack_is_read_once_though_many_disks_are_made_of_one_refdisk() {
    let lab = Lab::packed(DiskFormat::Vhdx);
    let plain = verbs::verify(&lab.pack(), None, false).io.read;
    let all = verbs::verify(&lab.pack(), None, true).io.read;
    let disks_and_files = bytes_in(&lab.pack());
    let headers = 1 << 20;
    assert!(
        all - plain <= disks_and_files + headers,
        "{all} - {plain} of {disks_and_files}"
    );
}

#[test]
fn a_refdisk_that_was_relinked_for_a_host_still_is_the_one_that_was_packed() {
    // Shared by pack and lab: its locators name the parent by this host's path.
    let lab = Lab::packed(DiskFormat::Vhdx);
    let store = lab.at("store");
    let request = unpack::Request {
        store: Some(store.clone()),
        ..verbs::by(LinkMode::Relocate, &lab.pack(), &lab.at("vms"))
    };
    verbs::unpack(&request);
    for path in ["packed", "vms"] {
        let report = verbs::verify(&lab.at(path), Some(&store), true);
        assert_eq!(wrong(&report), [], "{path}");
    }
}

#[test]
fn a_byte_that_rots_in_an_unpacked_lab_or_its_store_is_found() {
    for link in [LinkMode::Hardlink, LinkMode::Relocate, LinkMode::Copy] {
        let lab = Lab::packed(DiskFormat::Vhdx);
        let vms = lab.unpacked(link);
        assert_eq!(wrong(&verbs::verify(&vms, None, true)), [], "{link:?}");
        let leaf = below(&vms, "x/Virtual Hard Disks/x.vhdx");
        rot(&leaf);
        let report = verbs::verify(&vms, None, true);
        let at_leaf = (Code::ContentDiffers, leaf.display().to_string());
        assert_eq!(wrong(&report), [at_leaf], "{link:?}");
        assert_eq!(report.content.unwrap().differing, 1);

        let stored = tree(&vms).into_keys().map(|path| vms.join(path));
        let is_ref_disk = |path: &PathBuf| path.starts_with(vms.join("RefDisk"));
        let disks: Vec<_> = stored
            .filter(|path| is_ref_disk(path) && path.extension().is_some_and(|e| e == "vhdx"))
            .collect();
        assert_eq!(disks.is_empty(), link == LinkMode::Copy, "{disks:?}");
        for disk in disks {
            rot(&disk);
            let found = wrong(&verbs::verify(&vms, None, true));
            let expected = (Code::DamagedRefDisk, disk.display().to_string());
            assert!(found.contains(&expected), "{link:?}: {found:?}");
            assert_eq!(found.len(), 2, "{link:?}: {found:?}");
            rot(&disk);
        }
    }
}

#[test]
fn a_disk_whose_vm_ran_is_said_to_be_used_and_is_not_taken_for_damaged() {
    let lab = Lab::packed(DiskFormat::Vhdx);
    let vms = lab.unpacked(LinkMode::Hardlink);
    let leaf = below(&vms, "x/Virtual Hard Disks/x.vhdx");
    rot(&leaf);
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(7);
    let open = OpenOptions::new().write(true).open(&leaf).unwrap();
    open.set_modified(later).unwrap();
    drop(open);
    let report = verbs::verify(&vms, None, true);
    assert_eq!(wrong(&report), []);
    let shown = leaf.display().to_string();
    let used: Vec<_> = report
        .all_findings()
        .filter(|finding| finding.code == Code::UsedSince)
        .map(|finding| finding.path.clone())
        .collect();
    assert_eq!(used, [shown]);
}

#[test]
fn what_is_gone_from_an_unpacked_lab_is_named() {
    let lab = Lab::packed(DiskFormat::Vhdx);
    let vms = lab.unpacked(LinkMode::Hardlink);
    let notes = below(&vms, "x/notes on it.txt");
    fs::remove_file(&notes).unwrap();
    let found = wrong(&verbs::verify(&vms, None, true));
    assert_eq!(found, [(Code::MissingFile, notes.display().to_string())]);
}

#[test]
fn a_store_that_only_the_receipt_names_is_not_opened() {
    let lab = Lab::packed(DiskFormat::Vhdx);
    let vms = lab.unpacked(LinkMode::Hardlink);
    let outside = lab.at("outside");
    fs::create_dir(&outside).unwrap();
    // To open it would fail, aloud: its index is none.
    fs::write(outside.join("index.json"), "secret").unwrap();
    let path = vms.join("labpack-unpacked.json");
    let receipt: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let absolute = outside.display().to_string();
    for store in [absolute.as_str(), "../outside", "RefDisk/../../outside"] {
        let mut changed = receipt.clone();
        changed["store"] = store.into();
        fs::write(&path, serde_json::to_vec(&changed).unwrap()).unwrap();
        let report = verbs::verify(&vms, None, true);
        assert_eq!(wrong(&report), [], "{store}");
        let said = report
            .all_findings()
            .filter(|finding| finding.code == Code::MissingRefDisk)
            .count();
        assert_eq!(said, 1, "{store}");
        // Named by the user it is opened, and found to be none.
        let named = verbs::verify(&vms, Some(&outside), true);
        assert_eq!(wrong(&named).len(), 1, "{store}");
    }
}
