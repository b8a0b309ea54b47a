//! `labpack inspect`: what Get-VHD says of a disk, and what it leaves out.

use std::path::Path;

use anyhow::Error;
use labpack::{
    export::DiskFault,
    formats::{self, BlockCensus, DiskFormat, DiskInfo, DiskKind, HintKind, LogState, ParentLink},
    fs::{Entry, SourceFile, look},
    report::{Code, Finding, Findings, quoted},
};
use serde::Serialize;

use super::Shell;
use crate::{
    answer::{Answer, Failure},
    cli::Inspect,
    render::{Paint, clean, size},
};

#[derive(Serialize)]
struct Inspected {
    path: String,
    #[serde(flatten)]
    info: DiskInfo,
    /// Absent where the table could not be walked; a finding says why.
    blocks: Option<BlockCensus>,
    sparse_or_compressed: bool,
}

#[derive(Serialize)]
struct Body {
    disks: Vec<Inspected>,
}

/// Tells what each disk says about itself.
///
/// # Errors
/// Where a file cannot be opened. What is wrong inside of one is a finding.
pub(super) fn carry_out(args: &Inspect, shell: &Shell<'_>) -> Result<Answer, Failure> {
    let (mut disks, mut findings) = (Vec::new(), Findings::default());
    for path in &args.disks {
        shell.run.go_on()?;
        disks.extend(inspect(path, shell, &mut findings)?);
    }
    let mut blocks: Vec<_> = disks
        .iter()
        .map(|disk| describe(disk, shell.paint))
        .collect();
    // Quiet leaves out what is done, and this is what was asked for.
    let found = crate::render::findings(&findings, true, shell.paint);
    blocks.extend((!found.is_empty()).then_some(found));
    Ok(Answer::new(blocks.join("\n"), Body { disks }, findings))
}

fn inspect(
    path: &Path,
    shell: &Shell<'_>,
    findings: &mut Findings,
) -> Result<Option<Inspected>, Failure> {
    if let Entry::Folder(_) = look(path)? {
        let text = quoted(path);
        return Err(Error::msg(format!(
            "`{}` is a folder, expected a disk: `labpack tree {text}` shows the disks in it",
            path.display()
        ))
        .into());
    }
    let file = SourceFile::open(path, shell.run.meter)?;
    let path = path.display().to_string();
    let info = match formats::read_info(&file) {
        Ok(info) => info,
        Err(error) => {
            findings.push(DiskFault::from(&error).finding(&path));
            return Ok(None);
        }
    };
    findings.extend(info.remarks.iter().map(|remark| remark.finding(&path)));
    let blocks = census(&file, &info, &path, findings);
    let sparse_or_compressed = file.opened().sparse_or_compressed;
    Ok(Some(Inspected {
        path,
        info,
        blocks,
        sparse_or_compressed,
    }))
}

/// Behind a pending log the table says nothing that could be believed.
fn census(
    file: &SourceFile,
    info: &DiskInfo,
    path: &str,
    findings: &mut Findings,
) -> Option<BlockCensus> {
    if info.log == LogState::Pending {
        let message = "its log holds changes that are not applied yet";
        findings.push(
            Finding::error(Code::DirtyLog, path, message)
                .next("shut the VM down, or attach the disk once read-write on a Hyper-V host"),
        );
        return None;
    }
    match formats::check_blocks(file) {
        Ok(census) => Some(census),
        Err(error) => {
            findings.push(DiskFault::from(&error).finding(path));
            None
        }
    }
}

fn describe(disk: &Inspected, paint: Paint) -> String {
    let info = &disk.info;
    let mut rows = vec![
        ("Path", disk.path.clone()),
        ("VhdFormat", info.format.to_string()),
        ("VhdType", kind(info.kind).to_owned()),
        ("FileSize", bytes(info.file_len)),
        ("Size", bytes(info.virtual_size.0)),
        ("MinimumSize", String::new()),
        ("LogicalSectorSize", info.logical_sector.to_string()),
        ("PhysicalSectorSize", info.physical_sector.to_string()),
        (
            "BlockSize",
            info.block_size
                .map_or_else(|| "0".to_owned(), |size| bytes(size.into())),
        ),
        (
            "ParentPath",
            info.parent
                .as_ref()
                .and_then(parent_path)
                .unwrap_or_default(),
        ),
        (
            "DiskIdentifier",
            guid(info.page83_id.unwrap_or(info.own_id)),
        ),
    ];
    rows.extend(beyond_get_vhd(disk));
    let line = |(name, value): (&str, String)| {
        let name = paint.bold(&format!("{name:<18}"));
        format!("{name} : {}", clean(&value)).trim_end().to_owned() + "\n"
    };
    rows.into_iter().map(line).collect()
}

/// What Get-VHD does not say, and labpack goes by.
fn beyond_get_vhd(disk: &Inspected) -> Vec<(&'static str, String)> {
    let info = &disk.info;
    let own = match info.format {
        DiskFormat::Vhd => "UniqueId",
        DiskFormat::Vhdx => "DataWriteGuid",
    };
    let mut rows = vec![(own, guid(info.own_id)), ("Creator", info.creator.clone())];
    rows.push(("Log", log(info.log).to_owned()));
    if let Some(census) = &disk.blocks {
        let text = format!("{} of {} in the file", census.present, census.blocks);
        rows.push(("Blocks", text));
    }
    if disk.sparse_or_compressed {
        rows.push(("File", "sparse or compressed".to_owned()));
    }
    let Some(parent) = &info.parent else {
        return rows;
    };
    rows.push(("ParentId", guid(parent.id)));
    rows.extend(parent.id2.map(|id| ("ParentId2", guid(id))));
    rows.extend(
        parent
            .timestamp
            .map(|time| ("ParentTime", format!("{time} s after 2000-01-01"))),
    );
    let hints = parent.hints.iter();
    rows.extend(hints.map(|hint| (hint_name(hint.kind), hint.path.clone())));
    rows
}

/// The path that Get-VHD would show: the absolute one, where there is one.
fn parent_path(parent: &ParentLink) -> Option<String> {
    let absolute = parent
        .hints
        .iter()
        .find(|hint| hint.kind == HintKind::Absolute);
    absolute
        .or(parent.hints.first())
        .map(|hint| hint.path.clone())
}

fn guid(id: labpack::base::DiskId) -> String {
    id.to_string().to_uppercase()
}

fn bytes(number: u64) -> String {
    format!("{number} ({})", size(number))
}

const fn kind(kind: DiskKind) -> &'static str {
    match kind {
        DiskKind::Fixed => "Fixed",
        DiskKind::Dynamic => "Dynamic",
        DiskKind::Differencing => "Differencing",
    }
}

const fn log(state: LogState) -> &'static str {
    match state {
        LogState::None => "none",
        LogState::Empty => "empty",
        LogState::Pending => "holds changes that are not applied yet",
    }
}

const fn hint_name(kind: HintKind) -> &'static str {
    match kind {
        HintKind::Relative => "Parent, relative",
        HintKind::Absolute => "Parent, absolute",
        HintKind::Volume => "Parent, by volume",
        HintKind::Name => "Parent, by name",
        HintKind::Url => "Parent, by URL",
    }
}
