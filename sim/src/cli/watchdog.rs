//! Notices a world that never ends: a server that spins within one step can't be stopped from
//! inside.

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// A world takes a small part of a second; a spinning one may eat memory as fast as it can.
const PATIENCE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 300 } else { 30 });

/// Ends the program when no world has ended for long. `next` is the seed of the oldest that has not.
pub(super) fn watch(first: u64) -> Arc<AtomicU64> {
    let next = Arc::new(AtomicU64::new(first));
    let watched = Arc::clone(&next);
    thread::spawn(move || {
        let mut before = None;
        loop {
            thread::sleep(PATIENCE);
            let now = watched.load(Ordering::Relaxed);
            if before == Some(now) {
                println!("seed {now}, or one soon after it, has not ended for {PATIENCE:?}");
                println!("  law:  servers come to rest");
                println!("  see it with: run --seed {now} --trace");
                exit(1);
            }
            before = Some(now);
        }
    });
    next
}
