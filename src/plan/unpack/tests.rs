use std::collections::HashMap;

use super::*;
use crate::{
    base::VirtualSize,
    formats::{DiskFormat, DiskKind},
    fs::FileKey,
    manifest::{
        DiskFacts, InStore, Manifest, PackedFile, ParentFacts, Place, RefDisk, RefDiskFacts, Role,
        Sharing, StorePlace, Totals, Unknown,
    },
    plan::{Location, Roots, Seen},
    report::{Code, Severity},
};

fn id(text: &str) -> ContentId {
    ContentId::from(blake3::hash(text.as_bytes()))
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn disk(at: &str, parent: Option<&str>, role: Role, place: Place) -> PackedFile {
    let own = |at: &str| DiskId::from_vhdx(id(at).as_bytes()[..16].try_into().unwrap());
    PackedFile {
        path: path(at),
        length: 1000,
        modified: FileTime(5),
        attributes: Attributes::default(),
        digest: id(at),
        role,
        disk: Some(Box::new(DiskFacts {
            format: DiskFormat::Vhdx,
            kind: if parent.is_some() {
                DiskKind::Differencing
            } else {
                DiskKind::Dynamic
            },
            virtual_size: VirtualSize(1 << 20),
            own_id: own(at),
            parent: parent.map(|at| ParentFacts {
                path: path(at),
                id: own(at),
                unknown: Unknown::new(),
            }),
            unknown: Unknown::new(),
        })),
        place,
        unknown: Unknown::new(),
    }
}

fn stored(ref_disk: &str, sharing: Sharing) -> Place {
    Place::Store(Box::new(InStore {
        ref_disk: id(ref_disk),
        sharing,
        residue: Residue::default(),
    }))
}

fn ref_disk(name: &str, parent: Option<&str>) -> RefDisk {
    RefDisk {
        id: id(name),
        file: format!("{name}.vhdx"),
        length: 1000,
        modified: FileTime(5),
        disk: Some(RefDiskFacts {
            format: DiskFormat::Vhdx,
            kind: if parent.is_some() {
                DiskKind::Differencing
            } else {
                DiskKind::Dynamic
            },
            virtual_size: VirtualSize(1 << 20),
            own_id: DiskId::from_vhdx([7; 16]),
            canonical: None,
            parent: parent.map(id),
            unknown: Unknown::new(),
        }),
        used_by: Vec::new(),
        unknown: Unknown::new(),
    }
}

/// A VM with base ← mid ← leaf, the first two shared, and a checkpoint parent with its leaf.
fn manifest() -> Manifest {
    let link = |disk| stored(disk, Sharing::Link);
    Manifest {
        format: Manifest::FORMAT.to_owned(),
        version: 1,
        tool: String::new(),
        created: String::new(),
        store: StorePlace::Own,
        totals: Totals::default(),
        vms: Vec::new(),
        other_files: vec![
            disk("VM/base.vhdx", None, Role::Parent, link("base")),
            disk(
                "VM/mid.vhdx",
                Some("VM/base.vhdx"),
                Role::Parent,
                link("mid"),
            ),
            disk(
                "VM/D/leaf.vhdx",
                Some("VM/mid.vhdx"),
                Role::Leaf,
                Place::Pack,
            ),
            disk(
                "VM/cp.vhdx",
                None,
                Role::CheckpointParent,
                stored("cp", Sharing::Copy),
            ),
            disk("VM/cp.avhdx", Some("VM/cp.vhdx"), Role::Leaf, Place::Pack),
            disk(
                "VM/broken.vhdx",
                Some("VM/mid.vhdx"),
                Role::Broken,
                Place::Pack,
            ),
        ],
        folders: Vec::new(),
        ref_disks: vec![
            ref_disk("base", None),
            ref_disk("mid", Some("base")),
            ref_disk("cp", None),
        ],
        unknown: Unknown::new(),
    }
}

fn roots() -> Roots {
    Roots {
        dest: Location::windows(r"D:\Labs").unwrap(),
        store: Location::windows(r"D:\Labs\RefDisk").unwrap(),
        windows_dest: None,
    }
}

fn plan_of(manifest: &Manifest, link: Link, roots: &Roots) -> UnpackPlan {
    let names = HashMap::new();
    UnpackPlan::of(Wanted {
        manifest,
        link,
        roots,
        names: &names,
    })
}

fn plan(link: Link) -> UnpackPlan {
    plan_of(&manifest(), link, &roots())
}

/// The absolute and the relative path by which a file of the plan names its parent.
fn parent(plan: &UnpackPlan, at: &str) -> Option<(String, Option<String>)> {
    let step = plan
        .files
        .iter()
        .find(|step| step.path == path(at))
        .unwrap();
    let paths = step.parent.clone()?;
    Some((paths.absolute.unwrap(), paths.relative))
}

fn named(absolute: &str, relative: &str) -> Option<(String, Option<String>)> {
    Some((absolute.to_owned(), Some(relative.to_owned())))
}

#[test]
fn under_links_and_clones_children_name_the_parents_path() {
    for link in [Link::Reflink, Link::Hardlink, Link::Symlink] {
        let plan = plan(link);
        assert_eq!(
            parent(&plan, "VM/D/leaf.vhdx"),
            named(r"D:\Labs\VM\mid.vhdx", r"..\mid.vhdx")
        );
        assert_eq!(
            parent(&plan, "VM/cp.avhdx"),
            named(r"D:\Labs\VM\cp.vhdx", r".\cp.vhdx")
        );
    }
    let clone = parent(&plan(Link::Reflink), "VM/mid.vhdx");
    assert_eq!(clone, named(r"D:\Labs\VM\base.vhdx", r".\base.vhdx"));
}

#[test]
fn relocated_children_name_the_store_and_a_checkpoint_parent_stays_beside_its_child() {
    let plan = plan(Link::Relocate);
    let store = named(r"D:\Labs\RefDisk\mid.vhdx", r"..\..\RefDisk\mid.vhdx");
    assert_eq!(parent(&plan, "VM/D/leaf.vhdx"), store);
    assert_eq!(
        parent(&plan, "VM/cp.avhdx"),
        named(r"D:\Labs\VM\cp.vhdx", r".\cp.vhdx")
    );
    assert!(plan.links.is_empty());
    assert!(
        plan.files
            .iter()
            .all(|step| step.path != path("VM/base.vhdx"))
    );
}

#[test]
fn on_another_drive_only_the_absolute_path_is_left() {
    let roots = Roots {
        store: Location::windows(r"E:\Store").unwrap(),
        ..roots()
    };
    let plan = plan_of(&manifest(), Link::Relocate, &roots);
    let store = Some((r"E:\Store\mid.vhdx".to_owned(), None));
    assert_eq!(parent(&plan, "VM/D/leaf.vhdx"), store);
}

#[test]
fn junctions_stand_where_children_of_shared_parents_are() {
    let plan = plan(Link::Junction);
    let links: Vec<_> = plan
        .links
        .iter()
        .map(|step| (step.path.as_str(), step.kind))
        .collect();
    assert_eq!(links, [("VM/D/RefDisk", LinkKind::Junction)]);
    let through = named(r"D:\Labs\VM\D\RefDisk\mid.vhdx", r".\RefDisk\mid.vhdx");
    assert_eq!(parent(&plan, "VM/D/leaf.vhdx"), through);
}

#[test]
fn a_link_has_its_ancestors_beside_it_under_their_names_in_the_store() {
    let plan = plan(Link::Hardlink);
    let links: Vec<_> = plan
        .links
        .iter()
        .map(|step| (step.path.as_str(), step.ref_disk))
        .collect();
    // The base's own link is called as its file in the store is: one name is enough.
    assert_eq!(
        links,
        [
            ("VM/base.vhdx", Some(id("base"))),
            ("VM/mid.vhdx", Some(id("mid")))
        ]
    );
    let mut manifest = manifest();
    manifest.ref_disks[0].file = "base.0123.vhdx".to_owned();
    let links = plan_of(&manifest, Link::Symlink, &roots()).links;
    let links: Vec<_> = links.iter().map(|step| step.path.as_str()).collect();
    assert_eq!(links, ["VM/base.0123.vhdx", "VM/base.vhdx", "VM/mid.vhdx"]);
}

#[test]
fn a_file_of_the_lab_where_a_link_must_stand_is_an_error() {
    let mut manifest = manifest();
    manifest.ref_disks[0].file = "CP.VHDX".to_owned();
    let plan = plan_of(&manifest, Link::Hardlink, &roots());
    assert_eq!(plan.findings.0[0].code, Code::NameInUse);
    assert!(plan.findings.any_error());
    manifest.other_files[0].path = path("refdisk/base.vhdx");
    let plan = plan_of(&manifest, Link::Relocate, &roots());
    assert!(
        plan.findings.any_error(),
        "the lab has a folder where the store is to be"
    );
}

#[test]
fn a_copy_changes_no_locator_and_needs_no_store() {
    let plan = plan(Link::Copy);
    assert_eq!(plan.files.len(), 6);
    assert!(plan.files.iter().all(|step| step.parent.is_none()));
    assert!(plan.ref_disks.is_empty() && plan.links.is_empty());
}

#[test]
fn a_broken_disk_keeps_its_locators() {
    for link in Link::ALL {
        assert_eq!(parent(&plan(link), "VM/broken.vhdx"), None);
    }
}

#[test]
fn the_store_gets_shared_parents_alone_and_each_names_its_parent_there() {
    let plan = plan(Link::Relocate);
    let files: Vec<_> = plan
        .ref_disks
        .iter()
        .map(|step| step.file.as_str())
        .collect();
    assert_eq!(files, ["base.vhdx", "mid.vhdx"]);
    let paths = plan.ref_disks[1].parent.clone().unwrap();
    assert_eq!(paths.relative.unwrap(), r".\base.vhdx");
    assert_eq!(paths.absolute.unwrap(), r"D:\Labs\RefDisk\base.vhdx");
}

fn record(step: &FileStep) -> FileRecord {
    let key = FileKey { volume: 1, file: 2 };
    FileRecord {
        path: step.path.clone(),
        packed: step.packed,
        written: None,
        seen: Seen {
            key,
            length: step.length,
            modified: step.modified,
            disk: None,
        },
        parent: step.parent.clone(),
    }
}

#[test]
fn what_stands_there_decides_what_is_done() {
    let fresh = plan(Link::Relocate);
    let leaf = fresh
        .files
        .iter()
        .position(|step| step.path == path("VM/D/leaf.vhdx"))
        .unwrap();
    let same = record(&fresh.files[leaf]);
    let other = FileRecord {
        packed: id("older"),
        ..same.clone()
    };
    let elsewhere = FileRecord {
        parent: None,
        ..same.clone()
    };
    for (found, reset, action, code) in [
        (Standing::Nothing, false, FileAction::Write, None),
        (
            Standing::Unchanged(same.clone()),
            true,
            FileAction::Keep,
            None,
        ),
        (Standing::Unchanged(other), false, FileAction::Replace, None),
        (
            Standing::Unchanged(elsewhere),
            false,
            FileAction::Replace,
            None,
        ),
        (
            Standing::Used,
            false,
            FileAction::LeaveUsed,
            Some(Code::UsedSince),
        ),
        (Standing::Used, true, FileAction::Reset, None),
        (
            Standing::Foreign("a file"),
            true,
            FileAction::LeaveUsed,
            Some(Code::NameInUse),
        ),
    ] {
        let mut step = fresh.files[leaf].clone();
        let finding = step.meet(&found, reset);
        assert_eq!(step.action, action, "{found:?}");
        let error = finding
            .as_ref()
            .is_some_and(|it| it.severity == Severity::Error);
        assert_eq!(error, code == Some(Code::NameInUse));
        assert_eq!(finding.map(|finding| finding.code), code, "{found:?}");
    }
}

#[test]
fn a_link_is_kept_where_it_leads_right_and_made_again_where_not() {
    let fresh = plan(Link::Symlink);
    let step = &fresh.links[0];
    let record = |kind| LinkRecord {
        path: step.path.clone(),
        kind,
        ref_disk: step.ref_disk,
        target: None,
        key: None,
    };
    for (kind, right, action) in [
        (LinkKind::Symlink, true, LinkAction::Keep),
        (LinkKind::Symlink, false, LinkAction::Replace),
        (LinkKind::Hardlink, true, LinkAction::Replace),
    ] {
        let mut step = step.clone();
        let found = Standing::Linked {
            record: record(kind),
            right,
        };
        assert_eq!(step.meet(&found, false), None);
        assert_eq!(step.action, action);
    }
}
