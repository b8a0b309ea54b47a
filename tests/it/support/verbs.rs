//! The verbs, called the way most tests want them.

use std::path::Path;

use labpack::{
    base::IoTotals,
    pack::{self, PackError, Packed},
    unpack::{self, LinkMode, UnpackError},
    verify::{self, Options, VerifyReport},
};

use super::Watch;

/// What a verb came to, and the bytes it moved.
pub(crate) struct Done<T> {
    pub(crate) outcome: T,
    pub(crate) io: IoTotals,
}

/// A pack in place.
pub(crate) fn here(export: &Path) -> pack::Request {
    pack::Request {
        exports: vec![export.to_owned()],
        ..pack::Request::default()
    }
}

/// A pack to another folder.
pub(crate) fn to(export: &Path, output: &Path) -> pack::Request {
    pack::Request {
        output: Some(output.to_owned()),
        ..here(export)
    }
}

pub(crate) fn try_pack(request: &pack::Request) -> Result<Done<Packed>, PackError> {
    let watch = Watch::default();
    let mut outcome = pack::pack(request, &watch.run())?;
    assert_eq!(outcome.packs.len(), 1, "one export, one pack");
    Ok(Done {
        outcome: outcome.packs.remove(0),
        io: watch.io(),
    })
}

pub(crate) fn pack(request: &pack::Request) -> Done<Packed> {
    try_pack(request).unwrap_or_else(|error| panic!("{request:?}: {error:?}"))
}

pub(crate) fn try_restore(pack: &Path, store: Option<&Path>) -> Result<(), PackError> {
    let request = pack::RestoreRequest {
        pack: pack.to_owned(),
        store: store.map(Path::to_owned),
        ..pack::RestoreRequest::default()
    };
    pack::restore(&request, &Watch::default().run()).map(drop)
}

#[cfg(unix)]
pub(crate) fn restore(pack: &Path) {
    try_restore(pack, None).unwrap_or_else(|error| panic!("{}: {error:?}", pack.display()));
}

/// Those ways of linking that the system can take here; says which it cannot.
pub(crate) fn possible(ways: &[LinkMode]) -> Vec<LinkMode> {
    let folder = tempfile::tempdir().unwrap();
    let trial = labpack::fs::try_links(folder.path(), folder.path()).unwrap();
    let works = |way: &&LinkMode| match (way, &trial.symlink) {
        (LinkMode::Symlink, Err(why)) => {
            println!("skipped: --link symlink: {why}");
            false
        }
        _ => true,
    };
    ways.iter().filter(works).copied().collect()
}

/// An unpack by one way of linking.
pub(crate) fn by(link: LinkMode, pack: &Path, dest: &Path) -> unpack::Request {
    unpack::Request {
        link,
        ..unpack::Request::new(pack, dest)
    }
}

pub(crate) fn try_unpack(request: &unpack::Request) -> Result<Done<unpack::Outcome>, UnpackError> {
    let watch = Watch::default();
    let outcome = unpack::unpack(request, &watch.run())?;
    Ok(Done {
        outcome,
        io: watch.io(),
    })
}

pub(crate) fn unpack(request: &unpack::Request) -> Done<unpack::Outcome> {
    try_unpack(request).unwrap_or_else(|error| panic!("{request:?}: {error:?}"))
}

pub(crate) fn verify(path: &Path, store: Option<&Path>, content: bool) -> VerifyReport {
    let options = Options {
        content,
        store: store.map(Path::to_owned),
    };
    verify::verify(&[path.to_owned()], &options, &Watch::default().run()).unwrap()
}

/// Demands that exactly `chains` chains stand below `path`, and that nothing is wrong.
pub(crate) fn must_verify(path: &Path, store: Option<&Path>, chains: u64) {
    let report = verify(path, store, false);
    let findings: Vec<_> = report.all_findings().collect();
    assert!(!report.found_errors(), "{}: {findings:#?}", path.display());
    assert_eq!(
        (report.chains.ok, report.chains.broken),
        (chains, 0),
        "{}",
        path.display()
    );
}
