//! Headers and tables, read in few large pieces.

use std::{
    collections::VecDeque,
    io,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use crate::base::ReadAt;

/// What the first bytes of a file bring: enough to tell that it is no disk.
const FIRST: u64 = 4 << 10;
/// Here a VHDX has its headers and region tables.
const HEAD: Range<u64> = 64 << 10..320 << 10;
/// What is read past the end of anything else: the items that follow a metadata table, and what a
/// VHD has beside its table.
const BEYOND: u64 = 8 << 10;
/// A longer piece is not kept.
const LONGEST: u64 = 256 << 10;
/// As many pieces are kept: the start, the head, metadata, and a VHD's footer.
const KEPT: usize = 4;

/// A reader of headers and tables, which lie close together and are asked for one by one. What is
/// asked for is read with what follows it, and kept; memory is bounded. Content is not to be read
/// through it.
///
/// A file that changes meanwhile may be seen partly as it was.
#[derive(Debug)]
pub struct ReadAhead<T: ReadAt> {
    file: T,
    kept: Mutex<VecDeque<Piece>>,
}

#[derive(Debug)]
struct Piece {
    start: u64,
    bytes: Vec<u8>,
}

impl<T: ReadAt> ReadAhead<T> {
    /// Reads nothing yet.
    pub const fn new(file: T) -> Self {
        Self {
            file,
            kept: Mutex::new(VecDeque::new()),
        }
    }

    /// Reads a piece that begins with `start..end`; `None` where that is not possible, or not
    /// worth keeping.
    fn piece(&self, start: u64, end: u64) -> Option<Piece> {
        let ahead = if end <= FIRST {
            FIRST
        } else if HEAD.contains(&start) && end <= HEAD.end {
            HEAD.end
        } else {
            end.saturating_add(BEYOND)
        };
        let len = ahead.min(self.file.len()).checked_sub(start)?;
        if end - start > len || len > LONGEST {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        self.file.read_exact_at(&mut bytes, start).ok()?;
        Some(Piece { start, bytes })
    }
}

impl Piece {
    fn get(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(len)?)
    }
}

impl<T: ReadAt> ReadAt for ReadAhead<T> {
    fn len(&self) -> u64 {
        self.file.len()
    }

    /// Where more than was asked for cannot be read, what was asked for alone decides.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset
            .checked_add(buf.len() as u64)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = kept.iter().find_map(|piece| piece.get(offset, buf.len())) {
            buf.copy_from_slice(bytes);
            return Ok(());
        }
        let Some(piece) = self.piece(offset, end) else {
            return self.file.read_exact_at(buf, offset);
        };
        // A piece begins with what was asked for.
        buf.copy_from_slice(&piece.bytes[..buf.len()]);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(piece);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Takes down what is read, and cannot read what lies in `bad`.
    struct Watched {
        bytes: Vec<u8>,
        bad: Range<u64>,
        reads: Mutex<Vec<(u64, usize)>>,
    }

    impl Watched {
        fn of(len: usize) -> Self {
            let mut bytes = vec![0; len];
            blake3::Hasher::new().finalize_xof().fill(&mut bytes);
            let (bad, reads) = (0..0, Mutex::default());
            Self { bytes, bad, reads }
        }

        fn reads(&self) -> Vec<(u64, usize)> {
            self.reads.lock().unwrap().clone()
        }
    }

    impl ReadAt for Watched {
        fn len(&self) -> u64 {
            self.bytes.len() as u64
        }

        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            self.reads.lock().unwrap().push((offset, buf.len()));
            let end = offset.saturating_add(buf.len() as u64);
            if offset < self.bad.end && self.bad.start < end {
                return Err(io::Error::other("a bad sector"));
            }
            self.bytes.read_exact_at(buf, offset)
        }
    }

    fn read(file: &dyn ReadAt, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut buf = vec![0; len];
        file.read_exact_at(&mut buf, offset).map(|()| buf)
    }

    #[test]
    fn the_structures_of_a_vhdx_take_four_reads() {
        let ahead = ReadAhead::new(Watched::of(5 << 20));
        let start = [(0, 8), (8, 512)];
        let headers = [(0x1_0000, 4096), (0x2_0000, 4096)];
        let regions = [(0x3_0000, 65_536), (0x4_0000, 65_536)];
        let metadata = [(0x20_0000, 65_536), (0x21_0000, 8), (0x21_0028, 700)];
        let bat = [(0x30_0000, 800)];
        let parts: [&[(u64, usize)]; 5] = [&start, &headers, &regions, &metadata, &bat];
        for &(offset, len) in parts.into_iter().flatten() {
            let bytes = read(&ahead, offset, len).unwrap();
            assert!(bytes == ahead.file.bytes[offset as usize..][..len]);
        }
        assert_eq!(ahead.file.reads().len(), 4, "{:?}", ahead.file.reads());
    }

    #[test]
    fn a_file_that_is_no_disk_is_hardly_read() {
        let ahead = ReadAhead::new(Watched::of(1 << 20));
        for (offset, len) in [(0, 8), ((1 << 20) - 512, 8), (0, 8)] {
            read(&ahead, offset, len).unwrap();
        }
        assert_eq!(ahead.file.reads(), [(0, 4096), ((1 << 20) - 512, 512)]);
    }

    #[test]
    fn a_large_table_is_read_as_it_is_asked_for() {
        let ahead = ReadAhead::new(Watched::of(3 << 20));
        for _ in 0..2 {
            read(&ahead, 1 << 20, 1 << 20).unwrap();
        }
        assert_eq!(ahead.file.reads(), [(1 << 20, 1 << 20); 2]);
    }

    #[test]
    fn a_bad_sector_is_an_error_only_where_it_is_asked_for() {
        let mut file = Watched::of(1 << 20);
        file.bad = 0x2_0000..0x2_0200;
        let ahead = ReadAhead::new(file);
        let header = read(&ahead, 0x1_0000, 4096).unwrap();
        assert!(header == ahead.file.bytes[0x1_0000..][..4096]);
        let error = read(&ahead, 0x2_0000, 4096).unwrap_err();
        assert_eq!(error.to_string(), "a bad sector");
        assert!(read(&ahead, 0x3_0000, 65_536).is_ok());
    }

    #[test]
    fn what_was_read_longest_ago_is_dropped_first() {
        let ahead = ReadAhead::new(Watched::of(10 << 20));
        let reads = |megabytes: Range<u64>| {
            for megabyte in megabytes {
                read(&ahead, megabyte << 20, 16).unwrap();
            }
            ahead.file.reads().len()
        };
        assert_eq!(reads(1..6), 5);
        assert_eq!(reads(2..6), 5);
        assert_eq!(reads(1..2), 6);
        assert_eq!(ahead.kept.lock().unwrap().len(), KEPT);
    }

    proptest! {
        #[test]
        fn it_reads_what_the_file_holds_and_nothing_past_its_end(
            len in 0..700_000_usize,
            asked in vec((0..720_000_u64, 0..400_000_usize), 1..12),
        ) {
            let ahead = ReadAhead::new(Watched::of(len));
            for (offset, size) in asked {
                let found = read(&ahead, offset, size).map_err(|error| error.kind());
                let plain = read(&ahead.file.bytes, offset, size).map_err(|error| error.kind());
                prop_assert!(found == plain, "{size} at {offset}");
            }
            prop_assert!(read(&ahead, u64::MAX, 2).is_err());
        }
    }
}
