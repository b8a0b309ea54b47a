//! The layouts that other programs write.

use super::images::*;
use crate::{
    base::ByteRange,
    formats::{ParentPaths, vhd},
};

const BLOCK: usize = 0x5_0000;

fn virtual_pc() -> Vec<u8> {
    let areas = [
        placed(3, *b"Wi2r", 512, 0x4_0000, r".\base.vhd"),
        placed(1, *b"Wi2k", 512, 0x4_0200, "D:\\caf\u{e9}\\base.vhd"),
        placed(6, *b"W2ru", 512, 0x4_0400, r".\base.vhd"),
        placed(4, *b"W2ku", 512, 0x4_0600, r"D:\labs\base.vhd"),
    ];
    let mut file = laid_out("base.vhd", &areas, 0x600, BLOCK);
    // One letter of a Windows code page instead of UTF-8.
    let at = 0x4_0200 + 6;
    file[at..at + 12].copy_from_slice(b"\xe9\\base.vhd\0\0");
    edit_header(&mut file, |raw| raw.locators[1].len = 16.into());
    file
}

fn virtual_box() -> Vec<u8> {
    let areas = [
        placed(0, *b"W2ku", 1024, 0xa00, "/home/lab/base.vhd"),
        placed(1, *b"W2ru", 1024, 0xe00, "../base.vhd"),
    ];
    laid_out("base.vhd", &areas, 0x600, BLOCK)
}

fn disc_utils() -> Vec<u8> {
    let areas = [
        placed(7, *b"W2ku", 512, 0x800, r"C:\labs\base.vhd"),
        placed(6, *b"W2ru", 512, 0xa00, r".\base.vhd"),
    ];
    laid_out("base.vhd", &areas, 0x600, BLOCK)
}

fn xapi() -> Vec<u8> {
    let areas = [
        placed(0, *b"MacX", 512, 0x600, "file://./base.vhd"),
        placed(1, *b"W2ku", 512, 0x800, r".\base.vhd"),
        placed(2, *b"W2ru", 512, 0xa00, r".\base.vhd"),
    ];
    laid_out("base.vhd", &areas, 0xc00, BLOCK)
}

fn sectors() -> Vec<u8> {
    let areas = [
        placed(0, *b"W2ku", 1, 0x800, r"F:\Training Exports\base.vhd"),
        placed(1, *b"W2ru", 2, 0xa00, r".\base.vhd"),
    ];
    laid_out("base.vhd", &areas, 0x600, BLOCK)
}

fn no_locators() -> Vec<u8> {
    laid_out("base.vhd", &[], 0x600, BLOCK)
}

fn all() -> [(&'static str, Vec<u8>); 6] {
    [
        ("Virtual PC", virtual_pc()),
        ("VirtualBox", virtual_box()),
        ("DiscUtils", disc_utils()),
        ("xapi", xapi()),
        ("sectors", sectors()),
        ("no locators", no_locators()),
    ]
}

#[test]
fn hints_come_in_the_order_in_which_they_are_tried() {
    let windows = hints(&small_child());
    let expected = [
        r"Relative .\base.vhd",
        r"Absolute C:\Lab\base.vhd",
        r"Name C:\Lab\base.vhd",
    ];
    assert_eq!(windows, expected);
    let expected = [
        r"Relative .\base.vhd",
        r"Absolute D:\labs\base.vhd",
        "Absolute D:\\caf\u{e9}\\base.vhd",
        "Name base.vhd",
    ];
    assert_eq!(hints(&virtual_pc()), expected);
    let expected = [
        "Relative ../base.vhd",
        "Absolute /home/lab/base.vhd",
        "Name base.vhd",
    ];
    assert_eq!(hints(&virtual_box()), expected);
    let expected = [
        r"Relative .\base.vhd",
        r"Absolute C:\labs\base.vhd",
        "Name base.vhd",
    ];
    assert_eq!(hints(&disc_utils()), expected);
    let expected = [
        r"Relative .\base.vhd",
        "Url file://./base.vhd",
        "Name base.vhd",
    ];
    assert_eq!(hints(&xapi()), expected);
    assert_eq!(hints(&no_locators()), ["Name base.vhd"]);
}

#[test]
fn space_counts_sectors_below_512_and_bytes_above() {
    let area = |space, len, at| slot(*b"W2ku", space, len, at).area();
    assert_eq!(area(1, 20, 0x800), ByteRange::new(0x800, 512));
    assert_eq!(area(511, 20, 0x800), ByteRange::new(0x800, 511 * 512));
    assert_eq!(area(512, 20, 0x800), ByteRange::new(0x800, 512));
    assert_eq!(area(65_536, 20, 0x800), ByteRange::new(0x800, 65_536));
    // Neither: the path's own sectors count.
    assert_eq!(area(513, 20, 0x800), ByteRange::new(0x800, 512));
    assert_eq!(area(0, 520, 0x800), ByteRange::new(0x800, 1024));
    assert_eq!(area(512, 520, 0x800), ByteRange::new(0x800, 1024));
    assert_eq!(area(0, 0, 0x800), None);
    assert_eq!(area(512, 20, u64::MAX - 100), None);
}

#[test]
fn the_first_valid_slot_of_a_code_counts() {
    let mut file = small_child();
    edit_header(&mut file, |raw| {
        raw.locators[5] = raw.locators[0];
        raw.locators[0].offset = (1_u64 << 40).into();
    });
    assert_eq!(hints(&file)[1], r"Absolute C:\Lab\base.vhd");
}

#[test]
fn a_path_that_is_no_text_or_not_in_the_file_is_no_hint() {
    let mut file = small_child();
    file[0x1000..0x1002].copy_from_slice(&0xd800_u16.to_le_bytes());
    edit_header(&mut file, |raw| {
        raw.locators[1].len = 65_536.into();
        raw.parent_name = [0xd8; 512];
    });
    assert_eq!(hints(&file), [""; 0]);
    edit_header(&mut file, |raw| raw.locators[0].len = 29.into());
    assert_eq!(hints(&file), [""; 0]);
}

#[test]
fn a_path_ends_at_its_terminator_where_that_is_counted() {
    let mut file = small_child();
    edit_header(&mut file, |raw| raw.locators[0].len = 41.into());
    assert_eq!(hints(&file)[1], r"Absolute C:\Lab\base.vhd");
}

#[test]
fn every_layout_is_relinked_and_keeps_its_data() {
    let new = paths(r"..\..\RefDisk\base.vhd", r"D:\Ref Disk\base.vhd");
    for (writer, file) in all() {
        vhd::check_blocks(&file).unwrap();
        let before = vhd::read_info(&file).unwrap();
        let patch = vhd::relink(&file, &new).unwrap();
        let after = patched(&file, &patch);
        let expected = [
            r"Relative ..\..\RefDisk\base.vhd",
            r"Absolute D:\Ref Disk\base.vhd",
            r"Name D:\Ref Disk\base.vhd",
        ];
        assert_eq!(hints(&after), expected, "{writer}");
        let info = vhd::read_info(&after).unwrap();
        assert_eq!(
            (info.own_id, info.remarks),
            (before.own_id, before.remarks),
            "{writer}"
        );
        assert_eq!(info.parent.unwrap().id, parent_id(), "{writer}");
        assert_eq!(
            file[BLOCK..BLOCK + 0x8_0200],
            after[BLOCK..BLOCK + 0x8_0200],
            "{writer}"
        );
        vhd::check_blocks(&after).unwrap();
        vhd::canonical_form(&after).unwrap();
        assert!(vhd::relink(&after, &new).unwrap().is_empty(), "{writer}");
    }
}

#[test]
fn a_relink_in_place_changes_no_mask_and_no_digest() {
    let new = paths(r"..\b.vhd", r"D:\b.vhd");
    for (writer, file) in all()
        .into_iter()
        .filter(|(writer, _)| *writer != "no locators")
    {
        let after = patched(&file, &vhd::relink(&file, &new).unwrap());
        assert_eq!(after.len(), file.len(), "{writer}");
        assert_eq!(canonical(&after), canonical(&file), "{writer}");
        let stored = |file: &[u8]| patched(file, &vhd::store_form(&file, "s.vhd").unwrap());
        assert_eq!(stored(&file), stored(&after), "{writer}");
        assert_eq!(canonical(&stored(&file)), canonical(&file), "{writer}");
        vhd::check_blocks(&stored(&file)).unwrap();
    }
}

#[test]
fn deprecated_paths_are_dropped_and_their_bytes_zeroed() {
    let new = paths(r".\b.vhd", r"D:\b.vhd");
    let file = virtual_pc();
    let after = patched(&file, &vhd::relink(&file, &new).unwrap());
    let codes: Vec<_> = header(&after)
        .locators
        .iter()
        .map(|slot| slot.code)
        .collect();
    assert_eq!([codes[1], codes[3]], [[0; 4]; 2]);
    assert!(after[0x4_0000..0x4_0400].iter().all(|&byte| byte == 0));
    let file = xapi();
    let after = patched(&file, &vhd::relink(&file, &new).unwrap());
    assert!(after[0x600..0x800].iter().all(|&byte| byte == 0));
}

#[test]
fn unknown_codes_are_left_as_they_are() {
    let areas = [
        placed(0, *b"M\x16 2", 512, 0x800, "opaque"),
        placed(1, *b"W2ku", 512, 0xa00, r"C:\base.vhd"),
        placed(2, *b"W2ru", 512, 0xc00, r".\base.vhd"),
    ];
    let file = laid_out("base.vhd", &areas, 0x600, BLOCK);
    let patch = vhd::relink(&file, &paths(r".\b.vhd", r"D:\b.vhd")).unwrap();
    let after = patched(&file, &patch);
    assert_eq!(header(&after).locators[0], header(&file).locators[0]);
    assert_eq!(after[0x800..0xa00], file[0x800..0xa00]);
}

#[test]
fn a_child_without_locators_gets_room_before_its_footer() {
    let file = no_locators();
    let new = paths(r".\b.vhd", r"D:\b.vhd");
    let patch = vhd::relink(&file, &new).unwrap();
    let end = file.len();
    assert_eq!(patch.new_len, Some(end as u64 + 2 * 4096));
    assert_eq!(patch.stages.len(), 3, "footer, strings, header");
    let after = patched(&file, &patch);
    assert_eq!(after[after.len() - 512..], file[end - 512..]);
    assert_eq!(areas(&after)[0].start(), end as u64 - 512);

    // Whatever stage a crash follows, the disk reads.
    for stages in 1..=3 {
        let mut cut = patch.clone();
        cut.stages.truncate(stages);
        assert_eq!(vhd::read_info(&patched(&file, &cut)).unwrap().remarks, []);
    }
}

#[test]
fn a_path_too_long_for_its_room_moves_before_the_footer() {
    let long = format!(r"D:\{}\base.vhd", "long folder name ".repeat(40));
    let file = disc_utils();
    let patch = vhd::relink(&file, &paths(r".\base.vhd", &long)).unwrap();
    let after = patched(&file, &patch);
    assert_eq!(text_of(&after, *b"W2ku"), long);
    assert_eq!(text_of(&after, *b"W2ru"), r".\base.vhd");
    assert_eq!(hints(&after)[2], "Name base.vhd");
    assert_eq!(after.len(), file.len() + 4096);
    assert!(after[0x800..0xa00].iter().all(|&byte| byte == 0));
    vhd::check_blocks(&after).unwrap();
    vhd::canonical_form(&after).unwrap();
}

#[test]
fn room_cannot_be_made_where_the_footer_is_damaged() {
    let mut file = no_locators();
    let end = file.len();
    file[end - 1] ^= 1;
    let error = vhd::relink(&file, &paths(r".\b.vhd", r"D:\b.vhd")).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[test]
fn room_cannot_be_made_where_all_slots_are_in_use() {
    let mut file = no_locators();
    edit_header(&mut file, |raw| raw.locators = [slot(*b"xxxx", 0, 0, 0); 8]);
    let error = vhd::relink(&file, &paths(r".\b.vhd", r"D:\b.vhd")).unwrap_err();
    assert!(error.to_string().contains("all eight"), "{error}");
}

#[test]
fn a_path_that_is_not_given_is_made_of_the_other() {
    let file = small_child();
    let only = |relative: Option<&str>, absolute: Option<&str>| {
        let paths = ParentPaths {
            relative: relative.map(str::to_owned),
            absolute: absolute.map(str::to_owned),
            volume: None,
        };
        let patch = vhd::relink(&file, &paths)?;
        Ok::<_, crate::formats::FormatError>(hints(&patched(&file, &patch)))
    };
    let expected = [
        r"Relative .\b.vhd",
        r"Absolute D:\x\b.vhd",
        r"Name D:\x\b.vhd",
    ];
    assert_eq!(only(None, Some(r"D:\x\b.vhd")).unwrap(), expected);
    let expected = [r"Relative ..\b.vhd", "Name b.vhd"];
    assert_eq!(only(Some(r"..\b.vhd"), None).unwrap(), expected);
    assert!(only(None, None).is_err());
}
