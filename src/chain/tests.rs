//! Chains of hand-made disks; no file anywhere.

use std::{collections::HashMap, sync::Arc, time::Instant};

use super::*;
use crate::{
    base::{DiskId, VirtualSize},
    formats::{DiskFormat, DiskKind, HintKind, LogState, ParentLink},
    report::{Code, Severity, WindowsError},
};

/// A world in which a hint leads to the disk of that path, or to what `leads` says.
#[derive(Default)]
struct World {
    disks: Vec<Disk>,
    at: HashMap<String, NodeId>,
    leads: HashMap<String, Lookup>,
}

impl Surroundings for World {
    fn disk(&self, node: NodeId) -> &Disk {
        &self.disks[node.0]
    }

    fn look(&mut self, _: NodeId, hint: &PathHint) -> Lookup {
        if let Some(lookup) = self.leads.get(&hint.path) {
            return lookup.clone();
        }
        match self.at.get(&hint.path) {
            Some(&node) => Lookup::Disk(node),
            None => Lookup::Missing(hint.path.clone()),
        }
    }
}

fn id(number: u8) -> DiskId {
    DiskId::from_vhd([number; 16])
}

fn info(own: DiskId, parent: Option<(DiskId, &[&str])>) -> DiskInfo {
    let link = |(id, hints): (DiskId, &[&str])| ParentLink {
        id,
        id2: None,
        timestamp: None,
        hints: hints.iter().map(|path| relative(path)).collect(),
    };
    DiskInfo {
        format: DiskFormat::Vhdx,
        kind: if parent.is_some() {
            DiskKind::Differencing
        } else {
            DiskKind::Dynamic
        },
        virtual_size: VirtualSize(1 << 30),
        file_len: 4 << 20,
        block_size: Some(2 << 20),
        logical_sector: 512,
        physical_sector: 4096,
        own_id: own,
        page83_id: Some(id(99)),
        creator: String::new(),
        log: LogState::Empty,
        parent: parent.map(link),
        remarks: Vec::new(),
    }
}

fn relative(path: &str) -> PathHint {
    PathHint {
        kind: HintKind::Relative,
        path: path.to_owned(),
    }
}

impl World {
    fn add(&mut self, path: &str, info: DiskInfo) -> NodeId {
        let node = NodeId(self.disks.len());
        self.disks.push(Disk {
            path: path.to_owned(),
            identity: node.0,
            modified: 0,
            info: Some(Arc::new(info)),
            findings: Vec::new(),
        });
        self.at.insert(path.to_owned(), node);
        node
    }

    fn pair(child: DiskInfo, parent: DiskInfo) -> (Self, NodeId, NodeId) {
        let mut world = Self::default();
        let parent = world.add("base.vhdx", parent);
        let child = world.add("child.vhdx", child);
        (world, child, parent)
    }

    fn resolve(&mut self) -> Graph {
        let all: Vec<_> = (0..self.disks.len()).map(NodeId).collect();
        resolve(self, &all)
    }
}

fn child_of_base() -> DiskInfo {
    info(id(2), Some((id(1), &["base.vhdx"])))
}

fn codes(graph: &Graph, node: NodeId) -> Vec<Code> {
    let findings = graph.findings(node);
    findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn a_sound_chain_has_no_findings_and_runs_from_leaf_to_base() {
    let (mut world, child, base) = World::pair(child_of_base(), info(id(1), None));
    let leaf = world.add("leaf.avhdx", info(id(3), Some((id(2), &["child.vhdx"]))));
    let graph = world.resolve();
    for node in [leaf, child, base] {
        assert_eq!(graph.findings(node), [], "{}", world.disk(node).path);
        assert!(!graph.is_broken(node));
    }
    assert_eq!(graph.chain(leaf), [leaf, child, base]);
    assert_eq!(graph.levels(leaf), 3);
    assert_eq!(graph.leaves().collect::<Vec<_>>(), [leaf]);
    assert_eq!(graph.children(base), [child]);
    assert!(graph.has_automatic_child(child));
    assert!(!graph.has_automatic_child(base));
}

#[test]
fn a_second_linkage_of_a_vhdx_will_do() {
    let mut child = child_of_base();
    child.parent.as_mut().unwrap().id2 = Some(id(7));
    let (mut world, child, base) = World::pair(child, info(id(7), None));
    let graph = world.resolve();
    assert_eq!(graph.parent_of(child), Some(base));
    assert!(!graph.is_broken(child));
}

#[test]
fn the_hint_whose_id_is_right_counts_and_the_others_make_one_warning() {
    let hints: &[&str] = &["old.vhdx", "gone.vhdx", "base.vhdx"];
    let (mut world, child, base) =
        World::pair(info(id(2), Some((id(1), hints))), info(id(1), None));
    world.add("old.vhdx", info(id(8), None));
    let graph = world.resolve();
    assert_eq!(graph.parent_of(child), Some(base));
    assert_eq!(codes(&graph, child), [Code::StalePath]);
    let finding = &graph.findings(child)[0];
    assert_eq!(finding.severity, Severity::Warning);
    assert!(finding.message.contains("`old.vhdx`"), "{finding}");
    assert!(finding.message.contains("`gone.vhdx`"), "{finding}");
    assert!(!graph.is_broken(child));
}

#[test]
fn a_hint_that_this_system_cannot_judge_says_nothing_and_one_outside_is_a_note() {
    let hints: &[&str] = &["base.vhdx", "drive"];
    let (mut world, child, _) = World::pair(info(id(2), Some((id(1), hints))), info(id(1), None));
    world.leads.insert("drive".into(), Lookup::NotHere);
    assert_eq!(codes(&world.resolve(), child), []);
    world.leads.insert("drive".into(), Lookup::Outside);
    let graph = world.resolve();
    assert_eq!(codes(&graph, child), [Code::StalePath]);
    assert_eq!(graph.findings(child)[0].severity, Severity::Note);
}

#[test]
fn a_bare_name_that_leads_nowhere_says_nothing_where_a_locator_is_right() {
    let mut child = child_of_base();
    child.parent.as_mut().unwrap().hints.push(PathHint {
        kind: HintKind::Name,
        path: "other.vhdx".into(),
    });
    let (mut world, child, _) = World::pair(child, info(id(1), None));
    assert_eq!(codes(&world.resolve(), child), []);
}

#[test]
fn a_parent_that_is_nowhere_is_missing_and_what_was_tried_is_told() {
    let mut world = World::default();
    let child = world.add("c.vhdx", info(id(2), Some((id(1), &["b.vhdx", "drive"]))));
    world.leads.insert("drive".into(), Lookup::Outside);
    let graph = world.resolve();
    let finding = &graph.findings(child)[0];
    assert_eq!(finding.code, Code::MissingParent);
    assert_eq!(finding.windows_error, Some(WindowsError::PARENT_NOT_FOUND));
    assert!(finding.message.contains("`b.vhdx`"), "{finding}");
    assert!(finding.message.contains("`drive`"), "{finding}");
    assert!(graph.is_broken(child));
    assert_eq!(graph.parent_of(child), None);
}

#[test]
fn a_child_without_any_locator_misses_its_parent() {
    let mut world = World::default();
    let child = world.add("c.vhdx", info(id(2), Some((id(1), &[]))));
    assert_eq!(codes(&world.resolve(), child), [Code::MissingParent]);
}

#[test]
fn a_parent_outside_the_named_folders_is_refused() {
    let mut world = World::default();
    let child = world.add("c.vhdx", info(id(2), Some((id(1), &["x", "drive"]))));
    world.leads.insert("x".into(), Lookup::Outside);
    world.leads.insert("drive".into(), Lookup::NotHere);
    assert_eq!(codes(&world.resolve(), child), [Code::ParentOutside]);
}

#[test]
fn a_file_that_is_no_disk_and_names_that_differ_in_case_are_no_parent() {
    let mut world = World::default();
    let child = world.add("c.vhdx", info(id(2), Some((id(1), &["x"]))));
    let no_disk = Lookup::NotADisk("x".into());
    world.leads.insert("x".into(), no_disk);
    let graph = world.resolve();
    assert_eq!(codes(&graph, child), [Code::MissingParent]);
    let windows = graph.findings(child)[0].windows_error;
    assert_eq!(windows, Some(WindowsError::NOT_A_VIRTUAL_DISK));
    let two = Lookup::Ambiguous(vec!["X".into(), "x".into()]);
    world.leads.insert("x".into(), two);
    assert_eq!(codes(&world.resolve(), child), [Code::AmbiguousName]);
}

#[test]
fn a_parent_with_another_id_is_a_mismatch_that_names_both_ids() {
    let (mut world, child, base) = World::pair(child_of_base(), info(id(9), None));
    let graph = world.resolve();
    assert_eq!(codes(&graph, child), [Code::ParentIdMismatch]);
    let finding = &graph.findings(child)[0];
    assert_eq!(
        finding.windows_error,
        Some(WindowsError::PARENT_ID_MISMATCH)
    );
    for id in [id(1), id(9)] {
        assert!(finding.message.contains(&id.to_string()), "{finding}");
    }
    assert_eq!(graph.chain(child), [child, base]);
    assert!(!graph.is_broken(base));
}

#[test]
fn mixed_formats_are_refused_even_where_the_ids_agree() {
    let mut parent = info(id(1), None);
    parent.format = DiskFormat::Vhd;
    let (mut world, child, _) = World::pair(child_of_base(), parent);
    assert_eq!(codes(&world.resolve(), child), [Code::MixedFormats]);
}

#[test]
fn two_disks_that_are_each_others_parents_are_both_a_cycle_and_those_below_are_broken() {
    let mut world = World::default();
    let x = world.add("x", info(id(1), Some((id(2), &["y"]))));
    let y = world.add("y", info(id(2), Some((id(1), &["x"]))));
    let below = world.add("z", info(id(3), Some((id(1), &["x"]))));
    let own = world.add("o", info(id(4), Some((id(4), &["o"]))));
    let graph = world.resolve();
    for node in [x, y, own] {
        assert_eq!(codes(&graph, node), [Code::Cycle]);
        assert!(graph.is_broken(node));
    }
    assert_eq!(codes(&graph, below), [Code::BrokenAncestor]);
    assert_eq!(graph.chain(x), [x, y]);
}

#[test]
fn a_file_that_comes_again_under_another_name_is_a_cycle() {
    let mut world = World::default();
    let leaf = world.add("a", info(id(1), Some((id(2), &["b"]))));
    world.add("b", info(id(2), Some((id(1), &["link"]))));
    let link = world.add("link", info(id(1), Some((id(5), &["base"]))));
    world.add("base", info(id(5), None));
    world.disks[link.0].identity = leaf.0;
    let graph = world.resolve();
    assert_eq!(codes(&graph, leaf), [Code::Cycle]);
    assert!(!graph.is_broken(link));
}

/// A folder that links to itself: each look goes one folder further down, to the same file.
struct Endless(Vec<Disk>);

impl Surroundings for Endless {
    fn disk(&self, node: NodeId) -> &Disk {
        &self.0[node.0]
    }

    fn look(&mut self, child: NodeId, _: &PathHint) -> Lookup {
        let mut deeper = self.0[child.0].clone();
        deeper.path.insert_str(0, "down/");
        self.0.push(deeper);
        Lookup::Disk(NodeId(self.0.len() - 1))
    }
}

#[test]
fn a_folder_that_links_to_itself_does_not_lead_on_for_ever() {
    let mut world = World::default();
    world.add("x", info(id(1), Some((id(1), &["down/x"]))));
    let mut endless = Endless(world.disks);
    let graph = resolve(&mut endless, &[NodeId(0)]);
    assert!(codes(&graph, NodeId(0)).contains(&Code::Cycle));
    assert!(endless.0.len() < 5);
}

#[test]
fn sizes_must_agree_in_a_vhd_and_may_differ_in_a_vhdx() {
    let sized = |format, size, parents| {
        let (mut below, mut above) = (child_of_base(), info(id(1), None));
        (below.format, above.format) = (format, format);
        (below.virtual_size, above.virtual_size) = (VirtualSize(size), VirtualSize(parents));
        let (mut world, child, _) = World::pair(below, above);
        let graph = world.resolve();
        (codes(&graph, child), graph.is_broken(child))
    };
    assert_eq!(
        sized(DiskFormat::Vhd, 1024, 512),
        (vec![Code::SizeMismatch], true)
    );
    assert_eq!(sized(DiskFormat::Vhd, 512, 512), (vec![], false));
    assert_eq!(sized(DiskFormat::Vhdx, 1024, 512), (vec![], false));
    assert_eq!(
        sized(DiskFormat::Vhdx, 512, 1024),
        (vec![Code::ChildSmaller], false)
    );
}

#[test]
fn logical_sectors_must_agree_and_page_83_ids_should() {
    let mut parent = info(id(1), None);
    parent.logical_sector = 4096;
    parent.page83_id = Some(id(98));
    let (mut world, child, _) = World::pair(child_of_base(), parent);
    let graph = world.resolve();
    assert_eq!(
        codes(&graph, child),
        [Code::SectorSizeMismatch, Code::DiskIdDiffers]
    );
    assert!(graph.is_broken(child));
}

#[test]
fn a_recorded_time_that_is_not_the_parents_is_a_warning_and_zero_is_never_checked() {
    for (recorded, modified, expected) in [
        (Some(100), 100, vec![]),
        (Some(100), 102, vec![]),
        (Some(100), 103, vec![Code::ParentTimeDiffers]),
        (Some(100), -5, vec![Code::ParentTimeDiffers]),
        (None, 103, vec![]),
    ] {
        let mut child = child_of_base();
        child.parent.as_mut().unwrap().timestamp = recorded;
        let (mut world, child, base) = World::pair(child, info(id(1), None));
        world.disks[base.0].modified = modified;
        let graph = world.resolve();
        assert_eq!(codes(&graph, child), expected, "{recorded:?} {modified}");
        assert!(!graph.is_broken(child));
    }
}

#[test]
fn a_pending_log_breaks_the_disk_and_those_below_and_only_a_leaf_may_be_attached() {
    let mut parent = info(id(1), None);
    parent.log = LogState::Pending;
    let (mut world, child, base) = World::pair(child_of_base(), parent);
    let mut alone = info(id(5), None);
    alone.log = LogState::Pending;
    let alone = world.add("alone.vhdx", alone);
    let graph = world.resolve();
    assert_eq!(codes(&graph, base), [Code::DirtyLog]);
    assert_eq!(codes(&graph, child), [Code::BrokenAncestor]);
    let next = |node: NodeId| graph.findings(node)[0].next_step.clone().unwrap();
    assert!(
        next(alone).starts_with("attach and detach"),
        "{}",
        next(alone)
    );
    assert!(!next(base).starts_with("attach"), "{}", next(base));
}

#[test]
fn an_unreadable_parent_is_a_broken_ancestor_at_every_level_below() {
    let (mut world, child, base) = World::pair(child_of_base(), info(id(1), None));
    let leaf = world.add("leaf.vhdx", info(id(3), Some((id(2), &["child.vhdx"]))));
    world.disks[base.0].info = None;
    world.disks[base.0].findings = vec![Finding::error(
        Code::Corrupt,
        "base.vhdx",
        "header: torn, expected whole",
    )];
    let graph = world.resolve();
    assert_eq!(codes(&graph, base), [Code::Corrupt]);
    assert_eq!(codes(&graph, child), [Code::BrokenAncestor]);
    assert_eq!(codes(&graph, leaf), [Code::BrokenAncestor]);
    assert!(graph.findings(leaf)[0].message.contains("`base.vhdx`"));
    assert!(graph.is_broken(leaf));
}

#[test]
fn one_broken_chain_hides_no_other() {
    let (mut world, child, _) = World::pair(child_of_base(), info(id(1), None));
    let lost = world.add("lost.vhdx", info(id(6), Some((id(7), &["gone"]))));
    let graph = world.resolve();
    assert!(graph.is_broken(lost));
    assert!(!graph.is_broken(child));
}

#[test]
fn disks_of_one_chain_with_the_same_name_are_a_warning() {
    let mut world = World::default();
    world.add("RefDisk/disk.vhdx", info(id(1), None));
    let child = world.add(
        "vm/DISK.vhdx",
        info(id(2), Some((id(1), &["RefDisk/disk.vhdx"]))),
    );
    let graph = world.resolve();
    assert_eq!(codes(&graph, child), [Code::SameNamedChain]);
    assert!(!graph.is_broken(child));
}

#[test]
fn a_chain_may_have_256_levels_and_ten_thousand_are_judged_at_once() {
    let mut world = World::default();
    let name = |n: usize| format!("d{n}.vhdx");
    let number = |n: usize| DiskId::from_vhd((n as u128 + 1).to_be_bytes());
    world.add(&name(0), info(number(0), None));
    for n in 1..10_000 {
        let above = name(n - 1);
        world.add(
            &name(n),
            info(number(n), Some((number(n - 1), &[above.as_str()]))),
        );
    }
    let started = Instant::now();
    let graph = world.resolve();
    assert!(started.elapsed().as_secs() < 5);
    assert!(!graph.is_broken(NodeId(255)));
    assert_eq!(graph.levels(NodeId(255)), 256);
    assert_eq!(codes(&graph, NodeId(256)), [Code::ChainTooDeep]);
    assert_eq!(codes(&graph, NodeId(9_999)), [Code::BrokenAncestor]);
}

#[test]
fn a_chain_that_is_found_from_its_leaf_alone_is_followed_to_its_base() {
    let (mut world, child, base) = World::pair(child_of_base(), info(id(1), None));
    let graph = resolve(&mut world, &[child]);
    assert_eq!(graph.nodes().collect::<Vec<_>>(), [base, child]);
    assert_eq!(graph.chain(child), [child, base]);
}
