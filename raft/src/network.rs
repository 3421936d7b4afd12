//! The seam to the network: one message, by which a node hands over what is to be sent.
//!
//! The RPCs of the paper travel as single messages, requests and responses alike, and each may be
//! lost. So a network has nothing to wait for and nothing to correlate: it sends, and brings what
//! arrives to [`Raft`](crate::raft::Raft) as a [`Receive`](crate::messages::Receive).

use std::sync::Arc;

use actix::{Actor, Handler, Message};

use crate::messages::{MembershipConfig, Rpc};

/// Everything that a node has to say after one step, to all its peers.
#[derive(Clone, Debug)]
pub struct SendMessages {
    /// The messages; those to one peer are in order. A network may lose some, but should not
    /// reorder or hold back many: Raft sends again what was lost.
    pub messages: Vec<Rpc>,
    /// Where the peers are. A peer that is not in it, or has no address there, has sent a message
    /// here before: a network that learnt from it where it listens can answer, another may drop
    /// the message.
    pub membership: Option<Arc<MembershipConfig>>,
}

impl Message for SendMessages {
    type Result = ();
}

/// An actor that carries messages to other nodes. There is nothing to implement but the handler.
pub trait RaftNetwork: Actor + Handler<SendMessages> {}

impl<N: Actor + Handler<SendMessages>> RaftNetwork for N {}
