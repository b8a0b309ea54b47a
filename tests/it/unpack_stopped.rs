//! Every step of an unpack is the last one once; running the same command again finishes it.

use std::path::Path;

use labpack::{
    formats::DiskFormat,
    unpack::{self, LinkMode, UnpackError},
};

use crate::{
    pack_stopped::stop_everywhere,
    support::{Watch, contents, small_labs, tree, verbs},
};

fn unpack(link: LinkMode, pack: &Path, dest: &Path) -> Result<(), UnpackError> {
    let request = verbs::by(link, pack, dest);
    unpack::unpack(&request, &Watch::default().run()).map(drop)
}

fn stopped_anywhere(link: LinkMode, format: DiskFormat, every: usize) {
    let scratch = tempfile::tempdir().unwrap();
    let (export, pack) = (scratch.path().join("LAB"), scratch.path().join("pack"));
    small_labs::small(&export, format);
    verbs::pack(&verbs::to(&export, &pack));
    let packed = tree(&pack);
    let steps = stop_everywhere(
        every,
        |_| {},
        |folder| unpack(link, &pack, &folder.join("vms")),
        |folder, step| {
            let vms = folder.join("vms");
            unpack(link, &pack, &vms).unwrap_or_else(|e| panic!("{link:?} {step}: {e:?}"));
            assert_eq!(
                tree(&pack),
                packed,
                "{link:?} {step}: the pack is only read"
            );
            let left: Vec<_> = contents(&vms)
                .into_keys()
                .filter(|path| path.to_string_lossy().contains("labpack-tmp"))
                .collect();
            assert!(left.is_empty(), "{link:?} {step}: {left:?}");
            let report = verbs::verify(&vms, None, true);
            let findings: Vec<_> = report.all_findings().collect();
            assert!(!report.found_errors(), "{link:?} {step}: {findings:#?}");
            assert_eq!(report.chains.ok, 2, "{link:?} {step}");
            if link == LinkMode::Copy {
                for vm in ["A", "B 2"] {
                    let (there, here) = (tree(&export.join(vm)), tree(&vms.join(vm)));
                    assert_eq!(here, there, "{link:?} {step}");
                }
            }
        },
    );
    assert!(steps > 30, "{link:?}: {steps}");
}

#[test]
fn an_unpack_by_hard_links_that_is_stopped_anywhere_is_finished_by_the_next_run() {
    stopped_anywhere(LinkMode::Hardlink, DiskFormat::Vhd, 1);
    stopped_anywhere(LinkMode::Hardlink, DiskFormat::Vhdx, 11);
}

#[test]
fn an_unpack_without_links_that_is_stopped_anywhere_is_finished_by_the_next_run() {
    stopped_anywhere(LinkMode::Relocate, DiskFormat::Vhd, 1);
    stopped_anywhere(LinkMode::Copy, DiskFormat::Vhd, 1);
    stopped_anywhere(LinkMode::Copy, DiskFormat::Vhdx, 11);
}

#[cfg(unix)] // Wine makes no symbolic links
#[test]
fn an_unpack_by_symbolic_links_that_is_stopped_anywhere_is_finished_by_the_next_run() {
    stopped_anywhere(LinkMode::Symlink, DiskFormat::Vhd, 1);
}
