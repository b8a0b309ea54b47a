//! Whatever the bytes are, the readers of both formats answer: no panic, no endless work.
#![no_main]

use std::sync::Arc;

use labpack::formats;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: Vec<u8>| {
    let _ = formats::recognise(&bytes);
    let _ = formats::check_blocks(&bytes);
    if let Ok(form) = formats::canonical_form(&bytes) {
        let len = bytes.len() as u64;
        assert!(form.masks.iter().all(|mask| mask.end() <= len && !mask.is_empty()));
        assert!(form.masks.windows(2).all(|pair| pair[0].end() <= pair[1].start()));
    }
    let Ok(info) = formats::read_info(&bytes) else { return };
    let Ok(layer) = formats::open_layer(Arc::new(bytes)) else { return };
    let mut offset = 0;
    for _ in 0..64 {
        if offset >= info.virtual_size.0 {
            break;
        }
        let Ok(extent) = layer.extent(offset) else { break };
        assert!(extent.len > 0 && extent.len <= info.virtual_size.0 - offset);
        offset += extent.len;
    }
});
