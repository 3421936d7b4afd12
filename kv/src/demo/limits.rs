//! What ends every wait of the demo: Ctrl-C, SIGTERM, or the end of its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::signal::unix::{SignalKind, signal};

/// The time for everything but the writes, and for each write; both far more than needed.
const BASE: Duration = Duration::from_secs(60);
const FOR_A_WRITE: Duration = Duration::from_millis(5);
/// How often servers, which are other processes, are asked what is waited for.
const POLL: Duration = Duration::from_millis(20);

/// Shared by all threads of the demo.
#[derive(Clone)]
pub(super) struct Limits {
    interrupted: Arc<AtomicBool>,
    time: Duration,
    deadline: Instant,
}

impl Limits {
    /// Begins to watch for signals.
    pub(super) fn start(writes: u64) -> anyhow::Result<Limits> {
        let limits = Limits::without_signals(writes);
        let interrupted = Arc::clone(&limits.interrupted);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("can't handle signals")?;
        // Registered here and now: from here on a signal does not end the process by itself.
        let (mut interrupt, mut terminate) = {
            let _context = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        // It ends with the process.
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            interrupted.store(true, Ordering::Relaxed);
        });
        Ok(limits)
    }

    pub(super) fn without_signals(writes: u64) -> Limits {
        let writes = u32::try_from(writes).unwrap_or(u32::MAX);
        let time = BASE + FOR_A_WRITE * writes;
        Limits { interrupted: Arc::default(), time, deadline: Instant::now() + time }
    }

    pub(super) fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// An error if it is time to end.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.interrupted(), "interrupted");
        let late = Instant::now() >= self.deadline;
        ensure!(!late, "the demo takes longer than {} s: given up", self.time.as_secs());
        Ok(())
    }

    /// Asks again and again until there is an answer.
    pub(super) fn wait<T>(
        &self,
        what: &str,
        at_most: Duration,
        mut ask: impl FnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        loop {
            self.check()?;
            if let Some(answer) = ask()? {
                return Ok(answer);
            }
            if started.elapsed() >= at_most {
                bail!("waited {} s in vain for {what}", at_most.as_secs());
            }
            thread::sleep(POLL);
        }
    }

    /// Waits for a signal, however long.
    pub(super) fn wait_for_interrupt(&self) {
        while !self.interrupted() {
            thread::sleep(POLL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_an_answer_an_error_or_its_time() {
        let limits = Limits::without_signals(10);
        let mut asked = 0;
        let counted = limits.wait("three", BASE, || {
            asked += 1;
            Ok((asked == 3).then_some("three"))
        });
        assert_eq!(counted.unwrap(), "three");
        let failed = limits.wait("it", BASE, || -> anyhow::Result<Option<()>> { bail!("no") });
        assert_eq!(failed.unwrap_err().to_string(), "no");
        let late = limits.wait("it", Duration::ZERO, || Ok(None::<()>));
        assert_eq!(late.unwrap_err().to_string(), "waited 0 s in vain for it");
        limits.interrupted.store(true, Ordering::Relaxed);
        let stopped = limits.wait("it", BASE, || Ok(Some(())));
        assert_eq!(stopped.unwrap_err().to_string(), "interrupted");
        limits.wait_for_interrupt();
    }

    #[test]
    fn more_writes_get_more_time() {
        assert_eq!(Limits::without_signals(10_000).time, Duration::from_secs(110));
        let mut late = Limits::without_signals(10);
        late.deadline = Instant::now();
        assert!(late.check().unwrap_err().to_string().contains("longer than 60 s"));
    }
}
