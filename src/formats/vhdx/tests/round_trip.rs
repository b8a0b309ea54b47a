//! New disks read back as what they were made of.

use proptest::prelude::*;

use super::*;
use crate::formats::LogState;

/// Stretches of whole sectors, as (sectors to leave out, sectors, what is in them).
type Stretches = Vec<(u64, u64, u8)>;

fn stretches() -> impl Strategy<Value = Stretches> {
    prop::collection::vec((0_u64..1500, 1_u64..3000, 1_u8..), 0..6)
}

fn data(stretches: &Stretches, size: u64, sector: u64) -> Vec<(u64, Vec<u8>)> {
    let mut at = 0;
    let mut data = Vec::new();
    for &(gap, sectors, byte) in stretches {
        let start = at + gap * sector;
        let end = (start + sectors * sector).min(size);
        if start < end {
            data.push((start, vec![byte; (end - start) as usize]));
        }
        at = end.max(start);
    }
    data
}

fn lay(over: &mut [u8], data: &[(u64, Vec<u8>)]) {
    for (offset, bytes) in data {
        over[*offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_chain_reads_as_its_parts_laid_over_each_other(
        (base_data, child_data) in (stretches(), stretches()),
        sector in prop::sample::select(vec![512_u32, 4096]),
        (base_mib, child_mib, cut) in (1_u64..5, 1_u64..5, 0_u64..3),
        fixed: bool,
        child_block in prop::sample::select(vec![1_u32 << 20, 2 << 20]),
    ) {
        let size = |mib: u64| (mib << 20) - cut * 4096;
        let cut_data = |parts: &Stretches, mib| data(parts, size(mib), u64::from(sector));
        let kind = if fixed { DiskKind::Fixed } else { DiskKind::Dynamic };
        let mut base = small(kind, size(base_mib), cut_data(&base_data, base_mib));
        base.logical_sector = sector;
        let child_data = cut_data(&child_data, child_mib);
        let mut child = small(DiskKind::Differencing, size(child_mib), child_data);
        child.logical_sector = sector;
        child.block_size = Some(child_block);
        let (base_bytes, child_bytes) = (base.to_bytes().unwrap(), child.to_bytes().unwrap());
        for bytes in [&base_bytes, &child_bytes] {
            let census = check_blocks(bytes).unwrap();
            prop_assert_eq!(census.used_len, bytes.len() as u64);
            prop_assert_eq!(relink(bytes, &paths("x", "y")).is_ok(), bytes == &child_bytes);
        }
        let mut expected = vec![0; size(base_mib) as usize];
        lay(&mut expected, &base.data);
        prop_assert!(Chain::of(&[&base_bytes]).bytes() == expected);
        expected.resize(size(child_mib) as usize, 0);
        lay(&mut expected, &child.data);
        prop_assert!(Chain::of(&[&child_bytes, &base_bytes]).bytes() == expected);
        prop_assert!(child.to_bytes().unwrap() == child_bytes, "the same bytes each time");
    }
}

#[test]
fn a_new_disk_says_what_it_was_made_from() {
    let mut disk = small(DiskKind::Differencing, 3 << 20, Vec::new());
    disk.parent.as_mut().unwrap().paths.volume = Some(r"\\?\Volume{0}\b.vhdx".to_owned());
    let info = read_info(&disk.to_bytes().unwrap()).unwrap();
    assert_eq!(
        (info.format, info.kind),
        (DiskFormat::Vhdx, DiskKind::Differencing)
    );
    assert_eq!(info.own_id, id(CHILD_ID));
    assert_eq!((info.logical_sector, info.physical_sector), (512, 4096));
    assert_eq!(
        (info.creator.as_str(), info.log),
        ("labpack", LogState::Empty)
    );
    let parent = info.parent.unwrap();
    assert!(parent.accepts(id(BASE_ID)));
    let hints: Vec<_> = parent.hints.iter().map(|hint| hint.path.as_str()).collect();
    let expected = [
        r".\base.vhdx",
        r"\\?\Volume{0}\b.vhdx",
        r"C:\labs\base.vhdx",
    ];
    assert_eq!(hints, expected);
    let base_page83 = read_info(&base()).unwrap().page83_id;
    assert_eq!(info.page83_id, base_page83, "a child shows its base's id");
}

#[test]
fn a_new_disk_is_laid_out_as_windows_does() {
    let bytes = child();
    let table = &bytes[0x3_0000..0x4_0000];
    assert_eq!(table[4..8], 0xC66B_8CAE_u32.to_le_bytes());
    assert!(table == &bytes[0x4_0000..0x5_0000]);
    let disk = Disk::read(&bytes).unwrap();
    let items: Vec<_> = disk
        .metadata
        .items
        .iter()
        .map(|item| item.range.start() - 0x20_0000)
        .collect();
    assert_eq!(
        items,
        [0x1_0000, 0x1_0008, 0x1_0010, 0x1_0014, 0x1_0018, 0x1_0028]
    );
    // A sector bitmap, then the partial block and the full one.
    assert_eq!(bytes.len(), 0x70_0000);
}

#[test]
fn only_the_blocks_with_data_are_in_a_dynamic_disk_and_all_in_a_fixed_one() {
    let census =
        |kind, data| check_blocks(&small(kind, 5 << 20, data).to_bytes().unwrap()).unwrap();
    let data = vec![(3 << 20, vec![1; 512])];
    assert_eq!(census(DiskKind::Dynamic, data.clone()).present, 1);
    assert_eq!(census(DiskKind::Fixed, data).present, 5);
    assert_eq!(census(DiskKind::Dynamic, Vec::new()).present, 0);
}

#[test]
fn a_description_that_contradicts_itself_is_refused() {
    let good = small(DiskKind::Dynamic, 3 << 20, Vec::new());
    let with = |change: &dyn Fn(&mut NewDisk)| {
        let mut disk = good.clone();
        change(&mut disk);
        disk
    };
    let sector = || vec![0; 512];
    for bad in [
        with(&|disk| disk.kind = DiskKind::Differencing),
        with(&|disk| disk.virtual_size = 0),
        with(&|disk| disk.virtual_size = 513),
        with(&|disk| disk.virtual_size = (64 << 40) + 512),
        with(&|disk| disk.block_size = Some(3 << 20)),
        with(&|disk| disk.block_size = Some(512 << 10)),
        with(&|disk| disk.logical_sector = 1024),
        with(&|disk| disk.data = vec![(3 << 20, sector())]),
        with(&|disk| disk.data = vec![(1, sector())]),
        with(&|disk| disk.data = vec![(0, vec![0; 100])]),
        with(&|disk| disk.data = vec![(512, sector()), (0, sector())]),
        with(&|disk| disk.data = vec![(u64::MAX - 511, sector())]),
    ] {
        assert!(
            matches!(bad.to_bytes(), Err(FormatError::Unsupported { .. })),
            "{bad:?}"
        );
    }
}

#[test]
fn the_largest_disk_is_written_and_walked_without_filling_the_memory() {
    let mut disk = small(
        DiskKind::Differencing,
        64 << 40,
        vec![((64 << 40) - 512, vec![7; 512])],
    );
    disk.parent.as_mut().unwrap().id = id(BASE_ID);
    let mut out = Sparse::default();
    disk.write_to(&mut out).unwrap();
    let held: usize = out.pieces.values().map(Vec::len).sum();
    assert!(held < 1 << 20, "{held} bytes were written");
    let census = check_blocks(&out).unwrap();
    assert_eq!((census.blocks, census.present), (1 << 26, 1));
    let (total, most) = *out.asked.lock().unwrap();
    assert!(most <= 1 << 20, "{most} bytes at a time");
    assert!(total < 520 << 20, "{total} bytes in all");
    let chain = Chain::open([Arc::new(out) as Arc<dyn ReadAt>]);
    let mut sector = [0; 512];
    chain.read(0, (64 << 40) - 512, &mut sector);
    assert_eq!(sector, [7; 512]);
}
