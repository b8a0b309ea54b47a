//! Paths as they can be typed again.

use std::path::Path;

/// Returns `path` as it can be typed into this system's shell: on Windows into PowerShell, and
/// into the old command prompt where the path has neither `$` nor a backtick.
#[must_use]
pub fn quoted(path: &Path) -> String {
    quoted_for(cfg!(windows), &path.display().to_string())
}

/// What PowerShell takes for a quote besides `'`.
const SINGLE_QUOTES: [char; 4] = ['\u{2018}', '\u{2019}', '\u{201A}', '\u{201B}'];
/// What means something to PowerShell between double quotes.
const EXPANDED: [char; 5] = ['$', '`', '\u{201C}', '\u{201D}', '\u{201E}'];

fn quoted_for(windows: bool, text: &str) -> String {
    let plain =
        |c: char| c.is_alphanumeric() || "._-/+=".contains(c) || windows && "\\:".contains(c);
    let bare = !text.is_empty() && !text.starts_with('-') && text.chars().all(plain);
    match (bare, windows) {
        (true, _) => text.to_owned(),
        (false, true) if text.contains(EXPANDED) => format!("'{}'", doubled(text)),
        (false, true) => format!("\"{text}\""),
        (false, false) => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// `text` with every single quote twice, as PowerShell wants it between single quotes.
fn doubled(text: &str) -> String {
    let quote = |c: char| c == '\'' || SINGLE_QUOTES.contains(&c);
    let twice = |c| std::iter::repeat_n(c, if quote(c) { 2 } else { 1 });
    text.chars().flat_map(twice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_blanks_and_quotes_can_be_typed_again() {
        assert_eq!(quoted_for(false, "/labs/a"), "/labs/a");
        assert_eq!(quoted_for(false, "/my labs/it's"), r"'/my labs/it'\''s'");
        assert_eq!(quoted_for(false, r"C:\x"), r"'C:\x'");
        assert_eq!(quoted_for(false, "/labs/$HOME"), "'/labs/$HOME'");
        assert_eq!(quoted_for(true, r"D:\labs\a"), r"D:\labs\a");
        assert_eq!(quoted_for(true, r"D:\my labs\it's"), r#""D:\my labs\it's""#);
        assert_eq!(quoted_for(true, r"D:\$it's"), r"'D:\$it''s'");
        assert_eq!(quoted_for(false, ""), "''");
        assert_eq!(quoted_for(true, "-n"), "\"-n\"");
    }
}
