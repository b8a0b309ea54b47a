//! The command `labpack`: reads the command line, asks the library, prints what it answers.
//!
//! Each file of `commands` turns one command's arguments into a call of the library and the
//! answer into text and JSON; nothing is printed before the command is over, but for progress
//! and logs, which go to stderr.

mod advice;
mod answer;
mod cli;
mod commands;
mod exit;
mod json;
mod progress;
mod render;
mod terminal;

use std::{
    env,
    ffi::OsString,
    io,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use labpack::base::{IoMeter, Run};

use crate::{
    answer::{Answer, Failure},
    cli::Cli,
    commands::Shell,
    exit::Exit,
};

fn main() -> ExitCode {
    labpack::fs::return_large_allocations();
    let args: Vec<OsString> = env::args_os().collect();
    match Cli::try_parse_from(&args) {
        Ok(cli) => run(&cli).into(),
        Err(error) => not_a_command(&error, cli::wants_json(&args)).into(),
    }
}

/// Help and version end up here too, and are no error.
fn not_a_command(error: &clap::Error, json: bool) -> Exit {
    if !error.use_stderr() {
        return printed(Exit::Done, error.print());
    }
    if json {
        return printed(Exit::Usage, terminal::print(&json::of_usage(error)));
    }
    // Where stderr is gone there is nobody to tell.
    let _ = error.print();
    Exit::Usage
}

fn run(cli: &Cli) -> Exit {
    let watcher = Arc::new(terminal::watcher(&cli.global));
    let meter = Arc::new(IoMeter::default());
    terminal::start_log(&cli.global, &watcher);
    let shell = Shell {
        run: Run {
            progress: &*watcher,
            meter: &meter,
        },
        options: &cli.global,
        paint: terminal::paint(cli.global.color, &io::stdout()),
        began: Instant::now(),
    };
    let result = terminal::stop_on_signals(&watcher)
        .map_err(Failure::from)
        .and_then(|()| commands::carry_out(&cli.command, &shell));
    match result {
        Ok(answer) => print_answer(cli, &answer, shell.began.elapsed()),
        Err(failure) => print_failure(cli, &failure, &shell, &watcher),
    }
}

fn print_answer(cli: &Cli, answer: &Answer, took: Duration) -> Exit {
    let text = if cli.global.json {
        json::of_answer(cli.command.name(), answer, took)
    } else {
        answer.text.clone()
    };
    printed(answer.exit(), terminal::print(&text))
}

fn print_failure(
    cli: &Cli,
    failure: &Failure,
    shell: &Shell<'_>,
    watcher: &progress::Watcher,
) -> Exit {
    watcher.clear();
    if cli.global.json {
        let document = json::of_failure(cli.command.name(), failure, shell.began.elapsed());
        return printed(failure.exit, terminal::print(&document));
    }
    if let Some(done) = &failure.done {
        // The exit code tells of an error anyway.
        let _ = terminal::print(&done.text);
    }
    let paint = terminal::paint(cli.global.color, &io::stderr());
    watcher.say(&render::failure(failure, paint));
    failure.exit
}

/// The exit code says if the report did not arrive.
fn printed(exit: Exit, result: io::Result<()>) -> Exit {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Exit::Stopped,
        _ => exit,
    }
}
