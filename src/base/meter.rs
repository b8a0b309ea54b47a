//! Counts of bytes: the proof that each byte is read once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Running totals of one command, shared by its workers.
#[derive(Debug, Default)]
pub struct IoMeter {
    read: AtomicU64,
    inspected: AtomicU64,
    inspections: AtomicU64,
    written: AtomicU64,
    cloned: AtomicU64,
    skipped: AtomicU64,
}

impl IoMeter {
    /// Adds file content that was read to be hashed or copied.
    pub fn add_read(&self, bytes: u64) {
        self.read.fetch_add(bytes, Relaxed);
    }

    /// Adds one read of headers and tables, made to understand a disk.
    pub fn add_inspected(&self, bytes: u64) {
        self.inspected.fetch_add(bytes, Relaxed);
        self.inspections.fetch_add(1, Relaxed);
    }

    /// Adds bytes written.
    pub fn add_written(&self, bytes: u64) {
        self.written.fetch_add(bytes, Relaxed);
    }

    /// Adds bytes that came into a file by block clone, without being copied.
    pub fn add_cloned(&self, bytes: u64) {
        self.cloned.fetch_add(bytes, Relaxed);
    }

    /// Adds bytes that needed no reading: holes, and files known from the last run.
    pub fn add_skipped(&self, bytes: u64) {
        self.skipped.fetch_add(bytes, Relaxed);
    }

    /// Returns the totals so far.
    #[must_use]
    pub fn totals(&self) -> IoTotals {
        IoTotals {
            read: self.read.load(Relaxed),
            inspected: self.inspected.load(Relaxed),
            inspections: self.inspections.load(Relaxed),
            written: self.written.load(Relaxed),
            cloned: self.cloned.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
        }
    }
}

/// Bytes that one command moved, by how it came by them, and how many small reads it made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IoTotals {
    /// File content read to be hashed or copied. No byte counts twice.
    pub read: u64,
    /// Headers and tables read to understand disks, on top of `read`.
    pub inspected: u64,
    /// How many reads brought what was `inspected`.
    pub inspections: u64,
    /// Bytes written.
    pub written: u64,
    /// Bytes that a block clone shared instead of copying.
    pub cloned: u64,
    /// Bytes that needed no reading: holes, and files known from the last run.
    pub skipped: u64,
}
