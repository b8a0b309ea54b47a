//! What the text of a locator means: a place below the child's folder, on a drive, on a share.
//!
//! Text only. Parts are separated by `\` or `/`, `.` and `..` are taken off by text, dots and
//! blanks that end a part are dropped, all as Windows does it.

use std::path::{Component, Path, PathBuf};

use crate::{
    base::{RelPath, fold_case},
    formats::{HintKind, PathHint},
};

/// Whose paths have a meaning here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `D:\labs` leads somewhere, `/labs` does not.
    Windows,
    /// The other way round.
    Unix,
}

impl Style {
    /// The style of the system that labpack runs on.
    pub const HERE: Self = if cfg!(windows) {
        Self::Windows
    } else {
        Self::Unix
    };
}

/// What an absolute path begins with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Start {
    /// `/`
    Root,
    /// `D:\`, in upper case.
    Drive(char),
    /// `\\server\share`, case folded.
    Share(String, String),
}

/// An absolute path, taken apart. It need not exist.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// What it begins with.
    pub start: Start,
    /// Its parts, without `.` and `..`.
    pub parts: Vec<String>,
}

impl Place {
    /// Takes apart an absolute path as this system writes it; `None` for a device or volume path.
    #[must_use]
    pub fn of_system(path: &Path) -> Option<Self> {
        let mut start = path.has_root().then_some(Start::Root);
        let mut parts = Vec::new();
        for component in path.components() {
            match component {
                Component::Prefix(prefix) => start = Some(start_of(prefix.kind())?),
                Component::RootDir | Component::CurDir => {}
                Component::ParentDir => drop(parts.pop()),
                Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            }
        }
        Some(Self {
            start: start?,
            parts,
        })
    }

    /// Goes on from here by a path as this system writes it, such as a link's target.
    #[must_use]
    pub fn join_system(&self, path: &Path) -> Option<Self> {
        if path.is_absolute() {
            return Self::of_system(path);
        }
        let mut place = self.clone();
        for component in path.components() {
            match component {
                Component::Prefix(_) => return None,
                // Windows: the root of the drive that the link is on.
                Component::RootDir => place.parts.clear(),
                Component::CurDir => {}
                Component::ParentDir => drop(place.parts.pop()),
                Component::Normal(name) => place.parts.push(name.to_string_lossy().into_owned()),
            }
        }
        Some(place)
    }

    /// Returns it as this system writes it; `None` for one on a share, or of another system.
    #[must_use]
    pub fn to_local(&self) -> Option<PathBuf> {
        let mut path = match (&self.start, Style::HERE) {
            (Start::Root, Style::Unix) => PathBuf::from("/"),
            (Start::Drive(letter), Style::Windows) => PathBuf::from(format!(r"{letter}:\")),
            _ => return None,
        };
        path.extend(&self.parts);
        Some(path)
    }

    /// Returns the place of `path` below this one.
    #[must_use]
    pub fn below(&self, path: &RelPath) -> Self {
        let mut place = self.clone();
        place.parts.extend(path.parts().map(str::to_owned));
        place
    }

    /// Returns the folder that it is in.
    #[must_use]
    pub fn folder(&self) -> Self {
        let mut place = self.clone();
        place.parts.pop();
        place
    }

    /// Returns the parts by which it lies below `root`, which case may not tell apart.
    #[must_use]
    pub fn strip(&self, root: &Self) -> Option<&[String]> {
        let (top, rest) = self.parts.split_at_checked(root.parts.len())?;
        let same = |(a, b): (&String, &String)| a == b || fold_case(a) == fold_case(b);
        (self.start == root.start && top.iter().zip(&root.parts).all(same)).then_some(rest)
    }

    /// Goes on from here by `text`: one part after the other, `..` up as far as there is an up.
    fn go(&mut self, text: &str) -> bool {
        for part in text.split(['\\', '/']) {
            match part {
                "" | "." => {}
                ".." => drop(self.parts.pop()),
                _ => match name(part) {
                    Some(name) => self.parts.push(name.to_owned()),
                    None => return false,
                },
            }
        }
        true
    }
}

fn start_of(prefix: std::path::Prefix<'_>) -> Option<Start> {
    use std::path::Prefix;
    match prefix {
        Prefix::Disk(letter) | Prefix::VerbatimDisk(letter) => {
            Some(Start::Drive(char::from(letter).to_ascii_uppercase()))
        }
        Prefix::UNC(server, share) | Prefix::VerbatimUNC(server, share) => Some(Start::Share(
            fold_case(&server.to_string_lossy()),
            fold_case(&share.to_string_lossy()),
        )),
        Prefix::Verbatim(_) | Prefix::DeviceNS(_) => None,
    }
}

/// The name that Windows takes `part` for; none where a stream or a wildcard is meant.
fn name(part: &str) -> Option<&str> {
    let name = part.trim_end_matches(['.', ' ']);
    let odd = |c: char| c.is_control() || ":*?\"<>|".contains(c);
    (!name.is_empty() && !name.contains(odd)).then_some(name)
}

/// What a hint means, before anything is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This place.
    At(Place),
    /// A device, or a share while this system has no shares: never to be opened.
    Outside,
    /// A drive, volume or root that another kind of system has.
    NotHere,
    /// No file can have this path.
    NoPath,
}

/// Tells what `hint` means in a child that was opened from `folder`.
#[must_use]
pub fn target(hint: &PathHint, folder: &Place, style: Style) -> Target {
    if hint.kind == HintKind::Url {
        return url(&hint.path, folder, style);
    }
    read(&hint.path, folder, style)
}

/// Reads a path whichever way it is written: writers put relative paths into absolute slots.
fn read(text: &str, folder: &Place, style: Style) -> Target {
    let text = text.trim_end_matches('\0');
    if text.is_empty() {
        return Target::NoPath;
    }
    let backslashed = text.replace('/', "\\");
    if let Some(rest) = backslashed.strip_prefix(r"\\?\") {
        return verbatim(rest, style);
    }
    if backslashed.starts_with(r"\\.\") {
        return Target::Outside;
    }
    if let Some(share) = backslashed.strip_prefix(r"\\") {
        return on_share(share, style);
    }
    if let Some((letter, rest)) = drive(&backslashed) {
        return on_drive(letter, rest, style);
    }
    if backslashed.starts_with('\\') {
        return rooted(text, folder, style);
    }
    let mut place = folder.clone();
    at(place.go(text), place)
}

fn at(is_path: bool, place: Place) -> Target {
    if is_path {
        Target::At(place)
    } else {
        Target::NoPath
    }
}

/// A path after `\\?\`.
fn verbatim(rest: &str, style: Style) -> Target {
    if let Some(share) = strip_ignoring_case(rest, r"UNC\") {
        return on_share(share, style);
    }
    if let Some((letter, rest)) = drive(rest) {
        return on_drive(letter, rest, style);
    }
    match strip_ignoring_case(rest, "Volume{") {
        Some(_) => Target::NotHere,
        None => Target::Outside,
    }
}

fn strip_ignoring_case<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start).then_some(rest)
}

/// Takes off `D:`.
fn drive(text: &str) -> Option<(char, &str)> {
    let letter = text.chars().next().filter(char::is_ascii_alphabetic)?;
    let rest = text[1..].strip_prefix(':')?;
    Some((letter.to_ascii_uppercase(), rest))
}

fn on_drive(letter: char, rest: &str, style: Style) -> Target {
    if style == Style::Unix {
        return Target::NotHere;
    }
    if !rest.starts_with('\\') {
        // `D:base.vhdx` depends on where a shell last stood on that drive.
        return Target::NoPath;
    }
    let mut place = Place {
        start: Start::Drive(letter),
        parts: Vec::new(),
    };
    at(place.go(rest), place)
}

fn on_share(text: &str, style: Style) -> Target {
    if style == Style::Unix {
        return Target::Outside;
    }
    let mut parts = text.splitn(3, '\\');
    let (Some(server), Some(share)) = (parts.next(), parts.next()) else {
        return Target::Outside;
    };
    let mut place = Place {
        start: Start::Share(fold_case(server), fold_case(share)),
        parts: Vec::new(),
    };
    at(place.go(parts.next().unwrap_or("")), place)
}

/// A path that begins with one separator: the root on Unix, the child's own drive on Windows.
fn rooted(text: &str, folder: &Place, style: Style) -> Target {
    if style == Style::Unix && text.starts_with('\\') {
        return Target::NotHere;
    }
    if style == Style::Windows && folder.start == Start::Root {
        return Target::NotHere;
    }
    let mut place = Place {
        start: folder.start.clone(),
        parts: Vec::new(),
    };
    at(place.go(text), place)
}

/// Reads `file:///…`, `file:./…`, or what writers make of them.
fn url(text: &str, folder: &Place, style: Style) -> Target {
    let Some(rest) = strip_ignoring_case(text, "file:") else {
        return read(text, folder, style);
    };
    let Some(rest) = percent_decoded(rest) else {
        return Target::NoPath;
    };
    let Some(after) = rest.strip_prefix("//") else {
        return read(&rest, folder, style);
    };
    let after = strip_ignoring_case(after, "localhost").unwrap_or(after);
    if after.starts_with('.') {
        return read(after, folder, style);
    }
    match after.strip_prefix('/') {
        Some(path) if drive(path).is_some() => read(path, folder, style),
        // A third slash or more would read as a share.
        Some(path) => read(&format!("/{}", path.trim_start_matches('/')), folder, style),
        None => Target::Outside,
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        let (start, rest) = match drive(text) {
            Some((letter, rest)) => (Start::Drive(letter), rest),
            None => (Start::Root, text),
        };
        let mut place = Place {
            start,
            parts: Vec::new(),
        };
        assert!(place.go(rest));
        place
    }

    fn hint(kind: HintKind, path: &str) -> PathHint {
        let path = path.to_owned();
        PathHint { kind, path }
    }

    fn on_windows(kind: HintKind, path: &str) -> Target {
        target(&hint(kind, path), &place(r"D:\lab\vm"), Style::Windows)
    }

    fn on_unix(kind: HintKind, path: &str) -> Target {
        target(&hint(kind, path), &place("/lab/vm"), Style::Unix)
    }

    #[test]
    fn a_relative_path_goes_on_from_the_folder_of_the_child_with_either_separator() {
        for (text, expected) in [
            (r".\base.vhdx", "/lab/vm/base.vhdx"),
            ("../RefDisk/base.vhdx", "/lab/RefDisk/base.vhdx"),
            (r"..\.\RefDisk/base.vhdx", "/lab/RefDisk/base.vhdx"),
            (r"..\..\..\..\x", "/x"),
            (r".\base.vhdx. .", "/lab/vm/base.vhdx"),
            ("base.vhdx\0", "/lab/vm/base.vhdx"),
        ] {
            for kind in [HintKind::Relative, HintKind::Absolute, HintKind::Name] {
                assert_eq!(on_unix(kind, text), Target::At(place(expected)), "{text}");
            }
        }
    }

    #[test]
    fn a_drive_means_something_on_windows_only_with_or_without_the_long_path_prefix() {
        for text in [
            r"d:\lab\base.vhdx",
            r"\\?\D:\lab\base.vhdx",
            "D:/lab/x/../base.vhdx",
        ] {
            let expected = Target::At(place(r"D:\lab\base.vhdx"));
            assert_eq!(on_windows(HintKind::Absolute, text), expected, "{text}");
            assert_eq!(on_unix(HintKind::Absolute, text), Target::NotHere, "{text}");
        }
        assert_eq!(
            on_windows(HintKind::Absolute, "D:base.vhdx"),
            Target::NoPath
        );
        assert_eq!(
            on_windows(HintKind::Relative, r"\base.vhdx"),
            Target::At(place(r"D:\base.vhdx"))
        );
    }

    #[test]
    fn a_posix_path_means_something_on_unix_only() {
        assert_eq!(
            on_unix(HintKind::Absolute, "/a/b.vhd"),
            Target::At(place("/a/b.vhd"))
        );
        assert_eq!(on_unix(HintKind::Absolute, r"\a\b.vhd"), Target::NotHere);
    }

    #[test]
    fn shares_devices_and_volumes_are_never_opened_where_they_are_not_known() {
        for text in [
            r"\\srv\share\x",
            r"\\?\UNC\srv\share\x",
            r"\\.\PhysicalDrive0",
            r"\\?\GLOBALROOT\x",
        ] {
            assert_eq!(on_unix(HintKind::Absolute, text), Target::Outside, "{text}");
        }
        assert_eq!(on_windows(HintKind::Absolute, r"\\.\C:\x"), Target::Outside);
        let Target::At(share) = on_windows(HintKind::Absolute, r"\\Srv\Share\x") else {
            panic!("no place");
        };
        assert_eq!(share.start, Start::Share("SRV".into(), "SHARE".into()));
        for text in [r"\\?\Volume{0}\x.vhdx", r"\\?\volume{0}\x.vhdx"] {
            assert_eq!(on_windows(HintKind::Volume, text), Target::NotHere);
        }
    }

    #[test]
    fn streams_wildcards_and_nothing_are_no_paths() {
        for text in ["", "\0", "a.vhdx:stream", r".\*.vhdx", r".\...", "a\u{1}b"] {
            assert_eq!(
                on_unix(HintKind::Relative, text),
                Target::NoPath,
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_url_is_decoded_and_may_be_relative() {
        for (text, expected) in [
            ("file:./my%20base.vhd", "/lab/vm/my base.vhd"),
            ("file://./base.vhd", "/lab/vm/base.vhd"),
            ("file:///a/b.vhd", "/a/b.vhd"),
            ("FILE://localhost/a/b.vhd", "/a/b.vhd"),
            ("file:////a/b.vhd", "/a/b.vhd"),
            ("base.vhd", "/lab/vm/base.vhd"),
        ] {
            assert_eq!(
                on_unix(HintKind::Url, text),
                Target::At(place(expected)),
                "{text}"
            );
        }
        assert_eq!(on_unix(HintKind::Url, "file://srv/x"), Target::Outside);
        assert_eq!(on_unix(HintKind::Url, "file:///C:/x"), Target::NotHere);
        assert_eq!(
            on_windows(HintKind::Url, "file:///D:/x"),
            Target::At(place(r"D:\x"))
        );
        for bad in ["file:%", "file:%zz", "file:%ff"] {
            assert_eq!(on_unix(HintKind::Url, bad), Target::NoPath, "{bad}");
        }
    }

    #[test]
    fn a_place_below_a_root_is_found_whatever_the_case() {
        let root = place(r"D:\Lab");
        assert_eq!(
            place(r"D:\LAB\vm\x").strip(&root),
            Some(&["vm".to_owned(), "x".to_owned()][..])
        );
        assert_eq!(place(r"D:\Labs\x").strip(&root), None);
        assert_eq!(place(r"E:\Lab\x").strip(&root), None);
        assert_eq!(place(r"D:\").strip(&root), None);
    }

    #[test]
    fn a_path_of_this_system_comes_apart() {
        let here = std::env::temp_dir().join("x").join("..").join("y");
        let place = Place::of_system(&here).unwrap();
        assert_eq!(place.parts.last().map(String::as_str), Some("y"));
        assert!(!place.parts.contains(&"x".to_owned()));
        assert_eq!(Place::of_system(Path::new("relative")), None);
        let beside = place.folder().join_system(Path::new("../z"));
        assert_eq!(beside, Place::of_system(&here.join("../../z")));
        assert_eq!(place.join_system(&here), Some(place.clone()));
    }
}
