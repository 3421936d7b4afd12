//! What waits for one peer on one lane: bounded, in order, and dropped when it can't be sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_raft_core::message::Message;
use actix_raft_core::types::NodeId;
use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::config::TransportConfig;
use crate::lane::Lane;
use crate::meter::Meter;
use crate::request::{RequestError, Waiting};
use crate::weight::weight;

/// A peer on one lane. Shared by those who send and the task that keeps a link up for it.
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) lane: Lane,
    pub(crate) meter: Arc<Meter>,
    max_messages: usize,
    max_bytes: usize,
    requests: Arc<Semaphore>,
    queue: Mutex<Queue>,
    work: Notify,
    readdressed: Notify,
    pub(crate) overflowed: Notify,
}

struct Queue {
    address: String,
    messages: VecDeque<Message>,
    message_bytes: usize,
    requests: VecDeque<(Bytes, Waiting)>,
    request_bytes: usize,
    overflowing: bool,
    closed: bool,
}

/// What is written at once.
pub(crate) struct Batch {
    pub(crate) messages: Vec<Message>,
    pub(crate) requests: Vec<(Bytes, Waiting)>,
}

impl Peer {
    pub(crate) fn new(
        id: NodeId,
        lane: Lane,
        address: &str,
        config: &TransportConfig,
        meter: Arc<Meter>,
    ) -> Peer {
        Peer {
            id,
            lane,
            meter,
            max_messages: config.queue_messages,
            max_bytes: match lane {
                Lane::Main => config.queue_bytes,
                Lane::Bulk => config.snapshot_queue_bytes,
            },
            requests: Arc::new(Semaphore::new(config.max_requests)),
            queue: Mutex::new(Queue {
                address: address.to_owned(),
                messages: VecDeque::new(),
                message_bytes: 0,
                requests: VecDeque::new(),
                request_bytes: 0,
                overflowing: false,
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
            self.meter.dropped();
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

    /// Where the peer is, as far as this node was told.
    pub(crate) fn address(&self) -> String {
        self.lock().address.clone()
    }

    /// The peer is elsewhere.
    pub(crate) fn move_to(&self, address: &str) {
        self.readdress(&mut self.lock(), address);
    }

    fn readdress(&self, queue: &mut Queue, address: &str) {
        if queue.address != address {
            queue.address = address.to_owned();
            self.readdressed.notify_one();
        }
    }

    /// Drops what is queued and tells those who asked.
    pub(crate) fn fail(&self, reason: &str, close: bool) {
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
