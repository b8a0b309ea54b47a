//! The fuzz targets, on a stable compiler: every seed, and every input that once broke something.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::hostile_seeds;

#[path = "../../fuzz/src/lib.rs"]
#[expect(
    unreachable_pub,
    reason = "this is the library of the fuzz targets, where `pub` means what it says"
)]
pub(crate) mod targets;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(name)
}

/// The files in a folder, by name; none where it is not there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_seed_and_every_input_that_once_broke_something_is_answered() {
    for (name, run) in targets::TARGETS {
        let seeds = files(&folder("seeds").join(name));
        assert!(!seeds.is_empty(), "the target {name} has no seeds");
        for file in seeds
            .into_iter()
            .chain(files(&folder("crashes").join(name)))
        {
            println!("{}", file.display());
            run(&fs::read(file).unwrap());
        }
    }
}

#[test]
fn seeds_cut_short_or_bent_anywhere_are_answered() {
    for (target, _, seed) in hostile_seeds::all() {
        for at in (0..seed.len()).step_by(1 + seed.len() / 40) {
            targets::run(target, &seed[..at]);
            let mut bent = seed.clone();
            bent[at] ^= 0x81;
            targets::run(target, &bent);
        }
    }
}

/// With `LABPACK_BLESS` set it writes them.
#[test]
fn the_seeds_in_the_repository_are_those_that_the_generator_makes() {
    let bless = std::env::var_os("LABPACK_BLESS").is_some();
    let (mut total, mut expected) = (0, Vec::new());
    for (target, name, seed) in hostile_seeds::all() {
        let path = folder("seeds").join(target).join(name);
        if bless {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &seed).unwrap();
        }
        assert!(
            fs::read(&path).is_ok_and(|there| there == seed),
            "{}",
            path.display()
        );
        total += seed.len();
        expected.push(path);
    }
    for (target, _) in targets::TARGETS {
        let stray = files(&folder("seeds").join(target));
        assert!(
            stray.iter().all(|file| expected.contains(file)),
            "{stray:?}"
        );
    }
    assert!(total < 100 << 10, "{total} bytes of seeds");
}

#[test]
fn every_seed_of_a_disk_or_document_is_taken() {
    use labpack::{formats, manifest, pack, plan::Receipt, store, unpack};
    for (target, name, seed) in hostile_seeds::all() {
        let taken = match (target, name) {
            ("vhd", _) => formats::check_blocks(&targets::vhd::file(&seed).unwrap()).is_ok(),
            ("vhdx", _) => formats::check_blocks(&targets::vhdx::file(&seed).unwrap()).is_ok(),
            ("manifest", _) => manifest::read(&seed).is_ok(),
            ("journal", _) => pack::reread_journal(&seed).is_ok(),
            ("index", _) => store::reread_index(&seed).is_ok(),
            ("receipt", "log") => unpack::read_log(&seed) == [1, 1, 0],
            ("receipt", _) => Receipt::read(&seed).is_ok(),
            ("chains", "two-levels") => targets::chains::soundest(&seed) == 2,
            ("chains", "three-levels") => targets::chains::soundest(&seed) == 3,
            ("chains", "four-levels") => targets::chains::soundest(&seed) == 4,
            ("chains", "ladder-sound") => targets::chains::soundest(&seed) == 256,
            _ => true,
        };
        assert!(taken, "{target}/{name}");
    }
}
