//! What the command needs of the terminal and the system around it: colours, signals, logs,
//! and output that may break off.

use std::{
    env,
    io::{self, IsTerminal, Write},
    sync::Arc,
};

use tracing_subscriber::filter::LevelFilter;

use crate::{
    cli::{ColorMode, Global, ProgressMode},
    progress::Watcher,
    render::Paint,
};

/// Whether to paint what goes to a stream.
pub(crate) fn paint(mode: ColorMode, stream: &impl IsTerminal) -> Paint {
    let wanted = match mode {
        ColorMode::Always => true,
        ColorMode::Never => false,
        ColorMode::Auto => {
            stream.is_terminal()
                && env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
                && takes_colours()
        }
    };
    Paint(wanted)
}

/// The console of Windows takes colours since Windows 10, and only when it is told to; an older
/// one would show the codes.
#[cfg(windows)]
fn takes_colours() -> bool {
    anstyle_query::windows::enable_ansi_colors() != Some(false)
}

#[cfg(not(windows))]
const fn takes_colours() -> bool {
    true
}

/// Who shows progress, as the options ask.
pub(crate) fn watcher(options: &Global) -> Watcher {
    let quiet = options.quiet && options.progress == ProgressMode::Auto;
    match options.progress {
        ProgressMode::None => Watcher::silent(),
        _ if quiet => Watcher::silent(),
        ProgressMode::Bar => Watcher::bars(),
        ProgressMode::Auto if io::stderr().is_terminal() => Watcher::bars(),
        ProgressMode::Plain | ProgressMode::Auto => Watcher::plain(),
    }
}

/// Makes Ctrl-C and SIGTERM stop the work between two chunks.
///
/// # Errors
/// Where the system takes no handler.
pub(crate) fn stop_on_signals(watcher: &Arc<Watcher>) -> anyhow::Result<()> {
    let watcher = Arc::clone(watcher);
    let stop = move || {
        watcher.say(if watcher.cancel() {
            "stopping already: a flush may take a while\n"
        } else {
            "stopping: finishing the piece at work\n"
        });
    };
    Ok(ctrlc::set_handler(stop)?)
}

/// Logs to stderr, above the bars, as much as the options ask for.
pub(crate) fn start_log(options: &Global, watcher: &Arc<Watcher>) {
    let level = match (options.quiet, options.verbose) {
        (true, _) => LevelFilter::ERROR,
        (_, 0) => LevelFilter::WARN,
        (_, 1) => LevelFilter::INFO,
        (_, 2) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let watcher = Arc::clone(watcher);
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(paint(options.color, &io::stderr()).0)
        .with_target(false)
        .with_writer(move || LogWriter(Arc::clone(&watcher)))
        .init();
}

struct LogWriter(Arc<Watcher>);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.say(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes to stdout. Whoever reads there may have seen enough: a broken pipe is no error.
///
/// # Errors
/// Any other error of stdout, such as a full disk behind it.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
