//! How far the writes are: what the clients share with the thread that kills and restarts.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::limits::Limits;
use super::screen::Bar;

/// How often a wait looks whether it is time to end.
const LOOK: Duration = Duration::from_millis(50);

/// When nothing is settled for so long, nothing will be.
const STALLED: Duration = Duration::from_secs(30);

/// Counts writes up to a total. Beyond the gate none is begun until it is opened: however fast they
/// are, some are left for after the leader's loss.
pub(super) struct Progress {
    total: u64,
    gate: u64,
    counts: Mutex<Counts>,
    changed: Condvar,
    bar: Bar,
}

#[derive(Default)]
struct Counts {
    begun: u64,
    settled: u64,
    /// The count that is waited for.
    awaited: u64,
    open: bool,
    stopped: bool,
}

impl Progress {
    pub(super) fn new(total: u64, gate: u64, bar: Bar) -> Progress {
        let (counts, changed) = (Mutex::default(), Condvar::new());
        Progress { total, gate, counts, changed, bar }
    }

    /// The number of the next write to do; `None` when there is none left.
    pub(super) fn begin(&self) -> Option<u64> {
        let mut counts = self.lock();
        loop {
            if counts.stopped || counts.begun == self.total {
                return None;
            }
            if counts.open || counts.begun < self.gate {
                counts.begun += 1;
                return Some(counts.begun - 1);
            }
            counts = self.changed.wait(counts).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A write has come to its end, whatever that is.
    pub(super) fn settle(&self) {
        let mut counts = self.lock();
        counts.settled += 1;
        if counts.settled == counts.awaited {
            self.changed.notify_all();
        }
        drop(counts);
        self.bar.advance();
    }

    pub(super) fn settled(&self) -> u64 {
        self.lock().settled
    }

    pub(super) fn open(&self) {
        self.lock().open = true;
        self.changed.notify_all();
    }

    /// Nothing more is begun, and what has not come to its end is given up.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Waits until so many are settled. An error if that will not be.
    pub(super) fn wait_settled(&self, count: u64, limits: &Limits) -> anyhow::Result<()> {
        let mut counts = self.lock();
        counts.awaited = count;
        let mut last = (counts.settled, Instant::now());
        while counts.settled < count {
            limits.check()?;
            ensure!(!counts.stopped, "the clients stopped writing");
            if counts.settled > last.0 {
                last = (counts.settled, Instant::now());
            }
            let stalled = last.1.elapsed() >= STALLED;
            ensure!(!stalled, "no write came to an end for {} s", STALLED.as_secs());
            let waited = self.changed.wait_timeout(counts, LOOK);
            counts = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counts are whole at any moment, even if a thread has panicked.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::screen::Screen;

    #[test]
    fn writes_wait_at_the_gate_until_it_is_opened() {
        let progress = Progress::new(10, 7, Screen::new().bar(10, ""));
        let limits = Limits::without_signals(10);
        let write_all = || {
            let mut numbers = Vec::new();
            while let Some(number) = progress.begin() {
                numbers.push(number);
                progress.settle();
            }
            numbers
        };
        let mut written = std::thread::scope(|scope| {
            let writers = [scope.spawn(write_all), scope.spawn(write_all)];
            progress.wait_settled(7, &limits).unwrap();
            assert_eq!(progress.settled(), 7);
            progress.open();
            progress.wait_settled(10, &limits).unwrap();
            writers.map(|writer| writer.join().unwrap()).concat()
        });
        written.sort_unstable();
        assert_eq!(written, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_stop_ends_every_wait() {
        let progress = Progress::new(10, 0, Screen::new().bar(10, ""));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| progress.begin());
            progress.stop();
            assert_eq!(waiting.join().unwrap(), None);
        });
        assert!(progress.is_stopped());
        assert!(progress.wait_settled(1, &Limits::without_signals(10)).is_err());
    }
}
