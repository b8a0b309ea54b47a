//! Files that somebody else has open, or changes meanwhile.

use std::{fs, io, path::Path};

use super::{MIB, meter};
use crate::{
    base::{Attributes, FileTime, Run, Silent},
    fs::{
        FsError, Sink, SourceFile, Subject, read_bounded, set_times_and_attributes, write_atomic,
    },
};

/// Does something to the file at the first chunk.
struct Meddler(Option<Box<dyn FnOnce() + Send>>);

impl Sink for Meddler {
    fn data(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        if let Some(meddle) = self.0.take() {
            meddle();
        }
        Ok(())
    }

    fn hole(&mut self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
}

fn streamed_while(meddle: impl FnOnce(&Path) + Send + 'static) -> Result<(), FsError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    fs::write(&path, vec![1; 3 * MIB]).unwrap();
    set_times_and_attributes(&path, FileTime(1_000_000_000), Attributes::default()).unwrap();
    let meter = meter();
    let source = SourceFile::open(&path, &meter).unwrap();
    let run = Run {
        progress: &Silent,
        meter: &meter,
    };
    let mut meddler = Meddler(Some(Box::new(move || meddle(&path))));
    let streamed = Subject::of(&source).into_sink(&mut meddler).read(&run);
    streamed.map(drop)
}

fn opened(path: &Path) -> fs::File {
    fs::OpenOptions::new().write(true).open(path).unwrap()
}

#[cfg(unix)]
#[test]
fn a_file_that_changes_while_it_streams_is_noticed() {
    type Deed = fn(&Path);
    let deeds: [(&str, Deed); 5] = [
        ("is 4000000 bytes long", |path| {
            opened(path).set_len(4_000_000).unwrap();
        }),
        ("ends early", |path| {
            opened(path).set_len(MIB as u64 + 5).unwrap();
        }),
        ("another file", |path| {
            write_atomic(path, &vec![1; 3 * MIB]).unwrap();
        }),
        ("was written to", |path| {
            io::Write::write_all(&mut opened(path), b"x").unwrap();
        }),
        ("is gone", |path| fs::remove_file(path).unwrap()),
    ];
    for (sign, deed) in deeds {
        let outcome = streamed_while(deed);
        assert!(
            matches!(&outcome, Err(FsError::Changed { what, .. }) if what.contains(sign)),
            "{sign}: {outcome:?}"
        );
    }
    streamed_while(|_| ()).unwrap();
}

#[cfg(windows)]
#[test]
fn nobody_can_write_to_a_file_while_it_is_read() {
    streamed_while(|path| {
        let refused = fs::OpenOptions::new().write(true).open(path).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(32));
    })
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    fs::write(&path, "x").unwrap();
    let _writer = opened(&path);
    let refused = SourceFile::open(&path, &meter());
    assert!(matches!(refused, Err(FsError::InUse { .. })), "{refused:?}");
}

#[cfg(windows)]
#[test]
fn a_file_is_flushed_once_whoever_reads_it_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    fs::write(&path, "x").unwrap();
    let reader = SourceFile::open(&path, &meter()).unwrap();
    let let_go = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        drop(reader);
    });
    let refused = fs::OpenOptions::new().write(true).open(&path).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(32), "it is held");
    crate::fs::sync_file(&path).unwrap();
    let_go.join().unwrap();
}

#[test]
fn a_file_is_replaced_although_others_read_it_and_read_although_others_replace_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.json");
    write_atomic(&path, b"0").unwrap();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for round in 1..=50 {
                write_atomic(&path, round.to_string().as_bytes()).unwrap();
            }
        });
        for _ in 0..50 {
            let read = read_bounded(&path, 100).unwrap();
            assert!(std::str::from_utf8(&read).unwrap().parse::<u8>().is_ok());
        }
    });
    assert_eq!(read_bounded(&path, 100).unwrap(), b"50");
}
