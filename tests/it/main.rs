//! Drives the library and the command as a user would, on real files and file systems.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test makes, breaks and reads its own files, fails where it cannot, and says what it skips"
)]

mod support;

mod command;
mod counters;
mod cross_readers;
#[cfg(unix)] // it plants symbolic links
mod escapes;
mod exports;
mod external;
mod hostile_corpus;
#[cfg(target_os = "linux")] // elsewhere no shell caps memory
mod hostile_memory;
mod hostile_seeds;
#[cfg(unix)] // it goes by file numbers and modes
mod faults;
#[cfg(unix)] // as above
mod faults_between;
#[cfg(target_os = "linux")] // it makes devices fail
mod faults_device;
#[cfg(unix)] // it goes by file numbers and modes
mod faults_disk;
#[cfg(unix)] // as above
mod faults_once;
#[cfg(unix)] // as above
mod faults_power;
#[cfg(unix)] // as above
mod interleaved;
#[cfg(target_os = "linux")] // elsewhere no file tells what memory a process has had
mod many_files;
#[cfg(unix)] // it sends signals
mod odd_ends;
mod odd_input;
mod odd_runs;
mod pack_again;
mod pack_in_place;
mod pack_output;
mod pack_stopped;
#[cfg(unix)] // elsewhere nothing is shared
mod shared_refdisks;
mod sharing;
mod stores;
mod unpack_stopped;
mod verify_content;
#[cfg(unix)] // it mounts volumes, which takes loop devices
mod volumes;
