//! Naming another place of the same parent.

use super::{
    disk::Disk,
    locator::{MAC, MACX, W2KU, W2RU, WI2K, WI2R, read_range},
    names::Names,
    raw::RawLocator,
    rewrite::{Rewrite, len, reserve, slot},
    rooms::{self, Room},
};
use crate::{
    base::{ByteRange, Patch, ReadAt},
    formats::{FormatError, ParentPaths},
};

/// Returns the change after which every path in the child leads to the parent by `paths`.
///
/// `W2ku` and `W2ru` stay in their areas where they fit, and go into a new one before the footer
/// where they do not. Locators of kinds that nothing has read since Virtual PC would be stale:
/// their slots are emptied. What other codes mean is not known; they stay.
pub(super) fn relink(
    file: &dyn ReadAt,
    disk: &Disk,
    paths: &ParentPaths,
) -> Result<Patch, FormatError> {
    let header = disk.rewritable()?;
    let names = Names::of(paths)?;
    let rooms = rooms::survey(file, disk, header)?;
    let mut relink = Relink {
        file,
        rewrite: Rewrite::new(file, disk, header),
        areas: rooms.map(|room: Room| room.safe()),
    };
    for code in [WI2K, WI2R, MAC, MACX] {
        for at in relink.slots(code) {
            relink.empty(at)?;
        }
    }
    relink.name(W2KU, &names.absolute)?;
    relink.name(W2RU, &names.relative)?;
    relink.rewrite.raw.parent_name = names.field;
    relink.rewrite.finish()
}

struct Relink<'a> {
    file: &'a dyn ReadAt,
    rewrite: Rewrite<'a>,
    /// The area of each slot, where it may be touched.
    areas: [Option<ByteRange>; 8],
}

impl Relink<'_> {
    /// The slots that bear `code`.
    fn slots(&self, code: [u8; 4]) -> Vec<usize> {
        let slots = self.rewrite.raw.locators.iter().enumerate();
        let slots = slots.filter(|(_, slot)| slot.code == code);
        slots.map(|(at, _)| at).collect()
    }

    fn area(&self, at: usize) -> Option<ByteRange> {
        self.areas.get(at).copied().flatten()
    }

    fn set(&mut self, at: usize, locator: RawLocator) {
        if let Some(slot) = self.rewrite.raw.locators.get_mut(at) {
            *slot = locator;
        }
    }

    /// Empties a slot; its area, zeroed, stays reserved.
    fn empty(&mut self, at: usize) -> Result<(), FormatError> {
        let area = self.area(at);
        if let Some(area) = area {
            self.rewrite.fill(area, &[])?;
        }
        self.set(at, area.map_or(RawLocator::UNUSED, reserve));
        Ok(())
    }

    /// Makes every slot of `code` say `text`, and sees that there is one.
    fn name(&mut self, code: [u8; 4], text: &[u8]) -> Result<(), FormatError> {
        let (fit, misfit): (Vec<_>, Vec<_>) = self.slots(code).into_iter().partition(|&at| {
            let area = self.area(at);
            self.says(at, text) || area.is_some_and(|area| area.len() >= len(text))
        });
        for &at in fit
            .iter()
            .filter(|&&at| !self.says(at, text))
            .collect::<Vec<_>>()
        {
            self.write_at(at, code, text)?;
        }
        for &at in &misfit {
            self.empty(at)?;
        }
        if fit.is_empty() {
            self.name_elsewhere(code, text)?;
        }
        Ok(())
    }

    /// Writes `text` into the area of the slot `at`.
    fn write_at(&mut self, at: usize, code: [u8; 4], text: &[u8]) -> Result<(), FormatError> {
        if let Some(area) = self.area(at) {
            self.rewrite.fill(area, text)?;
            self.set(at, slot(code, area, text));
        }
        Ok(())
    }

    /// Tells whether the path of the slot `at` reads `text` already.
    fn says(&self, at: usize, text: &[u8]) -> bool {
        let slot = self.rewrite.raw.locators.get(at);
        let now = slot.and_then(|slot| slot.text(self.file.len()));
        let now = now.filter(|now| now.len() == len(text));
        now.is_some_and(|now| read_range(self.file, now).is_ok_and(|now| now == text))
    }

    /// Takes an unused slot: one whose area is large enough, else any, with a new area.
    fn name_elsewhere(&mut self, code: [u8; 4], text: &[u8]) -> Result<(), FormatError> {
        let mut unused = self.slots(RawLocator::UNUSED.code);
        let room = |at: usize| self.area(at).map_or(0, ByteRange::len);
        if let Some(&at) = unused.iter().find(|&&at| room(at) >= len(text)) {
            return self.write_at(at, code, text);
        }
        // The slot that reserves least is missed least.
        unused.sort_by_key(|&at| room(at));
        let Some(&at) = unused.first() else {
            let what = "another path in a header with all eight locators in use";
            return Err(FormatError::unsupported("parent locators", what));
        };
        let area = self.rewrite.grow(text)?;
        self.set(at, slot(code, area, text));
        Ok(())
    }
}
