//! Small images, and ways to bend them.

use std::sync::Arc;

use zerocopy::{FromBytes, IntoBytes};

use crate::{
    base::{ByteRange, CanonicalId, DiskId, Patch},
    formats::{
        CanonicalForm, DiskFormat, DiskKind, FormatError, Layer, NewDisk, NewParent, ParentPaths,
        Source,
        vhd::{
            self, locator,
            raw::{RawFooter, RawHeader, RawLocator},
        },
    },
};

pub(super) const MIB: u64 = 1 << 20;
pub(super) const HEADER: usize = 0x200;

pub(super) fn own_id() -> DiskId {
    DiskId::from_vhd(std::array::from_fn(|i| 0x10 + i as u8))
}

pub(super) fn parent_id() -> DiskId {
    DiskId::from_vhd(std::array::from_fn(|i| 0xa0 + i as u8))
}

pub(super) fn paths(relative: &str, absolute: &str) -> ParentPaths {
    ParentPaths {
        relative: Some(relative.to_owned()),
        absolute: Some(absolute.to_owned()),
        volume: None,
    }
}

/// Bytes of which no two sectors are equal, nor zero.
pub(super) fn pattern(seed: u64, sectors: u64) -> Vec<u8> {
    let sector = |i| (0..512_u64).map(move |at| (seed * 31 + i * 7 + at * 13) as u8 | 1);
    (0..sectors).flat_map(sector).collect()
}

/// A disk without a parent, with the sectors of `data`.
pub(super) fn base(kind: DiskKind, size: u64, data: Vec<(u64, Vec<u8>)>) -> NewDisk {
    NewDisk {
        data,
        ..NewDisk::new(DiskFormat::Vhd, kind, size, parent_id())
    }
}

/// A child of [`base`] with small blocks.
pub(super) fn child(size: u64, data: Vec<(u64, Vec<u8>)>) -> NewDisk {
    let parent = NewParent {
        id: parent_id(),
        paths: paths(r".\base.vhd", r"C:\Lab\base.vhd"),
        timestamp: 0,
    };
    NewDisk {
        parent: Some(parent),
        block_size: Some(0x8_0000),
        data,
        ..NewDisk::new(DiskFormat::Vhd, DiskKind::Differencing, size, own_id())
    }
}

/// A child of 2 MiB with 4 blocks of which the second and fourth are present.
pub(super) fn small_child() -> Vec<u8> {
    let data = vec![
        (0x8_0000 + 512, pattern(1, 3)),
        (0x18_0000, pattern(2, 1)),
        (0x18_0000 + 9 * 512, pattern(3, 20)),
    ];
    child(2 * MIB, data).to_bytes().unwrap()
}

pub(super) fn footer(file: &[u8]) -> RawFooter {
    RawFooter::read_from_suffix(file).unwrap().1
}

pub(super) fn header(file: &[u8]) -> RawHeader {
    RawHeader::read_from_prefix(&file[HEADER..]).unwrap().0
}

/// Changes the header and gives it a right checksum.
pub(super) fn edit_header(file: &mut [u8], edit: impl FnOnce(&mut RawHeader)) {
    let mut raw = header(file);
    edit(&mut raw);
    raw.seal();
    file[HEADER..HEADER + 1024].copy_from_slice(raw.as_bytes());
}

/// Changes the footer and its copy, and gives both a right checksum.
pub(super) fn edit_footers(file: &mut [u8], edit: impl FnOnce(&mut RawFooter)) {
    let mut raw = footer(file);
    edit(&mut raw);
    raw.seal();
    let end = file.len();
    file[end - 512..].copy_from_slice(raw.as_bytes());
    if raw.disk_type.get() != 2 {
        file[..512].copy_from_slice(raw.as_bytes());
    }
}

/// A slot, its space and length as they are written.
pub(super) fn slot(code: [u8; 4], space: u32, len: usize, offset: u64) -> RawLocator {
    RawLocator {
        code,
        space: space.into(),
        len: (len as u32).into(),
        offset: offset.into(),
        ..RawLocator::UNUSED
    }
}

pub(super) fn utf16le(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

pub(super) fn utf16be(text: &str) -> [u8; 512] {
    let mut field = [0; 512];
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    field[..bytes.len()].copy_from_slice(&bytes);
    field
}

/// A path of a locator, where it stands, and how much room is said to be there.
pub(super) struct Placed {
    pub(super) slot: usize,
    pub(super) code: [u8; 4],
    pub(super) space: u32,
    pub(super) offset: usize,
    pub(super) text: Vec<u8>,
}

pub(super) fn placed(slot: usize, code: [u8; 4], space: u32, offset: usize, text: &str) -> Placed {
    let text = match &code {
        b"W2ku" | b"W2ru" => utf16le(text),
        _ => text.as_bytes().to_vec(),
    };
    Placed {
        slot,
        code,
        space,
        offset,
        text,
    }
}

/// A child as some other program lays it out: table at 0x600, areas and one block where told.
pub(super) fn laid_out(name: &str, areas: &[Placed], table: u64, block: usize) -> Vec<u8> {
    let mut file = child(MIB, Vec::new()).to_bytes().unwrap();
    let footer = footer(&file);
    file.truncate(0x600);
    file.resize(block + 512 + 0x8_0000, 0);
    let sector = (block / 512) as u32;
    file[table as usize..][..4].copy_from_slice(&sector.to_be_bytes());
    file[table as usize + 4..][..508].fill(0xff);
    file[block] = 0x41;
    file[block + 512 + 512..][..512].copy_from_slice(&pattern(1, 1));
    file[block + 512 + 7 * 512..][..512].copy_from_slice(&pattern(2, 1));
    edit_header(&mut file, |raw| {
        raw.bat_offset = table.into();
        raw.parent_name = utf16be(name);
        raw.locators = [RawLocator::UNUSED; 8];
        for area in areas {
            let len = area.text.len();
            raw.locators[area.slot] = slot(area.code, area.space, len, area.offset as u64);
        }
    });
    for area in areas {
        file[area.offset..][..area.text.len()].copy_from_slice(&area.text);
    }
    file.extend_from_slice(footer.as_bytes());
    file
}

pub(super) fn digest(file: &[u8], form: &CanonicalForm) -> CanonicalId {
    let mut masked = file.to_vec();
    form.mask(0, &mut masked);
    form.id(blake3::hash(&masked).into())
}

pub(super) fn canonical(file: &[u8]) -> (CanonicalForm, CanonicalId) {
    let form = vhd::canonical_form(&file).unwrap();
    let id = digest(file, &form);
    (form, id)
}

pub(super) fn patched(file: &[u8], patch: &Patch) -> Vec<u8> {
    let mut file = file.to_vec();
    patch.apply_to_vec(&mut file).unwrap();
    file
}

/// The hints of a disk, one a line, as `kind path`.
pub(super) fn hints(file: &[u8]) -> Vec<String> {
    let parent = vhd::read_info(&file).unwrap().parent.unwrap();
    let hints = parent.hints.into_iter();
    hints
        .map(|hint| format!("{:?} {}", hint.kind, hint.path))
        .collect()
}

pub(super) fn layer(file: Vec<u8>) -> Box<dyn Layer> {
    vhd::open_layer(Arc::new(file)).unwrap()
}

/// Reads virtual bytes through a chain, leaf first.
pub(super) fn read_chain(
    chain: &[Box<dyn Layer>],
    offset: u64,
    buf: &mut [u8],
) -> Result<(), FormatError> {
    let Some((leaf, parents)) = chain.split_first() else {
        panic!("the base of a chain has no parent")
    };
    let mut done = 0;
    while done < buf.len() {
        let at = offset + done as u64;
        let extent = leaf.extent(at)?;
        assert!(extent.len > 0, "an extent at {at:#x} has no bytes");
        let len = (buf.len() - done).min(usize::try_from(extent.len).unwrap_or(usize::MAX));
        let part = &mut buf[done..done + len];
        match extent.source {
            Source::Here(file_offset) => leaf.read_file(part, file_offset)?,
            Source::Zero => part.fill(0),
            Source::Parent => read_chain(parents, at, part)?,
        }
        done += len;
    }
    Ok(())
}

pub(super) fn read_all(chain: &[Box<dyn Layer>]) -> Vec<u8> {
    let mut buf = vec![0; chain[0].info().virtual_size.0 as usize];
    read_chain(chain, 0, &mut buf).unwrap();
    buf
}

/// The areas that a disk's used slots name.
pub(super) fn areas(file: &[u8]) -> Vec<ByteRange> {
    let slots = header(file).locators;
    let slots = slots.iter().filter(|slot| slot.is_used());
    slots.filter_map(|slot| slot.area()).collect()
}

/// The path of the first slot of a code.
pub(super) fn text_of(file: &[u8], code: [u8; 4]) -> String {
    let slots = header(file).locators;
    let slot = slots.iter().find(|slot| slot.code == code).unwrap();
    let text = slot.text(file.len() as u64).unwrap();
    let bytes = locator::read_range(&file, text).unwrap();
    let units: Vec<u16> = bytes
        .chunks(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .collect();
    String::from_utf16(&units).unwrap()
}
