//! What must hold for any bytes, target by target.
//!
//! A function here takes what a fuzzer made up and panics where a promise is broken. The fuzz
//! targets call it, and so does `tests/hostile_corpus.rs` with the seeds and with every input that
//! once broke something: a stable compiler is enough for that, and it takes seconds.
//!
//! `documents` has the targets for JSON, `vhd` and `vhdx` those for disks; what both disks are
//! held to is in `disk`, and `masks` looks at what a relocation may touch. `chains` makes whole
//! graphs of disks. A disk is megabytes long and nearly all zeros: `sparse` holds what is not.

pub mod chains;
mod disk;
mod documents;
mod masks;
mod sparse;
pub mod vhd;
pub mod vhdx;

/// A target: what it is called, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target there is.
pub const TARGETS: [Target; 8] = [
    ("vhd", vhd::run),
    ("vhdx", vhdx::run),
    ("masks", masks::run),
    ("manifest", documents::manifest),
    ("journal", documents::journal),
    ("receipt", documents::receipt),
    ("index", documents::index),
    ("chains", chains::run),
];

/// Hands `input` to the target `name`.
///
/// # Panics
/// Where a promise is broken, or there is no such target.
pub fn run(name: &str, input: &[u8]) {
    let (_, run) = TARGETS
        .iter()
        .find(|(target, _)| *target == name)
        .expect("a target of this name");
    run(input);
}
