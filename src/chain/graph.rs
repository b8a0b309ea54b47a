//! The parent graph, judged.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{NodeId, Surroundings, follow::follow, link::Link, rules};
use crate::{
    base::fold_case,
    report::{Finding, Severity},
};

/// How many levels a chain may have, leaf and base included.
pub const MAX_LEVELS: usize = 256;

/// Who is whose parent, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: BTreeMap<NodeId, Judged>,
    depended_on: HashSet<usize>,
    written_into: HashSet<usize>,
}

#[derive(Debug, Default)]
struct Judged {
    identity: usize,
    /// Equal for two nodes whose file names differ at most in case.
    name: usize,
    parent: Option<NodeId>,
    right: bool,
    children: Vec<NodeId>,
    levels: usize,
    findings: Vec<Finding>,
    /// The nearest disk, this one included, that breaks the chain by itself.
    culprit: Option<NodeId>,
}

/// Finds the parents of `starts`, of their parents, and so on; judges every chain.
///
/// Work and memory grow with the number of disks alone, and nothing here is recursive.
pub fn resolve(around: &mut dyn Surroundings, starts: &[NodeId]) -> Graph {
    let links = follow(around, starts);
    let mut graph = Graph::of(around, &links);
    let order = graph.measure();
    graph.judge(around, links);
    graph.break_chains(around, &order);
    graph
}

impl Graph {
    /// Returns every node that was given or came up, by id.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.keys().copied()
    }

    /// Returns the parent; where its id is wrong, still the disk that the child leads to.
    #[must_use]
    pub fn parent_of(&self, node: NodeId) -> Option<NodeId> {
        self.nodes.get(&node)?.parent
    }

    /// Returns the nodes whose parent this one is.
    #[must_use]
    pub fn children(&self, node: NodeId) -> &[NodeId] {
        self.nodes.get(&node).map_or(&[], |judged| &judged.children)
    }

    /// Tells whether another disk depends on this file, under whatever name.
    #[must_use]
    pub fn is_parent(&self, node: NodeId) -> bool {
        let judged = self.nodes.get(&node);
        judged.is_some_and(|judged| self.depended_on.contains(&judged.identity))
    }

    /// Returns the disks that no other depends on.
    pub fn leaves(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes().filter(|&node| !self.is_parent(node))
    }

    /// Returns the chain of a disk, itself first, its base last; a cycle ends where it closes.
    #[must_use]
    pub fn chain(&self, node: NodeId) -> Vec<NodeId> {
        let mut seen = HashSet::new();
        let up = std::iter::successors(Some(node), |&node| self.parent_of(node));
        up.take_while(|&node| seen.insert(node)).collect()
    }

    /// Returns how many levels the chain has, from this disk to its base.
    #[must_use]
    pub fn levels(&self, node: NodeId) -> usize {
        self.nodes.get(&node).map_or(0, |judged| judged.levels)
    }

    /// Tells whether something is wrong with the disk or with one above it.
    #[must_use]
    pub fn is_broken(&self, node: NodeId) -> bool {
        let judged = self.nodes.get(&node);
        judged.is_none_or(|judged| judged.culprit.is_some())
    }

    /// Returns what was found about a disk: about its file first, then about its chain.
    #[must_use]
    pub fn findings(&self, node: NodeId) -> &[Finding] {
        self.nodes.get(&node).map_or(&[], |judged| &judged.findings)
    }

    /// Tells whether a checkpoint depends on this file: deleting it writes into the file.
    #[must_use]
    pub fn has_automatic_child(&self, node: NodeId) -> bool {
        let judged = self.nodes.get(&node);
        judged.is_some_and(|judged| self.written_into.contains(&judged.identity))
    }

    fn of(around: &dyn Surroundings, links: &BTreeMap<NodeId, Link>) -> Self {
        let (mut graph, mut names) = (Self::default(), HashMap::new());
        for (&node, link) in links {
            let judged = graph.nodes.entry(node).or_default();
            judged.identity = around.disk(node).identity;
            let next = names.len();
            judged.name = *names
                .entry(fold_case(around.disk(node).name()))
                .or_insert(next);
            (judged.parent, judged.right) = (link.parent, link.right);
            let Some(parent) = link.parent else { continue };
            graph.nodes.entry(parent).or_default().children.push(node);
            let identity = around.disk(parent).identity;
            graph.depended_on.insert(identity);
            if around.disk(node).is_automatic() {
                graph.written_into.insert(identity);
            }
        }
        graph
    }

    /// Counts levels, and returns the nodes in an order in which parents come before children.
    /// Those on a cycle count its length.
    fn measure(&mut self) -> Vec<NodeId> {
        let mut order = Vec::with_capacity(self.nodes.len());
        for start in self.nodes.keys().copied().collect::<Vec<_>>() {
            let (mut way, mut on_way) = (Vec::new(), HashMap::new());
            let mut at = Some(start);
            while let Some(node) = at.filter(|&node| self.levels(node) == 0) {
                if let Some(first) = on_way.insert(node, way.len()) {
                    self.close_cycle(&way[first..]);
                    break;
                }
                way.push(node);
                at = self.parent_of(node);
            }
            for &node in way.iter().rev() {
                self.measure_one(node);
                order.push(node);
            }
        }
        order
    }

    fn close_cycle(&mut self, cycle: &[NodeId]) {
        for node in cycle {
            if let Some(judged) = self.nodes.get_mut(node) {
                judged.levels = cycle.len();
                judged.culprit = Some(*node);
            }
        }
    }

    fn measure_one(&mut self, node: NodeId) {
        let above = self.parent_of(node).map_or(0, |parent| self.levels(parent));
        if let Some(judged) = self
            .nodes
            .get_mut(&node)
            .filter(|judged| judged.levels == 0)
        {
            judged.levels = above.saturating_add(1);
        }
    }

    /// Adds to each node what is wrong with it alone, or between it and its ancestors.
    fn judge(&mut self, around: &dyn Surroundings, links: BTreeMap<NodeId, Link>) {
        let shared = self.shared_files();
        for (node, link) in links {
            let disk = around.disk(node);
            let mut findings = disk.findings.clone();
            findings.extend(rules::log(disk, self.is_parent(node)));
            findings.extend(link.findings);
            if let Some(parent) = link.parent.filter(|_| link.right) {
                findings.extend(rules::between(disk, around.disk(parent)));
            }
            findings.extend(self.judge_chain(around, node, &shared));
            if let Some(judged) = self.nodes.get_mut(&node) {
                judged.findings = findings;
            }
        }
    }

    fn judge_chain(
        &self,
        around: &dyn Surroundings,
        node: NodeId,
        shared: &HashSet<usize>,
    ) -> Vec<Finding> {
        let disk = around.disk(node);
        let mut findings = Vec::new();
        let twice = shared.contains(&disk.identity) && self.meets_itself(node);
        if twice
            || self
                .nodes
                .get(&node)
                .is_some_and(|judged| judged.culprit.is_some())
        {
            findings.push(rules::cycle(disk));
        } else if self.levels(node) == MAX_LEVELS.saturating_add(1) {
            findings.push(rules::too_deep(disk, MAX_LEVELS));
        }
        findings.extend(
            self.namesake(node)
                .map(|other| rules::same_name(disk, around.disk(other))),
        );
        findings
    }

    /// Returns the files that are several nodes.
    fn shared_files(&self) -> HashSet<usize> {
        let mut seen = HashSet::new();
        let identities = self.nodes.values().map(|judged| judged.identity);
        identities
            .filter(|&identity| !seen.insert(identity))
            .collect()
    }

    fn ancestors(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let up = std::iter::successors(self.parent_of(node), |&node| self.parent_of(node));
        up.take(MAX_LEVELS)
    }

    /// Tells whether the node's own file is among its ancestors, under another name.
    fn meets_itself(&self, node: NodeId) -> bool {
        let identity = |node| self.nodes.get(&node).map(|judged| judged.identity);
        self.ancestors(node)
            .any(|ancestor| identity(ancestor) == identity(node))
    }

    /// Returns the nearest ancestor, another file, that has the same name.
    fn namesake(&self, node: NodeId) -> Option<NodeId> {
        let own = self.nodes.get(&node)?;
        let same = |ancestor: &NodeId| {
            let other = self.nodes.get(ancestor);
            other.is_some_and(|other| other.name == own.name && other.identity != own.identity)
        };
        self.ancestors(node).find(same)
    }

    /// Carries what breaks a disk down to those below it.
    fn break_chains(&mut self, around: &dyn Surroundings, order: &[NodeId]) {
        for &node in order {
            let Some(judged) = self.nodes.get(&node) else {
                continue;
            };
            let error = |finding: &Finding| finding.severity == Severity::Error;
            let own = around.disk(node).info.is_none() || judged.findings.iter().any(error);
            let above = judged
                .parent
                .filter(|_| judged.right && judged.culprit.is_none());
            let above = above.and_then(|parent| self.nodes.get(&parent)?.culprit);
            let direct = judged.parent == above;
            let Some(judged) = self.nodes.get_mut(&node) else {
                continue;
            };
            if let Some(culprit) = above {
                let finding =
                    rules::broken_ancestor(around.disk(node), around.disk(culprit), direct);
                judged.findings.push(finding);
            }
            judged.culprit = if own { Some(node) } else { above };
        }
    }
}
