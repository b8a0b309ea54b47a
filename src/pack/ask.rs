//! What is asked of a disk, beside the digest of its bytes, in the one pass that reads it.

use super::{
    seen::Recalled,
    shelf::{MASK_LIMIT, masked_bytes},
};
use crate::{
    base::{ByteRange, Patch, Payload, ReadAt},
    formats::{CanonicalForm, canonical_form, store_form},
    fs::{Digests, MaskCapture, SourceFile, Subject},
    plan::{Identity, LabFile, Masked, RememberedForm, StoreForm},
};

/// What is asked of a disk beside the digest of its bytes.
pub(super) struct Ask {
    form: CanonicalForm,
    /// The change that blanks what is masked.
    blanking: Patch,
    /// The parent's name in the store.
    parent: String,
    /// The change to store form.
    patch: Patch,
}

impl Ask {
    /// `None` where nothing is, or where the disk has no canonical form.
    pub(super) fn of(
        source: &SourceFile,
        file: &LabFile,
        parent: Option<&str>,
        shareable: bool,
    ) -> Option<Self> {
        // A base disk is exported byte for byte; only paths in a child differ from copy to copy.
        if !shareable || !file.is_child() {
            return None;
        }
        let form = canonical_form(source)
            .ok()
            .filter(|form| !form.masks.is_empty())?;
        let parent = parent?;
        let patch = store_form(source, parent).ok()?;
        if !changes_masked_bytes_alone(source, &form, &patch)? {
            return None;
        }
        Some(Self {
            blanking: form.blanking(),
            form,
            parent: parent.to_owned(),
            patch,
        })
    }

    /// The identity of a disk that need not be read again but for what is masked.
    pub(super) fn remembered(&self, known: &Recalled, source: &dyn ReadAt) -> Option<Identity> {
        let form = known.store_form.as_deref();
        let RememberedForm { id, .. } = form.filter(|form| form.parent == self.parent)?;
        let store_form = StoreForm {
            parent: self.parent.clone(),
            id: *id,
            patch: self.patch.clone(),
        };
        let (canonical, masked) = (*known.canonical.as_deref()?, masked_bytes(source)?);
        Some(Identity {
            canonical,
            masked,
            store_form,
        })
    }

    /// Begins to keep the masked bytes.
    pub(super) fn capture(&self) -> MaskCapture<'_> {
        MaskCapture::new(&self.form, MASK_LIMIT)
    }

    /// Asks it all of a disk that is to be read.
    pub(super) fn add_to<'a>(
        &'a self,
        subject: Subject<'a>,
        capture: &'a mut MaskCapture<'_>,
    ) -> Subject<'a> {
        let subject = subject.form(&self.blanking).form(&self.patch);
        subject.into_sink(capture)
    }

    /// What reading the disk told; nothing where too much of it is masked.
    pub(super) fn answer(&self, digests: &Digests, capture: MaskCapture<'_>) -> Option<Identity> {
        let [blanked, stored] = digests.forms[..] else {
            return None;
        };
        Some(Identity {
            canonical: self.form.id(blanked),
            masked: Masked {
                pieces: capture.finish()?,
                ranges: self.form.masks.clone(),
            },
            store_form: StoreForm {
                parent: self.parent.clone(),
                id: stored,
                patch: self.patch.clone(),
            },
        })
    }
}

/// Tells whether a patch leaves every byte that is not masked as it is: only then do the masked
/// bytes bring a file back from its store form. `None` where the file cannot be read.
fn changes_masked_bytes_alone(
    source: &dyn ReadAt,
    form: &CanonicalForm,
    patch: &Patch,
) -> Option<bool> {
    if patch.new_len.is_some_and(|len| len != source.len()) {
        return Some(false);
    }
    for write in patch
        .writes()
        .filter(|write| matches!(write.payload, Payload::Bytes(_)))
    {
        // As long as bytes that are in memory already.
        let mut before = vec![0; usize::try_from(write.len()).ok()?];
        source.read_exact_at(&mut before, write.offset).ok()?;
        let mut after = before.clone();
        patch.apply(write.offset, &mut after);
        form.mask(write.offset, &mut before);
        form.mask(write.offset, &mut after);
        if before != after {
            return Some(false);
        }
    }
    let zeroed = patch
        .writes()
        .filter(|write| matches!(write.payload, Payload::Zeros(_)));
    let mut zeroed = zeroed.filter_map(|write| ByteRange::new(write.offset, write.len()));
    Some(zeroed.all(|range| range.is_empty() || form.masks.iter().any(|mask| mask.contains(range))))
}
