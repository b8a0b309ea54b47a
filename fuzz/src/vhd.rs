//! VHD: footers, dynamic header, block allocation table, locators.
//!
//! An input is a byte of flags, two bytes with a number of sectors, and bytes of the file: all of
//! them, with so many empty sectors before the last footer; or those in one of [`WINDOWS`] after
//! the other, and the file's last footer, a copy of its first, after so many sectors.

use std::sync::Arc;

use labpack::base::ReadAt;

use super::{disk, sparse::Sparse};

/// Gives footers and header the checksums that their bytes call for.
pub const SEAL: u8 = 1;
/// Makes the copy of the footer at the start one of the footer at the end.
pub const MIRROR: u8 = 2;
/// What follows are windows.
pub const WINDOWED: u8 = 4;
/// Bytes before those of the file.
pub const HEAD: usize = 3;

/// Where the bytes of an input lie, and how many; as many as there are in the last.
pub const WINDOWS: [(u64, usize); 8] = [
    (0, 96),            // footer
    (0x200, 768),       // header, its locators last
    (0x600, 16),        // block allocation table of a disk without a parent
    (0x1000, 128),      // absolute path
    (0x2000, 16),       // block allocation table of a child
    (0x3000, 128),      // relative path
    (0x1_3e00, 16),     // sector bitmap of a child's first block
    (0x1_4000, 0x1000), // its data
];

const FOOTER: u64 = 512;

/// The target.
pub fn run(input: &[u8]) {
    if let Some(file) = file(input) {
        disk::check(&(Arc::new(file) as Arc<dyn ReadAt>));
    }
}

/// Returns the file that the input describes.
pub fn file(input: &[u8]) -> Option<Sparse> {
    let (&[flags, low, high], bytes) = input.split_first_chunk::<HEAD>()?;
    let gap = u64::from(u16::from_le_bytes([low, high])) * FOOTER;
    if flags & WINDOWED != 0 {
        return Some(windowed(bytes, flags, gap));
    }
    let (front, footer) = bytes.split_at(bytes.len().saturating_sub(FOOTER as usize));
    let mut file = Sparse::default();
    file.put(0, front);
    let end = front.len() as u64 + gap;
    file.put(end, footer);
    if flags & MIRROR != 0 {
        file.put(0, &file.get::<512>(end)[..footer.len()]);
    }
    if flags & SEAL != 0 && footer.len() as u64 == FOOTER {
        seal(&mut file, end);
    }
    Some(file)
}

fn windowed(mut bytes: &[u8], flags: u8, end: u64) -> Sparse {
    let mut file = Sparse::default();
    for (offset, len) in WINDOWS {
        let (window, rest) = bytes.split_at(bytes.len().min(len));
        file.put(offset, window);
        bytes = rest;
    }
    file.put(end, &file.get::<512>(0));
    file.set_len(end + FOOTER);
    if flags & SEAL != 0 {
        seal(&mut file, end);
    }
    file
}

/// Seals both footers, and the header that the one at `end` names.
fn seal(file: &mut Sparse, end: u64) {
    for footer in [0, end] {
        let sum = checksum(&file.get::<512>(footer), 64);
        file.put(footer + 64, &sum);
    }
    let header = u64::from_be_bytes(file.get(end + 16));
    if (FOOTER..=end.saturating_sub(1024)).contains(&header) {
        let sum = checksum(&file.get::<1024>(header), 36);
        file.put(header + 36, &sum);
    }
}

/// The complement of the sum of all bytes but those of the checksum, at `field`.
fn checksum(bytes: &[u8], field: usize) -> [u8; 4] {
    let counted = bytes[..field].iter().chain(&bytes[field + 4..]);
    let sum = counted.fold(0_u32, |sum, &byte| sum.wrapping_add(u32::from(byte)));
    (!sum).to_be_bytes()
}
