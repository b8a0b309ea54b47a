//! Which way of linking is taken, and why.

use super::{
    LinkMode, Request, UnpackError, links::new_names, places::nearest_folder, preflight::Ground,
    refdisks::Stock,
};
use crate::{
    fs::{self, LinkTrial},
    plan::{FileSource, Link, RefDiskAction, UnpackPlan},
    report::{Code, Finding},
};

/// The way that is taken.
pub(super) struct Way {
    pub(super) plan: UnpackPlan,
    /// Why this one.
    pub(super) why: String,
    /// Whether blocks can be cloned from the store's volume into the destination.
    pub(super) clones: bool,
}

/// Takes the way that was named, or the first that works.
pub(super) fn choose(
    request: &Request,
    ground: &Ground<'_>,
    stock: &Stock,
) -> Result<Way, UnpackError> {
    let mut trial = Trial { ground, done: None };
    let mut way = match request.link.named() {
        Some(link) => named(link, &mut trial, stock)?,
        None => first_that_works(&mut trial, stock)?,
    };
    if request.copy_ref_disks {
        ground.find_shared(&mut way.plan)?;
    } else if request.link == LinkMode::Hardlink && ground.may_share() && copies(&way.plan) {
        // Block clones cost as little, and nobody who writes into one changes the other.
        way.clones = trial.trial()?.reflink.is_ok();
        if !way.clones {
            ground.share(&mut way.plan)?;
        }
    }
    Ok(way)
}

/// Tells whether RefDisks are copied.
pub(super) fn copies(plan: &UnpackPlan) -> bool {
    let mut disks = plan.ref_disks.iter();
    disks.any(|step| step.action == RefDiskAction::Write)
}

fn named(link: Link, trial: &mut Trial<'_>, stock: &Stock) -> Result<Way, UnpackError> {
    let mut plan = trial.ground.plan(link, stock)?;
    if let Err(fault) = trial.check(&plan, stock)? {
        plan.findings.push(fault.finding(link));
    }
    Ok(Way {
        plan,
        why: "it was asked for".to_owned(),
        clones: trial.clones(),
    })
}

fn first_that_works(trial: &mut Trial<'_>, stock: &Stock) -> Result<Way, UnpackError> {
    let mut why = Vec::new();
    if let Some(link) = trial.ground.memory.link {
        let plan = trial.ground.plan(link, stock)?;
        match trial.check(&plan, stock)? {
            Ok(()) => {
                let why = "this is how the lab was unpacked before".to_owned();
                return Ok(Way {
                    plan,
                    why,
                    clones: trial.clones(),
                });
            }
            Err(fault) => why.push(format!("{link} no longer works: {}", fault.why())),
        }
    }
    for link in [Link::Reflink, Link::Hardlink, Link::Symlink] {
        let plan = trial.ground.plan(link, stock)?;
        if plan.ref_disks.is_empty() {
            why = vec!["the pack shares no parent disk".to_owned()];
            break;
        }
        match trial.check(&plan, stock)? {
            Ok(()) => {
                why.push(
                    if why.is_empty() {
                        "block clones work here"
                    } else {
                        "this works"
                    }
                    .to_owned(),
                );
                return Ok(Way {
                    plan,
                    why: why.join("; "),
                    clones: trial.clones(),
                });
            }
            Err(fault) => why.push(format!("no {link}: {}", fault.why())),
        }
    }
    let plan = trial.ground.plan(Link::Relocate, stock)?;
    Ok(Way {
        plan,
        why: why.join("; "),
        clones: trial.clones(),
    })
}

/// Why a way does not work.
enum Fault {
    /// What the trial, or looking at the destination, showed.
    Unavailable(String),
    /// A RefDisk would get more names than the file system allows.
    TooMany { names: u64, most: u64 },
}

impl Fault {
    fn why(&self) -> String {
        match self {
            Self::Unavailable(why) => why.clone(),
            Self::TooMany { names, most } => {
                format!("a RefDisk would need {names} names, and the file system allows {most}")
            }
        }
    }

    fn finding(&self, link: Link) -> Finding {
        let code = match self {
            Self::Unavailable(_) => Code::LinkUnavailable,
            Self::TooMany { .. } => Code::TooManyLinks,
        };
        Finding::error(code, format!("--link {link}"), self.why())
            .next("take another mode; `--link relocate` works everywhere")
    }
}

/// A trial of all ways, made once and only if something is to be linked.
struct Trial<'a> {
    ground: &'a Ground<'a>,
    done: Option<LinkTrial>,
}

impl Trial<'_> {
    fn clones(&self) -> bool {
        self.done
            .as_ref()
            .is_some_and(|trial| trial.reflink.is_ok())
    }

    /// Tells whether a plan's links can be made.
    fn check(
        &mut self,
        plan: &UnpackPlan,
        stock: &Stock,
    ) -> Result<Result<(), Fault>, UnpackError> {
        if !needs_links(plan) {
            return Ok(Ok(()));
        }
        let trial = self.trial()?;
        let works = match plan.link {
            Link::Reflink => &trial.reflink,
            Link::Hardlink => &trial.hardlink,
            Link::Symlink => &trial.symlink,
            Link::Junction => &trial.junction,
            Link::Relocate | Link::Copy => &Ok(()),
        };
        if let Err(why) = works {
            return Ok(Err(Fault::Unavailable(why.clone())));
        }
        self.check_names(plan, stock)
    }

    fn trial(&mut self) -> Result<&LinkTrial, UnpackError> {
        if self.done.is_none() {
            let places = self.ground.places;
            let (store, dest) = (places.store(), &places.dest);
            self.done = Some(fs::try_links(
                nearest_folder(&store)?,
                nearest_folder(dest)?,
            )?);
        }
        Ok(self.done.as_ref().expect("it was made just now"))
    }

    fn check_names(
        &self,
        plan: &UnpackPlan,
        stock: &Stock,
    ) -> Result<Result<(), Fault>, UnpackError> {
        let Some(most) = fs::volume(&self.ground.places.store())?.max_links else {
            return Ok(Ok(()));
        };
        for (id, new) in new_names(plan) {
            let names = stock.links(&id).saturating_add(new);
            if names > most {
                return Ok(Err(Fault::TooMany { names, most }));
            }
        }
        Ok(Ok(()))
    }
}

fn needs_links(plan: &UnpackPlan) -> bool {
    let clones = plan.link == Link::Reflink
        && plan
            .files
            .iter()
            .any(|step| step.action.writes() && matches!(step.source, FileSource::Store(_)));
    clones || plan.links.iter().any(|step| step.action.makes())
}
