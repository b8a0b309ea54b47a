//! Which disks are read, which are refused, and with what words.

use super::images::*;
use crate::{
    base::VirtualSize,
    formats::{BlockCensus, DiskInfo, DiskKind, FormatError, RemarkKind, vhd},
    report::{Code, WindowsError},
};

fn dynamic() -> Vec<u8> {
    let data = vec![(0, pattern(1, 2)), (5 * MIB, pattern(2, 1))];
    base(DiskKind::Dynamic, 7 * MIB, data).to_bytes().unwrap()
}

fn fixed() -> Vec<u8> {
    base(DiskKind::Fixed, MIB, vec![(512, pattern(1, 1))])
        .to_bytes()
        .unwrap()
}

fn info(file: &[u8]) -> DiskInfo {
    vhd::read_info(&file).unwrap()
}

fn refused(file: &[u8]) -> (Code, Option<WindowsError>, String) {
    let error = vhd::read_info(&file).unwrap_err();
    (error.code(), error.windows_error(), error.to_string())
}

#[test]
fn the_cookie_is_found_at_either_end_and_nowhere_else() {
    let whole = dynamic();
    assert!(vhd::recognise(&whole).unwrap());
    assert!(vhd::recognise(&fixed()).unwrap());
    let without_tail = whole[..whole.len() - 512].to_vec();
    assert!(vhd::recognise(&without_tail).unwrap());
    let short = fixed()[..(MIB + 511) as usize].to_vec();
    assert!(vhd::recognise(&short).unwrap());
    for file in [vec![], b"conectix".to_vec(), vec![0; 4096]] {
        assert!(!vhd::recognise(&file).unwrap());
    }
    assert!(!vhd::recognise(&whole[1..].to_vec()[..3000].to_vec()).unwrap());
}

#[test]
fn a_disk_says_what_it_was_made_with() {
    let info = info(&small_child());
    assert_eq!(info.kind, DiskKind::Differencing);
    assert_eq!(info.virtual_size, VirtualSize(2 * MIB));
    assert_eq!(info.block_size, Some(0x8_0000));
    assert_eq!(info.own_id, own_id());
    assert_eq!(info.creator, "win  10.0");
    let parent = info.parent.unwrap();
    assert_eq!(parent.id, parent_id());
    assert_eq!(parent.timestamp, None);
    assert_eq!(info.remarks, []);
}

#[test]
fn only_fixed_disks_have_no_blocks_and_only_differencing_ones_a_parent() {
    let fixed = info(&fixed());
    assert_eq!((fixed.kind, fixed.block_size), (DiskKind::Fixed, None));
    assert!(fixed.parent.is_none());
    let dynamic = info(&dynamic());
    assert_eq!(dynamic.block_size, Some(0x20_0000));
    assert!(dynamic.parent.is_none());
}

#[test]
fn the_virtual_size_is_the_current_size_whatever_the_geometry_says() {
    let mut file = dynamic();
    edit_footers(&mut file, |raw| {
        raw.cylinders = 1.into();
        raw.original_size = 512.into();
    });
    assert_eq!(info(&file).virtual_size, VirtualSize(7 * MIB));
}

#[test]
fn a_damaged_footer_is_replaced_by_its_copy_and_remarked_upon() {
    let mut file = dynamic();
    let end = file.len();
    file[end - 400] ^= 1;
    let info = info(&file);
    assert_eq!(info.own_id, parent_id());
    assert_eq!(info.remarks[0].kind, RemarkKind::FooterCopy);
    let text = &info.remarks[0].text;
    assert!(
        text.contains("checksum is 0x") && text.contains("the copy at 0x0 was used"),
        "{text}"
    );
    assert_eq!(vhd::check_blocks(&file).unwrap().present, 2);
}

#[test]
fn a_damaged_copy_of_the_footer_is_remarked_upon_too() {
    let mut file = dynamic();
    file[0] ^= 1;
    let text = &info(&file).remarks[0].text;
    assert!(
        text.starts_with("footer copy at 0x0: cookie is `bonectix`"),
        "{text}"
    );

    let mut differs = footer(&file);
    differs.timestamp = 7.into();
    differs.seal();
    file[..512].copy_from_slice(zerocopy::IntoBytes::as_bytes(&differs));
    let text = &info(&file).remarks[0].text;
    assert!(text.contains("differs from the footer"), "{text}");
}

#[test]
fn two_damaged_footers_are_one_corrupt_disk() {
    let mut file = dynamic();
    let end = file.len();
    file[end - 400] ^= 1;
    file[100] ^= 1;
    let (code, windows, text) = refused(&file);
    assert_eq!(code, Code::Corrupt);
    assert_eq!(windows, Some(WindowsError::FOOTER_CHECKSUM));
    assert!(text.contains("expected 0xffff"), "{text}");
}

#[test]
fn a_footer_copy_never_makes_a_fixed_disk() {
    let mut file = fixed();
    let raw = file[MIB as usize..].to_vec();
    file[..512].copy_from_slice(&raw);
    file[MIB as usize] ^= 1;
    assert_eq!(refused(&file).1, Some(WindowsError::FOOTER_CHECKSUM));
}

#[test]
fn a_footer_of_511_bytes_is_read_and_left_alone() {
    let mut file = small_child();
    file.pop();
    assert_eq!(info(&file).remarks, []);
    assert_eq!(info(&file).own_id, own_id());
    assert_eq!(vhd::check_blocks(&file).unwrap().present, 2);
    vhd::canonical_form(&file).unwrap();
    let relinked = vhd::relink(&file, &paths(".\\a.vhd", "C:\\a.vhd"));
    assert_eq!(relinked.unwrap_err().code(), Code::Unsupported);
    let stored = vhd::store_form(&file, "a.vhd");
    assert_eq!(stored.unwrap_err().code(), Code::Unsupported);
}

#[test]
fn other_types_versions_and_sizes_are_unsupported() {
    for disk_type in [0, 1, 5, 6, 7, u32::MAX] {
        let mut file = dynamic();
        edit_footers(&mut file, |raw| raw.disk_type = disk_type.into());
        let (code, _, text) = refused(&file);
        assert_eq!(code, Code::Unsupported, "{text}");
        assert!(text.contains(&format!("disk type {disk_type}")), "{text}");
    }
    let mut file = dynamic();
    edit_footers(&mut file, |raw| raw.version = 0x0002_0000.into());
    assert_eq!(refused(&file).0, Code::Unsupported);
    let mut file = dynamic();
    edit_header(&mut file, |raw| raw.version = 0x0002_0001.into());
    assert_eq!(refused(&file).0, Code::Unsupported);
    let mut file = dynamic();
    edit_footers(&mut file, |raw| {
        raw.current_size = ((2040_u64 << 30) + 512).into();
    });
    assert_eq!(refused(&file).0, Code::Unsupported);
}

#[test]
fn a_fixed_disk_with_too_few_bytes_is_truncated() {
    let file = fixed()[4096..].to_vec();
    let (code, windows, text) = refused(&file);
    assert_eq!(code, Code::Truncated, "{text}");
    assert_eq!(windows, Some(WindowsError::INVALID_FILE_SIZE));
}

#[test]
fn a_damaged_header_is_corrupt_for_there_is_no_copy() {
    let mut file = dynamic();
    file[HEADER + 100] ^= 1;
    let (code, windows, text) = refused(&file);
    assert_eq!(code, Code::Corrupt, "{text}");
    assert_eq!(windows, Some(WindowsError::HEADER_CHECKSUM));
    assert!(
        text.starts_with("dynamic header at 0x200: checksum is"),
        "{text}"
    );
}

#[test]
fn a_header_that_cannot_be_is_refused() {
    type Edit = fn(&mut vhd::raw::RawHeader);
    let edits: [(Edit, Code, WindowsError); 9] = [
        (
            |raw| raw.cookie[0] = 0,
            Code::Corrupt,
            WindowsError::HEADER_CORRUPT,
        ),
        (
            |raw| raw.block_size = 0.into(),
            Code::Corrupt,
            WindowsError::BAD_BLOCK_SIZE,
        ),
        (
            |raw| raw.block_size = 2048.into(),
            Code::Corrupt,
            WindowsError::BAD_BLOCK_SIZE,
        ),
        (
            |raw| raw.block_size = 0x20_0200.into(),
            Code::Corrupt,
            WindowsError::BAD_BLOCK_SIZE,
        ),
        (
            |raw| raw.block_size = (1 << 29).into(),
            Code::Corrupt,
            WindowsError::BAD_BLOCK_SIZE,
        ),
        (
            |raw| raw.entries = 3.into(),
            Code::Corrupt,
            WindowsError::BAT_CORRUPT,
        ),
        (
            |raw| raw.bat_offset = 0x5ff.into(),
            Code::Corrupt,
            WindowsError::BAT_CORRUPT,
        ),
        (
            |raw| raw.bat_offset = u64::MAX.into(),
            Code::Truncated,
            WindowsError::BAT_CORRUPT,
        ),
        (
            |raw| raw.entries = 0x40_0000.into(),
            Code::Truncated,
            WindowsError::BAT_CORRUPT,
        ),
    ];
    for (i, (edit, code, windows)) in edits.into_iter().enumerate() {
        let mut file = dynamic();
        edit_header(&mut file, edit);
        let (found, found_windows, text) = refused(&file);
        assert_eq!(
            (found, found_windows),
            (code, Some(windows)),
            "edit {i}: {text}"
        );
    }
    for offset in [0, 511, u64::MAX, 1 << 40] {
        let mut file = dynamic();
        edit_footers(&mut file, |raw| raw.data_offset = offset.into());
        let windows = refused(&file).1;
        assert_eq!(windows, Some(WindowsError::HEADER_CORRUPT), "{offset:#x}");
    }
}

#[test]
fn blocks_in_their_places_are_counted() {
    let file = dynamic();
    let census = BlockCensus {
        blocks: 4,
        present: 2,
        used_len: file.len() as u64,
    };
    assert_eq!(vhd::check_blocks(&file).unwrap(), census);
    assert_eq!(vhd::check_blocks(&fixed()).unwrap().blocks, 0);
}

/// The error for a table whose entry of block 1 is `sector`.
fn misplaced(file: &[u8], table: usize, sector: u32) -> FormatError {
    let mut file = file.to_vec();
    file[table + 4..table + 8].copy_from_slice(&sector.to_be_bytes());
    vhd::check_blocks(&file).unwrap_err()
}

#[test]
fn blocks_over_anything_else_are_refused() {
    let file = dynamic();
    let last = (file.len() / 512 - 2 - 0x1000) as u32;
    for sector in [0, 1, 3, 14, 15, 16, 0x1000, last + 1] {
        let error = misplaced(&file, 0x600, sector);
        assert_eq!(
            error.code(),
            Code::OverlappingBlocks,
            "{sector:#x}: {error}"
        );
        assert_eq!(error.windows_error(), Some(WindowsError::BAT_CORRUPT));
    }
    // In a child, over the area of a locator as well.
    let mut file = small_child();
    file.resize(0x30_0000, 0);
    let footer = file[..512].to_vec();
    file.extend(footer);
    let error = misplaced(&file, 0x2000, 0x2_0000 / 512);
    assert_eq!(error.code(), Code::OverlappingBlocks, "{error}");
    edit_header(&mut file, |raw| raw.locators[1].offset = 0x20_0000.into());
    let error = misplaced(&file, 0x2000, 0x20_0000 / 512);
    assert!(
        error.to_string().contains("over a parent locator"),
        "{error}"
    );
}

#[test]
fn blocks_past_the_end_are_truncated() {
    let file = dynamic();
    for sector in [(file.len() / 512) as u32, u32::MAX - 1] {
        let error = misplaced(&file, 0x600, sector);
        assert_eq!(error.code(), Code::Truncated, "{error}");
    }
    // Cut within the last block, and just before the footer.
    for end in [file.len() - 10_000, file.len() - 512 - 0xe00 - 512] {
        let error = vhd::check_blocks(&file[..end].to_vec()).unwrap_err();
        assert_eq!(error.code(), Code::Truncated, "{error}");
    }
}

#[test]
fn entries_behind_the_last_block_mean_nothing() {
    let mut file = dynamic();
    edit_header(&mut file, |raw| raw.entries = 100.into());
    file[0x610..0x620].fill(0);
    assert_eq!(vhd::check_blocks(&file).unwrap().blocks, 4);
}
