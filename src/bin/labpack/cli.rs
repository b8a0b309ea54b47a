//! The command line, as types.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::exit;

/// Packs exported Hyper-V labs: one copy of each parent disk, every chain proved.
#[derive(Debug, Parser)]
#[command(
    name = "labpack",
    bin_name = "labpack",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = exit::help()
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Global {
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How to show progress, on stderr
    #[arg(long, global = true, value_enum, default_value_t, value_name = "HOW")]
    pub(crate) progress: ProgressMode,
    /// Say only what is wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more: notes, and each chain that is good; twice, log each file at work
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colours (`auto` heeds NO_COLOR)
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: ColorMode,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// Bars on a terminal, plain lines elsewhere
    #[default]
    Auto,
    /// A bar with bytes, rate, time left and the file at work
    Bar,
    /// A line now and then, for logs
    Plain,
    /// Nothing
    None,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorMode {
    /// On a terminal
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Keep one copy of each parent disk of an export, in place or into a new folder
    Pack(Pack),
    /// Bring a pack to a host, and link every VM to its parents
    Unpack(Unpack),
    /// Undo an in-place pack, byte for byte
    Restore(Restore),
    /// Check every chain under a folder, or one disk's
    Verify(Verify),
    /// Tell what Get-VHD says of a disk, on any system
    Inspect(Inspect),
    /// Draw which disk is whose parent
    Tree(Tree),
    /// Look after a store of RefDisks
    #[command(subcommand)]
    Store(Store),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page
    Man {
        /// The command it is about; all of labpack by default
        command: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Pack {
    /// Folders of exported VMs, or one exported VM
    #[arg(required = true, value_name = "EXPORT")]
    pub(crate) exports: Vec<PathBuf>,
    /// Write one pack of all exports into this folder, and only read them; without it, each export
    /// is packed in place
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Keep RefDisks in this store, which several labs may share, instead of in the pack; parents
    /// that stand only once enter it too
    #[arg(short, long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Say what would be done and change nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Pack the healthy VMs and carry those with broken chains along untouched
    #[arg(long)]
    pub(crate) keep_broken: bool,
    /// Take parents along that stand outside of the export; with --output only
    #[arg(long)]
    pub(crate) include_external: bool,
    /// Put parents that stand there only once into the store too
    #[arg(long)]
    pub(crate) all_parents: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Unpack {
    /// The pack: a folder with a `labpack.json`
    #[arg(value_name = "PACK")]
    pub(crate) pack: PathBuf,
    /// Where the VM folders go
    #[arg(value_name = "DEST")]
    pub(crate) dest: PathBuf,
    /// Where the RefDisks go, or are already; with PACK/RefDisk, on the pack's own volume, the VMs
    /// use those of the pack [default: where the last unpack to DEST put them, else DEST/RefDisk]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// How each VM gets at its parents
    #[arg(short, long, value_enum, default_value_t, value_name = "MODE")]
    pub(crate) link: LinkMode,
    /// Copy RefDisks even where --link hardlink would give the pack's own files further names, in
    /// which whoever writes into one changes pack and lab
    #[arg(long)]
    pub(crate) copy_refdisks: bool,
    /// Put files that have been used since back to how they were packed
    #[arg(long)]
    pub(crate) reset: bool,
    /// Say what would be done and change nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Give every VM of this host the right to read the RefDisks (Windows; runs icacls)
    #[arg(long)]
    pub(crate) grant_vm_access: bool,
    /// The path by which Windows will see DEST, where labpack runs elsewhere: `D:\Labs`
    #[arg(long, value_name = "PATH")]
    pub(crate) windows_dest: Option<String>,
}

/// How a VM gets at its parents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LinkMode {
    /// The first that works of reflink, hardlink, symlink, relocate
    #[default]
    Auto,
    /// A block clone: an independent file that shares storage (ReFS, Dev Drive, Btrfs, XFS)
    Reflink,
    /// Another name for the RefDisk (same volume). Elsewhere than on Windows, and where the volume
    /// cannot clone blocks, the lab's RefDisks are further names of the pack's own
    Hardlink,
    /// What mklink makes (needs the right to, or Developer Mode)
    Symlink,
    /// A junction to the store in each VM's folder (Windows, local volumes, no right needed)
    Junction,
    /// No link: each child's own locator names the RefDisk, as Set-VHD -ParentPath does
    Relocate,
    /// A full copy: the original export, byte for byte
    Copy,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The pack: a folder with a `labpack.json`. One that was made with --output becomes a copy of
    /// the export
    #[arg(value_name = "PACK")]
    pub(crate) pack: PathBuf,
    /// Where its RefDisks are, if in a shared store
    #[arg(short, long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Say what would be done and change nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Folders, packs or single disks
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Read every file of a pack again and compare it with its `labpack.json`
    #[arg(long)]
    pub(crate) content: bool,
    /// A shared store in which parents may be
    #[arg(short, long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// VHD and VHDX files, whatever their names
    #[arg(required = true, value_name = "DISK")]
    pub(crate) disks: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Tree {
    /// Folders, packs or single disks
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// A shared store in which parents may be
    #[arg(short, long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Draw with ASCII characters only
    #[arg(long)]
    pub(crate) ascii: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// List the RefDisks, and who uses each
    List {
        /// The store
        #[arg(value_name = "STORE")]
        store: PathBuf,
    },
    /// Read every RefDisk again and compare it with its digest
    Check {
        /// The store
        #[arg(value_name = "STORE")]
        store: PathBuf,
    },
    /// Remove RefDisks that no known pack names any more
    Gc {
        /// The store
        #[arg(value_name = "STORE")]
        store: PathBuf,
        /// Say what would be removed and change nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
        /// Keep what was asked for so recently: `90m`, `24h`, `7d`
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = span)]
        grace: Duration,
    },
}

/// Reads a stretch of time: a number and one of `s`, `m`, `h`, `d`; or `0`.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no stretch of time, expected one like `90m`, `12h`, `7d`");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(unit).ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

impl Command {
    /// The command's name, as the JSON document has it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Pack(_) => "pack",
            Self::Unpack(_) => "unpack",
            Self::Restore(_) => "restore",
            Self::Verify(_) => "verify",
            Self::Inspect(_) => "inspect",
            Self::Tree(_) => "tree",
            Self::Store(Store::List { .. }) => "store list",
            Self::Store(Store::Check { .. }) => "store check",
            Self::Store(Store::Gc { .. }) => "store gc",
            Self::Completions { .. } => "completions",
            Self::Man { .. } => "man",
        }
    }
}

/// Tells whether `args`, which clap did not take, ask for JSON all the same.
pub(crate) fn wants_json(args: &[OsString]) -> bool {
    let options = args.iter().take_while(|arg| *arg != "--");
    options.into_iter().any(|arg| arg == "--json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_stand_before_or_after_the_command() {
        for line in [
            "labpack --json -v verify a b",
            "labpack verify a --json b -v",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert!(cli.global.json);
            assert_eq!(cli.global.verbose, 1);
            assert_eq!(cli.command.name(), "verify");
        }
    }

    #[test]
    fn stretches_of_time_have_a_unit() {
        assert_eq!(span("90m"), Ok(Duration::from_secs(5400)));
        assert_eq!(span("0"), Ok(Duration::ZERO));
        for wrong in ["", "7", "d", "-1d", "7w", "7é", "18446744073709551615d"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_unicode_is_taken_as_it_is() {
        use std::os::unix::ffi::OsStrExt;
        let odd = std::ffi::OsStr::from_bytes(b"lab\xff");
        let args = ["labpack".as_ref(), "inspect".as_ref(), odd];
        let Command::Inspect(inspect) = Cli::try_parse_from(args).unwrap().command else {
            panic!("another command");
        };
        assert_eq!(inspect.disks, [PathBuf::from(odd)]);
    }
}
