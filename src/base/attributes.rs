//! Attributes of a file that travel with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Attributes that are carried along, as robocopy's `/COPY:DAT` does. Elsewhere than on Windows
/// only `read_only` has a meaning; the others are kept in the manifest all the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Attributes {
    /// Writing needs the attribute taken off first.
    #[serde(skip_serializing_if = "is_off")]
    pub read_only: bool,
    /// Not shown in listings.
    #[serde(skip_serializing_if = "is_off")]
    pub hidden: bool,
    /// Belongs to the system.
    #[serde(skip_serializing_if = "is_off")]
    pub system: bool,
    /// Changed since the last backup.
    #[serde(skip_serializing_if = "is_off")]
    pub archive: bool,
}

const fn is_off(attribute: &bool) -> bool {
    !*attribute
}

impl Attributes {
    /// Tells whether all are off.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}
