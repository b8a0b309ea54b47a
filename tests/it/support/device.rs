//! A device that fails when told to, with a file system on it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use tempfile::TempDir;

use super::volume::Mounted;

/// Bytes of the device, and of its image.
const LEN: u64 = 64 << 20;
const SECTORS: u64 = LEN / 512;
/// Bytes in a block of the file system.
pub(crate) const BLOCK: usize = 4096;

/// Ext4 on a loop device, perhaps with a mapping between the two.
pub(crate) struct Device {
    way: Way,
    looped: String,
    image: PathBuf,
    /// Where the file system is mounted.
    folder: TempDir,
    /// Holds the image; goes last.
    place: Mounted,
}

/// How the device is made to fail.
enum Way {
    /// By the targets `flakey` and `error`, in device-mapper's mapping of this name.
    Mapper(String),
    /// By the volume that the image lies on, which has no room for another block. A spoilt block
    /// is cut off with all that comes after it, which is kept here.
    Image(Mutex<Vec<u8>>),
}

impl Device {
    /// A device that device-mapper makes fail, where the kernel has it.
    pub(crate) fn mapped() -> Option<Self> {
        let mut device = Self::looped()?;
        said(device.map())?;
        Some(device)
    }

    /// A device whose image fails: less is in the way, and less goes wrong.
    pub(crate) fn looped() -> Option<Self> {
        let place = Mounted::tmpfs(LEN / (1 << 20) + 8)?;
        let image = place.path().join("image");
        fs::File::create(&image).unwrap().set_len(LEN).unwrap();
        let looped = said(ran("losetup", &["--find", "--show", text(&image)], ""))?;
        Some(Self {
            way: Way::Image(Mutex::default()),
            looped: looped.trim().to_owned(),
            image,
            folder: tempfile::tempdir().unwrap(),
            place,
        })
    }

    fn map(&mut self) -> Result<(), String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("labpack-test-{}-{number}", std::process::id());
        ran("dmsetup", &["create", &name], &self.linear(0, SECTORS))?;
        self.way = Way::Mapper(name);
        // A kernel may come without `flakey`, and a system without anybody who makes the node.
        self.load(&self.flakey())?;
        self.load(&self.linear(0, SECTORS))?;
        let node = self.node();
        fs::metadata(&node).map_err(|error| format!("{node}: {error}"))?;
        Ok(())
    }

    fn node(&self) -> String {
        match &self.way {
            Way::Mapper(name) => format!("/dev/mapper/{name}"),
            Way::Image(_) => self.looped.clone(),
        }
    }

    /// A mounted file system with nothing in it.
    pub(crate) fn fresh(&self) -> PathBuf {
        self.unmount();
        let options = ["-q", "-F", "-b", "4096", &self.node()];
        ran("mkfs.ext4", &options, "").unwrap();
        self.mount("rw");
        let root = self.folder.path().canonicalize().unwrap().join("root");
        fs::create_dir(&root).unwrap();
        root
    }

    /// Takes the file system off and on again: nothing of it is in memory after that, and what
    /// an error left is put right, as at the start of a machine.
    pub(crate) fn remount(&self, options: &str) {
        self.unmount();
        // It ends with 1 where it put something right.
        ran(
            "sh",
            &["-c", r#"e2fsck -y "$0" || [ $? = 1 ]"#, &self.node()],
            "",
        )
        .unwrap();
        self.mount(options);
    }

    fn mount(&self, options: &str) {
        let folder = text(self.folder.path());
        let args = ["-t", "ext4", "-o", options, &self.node(), folder];
        ran("mount", &args, "").unwrap();
    }

    fn unmount(&self) {
        // It is not mounted at first.
        let _ = ran("umount", &[text(self.folder.path())], "");
    }

    /// From now on no block can be written; what is there can be read.
    pub(crate) fn refuse_writes(&self) {
        match &self.way {
            Way::Mapper(_) => self.load(&self.flakey()).unwrap(),
            Way::Image(_) => {
                let mut filler = fs::File::create(self.filler()).unwrap();
                while filler.write_all(&[0; BLOCK]).is_ok() {}
            }
        }
    }

    /// From now on the one block with these bytes cannot be read. Nothing may be written then.
    pub(crate) fn spoil(&self, bytes: &[u8]) {
        let image = fs::read(&self.image).unwrap();
        let blocks = (0..).zip(image.chunks_exact(BLOCK));
        let found: Vec<u64> = blocks
            .filter_map(|(number, block)| (block == bytes).then_some(number))
            .collect();
        let [number] = found[..] else {
            panic!("the block is on the device {} times", found.len());
        };
        let (from, len) = (number * BLOCK as u64, BLOCK as u64 / 512);
        match &self.way {
            Way::Mapper(_) => {
                let (bad, rest) = (from / 512, from / 512 + len);
                let before = self.linear(0, bad);
                let after = self.linear(rest, SECTORS);
                self.load(&format!("{before}{bad} {len} error\n{after}"))
                    .unwrap();
            }
            Way::Image(rest) => {
                *rest.lock().unwrap() = image[usize::try_from(from).unwrap()..].to_vec();
                let image = fs::File::options().write(true).open(&self.image).unwrap();
                image.set_len(from).unwrap();
            }
        }
    }

    /// From now on everything works.
    pub(crate) fn mend(&self) {
        match &self.way {
            Way::Mapper(_) => self.load(&self.linear(0, SECTORS)).unwrap(),
            Way::Image(rest) => {
                let _ = fs::remove_file(self.filler());
                let rest = std::mem::take(&mut *rest.lock().unwrap());
                let mut image = fs::File::options().append(true).open(&self.image).unwrap();
                image.write_all(&rest).unwrap();
            }
        }
    }

    fn filler(&self) -> PathBuf {
        self.place.path().join("filler")
    }

    /// A table's lines for sectors that are mapped to themselves, if there are any.
    fn linear(&self, from: u64, to: u64) -> String {
        match to - from {
            0 => String::new(),
            len => format!("{from} {len} linear {} {from}\n", self.looped),
        }
    }

    /// A table that refuses each write: up for no second, down for 180, again and again.
    fn flakey(&self) -> String {
        format!(
            "0 {SECTORS} flakey {} 0 0 180 1 error_writes\n",
            self.looped
        )
    }

    /// Puts another table in the place of the mapping's.
    fn load(&self, table: &str) -> Result<(), String> {
        let Way::Mapper(name) = &self.way else {
            return Err("there is no mapping".to_owned());
        };
        ran("dmsetup", &["load", name], table)?;
        // Freezing the file system would write to it, which is what cannot be done at times.
        ran("dmsetup", &["suspend", "--nolockfs", name], "")?;
        ran("dmsetup", &["resume", name], "").map(drop)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.unmount();
        if let Way::Mapper(name) = &self.way {
            let _ = ran("dmsetup", &["remove", "--retry", name], "");
        }
        let _ = ran("losetup", &["--detach", &self.looped], "");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn said<T>(made: Result<T, String>) -> Option<T> {
    made.inspect_err(|why| println!("skipped: cannot make a device that fails here: {why}"))
        .ok()
}

/// Runs a program on an input; returns what it says, or why it failed.
fn ran(program: &str, args: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    // Programs that take no input may be gone by then.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    let why: Vec<&str> = why.lines().map(str::trim).collect();
    Err(format!("{program} {}: {}", args.join(" "), why.join("; ")))
}
