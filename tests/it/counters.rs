//! The promise about bytes: each is read at most once, and not at all where it is known unchanged.

use std::{
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use labpack::{formats::DiskFormat, unpack::LinkMode};

use crate::support::{
    What, bytes_in,
    labs::{self, Made},
    tree,
    verbs::{self, possible},
};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

struct Lab {
    scratch: tempfile::TempDir,
}

impl Lab {
    /// VMs on one parent, VMs on three levels, and one large file that stands there twice.
    fn make() -> Self {
        let lab = Self {
            scratch: tempfile::tempdir().unwrap(),
        };
        labs::on_one_parent(&lab.export().join("two"), DiskFormat::Vhdx, 3);
        labs::three_levels(&lab.export().join("three"), DiskFormat::Vhd, 2);
        for name in ["setup.iso", "again.iso"] {
            fs::write(lab.export().join(name), labs::noise(7, 300 * KIB)).unwrap();
        }
        lab
    }

    fn export(&self) -> PathBuf {
        self.scratch.path().join("Lab")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn leaf(&self) -> PathBuf {
        self.export()
            .join("two/VM 02/Virtual Hard Disks/VM 02.vhdx")
    }

    /// Changes the data of one leaf.
    fn use_a_leaf(&self) -> u64 {
        let length = fs::metadata(self.leaf()).unwrap().len();
        let mut file = fs::OpenOptions::new()
            .write(true)
            .open(self.leaf())
            .unwrap();
        file.seek(SeekFrom::Start(length - 1000)).unwrap();
        file.write_all(b"the VM ran").unwrap();
        file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(5))
            .unwrap();
        length
    }
}

/// Files of `pack` that came from the export: all but what labpack writes about them.
fn payload(pack: &Path) -> u64 {
    let own = [
        "labpack.json",
        "labpack.seen.json",
        ".labpack.lock",
        "RefDisk/index.json",
    ];
    let things = tree(pack)
        .into_iter()
        .filter(|(path, _)| !own.iter().any(|name| path == Path::new(name)));
    let lengths = things.map(|(_, thing)| match thing.what {
        What::File { len, .. } => len,
        What::Folder | What::Link(_) => 0,
    });
    lengths.sum()
}

/// Bytes of the disks below `root` that lie in a block of 64 KiB which is not all zero.
fn filled(root: &Path) -> u64 {
    let disks = tree(root).into_keys().filter(|path| {
        let extension = path.extension().unwrap_or_default();
        path.is_relative()
            && (extension == "vhd"
                || extension == "vhdx"
                || extension == "vmcx"
                || extension == "iso")
    });
    let of_file = |path: PathBuf| -> u64 {
        let bytes = fs::read(root.join(path)).unwrap();
        let blocks = bytes
            .chunks(64 * 1024)
            .filter(|block| block.iter().any(|&byte| byte != 0));
        blocks.map(|block| block.len() as u64).sum()
    };
    disks.map(of_file).sum()
}

#[test]
fn a_pack_in_place_reads_each_byte_once_and_copies_none() {
    let lab = Lab::make();
    let bytes = bytes_in(&lab.export());
    let done = verbs::pack(&verbs::here(&lab.export()));
    assert_eq!(done.io.read + done.io.skipped, bytes, "{:?}", done.io);
    assert!(
        done.io.written < 128 * KIB,
        "only the locators of one VHD are rewritten, 70 KiB of room: {:?}",
        done.io
    );
    assert_eq!(done.io.cloned, 0);
}

#[test]
fn a_first_pack_to_a_folder_reads_each_byte_once_and_writes_each_stored_byte_once() {
    let lab = Lab::make();
    let bytes = bytes_in(&lab.export());
    let done = verbs::pack(&verbs::to(&lab.export(), &lab.at("pack")));
    assert_eq!(done.io.read + done.io.skipped, bytes, "{:?}", done.io);
    let moved = done.io.written + done.io.cloned;
    let (stored, filled) = (payload(&lab.at("pack")), filled(&lab.at("pack")));
    // Zeros are not written; the locators of a parent in the store are written over its copy.
    assert!(
        moved <= stored + 128 * KIB && moved >= filled && moved <= filled + 128 * KIB,
        "{stored} stored, {filled} of it not zero, {:?}",
        done.io
    );
}

#[test]
fn holes_are_skipped_and_stay_holes() {
    let lab = Lab::make();
    let sparse = lab.export().join("sparse.bin");
    let mut file = fs::File::create(&sparse).unwrap();
    file.set_len(64 * MIB).unwrap();
    file.seek(SeekFrom::Start(32 * MIB)).unwrap();
    file.write_all(&labs::noise(3, 200 * KIB)).unwrap();
    drop(file);
    let bytes = bytes_in(&lab.export());
    let done = verbs::pack(&verbs::to(&lab.export(), &lab.at("pack")));
    assert_eq!(done.io.read + done.io.skipped, bytes, "{:?}", done.io);
    if done.io.skipped < 63 * MIB {
        println!("skipped: this file system keeps no holes ({:?})", done.io);
    }
    #[cfg(unix)]
    if done.io.skipped >= 63 * MIB {
        use std::os::unix::fs::MetadataExt;
        let copy = fs::metadata(lab.at("pack").join("sparse.bin")).unwrap();
        assert_eq!(copy.len(), 64 * MIB);
        assert!(
            copy.blocks() * 512 < 2 * MIB,
            "the copy has {} blocks",
            copy.blocks()
        );
    }
}

#[test]
fn packing_an_unchanged_lab_again_reads_and_writes_nothing() {
    let lab = Lab::make();
    for request in [
        verbs::to(&lab.export(), &lab.at("pack")),
        verbs::here(&lab.export()),
    ] {
        verbs::pack(&request);
        let again = verbs::pack(&request);
        assert_eq!(
            (again.io.read, again.io.written, again.io.cloned),
            (0, 0, 0),
            "{request:?}: {:?}",
            again.io
        );
    }
}

#[test]
fn after_one_leaf_was_used_only_that_leaf_is_read_again() {
    let lab = Lab::make();
    let pack = verbs::to(&lab.export(), &lab.at("pack"));
    verbs::pack(&pack);
    let length = lab.use_a_leaf();
    let bytes = bytes_in(&lab.export());
    let again = verbs::pack(&pack);
    // What is skipped: every other file, and holes in this one.
    assert!(
        again.io.read > 0 && again.io.read <= length,
        "the leaf has {length}: {:?}",
        again.io
    );
    assert_eq!(again.io.read + again.io.skipped, bytes, "{:?}", again.io);
    assert!(
        again.io.written + again.io.cloned <= length,
        "{:?}",
        again.io
    );
    verbs::unpack(&verbs::by(LinkMode::Copy, &lab.at("pack"), &lab.at("dest")));
    let after = fs::read(
        lab.at("dest")
            .join("two/VM 02/Virtual Hard Disks/VM 02.vhdx"),
    )
    .unwrap();
    assert!(
        after == fs::read(lab.leaf()).unwrap(),
        "the pack holds the leaf as it was before"
    );
}

#[test]
fn unpacking_reads_each_byte_of_the_pack_once_and_a_second_time_none() {
    let lab = Lab::make();
    verbs::pack(&verbs::to(&lab.export(), &lab.at("pack")));
    for link in possible(&[
        LinkMode::Auto,
        LinkMode::Hardlink,
        LinkMode::Symlink,
        LinkMode::Relocate,
    ]) {
        let request = verbs::by(link, &lab.at("pack"), &lab.at(&link.to_string()));
        let done = verbs::unpack(&request);
        assert_eq!(
            done.io.read + done.io.skipped,
            payload(&lab.at("pack")),
            "{link}: {:?}",
            done.io
        );
        let again = verbs::unpack(&request);
        assert_eq!(
            (again.io.read, again.io.written, again.io.cloned),
            (0, 0, 0),
            "{link}: {:?}",
            again.io
        );
        assert_eq!(
            (
                again.outcome.counts.files_written,
                again.outcome.counts.links_made
            ),
            (0, 0),
            "{link}"
        );
    }
}

#[test]
fn unpacking_by_copy_reads_each_stored_disk_once_for_all_its_copies() {
    let lab = Lab::make();
    verbs::pack(&verbs::to(&lab.export(), &lab.at("pack")));
    let done = verbs::unpack(&verbs::by(LinkMode::Copy, &lab.at("pack"), &lab.at("dest")));
    assert_eq!(
        done.io.read + done.io.skipped,
        payload(&lab.at("pack")),
        "{:?}",
        done.io
    );
    let again = verbs::unpack(&verbs::by(LinkMode::Copy, &lab.at("pack"), &lab.at("dest")));
    assert_eq!((again.io.read, again.io.written), (0, 0), "{:?}", again.io);
}

#[test]
fn restoring_reads_each_stored_byte_at_most_once() {
    let lab = Lab::make();
    let before = tree(&lab.export());
    verbs::pack(&verbs::here(&lab.export()));
    let stored = payload(&lab.export().join("RefDisk"));
    let watch = crate::support::Watch::default();
    let request = labpack::pack::RestoreRequest {
        pack: lab.export(),
        ..Default::default()
    };
    labpack::pack::restore(&request, &watch.run()).unwrap();
    let io = watch.io();
    assert!(io.read + io.skipped <= stored, "{stored} stored: {io:?}");
    assert_eq!(tree(&lab.export()), before);
}

#[test]
fn verifying_chains_reads_no_content_and_with_content_reads_each_byte_once() {
    let lab = Lab::make();
    verbs::pack(&verbs::to(&lab.export(), &lab.at("pack")));
    for place in [lab.export(), lab.at("pack")] {
        let report = verbs::verify(&place, None, false);
        assert!(
            !report.found_errors() && report.chains.ok == 5,
            "{:?}",
            report.chains
        );
        assert_eq!(
            (report.io.read, report.io.written),
            (0, 0),
            "{:?}",
            report.io
        );
        assert!(report.io.inspected > 0);
    }
    let report = verbs::verify(&lab.at("pack"), None, true);
    assert!(!report.found_errors());
    assert_eq!(
        report.io.read + report.io.skipped,
        payload(&lab.at("pack")),
        "{:?}",
        report.io
    );
}

/// Chains of three, each in a folder of its own, with nothing beside the disks.
fn chains_of_three(root: &Path, format: DiskFormat, count: u8) {
    let name = |number: u8| format!("{number}.{format}");
    for chain in 0..count {
        let folder = root.join(chain.to_string());
        fs::create_dir_all(&folder).unwrap();
        let base = Made::base(format, &name(1), 1);
        let middle = Made::child(&base, &name(2), 2, "F:\\Lab");
        let leaf = Made::child(&middle, &name(3), 3, "F:\\Lab");
        for disk in [base, middle, leaf] {
            disk.write_to(&folder);
        }
    }
}

#[test]
fn verifying_a_disk_takes_at_most_ten_reads() {
    for format in [DiskFormat::Vhd, DiskFormat::Vhdx] {
        let scratch = tempfile::tempdir().unwrap();
        chains_of_three(scratch.path(), format, 4);
        let leaf = scratch.path().join(format!("0/3.{format}"));
        for (place, disks) in [(scratch.path(), 12), (&leaf, 3)] {
            let report = verbs::verify(place, None, false);
            assert_eq!(report.chains.ok, disks / 3, "{:?}", report.findings);
            let io = report.io;
            assert!(
                (1..=10 * disks).contains(&io.inspections),
                "{format}: {io:?}"
            );
            assert!(io.inspected <= disks * 400 * KIB, "{format}: {io:?}");
        }
    }
}

#[test]
fn a_file_that_is_no_disk_is_inspected_at_its_ends_only() {
    let scratch = tempfile::tempdir().unwrap();
    for name in ["setup.iso", "state.bin", "no disk.vhdx"] {
        fs::write(scratch.path().join(name), labs::noise(1, MIB)).unwrap();
    }
    let io = verbs::verify(scratch.path(), None, false).io;
    assert!(io.inspections <= 6 && io.inspected <= 3 * 8 * KIB, "{io:?}");
}

#[test]
fn a_dry_run_writes_nothing() {
    let lab = Lab::make();
    let before = tree(lab.scratch.path());
    for mut request in [
        verbs::to(&lab.export(), &lab.at("pack")),
        verbs::here(&lab.export()),
    ] {
        request.dry_run = true;
        let done = verbs::pack(&request);
        assert!(done.outcome.plan.is_some());
        assert_eq!((done.io.written, done.io.cloned), (0, 0), "{:?}", done.io);
        assert!(
            tree(lab.scratch.path()) == before,
            "{request:?} changed something"
        );
    }
}
