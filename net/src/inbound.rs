//! What arrives: the application's door, and the answers on their way back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_raft_core::message::Message;
use actix_raft_core::types::{GroupId, NodeId};
use bytes::Bytes;
use tokio::sync::Notify;

use crate::codec::{ENVELOPE_BYTES, Response};
use crate::config::TransportConfig;
use crate::wire::Unanswered;

/// What a node does with what arrives. It is called from the transport's tasks and must not block:
/// pass things on and return.
pub trait Inbound: Send + Sync + 'static {
    /// Messages arrived, in the order in which the peer sent them, but for pieces of snapshots, which
    /// come by themselves. All are from one peer, to this node, and well-formed; one call a frame.
    fn messages(&self, messages: Vec<Message>);

    /// A peer's application asks something. The answer may be given later and from any thread;
    /// requests may be answered in any order.
    fn request(&self, from: NodeId, body: Bytes, reply: Responder);

    /// A peer has called and says that it listens at this address: the place to answer it, for a
    /// node that was told of no other.
    fn introduced(&self, peer: NodeId, rpc_addr: &str) {
        let _ = (peer, rpc_addr);
    }

    /// Messages to this peer were lost: the link broke, could not be made (once a failed attempt),
    /// or its queue is full (once until there is room again).
    fn unreachable(&self, peer: NodeId);
}

/// The means to answer one request. Dropped without an answer, it refuses the request.
pub struct Responder {
    id: u64,
    weight: usize,
    answers: Arc<Answers>,
    answered: bool,
}

impl Responder {
    /// Answers the request. An answer over the frame limit, or while more than `queue_bytes` of
    /// others wait unread, is not sent, and the asker learns that it is perhaps done. If the
    /// connection is gone, nothing happens.
    pub fn reply(mut self, body: Bytes) {
        self.answered = true;
        self.answers.answer(self.id, self.weight, Ok(body));
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.answered {
            self.answers.answer(self.id, self.weight, Err(Unanswered::Refused));
        }
    }
}

impl std::fmt::Debug for Responder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responder").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The requests of one accepted connection: how many are open, and the answers to be written.
pub(crate) struct Answers {
    group: GroupId,
    max_requests: usize,
    max_bytes: usize,
    max_body: usize,
    state: Mutex<State>,
    ready: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Response>,
    queue_bytes: usize,
    open: usize,
    open_bytes: usize,
    closed: bool,
}

impl Answers {
    pub(crate) fn new(config: &TransportConfig) -> Arc<Answers> {
        Arc::new(Answers {
            group: config.group,
            max_requests: config.max_requests,
            max_bytes: config.queue_bytes,
            max_body: config.max_frame_bytes.saturating_sub(ENVELOPE_BYTES),
            state: Mutex::default(),
            ready: Notify::new(),
        })
    }

    /// Takes a request in, or answers at once that there are too many. Reading never stops for
    /// it: the Raft messages behind the request may be what the open ones wait for.
    ///
    /// # Errors
    /// With the number of answers waiting, if the peer asks and asks and reads none of them.
    pub(crate) fn admit(self: &Arc<Answers>, id: u64, bytes: usize) -> Result<Admitted, usize> {
        let mut state = self.lock();
        let weight = bytes + ENVELOPE_BYTES;
        // An answer that waits to be read still counts: else asking without reading would be free.
        let count = state.open + state.queue.len();
        if count < self.max_requests && state.open_bytes + weight <= self.max_bytes {
            state.open += 1;
            state.open_bytes += weight;
            let answers = Arc::clone(self);
            return Ok(Admitted::Yes(Responder { id, weight, answers, answered: false }));
        }
        if state.queue.len() >= 2 * self.max_requests {
            return Err(state.queue.len());
        }
        self.push(&mut state, id, Err(Unanswered::Overloaded));
        Ok(Admitted::Overloaded)
    }

    /// Waits until there are answers, and takes up to about `batch` bytes of them.
    pub(crate) async fn take(&self, batch: usize) -> Vec<Response> {
        loop {
            let taken = self.take_ready(batch);
            if !taken.is_empty() {
                return taken;
            }
            self.ready.notified().await;
        }
    }

    /// The connection is gone: answers go nowhere from now on.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.queue.clear();
        state.queue_bytes = 0;
    }

    fn take_ready(&self, batch: usize) -> Vec<Response> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        let mut bytes = 0;
        while bytes < batch
            && let Some(response) = state.queue.pop_front()
        {
            bytes += weight(&response);
            taken.push(response);
        }
        state.queue_bytes -= bytes;
        taken
    }

    fn answer(&self, id: u64, weight: usize, result: Result<Bytes, Unanswered>) {
        let mut state = self.lock();
        state.open -= 1;
        state.open_bytes -= weight;
        let result = match result {
            Ok(body) if body.len() > self.max_body => Err(Unanswered::Lost),
            Ok(body) if state.queue_bytes + body.len() > self.max_bytes => Err(Unanswered::Lost),
            result => result,
        };
        self.push(&mut state, id, result);
    }

    fn push(&self, state: &mut State, id: u64, result: Result<Bytes, Unanswered>) {
        if state.closed {
            return;
        }
        let response = Response { id, group: self.group, result };
        state.queue_bytes += weight(&response);
        state.queue.push_back(response);
        self.ready.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a request that arrived.
pub(crate) enum Admitted {
    /// The application is to answer it.
    Yes(Responder),
    /// It was answered: too many are in progress.
    Overloaded,
}

fn weight(response: &Response) -> usize {
    ENVELOPE_BYTES + response.result.as_ref().map_or(0, Bytes::len)
}
