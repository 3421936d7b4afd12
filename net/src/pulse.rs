//! Signs of life: how an end of a connection learns in time that the other one is gone.
//!
//! ```text
//!   dialer                                            acceptor
//!     |  whatever there is to send; if nothing for 0.5 s, |
//!     |  a keep-alive                                     |
//!     | ------------------------------------------------> |  has read something
//!     |     an answer, or a keep-alive, at most one in    |
//!     |     0.5 s                                         |
//!     | <------------------------------------------------ |
//! ```
//!
//! A network that swallows everything tells no one. TCP finds out after many minutes, and one that
//! has waited long tries again seldom. So who hears nothing for a time closes the connection, and
//! the dialer dials again.
//!
//! The acceptor's keep-alive says "bytes arrive", not "your frame has arrived": a large frame on
//! a slow network is no silence.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::config::KEEP_ALIVE_EVERY;
use crate::connection::CloseReason;
use crate::meter::Meter;

/// When the other end of one connection was last heard.
pub(crate) struct Pulse {
    meter: Arc<Meter>,
    heard_at: Mutex<Instant>,
    heard: Notify,
}

impl Pulse {
    /// For a connection that has just been made.
    pub(crate) fn new(meter: Arc<Meter>) -> Arc<Pulse> {
        let (heard_at, heard) = (Mutex::new(Instant::now()), Notify::new());
        Arc::new(Pulse { meter, heard_at, heard })
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Bytes were read.
    pub(crate) fn hear(&self, bytes: usize) {
        let now = Instant::now();
        self.meter.received(bytes, now);
        *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = now;
        self.heard.notify_one();
    }

    /// Whether the other end was heard a moment ago.
    pub(crate) fn is_alive(&self) -> bool {
        self.heard_at().elapsed() < 2 * KEEP_ALIVE_EVERY
    }

    /// Returns once nothing was heard for so long.
    pub(crate) async fn silence(&self, limit: Duration) -> CloseReason {
        let mut since = self.heard_at();
        loop {
            let until = since + limit;
            sleep_until(until).await;
            let now = Instant::now();
            // If this timer is late, it was this node that stood still, and the other may be well:
            // what it said meanwhile, or could not answer, is still to come.
            since = match now.saturating_duration_since(until) < KEEP_ALIVE_EVERY {
                true => self.heard_at(),
                false => now,
            };
            if since + limit <= now {
                return CloseReason::Silent(limit);
            }
        }
    }

    /// Returns once something was heard, and nothing was written since `written_at` for so long that
    /// the other end may wonder.
    pub(crate) async fn wants_sign(&self, written_at: Instant) {
        self.heard.notified().await;
        sleep_until(written_at + KEEP_ALIVE_EVERY).await;
    }

    fn heard_at(&self) -> Instant {
        *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
