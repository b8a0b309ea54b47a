//! Drives the library and the command as a user would, on real files and file systems.
#![expect(clippy::disallowed_methods, reason = "a test makes, breaks and reads its own files")]

mod cross_readers;
mod exports;
mod support;
