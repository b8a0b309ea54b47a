//! Files that mean harm: refused, without a panic, a large allocation or a long wait.

use proptest::prelude::*;

use super::*;
use crate::{formats::LogState, report::Code};

/// Everything that can be asked of a file; what it answers does not matter.
fn ask_everything(file: &Arc<dyn ReadAt>) {
    let _ = recognise(file).unwrap();
    let _ = read_info(file);
    let _ = check_blocks(file);
    let _ = canonical_form(file);
    for paths in [paths(r"..\z", "Z"), ParentPaths::default()] {
        let _ = relink(file, &paths);
    }
    let _ = store_form(file, "x.vhdx");
    let Ok(layer) = open_layer(Arc::clone(file)) else {
        return;
    };
    let size = layer.info().virtual_size.0;
    for offset in [
        0,
        511,
        512,
        1 << 20,
        size / 2,
        size.saturating_sub(1),
        size,
        u64::MAX,
    ] {
        if let Ok(extent) = layer.extent(offset) {
            assert!(extent.len > 0 && extent.len <= size - offset);
            if let Source::Here(at) = extent.source {
                let _ = layer.read_file(&mut [0; 512], at);
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Vec<(usize, Vec<u8>)>> {
    let at = prop_oneof![
        0_usize..600,
        0x1_0000..0x1_0060_usize,
        0x2_0000..0x2_0060_usize,
        0x3_0000..0x3_0060_usize,
        0x4_0000..0x4_0060_usize,
        0x20_0000..0x20_0100_usize,
        0x21_0000..0x21_0200_usize,
        0x30_0000..0x30_0040_usize,
        0x38_0000..0x38_0010_usize,
    ];
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..9),
        Just(vec![0xFF; 8]),
        Just(vec![0; 8]),
        Just(vec![0xFF, 0xFF, 0xFF, 0x7F]),
    ];
    prop::collection::vec((at, bytes), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_damage_makes_a_reader_panic(
        damage in damage(),
        seal: bool,
        base_disk: bool,
        cut in proptest::option::of(0_usize..0x70_0000),
    ) {
        let mut bytes = if base_disk { base() } else { child() };
        for (at, new) in damage {
            bytes[at..][..new.len()].copy_from_slice(&new);
        }
        if seal {
            seal_all(&mut bytes);
        }
        bytes.truncate(cut.unwrap_or(bytes.len()));
        ask_everything(&(Arc::new(bytes) as Arc<dyn ReadAt>));
    }
}

/// A sparse copy of an image, to be made longer and worse.
fn sparse(bytes: &[u8]) -> Sparse {
    let mut file = Sparse::default();
    for (number, page) in bytes.chunks(1 << 12).enumerate() {
        if page.iter().any(|&byte| byte != 0) {
            file.put((number as u64) << 12, page.to_vec());
        }
    }
    file.len = bytes.len() as u64;
    file
}

/// Changes bytes of a sparse file past its checksummed structures.
fn change(file: &mut Sparse, at: u64, new: &[u8]) {
    let start = at & !0xFFF;
    let mut page = vec![0; 1 << 12];
    file.read_exact_at(&mut page, start).unwrap();
    page[(at - start) as usize..][..new.len()].copy_from_slice(new);
    file.put(start, page);
}

/// Asks everything, and holds the file to a budget of reads.
fn within_budget(file: Sparse, budget: u64) -> Arc<Sparse> {
    let file = Arc::new(file);
    *file.asked.lock().unwrap() = (0, 0);
    ask_everything(&(Arc::clone(&file) as Arc<dyn ReadAt>));
    let (total, most) = *file.asked.lock().unwrap();
    assert!(most <= 1 << 20, "{most} bytes at a time");
    assert!(total <= budget, "{total} bytes in all");
    file
}

#[test]
fn a_promise_of_64_tib_is_not_believed() {
    let mut file = sparse(&base());
    change(&mut file, 0x21_0008, &(64_u64 << 40).to_le_bytes());
    let file = within_budget(file, 8 << 20);
    let error = read_info(&*file).unwrap_err().to_string();
    assert!(
        error.contains("BAT region at 0x300000: 0x100000 bytes, expected"),
        "{error}"
    );
}

#[test]
fn a_bat_of_a_million_entries_is_read_in_pieces() {
    let million = NewDisk {
        block_size: Some(1 << 20),
        ..NewDisk::new(DiskFormat::Vhdx, DiskKind::Dynamic, 1 << 40, id(BASE_ID))
    };
    let mut file = Sparse::default();
    million.write_to(&mut file).unwrap();
    // Every entry of the first page claims the same far megabyte.
    file.put(0x30_0000, (6_u64 | 1 << 50).to_le_bytes().repeat(512));
    let file = within_budget(file, 64 << 20);
    let error = check_blocks(&*file).unwrap_err();
    assert_eq!(error.code(), Code::Unsupported, "{error}");
}

#[test]
fn a_table_of_2047_regions_is_checked_and_one_more_refused() {
    let mut file = sparse(&base());
    file.len = 1 << 32;
    let mut table = vec![0; 1 << 16];
    file.read_exact_at(&mut table, 0x3_0000).unwrap();
    table[8..12].copy_from_slice(&2047_u32.to_le_bytes());
    for number in 2..2047_usize {
        let entry = &mut table[16 + 32 * number..][..32];
        entry[..8].copy_from_slice(&(number as u64).to_le_bytes());
        entry[16..24].copy_from_slice(&((0x100 + number as u64) << 20).to_le_bytes());
        entry[24..28].copy_from_slice(&0x10_0000_u32.to_le_bytes());
    }
    let with = |table: &mut Vec<u8>| {
        raw::seal(table);
        let mut file = Sparse {
            pieces: file.pieces.clone(),
            len: file.len,
            ..Sparse::default()
        };
        file.put(0x3_0000, table.clone());
        file.put(0x4_0000, table.clone());
        read_info(&*within_budget(file, 8 << 20))
    };
    with(&mut table).unwrap();
    let mut required = table.clone();
    required[16 + 32 * 1000 + 28] = 1;
    assert_eq!(with(&mut required).unwrap_err().code(), Code::Unsupported);
    let mut overlapping = table.clone();
    overlapping.copy_within(
        16 + 32 * 1000 + 16..16 + 32 * 1000 + 24,
        16 + 32 * 1001 + 16,
    );
    assert_eq!(with(&mut overlapping).unwrap_err().code(), Code::Corrupt);
    let mut beyond = table.clone();
    beyond[16 + 32 * 9 + 16 + 4] = 1;
    assert_eq!(with(&mut beyond).unwrap_err().code(), Code::Truncated);
    table[8..12].copy_from_slice(&2048_u32.to_le_bytes());
    assert_eq!(with(&mut table).unwrap_err().code(), Code::Corrupt);
}

/// Changes a child, and returns the code of what `check` makes of it.
fn code_after(at: usize, new: &[u8]) -> Option<Code> {
    let mut bytes = child();
    bytes[at..][..new.len()].copy_from_slice(new);
    let twin = if (0x1_0000..0x2_0000).contains(&at) {
        at + 0x1_0000
    } else {
        at
    };
    bytes[twin..][..new.len()].copy_from_slice(new);
    seal_all(&mut bytes);
    check_blocks(&bytes).err().map(|error| error.code())
}

#[test]
fn each_fault_gets_its_own_answer() {
    let entry = |number: usize| 0x20_0020 + 32 * number;
    let word = |value: u32| value.to_le_bytes().to_vec();
    let bat = |value: u64| value.to_le_bytes().to_vec();
    let cases: [(&str, usize, Vec<u8>, Option<Code>); 25] = [
        ("nothing", 0x9_0000, vec![1], None),
        ("version 2", 0x1_0042, vec![2], Some(Code::Unsupported)),
        ("log version without a log", 0x1_0040, vec![1], None),
        ("a log", 0x1_0030, vec![1], Some(Code::DirtyLog)),
        (
            "log off its megabyte",
            0x1_0048,
            vec![1],
            Some(Code::Corrupt),
        ),
        (
            "log beyond the file",
            0x1_004C,
            vec![1],
            Some(Code::Truncated),
        ),
        (
            "metadata signature",
            0x20_0000,
            vec![0],
            Some(Code::Corrupt),
        ),
        ("2048 items", 0x20_000A, vec![0, 8], Some(Code::Corrupt)),
        (
            "an unknown required item",
            entry(4),
            vec![0],
            Some(Code::Unsupported),
        ),
        (
            "an incomplete file",
            entry(5),
            raw::INCOMPLETE_FILE.to_vec(),
            Some(Code::Unsupported),
        ),
        (
            "an item twice",
            entry(1),
            raw::FILE_PARAMETERS.to_vec(),
            Some(Code::Corrupt),
        ),
        (
            "an item in the table",
            entry(0) + 16,
            word(0x100),
            Some(Code::Corrupt),
        ),
        (
            "an item beyond the region",
            entry(0) + 16,
            word(0xF_FFFF),
            Some(Code::Corrupt),
        ),
        ("no parent locator", 0x21_0004, word(0), Some(Code::Corrupt)),
        ("unknown flags", 0x21_0004, word(6), Some(Code::Unsupported)),
        (
            "a block of 3 MiB",
            0x21_0000,
            word(3 << 20),
            Some(Code::Corrupt),
        ),
        (
            "a block of 512 MiB",
            0x21_0000,
            word(512 << 20),
            Some(Code::Corrupt),
        ),
        ("an odd size", 0x21_0008, word(513), Some(Code::Corrupt)),
        (
            "sectors of 1024",
            0x21_0010,
            word(1024),
            Some(Code::Corrupt),
        ),
        ("block state 4", 0x30_0000, bat(4), Some(Code::Unsupported)),
        ("block state 5", 0x30_0000, bat(5), Some(Code::Unsupported)),
        ("reserved bits", 0x30_0000, bat(8), Some(Code::Corrupt)),
        (
            "a block in the header area",
            0x30_0000,
            bat(6),
            Some(Code::Corrupt),
        ),
        (
            "a block beyond the file",
            0x30_0000,
            bat(0x70_0006),
            Some(Code::Truncated),
        ),
        (
            "no sector bitmap",
            0x30_0000 + 8 * 4096,
            bat(0),
            Some(Code::Corrupt),
        ),
    ];
    for (what, at, new, expected) in cases {
        assert_eq!(code_after(at, &new), expected, "{what}");
    }
}

#[test]
fn a_partial_block_in_a_disk_without_a_parent_is_corrupt() {
    let mut bytes = base();
    bytes[0x30_0000] |= 1;
    assert_eq!(check_blocks(&bytes).unwrap_err().code(), Code::Corrupt);
}

#[test]
fn a_pending_log_is_told_even_where_nothing_else_can_be_read() {
    let mut bytes = child();
    bytes[0x1_0030] = 1;
    bytes[0x2_0030] = 1;
    for slot in [0x1_0000, 0x2_0000] {
        raw::seal(&mut bytes[slot..slot + 4096]);
    }
    assert_eq!(read_info(&bytes).unwrap().log, LogState::Pending);
    bytes[0x20_0000] = 0;
    assert!(matches!(read_info(&bytes), Err(FormatError::PendingLog)));
}

#[test]
fn two_damaged_headers_are_too_many_and_one_region_table_is_enough() {
    let mut bytes = child();
    bytes[0x3_0020] ^= 1;
    let info = read_info(&bytes).unwrap();
    assert!(
        info.remarks[0]
            .text
            .starts_with("region table at 0x30000: checksum is")
    );
    bytes[0x4_0020] ^= 1;
    assert_eq!(read_info(&bytes).unwrap_err().code(), Code::Corrupt);
    let mut bytes = child();
    bytes[0x1_0000] ^= 1;
    bytes[0x2_0090] ^= 1;
    let error = read_info(&bytes).unwrap_err().to_string();
    let expected = "headers at 0x10000 and 0x20000: both are damaged (signature is `iead`, expected `head`; checksum is 0x";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn equal_sequence_numbers_make_the_first_header_current() {
    let mut bytes = child();
    bytes[0x2_0008] = 1;
    bytes[0x2_0020] ^= 1;
    raw::seal(&mut bytes[0x2_0000..0x2_1000]);
    assert_eq!(read_info(&bytes).unwrap().own_id, id(CHILD_ID));
}
