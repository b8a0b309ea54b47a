//! Reading and hashing with the cores that no other file keeps busy.
//!
//! Files are read side by side, each in a thread of its own. While they are few, as when one huge
//! file is left, the other cores help: each takes the next piece of work, which can be done in any
//! order.

use std::{
    num::NonZero,
    panic::resume_unwind,
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// As many files may stream at most; where there are more, they keep the disk and memory busy.
const FEW: usize = 4;
/// A shorter file is read sooner than a thread has begun.
const LONG: u64 = 8 << 20;

/// How many files are streaming.
static STREAMING: AtomicUsize = AtomicUsize::new(0);

static CORES: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get));

/// A pool of its own, for pieces: a thread of the one that carries whole files would, while it
/// waits for helpers, pick up another file, and hold both.
static HELPERS: LazyLock<Option<ThreadPool>> = LazyLock::new(|| {
    let helpers = ThreadPoolBuilder::new().num_threads(*CORES);
    helpers.thread_name(|n| format!("piece {n}")).build().ok()
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

#[cfg(test)]
mod tests {
    use super::*;

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
