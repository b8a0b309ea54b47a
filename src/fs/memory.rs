//! Memory, as the system hands it out.

#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "the allocator is asked in C")
)]

/// Pieces of memory from this size on, 1 MiB, go back to the system when they are freed. Buffers
/// that many files are read into are shorter: they are used again and again.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: std::ffi::c_int = 1 << 20;
/// As much room that shorter pieces have left, 2 MiB, stays for the next ones. Less, and buffers
/// would be given back and asked for again with each file.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: std::ffi::c_int = 2 << 20;

/// Lets each large piece of memory go back to the system as soon as it is freed. A program calls
/// this once, when it begins.
///
/// By itself glibc keeps as much as the longest list ever was, for a longer one that may come: of
/// very many files there are lists that stand for a moment only. Other systems need no word.
pub fn return_large_allocations() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (limit, bytes) in [
        (libc::M_MMAP_THRESHOLD, LARGE),
        (libc::M_TRIM_THRESHOLD, KEPT),
    ] {
        // SAFETY: it takes two numbers; one that it does not like changes nothing.
        unsafe {
            libc::mallopt(limit, bytes);
        }
    }
}
