//! Canonical masking: the digest is blind to what a relocation may touch, and to nothing else.
//!
//! An input is a byte that says which format follows and one that says in what pieces the file
//! is hashed; then what `vhd` or `vhdx` take, and at its end eight bytes that are written over
//! masked ones.

use std::sync::Arc;

use labpack::{
    base::{ByteRange, CanonicalId, Patch, ReadAt, Write},
    formats::{self, CanonicalForm},
};

use super::{
    disk::{Facts, check_same_digest, patched},
    vhd, vhdx,
};

/// Longer files are not hashed.
const HASHED: u64 = 8 << 20;

/// The target.
pub fn run(input: &[u8]) {
    let Some((&[format, piece], rest)) = input.split_first_chunk::<2>() else {
        return;
    };
    let Some((rest, noise)) = rest.split_last_chunk::<8>() else {
        return;
    };
    let file = if format & 1 == 0 {
        vhd::file(rest)
    } else {
        vhdx::file(rest)
    };
    let Some(file) = file else { return };
    let file: Arc<dyn ReadAt> = Arc::new(file);
    let facts = Facts::of(&file);
    let Some(form) = &facts.form else { return };
    check_visible(&file, form);
    check_pieces(&file, form, usize::from(piece) * 97 + 4096);
    check_blind(&file, form, u64::from_le_bytes(*noise));
}

/// What every reader takes for data is not masked: signatures, VHD footers, VHDX region tables.
fn check_visible(file: &Arc<dyn ReadAt>, form: &CanonicalForm) {
    let vhdx = formats::recognise(file).ok().flatten() == Some(formats::DiskFormat::Vhdx);
    let end = file.len();
    let visible = if vhdx {
        [(0, 0x1_0000), (0x3_0000, 0x5_0000)]
    } else {
        [(0, 512.min(end)), (end.saturating_sub(511), end)]
    };
    for (start, end) in visible {
        let range = ByteRange::between(start, end).expect("a range the right way round");
        assert!(
            form.masks.iter().all(|mask| !mask.overlaps(range)),
            "{range} is masked"
        );
    }
}

/// The digest does not depend on the pieces in which a file is read.
fn check_pieces(file: &Arc<dyn ReadAt>, form: &CanonicalForm, piece: usize) {
    if file.len() <= HASHED {
        assert_eq!(digest(file, form, piece), digest(file, form, 1 << 16));
    }
}

fn digest(file: &Arc<dyn ReadAt>, form: &CanonicalForm, piece: usize) -> CanonicalId {
    let mut hasher = blake3::Hasher::new();
    let mut buf = vec![0; piece];
    let mut offset = 0;
    while offset < file.len() {
        let left = usize::try_from(file.len() - offset).unwrap_or(usize::MAX);
        let chunk = &mut buf[..piece.min(left)];
        file.read_exact_at(chunk, offset)
            .expect("bytes inside the file");
        form.mask(offset, chunk);
        hasher.update(chunk);
        offset += chunk.len() as u64;
    }
    form.id(hasher.finalize().into())
}

/// A masked byte that changes leaves a file that is no disk, or another that says something else
/// in words which are kept, or the same digest and the same disk.
fn check_blind(file: &Arc<dyn ReadAt>, form: &CanonicalForm, noise: u64) {
    let total: u64 = form.masks.iter().map(|mask| mask.len()).sum();
    let Some(mut at) = (noise >> 8).checked_rem(total) else {
        return;
    };
    for mask in &form.masks {
        if at >= mask.len() {
            at -= mask.len();
            continue;
        }
        let write = Write::bytes(mask.start() + at, [noise as u8]);
        let range = ByteRange::new(write.offset, 1).expect("a byte of the file");
        let after = patched(file, Patch::single(vec![write]));
        let facts = Facts::of(&after);
        if let Some(now) = facts.form.as_ref().filter(|now| now.kept == form.kept) {
            check_same_digest((file, form), (&after, now), &[range]);
            same_disk(
                &formats::read_info(file).expect("a disk"),
                facts.info.as_ref(),
            );
        }
        return;
    }
}

/// What a guest sees, and what children know the disk by, is not among the masked bytes.
fn same_disk(before: &formats::DiskInfo, after: Option<&formats::DiskInfo>) {
    let seen = |info: &formats::DiskInfo| {
        let parent = info.parent.as_ref().map(|parent| (parent.id, parent.id2));
        (
            info.format,
            info.kind,
            info.virtual_size,
            info.block_size,
            info.own_id,
            info.page83_id,
            parent,
        )
    };
    assert_eq!(after.map(seen), Some(seen(before)));
}
