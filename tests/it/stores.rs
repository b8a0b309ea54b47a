//! A store that more than one lab lives off.

use labpack::{
    formats::DiskFormat,
    pack::{self, PackError},
    unpack::{self, LinkMode},
};

use crate::support::{Watch, labs, tree};

#[test]
fn restore_leaves_refdisks_to_a_lab_that_was_linked_to_them() {
    let (folder, watch) = (tempfile::tempdir().unwrap(), Watch::default());
    let (lab, vms) = (folder.path().join("LABX"), folder.path().join("vms"));
    labs::on_one_parent(&lab, DiskFormat::Vhdx, 2);
    let before = tree(&lab);
    let request = pack::Request {
        exports: vec![lab.clone()],
        ..pack::Request::default()
    };
    pack::pack(&request, &watch.run()).unwrap();
    let linked = unpack::Request {
        store: Some(lab.join("RefDisk")),
        link: LinkMode::Relocate,
        ..unpack::Request::new(&lab, &vms)
    };
    unpack::unpack(&linked, &watch.run()).unwrap();

    let packed = tree(&lab);
    let restore = pack::RestoreRequest {
        pack: lab.clone(),
        ..pack::RestoreRequest::default()
    };
    let Err(PackError::Refused(findings)) = pack::restore(&restore, &watch.run()) else {
        panic!("the parents of {} were taken away", vms.display());
    };
    assert!(
        findings
            .iter()
            .any(|finding| finding.message.contains("vms")),
        "{findings}"
    );
    assert_eq!(tree(&lab), packed);

    std::fs::remove_dir_all(&vms).unwrap();
    pack::restore(&restore, &watch.run()).unwrap();
    assert_eq!(tree(&lab), before);
}
