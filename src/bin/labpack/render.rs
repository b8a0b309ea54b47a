//! How values read: findings, tables, sizes, times.
//!
//! Names and messages may come from a hostile export. Nothing of theirs reaches a terminal as a
//! control character.

use std::{borrow::Cow, fmt::Write, time::Duration};

use bytesize::ByteSize;
use clap::builder::styling::{AnsiColor, Style};
use labpack::{
    base::IoTotals,
    report::{Finding, Findings, Severity},
};

use crate::{advice::advice, answer::Failure, exit::Exit};

/// Whether colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    /// `text` in bold.
    pub(crate) fn bold(self, text: &str) -> String {
        self.styled(Style::new().bold(), text)
    }

    /// `text`, less prominent.
    pub(crate) fn dim(self, text: &str) -> String {
        self.styled(Style::new().dimmed(), text)
    }

    /// `text` in the colour of a severity.
    pub(crate) fn severity(self, severity: Severity, text: &str) -> String {
        let colour = match severity {
            Severity::Note => AnsiColor::Cyan,
            Severity::Warning => AnsiColor::Yellow,
            Severity::Error => AnsiColor::Red,
        };
        self.styled(colour.on_default().bold(), text)
    }

    fn styled(self, style: Style, text: &str) -> String {
        if self.0 {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// `text` with every control character spelled out.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let spell = |c: char| {
        if c.is_control() {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    };
    Cow::Owned(text.chars().map(spell).collect())
}

/// Bytes as a person reads them: `1.5 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// A part of a whole in percent: `62.5 %`.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    // Only shown, so what a float loses does not matter.
    let share = if whole == 0 {
        0.0
    } else {
        part as f64 * 100.0 / whole as f64
    };
    format!("{share:.1} %")
}

/// A stretch of time: `0.4 s`, `3 min 12 s`, `2 h 5 min`.
pub(crate) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Bytes per second.
pub(crate) fn rate(bytes: u64, time: Duration) -> String {
    let per_second = bytes as f64 / time.as_secs_f64().max(0.001);
    format!("{}/s", size(per_second as u64))
}

/// What was read and written, in how long.
pub(crate) fn io(io: &IoTotals, elapsed: Duration) -> String {
    let moved = io.read.max(io.written);
    let told = [
        ("read", io.read),
        ("wrote", io.written),
        ("cloned", io.cloned),
        ("needed no reading for", io.skipped),
        ("looked at", io.inspected),
    ];
    let told = told.into_iter().filter(|(_, bytes)| *bytes > 0);
    let told: Vec<_> = told
        .map(|(what, bytes)| format!("{what} {}", size(bytes)))
        .collect();
    let rate = if moved > 0 {
        format!(" ({})", rate(moved, elapsed))
    } else {
        String::new()
    };
    match told.is_empty() {
        true => format!("done in {}\n", time(elapsed)),
        false => format!("{} in {}{rate}\n", told.join(", "), time(elapsed)),
    }
}

/// One finding, on two or three lines.
pub(crate) fn finding(finding: &Finding, paint: Paint) -> String {
    let head = format!("{}[{}]", finding.severity, finding.code);
    let head = paint.severity(finding.severity, &head);
    let mut text = format!("{head} {}\n", paint.bold(&clean(&finding.path)));
    text += &format!("    {}", clean(&finding.message));
    if let Some(error) = finding.windows_error {
        text += &format!(" {}", paint.dim(&format!("(Hyper-V: {error})")));
    }
    text.push('\n');
    if let Some(step) = &finding.next_step {
        text += &format!("    next: {}\n", clean(step));
    }
    text
}

/// Why a command did not finish.
pub(crate) fn failure(failure: &Failure, paint: Paint) -> String {
    let mut text = findings(&failure.findings, true, paint);
    if failure.exit == Exit::Interrupted {
        text += "interrupted: nothing is lost; run the same command again to go on\n";
        return text;
    }
    let error = clean(&failure.error.to_string()).into_owned();
    text += &format!("{} {error}\n", paint.severity(Severity::Error, "error:"));
    let mut before = error;
    for cause in failure.error.chain().skip(1).map(ToString::to_string) {
        // An error that passes another on as it is would say it twice.
        if cause != before {
            text += &format!("  because: {}\n", clean(&cause));
        }
        before = cause;
    }
    if let Some(step) = advice(&failure.error) {
        text += &format!("  next: {step}\n");
    }
    text
}

/// All findings, the worst first; notes only if asked for.
pub(crate) fn findings(list: &Findings, with_notes: bool, paint: Paint) -> String {
    let mut sorted: Vec<_> = list.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let shown = sorted
        .into_iter()
        .filter(|found| with_notes || found.severity > Severity::Note);
    shown.map(|found| finding(found, paint)).collect()
}

/// How many findings there are of each severity: `2 errors, 1 warning`; empty if none.
pub(crate) fn count(list: &Findings) -> String {
    let of = |severity| {
        list.iter()
            .filter(|finding| finding.severity == severity)
            .count()
    };
    let counts = [Severity::Error, Severity::Warning, Severity::Note];
    let counts = counts
        .into_iter()
        .map(|severity| (severity.to_string(), of(severity)));
    let some = counts.filter(|(_, number)| *number > 0);
    let texts: Vec<_> = some
        .map(|(what, number)| plural(number as u64, &what))
        .collect();
    texts.join(", ")
}

/// `1 file`, `2 files`.
pub(crate) fn plural(number: u64, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{number} {what}s")
    }
}

/// A table; the first column is text, the others are numbers. Its first row is its head.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table under these headings.
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self {
            rows: vec![headings.map(str::to_owned).to_vec()],
        }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows
            .push(cells.map(|cell| clean(&cell).into_owned()).to_vec());
    }

    /// The table as text.
    pub(crate) fn print(&self, paint: Paint) -> String {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (i, row) in self.rows.iter().enumerate() {
            let line = line(row, &widths);
            text += &if i == 0 { paint.bold(&line) } else { line };
            text.push('\n');
        }
        text
    }
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (i, (cell, &width)) in row.iter().zip(widths).enumerate() {
        let written = if i == 0 {
            write!(line, "{cell:<width$}")
        } else {
            write!(line, "   {cell:>width$}")
        };
        written.expect("a String takes everything");
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use labpack::report::{Code, WindowsError};

    const PLAIN: Paint = Paint(false);

    #[test]
    fn a_hostile_name_reaches_the_terminal_without_its_control_characters() {
        let evil = Finding::error(
            Code::BadName,
            "a\u{1b}[2J\r\n.vhdx",
            "says \u{7} and \u{9b}x",
        );
        let text = finding(&evil, Paint(false));
        assert!(
            !text.replace('\n', "").contains(char::is_control),
            "{text:?}"
        );
        assert!(text.contains(r"a\u{1b}[2J\r\n.vhdx"), "{text}");
    }

    #[test]
    fn findings_come_worst_first_and_keep_their_order_otherwise() {
        let mut list = Findings::default();
        list.push(Finding::note(Code::StalePath, "n", "note"));
        list.push(Finding::warning(Code::StalePath, "w", "warning"));
        list.push(
            Finding::error(Code::MissingParent, "e1", "first")
                .windows(WindowsError::PARENT_NOT_FOUND)
                .next("copy it"),
        );
        list.push(Finding::error(Code::Corrupt, "e2", "second"));
        assert_eq!(
            findings(&list, false, PLAIN),
            "error[missing-parent] e1\n    first (Hyper-V: 0xC03A000D)\n    next: copy it\n\
             error[corrupt] e2\n    second\nwarning[stale-path] w\n    warning\n"
        );
        assert_eq!(count(&list), "2 errors, 1 warning, 1 note");
        assert!(findings(&list, true, PLAIN).contains("note[stale-path]"));
    }

    #[test]
    fn numbers_read_as_people_say_them() {
        assert_eq!(size(1_610_612_736), "1.5 GiB");
        assert_eq!(size(0), "0 B");
        assert_eq!(percent(5, 8), "62.5 %");
        assert_eq!(percent(0, 0), "0.0 %");
        assert_eq!(time(Duration::from_millis(400)), "0.4 s");
        assert_eq!(time(Duration::from_secs(192)), "3 min 12 s");
        assert_eq!(time(Duration::from_secs(7500)), "2 h 5 min");
        assert_eq!(rate(1 << 30, Duration::from_secs(2)), "512.0 MiB/s");
    }

    #[test]
    fn what_was_moved_is_told_with_its_rate() {
        let mut totals = IoTotals::default();
        let second = Duration::from_secs(1);
        assert_eq!(io(&totals, second), "done in 1.0 s\n");
        totals.inspected = 2048;
        assert_eq!(io(&totals, second), "looked at 2.0 KiB in 1.0 s\n");
        totals.read = 1 << 20;
        let text = "read 1.0 MiB, looked at 2.0 KiB in 1.0 s (1.0 MiB/s)\n";
        assert_eq!(io(&totals, second), text);
    }

    #[test]
    fn numbers_stand_under_each_other() {
        let mut table = Table::new(["VM", "size"]);
        table.row(["Ünï".to_owned(), "1 B".to_owned()]);
        table.row(["long name".to_owned(), "22.5 GiB".to_owned()]);
        let text = "VM              size\nÜnï              1 B\nlong name   22.5 GiB\n";
        assert_eq!(table.print(PLAIN), text);
    }
}
