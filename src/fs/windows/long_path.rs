//! Paths as the system takes them.

use std::{
    io,
    os::windows::ffi::OsStrExt,
    path::{Component, Path, PathBuf, Prefix},
};

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

/// The absolute path as users write it, without `\\?\`, so that one place has one path; as it is
/// where it says something else without.
pub(in crate::fs) fn absolute(path: &Path) -> io::Result<PathBuf> {
    let whole = std::path::absolute(path)?;
    let Some(plain) = without_prefix(&whole) else {
        return Ok(whole);
    };
    // A name such as `nul` or `a.` is another one without the prefix.
    let same = std::path::absolute(&plain)? == plain;
    Ok(if same { plain } else { whole })
}

fn without_prefix(path: &Path) -> Option<PathBuf> {
    let mut parts = path.components();
    let Some(Component::Prefix(prefix)) = parts.next() else {
        return None;
    };
    let mut start = match prefix.kind() {
        Prefix::VerbatimDisk(letter) => PathBuf::from(format!("{}:", char::from(letter))),
        Prefix::VerbatimUNC(server, share) => {
            let mut start = std::ffi::OsString::from(r"\\");
            start.push(server);
            start.push(r"\");
            start.push(share);
            PathBuf::from(start)
        }
        _ => return None,
    };
    start.as_mut_os_string().push(r"\");
    start.push(
        parts
            .as_path()
            .strip_prefix(r"\")
            .unwrap_or(parts.as_path()),
    );
    Some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(path: &str) -> String {
        absolute(Path::new(path))
            .unwrap()
            .into_os_string()
            .into_string()
            .unwrap()
    }

    #[test]
    fn arguments_are_taken_as_windows_takes_them() {
        let here = taken(".");
        let drive = &here[..2];
        for (given, expected) in [
            ("lab/vm", format!(r"{here}\lab\vm")),
            (r"\lab", format!(r"{drive}\lab")),
            (&format!("{drive}lab"), format!(r"{here}\lab")),
            ("D:/a/../b/./c", r"D:\b\c".to_owned()),
            ("//server/share/lab", r"\\server\share\lab".to_owned()),
            (r"\\?\D:\labs\LABX", r"D:\labs\LABX".to_owned()),
            (r"\\?\D:\", r"D:\".to_owned()),
            (
                r"\\?\UNC\server\share\lab",
                r"\\server\share\lab".to_owned(),
            ),
            (r"\\?\D:\labs\a.", r"\\?\D:\labs\a.".to_owned()),
            (r"\\?\D:\a\..\b", r"\\?\D:\a\..\b".to_owned()),
        ] {
            assert_eq!(taken(given), expected, "{given}");
        }
    }

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
