//! A file of any length that is nearly all zeros.

use std::{
    collections::BTreeMap,
    io::{self, Seek, SeekFrom, Write},
};

use labpack::base::ReadAt;

const PAGE: u64 = 4096;
const ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];

/// The pages that are not zero, and the length.
#[derive(Clone, Default)]
pub struct Sparse {
    pages: BTreeMap<u64, Box<[u8]>>,
    len: u64,
    at: u64,
}

impl Sparse {
    /// Puts bytes over what was there; what is past the end makes the file longer.
    pub fn put(&mut self, mut offset: u64, mut bytes: &[u8]) {
        self.len = self.len.max(offset + bytes.len() as u64);
        while !bytes.is_empty() {
            let within = (offset % PAGE) as usize;
            let (now, rest) = bytes.split_at(bytes.len().min(PAGE as usize - within));
            let number = offset / PAGE;
            if self.pages.contains_key(&number) || *now != ZEROS[..now.len()] {
                let page = self.pages.entry(number);
                let page = page.or_insert_with(|| vec![0; PAGE as usize].into());
                page[within..within + now.len()].copy_from_slice(now);
            }
            offset += now.len() as u64;
            bytes = rest;
        }
    }

    /// Makes the file this long.
    pub fn set_len(&mut self, len: u64) {
        self.len = len;
    }

    /// Returns the `N` bytes at `offset`, zeros where the file has ended.
    pub fn get<const N: usize>(&self, offset: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes, offset);
        bytes
    }

    fn fill(&self, buf: &mut [u8], mut offset: u64) {
        let mut rest = buf;
        while !rest.is_empty() {
            let within = (offset % PAGE) as usize;
            let most = rest.len().min(PAGE as usize - within);
            let (now, after) = rest.split_at_mut(most);
            match self.pages.get(&(offset / PAGE)) {
                Some(page) => now.copy_from_slice(&page[within..within + most]),
                None => now.fill(0),
            }
            offset = offset.saturating_add(most as u64);
            rest = after;
        }
    }
}

impl ReadAt for Sparse {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        assert!(buf.len() <= 1 << 20, "{} bytes at a time", buf.len());
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.fill(buf, offset);
        Ok(())
    }
}

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(self.at, bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(0) => self.len,
            SeekFrom::Current(0) => self.at,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(self.at)
    }
}
