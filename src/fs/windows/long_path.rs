//! Paths as the system takes them.

use std::{io, os::windows::ffi::OsStrExt, path::Path};

use super::not_a;

/// The longest path that goes to the system as it is.
const SHORT: usize = 240;

/// The path as the system takes it: zero at the end, `\\?\` in front where it is long.
pub(super) fn wide(path: &Path) -> io::Result<Vec<u16>> {
    let whole = std::path::absolute(path)?;
    let mut units: Vec<u16> = whole.as_os_str().encode_wide().collect();
    if units.contains(&0) {
        return Err(not_a("the path has a zero character in it"));
    }
    let starts = |text: &str| {
        text.encode_utf16()
            .eq(units.iter().copied().take(text.len()))
    };
    if units.len() >= SHORT && !starts(r"\\?\") && !starts(r"\\.\") {
        let (prefix, drop) = if starts(r"\\") {
            (r"\\?\UNC\", 2)
        } else {
            (r"\\?\", 0)
        };
        units.splice(..drop, prefix.encode_utf16());
    }
    units.push(0);
    Ok(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> String {
        let mut units = wide(Path::new(path)).unwrap();
        assert_eq!(units.pop(), Some(0));
        String::from_utf16(&units).unwrap()
    }

    #[test]
    fn long_paths_get_the_prefix_and_short_ones_do_not() {
        let long = "x".repeat(250);
        assert_eq!(text(r"C:\a/b\..\c"), r"C:\a\c");
        assert_eq!(text(&format!(r"C:\{long}")), format!(r"\\?\C:\{long}"));
        assert_eq!(
            text(&format!(r"\\srv\lab\{long}")),
            format!(r"\\?\UNC\srv\lab\{long}")
        );
        let prefixed = format!(r"\\?\C:\{long}");
        assert_eq!(text(&prefixed), prefixed);
    }
}
