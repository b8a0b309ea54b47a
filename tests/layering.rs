//! Who may import whom: the table of the architecture, held against every file of `src/`.
//!
//! A small reader of Rust's tokens finds the paths that a file names; comments, texts and
//! intra-doc links are not code and do not count. What a test module does to the disk is its
//! own business, what it imports is not.

#![expect(
    clippy::disallowed_methods,
    reason = "a test that reads the sources needs no fault injection"
)]

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Each stage, and the stages it may import.
const TABLE: &[(&str, &[&str])] = &[
    // words
    ("base", &[]),
    ("report", &["base"]),
    // values
    ("formats", &["base", "report"]),
    ("manifest", &["base", "report", "formats"]),
    ("chain", &["base", "report", "formats", "manifest"]),
    // places
    ("fs", &["base", "report", "formats"]),
    (
        "store",
        &["base", "report", "formats", "manifest", "chain", "fs"],
    ),
    (
        "export",
        &["base", "report", "formats", "manifest", "chain", "fs"],
    ),
    // plans
    (
        "plan",
        &[
            "base", "report", "formats", "manifest", "chain", "fs", "store", "export",
        ],
    ),
    // verbs: all above, not each other
    ("pack", VERBS_SEE),
    ("unpack", VERBS_SEE),
    ("verify", VERBS_SEE),
];
const VERBS_SEE: &[&str] = &[
    "base", "report", "formats", "manifest", "chain", "fs", "store", "export", "plan",
];

/// Crates that touch the disk: only `fs/` may name them.
const DISK_CRATES: &[&str] = &[
    "fs_err",
    "filetime",
    "junction",
    "reflink_copy",
    "rustix",
    "same_file",
    "tempfile",
    "walkdir",
    "windows_sys",
];
/// Methods of `std::path::Path` that touch the disk.
const DISK_METHODS: &[&str] = &[
    "exists",
    "try_exists",
    "canonicalize",
    "read_dir",
    "symlink_metadata",
];
/// The files in which `unsafe` may stand.
const UNSAFE_FILES: &[&str] = &[
    "fs/memory.rs",
    "fs/unix.rs",
    "fs/windows.rs",
    "fs/windows/rename.rs",
    "fs/windows/streams.rs",
];

#[test]
fn every_file_imports_only_what_its_layer_may_see() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut breaches = Vec::new();
    for file in sources(&root) {
        let name = file.strip_prefix(&root).expect("found below it");
        let name = name.to_str().expect("names are ASCII").replace('\\', "/");
        let text = std::fs::read_to_string(&file).expect("sources are text");
        breaches.extend(check(&name, &text));
    }
    let list: String = breaches
        .iter()
        .map(|breach| format!("\n  src/{breach}"))
        .collect();
    assert!(breaches.is_empty(), "the layers are broken:{list}");
}

#[test]
fn the_table_names_every_stage_of_the_library() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut stages: Vec<String> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name != "bin")
        .collect();
    let mut table: Vec<_> = TABLE.iter().map(|(stage, _)| (*stage).to_owned()).collect();
    stages.sort();
    table.sort();
    assert_eq!(stages, table);
}

#[test]
fn a_breach_is_named_with_its_file_and_line() {
    for (file, code, expected) in [
        ("base/id.rs", "use crate::report::Code;", "report"),
        (
            "formats/vhd/mod.rs",
            "use crate::{\n base::Id,\n fs::{Sink, stream}};",
            "fs",
        ),
        (
            "pack/mod.rs",
            "fn f() { crate::verify::verify() }",
            "verify",
        ),
        (
            "pack/deep/run.rs",
            "use super::super::super::unpack::x;",
            "unpack",
        ),
        ("store/mod.rs", "use super::export::Inventory;", "export"),
        ("plan/pack.rs", "use std::{io, fs as disk};", "std::fs"),
        (
            "plan/pack.rs",
            "fn f(p: &Path) -> bool { p.exists() }",
            ".exists()",
        ),
        (
            "bin/labpack/main.rs",
            "fn f() { std::fs::read(x); }",
            "std::fs",
        ),
        ("chain/mod.rs", "use walkdir::WalkDir;", "walkdir"),
        ("store/mod.rs", "fn f() { unsafe { g() } }", "unsafe"),
        ("odd.rs", "", "no stage"),
    ] {
        let found = check(file, code);
        assert_eq!(found.len(), 1, "{file}: {code}: {found:?}");
        assert!(
            found[0].to_string().starts_with(&format!("{file}:")),
            "{}",
            found[0]
        );
        assert!(found[0].what.contains(expected), "{}", found[0]);
    }
    assert_eq!(check("base/a.rs", "\n\nuse crate::{\n  fs,\n};")[0].line, 4);
}

#[test]
fn what_is_allowed_or_no_code_is_no_breach() {
    for (file, code) in [
        (
            "report/code.rs",
            "use crate::{base::DiskId, report::Severity};",
        ),
        (
            "fs/unix.rs",
            "fn f() { unsafe { rustix::g() } } use std::fs::File;",
        ),
        (
            "base/a.rs",
            "/// See [`crate::fs`].\n// crate::fs\n/* std::fs /* unsafe */ */ fn f() {}",
        ),
        (
            "base/a.rs",
            r###"const A: &str = "crate::fs \" unsafe"; const B: &str = r#"std::fs "#;"###,
        ),
        (
            "base/a.rs",
            "fn f<'a>(x: &'a str) -> char { let _ = '\\''; '\"' }",
        ),
        (
            "base/a.rs",
            "#[cfg(test)]\nmod tests { use super::*; fn f() { std::fs::read(a); tempfile::tempdir(); } }",
        ),
        ("formats/vhd/mod.rs", "use super::DiskInfo;"),
        ("store/tests.rs", "use std::fs;"),
    ] {
        assert_eq!(check(file, code), [], "{file}: {code}");
    }
}

/// One place where the table is broken.
#[derive(Debug, PartialEq)]
struct Breach {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// Every Rust file below `folder`, sorted.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Returns what is wrong with `file`, a path below `src/`, whose text is `code`.
fn check(file: &str, code: &str) -> Vec<Breach> {
    let breach = |line, what| Breach {
        file: file.to_owned(),
        line,
        what,
    };
    let shell = file.starts_with("bin/");
    let stage = file.split('/').next().unwrap_or_default();
    let row = TABLE.iter().find(|(name, _)| *name == stage);
    let sees = match row {
        Some((_, sees)) => *sees,
        None if shell || file == "lib.rs" => &[][..],
        None => {
            return vec![breach(
                1,
                "the file belongs to no stage of the table".to_owned(),
            )];
        }
    };
    let tokens = tokens(code);
    let mut breaches = Vec::new();
    for path in paths(&tokens) {
        let in_test = is_test_file(file) || path.in_test;
        let imported = if shell {
            None
        } else {
            imported_stage(file, &path.parts)
        };
        if let Some(other) = imported.filter(|other| *other != stage && !sees.contains(other)) {
            breaches.push(breach(
                path.line,
                format!("`{stage}` may not see `{other}`"),
            ));
        }
        if !in_test
            && stage != "fs"
            && let Some(what) = disk_access(&path.parts)
        {
            breaches.push(breach(path.line, format!("`{what}` belongs into `fs`")));
        }
    }
    breaches.extend(words_out_of_place(file, &tokens).map(|(line, what)| breach(line, what)));
    // Several names out of one `{…}` are one breach.
    breaches.dedup();
    breaches
}

/// The stage that a path leads to, seen from `file`.
fn imported_stage(file: &str, parts: &[String]) -> Option<&'static str> {
    let name = match parts.first()?.as_str() {
        "crate" => parts.get(1)?,
        "super" => {
            let folders = file.matches('/').count();
            let depth = if file.ends_with("/mod.rs") {
                folders
            } else {
                folders + 1
            };
            let ups = parts.iter().take_while(|part| *part == "super").count();
            // In a module inside the file, fewer of them lead less far up: only what goes on
            // below the name can be a stage.
            (ups >= depth && parts.len() > ups + 1).then(|| &parts[ups])?
        }
        _ => return None,
    };
    TABLE
        .iter()
        .map(|(stage, _)| *stage)
        .find(|stage| stage == name)
}

/// What of the file system a path names.
fn disk_access(parts: &[String]) -> Option<String> {
    let first = parts.first()?.as_str();
    if first == "std" && parts.get(1).is_some_and(|part| part == "fs") {
        return Some("std::fs".to_owned());
    }
    DISK_CRATES.contains(&first).then(|| first.to_owned())
}

fn is_test_file(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

/// `unsafe`, and calls that ask the disk, where they may not stand.
fn words_out_of_place<'a>(
    file: &'a str,
    tokens: &'a [Token],
) -> impl Iterator<Item = (usize, String)> + 'a {
    let in_fs = file.starts_with("fs/");
    tokens.iter().enumerate().filter_map(move |(i, token)| {
        if token.text == "unsafe" && !UNSAFE_FILES.contains(&file) {
            return Some((
                token.line,
                "`unsafe` stands outside of the platform files".to_owned(),
            ));
        }
        let called = |at: usize| tokens.get(at).is_some_and(|next| next.text == "(");
        let method = i > 0 && tokens[i - 1].text == "." && called(i + 1);
        let asks = method && DISK_METHODS.contains(&token.text.as_str());
        (asks && !in_fs && !token.in_test && !is_test_file(file)).then(|| {
            (
                token.line,
                format!("`.{}()` asks the disk: it belongs into `fs`", token.text),
            )
        })
    })
}

/// A word, `::`, or one other character.
struct Token {
    text: String,
    line: usize,
    in_test: bool,
}

/// A path that code names, with each `{…}` taken apart.
struct Named {
    parts: Vec<String>,
    line: usize,
    in_test: bool,
}

/// Reads tokens; comments and literals are left out, white space too.
fn tokens(code: &str) -> Vec<Token> {
    let mut rest = code;
    let mut tokens: Vec<Token> = Vec::new();
    while let Some(first) = rest.chars().next() {
        let line = 1 + code[..code.len() - rest.len()].matches('\n').count();
        let len = skipped(rest).unwrap_or_else(|| token_len(rest, first));
        if skipped(rest).is_none() && !first.is_whitespace() {
            tokens.push(Token {
                text: rest[..len].to_owned(),
                line,
                in_test: false,
            });
        }
        rest = &rest[len..];
    }
    mark_tests(&mut tokens);
    tokens
}

fn token_len(rest: &str, first: char) -> usize {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    if word(first) {
        rest.find(|c| !word(c)).unwrap_or(rest.len())
    } else if rest.starts_with("::") {
        2
    } else {
        first.len_utf8()
    }
}

/// The length of the comment or literal that `rest` begins with, if it does.
fn skipped(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if rest.starts_with('\'') {
        return char_literal(rest);
    }
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        let after = rest.strip_prefix(prefix).unwrap_or_default();
        after.trim_start_matches('#').starts_with('"')
            && (prefix.ends_with('r') || after.starts_with('"'))
    })?;
    let after = &rest[prefix.len()..];
    Some(
        prefix.len()
            + if prefix.ends_with('r') {
                raw_text(after)
            } else {
                text(after)
            },
    )
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn raw_text(rest: &str) -> usize {
    let hashes = rest.find('"').unwrap_or(0);
    let end = format!("\"{}", "#".repeat(hashes));
    let body = &rest[hashes + 1..];
    body.find(&end)
        .map_or(rest.len(), |at| hashes + 1 + at + end.len())
}

fn text(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character, as opposed to a lifetime.
fn char_literal(rest: &str) -> Option<usize> {
    let mut inside = rest.char_indices().skip(1);
    let (_, first) = inside.next()?;
    if first == '\\' {
        let (after, _) = inside.nth(1)?;
        return rest[after..].find('\'').map(|at| after + at + 1);
    }
    inside
        .next()
        .filter(|(_, c)| *c == '\'')
        .map(|(at, _)| at + 1)
}

/// Marks what stands in modules under `#[cfg(test)]`.
fn mark_tests(tokens: &mut [Token]) {
    let starts = |tokens: &[Token], at: usize, words: &[&str]| {
        tokens[at..]
            .iter()
            .map(|token| token.text.as_str())
            .take(words.len())
            .eq(words.iter().copied())
    };
    for at in 0..tokens.len() {
        if !starts(tokens, at, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            continue;
        }
        let mut depth = 0_usize;
        for token in &mut tokens[at..] {
            token.in_test = true;
            match token.text.as_str() {
                "{" => depth += 1,
                "}" if depth == 1 => break,
                "}" => depth -= 1,
                ";" if depth == 0 => break,
                _ => {}
            }
        }
    }
}

/// Finds every path of two or more parts.
fn paths(tokens: &[Token]) -> Vec<Named> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let follows = at > 0 && tokens[at - 1].text == "::";
        let leads = tokens.get(at + 1).is_some_and(|next| next.text == "::");
        if is_word(&tokens[at].text) && leads && !follows {
            at = tree(tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads one path from `at` on, and what its braces hold; returns where it ends.
fn tree(tokens: &[Token], mut at: usize, before: &[String], found: &mut Vec<Named>) -> usize {
    let mut parts = before.to_vec();
    let mut last = at;
    while let Some(token) = tokens.get(at) {
        if token.text == "{" {
            return group(tokens, at + 1, &parts, found);
        }
        if !is_word(&token.text) && token.text != "*" {
            break;
        }
        (last, at) = (at, at + 1);
        parts.push(token.text.clone());
        if tokens.get(at).is_none_or(|next| next.text != "::") {
            break;
        }
        at += 1;
    }
    let Token { line, in_test, .. } = tokens[last.min(tokens.len() - 1)];
    found.push(Named {
        parts,
        line,
        in_test,
    });
    at
}

fn group(tokens: &[Token], mut at: usize, before: &[String], found: &mut Vec<Named>) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "}" => return at + 1,
            "," => at += 1,
            // `as name`, up to the comma
            "as" => at += 2,
            _ => at = tree(tokens, at, before, found).max(at + 1),
        }
    }
    at
}
