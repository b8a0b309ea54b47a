//! Disks that other software made, with known contents.

use std::{collections::HashMap, process::Command};

use rayon::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;

/// Where the fixtures are; says so where they are not.
fn fixtures() -> Option<PathBuf> {
    let folder = std::env::var_os("LABPACK_FIXTURES").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: LABPACK_FIXTURES names no folder");
    }
    folder
}

/// Runs a tool; says so where it is not installed or fails.
fn tool(command: &mut Command) -> Option<Vec<u8>> {
    match command.output() {
        Ok(output) if output.status.success() => Some(output.stdout),
        other => {
            println!("skipped: {command:?}: {other:?}");
            None
        }
    }
}

fn sha256(disk: &VirtualDisk) -> String {
    let (mut hash, mut offset) = (Sha256::new(), 0);
    let mut bytes = vec![0; 1 << 20];
    while offset < disk.len() {
        let (len, zero) = disk.extent_at(offset).unwrap();
        let len = len.min(bytes.len() as u64) as usize;
        if zero {
            bytes[..len].fill(0);
        } else {
            disk.read_exact_at(&mut bytes[..len], offset).unwrap();
        }
        hash.update(&bytes[..len]);
        offset += len as u64;
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn exports() -> Option<(Lab, Value)> {
    let folder = fixtures()?.join("exports");
    let lab = Lab::new();
    let archive = folder.join("exports.tar.xz");
    tool(
        Command::new("tar")
            .arg("-xJf")
            .arg(archive)
            .arg("-C")
            .arg(lab.root()),
    )?;
    let expected = system::read(folder.join("EXPECT.json")).unwrap();
    Some((lab, serde_json::from_slice(&expected).unwrap()))
}

fn code_of(reason: &str) -> &'static [Code] {
    match reason {
        "linkage-mismatch" => &[Code::ParentIdMismatch],
        "missing-parent" => &[Code::MissingParent],
        "cycle" => &[Code::Cycle],
        "dirty-log" => &[Code::DirtyLog],
        "corrupt" => &[Code::Truncated, Code::Corrupt],
        "footer-copy-used" => &[Code::FooterCopyUsed],
        other => panic!("unknown reason `{other}`"),
    }
}

#[test]
fn every_disk_of_the_export_fixtures_is_judged_as_its_makers_say() {
    let Some((lab, expected)) = exports() else {
        return;
    };
    let examined = lab.examine_all();
    let disks = expected["disks"].as_array().unwrap();
    assert_eq!(examined.disks.len(), disks.len());
    let found: HashMap<_, _> = examined
        .disks
        .iter()
        .map(|d| (d.path.as_str(), d))
        .collect();
    for disk in disks {
        judged_as_expected(&examined, &found, disk);
    }
}

fn judged_as_expected(
    examined: &Examination,
    found: &HashMap<&str, &ExaminedDisk>,
    expected: &Value,
) {
    let path = format!("exports/{}", expected["path"].as_str().unwrap());
    let disk = found[path.as_str()];
    let mut chain = vec![disk];
    while let Some(parent) = chain.last().unwrap().parent {
        let parent = &examined.disks[parent];
        if chain.iter().any(|below| below.path == parent.path) {
            break;
        }
        chain.push(parent);
    }
    let names: Vec<_> = chain.iter().map(|d| &d.path["exports/".len()..]).collect();
    assert_eq!(serde_json::json!(names), expected["chain"], "{path}");
    let verdict = expected["verdict"].as_str().unwrap();
    assert_eq!(
        disk.broken,
        verdict == "broken",
        "{path}: {:?}",
        disk.findings
    );
    if let Some(reason) = expected["reason"].as_str() {
        let all = chain.iter().flat_map(|disk| &disk.findings);
        let codes: Vec<_> = all.map(|finding| finding.code).collect();
        let right = code_of(reason).iter().any(|code| codes.contains(code));
        assert!(right, "{path}: {reason}, found {codes:?}");
    } else {
        // A damaged header copy is said although the makers call the disk sound.
        let odd = |f: &&crate::report::Finding| {
            f.code != Code::HeaderCopyDamaged && f.severity > Severity::Note
        };
        assert_eq!(disk.findings.iter().find(odd), None, "{path}");
    }
}

#[test]
fn every_sound_chain_of_the_export_fixtures_reads_as_its_guest_wrote_it() {
    let Some((lab, expected)) = exports() else {
        return;
    };
    let disks = expected["disks"].as_array().unwrap();
    let read = |disk: &Value| {
        let path = format!("exports/{}", disk["path"].as_str().unwrap());
        let opened = open_chain(&lab.path(&path), &[lab.root()], &lab.run());
        match disk["merged_sha256"].as_str() {
            Some(sha) => assert_eq!(sha256(&opened.unwrap()), sha, "{path}"),
            None => assert!(opened.is_err(), "{path}"),
        }
    };
    disks.par_iter().for_each(read);
}

#[test]
fn chains_of_the_single_fixtures_read_as_independent_readers_say() {
    let Some(folder) = fixtures() else { return };
    let table = system::read_to_string(folder.join("EXPECTED.tsv")).unwrap();
    let mut read = 0;
    for line in table.lines().skip(1) {
        let fields: Vec<_> = line.split('\t').collect();
        // A pending log is refused, and hand-made damage is another test's business.
        if fields[0].contains("log ") || fields[0].contains("image-differential") {
            continue;
        }
        let lab = Lab::new();
        let names: Vec<_> = fields[0].split(',').collect();
        if unpack_all(&lab, &folder, &names).is_some() {
            let leaf = names[0].rsplit('/').next().unwrap();
            assert_eq!(sha256(&lab.open(leaf)), fields[2], "{line}");
            read += 1;
        }
    }
    println!("{read} chains read");
}

/// Unpacks the disks of a chain side by side.
fn unpack_all(lab: &Lab, folder: &Path, names: &[&str]) -> Option<()> {
    let origin = names[0].split('/').next().unwrap();
    for name in names {
        let name = name.rsplit('/').next().unwrap();
        let packed = folder.join(origin).join(name);
        let at = |extension: &str| packed.with_file_name(format!("{name}.{extension}"));
        let bytes = match () {
            () if packed.exists() => system::read(packed).unwrap(),
            () if at("gz").exists() => tool(Command::new("gzip").arg("-dc").arg(at("gz")))?,
            () => tool(Command::new("bzip2").arg("-dc").arg(at("bz2")))?,
        };
        lab.write(name, &bytes);
    }
    Some(())
}

#[test]
fn a_dirty_log_written_by_windows_is_refused() {
    let Some(folder) = fixtures() else { return };
    let lab = Lab::new();
    let name = "LTRData-DiscUtils/vhdx-log-replay.vhdx";
    if unpack_all(&lab, &folder, &[name]).is_some() {
        let examined = lab.examine_all();
        assert_eq!(examined.codes("vhdx-log-replay.vhdx"), [Code::DirtyLog]);
        assert!(examined.disks[0].broken);
    }
}

#[test]
fn a_checkpoint_written_by_hyper_v_misses_its_parent_and_says_where_it_looked() {
    let Some(folder) = fixtures() else { return };
    let lab = Lab::new();
    if unpack_all(&lab, &folder, &["dissect.hypervisor/differencing.avhdx"]).is_some() {
        let examined = lab.examine_all();
        let finding = &examined.disks[0].findings[0];
        assert_eq!(finding.code, Code::MissingParent);
        assert!(finding.message.contains("Generation 1"), "{finding}");
    }
}

#[test]
fn a_shared_set_written_by_windows_is_recognised() {
    let Some(folder) = fixtures() else { return };
    let lab = Lab::new();
    if unpack_all(&lab, &folder, &["WindowsProtocolTestSuites/rsvd.vhds"]).is_some() {
        assert_eq!(lab.scan().findings.0[0].code, Code::SharedDisk);
    }
}
