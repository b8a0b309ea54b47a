//! A chain, read as the guest reads it.

use std::io;

use crate::{
    base::{ReadAt, VirtualSize},
    formats::{DiskInfo, FormatError, Layer, Source},
};

/// The levels of a chain, read as one disk. Its size is the leaf's.
pub struct VirtualDisk {
    /// Leaf first, base last; at least one.
    layers: Vec<Box<dyn Layer>>,
}

/// Layers that make no chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLayers {
    /// There is none.
    #[error("a chain has at least one disk, found none")]
    None,
    /// The last one has a parent, or one before it has none.
    #[error("level {level} of the chain {found}, expected the reverse")]
    Mismatch {
        /// Counted from the leaf, which is 0.
        level: usize,
        /// What is wrong with it.
        found: &'static str,
    },
}

/// Virtual bytes that one level answers for; `None`: they are zero.
struct Piece {
    len: u64,
    from: Option<(usize, u64)>,
}

impl VirtualDisk {
    /// Puts a chain together from its layers, leaf first, base last.
    ///
    /// # Errors
    /// [`BadLayers`] unless exactly the last has no parent.
    pub fn new(layers: Vec<Box<dyn Layer>>) -> Result<Self, BadLayers> {
        let Some(last) = layers.len().checked_sub(1) else {
            return Err(BadLayers::None);
        };
        for (level, layer) in layers.iter().enumerate() {
            let found = match (layer.info().parent.is_some(), level == last) {
                (true, true) => "has a parent",
                (false, false) => "has no parent",
                _ => continue,
            };
            return Err(BadLayers::Mismatch { level, found });
        }
        Ok(Self { layers })
    }

    /// Returns what the leaf says about itself.
    #[must_use]
    pub fn info(&self) -> &DiskInfo {
        self.layers[0].info()
    }

    /// Returns how many bytes from `offset` on are alike, at least one, and whether they are known
    /// to be zero without reading them.
    ///
    /// # Errors
    /// `UnexpectedEof` at or beyond the end; a damaged table, as a [`FormatError`] inside.
    pub fn extent_at(&self, offset: u64) -> io::Result<(u64, bool)> {
        let piece = self.piece(offset)?;
        Ok((piece.len, piece.from.is_none()))
    }

    /// Asks level after level, down from the leaf, who has the bytes at `offset`.
    fn piece(&self, offset: u64) -> io::Result<Piece> {
        let mut len = self.len().checked_sub(offset).filter(|&len| len > 0);
        for (level, layer) in self.layers.iter().enumerate() {
            let most = len.ok_or(io::ErrorKind::UnexpectedEof)?;
            let VirtualSize(size) = layer.info().virtual_size;
            let Some(below_end) = size.checked_sub(offset).filter(|&rest| rest > 0) else {
                // A parent that is shorter than its child reads as zeros beyond its end.
                return Ok(Piece {
                    len: most,
                    from: None,
                });
            };
            let extent = layer.extent(offset).map_err(broken)?;
            let most = most.min(extent.len).min(below_end);
            if most == 0 {
                return Err(io::Error::other("a layer answered for no bytes"));
            }
            match extent.source {
                Source::Here(at) => {
                    return Ok(Piece {
                        len: most,
                        from: Some((level, at)),
                    });
                }
                Source::Zero => {
                    return Ok(Piece {
                        len: most,
                        from: None,
                    });
                }
                Source::Parent => len = Some(most),
            }
        }
        Err(io::Error::other("the base of the chain asks for a parent"))
    }
}

impl ReadAt for VirtualDisk {
    fn len(&self) -> u64 {
        self.info().virtual_size.0
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let (mut buf, mut offset) = (buf, offset);
        while !buf.is_empty() {
            let piece = self.piece(offset)?;
            let len = usize::try_from(piece.len).map_or(buf.len(), |len| len.min(buf.len()));
            let (now, rest) = buf.split_at_mut(len);
            match piece.from {
                Some((level, at)) => self.layers[level].read_file(now, at).map_err(broken)?,
                None => now.fill(0),
            }
            offset = offset.saturating_add(len as u64);
            buf = rest;
        }
        Ok(())
    }
}

/// Hands a format error to somebody who only knows input and output.
fn broken(error: FormatError) -> io::Error {
    let kind = match &error {
        FormatError::Unreadable { source, .. } | FormatError::Unwritable { source, .. } => {
            source.kind()
        }
        FormatError::Unsupported { .. } => io::ErrorKind::Unsupported,
        FormatError::Corrupt { .. } | FormatError::PendingLog => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::DiskId,
        formats::{DiskFormat, DiskKind, Extent, LogState, ParentLink},
    };

    /// A disk whose bytes are `fill`, laid out by a map with a letter for each four bytes:
    /// `h`ere, `z`ero, `p`arent.
    struct Toy {
        info: DiskInfo,
        map: &'static [u8],
        fill: u8,
    }

    impl Layer for Toy {
        fn info(&self) -> &DiskInfo {
            &self.info
        }

        fn extent(&self, offset: u64) -> Result<Extent, FormatError> {
            let source = match self.map[offset as usize / 4] {
                b'h' => Source::Here(offset + 1000),
                b'z' => Source::Zero,
                b'p' => Source::Parent,
                _ => return Err(FormatError::PendingLog),
            };
            Ok(Extent {
                len: 4 - offset % 4,
                source,
            })
        }

        fn read_file(&self, buf: &mut [u8], at: u64) -> Result<(), FormatError> {
            for (i, byte) in buf.iter_mut().enumerate() {
                *byte = self.fill + (at as usize - 1000 + i) as u8;
            }
            Ok(())
        }
    }

    fn toy(map: &'static str, fill: u8, child: bool) -> Box<dyn Layer> {
        let id = DiskId::from_vhd([1; 16]);
        let parent = child.then(|| ParentLink {
            id,
            id2: None,
            timestamp: None,
            hints: Vec::new(),
        });
        let info = DiskInfo {
            format: DiskFormat::Vhdx,
            kind: DiskKind::Dynamic,
            virtual_size: VirtualSize(map.len() as u64 * 4),
            file_len: 0,
            block_size: None,
            logical_sector: 512,
            physical_sector: 512,
            own_id: id,
            page83_id: None,
            creator: String::new(),
            log: LogState::Empty,
            parent,
            remarks: Vec::new(),
        };
        let map = map.as_bytes();
        Box::new(Toy { info, map, fill })
    }

    #[test]
    fn each_byte_comes_from_the_first_level_that_has_it() {
        let layers = vec![
            toy("hzppp", 0, true),
            toy("hhph", 100, true),
            toy("hhh", 200, false),
        ];
        let disk = VirtualDisk::new(layers).unwrap();
        let mut expected = vec![
            0, 1, 2, 3, 0, 0, 0, 0, 208, 209, 210, 211, 112, 113, 114, 115,
        ];
        // The leaf is longer than its parents, which read as zeros there.
        expected.extend([0; 4]);
        for start in 0..20 {
            for end in start..=20 {
                let mut buf = vec![0xEE; end - start];
                disk.read_exact_at(&mut buf, start as u64).unwrap();
                assert_eq!(buf, expected[start..end]);
            }
        }
        assert!(disk.read_exact_at(&mut [0; 2], 19).is_err());
        assert!(disk.read_exact_at(&mut [0], u64::MAX).is_err());
        assert_eq!(disk.extent_at(5).unwrap(), (3, true));
        assert_eq!(disk.extent_at(17).unwrap(), (3, true));
        assert_eq!(disk.extent_at(8).unwrap(), (4, false));
    }

    #[test]
    fn a_damaged_level_is_an_error_that_keeps_its_cause() {
        let disk = VirtualDisk::new(vec![toy("x", 0, false)]).unwrap();
        let error = disk.read_exact_at(&mut [0], 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let cause = error.get_ref().unwrap().downcast_ref::<FormatError>();
        assert!(matches!(cause, Some(FormatError::PendingLog)));
        let disk = VirtualDisk::new(vec![toy("p", 0, false)]).unwrap();
        assert!(disk.read_exact_at(&mut [0], 0).is_err());
    }

    #[test]
    fn layers_that_are_no_chain_are_refused() {
        let fault = |layers| VirtualDisk::new(layers).err().unwrap().to_string();
        assert_eq!(fault(vec![]), "a chain has at least one disk, found none");
        assert_eq!(
            fault(vec![toy("h", 0, true)]),
            "level 0 of the chain has a parent, expected the reverse"
        );
        assert_eq!(
            fault(vec![toy("h", 0, false), toy("h", 0, false)]),
            "level 0 of the chain has no parent, expected the reverse"
        );
    }
}
