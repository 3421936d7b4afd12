//! Warnings about peers, at most one a second of each kind, so that an enemy can't fill the log.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const EVERY: Duration = Duration::from_secs(1);

/// When each kind of complaint was last made, and how many were swallowed since.
#[derive(Default)]
pub(crate) struct Complaints {
    kinds: Mutex<HashMap<&'static str, Slot>>,
}

struct Slot {
    last: Instant,
    suppressed: u64,
}

impl Complaints {
    /// Logs what is wrong with the peer at `address`, or counts it, if something of this kind was
    /// logged less than a second ago.
    pub(crate) fn warn(&self, kind: &'static str, address: impl Display, what: impl Display) {
        if let Some(suppressed) = self.admit(kind) {
            tracing::warn!(%address, kind, suppressed, "{what}");
        }
    }

    /// How many were swallowed since the last of this kind, if one may be logged now.
    fn admit(&self, kind: &'static str) -> Option<u64> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let Some(slot) = kinds.get_mut(kind) else {
            kinds.insert(kind, Slot { last: now, suppressed: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(slot.last) < EVERY {
            slot.suppressed += 1;
            return None;
        }
        slot.last = now;
        Some(std::mem::take(&mut slot.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_a_second_of_each_kind_and_the_rest_counted() {
        let complaints = Complaints::default();
        assert_eq!(complaints.admit("a"), Some(0));
        assert_eq!(complaints.admit("a"), None);
        assert_eq!(complaints.admit("a"), None);
        assert_eq!(complaints.admit("b"), Some(0));
        tokio::time::advance(EVERY).await;
        assert_eq!(complaints.admit("a"), Some(2));
        assert_eq!(complaints.admit("a"), None);
    }
}
