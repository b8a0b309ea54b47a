<<<<<<< HEAD
//! Drives the library and the command as a user would, on real files and file systems.
#![expect(clippy::disallowed_methods, reason = "a test makes, breaks and reads its own files")]

mod cross_readers;
mod exports;
mod support;
=======
//! The library, driven as the command drives it.
#![expect(clippy::disallowed_methods, reason = "tests lay out folders and look into them")]

mod support;

mod pack_again;
mod pack_in_place;
mod pack_output;
mod pack_stopped;
>>>>>>> h-pack
