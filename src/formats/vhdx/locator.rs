//! The parent locator: the pairs of strings by which a child names its parent.

use zerocopy::{FromBytes, IntoBytes};

use super::raw::{LOCATOR_TYPE, RawLocator, RawPair, show};
use crate::{
    base::DiskId,
    formats::{FormatError, HintKind, ParentLink, ParentPaths, PathHint},
    report::WindowsError,
};

/// The parent's `DataWriteGuid`.
const LINKAGE: &str = "parent_linkage";
/// Another `DataWriteGuid` that will do, while a merge rewrites the parent; else nil.
const LINKAGE2: &str = "parent_linkage2";
const ABSOLUTE: &str = "absolute_win32_path";
const RELATIVE: &str = "relative_path";
const VOLUME: &str = "volume_path";
/// Every key with a meaning, in the order in which Windows writes them.
const KEYS: [&str; 5] = [LINKAGE, ABSOLUTE, RELATIVE, VOLUME, LINKAGE2];

/// More pairs than any writer has.
const MAX_PAIRS: u16 = 256;
/// The longest string that a length of 16 bits can hold in whole UTF-16 units.
const MAX_STRING: usize = 65_534;

/// A parent locator, checked: every string is Unicode, no key stands twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Locator {
    pairs: Vec<(String, String)>,
    /// The id that the parent must have.
    pub(super) linkage: DiskId,
    /// Another that will do.
    pub(super) linkage2: Option<DiskId>,
}

impl Locator {
    /// Reads the item `bytes`, which lies at `place`.
    pub(super) fn parse(bytes: &[u8], place: &str) -> Result<Self, FormatError> {
        let bad = |found: String, expected: &str| {
            FormatError::corrupt(place, found, expected, WindowsError::METADATA_READ)
        };
        let (head, rest) = RawLocator::ref_from_prefix(bytes)
            .map_err(|_| bad(format!("{} bytes", bytes.len()), "20 or more"))?;
        if head.locator_type != LOCATOR_TYPE {
            let what = format!("locator type {}", show(head.locator_type));
            return Err(FormatError::unsupported(place, what));
        }
        let count = head.count.get();
        let raw = (1..=MAX_PAIRS)
            .contains(&count)
            .then_some(usize::from(count));
        let raw = raw.and_then(|n| <[RawPair]>::ref_from_prefix_with_elems(rest, n).ok());
        let (raw, _) = raw.ok_or_else(|| bad(format!("{count} pairs"), "1 to 256 that fit"))?;
        check_total(raw, bytes).map_err(|(found, expected)| bad(found, &expected))?;
        let pairs = read_pairs(raw, bytes).map_err(|(found, expected)| bad(found, expected))?;
        Self::from_pairs(pairs).map_err(|(found, expected)| bad(found, expected))
    }

    fn from_pairs(pairs: Vec<(String, String)>) -> Result<Self, (String, &'static str)> {
        let id = |key| match find(&pairs, key) {
            None => Ok(None),
            Some(text) => match text.parse::<DiskId>() {
                Ok(id) => Ok(Some(id)),
                Err(_) => Err((format!("{key} is `{}`", text.escape_debug()), "a GUID")),
            },
        };
        let linkage = id(LINKAGE)?.ok_or_else(|| (format!("no key `{LINKAGE}`"), "one"))?;
        let linkage2 = id(LINKAGE2)?.filter(|id| !id.is_nil());
        Ok(Self {
            pairs,
            linkage,
            linkage2,
        })
    }

    /// The locator of a child that was never anything else.
    pub(super) fn new(linkage: DiskId, paths: &ParentPaths) -> Self {
        let nil = DiskId::from_vhdx([0; 16]);
        let mut new = Self {
            pairs: Vec::new(),
            linkage,
            linkage2: None,
        };
        new.pairs.push((LINKAGE2.to_owned(), braced(nil)));
        new.with_paths(paths)
    }

    /// What a chain needs to know: the ids, and the hints in the order in which they are tried.
    pub(super) fn link(&self) -> ParentLink {
        let hint = |kind, key| {
            let path = find(&self.pairs, key)?.to_owned();
            Some(PathHint { kind, path })
        };
        let hints = [
            hint(HintKind::Relative, RELATIVE),
            hint(HintKind::Volume, VOLUME),
            hint(HintKind::Absolute, ABSOLUTE),
        ];
        ParentLink {
            id: self.linkage,
            id2: self.linkage2,
            timestamp: None,
            hints: hints.into_iter().flatten().collect(),
        }
    }

    /// The paths that the locator names.
    pub(super) fn paths(&self) -> ParentPaths {
        let path = |key| find(&self.pairs, key).map(str::to_owned);
        ParentPaths {
            relative: path(RELATIVE),
            absolute: path(ABSOLUTE),
            volume: path(VOLUME),
        }
    }

    /// The same locator with these paths and no others, in the order of Windows' own.
    pub(super) fn with_paths(&self, paths: &ParentPaths) -> Self {
        let value = |key| match key {
            LINKAGE => Some(braced(self.linkage)),
            ABSOLUTE => paths.absolute.clone(),
            RELATIVE => paths.relative.clone(),
            VOLUME => paths.volume.clone(),
            _ => find(&self.pairs, key).map(str::to_owned),
        };
        let known = KEYS
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), value(key)?)));
        let unknown = self.unknown().cloned();
        Self {
            pairs: known.chain(unknown).collect(),
            ..self.clone()
        }
    }

    /// The locator that any two exports of one disk have in common, with `relative` as the only
    /// path: a nil `parent_linkage2` is left out, and foreign pairs come sorted.
    pub(super) fn in_store_form(&self, relative: String) -> Self {
        let mut pairs = vec![(LINKAGE.to_owned(), braced(self.linkage))];
        pairs.push((RELATIVE.to_owned(), relative));
        pairs.extend(self.linkage2.map(|id| (LINKAGE2.to_owned(), braced(id))));
        pairs.extend(self.sorted_unknown());
        Self {
            pairs,
            ..self.clone()
        }
    }

    /// Pairs that no specification knows, by key. They count in a disk's identity.
    pub(super) fn sorted_unknown(&self) -> Vec<(String, String)> {
        let mut unknown: Vec<_> = self.unknown().cloned().collect();
        unknown.sort();
        unknown
    }

    fn unknown(&self) -> impl Iterator<Item = &(String, String)> {
        self.pairs
            .iter()
            .filter(|(key, _)| !KEYS.contains(&key.as_str()))
    }

    /// Returns the bytes of the item: each key directly followed by its value, no padding.
    ///
    /// # Errors
    /// What does not fit.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        let refuse = |what: String| FormatError::unsupported("parent locator", what);
        let count = u16::try_from(self.pairs.len())
            .ok()
            .filter(|&count| count <= MAX_PAIRS);
        let count = count.ok_or_else(|| refuse(format!("{} pairs", self.pairs.len())))?;
        let head = RawLocator {
            locator_type: LOCATOR_TYPE,
            reserved: 0.into(),
            count: count.into(),
        };
        let (mut table, mut strings) = (head.as_bytes().to_vec(), Vec::new());
        let start = size_of::<RawPair>().saturating_mul(self.pairs.len());
        let start = start.saturating_add(table.len());
        for (key, value) in &self.pairs {
            let mut put = |text: &str| {
                let (offset, length) = append(&mut strings, text)?;
                Some((u32::try_from(start.checked_add(offset)?).ok()?, length))
            };
            let placed = put(key).zip(put(value));
            let ((key_offset, key_length), (value_offset, value_length)) =
                placed.ok_or_else(|| refuse(format!("an empty or overlong text for `{key}`")))?;
            let pair = RawPair {
                key_offset: key_offset.into(),
                value_offset: value_offset.into(),
                key_length: key_length.into(),
                value_length: value_length.into(),
            };
            table.extend_from_slice(pair.as_bytes());
        }
        table.extend_from_slice(&strings);
        Ok(table)
    }
}

/// Appends `text` in UTF-16; returns where and how many bytes, or `None` if it does not fit.
fn append(strings: &mut Vec<u8>, text: &str) -> Option<(usize, u16)> {
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let fits = !units.is_empty() && units.len() <= MAX_STRING && !text.contains('\0');
    let length = u16::try_from(units.len()).ok().filter(|_| fits)?;
    let offset = strings.len();
    strings.extend(units);
    Some((offset, length))
}

fn braced(id: DiskId) -> String {
    format!("{{{id}}}")
}

fn find<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    let pair = pairs.iter().find(|(candidate, _)| candidate == key);
    pair.map(|(_, value)| value.as_str())
}

/// Checks that the strings together are no longer than the item, so that a few bytes which many
/// pairs share cannot fill the memory.
fn check_total(raw: &[RawPair], bytes: &[u8]) -> Result<(), (String, String)> {
    let lengths = raw
        .iter()
        .flat_map(|pair| [pair.key_length.get(), pair.value_length.get()]);
    let total: usize = lengths.map(usize::from).fold(0, usize::saturating_add);
    if total <= bytes.len() {
        return Ok(());
    }
    let expected = format!("no more than the {} bytes of the item", bytes.len());
    Err((format!("strings of {total} bytes"), expected))
}

type Pairs = Vec<(String, String)>;

fn read_pairs(raw: &[RawPair], bytes: &[u8]) -> Result<Pairs, (String, &'static str)> {
    let mut pairs = Pairs::with_capacity(raw.len());
    for (number, pair) in raw.iter().enumerate() {
        let text = |offset: u32, length: u16, what| {
            let text = string(bytes, offset, length);
            text.ok_or_else(|| {
                (
                    format!("{what} of pair {number} is no text"),
                    "UTF-16 in the item",
                )
            })
        };
        let key = text(pair.key_offset.get(), pair.key_length.get(), "key")?;
        let value = text(pair.value_offset.get(), pair.value_length.get(), "value")?;
        if find(&pairs, &key).is_some() {
            return Err((
                format!("two pairs `{}`", key.escape_debug()),
                "each key once",
            ));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

fn string(bytes: &[u8], offset: u32, length: u16) -> Option<String> {
    let start = usize::try_from(offset).ok()?;
    let bytes = bytes.get(start..start.checked_add(usize::from(length))?)?;
    let (units, []) = bytes.as_chunks::<2>() else {
        return None;
    };
    let units = units.iter().map(|&unit| u16::from_le_bytes(unit));
    let text: String = char::decode_utf16(units).collect::<Result<_, _>>().ok()?;
    (!text.is_empty() && !text.contains('\0')).then_some(text)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "tests know their numbers")]
mod tests {
    use super::*;

    const PLACE: &str = "parent locator at 0x210028";

    fn paths() -> ParentPaths {
        let folder = r"Projects\dfvfs\test_data\fat-parent.vhdx";
        ParentPaths {
            relative: Some(r".\fat-parent.vhdx".to_owned()),
            absolute: Some(format!(r"C:\{folder}")),
            volume: Some(format!(
                r"\\?\Volume{{5e0bd954-71b2-4bff-a928-082af7ab0f8f}}\{folder}"
            )),
        }
    }

    fn example() -> Vec<u8> {
        let parent = "F88D4D92-6FCC-408D-9BEF-9B7C89F15C89".parse().unwrap();
        Locator::new(parent, &paths()).to_bytes().unwrap()
    }

    /// The item of one pair after another, each a pair of key and value in any 16-bit units.
    fn item(pairs: &[(&[u16], &[u16])]) -> Vec<u8> {
        let mut bytes = LOCATOR_TYPE.to_vec();
        bytes.extend([0, 0, u8::try_from(pairs.len()).unwrap(), 0]);
        let (mut at, mut strings) = (20 + 12 * pairs.len(), Vec::new());
        for (key, value) in pairs {
            let (key_len, value_len) = (2 * key.len(), 2 * value.len());
            for offset in [at, at + key_len] {
                bytes.extend(u32::try_from(offset).unwrap().to_le_bytes());
            }
            for len in [key_len, value_len] {
                bytes.extend(u16::try_from(len).unwrap().to_le_bytes());
            }
            at += key_len + value_len;
            strings.extend(key.iter().chain(*value).flat_map(|unit| unit.to_le_bytes()));
        }
        bytes.extend(strings);
        bytes
    }

    fn units(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn strings_lie_where_windows_puts_them() {
        let bytes = example();
        assert_eq!(bytes.len(), 674);
        let (_, rest) = RawLocator::ref_from_prefix(&bytes).unwrap();
        let (pairs, _) = <[RawPair]>::ref_from_prefix_with_elems(rest, 5).unwrap();
        let found: Vec<_> = pairs
            .iter()
            .map(|p| {
                let (key, value) = (p.key_offset.get(), p.value_offset.get());
                (key, value, p.key_length.get(), p.value_length.get())
            })
            .collect();
        let expected = [
            (80, 108, 28, 76),
            (184, 222, 38, 86),
            (308, 334, 26, 34),
            (368, 390, 22, 178),
            (568, 598, 30, 76),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_locator_reads_back_with_hints_in_the_order_in_which_they_are_tried() {
        let locator = Locator::parse(&example(), PLACE).unwrap();
        assert_eq!(locator.paths(), paths());
        let link = locator.link();
        assert_eq!(link.id.to_string(), "f88d4d92-6fcc-408d-9bef-9b7c89f15c89");
        assert_eq!(link.id2, None, "a nil id is none");
        let kinds: Vec<_> = link.hints.iter().map(|hint| hint.kind).collect();
        assert_eq!(
            kinds,
            [HintKind::Relative, HintKind::Volume, HintKind::Absolute]
        );
    }

    #[test]
    fn other_paths_leave_ids_and_foreign_pairs_alone() {
        let id = units("{F88D4D92-6FCC-408D-9BEF-9B7C89F15C89}");
        let other = units("{11111111-2222-3333-4444-555555555555}");
        let bytes = item(&[
            (&units("zone"), &units("z")),
            (&units("volume_path"), &units("v")),
            (&units("parent_linkage2"), &other),
            (&units("parent_linkage"), &id),
        ]);
        let old = Locator::parse(&bytes, PLACE).unwrap();
        let wanted = ParentPaths {
            relative: Some(r"..\x.vhdx".to_owned()),
            ..Default::default()
        };
        let bytes = old.with_paths(&wanted).to_bytes().unwrap();
        let new = Locator::parse(&bytes, PLACE).unwrap();
        assert_eq!(new.paths(), wanted);
        assert_eq!((new.linkage, new.linkage2), (old.linkage, old.linkage2));
        let keys: Vec<_> = new.pairs.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, [LINKAGE, RELATIVE, LINKAGE2, "zone"]);
        assert_eq!(
            find(&new.pairs, LINKAGE),
            Some("{f88d4d92-6fcc-408d-9bef-9b7c89f15c89}")
        );
    }

    #[test]
    fn a_locator_of_another_type_is_unsupported() {
        let mut bytes = example();
        bytes[0] ^= 1;
        let error = Locator::parse(&bytes, PLACE).unwrap_err();
        assert!(matches!(error, FormatError::Unsupported { .. }), "{error}");
    }

    #[test]
    fn what_is_no_locator_is_corrupt() {
        let id = units("{f88d4d92-6fcc-408d-9bef-9b7c89f15c89}");
        let linkage = units(LINKAGE);
        let good = item(&[(&linkage, &id)]);
        assert!(Locator::parse(&good, PLACE).is_ok());
        let mut odd_length = good.clone();
        odd_length[28] -= 1;
        let mut far = good.clone();
        far[23] = 0x80;
        let mut none = good.clone();
        none[18] = 0;
        let mut many = good.clone();
        many[19] = 0xFF;
        for (what, bytes) in [
            (
                "no linkage",
                item(&[(&units("relative_path"), &units("x"))]),
            ),
            ("linkage that is no GUID", item(&[(&linkage, &units("x"))])),
            ("a key twice", item(&[(&linkage, &id), (&linkage, &id)])),
            (
                "a lone surrogate",
                item(&[(&linkage, &id), (&units("a"), &[0xD800])]),
            ),
            ("a NUL", item(&[(&linkage, &id), (&units("a"), &[0x61, 0])])),
            (
                "an empty value",
                item(&[(&linkage, &id), (&units("a"), &[])]),
            ),
            ("an odd length", odd_length),
            ("an offset beyond the item", far),
            ("no pairs", none),
            ("65,281 pairs", many),
            ("nothing", Vec::new()),
        ] {
            let error = Locator::parse(&bytes, PLACE).unwrap_err();
            assert!(
                matches!(error, FormatError::Corrupt { .. }),
                "{what}: {error}"
            );
        }
    }

    #[test]
    fn pairs_that_share_bytes_cannot_fill_the_memory() {
        let id = units("{f88d4d92-6fcc-408d-9bef-9b7c89f15c89}");
        let mut bytes = item(&[(&units(LINKAGE), &id), (&units("a"), &vec![0x61; 400])]);
        // The value is stretched back over the first pair.
        bytes[36..40].copy_from_slice(&44_u32.to_le_bytes());
        bytes[42..44].copy_from_slice(&900_u16.to_le_bytes());
        let error = Locator::parse(&bytes, PLACE).unwrap_err().to_string();
        assert!(error.contains("strings of"), "{error}");
    }

    #[test]
    fn a_text_that_does_not_fit_is_refused() {
        let path = |len: usize| ParentPaths {
            relative: Some("x".repeat(len)),
            ..paths()
        };
        let locator = Locator::parse(&example(), PLACE).unwrap();
        assert!(locator.with_paths(&path(32_767)).to_bytes().is_ok());
        for len in [0, 32_768, 100_000] {
            let error = locator.with_paths(&path(len)).to_bytes().unwrap_err();
            assert!(matches!(error, FormatError::Unsupported { .. }), "{error}");
        }
    }
}
