//! What the volumes of a host allow, and what becomes of a lab there.
//!
//! Each volume is made for its test; where the system does not allow that, the test says so.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use labpack::{
    formats::DiskFormat,
    fs::{
        VolumeFlush,
        seam::{self, StepKind},
    },
    pack::PackError,
    plan::Link,
    report::{Code, Findings},
    unpack::{LinkMode, Request, UnpackError},
};

use crate::support::{bytes_in, labs, tree, verbs, volume::Mounted};

const MIB: u64 = 1024 * 1024;

/// VMs on one parent, and on a chain of three levels.
fn lab(root: &Path) -> PathBuf {
    let export = root.join("Lab");
    labs::on_one_parent(&export.join("two"), DiskFormat::Vhdx, 4);
    labs::three_levels(&export.join("three"), DiskFormat::Vhd, 3);
    export
}

const LEAVES: u64 = 7;

/// The paths below `root`.
fn names(root: &Path) -> BTreeSet<PathBuf> {
    tree(root).into_keys().collect()
}

fn assert_code(findings: &Findings, code: Code) {
    assert!(
        findings.errors().any(|finding| finding.code == code),
        "no {code} in {findings}"
    );
}

/// Packs and unpacks on one volume that clones blocks.
fn clones_on(volume: &Mounted) {
    let (here, scratch) = (volume.path(), tempfile::tempdir().unwrap());
    let export = lab(scratch.path());
    let (pack, dest) = (here.join("pack"), here.join("dest"));
    verbs::pack(&verbs::to(&export, &pack));
    let before = volume.free();
    let done = verbs::unpack(&verbs::by(LinkMode::Reflink, &pack, &dest));
    let grown = before.saturating_sub(volume.free());
    verbs::must_verify(&dest, None, LEAVES);
    assert_eq!(done.outcome.link, Link::Reflink);
    assert!(done.io.cloned > 0, "{:?}", done.io);
    let shown = bytes_in(&dest);
    assert!(
        grown < shown / 8,
        "{shown} bytes of files took {grown} bytes of the volume"
    );
    // Each is a file of its own: what is written into one is not in the others.
    let parents = ["VM 01", "VM 02"].map(|vm| {
        dest.join("two")
            .join(vm)
            .join("Virtual Hard Disks/Template.vhdx")
    });
    std::fs::set_permissions(
        &parents[0],
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let untouched = std::fs::read(&parents[1]).unwrap();
    std::fs::write(&parents[0], b"spoilt").unwrap();
    assert!(
        std::fs::read(&parents[1]).unwrap() == untouched,
        "a write into one clone shows in another"
    );
}

#[test]
fn on_btrfs_parents_are_block_clones_that_take_no_room() {
    let Some(volume) = Mounted::btrfs() else {
        return;
    };
    clones_on(&volume);
}

#[test]
fn on_xfs_parents_are_block_clones_that_take_no_room() {
    let Some(volume) = Mounted::xfs() else { return };
    clones_on(&volume);
}

#[test]
fn where_source_and_output_share_a_cloning_volume_a_pack_takes_little_room() {
    let Some(volume) = Mounted::btrfs() else {
        return;
    };
    let export = lab(&volume.path());
    let before = volume.free();
    let pack = volume.path().join("pack");
    let done = verbs::pack(&verbs::to(&export, &pack));
    let grown = before.saturating_sub(volume.free());
    assert!(done.io.cloned > 0, "{:?}", done.io);
    assert!(
        grown < bytes_in(&pack) / 8,
        "{} bytes of pack took {grown}",
        bytes_in(&pack)
    );
    verbs::must_verify(&pack, None, LEAVES);
}

#[test]
fn on_ntfs_hard_links_and_symbolic_links_give_sound_chains() {
    let Some(volume) = Mounted::ntfs() else {
        return;
    };
    let here = volume.path();
    let export = lab(&here);
    let pack = here.join("pack");
    verbs::pack(&verbs::to(&export, &pack));
    for link in [LinkMode::Hardlink, LinkMode::Symlink] {
        let dest = here.join(link.to_string());
        let done = verbs::unpack(&verbs::by(link, &pack, &dest));
        assert!(
            done.outcome.counts.links_made >= LEAVES,
            "{link}: {:?}",
            done.outcome.counts
        );
        verbs::must_verify(&dest, None, LEAVES);
        // ntfs-3g keeps the read-only attribute only with the option `permissions`.
        let stored = std::fs::read_dir(pack.join("RefDisk")).unwrap();
        let stored = stored.map(|entry| entry.unwrap().metadata().unwrap());
        let protected = stored
            .filter(|found| found.permissions().readonly())
            .count();
        let shared = done.outcome.counts.ref_disks_shared > 0;
        let expected = link == LinkMode::Hardlink && protected > 0;
        assert_eq!(shared, expected, "{link}: {protected}");
    }
    verbs::pack(&verbs::here(&export));
    verbs::restore(&export);
    verbs::must_verify(&export, None, LEAVES);
}

/// A pack on one volume, and another volume for the store.
struct TwoVolumes {
    first: Mounted,
    second: Mounted,
    pack: PathBuf,
}

impl TwoVolumes {
    fn make() -> Option<Self> {
        let (first, second) = (Mounted::tmpfs(300)?, Mounted::tmpfs(100)?);
        let export = lab(&first.path());
        let pack = first.path().join("pack");
        verbs::pack(&verbs::to(&export, &pack));
        Some(Self {
            first,
            second,
            pack,
        })
    }

    fn request(&self, link: LinkMode) -> Request {
        let dest = self.first.path().join(link.to_string());
        let store = Some(self.second.path().join("store"));
        Request {
            store,
            ..verbs::by(link, &self.pack, &dest)
        }
    }
}

#[test]
fn with_the_store_on_another_volume_symlink_and_relocate_give_sound_chains() {
    let Some(volumes) = TwoVolumes::make() else {
        return;
    };
    for link in [LinkMode::Symlink, LinkMode::Relocate] {
        let request = volumes.request(link);
        verbs::unpack(&request);
        let store = request.store.unwrap();
        verbs::must_verify(&request.dest, Some(&store), LEAVES);
        let copies = names(&volumes.first.path().join(link.to_string()));
        assert!(
            copies.iter().all(|path| !path.starts_with("RefDisk")),
            "{link}: {copies:?}"
        );
    }
}

#[test]
fn a_way_that_cannot_cross_volumes_is_refused_by_name_and_nothing_is_written() {
    let Some(volumes) = TwoVolumes::make() else {
        return;
    };
    let before = (names(&volumes.first.path()), names(&volumes.second.path()));
    for link in [LinkMode::Hardlink, LinkMode::Reflink] {
        let refused = verbs::try_unpack(&volumes.request(link));
        let Err(UnpackError::Refused(findings)) = refused else {
            panic!("{link} was not refused")
        };
        assert_code(&findings, Code::LinkUnavailable);
        assert_eq!(
            (names(&volumes.first.path()), names(&volumes.second.path())),
            before,
            "{link}"
        );
    }
}

#[test]
fn auto_takes_a_symbolic_link_across_volumes_and_says_why() {
    let Some(volumes) = TwoVolumes::make() else {
        return;
    };
    let done = verbs::unpack(&volumes.request(LinkMode::Auto));
    assert_eq!(done.outcome.link, Link::Symlink, "{}", done.outcome.why);
    for said in ["no reflink", "no hardlink", "another volume"] {
        assert!(
            done.outcome.why.contains(said),
            "`{said}` is not in: {}",
            done.outcome.why
        );
    }
}

/// Unpacks on `volume` and lets labpack choose.
fn chosen_on(volume: &Mounted) -> (Link, String) {
    let scratch = tempfile::tempdir().unwrap();
    let (export, pack) = (lab(scratch.path()), scratch.path().join("pack"));
    verbs::pack(&verbs::to(&export, &pack));
    let dest = volume.path().join("dest");
    let done = verbs::unpack(&verbs::by(LinkMode::Auto, &pack, &dest));
    verbs::must_verify(&dest, None, LEAVES);
    (done.outcome.link, done.outcome.why)
}

#[test]
fn auto_takes_block_clones_on_btrfs_and_xfs_and_says_why() {
    for volume in [Mounted::btrfs(), Mounted::xfs()].into_iter().flatten() {
        let (link, why) = chosen_on(&volume);
        assert_eq!(link, Link::Reflink, "{why}");
        assert!(why.contains("clone"), "{why}");
    }
}

#[test]
fn where_blocks_are_cloned_hard_links_share_no_file_with_the_pack() {
    for volume in [Mounted::btrfs(), Mounted::xfs()].into_iter().flatten() {
        let (export, pack) = (lab(&volume.path()), volume.path().join("pack"));
        verbs::pack(&verbs::to(&export, &pack));
        let dest = volume.path().join("dest");
        let done = verbs::unpack(&verbs::by(LinkMode::Hardlink, &pack, &dest));
        let counts = done.outcome.counts;
        assert!(counts.ref_disks_written > 0, "{counts:?}");
        assert_eq!(counts.ref_disks_shared, 0, "{counts:?}");
        assert!(done.io.cloned > done.io.written, "{:?}", done.io);
        verbs::must_verify(&dest, None, LEAVES);
    }
}

#[test]
fn a_pack_on_another_volume_is_copied_for_hard_links_without_a_word() {
    let Some(volume) = Mounted::tmpfs(200) else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let (export, pack) = (lab(scratch.path()), scratch.path().join("pack"));
    verbs::pack(&verbs::to(&export, &pack));
    let dest = volume.path().join("dest");
    let done = verbs::unpack(&verbs::by(LinkMode::Hardlink, &pack, &dest));
    assert_eq!(done.outcome.counts.ref_disks_shared, 0);
    let told = done.outcome.findings.to_string();
    assert!(!told.contains("not shared"), "{told}");
}

#[test]
fn auto_takes_hard_links_where_blocks_cannot_be_cloned_and_says_why() {
    for volume in [Mounted::tmpfs(200), Mounted::ntfs()].into_iter().flatten() {
        let (link, why) = chosen_on(&volume);
        assert_eq!(link, Link::Hardlink, "{why}");
        assert!(why.contains("no reflink"), "{why}");
    }
}

#[test]
fn an_unpack_that_does_not_fit_is_refused_before_anything_is_written() {
    let Some(volume) = Mounted::tmpfs(4) else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let (export, pack) = (lab(scratch.path()), scratch.path().join("pack"));
    verbs::pack(&verbs::to(&export, &pack));
    assert!(bytes_in(&pack) > 8 * MIB);
    for link in [LinkMode::Auto, LinkMode::Hardlink, LinkMode::Copy] {
        let refused = verbs::try_unpack(&verbs::by(link, &pack, &volume.path().join("dest")));
        let Err(UnpackError::Refused(findings)) = refused else {
            panic!("{link} was not refused")
        };
        assert_code(&findings, Code::NoSpace);
        assert_eq!(names(&volume.path()).len(), 1, "{link} left something");
    }
}

#[test]
fn a_pack_that_does_not_fit_is_refused_before_anything_is_written() {
    let Some(volume) = Mounted::tmpfs(4) else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let export = lab(scratch.path());
    let before = tree(&export);
    let refused = verbs::try_pack(&verbs::to(&export, &volume.path().join("pack")));
    let Err(PackError::Refused(findings)) = refused else {
        panic!("it was not refused")
    };
    assert_code(&findings, Code::NoSpace);
    assert_eq!(names(&volume.path()).len(), 1, "something was left");
    assert_eq!(tree(&export), before);
}

#[test]
fn an_in_place_pack_refuses_a_store_on_a_full_volume_before_anything_is_changed() {
    let Some(volume) = Mounted::tmpfs(4) else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let export = lab(scratch.path());
    let before = tree(&export);
    let mut request = verbs::here(&export);
    request.store = Some(volume.path().join("store"));
    let refused = verbs::try_pack(&request);
    let Err(PackError::Refused(findings)) = refused else {
        panic!("it was not refused")
    };
    assert_code(&findings, Code::NoSpace);
    assert_eq!(tree(&export), before);
    assert_eq!(names(&volume.path()).len(), 1, "something was left");
}

#[test]
fn holes_need_no_room_at_the_destination() {
    let Some(volume) = Mounted::tmpfs(32) else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let export = scratch.path().join("Lab");
    labs::on_one_parent(&export, DiskFormat::Vhdx, 2);
    // As much as the guest may use some day, of which it uses none.
    for vm in ["VM 01", "VM 02"] {
        let disk = std::fs::File::create(export.join(vm).join("data.raw")).unwrap();
        disk.set_len(200 * MIB).unwrap();
    }
    let (pack, dest) = (volume.path().join("pack"), volume.path().join("dest"));
    verbs::pack(&verbs::to(&export, &pack));
    verbs::unpack(&verbs::by(LinkMode::Hardlink, &pack, &dest));
    verbs::must_verify(&dest, None, 2);
    for vm in ["VM 01", "VM 02"] {
        let len = std::fs::metadata(dest.join(vm).join("data.raw"))
            .unwrap()
            .len();
        assert_eq!(len, 200 * MIB);
    }
}

#[test]
fn a_disk_whose_copy_in_the_store_had_to_grow_is_copied_where_it_cannot_be_cloned() {
    let Some(volume) = Mounted::btrfs() else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let (export, pack) = (lab(scratch.path()), volume.path().join("pack"));
    verbs::pack(&verbs::to(&export, &pack));
    let dest = volume.path().join("dest");
    // So long a path finds no room where a VHD keeps its parent's.
    let windows_dest = Some(format!(r"D:\{}", vec!["classroom"; 300].join(r"\")));
    let request = Request {
        windows_dest,
        ..verbs::by(LinkMode::Reflink, &pack, &dest)
    };
    verbs::unpack(&request);
    let lengths = |root: &Path| {
        let disks = walkdir::WalkDir::new(root).into_iter().flatten();
        let middle = disks.filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.starts_with("Patched") && name.ends_with(".vhd")
        });
        middle
            .map(|entry| entry.metadata().unwrap().len())
            .collect::<BTreeSet<_>>()
    };
    let (packed, unpacked) = (
        lengths(&pack.join("RefDisk")),
        lengths(&dest.join("RefDisk")),
    );
    assert!(unpacked > packed, "{packed:?} did not grow: {unpacked:?}");
    verbs::must_verify(&dest, None, LEAVES);
}

#[test]
fn a_pack_on_the_volume_of_its_export_writes_no_data_where_blocks_can_be_cloned() {
    for volume in [Mounted::btrfs(), Mounted::xfs()].into_iter().flatten() {
        let (export, pack) = (volume.path().join("Lab"), volume.path().join("pack"));
        labs::on_one_parent(&export, DiskFormat::Vhdx, 4);
        let before = volume.free();
        let done = verbs::pack(&verbs::to(&export, &pack));
        let grown = before.saturating_sub(volume.free());
        let packed = bytes_in(&pack);
        assert_eq!(done.io.written, 0, "{:?}", done.io);
        assert!(done.io.cloned > packed / 2, "{:?} of {packed}", done.io);
        assert!(
            grown < packed / 8,
            "{packed} bytes took {grown} of the volume"
        );
    }
}

#[test]
fn blocks_of_a_pack_that_is_known_unchanged_are_cloned_without_reading_them() {
    let Some(volume) = Mounted::btrfs() else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let (export, pack) = (scratch.path().join("Lab"), volume.path().join("pack"));
    labs::on_one_parent(&export, DiskFormat::Vhdx, 4);
    verbs::pack(&verbs::to(&export, &pack));
    let bytes = bytes_in(&pack);
    let to = |name: &str| verbs::by(LinkMode::Reflink, &pack, &volume.path().join(name));
    let done = verbs::unpack(&to("first"));
    verbs::must_verify(&volume.path().join("first"), None, 4);
    // Headers and tables, so that chains can be followed; none of what they hold.
    assert!(done.io.read < bytes / 4, "{:?} of {bytes}", done.io);
    assert!(done.io.cloned >= bytes / 2, "{:?} of {bytes}", done.io);

    // A leaf that looks otherwise than it did is read, and found to be what it was …
    let leaf = pack.join("VM 02/Virtual Hard Disks/VM 02.vhdx");
    crate::support::set_time(&leaf, (1_500_000_000, 0));
    let again = verbs::unpack(&to("second"));
    let more = again.io.read - done.io.read;
    assert!(more > 128 * 1024, "{more}: its guest wrote more than that");

    // … or something else.
    let mut rotten = std::fs::read(&leaf).unwrap();
    *rotten.last_mut().unwrap() ^= 1;
    std::fs::write(&leaf, rotten).unwrap();
    let refused = verbs::try_unpack(&to("third"));
    assert!(
        matches!(refused, Err(UnpackError::Damaged { .. })),
        "a leaf with other bytes was taken"
    );
}

#[test]
fn many_files_wait_for_one_flush_where_the_volume_can_be_flushed_as_a_whole() {
    let Some(scratch) = Mounted::btrfs() else {
        return;
    };
    let at = |name: &str| scratch.path().join(name);
    if VolumeFlush::of(&scratch.path()).unwrap().is_none() {
        println!("skipped: no volume is flushed as a whole here");
        return;
    }
    labs::on_one_parent(&at("lab"), DiskFormat::Vhd, 2);
    for nth in 0..100 {
        std::fs::write(at("lab").join(format!("file {nth}")), [nth; 100]).unwrap();
    }
    // Flushes of files and folders, and of the volume.
    let flushes = |work: &dyn Fn()| {
        let ((), steps) = seam::record(&scratch.path(), work);
        let count = |wanted| steps.iter().filter(|(kind, _)| *kind == wanted).count();
        let single = count(StepKind::Flush) + count(StepKind::FlushFolder);
        (single, count(StepKind::FlushVolume))
    };
    let (single, volume) = flushes(&|| drop(verbs::pack(&verbs::to(&at("lab"), &at("pack")))));
    assert!(single < 60 && volume == 1, "pack: {single}, {volume}");
    let copy = verbs::by(LinkMode::Copy, &at("pack"), &at("dest"));
    let (single, volume) = flushes(&|| drop(verbs::unpack(&copy)));
    assert!(single < 60 && volume < 5, "unpack: {single}, {volume}");
}
