//! VHDX: headers, region tables, metadata, locator, block allocation table.
//!
//! The structures of a VHDX are few bytes in megabytes of zeros, under checksums. An input is a
//! byte of flags, the length of the file in sectors, and then the bytes of one [`WINDOWS`] after
//! the other; what is left lies in the last, where the items of the metadata are.

use std::sync::Arc;

use labpack::base::ReadAt;

use super::{disk, sparse::Sparse};

/// Gives headers and region tables the checksums that their bytes call for.
pub const SEAL: u8 = 1;
/// Makes the second region table damaged; else it is as the first.
pub const ONE_TABLE: u8 = 2;
/// Bytes before those of the windows.
pub const HEAD: usize = 5;

/// Where the bytes of an input lie, and how many; as many as there are in the last.
pub const WINDOWS: [(u64, usize); 10] = [
    (0, 40),               // file identifier
    (0x1_0000, 80),        // header
    (0x2_0000, 80),        // header
    (0x3_0000, 112),       // region table of three entries
    (0x20_0000, 256),      // metadata table of seven entries
    (0x30_0000, 136),      // block allocation table
    (0x30_4000, 8),        // sector bitmap entry for blocks of 2 MiB
    (0x30_8000, 8),        // sector bitmap entry for blocks of 1 MiB
    (0x40_0000, 64),       // sector bitmap
    (0x21_0000, 0x8_0000), // metadata items
];

const TABLES: [u64; 2] = [0x3_0000, 0x4_0000];
/// Longer files would only make the map of what is in use longer.
const MOST_SECTORS: u32 = 1 << 27;

/// The target.
pub fn run(input: &[u8]) {
    if let Some(file) = file(input) {
        disk::check(&(Arc::new(file) as Arc<dyn ReadAt>));
    }
}

/// Returns the file that the input describes.
pub fn file(input: &[u8]) -> Option<Sparse> {
    let (&[flags, len @ ..], mut bytes) = input.split_first_chunk::<HEAD>()?;
    let mut file = Sparse::default();
    for (offset, len) in WINDOWS {
        let (window, rest) = bytes.split_at(bytes.len().min(len));
        file.put(offset, window);
        bytes = rest;
    }
    file.put(TABLES[1], &file.get::<112>(TABLES[0]));
    if flags & SEAL != 0 {
        for header in [0x1_0000, 0x2_0000] {
            seal::<4096>(&mut file, header);
        }
        for table in TABLES {
            seal::<0x1_0000>(&mut file, table);
        }
    }
    if flags & ONE_TABLE != 0 {
        file.put(TABLES[1], &[0]);
    }
    file.set_len(u64::from(u32::from_le_bytes(len) % MOST_SECTORS) * 512);
    Some(file)
}

/// Puts the checksum of the `N` bytes at `offset` into them.
fn seal<const N: usize>(file: &mut Sparse, offset: u64) {
    file.put(offset + 4, &[0; 4]);
    let sum = crc32c::crc32c(&file.get::<N>(offset));
    file.put(offset + 4, &sum.to_le_bytes());
}
