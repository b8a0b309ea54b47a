//! The file system as Windows has it.
