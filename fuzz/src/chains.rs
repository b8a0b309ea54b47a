//! Graphs of disks, whoever is whose parent: found out, judged and read without a panic, without
//! end, and with the data that was put in.
//!
//! Any bytes make a graph. Most are looked at in memory, where hints lead among the disks as on
//! Windows; one in thirty-two is written into a folder and verified there.

use std::{collections::HashMap, sync::Arc};

use arbitrary::{Result, Unstructured};
use labpack::{
    base::{DiskId, IoMeter, ReadAt, Run, Silent, VirtualSize, fold_case},
    chain::{
        self, Disk, Graph, Lookup, MAX_LEVELS, NodeId, Surroundings, VirtualDisk,
        path::{Place, Start, Style, Target},
    },
    export,
    formats::{self, DiskFormat, DiskKind, NewDisk, NewParent, ParentPaths, PathHint},
    verify,
};

use super::sparse::Sparse;

/// Where disks may be, from the top of the lab.
const PATHS: [&str; 12] = [
    "base.vhd",
    "base.vhdx",
    "a.vhd",
    "A.VHD",
    "b.avhd",
    "mid.vhdx",
    "MID.vhdx",
    "leaf.avhdx",
    "sub/base.vhdx",
    "sub/c.vhd",
    "sub/deep/d.avhdx",
    "other/base.vhd",
];

/// What strangers write.
const ODD_PATHS: [&str; 12] = [
    r"\\server\share\base.vhdx",
    r"\\?\C:\lab\base.vhdx",
    r"\\?\UNC\server\share\base.vhd",
    r"\\.\PhysicalDrive0",
    "/etc/passwd",
    "C:base.vhd",
    r"..\..\..\..\base.vhdx",
    "base.vhdx:stream",
    "CON",
    ".",
    r".\notes.txt",
    r".\twice.vhdx",
];

/// What an input begins with that has a chain of about as many levels as may be, besides.
pub const LADDER: &[u8] = b"ladder";

/// A disk that was made, and what was put into it.
struct Made {
    path: String,
    disk: NewDisk,
    image: Arc<Sparse>,
}

/// The target.
pub fn run(input: &[u8]) {
    let Some((made, aliases, in_folder)) = sketch(input) else {
        return;
    };
    check_in_memory(&made, &aliases);
    // A ladder is long enough in memory.
    if in_folder && made.len() <= PATHS.len() {
        check_in_folder(&made).expect("a folder to write into");
    }
}

/// Returns how many levels the longest sound chain of an input has.
pub fn soundest(input: &[u8]) -> usize {
    sketch(input).map_or(0, |(made, aliases, _)| check_in_memory(&made, &aliases))
}

/// The disks of an input, which of them have a second name, and whether they go into a folder.
fn sketch(input: &[u8]) -> Option<(Vec<Made>, Vec<usize>, bool)> {
    let (on_ladder, input) = match input.strip_prefix(LADDER) {
        Some(rest) => (true, rest),
        None => (false, input),
    };
    let mut u = Unstructured::new(input);
    let made = graph(&mut u, on_ladder).ok()?;
    let aliases = (0..u.int_in_range(0..=2).unwrap_or(0))
        .filter_map(|_| u.choose_index(made.len()).ok())
        .collect();
    let in_folder = !u.ratio(31, 32).unwrap_or(true);
    Some((made, aliases, in_folder))
}

fn graph(u: &mut Unstructured<'_>, on_ladder: bool) -> Result<Vec<Made>> {
    let mut disks: Vec<(String, NewDisk)> = Vec::new();
    if on_ladder {
        disks = ladder(*u.choose(&[20, MAX_LEVELS, MAX_LEVELS + 1, MAX_LEVELS + 9])?);
    }
    for _ in 0..u.int_in_range(1..=10)? {
        let path = (*u.choose(&PATHS)?).to_owned();
        let disk = disk(u, &path)?;
        match disks.iter_mut().find(|(there, _)| *there == path) {
            Some(other) => other.1 = disk,
            None => disks.push((path, disk)),
        }
    }
    let write = |(path, disk): (String, NewDisk)| {
        let mut image = Sparse::default();
        disk.write_to(&mut image).ok()?;
        let image = Arc::new(image);
        Some(Made { path, disk, image })
    };
    Ok(disks.into_iter().filter_map(write).collect())
}

/// A chain of so many levels, sound or one too long.
fn ladder(levels: usize) -> Vec<(String, NewDisk)> {
    let id = |level: usize| {
        DiskId::from_vhd([
            (level >> 8) as u8 | 0x80,
            level as u8,
            3,
            4,
            5,
            6,
            7,
            8,
            9,
            10,
            11,
            12,
            13,
            14,
            15,
            16,
        ])
    };
    let level = |level: usize| {
        let mut disk = NewDisk::new(DiskFormat::Vhd, DiskKind::Dynamic, 4096, id(level));
        disk.block_size = Some(4096);
        if let Some(below) = level.checked_sub(1) {
            disk.kind = DiskKind::Differencing;
            let relative = Some(format!(r".\step{below}.vhd"));
            let paths = ParentPaths {
                relative,
                ..ParentPaths::default()
            };
            disk.parent = Some(NewParent {
                id: id(below),
                paths,
                timestamp: 0,
            });
        }
        (format!("step{level}.vhd"), disk)
    };
    (0..levels).map(level).collect()
}

/// One of a few ids, so that they meet.
fn id(u: &mut Unstructured<'_>, format: DiskFormat) -> Result<DiskId> {
    let bytes = [0xA0 | u.int_in_range(0..=5)?; 16];
    Ok(match format {
        DiskFormat::Vhd => DiskId::from_vhd(bytes),
        DiskFormat::Vhdx => DiskId::from_vhdx(bytes),
    })
}

fn disk(u: &mut Unstructured<'_>, path: &str) -> Result<NewDisk> {
    let named = if path.to_lowercase().ends_with("vhdx") {
        DiskFormat::Vhdx
    } else {
        DiskFormat::Vhd
    };
    let other = u.ratio(1, 12)?;
    let format = match (named, other) {
        (DiskFormat::Vhd, false) | (DiskFormat::Vhdx, true) => DiskFormat::Vhd,
        _ => DiskFormat::Vhdx,
    };
    let large = format == DiskFormat::Vhdx && u.ratio(1, 8)?;
    let sector = if large { 4096 } else { 512 };
    let mut disk = NewDisk::new(format, DiskKind::Dynamic, 0, id(u, format)?);
    disk.logical_sector = sector;
    disk.virtual_size = u64::from(sector) * u64::from(*u.choose(&[8_u32, 8, 8, 16, 1, 24])?);
    disk.block_size = Some(if format == DiskFormat::Vhd {
        4096
    } else {
        1 << 20
    });
    if u.ratio(3, 4)? {
        disk.kind = DiskKind::Differencing;
        let relative = if u.ratio(7, 8)? {
            Some(hint(u, true)?)
        } else {
            None
        };
        let absolute = if u.ratio(1, 2)? {
            Some(hint(u, false)?)
        } else {
            None
        };
        let volume = if u.ratio(1, 8)? {
            Some(hint(u, false)?)
        } else {
            None
        };
        let paths = ParentPaths {
            relative,
            absolute,
            volume,
        };
        let timestamp = *u.choose(&[0, 1, u32::MAX])?;
        disk.parent = Some(NewParent {
            id: id(u, format)?,
            paths,
            timestamp,
        });
    } else if u.ratio(1, 3)? {
        disk.kind = DiskKind::Fixed;
        disk.block_size = disk.block_size.filter(|_| format == DiskFormat::Vhdx);
    }
    disk.data = data(u, disk.virtual_size, u64::from(sector))?;
    Ok(disk)
}

fn data(u: &mut Unstructured<'_>, size: u64, sector: u64) -> Result<Vec<(u64, Vec<u8>)>> {
    let mut data = Vec::new();
    let mut next = 0;
    for _ in 0..u.int_in_range(0..=3)? {
        let start = next + u.int_in_range(0..=4)?;
        let end = start + u.int_in_range(1..=3)?;
        if end * sector > size {
            break;
        }
        let fill = u.int_in_range(1..=255)?;
        data.push((
            start * sector,
            vec![fill; ((end - start) * sector) as usize],
        ));
        next = end;
    }
    Ok(data)
}

fn hint(u: &mut Unstructured<'_>, relative: bool) -> Result<String> {
    let known = u.choose(&PATHS)?.replace('/', "\\");
    Ok(match u.int_in_range(0..=9)? {
        0 => (*u.choose(&ODD_PATHS)?).to_owned(),
        1 => {
            let len = u.int_in_range(1..=24)?;
            String::from_utf8_lossy(u.bytes(len)?).replace('\0', "_")
        }
        2 => format!(r"..\{known}"),
        3 => known.to_uppercase(),
        _ if relative => format!(r".\{known}"),
        _ => format!(r"C:\lab\{known}"),
    })
}

/// Disks in memory, under `C:\lab`.
struct World<'a> {
    made: &'a [Made],
    disks: Vec<Disk>,
    at: HashMap<String, NodeId>,
    looked: usize,
}

impl<'a> World<'a> {
    fn new(made: &'a [Made], aliases: &[usize]) -> Self {
        let mut world = Self {
            made,
            disks: Vec::new(),
            at: HashMap::new(),
            looked: 0,
        };
        let all = 0..made.len();
        for (number, identity) in all.chain(aliases.iter().copied()).enumerate() {
            let made = &made[identity];
            let path = match number == identity {
                true => made.path.clone(),
                false => format!("also{number}/{}", made.path),
            };
            world.at.entry(fold_case(&path)).or_insert(NodeId(number));
            let info = formats::read_info(&made.image).expect("what labpack makes, it reads");
            world.disks.push(Disk {
                path,
                identity,
                modified: 1,
                info: Some(Arc::new(info)),
                findings: Vec::new(),
            });
        }
        world
    }

    fn made(&self, node: NodeId) -> &Made {
        &self.made[self.disks[node.0].identity]
    }
}

fn root() -> Place {
    Place {
        start: Start::Drive('C'),
        parts: vec!["lab".to_owned()],
    }
}

impl Surroundings for World<'_> {
    fn disk(&self, node: NodeId) -> &Disk {
        &self.disks[node.0]
    }

    fn look(&mut self, child: NodeId, hint: &PathHint) -> Lookup {
        self.looked += 1;
        let mut folder = root();
        folder
            .parts
            .extend(self.disks[child.0].path.split('/').map(str::to_owned));
        folder.parts.pop();
        let place = match chain::path::target(hint, &folder, Style::Windows) {
            Target::At(place) => place,
            Target::Outside => return Lookup::Outside,
            Target::NotHere => return Lookup::NotHere,
            Target::NoPath => return Lookup::Missing(hint.path.clone()),
        };
        let Some(parts) = place.strip(&root()) else {
            return Lookup::Outside;
        };
        let path = fold_case(&parts.join("/"));
        match (self.at.get(&path), path.as_str()) {
            (Some(&node), _) => Lookup::Disk(node),
            (None, "notes.txt") => Lookup::NotADisk(path),
            (None, "twice.vhdx") => Lookup::Ambiguous(vec![path.clone(), path.to_uppercase()]),
            (None, _) => Lookup::Missing(path),
        }
    }
}

/// Returns how many levels the longest sound chain has.
fn check_in_memory(made: &[Made], aliases: &[usize]) -> usize {
    let mut world = World::new(made, aliases);
    let all: Vec<_> = (0..world.disks.len()).map(NodeId).collect();
    let graph = chain::resolve(&mut world, &all);
    assert!(
        world.looked <= 5 * all.len(),
        "{} hints were followed",
        world.looked
    );
    // Of a ladder, each step is like the one below.
    for &node in all.iter().rev().step_by(1 + all.len() / 32) {
        check_node(&world, &graph, node, all.len());
    }
    let leaves = graph.leaves().count();
    assert!(leaves <= all.len());
    let sound = all.iter().filter(|&&node| !graph.is_broken(node));
    sound.map(|&node| graph.levels(node)).max().unwrap_or(0)
}

fn check_node(world: &World<'_>, graph: &Graph, node: NodeId, count: usize) {
    let chain = graph.chain(node);
    assert!((1..=count).contains(&chain.len()) && (1..=count).contains(&graph.levels(node)));
    for finding in graph.findings(node) {
        assert!(!finding.to_string().is_empty());
    }
    let chain = match graph.is_broken(node) {
        true => return,
        false => chain,
    };
    assert!(
        chain.len() <= MAX_LEVELS,
        "a chain of {} levels holds",
        chain.len()
    );
    for pair in chain.windows(2) {
        let (child, parent) = (world.disk(pair[0]), world.disk(pair[1]));
        let link = child
            .info
            .as_ref()
            .and_then(|info| info.parent.as_ref())
            .expect("a link");
        assert!(link.accepts(parent.info.as_ref().expect("a disk").own_id));
        assert!(graph.children(pair[1]).contains(&pair[0]) && graph.is_parent(pair[1]));
    }
    // To open hundreds of disks takes long; of a ladder, few chains are read.
    if chain.len() <= PATHS.len() || node.0 % 64 == 63 {
        check_content(world, &chain);
    }
}

/// What is read is what was put in, level over level.
fn check_content(world: &World<'_>, chain: &[NodeId]) {
    let open = |&node| {
        let file: Arc<dyn ReadAt> = world.made(node).image.clone();
        formats::open_layer(file).expect("what labpack makes, it opens")
    };
    let disk = VirtualDisk::new(chain.iter().map(open).collect()).expect("a chain that holds");
    let mut expected = Vec::new();
    for &node in chain.iter().rev() {
        let made = &world.made(node).disk;
        expected.resize(made.virtual_size as usize, 0);
        for (offset, bytes) in &made.data {
            expected[*offset as usize..][..bytes.len()].copy_from_slice(bytes);
        }
    }
    let VirtualSize(size) = disk.info().virtual_size;
    let mut found = vec![0xEE; size as usize];
    disk.read_exact_at(&mut found, 0)
        .expect("all of a disk that holds");
    assert!(
        found == expected,
        "the chain does not read as it was written"
    );
    let mut offset = 0;
    while offset < size {
        let (len, zero) = disk.extent_at(offset).expect("an extent");
        assert!(len > 0 && len <= size - offset);
        let here = &expected[offset as usize..][..len as usize];
        assert!(
            !zero || here.iter().all(|&byte| byte == 0),
            "data is taken for zeros"
        );
        offset += len;
    }
}

/// Verifies the disks as files, and reads each chain that holds.
fn check_in_folder(made: &[Made]) -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    for one in made {
        let path = folder.path().join(&one.path);
        std::fs::create_dir_all(path.parent().unwrap_or(folder.path()))?;
        let mut file = std::fs::File::create(path)?;
        one.disk.write_to(&mut file).expect("it was written before");
    }
    let meter = Arc::new(IoMeter::default());
    let run = Run {
        progress: &Silent,
        meter: &meter,
    };
    let options = verify::Options {
        content: true,
        store: None,
    };
    let report = verify::verify(&[folder.path().to_owned()], &options, &run);
    let report = report.expect("a folder that can be read");
    assert!(
        report
            .all_findings()
            .all(|finding| !finding.to_string().is_empty())
    );
    for one in made.iter().take(12) {
        let opened = export::open_chain(
            &folder.path().join(&one.path),
            &[folder.path().to_owned()],
            &run,
        );
        match opened {
            Ok(disk) => {
                let VirtualSize(size) = disk.info().virtual_size;
                let _ = disk.read_exact_at(&mut vec![0; size as usize], 0);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    Ok(())
}
