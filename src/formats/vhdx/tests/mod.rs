//! What the whole format is held to, and what these tests need for it.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_methods,
    reason = "tests know their numbers, and make their own files"
)]

mod exports;
mod fixtures;
mod hostile;
mod identity;
mod round_trip;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use sha2::{Digest, Sha256};

use super::*;
use crate::{
    base::{CanonicalId, DiskId},
    formats::{DiskFormat, DiskKind, NewDisk, NewParent, ParentPaths, Source},
};

/// The folder of fixtures, where there is one.
fn fixture_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("LABPACK_FIXTURES");
    if folder.is_none() {
        println!("skipped: LABPACK_FIXTURES names no folder");
    }
    folder.map(PathBuf::from)
}

/// A file on disk that can be longer than memory.
struct TestFile {
    file: Mutex<File>,
    len: u64,
}

impl TestFile {
    fn new(mut file: File) -> Self {
        let len = file.seek(SeekFrom::End(0)).unwrap();
        Self {
            file: Mutex::new(file),
            len,
        }
    }

    fn open(path: &Path) -> Arc<dyn ReadAt> {
        Arc::new(Self::new(File::open(path).unwrap()))
    }
}

impl ReadAt for TestFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let mut file = self.file.lock().unwrap();
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buf)
    }
}

/// Unpacks a `.gz` or `.bz2` into a file without a name; `None` where the tool is missing.
fn unpack(packed: &Path) -> Option<Arc<dyn ReadAt>> {
    let gzip = packed.extension().is_some_and(|ext| ext == "gz");
    let tool = if gzip { "gzip" } else { "bzip2" };
    let child = Command::new(tool)
        .arg("-dc")
        .arg(packed)
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        println!("skipped: no {tool} for {}", packed.display());
        return None;
    };
    let mut file = tempfile::tempfile().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut chunk, mut len) = (Vec::new(), 0);
    while (&mut stdout).take(1 << 16).read_to_end(&mut chunk).unwrap() > 0 {
        if chunk.iter().any(|&byte| byte != 0) {
            file.seek(SeekFrom::Start(len)).unwrap();
            file.write_all(&chunk).unwrap();
        }
        len += chunk.len() as u64;
        chunk.clear();
    }
    file.set_len(len).unwrap();
    assert!(child.wait().unwrap().success(), "{}", packed.display());
    Some(Arc::new(TestFile::new(file)))
}

/// A chain as its guest reads it: the leaf first.
struct Chain(Vec<Box<dyn Layer>>);

impl Chain {
    fn open(files: impl IntoIterator<Item = Arc<dyn ReadAt>>) -> Self {
        Self(
            files
                .into_iter()
                .map(|file| open_layer(file).unwrap())
                .collect(),
        )
    }

    fn of(files: &[&Vec<u8>]) -> Self {
        Self::open(
            files
                .iter()
                .map(|&file| Arc::new(file.clone()) as Arc<dyn ReadAt>),
        )
    }

    fn size(&self) -> u64 {
        self.0[0].info().virtual_size.0
    }

    fn read(&self, level: usize, mut offset: u64, mut buf: &mut [u8]) {
        while !buf.is_empty() {
            let Some(layer) = self.0.get(level) else {
                panic!("the base asks for a parent");
            };
            if offset >= layer.info().virtual_size.0 {
                return buf.fill(0);
            }
            let extent = layer.extent(offset).unwrap();
            assert!(extent.len > 0);
            let len = extent.len.min(buf.len() as u64);
            let (part, rest) = buf.split_at_mut(len as usize);
            match extent.source {
                Source::Here(at) => layer.read_file(part, at).unwrap(),
                Source::Zero => part.fill(0),
                Source::Parent => self.read(level + 1, offset, part),
            }
            buf = rest;
            offset += len;
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size() as usize];
        self.read(0, 0, &mut bytes);
        bytes
    }

    fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        let mut offset = 0;
        while offset < self.size() {
            let len = (self.size() - offset).min(1 << 20);
            let mut chunk = vec![0; len as usize];
            self.read(0, offset, &mut chunk);
            hasher.update(&chunk);
            offset += len;
        }
        hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// The canonical digest of a disk.
fn canonical_id(file: &dyn ReadAt) -> Result<CanonicalId, FormatError> {
    let form = canonical_form(file)?;
    let mut hasher = blake3::Hasher::new();
    let mut offset = 0;
    while offset < file.len() {
        let mut chunk = vec![0; (file.len() - offset).min(1 << 20) as usize];
        file.read_exact_at(&mut chunk, offset).unwrap();
        form.mask(offset, &mut chunk);
        hasher.update(&chunk);
        offset += chunk.len() as u64;
    }
    Ok(form.id(hasher.finalize().into()))
}

/// A file of any length that holds but a few bytes; the rest are zero.
#[derive(Default)]
struct Sparse {
    pieces: BTreeMap<u64, Vec<u8>>,
    len: u64,
    at: u64,
    /// Bytes asked for, and the most at a time.
    asked: Mutex<(u64, u64)>,
}

impl Sparse {
    /// Puts bytes over what was there; a piece is replaced only by one at the same offset.
    fn put(&mut self, offset: u64, bytes: Vec<u8>) {
        self.len = self.len.max(offset + bytes.len() as u64);
        self.pieces.insert(offset, bytes);
    }
}

impl ReadAt for Sparse {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset + buf.len() as u64;
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut asked = self.asked.lock().unwrap();
        *asked = (asked.0 + buf.len() as u64, asked.1.max(buf.len() as u64));
        buf.fill(0);
        for (&start, piece) in self.pieces.range(..end) {
            let (from, to) = (start.max(offset), (start + piece.len() as u64).min(end));
            if from < to {
                let piece = &piece[(from - start) as usize..(to - start) as usize];
                buf[(from - offset) as usize..(to - offset) as usize].copy_from_slice(piece);
            }
        }
        Ok(())
    }
}

impl io::Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(self.at, bytes.to_vec());
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(0) => self.len,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(self.at)
    }
}

/// Puts right checksums into both headers and both region tables, after a change.
fn seal_all(bytes: &mut [u8]) {
    let (header, table) = (1 << 12, 1 << 16);
    for (start, len) in [
        (0x1_0000, header),
        (0x2_0000, header),
        (0x3_0000, table),
        (0x4_0000, table),
    ] {
        raw::seal(&mut bytes[start..start + len]);
    }
}

fn id(text: &str) -> DiskId {
    text.parse().unwrap()
}

const BASE_ID: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const CHILD_ID: &str = "bbbbbbbb-0000-4000-8000-000000000002";

fn paths(relative: &str, absolute: &str) -> ParentPaths {
    ParentPaths {
        relative: Some(relative.to_owned()),
        absolute: Some(absolute.to_owned()),
        volume: None,
    }
}

/// A disk of blocks of 1 MiB, so that images stay small.
fn small(kind: DiskKind, size: u64, data: Vec<(u64, Vec<u8>)>) -> NewDisk {
    let child = kind == DiskKind::Differencing;
    let own_id = id(if child { CHILD_ID } else { BASE_ID });
    let paths = paths(r".\base.vhdx", r"C:\labs\base.vhdx");
    NewDisk {
        block_size: Some(1 << 20),
        parent: child.then(|| NewParent {
            id: id(BASE_ID),
            paths,
            timestamp: 0,
        }),
        data,
        ..NewDisk::new(DiskFormat::Vhdx, kind, size, own_id)
    }
}

/// A child of two blocks, one partial, one full, one not there.
fn child() -> Vec<u8> {
    let data = vec![
        (512, vec![1; 1024]),
        (5 * 512, vec![2; 512]),
        (1 << 20, vec![3; 1 << 20]),
    ];
    small(DiskKind::Differencing, 3 << 20, data)
        .to_bytes()
        .unwrap()
}

/// Its parent.
fn base() -> Vec<u8> {
    let data = vec![(0, vec![9; 4096]), ((2 << 20) + 512, vec![8; 512])];
    small(DiskKind::Dynamic, 3 << 20, data).to_bytes().unwrap()
}
