use super::{
    carry_out, done,
    lab::{Lab, put, read_only},
    refused, request, tree,
};
use crate::{
    base::RelPath,
    formats::DiskFormat,
    fs,
    unpack::{LinkMode, Request, UnpackError},
};

#[test]
fn a_foreign_file_is_never_overwritten_and_all_problems_come_at_once() {
    let lab = Lab::of(DiskFormat::Vhdx);
    let paths = [lab.disk("DC01", "leaf"), lab.disk("SRV 02", "base")];
    for path in &paths {
        put(
            &RelPath::new(path.as_str()).unwrap().below(&lab.dest()),
            b"mine",
        );
    }
    for reset in [false, true] {
        let before = tree(&lab.dest());
        let findings = refused(&Request {
            reset,
            ..request(&lab, LinkMode::Hardlink)
        });
        for path in &paths {
            assert!(
                findings.contains(&format!("error[name-in-use] {path}: a file")),
                "{findings}"
            );
        }
        let after: Vec<_> = tree(&lab.dest())
            .into_iter()
            .map(|(path, _, bytes)| (path, bytes))
            .collect();
        let kept = before
            .into_iter()
            .filter(|(path, ..)| !path.ends_with("dest"));
        for (path, _, bytes) in kept {
            assert!(after.contains(&(path, bytes)));
        }
    }
}

#[test]
fn what_the_pack_lacks_is_said_by_name() {
    let lab = Lab::of(DiskFormat::Vhdx);
    let leaf = RelPath::new(lab.disk("DC01", "leaf"))
        .unwrap()
        .below(&lab.pack());
    std::fs::write(&leaf, b"short").unwrap();
    let other = RelPath::new(lab.disk("SRV 02", "leaf"))
        .unwrap()
        .below(&lab.pack());
    std::fs::remove_file(other).unwrap();
    let stored = lab
        .pack()
        .join("RefDisk")
        .join(&lab.manifest.ref_disks[0].file);
    fs::remove_file(&stored).unwrap();
    let findings = refused(&request(&lab, LinkMode::Auto));
    for code in ["content-differs", "missing-file", "missing-refdisk"] {
        assert!(findings.contains(&format!("error[{code}]")), "{findings}");
    }
    assert!(!lab.dest().exists());
}

#[test]
fn a_damaged_file_of_the_pack_never_gets_its_name() {
    let lab = Lab::of(DiskFormat::Vhdx);
    let stored = lab
        .pack()
        .join("RefDisk")
        .join(&lab.manifest.ref_disks[0].file);
    let mut bytes = std::fs::read(&stored).unwrap();
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    read_only(&stored, false);
    std::fs::write(&stored, bytes).unwrap();
    read_only(&stored, true);
    for copy_ref_disks in [false, true] {
        let request = Request {
            copy_ref_disks,
            ..request(&lab, LinkMode::Hardlink)
        };
        let error = carry_out(&request).unwrap_err();
        assert!(matches!(error, UnpackError::Damaged { .. }), "{error:?}");
        let name = &lab.manifest.ref_disks[0].file;
        assert!(!lab.dest().join("RefDisk").join(name).exists());
        assert_eq!(fs::stamp(&stored).unwrap().links, 1);
    }
}

#[test]
fn an_unfinished_pack_and_folders_inside_each_other_are_refused() {
    let lab = Lab::of(DiskFormat::Vhdx);
    for dest in [
        lab.pack(),
        lab.pack().join("inside"),
        lab.root.path().to_owned(),
    ] {
        let findings = refused(&Request {
            dest,
            ..request(&lab, LinkMode::Auto)
        });
        assert!(findings.contains("error[name-in-use]"), "{findings}");
    }
    put(&lab.pack().join("labpack.journal"), b"{}");
    let findings = refused(&request(&lab, LinkMode::Auto));
    assert!(findings.contains("error[unfinished-run]"), "{findings}");
    let nothing = Request {
        pack: lab.root.path().join("no"),
        ..request(&lab, LinkMode::Auto)
    };
    assert!(matches!(
        carry_out(&nothing),
        Err(UnpackError::NoPack { .. })
    ));
}

#[cfg(unix)]
#[test]
fn nothing_is_written_through_a_link_that_stands_in_for_a_folder() {
    let lab = Lab::of(DiskFormat::Vhdx);
    let outside = lab.root.path().join("outside");
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::create_dir_all(lab.dest()).unwrap();
    std::os::unix::fs::symlink(&outside, lab.dest().join("DC01")).unwrap();
    let findings = refused(&request(&lab, LinkMode::Auto));
    assert!(
        findings.contains("labpack writes through none"),
        "{findings}"
    );
    assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn another_program_s_script_is_left_alone() {
    let lab = Lab::of(DiskFormat::Vhdx);
    let script = lab.dest().join("import-vms.ps1");
    put(&script, b"mine");
    let outcome = carry_out(&request(&lab, LinkMode::Relocate)).unwrap();
    assert_eq!(outcome.findings.iter().count(), 1, "{}", outcome.findings);
    assert_eq!(std::fs::read(&script).unwrap(), b"mine");
    assert_eq!(outcome.next, None);
    std::fs::remove_file(&script).unwrap();
    let outcome = done(&request(&lab, LinkMode::Relocate));
    assert!(outcome.next.unwrap().contains("-WhatIf"));
    let text = std::fs::read_to_string(&script).unwrap();
    assert!(
        text.contains(r"'SRV 02\Virtual Machines\00000001-1111"),
        "{text}"
    );
}

#[cfg(not(windows))]
#[test]
fn a_right_that_only_windows_has_is_refused_elsewhere_before_anything_is_written() {
    let lab = Lab::of(DiskFormat::Vhdx);
    let findings = refused(&Request {
        grant_vm_access: true,
        ..request(&lab, LinkMode::Relocate)
    });
    assert!(
        findings.contains("error[unsupported] --grant-vm-access"),
        "{findings}"
    );
    assert!(!lab.dest().exists());
}

#[cfg(windows)]
#[test]
fn vms_are_given_the_right_to_read_the_store_when_asked_or_the_command_is_told() {
    let lab = Lab::of(DiskFormat::Vhdx);
    let told = done(&request(&lab, LinkMode::Relocate)).vm_access.unwrap();
    assert!(!told.granted);
    assert!(told.command.contains("RefDisk\" /grant"), "{told:?}");
    let asked = Request {
        grant_vm_access: true,
        ..request(&lab, LinkMode::Relocate)
    };
    assert!(done(&asked).vm_access.unwrap().granted);
    let copied = Request {
        dest: lab.root.path().join("copies"),
        ..request(&lab, LinkMode::Copy)
    };
    let copied = carry_out(&copied).unwrap();
    assert_eq!(copied.vm_access, None, "nothing is shared");
}
