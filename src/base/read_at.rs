//! Random-access reads.

use std::{io, sync::Arc};

use super::Patch;

/// Bytes that can be read anywhere: a file, a `Vec<u8>`, a virtual disk.
pub trait ReadAt: Send + Sync {
    /// The number of bytes.
    fn len(&self) -> u64;

    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` where the bytes end before `buf` is full, and whatever the source meets.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Tells whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ReadAt for [u8] {
    fn len(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start
            .checked_add(buf.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buf, offset)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }
}

/// A reader that sees `file` as it will be once `patch` is carried out.
#[derive(Debug)]
pub struct Patched<'a, T: ReadAt> {
    /// What lies there now.
    pub file: T,
    /// What is laid over it.
    pub patch: &'a Patch,
}

impl<T: ReadAt> ReadAt for Patched<'_, T> {
    fn len(&self) -> u64 {
        self.patch.len_after(self.file.len())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset
            .checked_add(buf.len() as u64)
            .filter(|&end| end <= self.len());
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        // Beyond the old end the patch itself brings the bytes; until then they are zero.
        let old = end.min(self.file.len()).saturating_sub(offset) as usize;
        let (from_file, grown) = buf.split_at_mut(old);
        if !from_file.is_empty() {
            self.file.read_exact_at(from_file, offset)?;
        }
        grown.fill(0);
        self.patch.apply(offset, buf);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Write;

    #[test]
    fn reading_past_the_end_is_an_error_at_any_offset() {
        let bytes = vec![1_u8, 2, 3];
        let mut buf = [0; 2];
        bytes.read_exact_at(&mut buf, 1).unwrap();
        assert_eq!(buf, [2, 3]);
        for offset in [2, 3, u64::MAX] {
            let error = bytes.read_exact_at(&mut buf, offset).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn a_patched_reader_equals_the_patched_bytes_even_where_the_file_grows() {
        let bytes: Vec<u8> = (0..32).collect();
        let patch = Patch {
            stages: vec![vec![Write::bytes(30, [7; 10]), Write::bytes(3, [9, 9])]],
            new_len: Some(48),
        };
        let mut whole = bytes.clone();
        patch.apply_to_vec(&mut whole).unwrap();
        let reader = Patched {
            file: bytes.as_slice(),
            patch: &patch,
        };
        for offset in 0..48_usize {
            let mut buf = vec![0; (48 - offset).min(5)];
            reader.read_exact_at(&mut buf, offset as u64).unwrap();
            assert_eq!(buf, whole[offset..offset + buf.len()]);
        }
        assert!(reader.read_exact_at(&mut [0; 2], 47).is_err());
    }
}
