//! Follows every child to its parent, as far as there is one.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{
    NodeId, Surroundings,
    graph::MAX_LEVELS,
    link::{Link, link},
    rules,
};

/// Links each of `starts`, and every disk that this leads to.
///
/// Each node is linked once. A node that came up on the way is not followed further than a chain
/// may be long, nor where its file came up on the same way before: links to folders could lead a
/// hostile chain on for ever.
pub(super) fn follow(around: &mut dyn Surroundings, starts: &[NodeId]) -> BTreeMap<NodeId, Link> {
    let mut links = BTreeMap::new();
    let mut below: HashMap<NodeId, NodeId> = HashMap::new();
    let mut queue: VecDeque<_> = starts.iter().map(|&node| (node, 1_usize)).collect();
    let known: std::collections::HashSet<_> = starts.iter().copied().collect();
    while let Some((node, level)) = queue.pop_front() {
        if links.contains_key(&node) {
            continue;
        }
        if comes_again(around, &below, node) {
            links.insert(node, repeated(around, node));
            continue;
        }
        let linked = link(around, node);
        if let Some(parent) = linked.parent {
            let new = !known.contains(&parent) && !below.contains_key(&parent);
            if new && level > MAX_LEVELS {
                links.insert(parent, Link::default());
            } else if new {
                below.insert(parent, node);
                queue.push_back((parent, level.saturating_add(1)));
            }
        }
        links.insert(node, linked);
    }
    links
}

fn comes_again(around: &dyn Surroundings, below: &HashMap<NodeId, NodeId>, node: NodeId) -> bool {
    let identity = around.disk(node).identity;
    let mut at = node;
    while let Some(&child) = below.get(&at) {
        if around.disk(child).identity == identity {
            return true;
        }
        at = child;
    }
    false
}

fn repeated(around: &dyn Surroundings, node: NodeId) -> Link {
    Link {
        findings: vec![rules::cycle(around.disk(node))],
        ..Link::default()
    }
}
