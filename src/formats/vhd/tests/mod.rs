//! Tests of the format as a whole, on images built in memory and on files that others wrote.

#![expect(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    reason = "tests compute with numbers of their own"
)]

mod fixtures;
mod hostile;
mod images;
mod layers;
mod reading;
mod rewriting;
mod vectors;
mod writers;
