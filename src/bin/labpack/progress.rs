//! Progress, for somebody at a terminal or for a log.

use std::{
    io::{self, Write},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use labpack::base::Progress;

use crate::render::{clean, percent, plural, rate, size, time};

/// How often a plain line comes at the least, and at the most.
const RARELY: Duration = Duration::from_secs(10);
const OFTEN: Duration = Duration::from_secs(1);

/// Shows progress on stderr, and carries the user's wish to stop.
pub(crate) struct Watcher {
    show: Show,
    /// The stretch of work, for the log.
    what: Mutex<String>,
    cancelled: AtomicBool,
}

enum Show {
    Nothing,
    Plain(Mutex<Lines>),
    Bars(Bars),
}

impl Watcher {
    /// Shows nothing.
    pub(crate) fn silent() -> Self {
        Self::of(Show::Nothing)
    }

    /// Prints a line now and then.
    pub(crate) fn plain() -> Self {
        Self::of(Show::Plain(Mutex::new(Lines::default())))
    }

    /// Draws bars.
    pub(crate) fn bars() -> Self {
        Self::of(Show::Bars(Bars::default()))
    }

    fn of(show: Show) -> Self {
        Self {
            show,
            what: Mutex::default(),
            cancelled: AtomicBool::new(false),
        }
    }

    /// Asks the work to stop; tells whether it was asked before.
    pub(crate) fn cancel(&self) -> bool {
        self.cancelled.swap(true, SeqCst)
    }

    /// Takes the bars away; work that failed did not end its stretch.
    pub(crate) fn clear(&self) {
        if let Show::Bars(bars) = &self.show {
            bars.clear();
        }
    }

    /// Writes to stderr, above the bars if there are any.
    pub(crate) fn say(&self, text: &str) {
        let write = || {
            // Where stderr is gone there is nobody to tell.
            let _ = io::stderr().lock().write_all(text.as_bytes());
        };
        match &self.show {
            Show::Bars(bars) => bars.all.suspend(write),
            Show::Nothing | Show::Plain(_) => write(),
        }
    }
}

impl Progress for Watcher {
    fn begin(&self, what: &str, files: u64, bytes: u64) {
        what.clone_into(&mut locked(&self.what));
        match &self.show {
            Show::Nothing => {}
            Show::Plain(lines) => {
                let line = locked(lines).begin(what, files, bytes, Instant::now());
                self.say(&line);
            }
            Show::Bars(bars) => bars.begin(what, files, bytes),
        }
    }

    fn file(&self, name: &str) {
        if let Show::Bars(bars) = &self.show {
            bars.message(name);
        }
        let what = clean(&locked(&self.what)).into_owned();
        tracing::debug!("{what} {}", clean(name));
    }

    fn advance(&self, bytes: u64) {
        match &self.show {
            Show::Nothing => {}
            Show::Plain(lines) => {
                let line = locked(lines).advance(bytes, Instant::now());
                if let Some(line) = line {
                    self.say(&line);
                }
            }
            Show::Bars(bars) => bars.advance(bytes),
        }
    }

    fn end(&self) {
        match &self.show {
            Show::Nothing => {}
            Show::Plain(lines) => {
                let line = locked(lines).end(Instant::now());
                if let Some(line) = line {
                    self.say(&line);
                }
            }
            Show::Bars(bars) => bars.clear(),
        }
    }

    fn waiting(&self, message: &str) {
        match &self.show {
            Show::Nothing => {}
            Show::Plain(_) => self.say(&format!("{}\n", clean(message))),
            Show::Bars(bars) => bars.message(message),
        }
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(SeqCst)
    }
}

/// A worker that panicked leaves numbers that are still good enough to show.
fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stretch of work as plain lines tell it.
#[derive(Debug, Default)]
struct Lines(Option<Stretch>);

#[derive(Debug)]
struct Stretch {
    what: String,
    bytes: u64,
    done: u64,
    began: Instant,
    told: Instant,
    /// The tenth of the work that was told of last.
    tenth: u64,
}

impl Lines {
    fn begin(&mut self, what: &str, files: u64, bytes: u64, now: Instant) -> String {
        let what = clean(what).into_owned();
        let line = match (files, bytes) {
            (0, 0) => format!("{what}\n"),
            (_, 0) => format!("{what}: {}\n", plural(files, "file")),
            _ => format!("{what}: {}, {}\n", plural(files, "file"), size(bytes)),
        };
        self.0 = Some(Stretch {
            what,
            bytes,
            done: 0,
            began: now,
            told: now,
            tenth: 0,
        });
        line
    }

    fn advance(&mut self, bytes: u64, now: Instant) -> Option<String> {
        let stretch = self.0.as_mut()?;
        stretch.done = stretch.done.saturating_add(bytes);
        let tenth = tenth(stretch.done, stretch.bytes);
        let silent = now.duration_since(stretch.told);
        if silent < OFTEN || (silent < RARELY && tenth <= stretch.tenth) {
            return None;
        }
        (stretch.told, stretch.tenth) = (now, tenth);
        Some(stretch.line(now))
    }

    fn end(&mut self, now: Instant) -> Option<String> {
        let stretch = self.0.take()?;
        let took = now.duration_since(stretch.began);
        // Short work has said all there is to say when it began.
        (took >= OFTEN).then(|| {
            let Stretch { what, done, .. } = stretch;
            format!(
                "{what}: done, {} in {} ({})\n",
                size(done),
                time(took),
                rate(done, took)
            )
        })
    }
}

impl Stretch {
    fn line(&self, now: Instant) -> String {
        let took = now.duration_since(self.began);
        let rate = rate(self.done, took);
        if self.bytes == 0 {
            return format!("{}: {} ({rate})\n", self.what, size(self.done));
        }
        let left = self.bytes.saturating_sub(self.done) as f64 / self.done.max(1) as f64;
        // At most a century: work of which nothing is done yet has no end in sight.
        let left = Duration::from_secs_f64((took.as_secs_f64() * left).min(3e9));
        let share = percent(self.done, self.bytes);
        let (done, bytes) = (size(self.done), size(self.bytes));
        format!(
            "{}: {share}, {done} of {bytes} ({rate}, {} left)\n",
            self.what,
            time(left)
        )
    }
}

fn tenth(done: u64, bytes: u64) -> u64 {
    done.saturating_mul(10).checked_div(bytes).unwrap_or(0)
}

/// A bar for the whole, and a line for the file at work.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    now: Mutex<Option<(ProgressBar, ProgressBar)>>,
}

impl Bars {
    fn begin(&self, what: &str, files: u64, bytes: u64) {
        self.clear();
        let style = match bytes {
            0 => "{prefix:.bold} {bytes} {elapsed}",
            _ => "{prefix:.bold} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
        };
        let whole = self
            .all
            .add(ProgressBar::new(bytes).with_style(style_of(style)));
        let prefix = match files {
            0 => clean(what).into_owned(),
            _ => format!("{} {}", clean(what), plural(files, "file")),
        };
        whole.set_prefix(prefix);
        let file = ProgressBar::new_spinner().with_style(style_of("{spinner} {wide_msg}"));
        let file = self.all.add(file);
        for bar in [&whole, &file] {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        *locked(&self.now) = Some((whole, file));
    }

    fn advance(&self, bytes: u64) {
        if let Some((whole, _)) = &*locked(&self.now) {
            whole.inc(bytes);
        }
    }

    fn message(&self, text: &str) {
        let mut now = locked(&self.now);
        let (_, file) = now.get_or_insert_with(|| {
            // Nothing has begun, and somebody waits already.
            let style = style_of("{spinner} {wide_msg}");
            let bar = self.all.add(ProgressBar::new_spinner().with_style(style));
            (ProgressBar::hidden(), bar)
        });
        file.set_message(clean(text).into_owned());
    }

    fn clear(&self) {
        if let Some((whole, file)) = locked(&self.now).take() {
            file.finish_and_clear();
            whole.finish_and_clear();
        }
    }
}

fn style_of(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are fixed")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_log_gets_a_line_each_tenth_but_not_more_often_than_each_second() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(
            lines.begin("packing", 2, 100 * MIB, start),
            "packing: 2 files, 100.0 MiB\n"
        );
        assert_eq!(lines.advance(30 * MIB, at(900)), None);
        let line = lines.advance(10 * MIB, at(1000)).unwrap();
        assert_eq!(
            line,
            "packing: 40.0 %, 40.0 MiB of 100.0 MiB (40.0 MiB/s, 1.5 s left)\n"
        );
        assert_eq!(lines.advance(5 * MIB, at(9000)), None);
        assert!(lines.advance(1, at(11_000)).is_some());
        let line = lines.end(at(20_000)).unwrap();
        assert_eq!(line, "packing: done, 45.0 MiB in 20.0 s (2.2 MiB/s)\n");
        assert_eq!(lines.end(at(21_000)), None);
    }

    #[test]
    fn work_whose_size_is_not_known_is_told_of_all_the_same() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        assert_eq!(lines.begin("scanning", 0, 0, start), "scanning\n");
        let line = lines.advance(MIB, start + RARELY).unwrap();
        assert_eq!(line, "scanning: 1.0 MiB (102.4 KiB/s)\n");
        let mut lines = Lines::default();
        lines.begin("copying", 1, u64::MAX, start);
        assert!(lines.advance(0, start + RARELY).is_some());
    }

    #[test]
    fn bars_take_any_order_of_calls() {
        let watcher = Watcher::bars();
        watcher.waiting("waiting for another labpack");
        watcher.advance(1);
        watcher.end();
        watcher.begin("packing", 1, 10);
        watcher.file("a\u{1b}b");
        watcher.begin("hashing", 0, 0);
        watcher.advance(100);
        watcher.clear();
        watcher.end();
        assert!(!watcher.cancelled());
        assert!(!watcher.cancel());
        assert!(watcher.cancel());
        assert!(watcher.cancelled());
    }
}
