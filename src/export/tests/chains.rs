//! Chains among files.

use super::*;
use crate::chain::resolve;

#[test]
fn a_sound_lab_has_no_findings_and_reads_through_its_chain() {
    for format in [Vhd, Vhdx] {
        let lab = Lab::new();
        lab.disk("VM/Virtual Hard Disks/base.x", &base(format, 1));
        lab.disk(
            "VM/Virtual Hard Disks/mid.x",
            &child(format, 2, 1, r".\base.x"),
        );
        lab.disk(
            "VM/Virtual Hard Disks/leaf.avhdx",
            &child(format, 3, 2, r".\mid.x"),
        );
        let examined = lab.examine_all();
        assert_eq!(examined.all_codes(), []);
        let [base, leaf, mid] = &examined.disks[..] else {
            panic!("{:#?}", examined.disks);
        };
        let roles = [base.role, mid.role, leaf.role];
        assert_eq!(roles, [DiskRole::Base, DiskRole::Middle, DiskRole::Leaf]);
        assert_eq!(
            (leaf.levels, leaf.parent, mid.parent),
            (3, Some(2), Some(0))
        );
        assert!(mid.checkpoint_parent && !base.checkpoint_parent);
        assert_eq!(examined.leaves().count(), 1);
        let disk = lab.open("VM/Virtual Hard Disks/leaf.avhdx");
        assert_eq!(sector(&disk, 0), [1; 512]);
        assert_eq!(sector(&disk, 2), [2; 512]);
        assert_eq!(sector(&disk, 3), [3; 512]);
        assert_eq!(sector(&disk, 4), [0; 512]);
        assert_eq!(disk.len(), SIZE);
    }
}

#[test]
fn a_parent_is_found_in_another_folder_whatever_the_case_of_its_name() {
    let lab = Lab::new();
    lab.disk("Store/Base.VHDX", &base(Vhdx, 1));
    lab.disk("VM/leaf.vhdx", &child(Vhdx, 2, 1, r"..\STORE\base.vhdx"));
    let examined = lab.examine_all();
    assert_eq!(examined.codes("VM/leaf.vhdx"), []);
    assert_eq!(examined.disk("VM/leaf.vhdx").levels, 2);
}

#[cfg(unix)]
#[test]
fn two_names_that_fit_but_for_case_are_ambiguous_unless_one_fits_exactly() {
    let lab = Lab::new();
    lab.disk("VM/Base.vhdx", &base(Vhdx, 1));
    lab.disk("VM/BASE.vhdx", &base(Vhdx, 1));
    lab.disk("VM/torn.vhdx", &child(Vhdx, 2, 1, r".\base.vhdx"));
    lab.disk("VM/sure.vhdx", &child(Vhdx, 2, 1, r".\BASE.vhdx"));
    let examined = lab.examine_all();
    assert_eq!(examined.codes("VM/torn.vhdx"), [Code::AmbiguousName]);
    assert_eq!(examined.codes("VM/sure.vhdx"), []);
}

#[test]
fn a_parent_outside_the_named_folders_is_refused_until_its_folder_is_named() {
    let lab = Lab::new();
    lab.disk("out/base.vhdx", &base(Vhdx, 1));
    lab.disk(
        "lab/VM/leaf.vhdx",
        &child(Vhdx, 2, 1, r"..\..\out\base.vhdx"),
    );
    let examined = lab.examine(&["lab"]);
    assert_eq!(examined.codes("VM/leaf.vhdx"), [Code::ParentOutside]);
    assert!(examined.disk("VM/leaf.vhdx").broken);
    let examined = lab.examine(&["lab", "out"]);
    assert!(
        !examined
            .all_findings()
            .any(|f| f.severity == Severity::Error)
    );
    let also = [lab.path("out")];
    let examined = examine(&[lab.path("lab")], &also, &lab.run()).unwrap();
    assert_eq!(examined.codes("VM/leaf.vhdx"), []);
}

#[test]
fn the_faults_of_disks_reach_those_below_and_no_others() {
    let lab = Lab::new();
    let mut bytes = base(Vhdx, 1).to_bytes().unwrap();
    bytes.truncate(bytes.len() - 4096);
    lab.write("A/base.vhdx", &bytes);
    lab.disk("A/leaf.vhdx", &child(Vhdx, 2, 1, r".\base.vhdx"));
    lab.disk("B/base.vhdx", &base(Vhdx, 1));
    lab.disk("B/leaf.vhdx", &child(Vhdx, 2, 1, r".\base.vhdx"));
    lab.disk("C/leaf.vhdx", &child(Vhdx, 2, 1, r".\base.vhdx"));
    let examined = lab.examine_all();
    let [only] = &examined.codes("A/base.vhdx")[..] else {
        panic!("{:?}", examined.codes("A/base.vhdx"));
    };
    assert!([Code::Truncated, Code::Corrupt].contains(only));
    assert_eq!(examined.codes("A/leaf.vhdx"), [Code::BrokenAncestor]);
    assert_eq!(examined.codes("B/leaf.vhdx"), []);
    assert_eq!(examined.codes("C/leaf.vhdx"), [Code::MissingParent]);
    let broken: Vec<_> = examined.leaves().map(|disk| disk.broken).collect();
    assert_eq!(broken, [true, false, true]);
    let error = open_chain(&lab.path("A/leaf.vhdx"), &[lab.root()], &lab.run())
        .err()
        .unwrap();
    assert!(matches!(error, OpenChainError::Broken { .. }), "{error}");
}

#[test]
fn what_must_agree_between_child_and_parent_is_read_from_the_files() {
    let lab = Lab::new();
    let mut small = base(Vhd, 1);
    small.virtual_size = 2 << 20;
    lab.disk("size/base.vhd", &small);
    lab.disk("size/leaf.vhd", &child(Vhd, 2, 1, r".\base.vhd"));
    lab.disk("id/base.vhdx", &base(Vhdx, 9));
    lab.disk("id/leaf.vhdx", &child(Vhdx, 2, 1, r".\base.vhdx"));
    lab.disk("mixed/base.vhdx", &base(Vhdx, 1));
    lab.disk("mixed/leaf.vhd", &child(Vhd, 2, 1, r".\base.vhdx"));
    let mut sectors = base(Vhdx, 1);
    (sectors.logical_sector, sectors.data) = (4096, Vec::new());
    lab.disk("sector/base.vhdx", &sectors);
    lab.disk("sector/leaf.vhdx", &child(Vhdx, 2, 1, r".\base.vhdx"));
    let mut timed = child(Vhd, 2, 1, r".\base.vhd");
    timed.parent.as_mut().unwrap().timestamp = 1;
    lab.disk("time/base.vhd", &base(Vhd, 1));
    lab.disk("time/leaf.vhd", &timed);
    let examined = lab.examine_all();
    for (path, code) in [
        ("size/leaf.vhd", Code::SizeMismatch),
        ("id/leaf.vhdx", Code::ParentIdMismatch),
        ("mixed/leaf.vhd", Code::MixedFormats),
        ("sector/leaf.vhdx", Code::SectorSizeMismatch),
        ("time/leaf.vhd", Code::ParentTimeDiffers),
    ] {
        assert!(
            examined.codes(path).contains(&code),
            "{path}: {:?}",
            examined.codes(path)
        );
    }
    assert!(!examined.disk("time/leaf.vhd").broken);
}

#[test]
fn of_a_single_disk_only_it_and_its_ancestors_are_examined() {
    let lab = Lab::new();
    lab.disk("VM/base.vhdx", &base(Vhdx, 1));
    lab.disk("VM/sub/mid.vhdx", &child(Vhdx, 2, 1, r"..\base.vhdx"));
    lab.disk("VM/leaf.vhdx", &child(Vhdx, 3, 2, r".\sub\mid.vhdx"));
    lab.disk("VM/other.vhdx", &child(Vhdx, 4, 9, r".\gone.vhdx"));
    let examined = lab.examine(&["VM/leaf.vhdx"]);
    let paths: Vec<_> = examined
        .disks
        .iter()
        .map(|disk| disk.path.as_str())
        .collect();
    assert_eq!(paths, ["base.vhdx", "leaf.vhdx", "sub/mid.vhdx"]);
    assert_eq!(examined.all_codes(), []);
    // Its own folder is the one below `VM`; the parent is not in it.
    assert_eq!(
        lab.examine(&["VM/sub/mid.vhdx"]).codes("mid.vhdx"),
        [Code::ParentOutside]
    );
}

#[test]
fn a_file_that_is_no_disk_is_told_and_a_path_that_leads_nowhere_stops_the_work() {
    let lab = Lab::new();
    lab.write("readme.txt", &[b'x'; 4096]);
    let examined = lab.examine(&["readme.txt"]);
    assert_eq!(examined.findings.0[0].code, Code::NotADisk);
    let error = examine(&[lab.path("gone")], &[], &lab.run()).unwrap_err();
    assert!(error.to_string().contains("gone"), "{error}");
}

#[test]
fn paths_that_are_named_twice_or_inside_another_are_examined_once() {
    let lab = Lab::new();
    lab.disk("VM/base.vhdx", &base(Vhdx, 1));
    let examined = lab.examine(&["VM", "VM", "VM/base.vhdx"]);
    assert_eq!(examined.disks.len(), 1);
    assert_eq!(examined.disks[0].path, "base.vhdx");
}

#[test]
fn each_file_of_several_folders_is_told_from_the_others_by_its_folder() {
    let lab = Lab::new();
    lab.disk("a/x.vhdx", &base(Vhdx, 1));
    lab.disk("b/x.vhdx", &base(Vhdx, 1));
    let examined = lab.examine(&["a", "b"]);
    let expected = format!("{}/x.vhdx", lab.path("a").display());
    assert_eq!(examined.disks[0].path, expected);
}

#[test]
fn a_judgement_knows_the_file_behind_each_node() {
    let lab = Lab::new();
    lab.write("VM/config.xml", b"");
    lab.disk("VM/base.vhdx", &base(Vhdx, 1));
    lab.disk("VM/leaf.vhdx", &child(Vhdx, 2, 1, r".\base.vhdx"));
    let inventory = lab.scan();
    let judged = judge(&[&inventory], &lab.run()).unwrap();
    let of = |name: &str| {
        let file = inventory
            .files
            .iter()
            .position(|f| f.path.name() == name)
            .unwrap();
        (judged.node(0, file), file)
    };
    let ((Some(leaf), _), (Some(base), file)) = (of("leaf.vhdx"), of("base.vhdx")) else {
        panic!("no nodes");
    };
    assert_eq!(of("config.xml").0, None);
    assert_eq!(judged.graph.parent_of(leaf), Some(base));
    assert_eq!(
        judged.disks.origin(base),
        Origin::File { inventory: 0, file }
    );
}

#[cfg(unix)]
mod links {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_parent_is_found_through_a_link_and_found_again_from_the_links_own_folder() {
        let lab = Lab::new();
        lab.disk("Store/base.0001.vhdx", &base(Vhdx, 1));
        lab.disk("Store/mid.0002.vhdx", &child(Vhdx, 2, 1, r".\base.vhdx"));
        lab.disk("VM/leaf.vhdx", &child(Vhdx, 3, 2, r".\mid.vhdx"));
        symlink("../Store/mid.0002.vhdx", lab.path("VM/mid.vhdx")).unwrap();
        symlink(lab.path("Store/base.0001.vhdx"), lab.path("VM/base.vhdx")).unwrap();
        let examined = lab.examine_all();
        assert_eq!(examined.codes("VM/leaf.vhdx"), []);
        assert_eq!(examined.codes("VM/mid.vhdx"), []);
        assert_eq!(examined.disk("VM/leaf.vhdx").levels, 3);
        // Opened from the store, the same file does not find its parent.
        assert_eq!(examined.codes("Store/mid.0002.vhdx"), [Code::MissingParent]);
        assert_eq!(sector(&lab.open("VM/leaf.vhdx"), 0), [1; 512]);
    }

    #[test]
    fn a_parent_is_found_through_a_link_to_its_folder() {
        let lab = Lab::new();
        lab.disk("Store/base.vhdx", &base(Vhdx, 1));
        lab.disk("VM/leaf.vhdx", &child(Vhdx, 3, 1, r".\RefDisk\base.vhdx"));
        symlink("../Store", lab.path("VM/RefDisk")).unwrap();
        assert_eq!(lab.examine_all().codes("VM/leaf.vhdx"), []);
        assert_eq!(sector(&lab.open("VM/leaf.vhdx"), 0), [1; 512]);
    }

    #[test]
    fn a_link_that_leads_out_of_the_named_folders_is_not_followed() {
        let lab = Lab::new();
        lab.disk("out/base.vhdx", &base(Vhdx, 1));
        lab.disk("lab/VM/leaf.vhdx", &child(Vhdx, 2, 1, r".\base.vhdx"));
        symlink(lab.path("out/base.vhdx"), lab.path("lab/VM/base.vhdx")).unwrap();
        let examined = lab.examine(&["lab"]);
        assert_eq!(examined.codes("VM/leaf.vhdx"), [Code::ParentOutside]);
        let found: Vec<_> = examined.findings.iter().map(|f| f.code).collect();
        assert_eq!(found, [Code::LinkInExport]);
        assert!(open_chain(&lab.path("lab/VM/leaf.vhdx"), &[], &lab.run()).is_err());
        assert_eq!(lab.examine(&["lab", "out"]).findings.0, []);
    }

    #[test]
    fn links_that_lead_to_each_other_lead_nowhere() {
        let lab = Lab::new();
        lab.disk("VM/leaf.vhdx", &child(Vhdx, 2, 1, r".\a\base.vhdx"));
        symlink("b", lab.path("VM/a")).unwrap();
        symlink("a", lab.path("VM/b")).unwrap();
        assert_eq!(
            lab.examine_all().codes("VM/leaf.vhdx"),
            [Code::MissingParent]
        );
    }

    #[test]
    fn a_cycle_through_a_link_to_the_own_folder_is_told_from_the_file_not_the_path() {
        let lab = Lab::new();
        lab.disk("VM/x.vhdx", &child(Vhdx, 1, 1, r".\down\x.vhdx"));
        symlink(".", lab.path("VM/down")).unwrap();
        let examined = lab.examine_all();
        assert!(examined.codes("VM/x.vhdx").contains(&Code::Cycle));
        assert!(examined.disks.len() < 5);
    }

    #[test]
    fn a_disk_that_is_named_by_a_link_is_opened_and_looks_for_its_parent_beside_the_link() {
        let lab = Lab::new();
        lab.disk("VM/base.vhdx", &base(Vhdx, 1));
        lab.disk("far/leaf.vhdx", &child(Vhdx, 2, 1, r".\base.vhdx"));
        symlink("../far/leaf.vhdx", lab.path("VM/link.vhdx")).unwrap();
        let examined = lab.examine(&["VM/link.vhdx"]);
        assert_eq!(examined.codes("link.vhdx"), []);
        assert_eq!(examined.disk("link.vhdx").levels, 2);
    }
}

#[test]
fn a_sparse_or_compressed_disk_is_broken_where_hyper_v_is_to_open_it() {
    let lab = Lab::new();
    lab.disk("VM/base.vhdx", &base(Vhdx, 1));
    lab.disk("VM/leaf.vhdx", &child(Vhdx, 2, 1, r".\base.vhdx"));
    let mut inventory = lab.scan();
    inventory.files[0].stamp.sparse_or_compressed = true;
    for (attached, severity) in [(false, Severity::Warning), (true, Severity::Error)] {
        let mut disks = Neighbourhood::new(&lab.meter);
        if attached {
            disks.as_attached();
        }
        disks.add(&inventory, "");
        let nodes = disks.disks_of(0, &lab.run()).unwrap();
        let graph = resolve(&mut disks, &nodes);
        let [found] = graph.findings(nodes[0]) else {
            panic!("{:?}", graph.findings(nodes[0]));
        };
        assert_eq!(
            (found.code, found.severity),
            (Code::CompressedOrSparse, severity)
        );
        assert_eq!(found.windows_error.unwrap().to_string(), "0xC03A001A");
        assert_eq!(graph.is_broken(nodes[1]), attached);
    }
}
