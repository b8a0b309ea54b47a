//! What a relocation may change, and that nothing hides behind it.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::{
    base::{Patch, Write},
    formats::ParentLink,
    report::Code,
};

static CHILD: LazyLock<Vec<u8>> = LazyLock::new(child);
static BASE: LazyLock<Vec<u8>> = LazyLock::new(base);

/// Where the pieces of a new child are.
const METADATA: usize = 0x20_0000;
const LOCATOR: usize = 0x21_0028;
/// The entry of the locator in the metadata table, and its offset and length.
const LOCATOR_ENTRY: usize = METADATA + 32 + 5 * 32;
const BAT: usize = 0x30_0000;

fn applied(patch: &Patch, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    patch.apply_to_vec(&mut bytes).unwrap();
    bytes
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    seal_all(&mut bytes);
    bytes
}

fn changed(bytes: &[u8], writes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for &(at, new) in writes {
        bytes[at..][..new.len()].copy_from_slice(new);
    }
    sealed(bytes)
}

/// What a guest and a chain see of a disk.
#[derive(PartialEq)]
struct Seen {
    content: Vec<u8>,
    own_id: DiskId,
    page83_id: Option<DiskId>,
    parent: Option<(DiskId, Option<DiskId>)>,
}

fn seen(bytes: &Vec<u8>) -> Seen {
    let info = read_info(bytes).unwrap();
    Seen {
        content: Chain::of(&[bytes, &BASE]).bytes(),
        own_id: info.own_id,
        page83_id: info.page83_id,
        parent: info.parent.map(|link| (link.id, link.id2)),
    }
}

fn hint_paths(link: &ParentLink) -> Vec<&str> {
    link.hints.iter().map(|hint| hint.path.as_str()).collect()
}

/// Garbage wherever an export may leave some.
fn littered(bytes: &[u8], seed: u8) -> Vec<u8> {
    let litter = vec![seed | 1; 5000];
    let sequence = (u64::from(seed) + 7).to_le_bytes();
    changed(
        bytes,
        &[
            (0x1_0008, &sequence),
            (0x1_0010, &[seed; 16]),
            (0x1_1000, &litter),
            (0x2_3000, &litter),
            (0x5_0000, &litter),
            (0x10_0000, &litter),
            (0x1F_0000, &litter),
            (METADATA + 32 + 6 * 32, &[seed; 32]),
            (METADATA + 0x5_0000, &litter),
        ],
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_relinked_child_is_the_same_disk_with_other_paths(
        relative in proptest::option::of(r"\.\\[ -~ÄöЖ]{1,40}"),
        absolute in r"[A-Z]:\\[ -~]{1,200}",
        volume in proptest::option::of(r"\\\\\?\\Volume[ -~]{1,60}"),
        seed: u8,
    ) {
        let old = littered(&CHILD, seed);
        let wanted = ParentPaths { relative, absolute: Some(absolute), volume };
        let patch = relink(&old, &wanted).unwrap();
        let new = applied(&patch, &old);
        prop_assert_eq!(new.len(), old.len());
        prop_assert!(seen(&new) == seen(&old));
        prop_assert_eq!(canonical_id(&new).unwrap(), canonical_id(&old).unwrap());
        let link = read_info(&new).unwrap().parent.unwrap();
        let expected = [&wanted.relative, &wanted.volume, &wanted.absolute];
        let expected: Vec<_> = expected.into_iter().flatten().collect();
        prop_assert_eq!(hint_paths(&link), expected);
        prop_assert!(relink(&new, &wanted).unwrap().is_empty());
        prop_assert_eq!(relink(&old, &wanted).unwrap(), patch);
        let back = relink(&new, &paths(r".\base.vhdx", r"C:\labs\base.vhdx")).unwrap();
        let back = applied(&back, &new);
        prop_assert_eq!(hint_paths(&read_info(&back).unwrap().parent.unwrap()).len(), 2);
    }

    #[test]
    fn a_child_has_one_store_form_wherever_it_was_exported(
        path in r"[A-Z]:\\[ -~]{1,200}",
        one: u8,
        two: u8,
        name in r"[a-z]{1,20}-[0-9a-f]{12}\.vhdx",
    ) {
        let here = littered(&CHILD, one);
        let there = applied(&relink(&*CHILD, &paths("..\\x", &path)).unwrap(), &CHILD);
        let there = littered(&there, two);
        prop_assert_eq!(canonical_id(&here).unwrap(), canonical_id(&there).unwrap());
        let stored = |bytes: &Vec<u8>| applied(&store_form(bytes, &name).unwrap(), bytes);
        let (a, b) = (stored(&here), stored(&there));
        prop_assert!(a == b);
        prop_assert!(seen(&a) == seen(&CHILD));
        prop_assert_eq!(canonical_id(&a).unwrap(), canonical_id(&*CHILD).unwrap());
        let link = read_info(&a).unwrap().parent.unwrap();
        prop_assert_eq!(hint_paths(&link), [format!(r".\{name}")]);
        prop_assert!(stored(&a) == a, "the store form of the store form is itself");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The promise that makes deduplication by canonical digest safe.
    #[test]
    fn equal_canonical_digests_mean_equal_disks(flips in prop::collection::vec(flip(), 1..4), seal: bool) {
        let mut bytes = CHILD.clone();
        for (at, bit) in flips {
            bytes[at] ^= 1 << bit;
        }
        let bytes = if seal { sealed(bytes) } else { bytes };
        match canonical_id(&bytes) {
            Ok(id) if id == canonical_id(&*CHILD).unwrap() => {
                prop_assert!(seen(&bytes) == seen(&CHILD));
            }
            _ => {}
        }
    }
}

/// A bit somewhere in the structures, most often where they are dense.
fn flip() -> impl Strategy<Value = (usize, u32)> {
    let at = prop_oneof![
        0_usize..0x70_0000,
        0x1_0000..0x1_0050_usize,
        0x2_0000..0x2_0050_usize,
        0x3_0000..0x3_0050_usize,
        METADATA..METADATA + 32 + 7 * 32,
        METADATA + 0x1_0000..LOCATOR + 600,
        BAT..BAT + 32,
        0x40_0000..0x40_0040_usize,
    ];
    (at, 0_u32..8)
}

#[test]
fn every_stage_of_a_change_leaves_a_whole_disk() {
    let old = littered(&CHILD, 200);
    // A stale header with a log id: it must never become the current one.
    let stale = changed(&old, &[(0x2_0030, &[5; 16])]);
    for file in [old, stale] {
        survives_every_crash(
            &file,
            &relink(&file, &paths(r"..\y.vhdx", r"D:\y.vhdx")).unwrap(),
        );
        let stored = store_form(&file, "base-1.vhdx").unwrap();
        survives_every_crash(&file, &stored);
        // Now the locator stands where the next one must go: it is moved aside first.
        let file = applied(&stored, &file);
        let again = store_form(&file, "base-22.vhdx").unwrap();
        assert_eq!(again.stages.len(), 7);
        survives_every_crash(&file, &again);
    }
}

/// Stops after each stage, and in the middle of each write of a header.
fn survives_every_crash(file: &Vec<u8>, patch: &Patch) {
    let before = seen(file);
    let names = |bytes: &Vec<u8>| {
        let link = read_info(bytes).unwrap().parent.unwrap();
        hint_paths(&link).join(" ")
    };
    let (old, new) = (names(file), names(&applied(patch, file)));
    assert_ne!(old, new);
    for stages in 0..=patch.stages.len() {
        let (done, left) = patch.stages.split_at(stages);
        let part = Patch {
            stages: done.to_vec(),
            new_len: None,
        };
        let mut crashed = applied(&part, file);
        assert!(seen(&crashed) == before, "after {stages} stages");
        let named = names(&crashed);
        assert!(
            named == old || named == new,
            "after {stages} stages: {named}"
        );
        let next = left.first().and_then(|stage| stage.first());
        if let Some(Write {
            offset: at @ (0x1_0000 | 0x2_0000),
            ..
        }) = next
        {
            crashed[*at as usize..][..512].fill(0xEE);
            assert!(seen(&crashed) == before, "torn at {at:#x}");
        }
    }
}

#[test]
fn a_relink_mends_a_damaged_header() {
    for slot in [0x1_0000, 0x2_0000] {
        let mut bytes = CHILD.clone();
        bytes[slot + 100] ^= 1;
        assert_eq!(read_info(&bytes).unwrap().remarks.len(), 1);
        let new = applied(&relink(&bytes, &paths("x", "y")).unwrap(), &bytes);
        assert_eq!(read_info(&new).unwrap().remarks, []);
    }
}

#[test]
fn the_old_locator_is_gone_and_the_new_one_lies_over_nothing() {
    let new = applied(&relink(&*CHILD, &paths("x", "y")).unwrap(), &CHILD);
    assert!(new[LOCATOR..LOCATOR + 200].iter().all(|&byte| byte == 0));
    let disk = Disk::read(&new).unwrap();
    let item = disk.metadata.locator_item().unwrap().range;
    assert!(item.start().is_multiple_of(8) && item.start() > LOCATOR as u64);
    // The next one takes the first place again.
    let next = applied(&relink(&new, &paths("xx", "yy")).unwrap(), &new);
    let disk = Disk::read(&next).unwrap();
    assert_eq!(
        disk.metadata.locator_item().unwrap().range.start(),
        LOCATOR as u64
    );
}

#[test]
fn a_relink_changes_both_headers_and_no_id_but_that_of_the_write() {
    let new = applied(&relink(&*CHILD, &paths("x", "y")).unwrap(), &CHILD);
    for slot in [0x1_0000, 0x2_0000] {
        assert_ne!(new[slot + 16..slot + 32], CHILD[slot + 16..slot + 32]);
        assert_eq!(new[slot + 32..slot + 4096], CHILD[slot + 32..slot + 4096]);
    }
    let sequence = |slot: usize| new[slot + 8];
    assert_eq!((sequence(0x1_0000), sequence(0x2_0000)), (3, 4));
    let last = changed(&CHILD, &[(0x2_0008, &[0xFF; 8])]);
    let error = relink(&last, &paths("x", "y")).unwrap_err();
    assert!(matches!(error, FormatError::Unsupported { .. }), "{error}");
}

#[test]
fn a_base_has_no_parent_to_change_and_no_path_is_no_parent() {
    for error in [
        relink(&*BASE, &paths("x", "y")).unwrap_err(),
        store_form(&*BASE, "x.vhdx").unwrap_err(),
        relink(&*CHILD, &ParentPaths::default()).unwrap_err(),
        store_form(&*CHILD, "").unwrap_err(),
        store_form(&*CHILD, r"a\b.vhdx").unwrap_err(),
        store_form(&*CHILD, &"x".repeat(40_000)).unwrap_err(),
    ] {
        assert!(matches!(error, FormatError::Unsupported { .. }), "{error}");
    }
}

/// New bytes at offsets.
type Changes = Vec<(usize, Vec<u8>)>;

#[test]
fn a_mask_over_data_is_no_mask() {
    let le = |value: u64| value.to_le_bytes();
    let (bat, log) = (BAT, 0x1_0048);
    let full = |offset: u64| le(offset | 6);
    let cases: [(&str, Changes, Code); 8] = [
        (
            "log over a block",
            vec![
                (log, le(0x50_0000).to_vec()),
                (log + 0x1_0000, le(0x50_0000).to_vec()),
            ],
            Code::OverlappingBlocks,
        ),
        (
            "log over the BAT",
            vec![
                (log, le(0x30_0000).to_vec()),
                (log + 0x1_0000, le(0x30_0000).to_vec()),
            ],
            Code::Corrupt,
        ),
        (
            "block over the metadata",
            vec![(bat + 8, full(0x20_0000).to_vec())],
            Code::OverlappingBlocks,
        ),
        (
            "block over the log",
            vec![(bat + 8, full(0x10_0000).to_vec())],
            Code::OverlappingBlocks,
        ),
        (
            "two blocks in one place",
            vec![(bat + 8, full(0x50_0000).to_vec())],
            Code::OverlappingBlocks,
        ),
        (
            "an absent block over the log",
            vec![(bat + 16, le(0x10_0003).to_vec())],
            Code::Corrupt,
        ),
        (
            "locator over the disk's size",
            vec![(LOCATOR_ENTRY + 16, 0x1_0008_u32.to_le_bytes().to_vec())],
            Code::Corrupt,
        ),
        (
            "locator in the table",
            vec![(LOCATOR_ENTRY + 16, 0x8000_u32.to_le_bytes().to_vec())],
            Code::Corrupt,
        ),
    ];
    for (what, writes, code) in cases {
        let writes: Vec<_> = writes
            .iter()
            .map(|(at, new)| (*at, new.as_slice()))
            .collect();
        let bytes = changed(&CHILD, &writes);
        let error = canonical_form(&bytes).expect_err(what);
        assert_eq!(error.code(), code, "{what}: {error}");
        assert!(store_form(&bytes, "x.vhdx").is_err(), "{what}");
    }
}

#[test]
fn what_masked_bytes_say_counts_where_it_must() {
    let canonical = canonical_id(&*CHILD).unwrap();
    let log = |offset: u64| offset.to_le_bytes();
    let own = changed(&CHILD, &[(0x1_0020, &[7; 16]), (0x2_0020, &[7; 16])]);
    // The first letter of the parent's GUID, in the first value.
    let at = LOCATOR + 20 + 4 * 12 + 28 + 2;
    let linkage = changed(&CHILD, &[(at, b"c")]);
    let same = changed(&CHILD, &[(at, b"A")]);
    let mut longer = CHILD.clone();
    longer.resize(CHILD.len() + (1 << 20), 0);
    let elsewhere = changed(
        &longer,
        &[(0x1_0048, &log(0x70_0000)), (0x2_0048, &log(0x70_0000))],
    );
    for (what, bytes) in [
        ("own id", own),
        ("parent's id", linkage),
        ("log", elsewhere),
    ] {
        assert_ne!(canonical_id(&bytes).unwrap(), canonical, "{what}");
    }
    assert_eq!(canonical_id(&same).unwrap(), canonical, "case of a GUID");
}
