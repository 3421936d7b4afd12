//! What has gone to each peer and come from it, and when it was last heard.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_raft_core::types::NodeId;
use tokio::time::Instant;

/// How many peers are counted: callers could invent ids without end.
const MAX_PEERS: usize = 4096;

/// What a transport knows of one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerStats {
    /// Whether the connection that this node dialed for messages and requests is up.
    pub linked: bool,
    /// Bytes written on all connections with this peer since the start, frames' headers included,
    /// handshakes not.
    pub sent_bytes: u64,
    /// Bytes read, likewise.
    pub received_bytes: u64,
    /// Messages dropped since the start because a queue was full.
    pub dropped_messages: u64,
    /// How long ago the last byte came from it, on whatever connection; `None` if never.
    pub heard_ago: Option<Duration>,
}

/// The counters of one peer.
#[derive(Default)]
pub(crate) struct Meter {
    linked: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    dropped: AtomicU64,
    heard_at: Mutex<Option<Instant>>,
}

impl Meter {
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize, now: Instant) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    pub(crate) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_linked(&self, linked: bool) {
        self.linked.store(linked, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> PeerStats {
        let heard_at = *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner);
        PeerStats {
            linked: self.linked.load(Ordering::Relaxed),
            sent_bytes: self.sent.load(Ordering::Relaxed),
            received_bytes: self.received.load(Ordering::Relaxed),
            dropped_messages: self.dropped.load(Ordering::Relaxed),
            heard_ago: heard_at.map(|at| at.elapsed()),
        }
    }
}

/// The meters of all peers.
#[derive(Default)]
pub(crate) struct Meters {
    of: Mutex<HashMap<NodeId, Arc<Meter>>>,
}

impl Meters {
    pub(crate) fn of(&self, peer: NodeId) -> Arc<Meter> {
        let mut meters = self.lock();
        if meters.len() >= MAX_PEERS && !meters.contains_key(&peer) {
            return Arc::default();
        }
        Arc::clone(meters.entry(peer).or_default())
    }

    pub(crate) fn all(&self) -> BTreeMap<NodeId, PeerStats> {
        self.lock().iter().map(|(peer, meter)| (*peer, meter.stats())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Arc<Meter>>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
