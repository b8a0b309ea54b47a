#![doc = include_str!("README.md")]

// The words: ids, sizes, byte ranges, paths, reads, patches, progress.
pub mod base;
// Findings and summaries: what every stage answers in.
pub mod report;
// The file system, as labpack uses it.
pub mod fs;
// Bytes → what a disk says about itself.
pub mod formats;
// Disks → the parent graph, or why there is none; a chain read as one disk.
pub mod chain;
// A folder of VM folders → an inventory of files and disks.
pub mod export;
// `labpack.json`: the packed lab, described.
pub mod manifest;
// RefDisk: the folder of shared disks.
pub mod store;
// What will be done, as a value.
pub mod plan;
// Carries out a pack plan, and undoes it.
pub mod pack;
// Carries out an unpack plan.
pub mod unpack;
// Checks every chain.
pub mod verify;
