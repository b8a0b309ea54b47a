//! From a parser's line and column to a path of keys: `vms[0].files[2].path`.

use std::fmt::Write;

/// Keys are shown up to this many characters.
const SHOWN: usize = 40;

enum Level {
    /// Inside an object, at the value of this key.
    Object(Option<String>),
    /// Inside an array, at this position.
    Array(usize),
}

/// Returns where in the JSON `text` a line and column (both from 1) are; `top level` outside of
/// everything.
pub(super) fn place_at(text: &[u8], line: usize, column: usize) -> String {
    let lines = text.split_inclusive(|&byte| byte == b'\n');
    let before: usize = lines.take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    let end = before.saturating_add(column).min(text.len());
    shown(&levels(text.get(..end).unwrap_or(text)))
}

fn levels(text: &[u8]) -> Vec<Level> {
    let mut levels = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'{' => levels.push(Level::Object(None)),
            b'[' => levels.push(Level::Array(0)),
            b'}' | b']' => drop(levels.pop()),
            b',' => next_item(&mut levels),
            b'"' => {
                let len = string_len(rest);
                name_value(&mut levels, &rest[..len]);
                rest = rest.get(len + 1..).unwrap_or_default();
            }
            _ => {}
        }
    }
    levels
}

fn next_item(levels: &mut [Level]) {
    match levels.last_mut() {
        Some(Level::Object(key)) => *key = None,
        Some(Level::Array(at)) => *at += 1,
        None => {}
    }
}

fn name_value(levels: &mut [Level], name: &[u8]) {
    if let Some(Level::Object(key @ None)) = levels.last_mut() {
        // Four bytes at most make a character: enough of the name to show, however long it is.
        let start = &name[..name.len().min(4 * SHOWN)];
        *key = Some(String::from_utf8_lossy(start).chars().take(SHOWN).collect());
    }
}

/// Returns how many bytes stand before the quote that closes the string.
fn string_len(text: &[u8]) -> usize {
    let mut escaped = false;
    let close = text.iter().position(|&byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    close.unwrap_or(text.len())
}

fn shown(levels: &[Level]) -> String {
    let mut place = String::new();
    for level in levels {
        match level {
            Level::Object(Some(key)) if place.is_empty() => place.push_str(key),
            Level::Object(Some(key)) => {
                place.push('.');
                place.push_str(key);
            }
            Level::Object(None) => {}
            // Writing into a String cannot fail.
            Level::Array(at) => drop(write!(place, "[{at}]")),
        }
    }
    if place.is_empty() {
        place.push_str("top level");
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_by_keys_and_positions() {
        let text = br#"{"a": {"x": "}],\""}, "vms": [1, {"files": [
            {"path": "p"}, {"path": 7}]}]}"#;
        assert_eq!(place_at(text, 2, 37), "vms[1].files[1].path");
        assert_eq!(place_at(text, 2, 38), "vms[1].files[1]");
        assert_eq!(place_at(text, 1, 20), "a");
        assert_eq!(place_at(text, 1, 0), "top level");
        assert_eq!(place_at(text, 99, 99), "top level");
    }

    #[test]
    fn no_text_makes_it_panic() {
        for text in ["", "\"", "\\", "]]]}", "{\"a", "[,,,", "\"\\"] {
            for column in 0..6 {
                place_at(text.as_bytes(), 1, column);
            }
        }
    }
}
