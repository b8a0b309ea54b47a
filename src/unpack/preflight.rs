//! Everything that could go wrong, asked before a byte is written: one list of all problems.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{
    LinkMode, Request, UnpackError,
    links::LinkTargets,
    memory::Memory,
    places::Places,
    probe::{Probe, adopt, check_folders},
    refdisks::Stock,
    ways::{self, Way},
};
use crate::{
    base::{ContentId, Run},
    export::streams_lost,
    fs::{self, Entry, Volume},
    manifest::{self, Manifest, Place},
    plan::{FileSource, FileStep, Link, RefDiskAction, Roots, UnpackPlan, Wanted},
    report::{Code, Finding, Findings},
    store::JOURNAL_NAME,
};

/// Windows' programs take no longer paths as a rule.
const LONG: usize = 260;

/// What an unpack stands on.
pub(super) struct Ground<'a> {
    pub(super) places: &'a Places,
    pub(super) manifest: &'a Manifest,
    pub(super) memory: &'a Memory,
    pub(super) run: &'a Run<'a>,
    pub(super) roots: &'a Roots,
    names: HashMap<ContentId, String>,
    reset: bool,
}

impl Ground<'_> {
    /// Returns the plan for one way of linking.
    pub(super) fn plan(&self, link: Link, stock: &Stock) -> Result<UnpackPlan, UnpackError> {
        let mut plan = UnpackPlan::of(self.wanted(link));
        stock.meet(&mut plan);
        let targets = LinkTargets::of(self.places, &plan);
        let probe = Probe {
            places: self.places,
            memory: self.memory,
            targets: &targets,
            run: self.run,
        };
        probe.meet(&mut plan, self.reset)?;
        Ok(plan)
    }

    /// Bytes that a file takes up once it is copied. One that is not there has its finding.
    fn bytes_of(&self, step: &FileStep) -> u64 {
        match &step.source {
            FileSource::Pack => {
                let source = step.path.below(&self.places.pack);
                fs::bytes_to_copy(&source).unwrap_or(step.length)
            }
            FileSource::Store(made) => self.bytes_of_ref_disk(&made.ref_disk),
        }
    }

    fn bytes_of_ref_disk(&self, id: &ContentId) -> u64 {
        self.manifest.ref_disk(id).map_or(0, |disk| {
            let source = self.places.ref_disk(self.manifest, disk, &self.names);
            fs::bytes_to_copy(&source).unwrap_or(disk.length)
        })
    }

    fn wanted(&self, link: Link) -> Wanted<'_> {
        Wanted {
            manifest: self.manifest,
            link,
            roots: self.roots,
            names: &self.names,
        }
    }
}

/// What preflight found to be possible.
pub(super) struct Ready {
    pub(super) plan: UnpackPlan,
    pub(super) why: String,
    pub(super) stock: Stock,
    pub(super) names: HashMap<ContentId, String>,
    pub(super) findings: Findings,
    /// The pack's store, where VMs could use it instead of copies.
    pub(super) pack_store: Option<PathBuf>,
}

/// Reads the manifest of the pack.
pub(super) fn read_manifest(places: &Places) -> Result<Manifest, UnpackError> {
    let path = places.pack.join(Manifest::FILE_NAME);
    if fs::look(&path)? == Entry::Missing {
        return Err(UnpackError::NoPack {
            path: places.pack.clone(),
        });
    }
    let bytes = fs::read_bounded(&path, Manifest::MAX_BYTES)?;
    manifest::read(bytes).map_err(|source| UnpackError::Manifest { path, source })
}

/// Asks everything that could go wrong, and works out what is to be done.
pub(super) fn check(
    request: &Request,
    places: &Places,
    manifest: &Manifest,
    memory: &mut Memory,
    run: &Run<'_>,
) -> Result<Ready, UnpackError> {
    let mut findings = Findings::default();
    let Some(roots) = places.roots(manifest, &mut findings) else {
        return Err(UnpackError::Refused(findings));
    };
    if findings.any_error() {
        return Err(UnpackError::Refused(findings));
    }
    check_pack(places, manifest, &mut findings)?;
    adopt(memory, places, manifest, run)?;
    let mut stock = Stock::open(places, run)?;
    let names = stock.names(manifest);
    check_ref_disks(places, manifest, &names, &mut findings)?;
    let ground = Ground {
        places,
        manifest,
        memory,
        roots: &roots,
        names,
        reset: request.reset,
        run,
    };
    if request.link != LinkMode::Copy {
        // Which RefDisks are needed is the same for every way.
        let needed = UnpackPlan::ref_disks_of(ground.wanted(Link::Relocate));
        stock.look_for(&needed, manifest, &mut findings, run)?;
    }
    let Way { plan, why, clones } = ways::choose(request, &ground, &stock)?;
    findings.extend(plan.findings.0.iter().cloned());
    check_folders(places, &plan, &mut findings)?;
    check_volumes(&ground, &plan, clones, &mut findings)?;
    check_lengths(&roots, &plan, &mut findings);
    if findings.any_error() {
        return Err(UnpackError::Refused(findings));
    }
    let names = ground.names;
    let costs = ways::copies(&plan) && !clones && !request.copy_ref_disks;
    Ok(Ready {
        pack_store: costs.then(|| places.near_store(manifest)).flatten(),
        plan,
        why,
        stock,
        names,
        findings,
    })
}

/// Holds the manifest against the pack's files, by name and length.
fn check_pack(
    places: &Places,
    manifest: &Manifest,
    findings: &mut Findings,
) -> Result<(), UnpackError> {
    if fs::look(&places.pack.join(JOURNAL_NAME))? != Entry::Missing {
        findings.push(
            Finding::error(
                Code::UnfinishedRun,
                JOURNAL_NAME,
                "the pack is not finished, or being restored",
            )
            .next("run the same `labpack pack` or `labpack restore` again; it goes on"),
        );
    }
    for file in manifest.files().filter(|file| file.place == Place::Pack) {
        let found = fs::look(&file.path.below(&places.pack))?;
        findings.extend(fault(&found, file.length).map(|(missing, message)| {
            let code = if missing {
                Code::MissingFile
            } else {
                Code::ContentDiffers
            };
            again(code, file.path.as_str(), message)
        }));
        if matches!(found, Entry::File(_)) {
            findings.extend(streams_lost(&file.path.below(&places.pack), &file.path)?);
        }
    }
    Ok(())
}

fn check_ref_disks(
    places: &Places,
    manifest: &Manifest,
    names: &HashMap<ContentId, String>,
    findings: &mut Findings,
) -> Result<(), UnpackError> {
    for disk in &manifest.ref_disks {
        let found = fs::look(&places.ref_disk(manifest, disk, names))?;
        findings.extend(fault(&found, disk.length).map(|(missing, message)| {
            let code = if missing {
                Code::MissingRefDisk
            } else {
                Code::DamagedRefDisk
            };
            again(code, &disk.file, message)
        }));
    }
    Ok(())
}

/// Tells what is wrong with an entry that is to be a file so long, and whether it is missing.
fn fault(found: &Entry, length: u64) -> Option<(bool, String)> {
    match found {
        Entry::File(stamp) if stamp.len == length => None,
        Entry::File(stamp) => Some((
            false,
            format!("is {} bytes long, expected {length}", stamp.len),
        )),
        Entry::Missing => Some((
            true,
            "is named in labpack.json, and is not there".to_owned(),
        )),
        _ => Some((true, "is named in labpack.json, and is no file".to_owned())),
    }
}

fn again(code: Code, path: &str, message: String) -> Finding {
    Finding::error(code, path, message).next("copy it again from where the lab was packed")
}

/// Bytes that are to go onto a volume, and the longest file among them.
#[derive(Default)]
struct Load {
    bytes: u64,
    longest: u64,
}

impl Load {
    /// Adds a file of that length, of which so many bytes take up room.
    fn add(&mut self, length: u64, bytes: u64) {
        self.longest = self.longest.max(length);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn check(&self, volume: &Volume, path: &Path, findings: &mut Findings) {
        if cfg!(windows) && !volume.attaches_disks() {
            findings.push(no_place_for_disks(volume, path));
        }
        if self.bytes > volume.free {
            let message = format!("needs {} bytes, and {} are free", self.bytes, volume.free);
            findings.push(
                Finding::error(Code::NoSpace, path.display(), message)
                    .next("make room, or unpack onto another volume"),
            );
        }
        if let Some(max) = volume.max_file_len.filter(|&max| self.longest > max) {
            let (longest, system) = (self.longest, &volume.file_system);
            let message = format!(
                "{system} holds files of up to {max} bytes, and one of {longest} is to go there"
            );
            findings.push(
                Finding::error(Code::FileTooLarge, path.display(), message)
                    .next("unpack onto NTFS or ReFS"),
            );
        }
    }
}

fn no_place_for_disks(volume: &Volume, path: &Path) -> Finding {
    let message = format!(
        "the volume has {}, from which Hyper-V attaches no disk",
        volume.file_system
    );
    Finding::error(Code::UnfitVolume, path.display(), message)
        .next("unpack onto NTFS or ReFS; to carry a lab on this drive, copy the pack itself")
}

fn check_volumes(
    ground: &Ground<'_>,
    plan: &UnpackPlan,
    clones: bool,
    findings: &mut Findings,
) -> Result<(), UnpackError> {
    let places = ground.places;
    let store = places.store();
    let (of_dest, of_store) = (fs::volume(&places.dest)?, fs::volume(&store)?);
    let from_pack = clones && fs::volume(&places.pack)?.key == of_dest.key;
    let (mut to_dest, mut to_store) = (Load::default(), Load::default());
    for step in plan.files.iter().filter(|step| step.action.writes()) {
        let stored = matches!(step.source, FileSource::Store(_));
        let cloned = from_pack || (stored && plan.link == Link::Reflink);
        let bytes = if cloned { 0 } else { ground.bytes_of(step) };
        to_dest.add(step.length, bytes);
    }
    for step in plan
        .ref_disks
        .iter()
        .filter(|step| step.action == RefDiskAction::Write)
    {
        let bytes = if from_pack {
            0
        } else {
            ground.bytes_of_ref_disk(&step.id)
        };
        to_store.add(step.length, bytes);
    }
    if of_dest.key == of_store.key {
        to_dest.bytes = to_dest.bytes.saturating_add(to_store.bytes);
        to_dest.longest = to_dest.longest.max(to_store.longest);
    } else {
        to_store.check(&of_store, &store, findings);
    }
    to_dest.check(&of_dest, &places.dest, findings);
    Ok(())
}

fn check_lengths(roots: &Roots, plan: &UnpackPlan, findings: &mut Findings) {
    if !cfg!(windows) && roots.windows_dest.is_none() {
        return;
    }
    let files = plan.files.iter().map(|step| &step.path);
    for path in files.chain(plan.links.iter().map(|step| &step.path)) {
        let Some(shown) = roots.shown(&roots.dest.below(path)) else {
            continue;
        };
        let length = shown.text().encode_utf16().count();
        if length >= LONG {
            let message = format!(
                "its path has {length} characters there, and Hyper-V takes {}",
                LONG - 1
            );
            findings.push(
                Finding::warning(Code::LongPath, path, message)
                    .next("unpack into a folder with a shorter path"),
            );
        }
    }
}
