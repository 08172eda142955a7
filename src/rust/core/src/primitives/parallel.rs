//! Spreads a heavy batch over the cores.
//!
//! Threads live only as long as the batch. A pool that outlives it would be dead in a process
//! forked by R (`parallel::mclapply`), and waiting for it would hang.

use std::{
    num::NonZero,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Below this many items a thread costs more than it saves.
const SMALLEST_SHARE: usize = 16;

static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Lets at most `threads` work at once. R's checks allow two; a forked process uses one.
pub fn limit_threads(threads: usize) {
    LIMIT.store(threads.max(1), Ordering::Relaxed);
}

/// Ends a limit of [`limited_to`].
pub struct Limited(usize);

impl Drop for Limited {
    fn drop(&mut self) {
        LIMIT.store(self.0, Ordering::Relaxed);
    }
}

/// Lets at most `threads` work at once, and never more than before, until what is returned is dropped.
#[must_use]
pub fn limited_to(threads: usize) -> Limited {
    Limited(LIMIT.fetch_min(threads.max(1), Ordering::Relaxed))
}

/// How many threads work on so many items.
pub fn threads(items: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    cores.min(LIMIT.load(Ordering::Relaxed)).min(items / SMALLEST_SHARE)
}

/// Whether more than one thread works on so many items.
pub fn is_spread(items: usize) -> bool {
    threads(items) > 1
}

/// Applies `f` to every item and keeps the order.
pub fn map<T: Send, R: Send>(items: Vec<T>, f: impl Fn(T) -> R + Sync) -> Vec<R> {
    map_shares(items, |share| share.into_iter().map(&f).collect())
}

/// Applies `f` to the share of each thread, which is items that follow each other, and keeps the order. For
/// work that goes on from the item before.
pub fn map_shares<T: Send, R: Send>(items: Vec<T>, f: impl Fn(Vec<T>) -> Vec<R> + Sync) -> Vec<R> {
    let threads = threads(items.len());
    if threads < 2 {
        return f(items);
    }
    let share = items.len().div_ceil(threads);
    let mut items = items.into_iter();
    thread::scope(|scope| {
        let workers: Vec<_> = std::iter::from_fn(|| {
            let chunk: Vec<T> = items.by_ref().take(share).collect();
            (!chunk.is_empty()).then_some(chunk)
        })
        .map(|chunk| scope.spawn(|| f(chunk)))
        .collect();
        workers
            .into_iter()
            .flat_map(|worker| match worker.join() {
                Ok(results) => results,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn order_is_kept_for_every_length() {
        for n in [0usize, 1, 15, 16, 31, 32, 33, 1000] {
            let doubled = super::map((0..n).collect(), |i| i * 2);
            assert_eq!(doubled, (0..n).map(|i| i * 2).collect::<Vec<_>>());
        }
    }
}
