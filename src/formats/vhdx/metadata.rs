//! The metadata region: what the disk is, and who its parent is.

use zerocopy::{FromBytes, IntoBytes};

use super::{
    locator::Locator,
    raw::{
        FILE_PARAMETERS, Guid, INCOMPLETE_FILE, KIB64, LOGICAL_SECTOR, METADATA_SIGNATURE, MIB,
        PARENT_LOCATOR, PHYSICAL_SECTOR, RawFileParameters, RawItem, RawMetadataTable, VIRTUAL_ID,
        VIRTUAL_SIZE, index, read, show,
    },
};
use crate::{
    base::{ByteRange, DiskId, ReadAt},
    formats::FormatError,
    report::WindowsError,
};

const MAX_ENTRIES: usize = 2047;
/// 64 TiB, the largest disk there is.
const MAX_VIRTUAL_SIZE: u64 = 64 << 40;
const MAX_BLOCK_SIZE: u32 = 256 << 20;
/// Where an item's offset and length are, in its entry of the table.
const OFFSET_IN_ENTRY: u64 = 16;

/// A listed item. Items lie past the table, inside the region, over nothing else.
pub(super) struct Item {
    id: Guid,
    user: bool,
    /// Its bytes in the file; an item of no bytes is nowhere.
    pub(super) range: ByteRange,
    /// The offset and length in its entry, in the file.
    pub(super) entry: ByteRange,
}

/// Everything the metadata region says, checked.
pub(super) struct Metadata {
    pub(super) region: ByteRange,
    /// The end of the last entry of the table, in the file.
    pub(super) entries_end: u64,
    pub(super) items: Vec<Item>,
    pub(super) block_size: u32,
    /// All blocks stay allocated.
    pub(super) fixed: bool,
    pub(super) virtual_size: u64,
    pub(super) logical_sector: u32,
    pub(super) physical_sector: u32,
    /// The id the guest sees.
    pub(super) page83: DiskId,
    /// How the disk names its parent, if it has one.
    pub(super) locator: Option<Locator>,
}

impl Metadata {
    /// Reads the region, which lies inside the file.
    pub(super) fn read(file: &dyn ReadAt, region: ByteRange) -> Result<Self, FormatError> {
        let table = Table::read(file, region)?;
        let (block_size, flags) = table.file_parameters(file)?;
        let logical_sector = table.sector(file, LOGICAL_SECTOR, "logical sector size")?;
        let metadata = Self {
            region,
            entries_end: table.entries_end,
            block_size,
            fixed: flags & 1 != 0,
            virtual_size: table.virtual_size(file, logical_sector)?,
            logical_sector,
            physical_sector: table.sector(file, PHYSICAL_SECTOR, "physical sector size")?,
            page83: DiskId::from_vhdx(table.value(file, VIRTUAL_ID, "virtual disk id")?.1),
            locator: table.locator(file, flags & 2 != 0)?,
            items: table.items,
        };
        Ok(metadata)
    }

    /// The item that holds the parent locator.
    pub(super) fn locator_item(&self) -> Option<&Item> {
        self.items
            .iter()
            .find(|item| item.is_system(PARENT_LOCATOR))
    }

    /// The bytes of all items but the parent locator.
    pub(super) fn other_items(&self) -> impl Iterator<Item = ByteRange> {
        let others = self
            .items
            .iter()
            .filter(|item| !item.is_system(PARENT_LOCATOR));
        others.map(|item| item.range)
    }

    /// The bytes where items may lie: the region past its table.
    pub(super) fn item_space(&self) -> ByteRange {
        let start = self.region.start().saturating_add(KIB64);
        // A region has a megabyte at least.
        ByteRange::between(start, self.region.end()).unwrap_or(self.region)
    }
}

impl Item {
    fn is_system(&self, id: Guid) -> bool {
        self.id == id && !self.user
    }
}

fn bad(
    place: impl std::fmt::Display,
    found: impl std::fmt::Display,
    expected: impl std::fmt::Display,
) -> FormatError {
    FormatError::corrupt(place, found, expected, WindowsError::METADATA_READ)
}

/// The table: which items there are, by count only. What lies past the count is not clean.
struct Table {
    offset: u64,
    entries_end: u64,
    items: Vec<Item>,
}

impl Table {
    fn read(file: &dyn ReadAt, region: ByteRange) -> Result<Self, FormatError> {
        let place = format!("metadata table at {:#x}", region.start());
        if region.len() < MIB {
            return Err(bad(place, "no bytes", "1 MiB or more"));
        }
        let bytes = read(file, region.start(), index(KIB64), &place)?;
        let (head, rest) = RawMetadataTable::ref_from_prefix(&bytes).expect("a table has 64 KiB");
        if head.signature != *METADATA_SIGNATURE {
            let found = format!("signature is `{}`", head.signature.escape_ascii());
            return Err(bad(place, found, "`metadata`"));
        }
        let count = usize::from(head.entry_count.get());
        let raw = (count <= MAX_ENTRIES).then_some(count);
        let raw = raw.and_then(|n| <[RawItem]>::ref_from_prefix_with_elems(rest, n).ok());
        let (raw, after) = raw.ok_or_else(|| {
            bad(
                &place,
                format!("{count} entries"),
                format!("at most {MAX_ENTRIES}"),
            )
        })?;
        let table_end = region.start().saturating_add(KIB64);
        let mut table = Self {
            offset: region.start(),
            entries_end: table_end.saturating_sub(super::raw::len64(after.len())),
            items: Vec::with_capacity(count),
        };
        let mut entry = region.start().saturating_add(32);
        for raw in raw {
            table.items.push(item(raw, entry, region)?);
            entry = entry.saturating_add(32);
        }
        table.check_items()?;
        Ok(table)
    }

    fn place(&self) -> String {
        format!("metadata table at {:#x}", self.offset)
    }

    fn check_items(&self) -> Result<(), FormatError> {
        let mut ids: Vec<_> = self.items.iter().map(|item| (item.id, item.user)).collect();
        ids.sort_unstable();
        if let Some((twice, _)) = ids
            .iter()
            .zip(ids.iter().skip(1))
            .find(|(one, two)| one == two)
        {
            return Err(bad(
                self.place(),
                format!("two items {}", show(twice.0)),
                "one",
            ));
        }
        let mut ranges: Vec<_> = self.items.iter().map(|item| item.range).collect();
        if let Some((one, two)) = ByteRange::first_overlap(&mut ranges) {
            let found = format!("items at {one} and {two} overlap");
            return Err(bad(self.place(), found, "items apart from each other"));
        }
        Ok(())
    }

    /// The item with this id, if there is one.
    fn find(&self, id: Guid) -> Option<&Item> {
        self.items.iter().find(|item| item.is_system(id))
    }

    /// The payload, of `N` bytes, of an item that every disk has; with it, where it lies.
    fn value<const N: usize>(
        &self,
        file: &dyn ReadAt,
        id: Guid,
        name: &str,
    ) -> Result<(String, [u8; N]), FormatError> {
        let missing = || bad(self.place(), format!("no item `{name}`"), "one");
        let range = self.find(id).ok_or_else(missing)?.range;
        let place = format!("{name} at {:#x}", range.start());
        if range.len() != super::raw::len64(N) {
            return Err(bad(place, format!("{} bytes", range.len()), N));
        }
        let bytes = read(file, range.start(), N, &place)?;
        Ok((
            place,
            bytes
                .try_into()
                .expect("as many bytes were read as asked for"),
        ))
    }

    fn file_parameters(&self, file: &dyn ReadAt) -> Result<(u32, u32), FormatError> {
        let (place, bytes) = self.value::<8>(file, FILE_PARAMETERS, "file parameters")?;
        let raw = RawFileParameters::ref_from_bytes(&bytes).expect("they have 8 bytes");
        let (block, flags) = (raw.block_size.get(), raw.flags.get());
        if !is_block_size(block) {
            let found = format!("block size {block}");
            let expected = "a power of two from 1 to 256 MiB";
            let windows = WindowsError::BAD_BLOCK_SIZE;
            return Err(FormatError::corrupt(place, found, expected, windows));
        }
        if flags > 3 {
            return Err(FormatError::unsupported(
                place,
                format!("flag word {flags:#x}"),
            ));
        }
        Ok((block, flags))
    }

    fn sector(&self, file: &dyn ReadAt, id: Guid, name: &str) -> Result<u32, FormatError> {
        let (place, bytes) = self.value::<4>(file, id, name)?;
        match u32::from_le_bytes(bytes) {
            size @ (512 | 4096) => Ok(size),
            other => Err(bad(place, other, "512 or 4096")),
        }
    }

    fn virtual_size(&self, file: &dyn ReadAt, sector: u32) -> Result<u64, FormatError> {
        let (place, bytes) = self.value::<8>(file, VIRTUAL_SIZE, "virtual disk size")?;
        let size = u64::from_le_bytes(bytes);
        if is_virtual_size(size, sector) {
            return Ok(size);
        }
        let expected = format!("a multiple of {sector} from {sector} to 64 TiB");
        Err(FormatError::corrupt(
            place,
            size,
            expected,
            WindowsError::INVALID_SIZE,
        ))
    }

    fn locator(&self, file: &dyn ReadAt, has_parent: bool) -> Result<Option<Locator>, FormatError> {
        match (has_parent, self.find(PARENT_LOCATOR)) {
            (false, None) => Ok(None),
            (true, None) => Err(bad(
                self.place(),
                "no parent locator",
                "one, as there is a parent",
            )),
            (false, Some(_)) => Err(bad(
                self.place(),
                "a parent locator",
                "none, as there is no parent",
            )),
            (true, Some(item)) => {
                let place = format!("parent locator at {:#x}", item.range.start());
                // An item is a megabyte at most.
                let bytes = read(file, item.range.start(), index(item.range.len()), &place)?;
                Locator::parse(&bytes, &place).map(Some)
            }
        }
    }
}

/// Tells whether a disk can have blocks of this size.
pub(super) const fn is_block_size(size: u32) -> bool {
    size.is_power_of_two() && size >= 1 << 20 && size <= MAX_BLOCK_SIZE
}

/// Tells whether a disk with such sectors can have this size.
pub(super) fn is_virtual_size(size: u64, sector: u32) -> bool {
    (1..=MAX_VIRTUAL_SIZE).contains(&size) && size.is_multiple_of(u64::from(sector))
}

/// Checks the entry at `entry` in the file.
fn item(raw: &RawItem, entry: u64, region: ByteRange) -> Result<Item, FormatError> {
    let place = format!("metadata entry at {entry:#x}");
    let (user, required) = (raw.flags.get() & 1 != 0, raw.flags.get() & 4 != 0);
    let incomplete = raw.id == INCOMPLETE_FILE;
    if incomplete {
        return Err(FormatError::unsupported(
            place,
            "a file that was never completed",
        ));
    }
    if required && (user || !is_known(raw.id)) {
        return Err(FormatError::unsupported(
            place,
            format!("item {}", show(raw.id)),
        ));
    }
    let (offset, length) = (u64::from(raw.offset.get()), u64::from(raw.length.get()));
    let range = if length == 0 {
        ByteRange::new(region.start(), 0)
    } else {
        let start = region
            .start()
            .checked_add(offset)
            .filter(|_| offset >= KIB64);
        let range = start.and_then(|start| ByteRange::new(start, length));
        range.filter(|&range| region.contains(range) && length <= MIB)
    };
    let range = range.ok_or_else(|| {
        let found = format!("{length:#x} bytes at {offset:#x}");
        bad(
            &place,
            found,
            "at most 1 MiB, past the table and inside the region",
        )
    })?;
    let entry = ByteRange::new(entry.saturating_add(OFFSET_IN_ENTRY), 8);
    let entry = entry.expect("an entry lies inside the file");
    Ok(Item {
        id: raw.id,
        user,
        range,
        entry,
    })
}

fn is_known(id: Guid) -> bool {
    let known = [
        FILE_PARAMETERS,
        VIRTUAL_SIZE,
        VIRTUAL_ID,
        LOGICAL_SECTOR,
        PHYSICAL_SECTOR,
        PARENT_LOCATOR,
    ];
    known.contains(&id)
}

/// What a new metadata region says.
pub(super) struct NewMetadata {
    pub(super) block_size: u32,
    pub(super) fixed: bool,
    pub(super) virtual_size: u64,
    pub(super) logical_sector: u32,
    pub(super) page83: Guid,
    /// The bytes of the parent locator.
    pub(super) locator: Option<Vec<u8>>,
}

impl NewMetadata {
    /// Returns the bytes of the region as far as they are not zero, placed as Windows does.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let has_parent = self.locator.is_some();
        let parameters = RawFileParameters {
            block_size: self.block_size.into(),
            flags: (u32::from(self.fixed) | (u32::from(has_parent) << 1)).into(),
        };
        let mut items = vec![
            (FILE_PARAMETERS, 4, parameters.as_bytes().to_vec()),
            (VIRTUAL_SIZE, 6, self.virtual_size.to_le_bytes().to_vec()),
            (
                LOGICAL_SECTOR,
                6,
                self.logical_sector.to_le_bytes().to_vec(),
            ),
            (PHYSICAL_SECTOR, 6, 4096_u32.to_le_bytes().to_vec()),
            (VIRTUAL_ID, 6, self.page83.to_vec()),
        ];
        items.extend(self.locator.clone().map(|bytes| (PARENT_LOCATOR, 4, bytes)));
        table(&items)
    }
}

fn table(items: &[(Guid, u32, Vec<u8>)]) -> Vec<u8> {
    let head = RawMetadataTable {
        signature: *METADATA_SIGNATURE,
        reserved: 0.into(),
        // There are six items at most, none longer than a megabyte.
        entry_count: u16::try_from(items.len()).unwrap_or(0).into(),
        reserved2: [0; 20],
    };
    let (mut table, mut payload) = (head.as_bytes().to_vec(), Vec::new());
    for (id, flags, bytes) in items {
        let offset = index(KIB64).saturating_add(payload.len());
        let raw = RawItem {
            id: *id,
            offset: u32::try_from(offset).unwrap_or(0).into(),
            length: u32::try_from(bytes.len()).unwrap_or(0).into(),
            flags: (*flags).into(),
            reserved: 0.into(),
        };
        table.extend_from_slice(raw.as_bytes());
        payload.extend_from_slice(bytes);
    }
    table.resize(index(KIB64), 0);
    table.extend(payload);
    table
}
