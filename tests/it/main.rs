//! The library, driven as the command drives it.
#![expect(clippy::disallowed_methods, reason = "tests lay out folders and look into them")]

mod support;

mod pack_again;
mod pack_in_place;
mod pack_output;
mod pack_stopped;
