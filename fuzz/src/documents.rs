//! Documents: what a reader takes, it writes, and reads again as the same.

use labpack::{manifest, pack, plan::Receipt, store, unpack};

/// The manifest of a pack.
pub fn manifest(input: &[u8]) {
    let read = match manifest::read(input) {
        Ok(read) => read,
        Err(error) => return show(&error),
    };
    let again = manifest::read(manifest::write(&read)).expect("what labpack writes, it reads");
    assert_eq!(again, read);
    assert_eq!(
        read.count(),
        Some(read.totals.clone()),
        "sums that were checked"
    );
}

/// The journal of a pack under way.
pub fn journal(input: &[u8]) {
    match pack::reread_journal(input) {
        Ok(written) => fixed(&written, |bytes| pack::reread_journal(bytes).ok()),
        Err(error) => show(&error),
    }
}

/// The index of a store.
pub fn index(input: &[u8]) {
    match store::reread_index(input) {
        Ok(written) => fixed(&written, |bytes| store::reread_index(bytes).ok()),
        Err(error) => show(&error),
    }
}

/// What an unpack remembers: its receipt, or the log of its run.
pub fn receipt(input: &[u8]) {
    let [files, links, intents] = unpack::read_log(input);
    let lines = input.split(|&byte| byte == b'\n').count();
    assert!(
        files + links + intents <= lines,
        "a line tells of one thing"
    );
    match Receipt::read(input) {
        Ok(read) => {
            let again = Receipt::read(written(&read)).expect("what labpack writes, it reads");
            assert_eq!(again, read);
            assert!(again.says_the_same(&read));
        }
        Err(error) => show(&error),
    }
}

fn written(receipt: &Receipt) -> Vec<u8> {
    let mut bytes = Vec::new();
    receipt
        .write(&mut bytes)
        .expect("what was read is not too much");
    bytes
}

/// Checks that `written` is read and comes out as the same bytes.
fn fixed(written: &[u8], reread: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let again = reread(written).expect("what labpack writes, it reads");
    assert!(
        again == written,
        "a document changes when it is written again"
    );
}

/// Makes the message: that must not fail either, nor be without end.
fn show(error: &dyn std::error::Error) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&error.to_string());
        cause = error.source();
    }
    assert!(
        !text.is_empty() && text.len() < 1 << 16,
        "{} bytes of message",
        text.len()
    );
}
