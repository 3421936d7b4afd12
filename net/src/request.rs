//! A request of the application on its way to a peer, and how it may end.

use actix_raft_core::types::NodeId;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// How a request ended, if not with an answer. Only after [`RequestError::Unknown`] and
/// [`RequestError::Refused`] may the peer's application have seen it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Surely not done: no byte of it was handed to a connection.
    #[error("the request to node {peer} was surely not sent: {reason}")]
    NotSent {
        /// The peer.
        peer: NodeId,
        /// Why.
        reason: String,
    },
    /// Surely not done: the peer's transport had too many requests in progress, and did not hand
    /// this one to its application.
    #[error("node {peer} is overloaded and did not take the request")]
    Overloaded {
        /// The peer.
        peer: NodeId,
    },
    /// Perhaps done: it was sent, at least in part, and then there was no answer.
    #[error("the request to node {peer} is perhaps done: {reason}")]
    Unknown {
        /// The peer.
        peer: NodeId,
        /// What happened.
        reason: String,
    },
    /// The peer's application dropped its responder. What that means is the application's word.
    #[error("node {peer} gave no answer")]
    Refused {
        /// The peer.
        peer: NodeId,
    },
    /// Surely not done: it is over the frame limit.
    #[error("a request of {bytes} bytes is over the frame limit of {limit}")]
    TooLarge {
        /// What it takes in a frame.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// A request that waits for its answer. It counts against its peer's bound as long as this lives.
pub(crate) struct Waiting {
    pub(crate) reply: oneshot::Sender<Result<Bytes, RequestError>>,
    pub(crate) _slot: OwnedSemaphorePermit,
}

impl Waiting {
    /// Whether anyone still wants the answer.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    pub(crate) fn end(self, result: Result<Bytes, RequestError>) {
        // Fails if no one wants the answer any more, which is all right.
        let _ = self.reply.send(result);
    }

    pub(crate) fn not_sent(self, peer: NodeId, reason: &str) {
        self.end(Err(RequestError::NotSent { peer, reason: reason.to_owned() }));
    }
}
