//! Sizes.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How large a disk looks to its guest, in bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct VirtualSize(pub u64);

impl fmt::Display for VirtualSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}
