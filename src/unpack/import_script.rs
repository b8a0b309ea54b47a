//! `import-vms.ps1`: registers the unpacked VMs with Hyper-V, where they lie.

use std::path::Path;

use super::UnpackError;
use crate::{
    base::{DiskId, RelPath, fold_case},
    fs::{self, Entry},
    manifest::Manifest,
    report::{Code, Finding, Findings},
};

/// The script's file name.
pub(super) const NAME: &str = "import-vms.ps1";
/// The first line, by which the next run knows the script for labpack's own.
const MARK: &str = "# Written by labpack";
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Writes the script, unless there is no VM to import; tells whether it stands.
pub(super) fn write(
    dest: &Path,
    manifest: &Manifest,
    findings: &mut Findings,
) -> Result<bool, UnpackError> {
    findings.extend(old_exports(manifest));
    let configs = configurations(manifest);
    if configs.is_empty() {
        return Ok(false);
    }
    let path = dest.join(NAME);
    let script = script(&configs);
    match fs::look(&path)? {
        Entry::Missing => {}
        Entry::File(_) => {
            let stands = fs::read_bounded(&path, MAX_BYTES).unwrap_or_default();
            if stands == script {
                return Ok(true);
            }
            if !is_ours(&stands) || is_packed(manifest) {
                findings.push(taken());
                return Ok(false);
            }
        }
        _ => {
            findings.push(taken());
            return Ok(false);
        }
    }
    fs::write_atomic(&path, &script)?;
    Ok(true)
}

fn is_ours(script: &[u8]) -> bool {
    let text = script.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(script);
    text.starts_with(MARK.as_bytes())
}

/// A lab may bring a file of this name along.
fn is_packed(manifest: &Manifest) -> bool {
    manifest
        .files()
        .any(|file| file.path.folded() == fold_case(NAME))
}

fn taken() -> Finding {
    let message =
        "labpack did not write what stands there, so the script to import the VMs was not written";
    Finding::warning(Code::NameInUse, NAME, message).next("move it away, and run again")
}

/// Returns the configurations of VMs that Import-VM takes, by path.
fn configurations(manifest: &Manifest) -> Vec<&RelPath> {
    let mut paths: Vec<_> = manifest
        .files()
        .map(|file| &file.path)
        .filter(|path| is_configuration(path))
        .collect();
    paths.sort();
    paths
}

fn is_configuration(path: &RelPath) -> bool {
    let Some((stem, extension)) = path.name().rsplit_once('.') else {
        return false;
    };
    let known = extension.eq_ignore_ascii_case("vmcx") || extension.eq_ignore_ascii_case("xml");
    let in_place = path
        .folder()
        .is_some_and(|folder| folder.name().eq_ignore_ascii_case("Virtual Machines"));
    known && in_place && stem.parse::<DiskId>().is_ok()
}

/// Exports of Windows Server 2008 have a file that newer versions do not read.
fn old_exports(manifest: &Manifest) -> Option<Finding> {
    let old = manifest.files().map(|file| &file.path).find(|path| {
        path.name()
            .rsplit_once('.')
            .is_some_and(|(_, end)| end.eq_ignore_ascii_case("exp"))
    })?;
    let message =
        "is of an export by Windows Server 2008, which Import-VM takes only on 2008 and 2012";
    Some(Finding::note(Code::Unsupported, old, message))
}

/// A byte order mark, since Windows PowerShell 5 reads a script without one in the system's
/// legacy code page; line ends as Windows has them.
fn script(configs: &[&RelPath]) -> Vec<u8> {
    let list: Vec<_> = configs
        .iter()
        .map(|path| format!("    '{}'", quoted(path)))
        .collect();
    let text = TEMPLATE
        .replace("@MARK@", MARK)
        .replace("@LIST@", &list.join(",\n"));
    let mut bytes = b"\xEF\xBB\xBF".to_vec();
    bytes.extend_from_slice(text.replace('\n', "\r\n").as_bytes());
    bytes
}

/// Inside single quotes PowerShell takes everything as it is, but for the quotes themselves: it
/// knows five of them.
fn quoted(path: &RelPath) -> String {
    let mut text = String::new();
    for c in path.as_str().chars() {
        match c {
            '/' => text.push('\\'),
            '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' => text.extend([c, c]),
            _ => text.push(c),
        }
    }
    text
}

const TEMPLATE: &str = r#"@MARK@: registers the VMs of this lab with Hyper-V, where they lie.
#
#   .\import-vms.ps1 -WhatIf            says what it would do
#   .\import-vms.ps1                    does it; stops at the first VM that does not fit this host
#   .\import-vms.ps1 -SwitchName Lab    also connects adapters whose switch is missing to `Lab`
#
# Needs Windows Server 2012 or later, and the rights of a Hyper-V administrator. A VM that is
# registered already is left alone, so the script can be run again at any time.
#Requires -Version 3.0
#Requires -Modules Hyper-V
[CmdletBinding(SupportsShouldProcess = $true)]
param(
    [string]$SwitchName
)

$ErrorActionPreference = 'Stop'
$missingSwitch = 33012

$configurations = @(
@LIST@
)

foreach ($configuration in $configurations) {
    $path = Join-Path -Path $PSScriptRoot -ChildPath $configuration
    $id = [guid][System.IO.Path]::GetFileNameWithoutExtension($path)

    $known = Get-VM | Where-Object { $_.Id -eq $id }
    if ($known) {
        Write-Host "$($known.Name) is registered already."
        continue
    }

    # The report holds a plan of the VM; nothing on this host changes before Import-VM.
    $report = Compare-VM -Path $path
    if ($SwitchName) {
        $unplugged = @($report.Incompatibilities | Where-Object { $_.MessageId -eq $missingSwitch })
        foreach ($incompatibility in $unplugged) {
            $incompatibility.Source | Connect-VMNetworkAdapter -SwitchName $SwitchName -WhatIf:$false
        }
        $report = Compare-VM -CompatibilityReport $report
    }

    $name = $report.VM.Name
    if ($report.Incompatibilities) {
        foreach ($incompatibility in $report.Incompatibilities) {
            Write-Warning "${name}: $($incompatibility.Message) ($($incompatibility.MessageId))"
        }
        throw "$name does not fit this host as it is; nothing was imported from $path."
    }

    if ($PSCmdlet.ShouldProcess($name, 'Import-VM (register in place)')) {
        Import-VM -CompatibilityReport $report | Out-Null
        Write-Host "$name is imported."
    }
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn only_configurations_of_vms_are_imported() {
        let id = "90E11E5D-0E4C-4A9C-9E35-3B62D4C1D7D0";
        for (name, is) in [
            (format!("DC01/Virtual Machines/{id}.vmcx"), true),
            (format!("DC01/virtual machines/{id}.XML"), true),
            (format!("Virtual Machines/{id}.vmcx"), true),
            (format!("DC01/Snapshots/{id}.vmcx"), false),
            (format!("DC01/Virtual Machines/{id}/{id}.vsv"), false),
            (format!("DC01/Virtual Machines/{id}.vmrs"), false),
            ("DC01/Virtual Machines/notes.xml".to_owned(), false),
            (format!("DC01/Virtual Machines/{id}.exp"), false),
        ] {
            assert_eq!(is_configuration(&path(&name)), is, "{name}");
        }
    }

    #[test]
    fn the_script_has_a_mark_windows_line_ends_and_names_that_cannot_break_out() {
        let bytes = script(&[&path("O'Brien\u{2019}s $(rm) `n/Virtual Machines/x.vmcx")]);
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.starts_with("\u{feff}# Written by labpack"));
        assert!(is_ours(&bytes));
        assert!(
            text.contains("    'O''Brien\u{2019}\u{2019}s $(rm) `n\\Virtual Machines\\x.vmcx'\r\n")
        );
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    }

    /// What Import-VM does is asked of Hyper-V first, a dry run imports nothing, a VM that is
    /// registered is passed over, and the first one that does not fit ends the script.
    #[test]
    fn the_script_compares_before_it_imports_and_imports_only_when_it_should() {
        let text = String::from_utf8(script(&[&path("A/Virtual Machines/x.vmcx")])).unwrap();
        let at = |words: &str| {
            let found: Vec<_> = text.match_indices(words).collect();
            assert_eq!(found.len(), 1, "{words}");
            found[0].0
        };
        let order = [
            "SupportsShouldProcess = $true",
            "$ErrorActionPreference = 'Stop'",
            "    'A\\Virtual Machines\\x.vmcx'",
            "Where-Object { $_.Id -eq $id }",
            "        continue",
            "Compare-VM -Path $path",
            "        throw ",
            "$PSCmdlet.ShouldProcess($name,",
            "Import-VM -CompatibilityReport $report",
        ]
        .map(at);
        assert!(order.is_sorted(), "{order:?}");
        assert!(!text.contains("-Copy") && !text.contains("Remove-VM"));
    }

    #[test]
    fn each_bracket_of_the_script_is_closed() {
        let code: String = TEMPLATE
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        for (open, close) in [('{', '}'), ('(', ')'), ('[', ']')] {
            assert_eq!(code.matches(open).count(), code.matches(close).count());
        }
        assert_eq!(code.matches('"').count() % 2, 0);
    }
}
