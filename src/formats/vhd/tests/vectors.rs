//! Values that an independent script computed, checked against real files.

use super::images::*;
use crate::formats::{DiskKind, NewDisk, vhd};

fn forty_mib() -> NewDisk {
    NewDisk {
        block_size: None,
        ..child(40 * MIB, Vec::new())
    }
}

#[test]
fn the_footer_of_a_child_has_the_checksum_of_the_vector() {
    let mut raw = footer(&forty_mib().to_bytes().unwrap());
    raw.timestamp = 655_986_203.into();
    assert_eq!(raw.computed_checksum(), 0xffff_f583);
}

#[test]
fn the_header_of_a_child_has_the_checksum_of_the_vector_before_and_after_a_relink() {
    let file = forty_mib().to_bytes().unwrap();
    let raw = header(&file);
    assert_eq!(raw.checksum.get(), 0xffff_e126);
    assert_eq!(raw.computed_checksum(), 0xffff_e126);

    let new = paths(r"..\..\RefDisk\base.vhd", r"D:\RefDisk\base.vhd");
    let patch = vhd::relink(&file, &new).unwrap();
    let file = patched(&file, &patch);
    let raw = header(&file);
    assert_eq!(raw.checksum.get(), 0xffff_df6c);
    assert_eq!(raw.computed_checksum(), 0xffff_df6c);
    assert_eq!(raw.locators[0].len.get(), 38);
    assert_eq!(raw.locators[1].len.get(), 44);
}

#[test]
fn an_empty_child_of_40_mib_takes_as_many_bytes_as_the_one_windows_made() {
    let file = forty_mib().to_bytes().unwrap();
    assert_eq!(file.len(), 81_920);
    let raw = header(&file);
    assert_eq!(raw.bat_offset.get(), 0x2000);
    assert_eq!(raw.entries.get(), 20);
    assert_eq!(raw.locators[0].offset.get(), 0x1000);
    assert_eq!(raw.locators[1].offset.get(), 0x3000);
    assert_eq!(raw.locators[1].space.get(), 65_536);
}

#[test]
fn empty_dynamic_disks_take_as_many_bytes_as_those_windows_made() {
    for (size, len) in [
        (40 * MIB, 8192),
        (1024 * MIB, 8192),
        (136_365_211_648, 266_240),
    ] {
        let file = base(DiskKind::Dynamic, size, Vec::new())
            .to_bytes()
            .unwrap();
        assert_eq!(file.len(), len, "{size} bytes");
    }
}
