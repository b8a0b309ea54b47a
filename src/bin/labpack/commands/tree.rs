//! `labpack tree`: who is whose parent, drawn.

use std::collections::HashMap;

use labpack::{
    chain::MAX_LEVELS,
    export::{ExaminedDisk, examine},
    report::{Findings, Severity},
};
use serde::Serialize;

use super::Shell;
use crate::{
    answer::{Answer, Failure},
    cli::Tree,
    render::{Paint, clean, count, size},
};

#[derive(Serialize)]
struct Body {
    disks: Vec<ExaminedDisk>,
}

/// Draws every disk below its parent.
///
/// # Errors
/// Where a path cannot be read, and when the user stops the work.
pub(super) fn carry_out(args: &Tree, shell: &Shell<'_>) -> Result<Answer, Failure> {
    let also: Vec<_> = args.store.iter().cloned().collect();
    let examination = examine(&args.paths, &also, &shell.run)?;
    let findings = Findings(examination.all_findings().cloned().collect());
    let mut text = Forest::new(&examination.disks).draw(args.ascii, shell.paint);
    if !findings.is_empty() && !shell.options.quiet {
        text += &format!("\nfound {}: `labpack verify` says what\n", count(&findings));
    }
    Ok(Answer::new(
        text,
        Body {
            disks: examination.disks,
        },
        findings,
    ))
}

/// The disks, each with its children.
struct Forest<'a> {
    disks: &'a [ExaminedDisk],
    children: HashMap<usize, Vec<usize>>,
}

/// A line that is still to be drawn.
struct Branch {
    disk: usize,
    /// What stands before the branch itself: one flag for each level above, set where that
    /// level goes on below.
    above: Vec<bool>,
    last: bool,
    root: bool,
}

struct Strokes {
    fork: &'static str,
    corner: &'static str,
    bar: &'static str,
}

const LINES: Strokes = Strokes {
    fork: "├─ ",
    corner: "└─ ",
    bar: "│  ",
};
const ASCII: Strokes = Strokes {
    fork: "|- ",
    corner: "`- ",
    bar: "|  ",
};

impl<'a> Forest<'a> {
    fn new(disks: &'a [ExaminedDisk]) -> Self {
        let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
        for (i, disk) in disks.iter().enumerate() {
            if let Some(parent) = disk.parent {
                children.entry(parent).or_default().push(i);
            }
        }
        Self { disks, children }
    }

    fn draw(&self, ascii: bool, paint: Paint) -> String {
        let strokes = if ascii { &ASCII } else { &LINES };
        let mut drawn = vec![false; self.disks.len()];
        let roots = (0..self.disks.len()).filter(|&i| self.disks[i].parent.is_none());
        // What hangs on no root bites its own tail, or hangs too deep to be drawn there: each
        // such ring or rest is drawn from its first disk on.
        let rest = 0..self.disks.len();
        let mut text = String::new();
        for root in roots.chain(rest) {
            if !drawn[root] {
                self.draw_tree(root, strokes, paint, &mut drawn, &mut text);
            }
        }
        text
    }

    /// Chains may be as deep as a hostile export likes: no recursion.
    fn draw_tree(
        &self,
        root: usize,
        strokes: &Strokes,
        paint: Paint,
        drawn: &mut [bool],
        text: &mut String,
    ) {
        let mut stack = vec![Branch {
            disk: root,
            above: Vec::new(),
            last: true,
            root: true,
        }];
        while let Some(branch) = stack.pop() {
            let again = std::mem::replace(&mut drawn[branch.disk], true);
            let disk = &self.disks[branch.disk];
            *text += &branch.stem(strokes);
            let name = if branch.root {
                &disk.path
            } else {
                self.short_name(disk)
            };
            *text += &if again {
                ring(name)
            } else {
                label(name, disk, paint)
            };
            text.push('\n');
            if !again && branch.above.len() < MAX_LEVELS {
                stack.extend(self.branches(&branch).into_iter().rev());
            }
        }
    }

    /// The name alone where the disk lies beside its parent.
    fn short_name<'d>(&self, disk: &'d ExaminedDisk) -> &'d str {
        let (folder, name) = split(&disk.path);
        let parent = disk.parent.and_then(|parent| self.disks.get(parent));
        let beside = parent.is_some_and(|parent| split(&parent.path).0 == folder);
        if beside { name } else { &disk.path }
    }

    fn branches(&self, parent: &Branch) -> Vec<Branch> {
        let children = self
            .children
            .get(&parent.disk)
            .map_or(&[][..], Vec::as_slice);
        let mut above = parent.above.clone();
        if !parent.root {
            above.push(!parent.last);
        }
        let branch = |(i, &disk): (usize, &usize)| Branch {
            disk,
            above: above.clone(),
            last: i + 1 == children.len(),
            root: false,
        };
        children.iter().enumerate().map(branch).collect()
    }
}

impl Branch {
    fn stem(&self, strokes: &Strokes) -> String {
        let bars = self
            .above
            .iter()
            .map(|&on| if on { strokes.bar } else { "   " });
        let own = match (self.root, self.last) {
            (true, _) => "",
            (false, true) => strokes.corner,
            (false, false) => strokes.fork,
        };
        bars.chain([own]).collect()
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn ring(name: &str) -> String {
    format!("{} (again: each is the other's ancestor)", clean(name))
}

fn label(name: &str, disk: &ExaminedDisk, paint: Paint) -> String {
    let mut facts: Vec<String> = Vec::new();
    facts.extend(disk.format.map(|format| format.to_string()));
    facts.extend(disk.kind.map(|kind| kind.to_string()));
    facts.push(size(disk.file_size));
    facts.extend(
        disk.virtual_size
            .map(|virtual_size| format!("looks like {}", size(virtual_size.0))),
    );
    if disk.checkpoint_parent {
        facts.push("checkpoint parent".to_owned());
    }
    let facts = paint.dim(&format!("({})", facts.join(", ")));
    format!("{} {facts}{}", clean(name), faults(disk, paint))
}

fn faults(disk: &ExaminedDisk, paint: Paint) -> String {
    let worth_it = disk
        .findings
        .iter()
        .filter(|finding| finding.severity > Severity::Note);
    let mark = |finding: &labpack::report::Finding| {
        let text = format!("{}[{}]", finding.severity, finding.code);
        format!(" {}", paint.severity(finding.severity, &text))
    };
    worth_it.map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use labpack::{
        export::DiskRole,
        formats::{DiskFormat, DiskKind},
        report::{Code, Finding},
    };

    fn disk(path: &str, parent: Option<usize>) -> ExaminedDisk {
        ExaminedDisk {
            path: path.to_owned(),
            role: DiskRole::Leaf,
            checkpoint_parent: false,
            format: Some(DiskFormat::Vhdx),
            kind: Some(DiskKind::Dynamic),
            virtual_size: None,
            file_size: 4 << 20,
            own_id: None,
            parent,
            levels: 1,
            broken: false,
            findings: Vec::new(),
        }
    }

    fn draw(disks: &[ExaminedDisk], ascii: bool) -> String {
        let text = Forest::new(disks).draw(ascii, Paint(false));
        text.replace(" (VHDX, dynamic, 4.0 MiB)", "")
    }

    #[test]
    fn children_hang_below_their_parent() {
        let disks = [
            disk("base", None),
            disk("a", Some(0)),
            disk("a1", Some(1)),
            disk("a2", Some(1)),
            disk("b", Some(0)),
            disk("b1", Some(4)),
            disk("alone", None),
        ];
        let expected = "base\n├─ a\n│  ├─ a1\n│  └─ a2\n└─ b\n   └─ b1\nalone\n";
        assert_eq!(draw(&disks, false), expected);
        let expected = "base\n|- a\n|  |- a1\n|  `- a2\n`- b\n   `- b1\nalone\n";
        assert_eq!(draw(&disks, true), expected);
    }

    #[test]
    fn only_a_child_in_another_folder_is_shown_with_its_folder() {
        let disks = [
            disk("VM/base", None),
            disk("VM/a", Some(0)),
            disk("Other/b", Some(0)),
        ];
        assert_eq!(draw(&disks, false), "VM/base\n├─ a\n└─ Other/b\n");
    }

    #[test]
    fn a_ring_is_drawn_once_and_named() {
        let disks = [disk("a", Some(1)), disk("b", Some(0)), disk("c", Some(0))];
        let expected = "a\n├─ b\n│  └─ a (again: each is the other's ancestor)\n└─ c\n";
        assert_eq!(draw(&disks, false), expected);
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_disks_is_drawn_piece_by_piece() {
        let mut disks = vec![disk("base", None)];
        disks.extend((0..100_000).map(|i| disk("child", Some(i))));
        let text = draw(&disks, false);
        assert_eq!(text.lines().count(), 100_001);
        assert!(text.lines().all(|line| line.len() < 4 * MAX_LEVELS));
    }

    #[test]
    fn what_is_wrong_with_a_disk_stands_behind_it() {
        let mut broken = disk("a", None);
        broken
            .findings
            .push(Finding::error(Code::MissingParent, "a", "gone"));
        assert_eq!(draw(&[broken], false), "a error[missing-parent]\n");
    }
}
