//! A disk that can be relinked keeps its ids and says the new paths; store form is a fixed point.
#![no_main]

use labpack::formats::{self, ParentPaths};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: Vec<u8>| {
    let paths = ParentPaths {
        relative: Some(r"..\RefDisk\base.vhdx".to_owned()),
        absolute: Some(r"D:\RefDisk\base.vhdx".to_owned()),
        volume: None,
    };
    if let Ok(patch) = formats::relink(&bytes, &paths) {
        let before = formats::read_info(&bytes).expect("it was relinked");
        let mut after = bytes.clone();
        patch.apply_to_vec(&mut after).expect("a patch fits its file");
        let info = formats::read_info(&after).expect("a relinked disk reads");
        assert_eq!(info.own_id, before.own_id);
        assert_eq!(info.parent.map(|parent| parent.id), before.parent.map(|parent| parent.id));
        assert!(formats::relink(&after, &paths).expect("it still has a parent").is_empty());
    }
    if let Ok(patch) = formats::store_form(&bytes, "base.0123456789ab.vhdx") {
        let mut after = bytes.clone();
        patch.apply_to_vec(&mut after).expect("a patch fits its file");
        assert_eq!(after.len(), bytes.len());
        let again = formats::store_form(&after, "base.0123456789ab.vhdx").expect("store form is a disk");
        let mut twice = after.clone();
        again.apply_to_vec(&mut twice).expect("a patch fits its file");
        assert!(twice == after, "store form changes when it is made again");
    }
});
