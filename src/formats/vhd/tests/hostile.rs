//! Images made by somebody who means harm, and by chance.

use std::sync::Arc;

use proptest::prelude::*;

use super::images::*;
use crate::{
    base::{ByteRange, ReadAt},
    formats::{DiskKind, vhd},
    report::Code,
};

/// Hands `file` to everything that reads; nothing may panic or go on for ever.
fn try_everything(file: Vec<u8>) {
    let _ = vhd::recognise(&file);
    let _ = vhd::read_info(&file).map(|info| info.remarks);
    let _ = vhd::check_blocks(&file);
    let new = paths(r"..\b.vhd", &format!(r"D:\{}\b.vhd", "x".repeat(300)));
    if let Ok(patch) = vhd::relink(&file, &new) {
        let after = patched(&file, &patch);
        assert!(hints(&after).contains(&r"Relative ..\b.vhd".to_owned()));
    }
    if let Ok(form) = vhd::canonical_form(&file) {
        assert!(
            form.masks
                .iter()
                .all(|mask| mask.end() <= file.len() as u64)
        );
        assert!(
            form.masks
                .windows(2)
                .all(|pair| pair[0].end() < pair[1].start())
        );
        if let Ok(patch) = vhd::store_form(&file, "b.vhd") {
            let stored = patched(&file, &patch);
            assert_eq!(canonical(&stored), (form.clone(), digest(&file, &form)));
        }
    }
    if let Ok(layer) = vhd::open_layer(Arc::new(file)) {
        let size = layer.info().virtual_size.0;
        for at in (0..size)
            .step_by(usize::try_from(size / 50).unwrap().max(1))
            .take(60)
        {
            let Ok(extent) = layer.extent(at) else {
                continue;
            };
            assert!(extent.len > 0 && at + extent.len <= size);
            let _ = layer.read_file(&mut [0; 64], at);
        }
    }
}

fn images() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![
        child(MIB, vec![(0, pattern(1, 3))]).to_bytes().unwrap(),
        base(DiskKind::Dynamic, MIB, vec![(512, pattern(1, 3))])
            .to_bytes()
            .unwrap(),
        base(DiskKind::Fixed, 8192, vec![(512, pattern(1, 3))])
            .to_bytes()
            .unwrap(),
    ])
}

/// Numbers that break things.
fn odd() -> impl Strategy<Value = u64> {
    prop_oneof![
        prop::sample::select(vec![
            0, 1, 511, 512, 513, 0x600, 0x1000, 0x2000, 0x1_3000, 0x1_3e00
        ]),
        prop::sample::select(vec![u64::MAX, u64::MAX - 511, 1 << 63, u64::from(u32::MAX)]),
        any::<u64>(),
        0_u64..0x10_0000,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn chance_bytes_never_panic(file in prop::collection::vec(any::<u8>(), 0..3000)) {
        try_everything(file);
    }

    #[test]
    fn bent_images_never_panic(
        mut file in images(),
        bytes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        near in prop::collection::vec((0_usize..0x800, any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        seal in any::<bool>(),
    ) {
        for (at, byte) in bytes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        for (at, byte) in near {
            file[at] = byte;
        }
        if seal {
            edit_header(&mut file, |_| {});
            edit_footers(&mut file, |_| {});
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        try_everything(file);
    }

    #[test]
    fn sealed_images_with_odd_numbers_never_panic(
        mut file in images(), numbers in prop::collection::vec((0_u8..10, odd()), 1..4),
    ) {
        for (field, number) in numbers {
            let narrow = number as u32;
            match field {
                0 => edit_footers(&mut file, |raw| raw.data_offset = number.into()),
                1 => edit_footers(&mut file, |raw| raw.current_size = number.into()),
                2 => edit_header(&mut file, |raw| raw.bat_offset = number.into()),
                3 => edit_header(&mut file, |raw| raw.entries = narrow.into()),
                4 => edit_header(&mut file, |raw| raw.block_size = 1_u32.rotate_left(narrow).into()),
                5 => edit_header(&mut file, |raw| raw.locators[0].offset = number.into()),
                6 => edit_header(&mut file, |raw| raw.locators[1].space = narrow.into()),
                7 => edit_header(&mut file, |raw| raw.locators[0].len = narrow.into()),
                8 => file[0x600..0x604].copy_from_slice(&narrow.to_be_bytes()),
                _ => file[0x2000..0x2004].copy_from_slice(&narrow.to_be_bytes()),
            }
        }
        try_everything(file);
    }

    #[test]
    fn a_crafted_locator_never_hides_a_bit_of_data(
        slots in prop::collection::vec(
            (0_usize..8, prop::sample::select(vec![*b"W2ku", *b"W2ru", *b"Wi2k", *b"????", [0; 4]]),
             prop_oneof![0_u32..40, (0_u32..40).prop_map(|n| n * 512), any::<u32>()],
             prop_oneof![
                (0_u64..0x340).prop_map(|n| n * 512),
                (0_u64..0x20).prop_map(|n| n * 512),
                0_u64..0x20_0000,
             ],
             prop_oneof![0_u32..100, any::<u32>()]),
            1..5),
    ) {
        let mut file = child(MIB, vec![(512, pattern(1, 3))]).to_bytes().unwrap();
        edit_header(&mut file, |raw| {
            for (i, code, space, offset, len) in slots {
                raw.locators[i] = slot(code, space, len as usize, offset);
            }
        });
        // Everything a guest could come to see: footers, table, block.
        let len = file.len();
        let seen = [0..512, 0x2000..0x2008, 0x1_3e00..0x1_4000 + 0x8_0000, len - 512..len];
        if let Ok(form) = vhd::canonical_form(&file) {
            for range in &seen {
                let masked = form.masked(range.start as u64, range.len()).next();
                prop_assert!(masked.is_none(), "{masked:?} of {range:x?} is masked");
            }
        }
        // And a relink never writes there, but for the footer that it moves.
        if let Ok(patch) = vhd::relink(&file, &paths(r"..\b.vhd", r"D:\b.vhd")) {
            let after = patched(&file, &patch);
            for range in &seen[..3] {
                prop_assert!(file[range.clone()] == after[range.clone()], "{range:x?} is written");
            }
            prop_assert!(file.ends_with(&after[after.len() - 512..]));
        }
    }
}

/// The error for a child whose `W2ku` has an area of 512 bytes at `offset`.
fn crafted(offset: u64) -> Code {
    let mut file = small_child();
    edit_header(&mut file, |raw| {
        raw.locators[0] = slot(*b"W2ku", 512, 20, offset);
    });
    vhd::canonical_form(&file).unwrap_err().code()
}

#[test]
fn areas_over_anything_or_out_of_place_are_not_masked() {
    let end = small_child().len() as u64;
    let block = 0x1_3e00;
    let table = 0x2000;
    let other_area = 0x4000;
    for offset in [
        0,
        0x200,
        0x400,
        table,
        other_area,
        block,
        block + 0x8_0000,
        end - 512,
    ] {
        assert_eq!(crafted(offset), Code::OverlappingBlocks, "{offset:#x}");
    }
    for offset in [0x1001, end, end - 256, u64::MAX - 1000] {
        assert_eq!(crafted(offset), Code::OverlappingBlocks, "{offset:#x}");
    }
}

#[test]
fn an_area_of_more_than_a_mebibyte_is_not_masked() {
    let mut file = small_child();
    let footer = file[..512].to_vec();
    let end = file.len() as u64;
    file.resize(file.len() + 3 * MIB as usize, 0);
    file.extend(footer);
    edit_header(&mut file, |raw| {
        raw.locators[0] = slot(*b"W2ku", 1 << 20, 20, end);
    });
    vhd::canonical_form(&file).unwrap();
    edit_header(&mut file, |raw| {
        raw.locators[0] = slot(*b"W2ku", (1 << 20) + 512, 20, end);
    });
    vhd::canonical_form(&file).unwrap_err();
}

#[test]
fn a_string_over_data_is_moved_not_written() {
    let mut file = small_child();
    let block = 0x1_3e00 + 0x2000;
    edit_header(&mut file, |raw| {
        raw.locators[0] = slot(*b"W2ku", 512, 20, block);
    });
    let patch = vhd::relink(&file, &paths(r"..\b.vhd", r"D:\b.vhd")).unwrap();
    let after = patched(&file, &patch);
    assert_eq!(hints(&after)[1], r"Absolute D:\b.vhd");
    assert_eq!(
        areas(&after)[0],
        ByteRange::new(file.len() as u64 - 512, 4096).unwrap()
    );
    let data = 0x1_3e00..file.len() - 512;
    assert_eq!(after[data.clone()], file[data]);
    vhd::canonical_form(&after).unwrap();
}

/// A file of any length that holds nothing but what is laid over its start and end.
struct Hollow {
    len: u64,
    start: Vec<u8>,
    end: Vec<u8>,
}

impl ReadAt for Hollow {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        assert!(buf.len() <= 1 << 20, "read of {} bytes", buf.len());
        for (at, byte) in (offset..).zip(buf) {
            let before_end = (self.len - 1 - at) as usize;
            *byte = if let Some(&byte) = self.start.get(at as usize) {
                byte
            } else {
                let at = self.end.len().checked_sub(before_end + 1);
                at.map_or(0, |at| self.end[at])
            };
        }
        Ok(())
    }
}

#[test]
fn a_huge_table_is_read_in_pieces_and_two_blocks_in_one_place_are_found() {
    let mut start = child(MIB, Vec::new()).to_bytes().unwrap();
    edit_footers(&mut start, |raw| raw.current_size = (2040_u64 << 30).into());
    edit_header(&mut start, |raw| {
        raw.entries = (4 << 20).into();
        raw.bat_offset = 0x10_0000.into();
    });
    let end = start[..512].to_vec();
    let file = Hollow {
        len: 1 << 40,
        start,
        end,
    };
    // Every entry is zero: all blocks lie at the start.
    let error = vhd::check_blocks(&file).unwrap_err();
    assert_eq!(error.code(), Code::OverlappingBlocks);
    assert!(vhd::canonical_form(&file).is_err());
}
