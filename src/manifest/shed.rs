//! Bytes that are read for the last time.

use std::io::{self, Read};

/// Hands out bytes from first to last, and frees them on the way: what they say may take as much
/// room as they do.
pub(super) struct Shed {
    /// What is left but for `piece`, last piece first.
    rest: Vec<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
}

/// So much is freed at once: a piece that goes back to the system, where shorter ones would leave
/// holes for what is no shorter.
const PIECE: usize = 1 << 20;

impl Shed {
    /// Begins with the bytes from `start` on.
    pub(super) fn new(mut bytes: Vec<u8>, start: usize) -> Self {
        let mut rest = Vec::with_capacity(bytes.len() / PIECE);
        while bytes.len() > PIECE {
            // In whole pieces, the last one as long as it comes.
            rest.push(bytes.split_off((bytes.len() - 1) / PIECE * PIECE));
            bytes.shrink_to_fit();
        }
        let mut piece = io::Cursor::new(bytes);
        piece.set_position(start as u64);
        Self { rest, piece }
    }
}

impl Read for Shed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buf)?;
            if read > 0 || buf.is_empty() {
                return Ok(read);
            }
            match self.rest.pop() {
                Some(piece) => self.piece = io::Cursor::new(piece),
                None => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_handed_out_in_order() {
        for len in [
            0,
            1,
            5,
            PIECE - 1,
            PIECE,
            PIECE + 1,
            3 * PIECE,
            3 * PIECE + 7,
        ] {
            let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            for start in [0, 3].into_iter().filter(|start| *start <= len) {
                let mut read = Vec::new();
                let mut shed = Shed::new(bytes.clone(), start);
                assert!(shed.rest.iter().all(|piece| piece.len() <= PIECE));
                shed.read_to_end(&mut read).unwrap();
                assert_eq!(read, bytes[start..], "{len} bytes from {start}");
            }
        }
    }
}
