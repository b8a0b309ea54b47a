//! Ids: what a disk calls itself, and what its bytes hash to.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The id a disk gives itself, or the one by which a child names its parent.
///
/// For a VHD the footer's unique id, its 16 bytes in the order in which they lie in the file;
/// for a VHDX the `DataWriteGuid` of the current header. Ids verify links and are never proof
/// that two disks hold the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DiskId(#[schemars(with = "String")] Uuid);

impl DiskId {
    /// The id of 16 bytes as a VHD stores them: compared and shown in file order.
    #[must_use]
    pub const fn from_vhd(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The id of 16 bytes as a VHDX stores them: a GUID, first three fields little-endian.
    #[must_use]
    pub const fn from_vhdx(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes_le(bytes))
    }

    /// The 16 bytes as a VHD stores them.
    #[must_use]
    pub const fn to_vhd(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// The 16 bytes as a VHDX stores them.
    #[must_use]
    pub const fn to_vhdx(self) -> [u8; 16] {
        self.0.to_bytes_le()
    }

    /// The id that means "none".
    #[must_use]
    pub const fn is_nil(self) -> bool {
        self.0.is_nil()
    }
}

impl FromStr for DiskId {
    type Err = ParseIdError;

    /// Reads a GUID in any of its usual spellings, with or without braces, in either case.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Uuid::try_parse(text).map(Self).map_err(|_| ParseIdError)
    }
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an id of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected hexadecimal digits of the right number")]
pub struct ParseIdError;

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The digest with these 32 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Its 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first 12 hexadecimal digits, as they stand in store file names.
            #[must_use]
            pub fn short(&self) -> String {
                self.to_string()[..12].to_owned()
            }
        }

        impl From<blake3::Hash> for $name {
            fn from(hash: blake3::Hash) -> Self {
                Self(hash.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let hash = blake3::Hash::from_hex(text).map_err(|_| ParseIdError)?;
                Ok(Self(hash.into()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
            }
        }
    };
}

digest! {
    /// BLAKE3 of a file's bytes, the digest that `b3sum` prints.
    ContentId
}

digest! {
    /// Digest of a disk in which everything that a relocation may touch counts as zero
    /// (see [`crate::formats::CanonicalForm`]). Equal for two exports of one disk.
    CanonicalId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vhd_ids_show_their_bytes_in_file_order_and_vhdx_ids_as_guids() {
        let bytes = [
            0x5f, 0xa2, 0x1a, 0x55, 0xf3, 0x94, 0xaa, 0x4d, 0x99, 0x58, 0x19, 0x51, 0xa6, 0x7d,
            0x55, 0x40,
        ];
        assert_eq!(
            DiskId::from_vhd(bytes).to_string(),
            "5fa21a55-f394-aa4d-9958-1951a67d5540"
        );
        assert_eq!(
            DiskId::from_vhdx(bytes).to_string(),
            "551aa25f-94f3-4daa-9958-1951a67d5540"
        );
        assert_eq!(DiskId::from_vhdx(bytes).to_vhdx(), bytes);
        assert_eq!(DiskId::from_vhd(bytes).to_vhd(), bytes);
    }

    #[test]
    fn guids_are_read_with_braces_and_in_either_case() {
        let plain: DiskId = "f88d4d92-6fcc-408d-9bef-9b7c89f15c89".parse().unwrap();
        assert_eq!("{F88D4D92-6FCC-408D-9BEF-9B7C89F15C89}".parse(), Ok(plain));
        assert_eq!("{F88D4D92}".parse::<DiskId>(), Err(ParseIdError));
    }

    #[test]
    fn content_ids_print_what_b3sum_prints() {
        let id = ContentId::from(blake3::hash(b""));
        assert_eq!(
            id.to_string(),
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
        assert_eq!(id.short(), "af1349b9f5f9");
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
