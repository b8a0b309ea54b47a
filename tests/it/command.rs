//! The command line: what it takes, what it prints where, and how it ends.

mod told;

use std::{ffi::OsString, fs, path::Path, process::Stdio};

use labpack::formats::DiskFormat;
use serde_json::Value;

use crate::support::{
    contents,
    shell::{Said, args, labpack, run},
    small_labs::{Lab, four_on_one_parent, three_levels},
    tree,
};

const COMMANDS: [&str; 9] = [
    "pack",
    "unpack",
    "restore",
    "verify",
    "inspect",
    "tree",
    "store",
    "completions",
    "man",
];

#[test]
fn help_names_every_command_and_every_exit_code() {
    let help = run(["--help"]).ends(0);
    for command in COMMANDS {
        assert!(
            help.out
                .lines()
                .any(|line| line.trim_start().starts_with(command)),
            "{command}"
        );
    }
    let codes: Vec<&str> = help
        .out
        .lines()
        .skip_while(|line| *line != "Exit codes:")
        .collect();
    insta::assert_snapshot!(codes.join("\n"), @r"
    Exit codes:
        0  done; nothing wrong found
        1  finished, and found something wrong: the report says what
        2  the command line is wrong
        3  stopped by an error; nothing is lost, the same command again goes on
      130  interrupted (Ctrl-C); nothing is lost, the same command again goes on
    ");
}

#[test]
fn every_command_explains_itself() {
    for command in COMMANDS {
        let help = run([command, "--help"]).ends(0);
        assert!(
            help.out.contains(&format!("Usage: labpack {command}")),
            "{}",
            help.out
        );
        assert_eq!(help.err, "");
    }
    let usage = |command: &[&str]| {
        let help = run(command.iter().copied().chain(["--help"])).ends(0);
        help.out
            .lines()
            .find(|line| line.starts_with("Usage:"))
            .unwrap()
            .to_owned()
    };
    let lines = [
        usage(&["pack"]),
        usage(&["unpack"]),
        usage(&["restore"]),
        usage(&["verify"]),
        usage(&["inspect"]),
        usage(&["tree"]),
        usage(&["store", "list"]),
        usage(&["store", "check"]),
        usage(&["store", "gc"]),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    Usage: labpack pack [OPTIONS] <EXPORT>...
    Usage: labpack unpack [OPTIONS] <PACK> <DEST>
    Usage: labpack restore [OPTIONS] <PACK>
    Usage: labpack verify [OPTIONS] <PATH>...
    Usage: labpack inspect [OPTIONS] <DISK>...
    Usage: labpack tree [OPTIONS] <PATH>...
    Usage: labpack store list [OPTIONS] <STORE>
    Usage: labpack store check [OPTIONS] <STORE>
    Usage: labpack store gc [OPTIONS] <STORE>
    ");
}

#[test]
fn a_wrong_command_line_ends_with_2_and_touches_nothing() {
    let lab = Lab::new();
    let before = tree(lab.scratch.path());
    let lines: [&[_]; 7] = [
        &args!["pack"],
        &args!["pakc", lab.export],
        &args!["pack", "--bogus", lab.export],
        &args!["unpack", lab.export],
        &args!["unpack", lab.export, lab.beside("d"), "--link", "magic"],
        &args!["store", "gc", lab.export, "--grace", "soon"],
        &args!["verify", lab.export, "-q", "-v"],
    ];
    for line in lines {
        let said = run(line).ends(2);
        assert_eq!(said.out, "", "{line:?}");
        assert!(said.err.starts_with("error"), "{line:?}: {}", said.err);
        let scripts = run(line.iter().cloned().chain(args!["--json"])).ends(2);
        assert_eq!(scripts.json()["exit_code"], 2, "{line:?}");
    }
    assert_eq!(tree(lab.scratch.path()), before);
}

/// The document of a run, which has these fields.
#[track_caller]
fn document(said: &Said, command: &str, fields: &[&str]) -> Value {
    let document = said.json();
    assert_eq!(document["command"], command);
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["exit_code"], said.code.unwrap());
    assert!(document["findings"].is_array());
    assert!(document["seconds"].is_f64());
    for field in fields {
        assert!(
            document.get(field).is_some(),
            "{command}: no {field} in {document:#}"
        );
    }
    document
}

#[test]
fn json_is_one_document_with_stable_fields_for_every_command() {
    let lab = Lab::new();
    let (pack, dest) = (lab.export.clone(), lab.beside("dest"));
    let store = pack.join("RefDisk");
    let json = |line: &[OsString], command: &str, fields: &[&str]| {
        let line = line.iter().cloned().chain(args!["--json"]);
        document(&run(line).ends(0), command, fields)
    };
    let of_pack = ["dry_run", "packs", "io", "seconds"];
    let dry = json(&args!["pack", pack, "-n"], "pack", &of_pack);
    assert_eq!(
        dry["packs"][0]["plan"]["removals"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    let done = json(&args!["pack", pack], "pack", &of_pack);
    for field in [
        "exports", "pack", "store", "resumed", "totals", "stored", "removed", "savings",
    ] {
        assert!(done["packs"][0].get(field).is_some(), "{field}");
    }
    assert_eq!(done["packs"][0]["totals"], dry["packs"][0]["totals"]);
    let unpacked = json(
        &args!["unpack", pack, dest],
        "unpack",
        &["dest", "link", "why", "counts", "dry_run", "io", "seconds"],
    );
    assert_eq!(unpacked["counts"]["vms"], 4);
    let verified = json(&args!["verify", dest], "verify", &["chains", "disks", "io"]);
    assert_eq!(verified["chains"]["broken"], 0);
    let seen = json(
        &args!["inspect", lab.disk(1, "vm1.vhdx")],
        "inspect",
        &["disks"],
    );
    assert_eq!(seen["disks"][0]["kind"], "differencing");
    json(&args!["tree", pack], "tree", &["disks"]);
    let listed = json(
        &args!["store", "list", store],
        "store list",
        &["entries", "bytes", "store"],
    );
    assert_eq!(listed["entries"][0]["used_by"].as_array().unwrap().len(), 1);
    json(
        &args!["store", "check", store],
        "store check",
        &["ref_disks", "bytes", "store"],
    );
    let gc = ["dry_run", "kept", "removed", "removed_bytes", "store"];
    json(&args!["store", "gc", store], "store gc", &gc);
    let restored = json(
        &args!["restore", pack],
        "restore",
        &["dry_run", "export", "files", "bytes", "io", "seconds"],
    );
    assert_eq!(restored["files"], 4);
    for (line, command) in [
        (&args!["completions", "bash"][..], "completions"),
        (&args!["man", "pack"], "man"),
    ] {
        json(line, command, &["text"]);
    }
}

#[test]
fn a_broken_chain_ends_verify_with_1_and_is_in_the_document() {
    let lab = Lab::new();
    fs::remove_file(lab.disk(1, "vm1.vhdx").with_file_name("base.vhdx")).unwrap();
    let said = run(args!["verify", lab.export, "--json"]).ends(1);
    let document = document(&said, "verify", &["chains"]);
    assert_eq!(document["chains"]["broken"], 1);
    assert_eq!(document["chains"]["ok"], 3);
    assert_eq!(said.codes(), ["missing-parent"]);
    let people = run(args!["verify", lab.export]).ends(1);
    assert!((people.out + &people.err).contains("vm1.vhdx"));
}

#[test]
fn quiet_says_nothing_where_nothing_is_wrong() {
    let lab = Lab::new();
    let dest = lab.beside("dest");
    let lines: [&[_]; 4] = [
        &args!["-q", "pack", lab.export],
        &args!["-q", "verify", lab.export],
        &args!["-q", "unpack", lab.export, dest],
        &args!["-q", "restore", lab.export],
    ];
    for line in lines {
        let said = run(line).ends(0);
        assert_eq!((said.out.as_str(), said.err.as_str()), ("", ""), "{line:?}");
    }
}

#[test]
fn progress_goes_to_stderr_and_only_when_asked() {
    let lab = Lab::new();
    let plain = run(args![
        "pack",
        "-n",
        lab.export,
        "--progress",
        "plain",
        "--json"
    ])
    .ends(0);
    plain.json();
    assert!(plain.err.contains("reading"), "{}", plain.err);
    let none = run(args!["pack", "-n", lab.export, "--progress", "none"]).ends(0);
    assert_eq!(none.err, "");
    assert!(
        !none.out.contains('\u{1b}'),
        "no colours where no terminal is"
    );
}

#[test]
fn a_log_of_each_file_is_kept_where_it_is_asked_for() {
    let lab = Lab::new();
    let quiet = run(args!["pack", "-n", lab.export]).ends(0);
    assert!(!quiet.err.contains("vm3.vhdx"), "{}", quiet.err);
    let said = run(args!["pack", "-n", "-vv", lab.export]).ends(0);
    for number in 1..=4 {
        let name = format!("reading VM {number}/Virtual Hard Disks/vm{number}.vhdx");
        let lines = said.err.lines().filter(|line| line.contains(&name));
        assert_eq!(lines.count(), 1, "{name}: {}", said.err);
    }
    let said = run(args!["verify", "-v", lab.export]).ends(0);
    assert_eq!(said.out.matches("good: ").count(), 4, "{}", said.out);
}

#[test]
fn to_verify_the_content_of_what_is_no_pack_is_no_praise() {
    let lab = Lab::new();
    let said = run(args!["verify", "--content", lab.export]).ends(0);
    assert!(said.out.contains("nothing read again"), "{}", said.out);
    run(args!["pack", lab.export]).ends(0);
    let said = run(args!["verify", "--content", lab.export]).ends(0);
    assert!(
        said.out.contains("13 files read again: each"),
        "{}",
        said.out
    );
}

#[test]
fn dry_runs_change_nothing() {
    let lab = Lab::new();
    let watched = lab.scratch.path();
    let dry = |line: &[OsString]| {
        let before = tree(watched);
        let said = run(line.iter().cloned().chain(args!["--dry-run"])).ends(0);
        assert_eq!(tree(watched), before, "{line:?}");
        said
    };
    let said = dry(&args!["pack", lab.export]);
    assert!(said.out.contains("nothing was changed"), "{}", said.out);
    dry(&args!["pack", lab.export, "--output", lab.beside("pack")]);
    dry(&args!["pack", lab.export, "--store", lab.beside("store")]);
    run(args!["pack", lab.export]).ends(0);
    let before = contents(watched);
    run(args!["unpack", lab.export, lab.beside("dest"), "--dry-run"]).ends(0);
    assert_eq!(contents(watched), before);
    dry(&args!["restore", lab.export]);
    dry(&args![
        "store",
        "gc",
        lab.export.join("RefDisk"),
        "--grace",
        "0"
    ]);
}

/// What was said, with the folder of the test hidden.
fn masked(text: &str, scratch: &Path) -> String {
    text.replace(scratch.to_str().unwrap(), "[scratch]")
        .replace('\\', "/")
}

#[test]
fn inspect_says_what_get_vhd_says() {
    let lab = Lab::new();
    let said = run(args!["inspect", lab.disk(1, "vm1.vhdx")]).ends(0);
    insta::assert_snapshot!(masked(&said.out, lab.scratch.path()), @r"
    Path               : [scratch]/lab/VM 1/Virtual Hard Disks/vm1.vhdx
    VhdFormat          : VHDX
    VhdType            : Differencing
    FileSize           : 6291456 (6.0 MiB)
    Size               : 4194304 (4.0 MiB)
    MinimumSize        :
    LogicalSectorSize  : 512
    PhysicalSectorSize : 4096
    BlockSize          : 1048576 (1.0 MiB)
    ParentPath         : C:/Export/VM 1/Virtual Hard Disks/base.vhdx
    DiskIdentifier     : 6E19FC1C-606A-8AE5-BF13-E4395B2CBFA2
    DataWriteGuid      : 01010101-0101-0101-0101-010101010101
    Creator            : labpack
    Log                : empty
    Blocks             : 1 of 4 in the file
    ParentId           : C8C8C8C8-C8C8-C8C8-C8C8-C8C8C8C8C8C8
    Parent, relative   : ./base.vhdx
    Parent, absolute   : C:/Export/VM 1/Virtual Hard Disks/base.vhdx
    ");
}

#[test]
fn of_several_exports_those_before_one_that_is_refused_are_told_of() {
    let scratch = tempfile::tempdir().unwrap();
    let exports = ["one", "a broken one", "three"].map(|name| scratch.path().join(name));
    for export in &exports {
        four_on_one_parent(export, DiskFormat::Vhdx);
    }
    let [one, broken, three] = &exports;
    let disks = broken.join("VM 1/Virtual Hard Disks");
    fs::remove_file(disks.join("base.vhdx")).unwrap();
    let untouched = [broken, three].map(|export| tree(export));

    let said = run(args!["pack", one, broken, three]).ends(3);
    assert!(said.out.contains("saved"), "{}", said.out);
    assert!(said.err.contains("stopped at"), "{}", said.err);
    assert!(said.err.contains("a broken one"), "{}", said.err);
    assert!(said.err.contains("missing-parent"), "{}", said.err);
    assert!(one.join("labpack.json").exists());
    assert_eq!([broken, three].map(|export| tree(export)), untouched);

    let document = run(args!["pack", one, broken, three, "--json"])
        .ends(3)
        .json();
    assert_eq!(document["packs"].as_array().unwrap().len(), 1);
    assert!(document["error"].as_str().unwrap().contains("a broken one"));
    let alone = run(args!["pack", broken, one, "--json"]).ends(3).json();
    assert_eq!(alone.get("packs"), None, "nothing was done");
}

#[test]
fn tree_draws_children_below_their_parents() {
    let scratch = tempfile::tempdir().unwrap();
    let lab = scratch.path().join("lab");
    three_levels(&lab, DiskFormat::Vhdx);
    let before = run(args!["tree", lab]).ends(0);
    // Where drive letters mean something, the paths of the exporting machine lead outside.
    let before = before.out.replace(", 6 notes", "");
    insta::assert_snapshot!(masked(&before, scratch.path()), @r"
    DC01/Virtual Hard Disks/base.vhdx (VHDX, dynamic, 6.0 MiB, looks like 4.0 MiB)
    └─ patched.vhdx (VHDX, differencing, 6.0 MiB, looks like 4.0 MiB)
       └─ DC01.vhdx (VHDX, differencing, 6.0 MiB, looks like 4.0 MiB) warning[disk-id-differs]
    Member Server 2/Virtual Hard Disks/base.vhdx (VHDX, dynamic, 6.0 MiB, looks like 4.0 MiB)
    └─ patched.vhdx (VHDX, differencing, 6.0 MiB, looks like 4.0 MiB)
       └─ Member Server 2.vhdx (VHDX, differencing, 6.0 MiB, looks like 4.0 MiB) warning[disk-id-differs]
    x/Virtual Hard Disks/base.vhdx (VHDX, dynamic, 6.0 MiB, looks like 4.0 MiB)
    └─ patched.vhdx (VHDX, differencing, 6.0 MiB, looks like 4.0 MiB)
       └─ x.vhdx (VHDX, differencing, 6.0 MiB, looks like 4.0 MiB) warning[disk-id-differs]

    found 3 warnings: `labpack verify` says what
    ");
    run(args!["pack", lab]).ends(0);
    let after = run(args!["tree", lab, "--ascii"]).ends(0);
    assert!(after.out.starts_with("RefDisk/base."), "{}", after.out);
    assert!(after.out.is_ascii(), "{}", after.out);
    let leaves = after.out.lines().filter(|line| line.starts_with("   "));
    assert_eq!(leaves.count(), 3, "{}", after.out);
}

#[test]
fn completions_and_manual_pages_are_made_for_every_shell_and_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = run(["completions", shell]).ends(0);
        assert!(
            said.out.contains("labpack") && said.out.contains("windows-dest"),
            "{shell}"
        );
    }
    for command in COMMANDS {
        let said = run(["man", command]).ends(0);
        assert!(said.out.contains(".TH"), "{command}");
    }
    run(["man"]).ends(0);
    assert_ne!(run(["man", "bogus"]).code, Some(0));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let lab = Lab::new();
    for line in [
        &args!["tree", lab.export][..],
        &args!["verify", lab.export, "--json"],
        &args!["completions", "bash"],
        &args!["man"],
        &args!["--help"],
    ] {
        let mut child = labpack()
            .args(line)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let said = Said::of(child.wait_with_output().unwrap()).ends(0);
        assert!(
            !said.err.contains("error") && !said.err.contains("panic"),
            "{}",
            said.err
        );
    }
}
