//! Whatever the text is, the manifest's reader answers; what it takes it writes the same again.
#![no_main]

use labpack::manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = manifest::read(bytes) else { return };
    let written = manifest::write(&read);
    let again = manifest::read(&written).expect("what labpack writes, it reads");
    assert_eq!(again, read);
});
