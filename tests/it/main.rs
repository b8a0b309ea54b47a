//! Drives the library and the command as a user would, on real files and file systems.
#![expect(clippy::disallowed_methods, reason = "a test makes, breaks and reads its own files")]

mod support;

mod cross_readers;
mod exports;
mod pack_again;
mod pack_in_place;
mod pack_output;
mod pack_stopped;
mod stores;
