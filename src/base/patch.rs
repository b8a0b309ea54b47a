//! A change to a file, as a value: it can be laid over a stream while a file is copied,
//! over a reader, or written into a file in stages.

use std::io;

use super::ByteRange;

/// What a [`Write`] puts into the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many zero bytes.
    Zeros(u64),
}

/// Bytes to be written at an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where the first byte goes, from the start of the file.
    pub offset: u64,
    /// What goes there.
    pub payload: Payload,
}

impl Write {
    /// Puts `bytes` at `offset`.
    #[must_use]
    pub fn bytes(offset: u64, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            offset,
            payload: Payload::Bytes(bytes.into()),
        }
    }

    /// Puts zeros over `range`.
    #[must_use]
    pub fn zeros(range: ByteRange) -> Self {
        Self {
            offset: range.start(),
            payload: Payload::Zeros(range.len()),
        }
    }

    /// Returns the number of bytes written.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.payload {
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::Zeros(len) => *len,
        }
    }

    /// Tells whether nothing is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn apply(&self, offset: u64, chunk: &mut [u8]) {
        let chunk_end = offset.saturating_add(chunk.len() as u64);
        let start = self.offset.max(offset);
        let end = self.offset.saturating_add(self.len()).min(chunk_end);
        if start >= end {
            return;
        }
        // Both differences are at most chunk.len(), a usize.
        let target = &mut chunk[(start - offset) as usize..(end - offset) as usize];
        match &self.payload {
            Payload::Zeros(_) => target.fill(0),
            Payload::Bytes(bytes) => {
                let from = (start - self.offset) as usize;
                target.copy_from_slice(&bytes[from..from + target.len()]);
            }
        }
    }
}

/// A change to one file.
///
/// Writes apply in order, a later one over an earlier one. In place, the file is flushed after
/// each stage, so that a crash leaves either the old structure or the new one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// Groups of writes; whoever writes them into an existing file flushes after each.
    pub stages: Vec<Vec<Write>>,
    /// The file's length afterwards, where the patch changes it.
    pub new_len: Option<u64>,
}

impl Patch {
    /// A patch of one stage.
    #[must_use]
    pub fn single(writes: Vec<Write>) -> Self {
        Self {
            stages: vec![writes],
            new_len: None,
        }
    }

    /// Tells whether the patch changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.new_len.is_none() && self.writes().all(Write::is_empty)
    }

    /// Returns all writes, in order.
    pub fn writes(&self) -> impl Iterator<Item = &Write> {
        self.stages.iter().flatten()
    }

    /// Appends the stages of `next`, to be carried out after this patch.
    pub fn then(&mut self, next: Self) {
        self.stages.extend(next.stages);
        self.new_len = next.new_len.or(self.new_len);
    }

    /// Changes `chunk`, the bytes of the file from `offset` on, as the patch says.
    pub fn apply(&self, offset: u64, chunk: &mut [u8]) {
        for write in self.writes() {
            write.apply(offset, chunk);
        }
    }

    /// Returns the length that a file of `len` bytes has afterwards.
    #[must_use]
    pub fn len_after(&self, len: u64) -> u64 {
        self.new_len.unwrap_or(len)
    }

    /// Writes the patch into bytes in memory.
    ///
    /// # Errors
    /// When a write ends beyond the file's new length.
    pub fn apply_to_vec(&self, file: &mut Vec<u8>) -> io::Result<()> {
        let len = self.new_len.unwrap_or(file.len() as u64);
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        file.resize(len, 0);
        if self
            .writes()
            .any(|w| w.offset.saturating_add(w.len()) > len as u64)
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "patch ends beyond the file",
            ));
        }
        self.apply(0, file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_reads_the_same_whether_laid_over_chunks_or_written_whole() {
        let original: Vec<u8> = (0..=255).collect();
        let patch = Patch {
            stages: vec![
                vec![Write::zeros(ByteRange::new(10, 100).unwrap())],
                vec![
                    Write::bytes(50, b"hello".as_slice()),
                    Write::bytes(250, [9; 6]),
                ],
            ],
            new_len: None,
        };
        let mut whole = original.clone();
        patch.apply_to_vec(&mut whole).unwrap();
        for size in [1, 7, 64, 256] {
            let mut pieced = original.clone();
            for (i, chunk) in pieced.chunks_mut(size).enumerate() {
                patch.apply((i * size) as u64, chunk);
            }
            assert_eq!(pieced, whole, "chunks of {size}");
        }
        assert_eq!(&whole[50..55], b"hello");
        assert_eq!(whole[109], 0);
        assert_eq!(whole[110], 110);
    }

    #[test]
    fn a_patch_that_ends_beyond_the_file_is_refused() {
        let patch = Patch::single(vec![Write::bytes(2, [1, 2, 3])]);
        assert!(patch.apply_to_vec(&mut vec![0; 4]).is_err());
    }
}
