//! Drives the library and the command as a user would, on real files and file systems.
#![expect(clippy::disallowed_methods, reason = "a test makes, breaks and reads its own files")]

mod counters;
mod cross_readers;
mod exports;
mod support;
#[cfg(unix)]
mod volumes;
