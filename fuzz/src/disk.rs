//! What every file is held to that calls itself a disk, whichever its format.

use std::{io, sync::Arc};

use labpack::{
    base::{ByteRange, Patch, Patched, ReadAt},
    formats::{
        self, BlockCensus, CanonicalForm, DiskInfo, HintKind, Layer, ParentPaths, PathHint, Source,
    },
};

/// Extents that are looked at from the start of a disk.
const EXTENTS: usize = 24;
/// More bytes than these are not compared.
const COMPARED: u64 = 2 << 20;

/// Asks everything of a file, and holds the answers against each other.
pub fn check(file: &Arc<dyn ReadAt>) {
    let facts = Facts::of(file);
    let _ = formats::recognise(file);
    let Some(info) = &facts.info else {
        assert!(facts.census.is_none() && facts.form.is_none() && facts.layer.is_none());
        return;
    };
    assert_eq!(info.file_len, file.len());
    facts.check_masks(file.len());
    facts.check_extents(file.len());
    for paths in [short_paths(), long_paths()] {
        if let Ok(patch) = formats::relink(file, &paths) {
            check_relinked(file, &facts, &paths, patch);
        }
    }
    if let Ok(patch) = formats::store_form(file, PARENT) {
        check_store_form(file, &facts, patch);
    }
}

const PARENT: &str = "base.0123456789ab.vhdx";

fn short_paths() -> ParentPaths {
    ParentPaths {
        relative: Some(r".\b.vhdx".to_owned()),
        absolute: Some(r"D:\b.vhdx".to_owned()),
        volume: None,
    }
}

fn long_paths() -> ParentPaths {
    let deep = format!(r"..\..\RefDisk\{}\b.vhdx", "x".repeat(200));
    ParentPaths {
        relative: Some(deep),
        absolute: None,
        volume: None,
    }
}

/// What a file tells.
pub struct Facts {
    pub info: Option<DiskInfo>,
    census: Option<BlockCensus>,
    pub form: Option<CanonicalForm>,
    layer: Option<Box<dyn Layer>>,
}

impl Facts {
    pub fn of(file: &Arc<dyn ReadAt>) -> Self {
        Self {
            info: formats::read_info(file).ok(),
            census: formats::check_blocks(file).ok(),
            form: formats::canonical_form(file).ok(),
            layer: formats::open_layer(Arc::clone(file)).ok(),
        }
    }

    /// Masks are sorted, apart from each other, not empty, inside the file.
    fn check_masks(&self, len: u64) {
        let Some(form) = &self.form else { return };
        assert!(
            form.masks
                .iter()
                .all(|mask| mask.end() <= len && !mask.is_empty())
        );
        assert!(
            form.masks
                .windows(2)
                .all(|pair| pair[0].end() < pair[1].start())
        );
    }

    /// Extents go on and end with the disk. Where the blocks are in order, data is in the file,
    /// and none of it is masked.
    fn check_extents(&self, len: u64) {
        for (offset, extent) in self.extents() {
            let left = self.size() - offset;
            assert!(
                extent.len > 0 && extent.len <= left,
                "{extent:?} at {offset:#x}"
            );
            let Source::Here(at) = extent.source else {
                continue;
            };
            let data = ByteRange::new(at, extent.len).expect("data that ends");
            if self.census.is_some() {
                assert!(
                    data.end() <= len,
                    "data at {data} of a file of {len:#x} bytes"
                );
            }
            let masks = self.form.iter().flat_map(|form| &form.masks);
            assert!(
                masks.into_iter().all(|mask| !mask.overlaps(data)),
                "{data} is masked"
            );
        }
    }

    fn size(&self) -> u64 {
        self.info.as_ref().map_or(0, |info| info.virtual_size.0)
    }

    /// The first extents, and those at a few other places.
    fn extents(&self) -> Vec<(u64, formats::Extent)> {
        let (Some(layer), size) = (&self.layer, self.size()) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut offset = 0;
        while found.len() < EXTENTS && offset < size {
            let Ok(extent) = layer.extent(offset) else {
                break;
            };
            found.push((offset, extent));
            offset += extent.len;
        }
        let others = [1, 511, 512, size / 2, size / 3 * 2, size - 1];
        let others = others.into_iter().filter(|&offset| offset < size);
        found.extend(others.filter_map(|at| Some((at, layer.extent(at).ok()?))));
        found
    }

    /// The first bytes of each extent, as far as they can be read.
    fn data(&self) -> Vec<Option<[u8; 64]>> {
        let read = |(_, extent): (u64, formats::Extent)| {
            let (Source::Here(at), Some(layer)) = (extent.source, &self.layer) else {
                return None;
            };
            let mut bytes = [0; 64];
            let len = usize::try_from(extent.len).map_or(64, |len| len.min(64));
            layer.read_file(&mut bytes[..len], at).ok()?;
            Some(bytes)
        };
        self.extents().into_iter().map(read).collect()
    }

    /// Checks that `other` is the same disk with another locator.
    fn check_same(&self, other: &Self) {
        let (before, after) = (
            self.info.as_ref().unwrap(),
            other.info.as_ref().expect("a disk"),
        );
        let plain = |info: &DiskInfo| DiskInfo {
            parent: None,
            file_len: 0,
            remarks: Vec::new(),
            ..info.clone()
        };
        assert_eq!(plain(after), plain(before));
        let ids = |info: &DiskInfo| info.parent.as_ref().map(|parent| (parent.id, parent.id2));
        assert_eq!(ids(after), ids(before));
        if let Some(census) = &self.census {
            let now = other.census.as_ref().expect("blocks are in order still");
            assert_eq!((now.blocks, now.present), (census.blocks, census.present));
        }
        assert_eq!(other.extents(), self.extents());
        assert!(other.data() == self.data(), "the guest's data changed");
    }
}

/// The file once `patch` is carried out.
pub fn patched(file: &Arc<dyn ReadAt>, patch: Patch) -> Arc<dyn ReadAt> {
    let len = patch.len_after(file.len());
    let inside = |offset: u64, len_: u64| offset.checked_add(len_).is_some_and(|end| end <= len);
    assert!(
        patch
            .writes()
            .all(|write| inside(write.offset, write.len())),
        "a write past the end"
    );
    Arc::new(After {
        file: Arc::clone(file),
        patch,
    })
}

struct After {
    file: Arc<dyn ReadAt>,
    patch: Patch,
}

impl ReadAt for After {
    fn len(&self) -> u64 {
        self.patch.len_after(self.file.len())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let (file, patch) = (&*self.file, &self.patch);
        Patched { file, patch }.read_exact_at(buf, offset)
    }
}

/// A relinked disk is the same disk, names its parent by the new paths, and has nothing more to
/// be relinked.
fn check_relinked(file: &Arc<dyn ReadAt>, before: &Facts, paths: &ParentPaths, patch: Patch) {
    let writes = ranges(&patch);
    let after = patched(file, patch);
    let facts = Facts::of(&after);
    before.check_same(&facts);
    facts.check_masks(after.len());
    let link = facts
        .info
        .as_ref()
        .and_then(|info| info.parent.as_ref())
        .expect("a parent");
    for (kind, path) in [
        (HintKind::Relative, &paths.relative),
        (HintKind::Absolute, &paths.absolute),
    ] {
        let Some(path) = path.clone() else { continue };
        let hint = PathHint { kind, path };
        assert!(
            link.hints.contains(&hint),
            "{hint:?} is not among {:?}",
            link.hints
        );
    }
    let again = formats::relink(&after, paths).expect("it still has a parent");
    assert!(again.is_empty(), "a relinked disk is relinked");
    if let Some(form) = before.form.as_ref().filter(|_| after.len() == file.len()) {
        let now = facts.form.as_ref().expect("a form still");
        check_same_digest((file, form), (&after, now), &writes);
    }
}

/// Store form is a fixed point, of the same length, and the same disk.
fn check_store_form(file: &Arc<dyn ReadAt>, before: &Facts, patch: Patch) {
    let form = before
        .form
        .as_ref()
        .expect("store form has a canonical form");
    let writes = ranges(&patch);
    let after = patched(file, patch);
    assert_eq!(after.len(), file.len());
    let facts = Facts::of(&after);
    before.check_same(&facts);
    let now = facts.form.as_ref().expect("a form still");
    check_same_digest((file, form), (&after, now), &writes);
    let again = formats::store_form(&after, PARENT).expect("store form is a disk");
    let ranges = ranges(&again);
    let twice = patched(&after, again);
    let total: u64 = ranges.iter().map(|range| range.len()).sum();
    if total <= COMPARED {
        let same = |range: &ByteRange| bytes(&after, *range) == bytes(&twice, *range);
        assert!(
            ranges.iter().all(same),
            "store form changes when it is made again"
        );
    }
}

fn ranges(patch: &Patch) -> Vec<ByteRange> {
    let range = |write: &labpack::base::Write| ByteRange::new(write.offset, write.len());
    patch
        .writes()
        .map(|write| range(write).expect("a write that ends"))
        .collect()
}

/// The bytes of a range, read in pieces.
fn bytes(file: &Arc<dyn ReadAt>, range: ByteRange) -> Vec<u8> {
    let mut bytes = vec![0; range.len() as usize];
    for (i, piece) in bytes.chunks_mut(1 << 16).enumerate() {
        let offset = range.start() + ((i as u64) << 16);
        file.read_exact_at(piece, offset)
            .expect("bytes inside the file");
    }
    bytes
}

type Formed<'a> = (&'a Arc<dyn ReadAt>, &'a CanonicalForm);

/// Checks that two files of one length, which differ in `writes` alone, have one canonical
/// digest, without reading all of them.
pub fn check_same_digest(one: Formed<'_>, two: Formed<'_>, writes: &[ByteRange]) {
    assert_eq!(
        one.1.kept, two.1.kept,
        "what masked bytes say counts all the same"
    );
    let masks = one.1.masks.iter().chain(&two.1.masks);
    let mut cuts: Vec<_> = masks
        .chain(writes)
        .flat_map(|r| [r.start(), r.end()])
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    let mut left = COMPARED;
    for cut in cuts.windows(2) {
        let Some(piece) = ByteRange::between(cut[0], cut[1]) else {
            continue;
        };
        let masked = |form: &CanonicalForm| form.masks.iter().any(|mask| mask.contains(piece));
        let (first, second) = (masked(one.1), masked(two.1));
        let written = writes.iter().any(|write| write.contains(piece));
        if (first && second) || !(first || second || written) {
            continue;
        }
        left = match left.checked_sub(piece.len()) {
            Some(left) => left,
            None => return,
        };
        let seen = |file, masked| {
            if masked {
                vec![0; piece.len() as usize]
            } else {
                bytes(file, piece)
            }
        };
        assert!(
            seen(one.0, first) == seen(two.0, second),
            "the digest sees a change at {piece}"
        );
    }
}
