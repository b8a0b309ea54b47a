//! How a child at the destination names its parent: text only, no disk is looked at.

use std::path::Path;

use crate::{
    base::{RelPath, fold_case},
    formats::ParentPaths,
};

/// An absolute folder or file, as text taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    start: Start,
    parts: Vec<String>,
}

/// What an absolute path begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Start {
    /// `/`
    Root,
    /// `D:`
    Drive(char),
    /// `\\server\share`
    Share(String, String),
}

impl Start {
    /// Tells whether a relative path leads from one to the other.
    fn joins(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Share(server, share), Self::Share(other_server, other_share)) => {
                fold_case(server) == fold_case(other_server)
                    && fold_case(share) == fold_case(other_share)
            }
            _ => self == other,
        }
    }
}

impl Location {
    /// Takes apart a path as Windows writes it: `D:\Labs`, `\\server\share\Labs`, either also
    /// behind `\\?\`. `None` for one that is relative or names a device.
    #[must_use]
    pub fn windows(text: &str) -> Option<Self> {
        let text = text.replace('/', r"\");
        if let Some(rest) = text.strip_prefix(r"\\?\") {
            return match strip_unc(rest) {
                Some(share) => on_share(share),
                None => on_drive(rest),
            };
        }
        match text.strip_prefix(r"\\") {
            Some(device) if device.starts_with('.') => None,
            Some(share) => on_share(share),
            None => on_drive(&text),
        }
    }

    /// Takes apart a path as POSIX systems write it; `None` for one that is relative.
    #[must_use]
    pub fn unix(text: &str) -> Option<Self> {
        let parts = parts(text.strip_prefix('/')?, '/');
        Some(Self {
            start: Start::Root,
            parts,
        })
    }

    /// Takes apart an absolute path of this system; `None` where it is not Unicode.
    #[must_use]
    pub fn here(path: &Path) -> Option<Self> {
        let text = path.to_str()?;
        if cfg!(windows) {
            Self::windows(text)
        } else {
            Self::unix(text)
        }
    }

    /// Returns the place of `path` below this folder.
    #[must_use]
    pub fn below(&self, path: &RelPath) -> Self {
        let mut place = self.clone();
        place.parts.extend(path.parts().map(str::to_owned));
        place
    }

    /// Returns the file called `name` in this folder.
    #[must_use]
    pub fn file(&self, name: &str) -> Self {
        let mut place = self.clone();
        place.parts.push(name.to_owned());
        place
    }

    /// Returns the folder that this file is in.
    #[must_use]
    pub fn folder(&self) -> Self {
        let mut place = self.clone();
        place.parts.pop();
        place
    }

    /// Returns the path, without `\\?\`.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.start {
            Start::Root => format!("/{}", self.parts.join("/")),
            Start::Drive(letter) => format!(r"{letter}:\{}", self.parts.join(r"\")),
            Start::Share(server, share) if self.parts.is_empty() => format!(r"\\{server}\{share}"),
            Start::Share(server, share) => {
                format!(r"\\{server}\{share}\{}", self.parts.join(r"\"))
            }
        }
    }

    fn same_part(&self, one: &str, other: &str) -> bool {
        one == other || (self.start != Start::Root && fold_case(one) == fold_case(other))
    }

    /// Says how to get from this folder to `file`: so many folders up, then by these parts.
    fn way_to<'a>(&self, file: &'a Self) -> Option<(usize, &'a [String])> {
        if !self.start.joins(&file.start) {
            return None;
        }
        let pairs = self.parts.iter().zip(&file.parts);
        let shared = pairs
            .take_while(|(one, other)| self.same_part(one, other))
            .count();
        let ups = self.parts.len().checked_sub(shared)?;
        Some((ups, file.parts.get(shared..)?))
    }

    /// Returns the path of this place below `folder`, parts separated by `/`; `None` where it is
    /// not in it.
    #[must_use]
    pub fn inside(&self, folder: &Self) -> Option<String> {
        match folder.way_to(self)? {
            (0, down) => Some(down.join("/")),
            _ => None,
        }
    }

    /// Returns the path from this folder to `file`, as Windows writes it: `.\base.vhdx`,
    /// `..\..\RefDisk\base.vhdx`. `None` from one drive or share to another.
    #[must_use]
    pub fn relative(&self, file: &Self) -> Option<String> {
        let (ups, down) = self.way_to(file)?;
        let mut text = if ups == 0 {
            r".\".to_owned()
        } else {
            r"..\".repeat(ups)
        };
        text.push_str(&down.join(r"\"));
        Some(text)
    }
}

fn parts(text: &str, separator: char) -> Vec<String> {
    let mut parts = Vec::new();
    for part in text.split(separator) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part.to_owned()),
        }
    }
    parts
}

fn strip_unc(text: &str) -> Option<&str> {
    let (head, rest) = text.split_at_checked(4)?;
    head.eq_ignore_ascii_case(r"UNC\").then_some(rest)
}

fn on_share(text: &str) -> Option<Location> {
    let mut pieces = text.splitn(3, '\\').filter(|piece| !piece.is_empty());
    let (server, share) = (pieces.next()?, pieces.next()?);
    Some(Location {
        start: Start::Share(server.to_owned(), share.to_owned()),
        parts: parts(pieces.next().unwrap_or_default(), '\\'),
    })
}

fn on_drive(text: &str) -> Option<Location> {
    let letter = text.chars().next().filter(char::is_ascii_alphabetic)?;
    let rest = text.get(1..)?.strip_prefix(':')?;
    // `D:` alone means the drive; `D:Labs` depends on where a shell last stood.
    if !rest.is_empty() && !rest.starts_with('\\') {
        return None;
    }
    Some(Location {
        start: Start::Drive(letter.to_ascii_uppercase()),
        parts: parts(rest, '\\'),
    })
}

/// Where an unpack puts things.
#[derive(Debug, Clone)]
pub struct Roots {
    /// The folder that VM folders go into.
    pub dest: Location,
    /// The folder that RefDisks go into.
    pub store: Location,
    /// The destination's path on the Windows host that will use it, where labpack runs elsewhere.
    pub windows_dest: Option<Location>,
}

impl Roots {
    /// Returns the path of `place` as the host of the VMs will know it; `None` where that host is
    /// told of (`windows_dest`) and cannot reach the place from the destination.
    #[must_use]
    pub fn shown(&self, place: &Location) -> Option<Location> {
        let Some(windows) = &self.windows_dest else {
            return Some(place.clone());
        };
        let (ups, down) = self.dest.way_to(place)?;
        let mut shown = windows.clone();
        shown.parts.truncate(shown.parts.len().checked_sub(ups)?);
        shown.parts.extend(down.iter().cloned());
        Some(shown)
    }

    /// Returns the paths by which a child in `folder` names its parent, the file `parent`.
    #[must_use]
    pub fn parent_paths(&self, folder: &Location, parent: &Location) -> ParentPaths {
        ParentPaths {
            relative: folder.relative(parent),
            absolute: self.shown(parent).map(|place| place.text()),
            volume: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(text: &str) -> Location {
        Location::windows(text).unwrap()
    }

    fn unix(text: &str) -> Location {
        Location::unix(text).unwrap()
    }

    #[test]
    fn a_parent_beside_the_child_is_named_with_a_dot() {
        let folder = windows(r"D:\Labs\DC01\Virtual Hard Disks");
        let parent = folder.file("base.vhdx");
        assert_eq!(folder.relative(&parent).unwrap(), r".\base.vhdx");
    }

    #[test]
    fn the_way_up_has_as_many_dots_as_folders() {
        for (from, to, way) in [
            (
                r"D:\L\VM\Disks",
                r"D:\L\RefDisk\b.vhd",
                r"..\..\RefDisk\b.vhd",
            ),
            (r"D:\L\VM", r"D:\L\RefDisk\b.vhd", r"..\RefDisk\b.vhd"),
            (r"D:\L", r"D:\L\RefDisk\b.vhd", r".\RefDisk\b.vhd"),
            (r"D:\", r"D:\b.vhd", r".\b.vhd"),
            (r"D:\a\b\c", r"D:\b.vhd", r"..\..\..\b.vhd"),
            (
                r"\\srv\labs\VM",
                r"\\SRV\Labs\RefDisk\b.vhd",
                r"..\RefDisk\b.vhd",
            ),
        ] {
            assert_eq!(windows(from).relative(&windows(to)).unwrap(), way);
        }
        assert_eq!(
            unix("/labs/VM/Disks")
                .relative(&unix("/store/b.vhd"))
                .unwrap(),
            r"..\..\..\store\b.vhd"
        );
    }

    #[test]
    fn case_does_not_lead_up_on_windows_and_does_elsewhere() {
        let way = windows(r"d:\LABS\vm").relative(&windows(r"D:\Labs\VM\b.vhd"));
        assert_eq!(way.unwrap(), r".\b.vhd");
        let way = unix("/LABS/vm").relative(&unix("/Labs/vm/b.vhd"));
        assert_eq!(way.unwrap(), r"..\..\Labs\vm\b.vhd");
    }

    #[test]
    fn no_relative_path_leads_to_another_drive_or_share() {
        for (from, to) in [
            (r"D:\L\VM", r"E:\RefDisk\b.vhd"),
            (r"\\srv\labs\VM", r"\\srv\store\b.vhd"),
            (r"\\srv\labs\VM", r"\\other\labs\b.vhd"),
            (r"D:\L", r"\\srv\labs\b.vhd"),
        ] {
            assert_eq!(windows(from).relative(&windows(to)), None, "{from} {to}");
        }
    }

    #[test]
    fn absolute_paths_lose_the_long_path_prefix() {
        for (text, plain) in [
            (r"\\?\D:\Labs\b.vhdx", r"D:\Labs\b.vhdx"),
            (r"\\?\UNC\srv\share\b.vhdx", r"\\srv\share\b.vhdx"),
            (r"\\?\unc\srv\share", r"\\srv\share"),
            (r"d:/Labs/./x/../b.vhdx", r"D:\Labs\b.vhdx"),
            (r"D:\", r"D:\"),
            ("D:", r"D:\"),
        ] {
            assert_eq!(windows(text).text(), plain);
        }
    }

    #[test]
    fn what_is_no_absolute_path_is_refused() {
        for text in [
            "",
            "Labs",
            "D:Labs",
            r"\Labs",
            r"\\srv",
            r"\\.\D:\x",
            "/labs",
            "1:\\",
        ] {
            assert_eq!(Location::windows(text), None, "{text}");
        }
        assert_eq!(Location::unix("labs"), None);
    }

    fn roots(windows_dest: Option<&str>) -> Roots {
        Roots {
            dest: unix("/mnt/d/Labs"),
            store: unix("/mnt/d/RefDisk"),
            windows_dest: windows_dest.map(windows),
        }
    }

    #[test]
    fn without_a_windows_path_the_absolute_one_is_this_systems() {
        let roots = roots(None);
        let folder = unix("/mnt/d/Labs/VM");
        let paths = roots.parent_paths(&folder, &roots.store.file("b.vhdx"));
        assert_eq!(paths.relative.unwrap(), r"..\..\RefDisk\b.vhdx");
        assert_eq!(paths.absolute.unwrap(), "/mnt/d/RefDisk/b.vhdx");
        assert_eq!(paths.volume, None);
    }

    #[test]
    fn with_a_windows_path_the_absolute_one_is_that_of_the_host() {
        let roots = roots(Some(r"D:\Labs"));
        let inside = roots.dest.file("b.vhdx");
        assert_eq!(roots.shown(&inside).unwrap().text(), r"D:\Labs\b.vhdx");
        let beside = roots.store.file("b.vhdx");
        assert_eq!(roots.shown(&beside).unwrap().text(), r"D:\RefDisk\b.vhdx");
    }

    #[test]
    fn a_place_above_the_hosts_drive_has_no_absolute_path() {
        let roots = roots(Some(r"D:\"));
        let paths = roots.parent_paths(&unix("/mnt/d/Labs"), &roots.store.file("b.vhdx"));
        assert_eq!(paths.absolute, None);
        assert!(paths.relative.is_some());
    }
}
