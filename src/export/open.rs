//! A chain, opened for reading.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::Neighbourhood;
use crate::{
    base::Run,
    chain::{BadLayers, VirtualDisk, resolve},
    formats::{FormatError, open_layer},
    fs::{self, FsError, SourceFile},
    report::{Finding, Severity},
};

/// Why a chain cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenChainError {
    /// A file cannot be opened.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// There is no disk at that path.
    #[error("`{0}` is no disk")]
    NotADisk(PathBuf),
    /// The chain does not hold: the errors found, leaf first.
    #[error("the chain of `{path}` is broken: {}", first(.findings))]
    Broken {
        /// The leaf.
        path: PathBuf,
        /// The errors of it and its ancestors; at least one.
        findings: Vec<Finding>,
    },
    /// A disk of the chain cannot be read.
    #[error("cannot read the disk `{path}`")]
    Disk {
        /// Which.
        path: PathBuf,
        /// Why.
        source: FormatError,
    },
    /// The disks make no chain.
    #[error(transparent)]
    Layers(#[from] BadLayers),
}

fn first(findings: &[Finding]) -> &str {
    findings.first().map_or("", |finding| &finding.message)
}

/// Opens the disk at `path` as its guest sees it. Its ancestors may be in its own folder and in
/// `roots`; nothing else is opened.
///
/// # Errors
/// [`OpenChainError`]; a broken chain is not opened at all.
pub fn open_chain(
    path: &Path,
    roots: &[PathBuf],
    run: &Run<'_>,
) -> Result<VirtualDisk, OpenChainError> {
    let path = fs::absolute(path)?;
    let mut disks = Neighbourhood::new(run.meter);
    for root in roots {
        disks.add_unscanned(&fs::absolute(root)?, &root.display().to_string());
    }
    let Some(leaf) = disks.add_disk(&path, "")? else {
        return Err(no_disk(path));
    };
    let graph = resolve(&mut disks, &[leaf]);
    let chain = graph.chain(leaf);
    if graph.is_broken(leaf) {
        let all = chain.iter().flat_map(|&node| graph.findings(node));
        let errors = all.filter(|finding| finding.severity == Severity::Error);
        return Err(OpenChainError::Broken {
            path,
            findings: errors.cloned().collect(),
        });
    }
    let layers = chain.into_iter().map(|node| {
        let file = disks.file(node);
        let source = Arc::new(SourceFile::open(file, run.meter)?);
        open_layer(source).map_err(|source| OpenChainError::Disk {
            path: file.to_owned(),
            source,
        })
    });
    Ok(VirtualDisk::new(layers.collect::<Result<_, _>>()?)?)
}

fn no_disk(path: PathBuf) -> OpenChainError {
    match fs::look(&path) {
        Ok(fs::Entry::Missing) => OpenChainError::Fs(FsError::Io {
            action: "open",
            path,
            source: std::io::ErrorKind::NotFound.into(),
        }),
        Err(error) => error.into(),
        Ok(_) => OpenChainError::NotADisk(path),
    }
}
