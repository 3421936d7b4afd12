//! The task that keeps a link up for a peer on one lane, as long as there is something to send.
//!
//! ```text
//!  send(), request()              the peer's task
//!        |                  wait until there is work <------------+
//!        v                           |                            |
//!    [ queue ] ----+              dial, greet --- failed: drop the queue, report, back off
//!                  |                 |                            |
//!                  +-----------> the link runs --- broke: report, back off
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{ReadHalf, WriteHalf, split};
use tokio::time::{Instant, sleep, timeout};

use crate::config::TransportConfig;
use crate::connection::{CloseReason, FrameReader};
use crate::handshake::{HANDSHAKE_BYTES, HandshakeError, greet};
use crate::lane::Lane;
use crate::link::run_link;
use crate::queue::Peer;
use crate::race::race;
use crate::shared::Shared;
use crate::stream::Stream;

/// Starts the task of a peer.
pub(crate) fn start_peer(shared: &Arc<Shared>, peer: &Arc<Peer>) {
    let closing = CloseOnDrop(Arc::clone(peer));
    let task_shared = Arc::clone(shared);
    shared.spawn(async move {
        let peer = &closing.0;
        race(keep_linked(&task_shared, peer), report_overflows(&task_shared, peer)).await;
    });
}

/// Closes the queue when the peer's task ends, however it ends: no request may wait for ever.
struct CloseOnDrop(Arc<Peer>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.fail("the transport was shut down", true);
    }
}

async fn report_overflows(shared: &Shared, peer: &Peer) {
    loop {
        peer.overflowed.notified().await;
        let (id, lane, dropped) = (peer.id, peer.lane, peer.meter.stats().dropped_messages);
        let what = format!("node {id}'s {lane:?} queue is full, {dropped} dropped so far");
        shared.complaints.warn("queue full", peer.address(), what);
        shared.inbound.unreachable(peer.id);
    }
}

async fn keep_linked(shared: &Shared, peer: &Peer) {
    let mut backoff = Backoff::new(&shared.config);
    // A peer that stays away is worth one line, not one for each attempt.
    let mut complained = String::new();
    loop {
        peer.wait_for_work().await;
        let address = peer.address();
        let connected = tokio::select! {
            // A connection to the old address is of no use.
            biased;
            () = peer.moved_from(&address) => continue,
            connected = connect(shared, peer, &address) => connected,
        };
        match connected {
            Ok((mut reader, mut writer)) => {
                let (id, lane) = (peer.id, peer.lane);
                tracing::info!(peer = %id, ?lane, %address, "linked");
                complained.clear();
                let since = Instant::now();
                let reason = {
                    let _linked = Linked::new(peer);
                    run_link(shared, peer, &address, &mut reader, &mut writer).await
                };
                match reason.violation() {
                    Some(kind) => shared.complaints.warn(kind, &address, &reason),
                    None => tracing::info!(peer = %id, ?lane, %address, "link closed: {reason}"),
                }
                if matches!(reason, CloseReason::Readdressed | CloseReason::Idle) {
                    backoff.reset();
                    continue;
                }
                // A peer that accepts and closes at once must not be dialed in a tight loop.
                if since.elapsed() >= shared.config.backoff_max {
                    backoff.reset();
                }
            }
            Err(error) => {
                let what = format!("can't reach node {}: {error}", peer.id);
                if what == complained {
                    tracing::debug!(%address, "{what}");
                } else {
                    shared.complaints.warn(error.kind(), &address, &what);
                }
                peer.fail(&what, false);
                complained = what;
            }
        }
        shared.inbound.unreachable(peer.id);
        tokio::select! {
            // The new address has not failed yet.
            biased;
            () = peer.moved_from(&address) => backoff.reset(),
            () = sleep(backoff.next()) => {}
        }
    }
}

/// Shows that the peer is linked, while it lives.
struct Linked<'a>(&'a Peer);

impl<'a> Linked<'a> {
    fn new(peer: &'a Peer) -> Linked<'a> {
        let linked = Linked(peer);
        linked.show(true);
        linked
    }

    fn show(&self, is_up: bool) {
        match self.0.lane {
            Lane::Main => self.0.meter.set_linked(is_up),
            Lane::Bulk => {}
        }
    }
}

impl Drop for Linked<'_> {
    fn drop(&mut self) {
        self.show(false);
    }
}

#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("connecting: {0}")]
    Connect(std::io::Error),
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    Handshake(HandshakeError),
}

impl DialError {
    fn kind(&self) -> &'static str {
        match self {
            DialError::Connect(_) => "connect failed",
            DialError::TimedOut(_) => "connect timed out",
            DialError::Handshake(error) => error.kind(),
        }
    }
}

async fn connect(
    shared: &Shared,
    peer: &Peer,
    address: &str,
) -> Result<(FrameReader<ReadHalf<Box<dyn Stream>>>, WriteHalf<Box<dyn Stream>>), DialError> {
    let limit = shared.config.connect_timeout;
    let stream = match timeout(limit, shared.sockets.connect(address)).await {
        Ok(dialed) => dialed.map_err(DialError::Connect)?,
        Err(_) => return Err(DialError::TimedOut(limit)),
    };
    let (reader, mut writer) = split(stream);
    let mut reader = FrameReader::new(reader, HANDSHAKE_BYTES);
    let agreed =
        greet(&shared.config_to_call(), peer.id, peer.lane, &mut reader, &mut writer).await;
    agreed.map_err(DialError::Handshake)?;
    Ok((reader, writer))
}

/// The waits between attempts: doubling, within bounds, and each of them spread at random so that
/// the nodes of a cluster don't all dial at the same moment.
struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    fn new(config: &TransportConfig) -> Backoff {
        Backoff { min: config.backoff_min, max: config.backoff_max, next: config.backoff_min }
    }

    fn reset(&mut self) {
        self.next = self.min;
    }

    fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.max);
        wait.mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}
