//! The two region tables: where the BAT and the metadata are.

use zerocopy::{FromBytes, IntoBytes};

use super::raw::{
    BAT, Fault, Guid, KIB64, METADATA, MIB, REGION_SIGNATURE, RawRegion, RawRegionTable,
    check_copy, index, read, seal, show,
};
use crate::{
    base::{ByteRange, ReadAt},
    formats::{FormatError, Remark, RemarkKind},
    report::{Code, WindowsError},
};

/// Where the two tables lie.
const OFFSETS: [u64; 2] = [0x3_0000, 0x4_0000];
/// As many entries as fit the 64 KiB.
const MAX_ENTRIES: u32 = 2047;

/// The regions of a file: aligned, past the header area, inside the file, over nothing else.
pub(super) struct Regions {
    pub(super) bat: ByteRange,
    pub(super) metadata: ByteRange,
    /// Every region, those among them that nobody must know.
    pub(super) all: Vec<ByteRange>,
}

impl Regions {
    /// Reads the tables, with a remark where one of them is damaged; `log` is in no region.
    pub(super) fn read(
        file: &dyn ReadAt,
        log: ByteRange,
    ) -> Result<(Self, Option<Remark>), FormatError> {
        let (offset, table, remark) = choose(file)?;
        let entries = entries(&table, offset)?;
        let place = format!("region table at {offset:#x}");
        let mut all = Vec::with_capacity(entries.len());
        for (number, entry) in entries.iter().enumerate() {
            all.push(check(
                entry,
                &format!("{place}, entry {number}"),
                file.len(),
            )?);
        }
        let find = |guid, name| find(entries, &all, guid, name, &place);
        let (bat, metadata) = (find(BAT, "BAT")?, find(METADATA, "metadata")?);
        check_apart(&all, log, &place)?;
        Ok((Self { bat, metadata, all }, remark))
    }
}

/// Returns the offset and bytes of the table to be used.
fn choose(file: &dyn ReadAt) -> Result<(u64, Vec<u8>, Option<Remark>), FormatError> {
    let [one, two] = OFFSETS;
    let (first, second) = (read_copy(file, one)?, read_copy(file, two)?);
    Ok(match (first, second) {
        (Ok(table), Ok(copy)) => {
            let remark = (table != copy).then(|| remark(two, &differs(), one));
            (one, table, remark)
        }
        (Ok(table), Err(fault)) => (one, table, Some(remark(two, &fault, one))),
        (Err(fault), Ok(table)) => (two, table, Some(remark(one, &fault, two))),
        (Err(fault), Err(other)) => {
            let found = format!("both are damaged ({fault}; {other})");
            return Err(bad(
                "region tables at 0x30000 and 0x40000",
                found,
                "one that is not",
            ));
        }
    })
}

fn read_copy(file: &dyn ReadAt, offset: u64) -> Result<Result<Vec<u8>, Fault>, FormatError> {
    let bytes = read(
        file,
        offset,
        index(KIB64),
        format!("region table at {offset:#x}"),
    )?;
    Ok(check_copy(&bytes, REGION_SIGNATURE).map(|()| bytes))
}

fn differs() -> Fault {
    Fault {
        found: "not what the other table says".to_owned(),
        expected: "the same bytes".to_owned(),
    }
}

fn remark(damaged: u64, fault: &Fault, used: u64) -> Remark {
    Remark {
        kind: RemarkKind::RegionTableCopy,
        text: format!("region table at {damaged:#x}: {fault}; the copy at {used:#x} was used"),
    }
}

fn entries(table: &[u8], offset: u64) -> Result<&[RawRegion], FormatError> {
    let (head, rest) = RawRegionTable::ref_from_prefix(table).expect("a table has 64 KiB");
    let count = head.entry_count.get();
    let entries = usize::try_from(count).ok().filter(|_| count <= MAX_ENTRIES);
    let entries = entries.and_then(|n| <[RawRegion]>::ref_from_prefix_with_elems(rest, n).ok());
    let (entries, _) = entries.ok_or_else(|| {
        let found = format!("{count} entries");
        bad(
            format!("region table at {offset:#x}"),
            found,
            format!("at most {MAX_ENTRIES}"),
        )
    })?;
    Ok(entries)
}

fn check(entry: &RawRegion, place: &str, file_len: u64) -> Result<ByteRange, FormatError> {
    let required = entry.required.get() & 1 != 0;
    if required && entry.guid != BAT && entry.guid != METADATA {
        return Err(FormatError::unsupported(
            place,
            format!("region {}", show(entry.guid)),
        ));
    }
    let (offset, len) = (entry.file_offset.get(), u64::from(entry.length.get()));
    let aligned = offset >= MIB && offset.is_multiple_of(MIB) && len.is_multiple_of(MIB);
    let range = ByteRange::new(offset, len)
        .filter(|_| aligned)
        .ok_or_else(|| {
            let found = format!("{len:#x} bytes at {offset:#x}");
            bad(place, found, "multiples of 1 MiB past the first MiB")
        })?;
    if range.end() > file_len {
        let found = format!("the file ends at {file_len:#x}");
        let expected = format!("{:#x} or more", range.end());
        let windows = WindowsError::INVALID_FILE_SIZE;
        return Err(FormatError::corrupt(place, found, expected, windows).coded(Code::Truncated));
    }
    Ok(range)
}

fn find(
    entries: &[RawRegion],
    ranges: &[ByteRange],
    guid: Guid,
    name: &str,
    place: &str,
) -> Result<ByteRange, FormatError> {
    let mut found = entries
        .iter()
        .zip(ranges)
        .filter(|(entry, _)| entry.guid == guid);
    match (found.next(), found.next()) {
        (Some((_, range)), None) => Ok(*range),
        (None, _) => Err(bad(place, format!("no {name} region"), "one")),
        (Some(_), Some(_)) => Err(bad(place, format!("two {name} regions"), "one")),
    }
}

fn check_apart(regions: &[ByteRange], log: ByteRange, place: &str) -> Result<(), FormatError> {
    let mut ranges = regions.to_vec();
    ranges.push(log);
    let Some((one, two)) = ByteRange::first_overlap(&mut ranges) else {
        return Ok(());
    };
    let found = format!("{one} and {two} overlap");
    Err(bad(place, found, "regions and log apart from each other"))
}

fn bad(
    place: impl std::fmt::Display,
    found: impl std::fmt::Display,
    expected: impl std::fmt::Display,
) -> FormatError {
    FormatError::corrupt(place, found, expected, WindowsError::METADATA_READ)
}

/// Returns the bytes of a region table with a BAT and a metadata region, as Windows orders them.
pub(super) fn table(bat: ByteRange, metadata: ByteRange) -> Vec<u8> {
    let head = RawRegionTable {
        signature: *REGION_SIGNATURE,
        checksum: 0.into(),
        entry_count: 2.into(),
        reserved: 0.into(),
    };
    let mut bytes = head.as_bytes().to_vec();
    for (guid, range) in [(BAT, bat), (METADATA, metadata)] {
        let entry = RawRegion {
            guid,
            file_offset: range.start().into(),
            // Both are lengths that we chose; the largest BAT has 513 MiB.
            length: u32::try_from(range.len()).unwrap_or(0).into(),
            required: 1.into(),
        };
        bytes.extend_from_slice(entry.as_bytes());
    }
    bytes.resize(index(KIB64), 0);
    seal(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_windows_default_layout_has_windows_checksum() {
        let bat = ByteRange::new(0x30_0000, MIB).unwrap();
        let metadata = ByteRange::new(0x20_0000, MIB).unwrap();
        let bytes = table(bat, metadata);
        assert_eq!(bytes[4..8], 0xC66B_8CAE_u32.to_le_bytes());
    }
}
