//! One peer as this node sends to it: a bounded queue, and a task that keeps a link up for it.
//!
//! ```text
//!  send(), request()              the peer's task
//!        |                  wait until there is work <------------+
//!        v                           |                            |
//!    [ queue ] ----+              dial, greet --- failed: drop the queue, report, back off
//!                  |                 |                            |
//!                  +-----------> the link runs --- broke: report, back off
//! ```

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_raft_core::message::Message;
use actix_raft_core::types::NodeId;
use bytes::Bytes;
use tokio::io::{ReadHalf, WriteHalf, split};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout};

use crate::config::TransportConfig;
use crate::connection::{CloseReason, FrameReader};
use crate::handshake::{HANDSHAKE_BYTES, HandshakeError, greet};
use crate::link::run_link;
use crate::race::race;
use crate::request::{RequestError, Waiting};
use crate::shared::Shared;
use crate::stream::Stream;
use crate::weight::weight;

/// What waits for one peer. Shared by those who send and the peer's task.
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    max_messages: usize,
    max_bytes: usize,
    requests: Arc<Semaphore>,
    queue: Mutex<Queue>,
    work: Notify,
    readdressed: Notify,
    overflowed: Notify,
}

struct Queue {
    address: String,
    messages: VecDeque<Message>,
    message_bytes: usize,
    requests: VecDeque<(Bytes, Waiting)>,
    request_bytes: usize,
    overflowing: bool,
    dropped: u64,
    closed: bool,
}

/// What is written at once.
pub(crate) struct Batch {
    pub(crate) messages: Vec<Message>,
    pub(crate) requests: Vec<(Bytes, Waiting)>,
}

impl Peer {
    pub(crate) fn new(id: NodeId, address: &str, config: &TransportConfig) -> Peer {
        Peer {
            id,
            max_messages: config.queue_messages,
            max_bytes: config.queue_bytes,
            requests: Arc::new(Semaphore::new(config.max_requests)),
            queue: Mutex::new(Queue {
                address: address.to_owned(),
                messages: VecDeque::new(),
                message_bytes: 0,
                requests: VecDeque::new(),
                request_bytes: 0,
                overflowing: false,
                dropped: 0,
                closed: false,
            }),
            work: Notify::new(),
            readdressed: Notify::new(),
            overflowed: Notify::new(),
        }
    }

    /// Queues messages, or drops those for which there is no room.
    pub(crate) fn send(&self, address: &str, messages: Vec<Message>) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        self.readdress(&mut queue, address);
        for message in messages {
            let bytes = weight(&message);
            // A message heavier than the whole queue may still go alone.
            let has_room = queue.messages.len() < self.max_messages
                && (queue.message_bytes + bytes <= self.max_bytes || queue.messages.is_empty());
            if has_room {
                queue.message_bytes += bytes;
                queue.messages.push_back(message);
                continue;
            }
            queue.dropped += 1;
            if !queue.overflowing {
                queue.overflowing = true;
                self.overflowed.notify_one();
            }
        }
        drop(queue);
        self.work.notify_one();
    }

    /// Queues a request; its end will come through the receiver.
    pub(crate) fn request(
        &self,
        address: &str,
        body: Bytes,
    ) -> Result<oneshot::Receiver<Result<Bytes, RequestError>>, RequestError> {
        let not_sent =
            |reason: &str| RequestError::NotSent { peer: self.id, reason: reason.to_owned() };
        let slot = Arc::clone(&self.requests)
            .try_acquire_owned()
            .map_err(|_| not_sent("too many requests are waiting for answers"))?;
        let mut queue = self.lock();
        if queue.closed {
            return Err(not_sent("the transport was shut down"));
        }
        if queue.request_bytes + body.len() > self.max_bytes && !queue.requests.is_empty() {
            return Err(not_sent("the queue is full"));
        }
        self.readdress(&mut queue, address);
        let (reply, answer) = oneshot::channel();
        queue.request_bytes += body.len();
        queue.requests.push_back((body, Waiting { reply, _slot: slot }));
        drop(queue);
        self.work.notify_one();
        Ok(answer)
    }

    /// How many messages were dropped, ever, because the queue was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Waits until there is something to write.
    pub(crate) async fn wait_for_work(&self) {
        loop {
            {
                let queue = self.lock();
                if !queue.messages.is_empty() || !queue.requests.is_empty() {
                    return;
                }
            }
            self.work.notified().await;
        }
    }

    /// Takes about `limit` bytes of messages, and as much of requests, in the order in which each
    /// was queued; at least one of each if there is one. None if they are for another address.
    pub(crate) fn take(&self, address: &str, limit: usize) -> Option<Batch> {
        let mut queue = self.lock();
        if queue.address != address {
            return None;
        }
        let mut batch = Batch { messages: Vec::new(), requests: Vec::new() };
        let mut bytes = 0;
        while bytes < limit
            && let Some(message) = queue.messages.pop_front()
        {
            bytes += weight(&message);
            batch.messages.push(message);
        }
        queue.message_bytes -= bytes;
        queue.overflowing = false;
        bytes = 0;
        while bytes < limit
            && let Some((body, waiting)) = queue.requests.pop_front()
        {
            queue.request_bytes -= body.len();
            if waiting.is_wanted() {
                bytes += body.len().max(1);
                batch.requests.push((body, waiting));
            }
        }
        Some(batch)
    }

    /// Returns once the peer's address is another than this.
    pub(crate) async fn moved_from(&self, address: &str) {
        while self.lock().address == address {
            self.readdressed.notified().await;
        }
    }

    fn address(&self) -> String {
        self.lock().address.clone()
    }

    fn readdress(&self, queue: &mut Queue, address: &str) {
        if queue.address != address {
            queue.address = address.to_owned();
            self.readdressed.notify_one();
        }
    }

    /// Drops what is queued and tells those who asked.
    fn fail(&self, reason: &str, close: bool) {
        let mut queue = self.lock();
        queue.closed |= close;
        queue.messages.clear();
        queue.message_bytes = 0;
        queue.overflowing = false;
        let requests = std::mem::take(&mut queue.requests);
        queue.request_bytes = 0;
        drop(queue);
        for (_, waiting) in requests {
            waiting.not_sent(self.id, reason);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
        let dropped = peer.dropped();
        let what = format_args!("the queue of node {} is full, {dropped} dropped so far", peer.id);
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
                tracing::info!(peer = %peer.id, %address, "linked");
                complained.clear();
                let since = Instant::now();
                let reason = run_link(shared, peer, &address, &mut reader, &mut writer).await;
                match reason.violation() {
                    Some(kind) => shared.complaints.warn(kind, &address, &reason),
                    None => tracing::info!(peer = %peer.id, %address, "link closed: {reason}"),
                }
                if matches!(reason, CloseReason::Readdressed) {
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
    let agreed = greet(&shared.config, peer.id, &mut reader, &mut writer).await;
    agreed.map_err(DialError::Handshake)?;
    reader.set_limit(shared.config.max_frame_bytes);
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
