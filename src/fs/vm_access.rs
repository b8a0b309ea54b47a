//! The right of virtual machines to read a folder of disks.

use std::path::Path;

use super::{
    FsError,
    seam::{StepKind, step},
    system,
};

/// The group `NT VIRTUAL MACHINE\Virtual Machines`, in which every VM of a host is.
const EVERY_VM: &str = "*S-1-5-83-0";
/// Read, and so does whatever comes into the folder later.
const READ: &str = "(OI)(CI)(R)";

/// Returns the command that lets every VM of a Windows host read what is in `folder`.
#[must_use]
pub fn vm_access_command(folder: &Path) -> String {
    format!(
        "icacls \"{}\" /grant \"{EVERY_VM}:{READ}\"",
        folder.display()
    )
}

/// Runs what [`vm_access_command`] says.
///
/// # Errors
/// What `icacls` says; on other systems than Windows an error of kind `Unsupported`.
pub fn grant_vm_access(folder: &Path) -> Result<(), FsError> {
    step(StepKind::SetAttributes, folder, || {
        system::grant(folder, &format!("{EVERY_VM}:{READ}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_the_group_by_its_id_which_is_the_same_in_every_language() {
        let command = vm_access_command(Path::new(r"D:\My Labs\RefDisk"));
        assert_eq!(
            command,
            r#"icacls "D:\My Labs\RefDisk" /grant "*S-1-5-83-0:(OI)(CI)(R)""#
        );
    }
}
