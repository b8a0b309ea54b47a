//! The right of VMs to read RefDisks that they share.
//!
//! Hyper-V gives each VM a right to the disks that are attached to it. Where that does not reach
//! a parent in a store, the group of all VMs is given the right once, for the whole store.

use std::path::Path;

use super::{Outcome, Request, UnpackError, VmAccess};
use crate::{
    fs,
    report::{Code, Finding, Findings},
};

/// Refuses the wish where there is no such right.
pub(super) fn check(request: &Request) -> Result<(), UnpackError> {
    if cfg!(windows) || !request.grant_vm_access {
        return Ok(());
    }
    let message = "the right is one of Windows, and labpack does not run there";
    let finding = Finding::error(Code::Unsupported, "--grant-vm-access", message).next(
        "leave the option out; on the host, run `icacls <store> /grant \"*S-1-5-83-0:(OI)(CI)(R)\"`",
    );
    Err(UnpackError::Refused(Findings(vec![finding])))
}

/// Returns the right that VMs may need to `store`: on Windows only.
pub(super) fn needed(store: &Path) -> Option<VmAccess> {
    cfg!(windows).then(|| VmAccess {
        command: fs::vm_access_command(store),
        granted: false,
    })
}

/// Gives the right, and takes down whether that worked.
pub(super) fn grant(store: &Path, outcome: &mut Outcome) {
    let done = fs::grant_vm_access(store);
    if let Some(access) = &mut outcome.vm_access {
        access.granted = done.is_ok();
    }
    if let Err(error) = done {
        let cause = std::error::Error::source(&error);
        let why = cause.map_or_else(|| error.to_string(), ToString::to_string);
        let message = format!("VMs were not given the right to read it: {why}");
        outcome.findings.push(
            Finding::error(Code::NoAccess, store.display(), message).next(format!(
                "run as administrator: {}",
                fs::vm_access_command(store)
            )),
        );
    }
}
