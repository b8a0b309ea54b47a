//! What a copy leaves behind: alternate data streams.

use std::path::Path;

use crate::{
    base::RelPath,
    fs::{self, FsError},
    report::{Code, Finding},
};

/// What browsers and mail programs put on each file that they bring; nobody misses it.
const ORIGIN: &str = "Zone.Identifier";
/// So many names are told.
const TOLD: usize = 5;

/// Tells which alternate data streams of `file`, called `path`, a copy is without.
///
/// # Errors
/// What the system says.
pub fn streams_lost(file: &Path, path: &RelPath) -> Result<Option<Finding>, FsError> {
    Ok(finding(path, &fs::other_streams(file)?))
}

fn finding(path: &RelPath, streams: &[String]) -> Option<Finding> {
    let lost: Vec<_> = streams.iter().filter(|name| *name != ORIGIN).collect();
    if lost.is_empty() {
        return None;
    }
    let names: Vec<_> = lost
        .iter()
        .take(TOLD)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = if lost.len() > TOLD { " and others" } else { "" };
    let message = format!(
        "has alternate data streams that the copy is without: {}{more}",
        names.join(", ")
    );
    Some(
        Finding::warning(Code::StreamsLost, path, message)
            .next("keep the original if a program needs them; Hyper-V does not"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_streams_are_named_but_for_the_mark_of_a_download() {
        let path = RelPath::new("DC01/notes.txt").unwrap();
        let streams = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(finding(&path, &streams(&["Zone.Identifier"])), None);
        let found = finding(&path, &streams(&["Zone.Identifier", "owner"])).unwrap();
        assert_eq!(found.code, Code::StreamsLost);
        assert!(found.message.ends_with("is without: `owner`"), "{found}");
        let many = finding(&path, &streams(&["a", "b", "c", "d", "e", "f"])).unwrap();
        assert!(many.message.ends_with("`e` and others"), "{many}");
    }
}
