//! placeholder
pub fn run(_: &[u8]) {}
