//! Reading and hashing with the cores that no other file keeps busy.
//!
//! Files are read side by side, each in a thread of its own. While they are few, as when one huge
//! file is left, the other cores help: each takes the next piece of work that can be done in any
//! order. Where a file has to stream in order, one reads the next chunk while the rest hash the
//! last.

use std::{
    num::NonZero,
    panic::resume_unwind,
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use rayon::{ThreadPool, ThreadPoolBuilder, prelude::*};

/// As many files may stream at most; where there are more, they keep the disk and memory busy.
const FEW: usize = 4;
/// A shorter file is read sooner than a thread has begun.
const LONG: u64 = 8 << 20;
/// Fewer bytes are hashed sooner than another thread has woken.
const WORTH_IT: u64 = 256 << 10;
pub(super) const ZEROS_LEN: u64 = 4 << 20;
/// Takes no room in the program, and next to none in memory.
static ZEROS: [u8; ZEROS_LEN as usize] = [0; ZEROS_LEN as usize];

/// How many files are streaming.
static STREAMING: AtomicUsize = AtomicUsize::new(0);

static CORES: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get));

/// A pool of its own, for chunks: a thread of the one that carries whole files would, while it
/// waits for the other half of a chunk, pick up another file, and hold both.
static HELPERS: LazyLock<Option<ThreadPool>> = LazyLock::new(|| {
    let helpers = ThreadPoolBuilder::new().num_threads(*CORES);
    helpers.thread_name(|n| format!("chunk {n}")).build().ok()
});

/// A file that streams, until it is dropped.
struct Streaming;

impl Streaming {
    fn begin() -> Self {
        STREAMING.fetch_add(1, Relaxed);
        Self
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        STREAMING.fetch_sub(1, Relaxed);
    }
}

/// Does `work`, which streams a file of `len` bytes. That of a long one is done in a thread of no
/// pool, which may wait for [`helpers`].
pub(super) fn streaming<T: Send>(len: u64, work: impl FnOnce() -> T + Send) -> T {
    let _counted = Streaming::begin();
    if len < LONG || *CORES == 1 {
        return work();
    }
    let done = thread::scope(|scope| scope.spawn(work).join());
    done.unwrap_or_else(|panic| resume_unwind(panic))
}

/// How many threads may help with a file of `len` bytes: none, where no core is without a file.
fn idle(len: u64) -> usize {
    // The one that asks streams.
    let streaming = STREAMING.load(Relaxed).max(1);
    if len < LONG || streaming > FEW {
        return 0;
    }
    CORES.saturating_sub(streaming).div_ceil(streaming)
}

/// Who helps with a chunk of a file of `len` bytes: nobody, where no core is without a file.
pub(super) fn helpers(len: u64) -> Option<&'static ThreadPool> {
    HELPERS.as_ref().filter(|_| idle(len) > 0)
}

/// Does the jobs of a file of `len` bytes in this thread and in those of helpers: each takes the
/// next once it is done with one, and has a tool of its own. Ends with the first error.
pub(super) fn share<J, T: Default + Send, E: Send>(
    len: u64,
    jobs: impl Iterator<Item = J> + Send,
    tools: &mut Vec<T>,
    work: impl Fn(&mut T, J) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let left = Mutex::new(Ok(jobs));
    let lock = || left.lock().unwrap_or_else(PoisonError::into_inner);
    let next = || lock().as_mut().ok().and_then(Iterator::next);
    let serve = |tool: &mut T| {
        while let Some(job) = next() {
            if let Err(error) = work(tool, job) {
                *lock() = Err(error);
            }
        }
    };
    let helpers = idle(len);
    tools.resize_with(tools.len().max(1 + helpers), T::default);
    let (own, others) = tools.split_at_mut(1);
    match HELPERS.as_ref().filter(|_| helpers > 0) {
        None => own.iter_mut().for_each(serve),
        Some(pool) => pool.in_place_scope(|scope| {
            let serve = &serve;
            for tool in &mut others[..helpers] {
                scope.spawn(move |_| serve(tool));
            }
            own.iter_mut().for_each(serve);
        }),
    }
    let left = left.into_inner().unwrap_or_else(PoisonError::into_inner);
    left.map(drop)
}

/// Tells whether this is one of the helpers.
fn is_helper() -> bool {
    let helps = |helpers: &ThreadPool| helpers.current_thread_index().is_some();
    rayon::current_thread_index().is_some() && HELPERS.as_ref().is_some_and(helps)
}

/// Tells whether this is one of the helpers, and `len` bytes are worth another.
fn shares(len: u64) -> bool {
    len >= WORTH_IT && is_helper()
}

/// Does the same with each item, among helpers side by side.
pub(super) fn each<T: Send, E: Send>(
    items: &mut [T],
    work: impl Fn(&mut T) -> Result<(), E> + Sync + Send,
) -> Result<(), E> {
    if is_helper() {
        items.par_iter_mut().try_for_each(work)
    } else {
        items.iter_mut().try_for_each(work)
    }
}

/// Hashes `bytes`, among helpers side by side.
pub(super) fn update(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    if shares(bytes.len() as u64) {
        hasher.update_rayon(bytes);
    } else {
        hasher.update(bytes);
    }
}

/// Hashes `len` zeros, among helpers side by side.
pub(super) fn update_zeros(hasher: &mut blake3::Hasher, len: u64) {
    if shares(len) {
        zeros(len, ZEROS_LEN).for_each(|zeros| {
            hasher.update_rayon(zeros);
        });
    } else {
        zeros(len, 64 << 10).for_each(|zeros| {
            hasher.update(zeros);
        });
    }
}

/// As many zeros; [`ZEROS_LEN`] of them at most.
pub(super) fn zeros_of(len: u64) -> &'static [u8] {
    // No longer than the zeros that there are.
    &ZEROS[..len.min(ZEROS_LEN) as usize]
}

/// Cuts `len` zeros into pieces of at most `most`.
fn zeros(len: u64, most: u64) -> impl Iterator<Item = &'static [u8]> {
    let mut left = len;
    std::iter::from_fn(move || {
        let piece = zeros_of(left.min(most));
        left -= piece.len() as u64;
        Some(piece).filter(|piece| !piece.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_zeros_that_helpers_hash_have_the_digest_of_one_thread() {
        let mut bytes = vec![0; 9 << 20];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        // Odd lengths: what follows does not begin where blocks of the tree do.
        for (filled, hole) in [(5 << 20, 9 << 20), (3_000_001, 5_000_003), (100, 70_000)] {
            let mut whole = bytes[..filled].to_vec();
            whole.resize(filled + hole, 0);
            whole.extend_from_slice(&bytes);
            let mut hasher = blake3::Hasher::new();
            let mut hash = || {
                update(&mut hasher, &bytes[..filled]);
                update_zeros(&mut hasher, hole as u64);
                update(&mut hasher, &bytes);
            };
            HELPERS.as_ref().unwrap().install(&mut hash);
            assert_eq!(hasher.finalize(), blake3::hash(&whole));
        }
    }

    #[test]
    fn jobs_are_begun_in_order_each_once_and_none_after_an_error() {
        let served = |until: usize| {
            let (begun, mut tools) = (Mutex::new(Vec::new()), Vec::new());
            // The lock is held until the job has begun, as if taking it were one step.
            let jobs = (0..500).inspect(|&job| begun.lock().unwrap().push(job));
            let done = streaming(LONG, || {
                share(LONG, jobs, &mut tools, |mine: &mut Vec<_>, job| {
                    mine.push(job);
                    if job < until { Ok(()) } else { Err(job) }
                })
            });
            let mut done_by_all = tools.concat();
            done_by_all.sort_unstable();
            let begun = begun.into_inner().unwrap();
            assert_eq!(begun, (0..done_by_all.len()).collect::<Vec<_>>());
            assert_eq!(done_by_all, begun);
            (done, begun.len())
        };
        assert_eq!(served(500), (Ok(()), 500));
        let (done, begun) = served(100);
        assert!(done.unwrap_err() >= 100);
        assert!((101..=100 + *CORES).contains(&begun), "{begun}");
    }

    #[test]
    fn a_thread_that_carries_files_takes_no_other_while_a_long_one_streams() {
        let carriers = ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let other = AtomicUsize::new(0);
        carriers.scope(|scope| {
            scope.spawn(|scope| {
                scope.spawn(|_| {
                    other.fetch_add(1, Relaxed);
                });
                streaming(LONG, || {
                    let pause = || thread::sleep(std::time::Duration::from_millis(50));
                    HELPERS.as_ref().unwrap().install(pause);
                });
                assert_eq!(other.load(Relaxed), 0, "another job began meanwhile");
            });
        });
        assert_eq!(other.load(Relaxed), 1);
    }
}
