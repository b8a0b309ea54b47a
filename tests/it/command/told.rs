//! What the command tells people to do: after a refusal, an error, a wrong turn, and next.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{Lab, masked};
use crate::support::{
    What, contents,
    shell::{args, run},
};

#[test]
fn a_refusal_says_each_of_its_reasons_once() {
    let lab = Lab::new();
    fs::remove_file(lab.disk(1, "base.vhdx")).unwrap();
    let said = run(args!["pack", lab.export, "--progress", "none"]).ends(3);
    let lines = said.told();
    assert_eq!(lines.len(), 4, "{}", said.err);
    assert_eq!(
        lines[0],
        "error[missing-parent] VM 1/Virtual Hard Disks/vm1.vhdx"
    );
    assert!(lines[1].contains("no parent found"), "{}", said.err);
    assert!(
        lines[2].starts_with("    next: put the parent disk"),
        "{}",
        said.err
    );
    assert_eq!(lines[3], "error: refused, and nothing was changed");
    let again = run(args!["unpack", lab.export, lab.export]).ends(3);
    assert_eq!(
        again.err.matches("labpack.json").count(),
        1,
        "{}",
        again.err
    );
}

#[test]
fn a_path_that_leads_nowhere_comes_with_what_to_do() {
    let scratch = tempfile::tempdir().unwrap();
    let nowhere = scratch.path().join("nowhere");
    let said = run(args!["verify", nowhere]).ends(3);
    insta::assert_snapshot!(masked(&said.err, scratch.path()), @r"
    error: cannot find `[scratch]/nowhere`
      because: nothing is there
      next: check that the path is right, and that its drive, share or mount is there
    ");
    let lines: [&[_]; 7] = [
        &args!["pack", nowhere],
        &args!["unpack", nowhere, scratch.path().join("dest")],
        &args!["restore", nowhere],
        &args!["verify", nowhere],
        &args!["tree", nowhere],
        &args!["inspect", nowhere],
        &args!["store", "check", nowhere],
    ];
    for line in lines {
        let said = run(line).ends(3);
        assert!(said.err.contains("next: "), "{line:?}: {}", said.err);
        assert!(!said.err.contains("entity not found"), "{}", said.err);
        let document = run(line.iter().cloned().chain(args!["--json"]))
            .ends(3)
            .json();
        let step = document["next_step"].as_str();
        let of_finding = document["findings"][0]["next_step"].as_str();
        assert!(step.or(of_finding).is_some(), "{line:?}: {document:#}");
    }
}

/// What is below a folder: an unpack that is refused has taken its lock, and the file means nothing.
fn but_for_locks(folder: &Path) -> BTreeMap<PathBuf, What> {
    let mut found = contents(folder);
    found.retain(|path, _| path.file_name().is_none_or(|name| name != ".labpack.lock"));
    found
}

#[test]
fn commands_in_the_wrong_order_are_refused_with_the_right_one() {
    let lab = Lab::new();
    let (pack, dest) = (lab.beside("pack"), lab.beside("dest"));
    run(args!["pack", lab.export, "--output", pack]).ends(0);
    run(args!["unpack", pack, dest]).ends(0);
    let before = but_for_locks(lab.scratch.path());
    let wrong: [(&[_], &str); 8] = [
        (
            &args!["unpack", lab.export, lab.beside("d")],
            "labpack pack",
        ),
        (&args!["unpack", dest, lab.beside("d")], "labpack pack"),
        (&args!["unpack", pack, pack], "folder of its own"),
        (
            &args!["unpack", pack, lab.export],
            "a file stands there that labpack did not write",
        ),
        (
            &args!["restore", lab.export],
            "name the folder that was packed",
        ),
        (&args!["restore", dest], "name the folder that was packed"),
        (
            &args!["pack", pack, "--output", lab.beside("d")],
            "is a pack already",
        ),
        (
            &args!["store", "check", pack],
            "the folder `RefDisk` of a pack",
        ),
    ];
    for (line, way_out) in wrong {
        let said = run(line).ends(3);
        assert!(said.err.contains(way_out), "{line:?}: {}", said.err);
        assert!(but_for_locks(lab.scratch.path()) == before, "{line:?}");
    }
    let said = run(args!["pack", pack]).ends(0);
    assert!(said.out.contains("nothing to do"), "{}", said.out);
    run(args!["restore", pack]).ends(0);
    assert!(but_for_locks(&pack) == but_for_locks(&lab.export));
}

#[test]
fn an_unpack_tells_what_it_shares_with_the_pack_or_what_would_save_copies() {
    let lab = Lab::new();
    let trial = labpack::fs::try_links(lab.scratch.path(), lab.scratch.path());
    if trial.unwrap().reflink.is_ok() {
        println!("skipped: this volume clones blocks, and nothing is shared");
        return;
    }
    let pack = lab.beside("pack");
    run(args!["pack", lab.export, "--output", pack]).ends(0);
    let unpack = |dest: &str, more: &[&str]| {
        let line = args!["unpack", pack, lab.beside(dest)].to_vec();
        let more = more.iter().map(std::ffi::OsString::from);
        run(line.into_iter().chain(more)).ends(0).out
    };
    let hard = ["--link", "hardlink"];
    let (planned, done) = (
        unpack("hard", &["--link", "hardlink", "--dry-run"]),
        unpack("hard", &hard),
    );
    if cfg!(windows) {
        for said in [planned, done] {
            assert!(!said.contains("shared with the pack"), "{said}");
            assert!(said.contains("RefDisk would"), "{said}");
        }
    } else {
        assert!(planned.contains("share   base."), "{planned}");
        assert!(planned.contains("would be shared"), "{planned}");
        for said in ["1 RefDisk, ", ", shared with the pack: ", "--copy-refdisks"] {
            assert!(done.contains(said), "`{said}` is not in: {done}");
        }
    }
    assert!(!unpack("hard", &hard).contains("shared with the pack"));
    let copied = ["--link", "hardlink", "--copy-refdisks"];
    let apart = unpack("apart", &[&copied[..], &["--dry-run"]].concat());
    assert!(apart.contains("--link hardlink --copy-refdisks"), "{apart}");
    let apart = unpack("apart", &copied);
    assert!(!apart.contains("shared with the pack"), "{apart}");
    for (dest, more) in [("auto", &[][..]), ("relocated", &["--link", "relocate"])] {
        let said = unpack(dest, more);
        assert!(said.contains("RefDisk would have saved"), "{dest}: {said}");
    }
}

#[test]
fn nothing_to_verify_is_something_wrong() {
    let scratch = tempfile::tempdir().unwrap();
    let said = run(args!["verify", scratch.path(), "--json"]).ends(1);
    assert_eq!(said.codes(), ["empty-export"]);
    fs::write(scratch.path().join("notes.txt"), "no disk").unwrap();
    let said = run(args!["verify", scratch.path()]).ends(0);
    assert!(said.out.contains("no disk found"), "{}", said.out);
    let said = run(args!["inspect", scratch.path()]).ends(3);
    assert!(said.err.contains("labpack tree"), "{}", said.err);
    let said = run(args!["inspect", scratch.path().join("notes.txt")]).ends(1);
    assert!(said.out.contains("not-a-disk"), "{}", said.out);
}

/// Commands that labpack proposes, typed into the shell that they are quoted for.
#[cfg(unix)]
mod typed {
    use std::ffi::OsString;

    use serde_json::Value;

    use super::*;
    use crate::support::{shell::Said, tree};

    /// Types a command that labpack proposed, as a user would who stands in `folder`.
    fn type_in(folder: &Path, line: &Value) -> Said {
        let program = Path::new(env!("CARGO_BIN_EXE_labpack")).parent().unwrap();
        let mut path = program.as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let mut shell = std::process::Command::new("sh");
        let shell = shell.args(["-c", line.as_str().unwrap()]);
        Said::of(
            shell
                .current_dir(folder)
                .env("PATH", path)
                .output()
                .unwrap(),
        )
    }

    #[test]
    fn the_next_command_can_be_typed_as_it_is() {
        let lab = Lab::new();
        let before = tree(&lab.export);
        let odd = lab.beside("it's a $HOME of \"labs\"");
        fs::rename(&lab.export, &odd).unwrap();
        let (store, elsewhere) = (lab.beside("my store"), lab.beside("else where"));
        fs::create_dir(&elsewhere).unwrap();
        let json = |line: &[OsString]| {
            run(line.iter().cloned().chain(args!["--json"]))
                .ends(0)
                .json()
        };
        let dry = json(&args!["pack", odd, "--store", store, "--all-parents", "-n"]);
        let next = &dry["packs"][0]["next"];
        assert!(next.as_str().unwrap().ends_with("--all-parents"), "{next}");
        type_in(&elsewhere, next).ends(0);
        let packed = json(&args!["pack", odd, "--store", store, "--all-parents"]);
        assert_eq!(packed["packs"][0]["stored"], 0, "it was done already");
        type_in(&elsewhere, &packed["packs"][0]["next"]).ends(0);
        run(args!["verify", elsewhere.join("DEST"), "--store", store]).ends(0);
        let dest = lab.beside("a dest");
        let line = args![
            "unpack", odd, dest, "--store", store, "--link", "copy", "-n"
        ];
        type_in(&elsewhere, &json(&line)["next"]).ends(0);
        run(args!["verify", dest]).ends(0);
        let people = run(args!["pack", odd, "--store", store]).ends(0);
        let undo = people
            .out
            .lines()
            .find_map(|line| line.strip_prefix("undo:"));
        type_in(&elsewhere, &undo.unwrap().trim().into()).ends(0);
        assert_eq!(tree(&odd), before);
    }

    #[test]
    fn the_next_command_of_a_pack_elsewhere_names_its_output_and_its_store() {
        let lab = Lab::new();
        let (pack, store) = (lab.beside("pack"), lab.beside("store"));
        let line = args![
            "pack", lab.export, "--output", pack, "--store", store, "-n", "--json"
        ];
        let document = run(line).ends(0).json();
        let next = document["packs"][0]["next"].as_str().unwrap();
        insta::assert_snapshot!(
            masked(next, lab.scratch.path()),
            @"labpack pack [scratch]/lab --output [scratch]/pack --store [scratch]/store"
        );
        type_in(lab.scratch.path(), &next.into()).ends(0);
        let said = run(args![
            "pack", lab.export, "--output", pack, "--store", store
        ])
        .ends(0);
        let next = said.out.lines().find(|line| line.starts_with("next:"));
        insta::assert_snapshot!(
            masked(next.unwrap(), lab.scratch.path()),
            @"next:  labpack unpack [scratch]/pack DEST --store [scratch]/store"
        );
    }
}
