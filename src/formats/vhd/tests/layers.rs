//! Where virtual bytes are found.

use super::images::*;
use crate::formats::{DiskKind, Extent, Layer, Source, vhd};

fn extents(layer: &dyn Layer) -> Vec<(u64, Source)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < layer.info().virtual_size.0 {
        let Extent { len, source } = layer.extent(at).unwrap();
        found.push((len, source));
        at += len;
    }
    found
}

#[test]
fn a_fixed_disk_is_one_extent() {
    let disk = base(DiskKind::Fixed, MIB, vec![(512, pattern(1, 1))]);
    let layer = layer(disk.to_bytes().unwrap());
    assert_eq!(extents(&*layer), [(MIB, Source::Here(0))]);
}

#[test]
fn a_dynamic_disk_is_zero_where_it_has_no_block_and_ends_with_its_size() {
    let disk = base(
        DiskKind::Dynamic,
        7 * MIB - 512,
        vec![(6 * MIB, pattern(1, 1))],
    );
    let layer = layer(disk.to_bytes().unwrap());
    let expected = [(6 * MIB, Source::Zero), (MIB - 512, Source::Here(0x2000))];
    assert_eq!(extents(&*layer), expected);
}

#[test]
fn a_differencing_disk_follows_its_bitmaps_sector_by_sector() {
    let layer = layer(small_child());
    let (second, fourth) = (0x1_4000, 0x9_5000);
    let expected = [
        (0x8_0000, Source::Parent),
        (512, Source::Parent),
        (3 * 512, Source::Here(second + 512)),
        (0x8_0000 - 4 * 512, Source::Parent),
        (0x8_0000, Source::Parent),
        (512, Source::Here(fourth)),
        (8 * 512, Source::Parent),
        (20 * 512, Source::Here(fourth + 9 * 512)),
        (0x8_0000 - 29 * 512, Source::Parent),
    ];
    assert_eq!(extents(&*layer), expected);
}

#[test]
fn an_extent_may_be_asked_for_at_any_byte() {
    let layer = layer(small_child());
    let at = 0x18_0000 + 10 * 512 + 77;
    let extent = layer.extent(at).unwrap();
    assert_eq!(extent.source, Source::Here(0x9_5000 + 10 * 512 + 77));
    assert_eq!(extent.len, 19 * 512 - 77);
}

#[test]
fn what_was_written_is_read_through_the_chain_whatever_the_block_sizes() {
    let size = 9 * MIB + 1536;
    let parent_data = vec![(0, pattern(1, 4000)), (7 * MIB, pattern(2, 33))];
    let child_data = vec![
        (512, pattern(3, 1)),
        (0x7_fe00, pattern(4, 2)),
        (3 * MIB - 512, pattern(5, 5000)),
        (size - 512, pattern(6, 1)),
    ];
    let mut expected = vec![0; size as usize];
    for (at, bytes) in parent_data.iter().chain(&child_data) {
        expected[*at as usize..][..bytes.len()].copy_from_slice(bytes);
    }
    for kind in [DiskKind::Fixed, DiskKind::Dynamic] {
        for block_size in [4096, 0x8_0000, 0x20_0000, 0x100_0000] {
            let mut leaf = child(size, child_data.clone());
            leaf.block_size = Some(block_size);
            let parent = base(kind, size, parent_data.clone());
            let chain = [leaf, parent].map(|disk| layer(disk.to_bytes().unwrap()));
            assert!(
                read_all(&chain) == expected,
                "{kind}, blocks of {block_size}"
            );
        }
    }
}

#[test]
fn a_table_of_more_than_a_page_is_read_page_by_page() {
    let size = 300 << 30;
    let data = vec![(0, pattern(1, 1)), (size - 512, pattern(2, 1))];
    let mut disk = child(size, data.clone());
    disk.block_size = None;
    let layer = [layer(disk.to_bytes().unwrap())];
    for (at, bytes) in data {
        let mut buf = vec![0; 512];
        read_chain(&layer, at, &mut buf).unwrap();
        assert_eq!(buf, bytes);
    }
    assert_eq!(layer[0].extent(200 << 30).unwrap().source, Source::Parent);
}

#[test]
fn the_table_of_the_largest_disk_is_written_whole() {
    let size = 2040 << 30;
    let data = vec![(1000 << 30, pattern(1, 2))];
    let mut disk = child(size, data);
    disk.block_size = None;
    let file = disk.to_bytes().unwrap();
    let raw = header(&file);
    assert_eq!(raw.entries.get(), 1_044_480);
    assert_eq!(raw.locators[1].offset.get(), 0x2000 + 4_177_920);
    let census = vhd::check_blocks(&file).unwrap();
    assert_eq!((census.blocks, census.present), (1_044_480, 1));
    let layer = [layer(file)];
    let mut buf = vec![0; 1024];
    read_chain(&layer, 1000 << 30, &mut buf).unwrap();
    assert_eq!(buf, pattern(1, 2));
}

#[test]
fn a_block_out_of_place_is_an_error_where_it_is_read() {
    let mut file = small_child();
    file[0x2004..0x2008].copy_from_slice(&2_u32.to_be_bytes());
    let layer = layer(file);
    assert!(layer.extent(0).is_ok());
    let error = layer.extent(0x8_0000).unwrap_err();
    assert!(error.to_string().contains("the dynamic header"), "{error}");
}
