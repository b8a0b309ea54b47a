//! What to do about an error that the system raised.

use std::io::{self, ErrorKind};

use labpack::{
    fs::FsError, pack::PackError, store::StoreError, unpack::UnpackError, verify::VerifyError,
};

/// Returns what to do about `error`, where that can be said.
pub(crate) fn advice(error: &anyhow::Error) -> Option<&'static str> {
    match of_fs(error) {
        Some(FsError::InUse { .. }) => {
            return Some(
                "shut down the VM, or close the program, that has it open; \
                 then run the same command again",
            );
        }
        Some(FsError::Exists { .. }) => {
            return Some("name another folder, or move away what stands there");
        }
        Some(FsError::Changed { .. }) => {
            return Some("run the same command again, once nothing writes to it any more");
        }
        _ => {}
    }
    if let Some(step) = of_place(error) {
        return Some(step);
    }
    let mut causes = error.chain();
    causes.find_map(|cause| {
        let cause = cause.downcast_ref::<io::Error>()?;
        of_device(cause).or_else(|| of_kind(cause.kind()))
    })
}

/// The verbs pass an error of the file system on as it is, which hides it from the causes.
fn of_fs(error: &anyhow::Error) -> Option<&FsError> {
    if let Some(PackError::Fs(error) | PackError::Store(StoreError::Fs(error))) =
        error.downcast_ref()
    {
        return Some(error);
    }
    if let Some(UnpackError::Fs(error) | UnpackError::Store(StoreError::Fs(error))) =
        error.downcast_ref()
    {
        return Some(error);
    }
    if let Some(VerifyError::Fs(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(StoreError::Fs(error)) = error.downcast_ref() {
        return Some(error);
    }
    error.downcast_ref()
}

/// Where the folder that was named is not of the kind that was asked for.
fn of_place(error: &anyhow::Error) -> Option<&'static str> {
    let no_store = "name the store itself: the folder `RefDisk` of a pack, \
                    or the one that was named with --store";
    if let Some(UnpackError::NoPack { .. }) = error.downcast_ref() {
        return Some("name a folder that `labpack pack` has packed");
    }
    let store = match error.downcast_ref() {
        Some(PackError::Store(error)) => Some(error),
        _ => error.downcast_ref(),
    };
    matches!(store, Some(StoreError::NoStore { .. })).then_some(no_store)
}

/// Where the device itself failed. A file system may be damaged then and say that it is not.
fn of_device(error: &io::Error) -> Option<&'static str> {
    let code = error.raw_os_error()?;
    if cfg!(windows) {
        // ERROR_CRC, ERROR_SECTOR_NOT_FOUND, ERROR_WRITE_FAULT, ERROR_READ_FAULT, ERROR_IO_DEVICE.
        return matches!(code, 23 | 27 | 29 | 30 | 1117).then_some(
            "check the drive and its cable, and its volume with chkdsk /f; \
             then run the same command again",
        );
    }
    // EIO.
    (code == 5).then_some(
        "check the device, and its volume when it is not mounted (ext4: e2fsck -f, for without -f \
         it may be taken for clean); then run the same command again",
    )
}

fn of_kind(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::NotFound => {
            "check that the path is right, and that its drive, share or mount is there"
        }
        ErrorKind::PermissionDenied if cfg!(windows) => {
            "close what has it open; if nothing has, run labpack as an administrator"
        }
        ErrorKind::PermissionDenied => "run labpack as a user who may read and write there",
        ErrorKind::ReadOnlyFilesystem => {
            "make the volume writable, or name a folder on another one; \
             `labpack pack --output` only reads the export"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "make room, then run the same command again; it goes on where it stopped"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fs(kind: ErrorKind) -> FsError {
        FsError::Io {
            action: "open",
            path: "a".into(),
            source: kind.into(),
        }
    }

    #[test]
    fn an_error_of_the_system_comes_with_what_to_do_however_it_was_passed_on() {
        let errors: [anyhow::Error; 4] = [
            fs(ErrorKind::NotFound).into(),
            PackError::Fs(fs(ErrorKind::NotFound)).into(),
            UnpackError::Fs(fs(ErrorKind::NotFound)).into(),
            anyhow::Error::new(fs(ErrorKind::NotFound)).context("cannot pack"),
        ];
        for error in errors {
            let told = advice(&error).unwrap();
            assert!(told.contains("check that the path"), "{error:?}: {told}");
        }
        assert_eq!(advice(&fs(ErrorKind::InvalidData).into()), None);
        let error = StoreError::NoStore { path: "a".into() };
        assert!(advice(&error.into()).unwrap().contains("RefDisk"));
        let error = UnpackError::NoPack { path: "a".into() };
        assert!(advice(&error.into()).unwrap().contains("labpack pack"));
    }

    #[test]
    fn a_device_that_failed_is_to_be_checked_with_its_volume() {
        let code = if cfg!(windows) { 1117 } else { 5 };
        let failed = |code| FsError::Io {
            action: "flush",
            path: "a".into(),
            source: io::Error::from_raw_os_error(code),
        };
        let told = advice(&PackError::Fs(failed(code)).into()).unwrap();
        let check = if cfg!(windows) {
            "chkdsk /f"
        } else {
            "e2fsck -f"
        };
        assert!(told.contains(check), "{told}");
        let full = if cfg!(windows) { 112 } else { 28 };
        let told = advice(&PackError::Fs(failed(full)).into()).unwrap();
        assert!(told.contains("make room"), "{told}");
    }

    #[test]
    fn a_file_that_is_open_elsewhere_is_told_from_one_that_changed() {
        let in_use = || FsError::InUse { path: "a".into() };
        let errors: [anyhow::Error; 3] = [
            PackError::Fs(in_use()).into(),
            StoreError::Fs(in_use()).into(),
            VerifyError::Fs(in_use()).into(),
        ];
        for error in errors {
            assert!(advice(&error).unwrap().contains("shut down"), "{error:?}");
        }
        let changed = FsError::Changed {
            path: "a".into(),
            what: "its length".to_owned(),
        };
        let told = advice(&UnpackError::Fs(changed).into());
        assert!(told.unwrap().contains("once nothing writes"));
    }
}
