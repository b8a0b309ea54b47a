//! What a scan sees.

use super::*;

fn paths(inventory: &Inventory) -> Vec<&str> {
    let files = inventory.files.iter();
    files.map(|file| file.path.as_str()).collect()
}

fn codes(inventory: &Inventory) -> Vec<Code> {
    inventory.findings.iter().map(|f| f.code).collect()
}

#[test]
fn disks_are_told_by_their_signature_and_each_file_knows_its_vm() {
    let lab = Lab::new();
    lab.disk("DC01/Virtual Hard Disks/a.vhdx", &base(Vhdx, 1));
    lab.disk("DC01/Virtual Hard Disks/b.bin", &base(Vhd, 2));
    lab.write("DC01/Virtual Machines/x.vmcx", &[1; 4096]);
    lab.write("SQL/config.xml", b"<xml/>");
    lab.write("readme.txt", b"hello");
    let inventory = lab.scan();
    assert_eq!(
        paths(&inventory),
        [
            "DC01/Virtual Hard Disks/a.vhdx",
            "DC01/Virtual Hard Disks/b.bin",
            "DC01/Virtual Machines/x.vmcx",
            "SQL/config.xml",
            "readme.txt",
        ]
    );
    let formats: Vec<_> = inventory
        .files
        .iter()
        .map(|f| f.info().map(|i| i.format))
        .collect();
    assert_eq!(formats, [Some(Vhdx), Some(Vhd), None, None, None]);
    let vms: Vec<_> = inventory.files.iter().map(|f| f.vm).collect();
    assert_eq!(vms, [Some(0), Some(0), Some(0), Some(1), None]);
    assert_eq!(inventory.vms[1].name, "SQL");
    assert_eq!(inventory.folders.len(), 4);
    assert_eq!(codes(&inventory), []);
}

#[test]
fn labpacks_own_files_are_no_part_of_an_export() {
    let lab = Lab::new();
    lab.write("VM/config.xml", b"<xml/>");
    for own in [
        "labpack.json",
        "labpack.journal",
        "labpack-unpacked.json",
        "import-vms.ps1",
        "RefDisk/index.json",
    ] {
        lab.write(own, b"{}");
    }
    lab.disk("RefDisk/base.0123456789ab.vhdx", &base(Vhdx, 1));
    let inventory = lab.scan();
    assert_eq!(paths(&inventory), ["VM/config.xml"]);
    assert_eq!(inventory.folders.len(), 1);
    let own = &inventory.own;
    for stamp in [&own.manifest, &own.journal, &own.receipt, &own.script] {
        assert!(stamp.is_some());
    }
    assert_eq!(own.store.len(), 2);
    assert!(own.store[0].info().is_some());
}

#[test]
fn a_folder_or_script_of_that_name_that_somebody_else_made_is_part_of_the_export() {
    let lab = Lab::new();
    lab.disk("RefDisk/base.vhdx", &base(Vhdx, 1));
    lab.write("import-vms.ps1", b"Import-VM");
    let inventory = lab.scan();
    assert_eq!(paths(&inventory), ["RefDisk/base.vhdx", "import-vms.ps1"]);
}

#[test]
fn a_file_with_the_name_of_a_disk_that_is_none_is_a_warning() {
    let lab = Lab::new();
    lab.write("VM/a.vhdx", &[0; 4096]);
    lab.write("VM/b.AVHD", b"short");
    let inventory = lab.scan();
    assert_eq!(codes(&inventory), [Code::NotADisk; 2]);
    assert!(inventory.files.iter().all(|file| file.disk.is_none()));
    assert!(!inventory.findings.any_error());
}

#[test]
fn a_shared_disk_is_refused_and_guest_state_is_no_disk() {
    let lab = Lab::new();
    let mut set = b"vhdsetv1".to_vec();
    set.resize(4096, 0);
    lab.write("VM/shared.vhds", &set);
    lab.disk("VM/state.vmgs", &base(Vhd, 1));
    let inventory = lab.scan();
    assert_eq!(codes(&inventory), [Code::SharedDisk]);
    assert!(inventory.findings.any_error());
    assert!(inventory.files.iter().all(|file| file.disk.is_none()));
}

#[test]
fn a_damaged_disk_says_why_it_cannot_be_read() {
    let lab = Lab::new();
    let mut bytes = base(Vhdx, 1).to_bytes().unwrap();
    bytes[0x10000..0x30000].fill(0xEE);
    lab.write("VM/a.vhdx", &bytes);
    let inventory = lab.scan();
    let fault = inventory.files[0].disk.clone().unwrap().unwrap_err();
    assert_eq!(fault.code, Code::Corrupt);
    assert!(fault.message.contains("header"), "{}", fault.message);
}

#[test]
fn an_empty_folder_is_an_error_and_a_missing_one_stops_the_work() {
    let lab = Lab::new();
    assert_eq!(codes(&lab.scan()), [Code::EmptyExport]);
    let error = scan(&lab.path("gone"), &lab.run()).unwrap_err();
    assert!(error.to_string().contains("gone"), "{error}");
    lab.write("file", b"");
    assert!(scan(&lab.path("file"), &lab.run()).is_err());
}

#[test]
fn names_of_one_file_are_read_once() {
    let lab = Lab::new();
    lab.disk("A/a.vhdx", &base(Vhdx, 1));
    lab.scan();
    let once = lab.meter.totals().inspected;
    assert!(once > 0);
    system::hard_link(lab.path("A/a.vhdx"), lab.path("A/b.vhdx")).unwrap();
    let inventory = lab.scan();
    assert_eq!(lab.meter.totals().inspected, 2 * once);
    assert!(inventory.files.iter().all(|file| file.info().is_some()));
}

#[test]
fn a_scan_reads_headers_and_no_blocks() {
    let lab = Lab::new();
    let mut disk = base(Vhdx, 1);
    disk.virtual_size = 64 << 20;
    disk.data = vec![(0, vec![7; 40 << 20])];
    lab.disk("A/a.vhdx", &disk);
    lab.scan();
    let totals = lab.meter.totals();
    assert!(totals.inspected < 4 << 20, "{totals:?}");
    assert_eq!(totals.read, 0);
}

#[cfg(unix)]
#[test]
fn names_that_windows_cannot_keep_are_told_one_by_one() {
    let lab = Lab::new();
    lab.write("VM/config.xml", b"");
    system::write(lab.root().join("VM/a:b"), b"").unwrap();
    system::write(lab.root().join("VM/nul.txt"), b"").unwrap();
    lab.write("VM/Config.xml", b"");
    let _socket = std::os::unix::net::UnixListener::bind(lab.root().join("VM/socket")).unwrap();
    let inventory = lab.scan();
    let mut found = codes(&inventory);
    found.sort();
    assert_eq!(
        found,
        [
            Code::BadName,
            Code::BadName,
            Code::CaseCollision,
            Code::SpecialFile
        ]
    );
    let bad: Vec<_> = inventory.findings.iter().map(|f| f.path.as_str()).collect();
    assert!(bad.contains(&"VM/a:b"), "{bad:?}");
}

#[cfg(unix)]
#[test]
fn links_are_recorded_and_not_followed() {
    let lab = Lab::new();
    let outside = Lab::new();
    outside.disk("x.vhdx", &base(Vhdx, 1));
    lab.write("VM/config.xml", b"");
    std::os::unix::fs::symlink(outside.root(), lab.path("VM/out")).unwrap();
    let inventory = lab.scan();
    assert_eq!(paths(&inventory), ["VM/config.xml"]);
    let links: Vec<_> = inventory
        .links
        .iter()
        .map(|(path, _)| path.as_str())
        .collect();
    assert_eq!(links, ["VM/out"]);
    assert_eq!(inventory.links[0].1, outside.root());
}

struct Stop;

impl crate::base::Progress for Stop {
    fn cancelled(&self) -> bool {
        true
    }
}

#[test]
fn a_scan_stops_when_the_user_wants_it_to() {
    let lab = Lab::new();
    lab.write("VM/config.xml", b"");
    let run = Run {
        progress: &Stop,
        meter: &lab.meter,
    };
    let error = scan(&lab.root(), &run).unwrap_err();
    assert!(matches!(error, crate::fs::FsError::Cancelled(_)));
}
