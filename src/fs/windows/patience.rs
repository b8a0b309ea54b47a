//! Waiting for somebody who stands in the way for a moment.

use std::{io, thread::sleep, time::Duration};

use windows_sys::Win32::Foundation::ERROR_SHARING_VIOLATION;

/// How often a deed is tried that a virus scanner stands in the way of, which looks at every new
/// file for a moment: for a second.
pub(super) const A_MOMENT: u32 = 20;
/// How often a deed is tried that waits for another labpack, which reads the same export and has
/// not yet seen that a file moved: for ten seconds.
pub(super) const A_WHILE: u32 = 200;

const PAUSE: Duration = Duration::from_millis(50);

/// Tries `deed` as many times, with a pause between, as long as its error is one that may pass.
pub(super) fn patiently<T>(
    tries: u32,
    may_pass: impl Fn(&io::Error) -> bool,
    deed: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    for _ in 1..tries {
        match deed() {
            Err(error) if may_pass(&error) => sleep(PAUSE),
            done => return done,
        }
    }
    deed()
}

/// Tells whether somebody has the file open, and does not share what was asked for.
pub(super) fn is_open_elsewhere(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ERROR_SHARING_VIOLATION.cast_signed())
}
