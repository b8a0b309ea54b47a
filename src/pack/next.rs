//! The command to type once a pack is made, or planned.

use std::path::Path;

use super::{Packed, Request, earlier::Stock};
use crate::{manifest::StorePlace, report::quoted};

/// Returns the command to type after `packed`: it unpacks the pack, or makes what a dry run
/// planned. `DEST` stands for a folder that only the user knows.
pub(super) fn next(request: &Request, packed: &Packed, stock: &Stock) -> String {
    let mut words = vec!["labpack".to_owned()];
    if request.dry_run {
        words.push("pack".to_owned());
        words.extend(packed.exports.iter().map(|export| quoted(export)));
        words.extend(
            request
                .output
                .is_some()
                .then(|| option("output", &packed.pack)),
        );
    } else {
        words.extend(["unpack".to_owned(), quoted(&packed.pack), "DEST".to_owned()]);
    }
    let shared = stock.place == StorePlace::Shared;
    words.extend(shared.then(|| option("store", &stock.folder)));
    if request.dry_run {
        words.extend(flags(request).map(str::to_owned));
    }
    words.join(" ")
}

fn option(name: &str, path: &Path) -> String {
    format!("--{name} {}", quoted(path))
}

/// The switches of the request, as they are typed.
fn flags(request: &Request) -> impl Iterator<Item = &'static str> {
    let flags = [
        (request.keep_broken, "--keep-broken"),
        (request.include_external, "--include-external"),
        (request.all_parents, "--all-parents"),
    ];
    flags
        .into_iter()
        .filter_map(|(on, flag)| on.then_some(flag))
}
