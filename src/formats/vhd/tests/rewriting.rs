//! Relinking and store form, for any path.

use proptest::prelude::*;

use super::images::*;
use crate::{
    base::ByteRange,
    formats::{DiskKind, NewDisk, vhd},
    report::Code,
};

/// A file name as people give them, Windows' special characters left out.
fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 äöüßéЖ日😀_-]{1,40}\\.vhd"
}

/// Relative and absolute paths of a parent.
fn places() -> impl Strategy<Value = (String, String)> {
    (name(), prop::collection::vec("[A-Za-z0-9 é日]{1,60}", 0..8)).prop_map(|(name, folders)| {
        let folders: String = folders.iter().flat_map(|folder| [folder, r"\"]).collect();
        (
            format!(r"..\{folders}{name}"),
            format!(r"D:\{folders}{name}"),
        )
    })
}

/// A child with data here and there.
fn children() -> impl Strategy<Value = NewDisk> {
    let data = prop::collection::btree_map(0_u64..400, 1_u64..6, 0..8);
    (data, prop::sample::select(vec![4096_u32, 16_384, 0x8_0000])).prop_map(|(data, block)| {
        let data = data
            .into_iter()
            .map(|(at, sectors)| (at * 10 * 512, pattern(at, sectors)));
        NewDisk {
            block_size: Some(block),
            ..child(2 * MIB, data.collect())
        }
    })
}

fn outside(masks: &[ByteRange], file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    for mask in masks {
        file[mask.start() as usize..mask.end() as usize].fill(0);
    }
    file
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_relink_reads_back_and_changes_nothing_else(
        disk in children(), (relative, absolute) in places(),
    ) {
        let file = disk.to_bytes().unwrap();
        let patch = vhd::relink(&file, &paths(&relative, &absolute)).unwrap();
        let after = patched(&file, &patch);
        let name = absolute.encode_utf16().count() <= 255;
        let name = if name { &absolute } else { absolute.rsplit('\\').next().unwrap() };
        let expected = [
            format!("Relative {relative}"),
            format!("Absolute {absolute}"),
            format!("Name {name}"),
        ];
        prop_assert_eq!(hints(&after), expected);
        let (form, id) = canonical(&file);
        prop_assert_eq!(canonical(&after), (form.clone(), id));
        prop_assert_eq!(outside(&form.masks, &file), outside(&form.masks, &after));
        let before = vhd::read_info(&file).unwrap();
        let mut now = vhd::read_info(&after).unwrap();
        prop_assert_eq!(before.parent.as_ref().unwrap().id, now.parent.as_ref().unwrap().id);
        now.parent = before.parent.clone();
        prop_assert_eq!(before, now);
        prop_assert!(vhd::relink(&after, &paths(&relative, &absolute)).unwrap().is_empty());
    }

    #[test]
    fn two_exports_of_one_disk_have_one_store_form(
        disk in children(), (relative, absolute) in places(), parent in name(),
    ) {
        let here = disk.to_bytes().unwrap();
        let there = vhd::relink(&here, &paths(&relative, &absolute)).unwrap();
        let there = patched(&here, &there);
        let store = |file: &[u8]| patched(file, &vhd::store_form(&file, &parent).unwrap());
        let stored = store(&here);
        prop_assert_eq!(&stored, &store(&there));
        prop_assert_eq!(canonical(&stored), canonical(&here));
        prop_assert_eq!(stored.len(), here.len());
        prop_assert!(vhd::store_form(&stored, &parent).unwrap().is_empty());
        let expected = [format!(r"Relative .\{parent}"), format!("Name {parent}")];
        prop_assert_eq!(hints(&stored), expected);
        vhd::check_blocks(&stored).unwrap();
        // Its own bytes laid over the masks bring each export back.
        let (form, _) = canonical(&there);
        let mut restored = stored;
        for mask in &form.masks {
            let mask = mask.start() as usize..mask.end() as usize;
            restored[mask.clone()].copy_from_slice(&there[mask]);
        }
        prop_assert_eq!(restored, there);
    }

    #[test]
    fn a_bit_flipped_outside_the_masks_shows_in_the_digest(
        disk in children(), at in any::<prop::sample::Index>(), bit in 0_u32..8,
    ) {
        let mut file = disk.to_bytes().unwrap();
        let (form, id) = canonical(&file);
        let at = at.index(file.len());
        file[at] ^= 1_u8 << bit;
        let masked = form.masked(at as u64, 1).next().is_some();
        if masked {
            prop_assert_eq!(digest(&file, &form), id);
        } else if let Ok(form) = vhd::canonical_form(&file) {
            prop_assert_ne!(digest(&file, &form), id);
        }
    }
}

#[test]
fn the_masks_are_those_of_windows_layout() {
    let (form, _) = canonical(&small_child());
    let masks = [
        (0x224, 4),
        (0x238, 4),
        (0x240, 704),
        (0x1000, 4096),
        (0x3000, 65_536),
    ];
    let masks = masks.map(|(start, len)| ByteRange::new(start, len).unwrap());
    assert_eq!(form.masks, masks);
}

#[test]
fn nothing_is_masked_in_a_disk_without_a_parent() {
    for kind in [DiskKind::Fixed, DiskKind::Dynamic] {
        let file = base(kind, MIB, vec![(0, pattern(1, 1))])
            .to_bytes()
            .unwrap();
        let form = vhd::canonical_form(&file).unwrap();
        assert_eq!(form, crate::formats::CanonicalForm::exact());
        let error = vhd::relink(&file, &paths("a", "b")).unwrap_err();
        assert_eq!(error.code(), Code::Unsupported);
        assert!(vhd::store_form(&file, "a.vhd").is_err());
    }
}

#[test]
fn a_recorded_time_survives_a_relink_and_is_zero_in_store_form() {
    let mut file = small_child();
    edit_header(&mut file, |raw| raw.parent_timestamp = 825_811_200.into());
    let (_, id) = canonical(&file);
    let after = patched(
        &file,
        &vhd::relink(&file, &paths("..\\b.vhd", "D:\\b.vhd")).unwrap(),
    );
    let parent = vhd::read_info(&after).unwrap().parent.unwrap();
    assert_eq!(parent.timestamp, Some(825_811_200));
    let stored = patched(&after, &vhd::store_form(&after, "b.vhd").unwrap());
    assert_eq!(
        vhd::read_info(&stored).unwrap().parent.unwrap().timestamp,
        None
    );
    assert_eq!(canonical(&stored).1, id);
}

#[test]
fn another_parent_id_is_another_disk() {
    let mut file = small_child();
    let (_, id) = canonical(&file);
    edit_header(&mut file, |raw| raw.parent_id[3] ^= 1);
    assert_ne!(canonical(&file).1, id);
}

#[test]
fn names_beyond_the_field_are_refused_and_leave_no_patch() {
    let file = small_child();
    let fits = format!("{}.vhd", "n".repeat(251));
    let stored = patched(&file, &vhd::store_form(&file, &fits).unwrap());
    assert_eq!(hints(&stored)[1], format!("Name {fits}"));
    assert!(vhd::store_form(&file, &format!("n{fits}")).is_err());
    assert!(vhd::relink(&file, &paths(".\\a", &"x".repeat(40_000))).is_err());
}

#[test]
fn strings_are_written_before_the_header_that_counts_them() {
    let file = small_child();
    let patch = vhd::relink(&file, &paths(r"..\b.vhd", r"D:\b.vhd")).unwrap();
    assert_eq!(patch.new_len, None);
    let [strings, header] = patch.stages.as_slice() else {
        panic!("{} stages", patch.stages.len());
    };
    assert!(strings.iter().all(|write| write.offset >= 0x1000));
    assert_eq!(header.len(), 1);
    assert_eq!((header[0].offset, header[0].len()), (0x200, 1024));
}
