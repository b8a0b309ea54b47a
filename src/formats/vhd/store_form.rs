//! The one spelling of a differencing VHD that all its exports share.

use super::{
    canonical,
    disk::Disk,
    locator::{W2KU, W2RU},
    names::Names,
    raw::RawLocator,
    rewrite::{Rewrite, len, reserve, slot},
};
use crate::{
    base::{ByteRange, Patch, ReadAt},
    formats::{FormatError, ParentPaths},
};

/// Gives every masked byte a value that depends on nothing but the masks and `parent_name`.
///
/// Both locators name the parent beside the child: `W2ku` in the first area, `W2ru` in the
/// second, as in Windows' files; where there is but one, it is `W2ru`'s. Other areas stay
/// reserved by unused slots, so that the same bytes remain masked.
pub(super) fn store_form(
    file: &dyn ReadAt,
    disk: &Disk,
    parent_name: &str,
) -> Result<Patch, FormatError> {
    let header = disk.rewritable()?;
    let areas = canonical::areas(file, disk, header)?;
    let names = Names::of(&ParentPaths {
        relative: Some(format!(r".\{parent_name}")),
        ..ParentPaths::default()
    })?;
    let mut rewrite = Rewrite::new(file, disk, header);
    rewrite.raw.parent_timestamp = 0.into();
    rewrite.raw.parent_name = names.field;
    rewrite.raw.locators = [RawLocator::UNUSED; 8];
    let codes: &[_] = if areas.len() > 1 {
        &[W2KU, W2RU]
    } else {
        &[W2RU]
    };
    let mut codes = codes.iter();
    for (i, &area) in areas.iter().enumerate() {
        let locator = match codes.next() {
            Some(&code) => name_in(&mut rewrite, code, area, &names.relative)?,
            None => {
                rewrite.fill(area, &[])?;
                reserve(area)
            }
        };
        if let Some(slot) = rewrite.raw.locators.get_mut(i) {
            *slot = locator;
        }
    }
    rewrite.finish()
}

fn name_in(
    rewrite: &mut Rewrite<'_>,
    code: [u8; 4],
    area: ByteRange,
    text: &[u8],
) -> Result<RawLocator, FormatError> {
    if len(text) > area.len() {
        let place = format!("parent locator at {:#x}", area.start());
        let what = format!("a path of {} bytes in {}", text.len(), area.len());
        return Err(FormatError::unsupported(place, what));
    }
    rewrite.fill(area, text)?;
    Ok(slot(code, area, text))
}
