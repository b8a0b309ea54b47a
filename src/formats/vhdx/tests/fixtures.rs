//! Disks that Windows, QEMU and others wrote.

use super::*;
use crate::formats::{LogState, RemarkKind};

/// File, kind, virtual size, block size, logical and physical sector, own id, creator.
type Facts = (
    &'static str,
    DiskKind,
    u64,
    u32,
    (u32, u32),
    &'static str,
    &'static str,
);

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

#[rustfmt::skip]
const FACTS: [Facts; 17] = [
    ("LTRData-DiscUtils/btrfs.vhdx.gz", DiskKind::Dynamic, GIB, 32 << 20, (512, 4096), "f8f17a4f-f9cc-4303-86e8-50f9cf42c339", "Microsoft Windows 10.0.15063.0"),
    ("LTRData-DiscUtils/lvm2.vhdx.gz", DiskKind::Dynamic, 10 * GIB, 32 << 20, (512, 4096), "41c5fa47-ebef-4bb5-974b-8a9a9f8de565", "Microsoft Windows 10.0.14393.0"),
    ("LTRData-DiscUtils/vhdx-log-replay.vhdx.gz", DiskKind::Dynamic, GIB, 32 << 20, (512, 4096), "8fbc9db8-2cfd-45b8-9688-1c6fedbc7230", "Microsoft Windows 10.0.15063.0"),
    ("coreos-hyperv/config2_base.vhdx.bz2", DiskKind::Dynamic, 100 * MIB, 32 << 20, (512, 4096), "e8183cf0-728d-4f93-91fd-8959c886fb4c", "Microsoft Windows 6.3.9600.16521"),
    ("dfvfs/ext2.vhdx.gz", DiskKind::Dynamic, 4 * MIB, 8 << 20, (512, 512), "ae1e35d5-bfa6-1844-bb89-aa99d2217262", "QEMU v5.2.0"),
    ("dfvfs/fat-differential.vhdx.gz", DiskKind::Differencing, 4 * MIB, 2 << 20, (512, 4096), "e9e37682-8227-44a7-8648-39cb9f52e5e6", "Microsoft Windows 10.0.19041.0"),
    ("dfvfs/fat-parent.vhdx.gz", DiskKind::Fixed, 4 * MIB, 2 << 20, (512, 4096), "f88d4d92-6fcc-408d-9bef-9b7c89f15c89", "Microsoft Windows 10.0.19041.0"),
    ("dfvfs/ntfs-differential.vhdx.gz", DiskKind::Differencing, 4 * MIB, 2 << 20, (512, 4096), "305abbc8-cef4-45ea-aee8-42ee5c891b06", "Microsoft Windows 10.0.19041.0"),
    ("dfvfs/ntfs-dynamic.vhdx.gz", DiskKind::Dynamic, 4 * MIB, 32 << 20, (512, 4096), "b87a16be-01fa-444d-bb2e-6f7d84832202", "Microsoft Windows 10.0.19041.0"),
    ("dfvfs/ntfs-fixed.vhdx.gz", DiskKind::Fixed, 4 * MIB, 2 << 20, (512, 4096), "392e3c45-7dbf-4bf4-911f-cc0d255448d3", "Microsoft Windows 10.0.19041.0"),
    ("dfvfs/ntfs-parent.vhdx.gz", DiskKind::Fixed, 4 * MIB, 2 << 20, (512, 4096), "7584f8fb-36d3-4091-afb5-b1afe587bfa8", "Microsoft Windows 10.0.19041.0"),
    ("dissect.hypervisor/differencing.avhdx.gz", DiskKind::Differencing, 8 * GIB, 2 << 20, (512, 4096), "b298d413-f67e-412a-9a72-c7c7fc9b6cb5", "Microsoft Windows 10.0.17763.0"),
    ("dissect.hypervisor/dynamic.vhdx.gz", DiskKind::Dynamic, 10 * MIB, 32 << 20, (512, 4096), "28e09ae1-ab94-4815-a155-f143e2d00a3f", "Microsoft Windows 10.0.18363.0"),
    ("dissect.hypervisor/fixed.vhdx.gz", DiskKind::Fixed, 10 * MIB, 2 << 20, (512, 4096), "bfc189a1-751c-44ff-b60f-98d07b2950c0", "Microsoft Windows 10.0.18363.0"),
    ("qemu-sample_images/iotest-dirtylog-10G-4M.vhdx.bz2", DiskKind::Dynamic, 10 * GIB, 1 << 20, (512, 512), "5ab1b2ee-2f64-2e40-8a9b-0f0bcfdcd544", "QEMU v1.6.50"),
    ("qemu-sample_images/iotest-dynamic-1G.vhdx.bz2", DiskKind::Dynamic, GIB, 32 << 20, (512, 4096), "d247cbb2-15b6-404b-9133-790733d694c0", "Microsoft Windows 6.2.9200.16384"),
    ("qemu-sample_images/test-disk2vhd.vhdx.bz2", DiskKind::Dynamic, 256 * MIB, 2 << 20, (512, 512), "fd03891c-29e5-4ad6-8ee1-7198d3b1e263", "d2v"),
];

#[test]
fn disks_of_every_writer_say_what_an_independent_reader_found() {
    let Some(folder) = fixture_folder() else {
        return;
    };
    for (name, kind, size, block, sectors, own_id, creator) in FACTS {
        let Some(file) = unpack(&folder.join(name)) else {
            continue;
        };
        let info = read_info(&file).unwrap();
        assert_eq!(info.kind, kind, "{name}");
        assert_eq!(info.virtual_size.0, size, "{name}");
        assert_eq!(info.block_size, Some(block), "{name}");
        assert_eq!(
            (info.logical_sector, info.physical_sector),
            sectors,
            "{name}"
        );
        assert_eq!(info.own_id, id(own_id), "{name}");
        assert_eq!(info.creator, creator, "{name}");
        assert_eq!(info.remarks, [], "{name}");
        assert_eq!(
            info.parent.is_some(),
            kind == DiskKind::Differencing,
            "{name}"
        );
        settled_or_refused(name, &file, &info);
    }
}

/// A pending log is no error to whoever asks what the disk is, and one to everybody else.
fn settled_or_refused(name: &str, file: &Arc<dyn ReadAt>, info: &DiskInfo) {
    let pending = name.contains("log");
    assert_eq!(info.log == LogState::Pending, pending, "{name}");
    let paths = paths("x", "y");
    if pending {
        let refused = |result: Result<(), FormatError>| {
            assert!(matches!(result, Err(FormatError::PendingLog)), "{name}");
        };
        refused(check_blocks(file).map(drop));
        refused(canonical_form(file).map(drop));
        refused(open_layer(Arc::clone(file)).map(drop));
        refused(relink(file, &paths).map(drop));
        refused(store_form(file, "x").map(drop));
    } else {
        let census = check_blocks(file).unwrap();
        assert!(census.used_len <= info.file_len, "{name}");
        assert!(census.present <= census.blocks, "{name}");
        canonical_form(file).unwrap();
        let child = info.parent.is_some();
        assert_eq!(relink(file, &paths).is_ok(), child, "{name}");
        assert_eq!(store_form(file, "x").is_ok(), child, "{name}");
    }
}

#[test]
fn a_checkpoint_names_its_parent_as_windows_wrote_it() {
    let Some(folder) = fixture_folder() else {
        return;
    };
    let Some(file) = unpack(&folder.join("dissect.hypervisor/differencing.avhdx.gz")) else {
        return;
    };
    let parent = read_info(&file).unwrap().parent.unwrap();
    assert_eq!(parent.id, id("ff34003b-11ed-4cf8-a166-b2be05e20b80"));
    assert_eq!(parent.id2, None);
    let name = r"Generation 1_49C4BAF3-4B25-4406-8C4B-D39E65C32385.avhdx";
    let folder = r"Users\Public\Documents\Hyper-V\Virtual hard disks";
    let hints: Vec<_> = parent.hints.into_iter().map(|hint| hint.path).collect();
    let expected = [
        format!(r".\{name}"),
        format!(r"\\?\Volume{{0eba351e-5634-46d6-a8cf-4ddc2d6ac0b9}}\{folder}\{name}"),
        format!(r"C:\{folder}\{name}"),
    ];
    assert_eq!(hints, expected);
    assert_eq!(check_blocks(&file).unwrap().present, 32);
}

#[test]
fn chains_read_as_independent_readers_read_them() {
    let Some(folder) = fixture_folder() else {
        return;
    };
    let expected = std::fs::read_to_string(folder.join("EXPECTED.tsv")).unwrap();
    let mut tried = 0;
    for line in expected.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.split('\t');
        let (chain, size) = (fields.next().unwrap(), fields.next().unwrap());
        let sha256 = fields.next().unwrap();
        let size: u64 = size.parse().unwrap();
        // A disk of 10 GiB would take as long as all others together.
        if !chain.ends_with("vhdx") || size > 2 * GIB {
            continue;
        }
        let (set, names) = chain.split_once('/').unwrap();
        let packed = |name| {
            let set = folder.join(set);
            let kinds = ["gz", "bz2"].map(|kind| set.join(format!("{name}.{kind}")));
            kinds.into_iter().find(|path| path.exists()).unwrap()
        };
        let files: Option<Vec<_>> = names.split(',').map(|name| unpack(&packed(name))).collect();
        let Some(files) = files else { continue };
        let chain_read = Chain::open(files);
        assert_eq!(chain_read.size(), size, "{chain}");
        assert_eq!(chain_read.sha256(), sha256, "{chain}");
        tried += 1;
    }
    assert!(tried >= 12, "only {tried} chains were found");
}

#[test]
fn the_locator_that_windows_wrote_is_written_again_to_the_byte() {
    let Some(folder) = fixture_folder() else {
        return;
    };
    let Some(file) = unpack(&folder.join("dfvfs/fat-differential.vhdx.gz")) else {
        return;
    };
    let disk = Disk::read(&file).unwrap();
    let locator = disk.metadata.locator.as_ref().unwrap();
    let bytes = locator.with_paths(&locator.paths()).to_bytes().unwrap();
    assert_eq!(bytes.len(), 674);
    let mut there = vec![0; 674];
    file.read_exact_at(&mut there, 0x21_0028).unwrap();
    assert_eq!(bytes, there);
    assert!(relink(&file, &locator.paths()).unwrap().is_empty());
}

#[test]
fn a_damaged_header_of_windows_is_told_from_its_twin() {
    let Some(folder) = fixture_folder() else {
        return;
    };
    let Some(file) = unpack(&folder.join("dfvfs/fat-parent.vhdx.gz")) else {
        return;
    };
    let mut bytes = vec![0; file.len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes[0x1_0010] ^= 1;
    let info = read_info(&bytes).unwrap();
    let [remark] = info.remarks.as_slice() else {
        panic!("{:?}", info.remarks)
    };
    assert_eq!(remark.kind, RemarkKind::HeaderCopy);
    assert!(
        remark.text.starts_with("header at 0x10000: checksum is 0x"),
        "{}",
        remark.text
    );
    assert!(
        remark.text.ends_with("the copy at 0x20000 was used"),
        "{}",
        remark.text
    );
}
