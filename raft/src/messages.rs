//! The messages a node understands: RPCs from its peers and requests of its clients.
//!
//! ```text
//!   ClientPayload --> leader --> log, followers --> committed --> applied
//!                                                      |             |
//!                          ResponseMode::Committed  <--+             |
//!                          ResponseMode::Applied    <----------------+
//! ```
//!
//! Every request is answered with a definite word. [`ClientError`] tells *surely not done* from
//! *perhaps done*: only [`ClientError::OutcomeUnknown`] is the latter.

use std::marker::PhantomData;
use std::sync::Arc;

use actix::Message;
pub use actix_raft_core::entry::{Entry, EntryPayload};
pub use actix_raft_core::membership::{Address, Membership as MembershipConfig, MembershipError};
pub use actix_raft_core::message::{
    AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, Message as Rpc,
    MessageBody as RpcBody, VoteKind, VoteRequest, VoteResponse,
};
pub use actix_raft_core::types::{GroupId, Index, LogPosition, NodeId, Term};
use bytes::Bytes;

use crate::application::Application;
use crate::gate::Permit;

/// RPCs that arrived from peers, in order. A network brings them to [`Raft`](crate::raft::Raft);
/// they are answered by messages of their own, if at all.
#[derive(Clone, Debug)]
pub struct Receive {
    /// The RPCs.
    pub messages: Vec<Rpc>,
}

impl Message for Receive {
    type Result = ();
}

/// The link to a peer broke: what was on its way may be lost. Bringing it is optional; it makes a
/// node notice sooner.
#[derive(Clone, Copy, Debug)]
pub struct PeerUnreachable {
    /// The peer.
    pub peer: NodeId,
}

impl Message for PeerUnreachable {
    type Result = ();
}

/// When a write is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseMode {
    /// When the command is committed: it will be applied, here and everywhere, whatever fails.
    Committed,
    /// When the leader's state machine has applied it, with its response.
    #[default]
    Applied,
}

/// A command for the state machine. Send it to the leader; another node refuses it with
/// [`ClientError::NotLeader`].
pub struct ClientPayload<A: Application> {
    pub(crate) command: Bytes,
    pub(crate) response_mode: ResponseMode,
    pub(crate) permit: Option<Permit>,
    application: PhantomData<fn() -> A>,
}

impl<A: Application> ClientPayload<A> {
    /// A command, to be answered when `response_mode` says.
    #[must_use]
    pub fn new(command: A::Command, response_mode: ResponseMode) -> ClientPayload<A> {
        ClientPayload {
            command: A::encode(command),
            response_mode,
            permit: None,
            application: PhantomData,
        }
    }
}

impl<A: Application> Message for ClientPayload<A> {
    type Result = Result<ClientResponse<A::Response>, ClientError>;
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientResponse<R> {
    /// It is committed; see [`ResponseMode::Committed`].
    Committed {
        /// Its place in the log.
        index: Index,
    },
    /// It is committed and applied; see [`ResponseMode::Applied`].
    Applied {
        /// Its place in the log.
        index: Index,
        /// What the state machine answered.
        response: R,
    },
}

/// A linearizable read: answered on the leader when its state machine holds everything that was
/// committed when the read arrived, after a majority confirmed that it still leads (diss. §6.4).
/// A client that then reads the state machine of this node sees every write that was acknowledged
/// before the read was sent.
#[derive(Debug, Default)]
pub struct ClientRead {
    pub(crate) permit: Option<Permit>,
}

impl Message for ClientRead {
    type Result = Result<(), ClientError>;
}

/// The leader and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderInfo {
    /// The leader.
    pub id: NodeId,
    /// Where it is, if this node knows its configuration.
    pub address: Option<Address>,
}

/// Why a request of a client has no result. All variants but [`ClientError::OutcomeUnknown`] mean
/// that it was surely not done and never will be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// This node does not lead. Go to the leader, or ask again soon if there is none.
    #[error("this node is not the leader{}", show_leader(.leader))]
    NotLeader {
        /// Where to go.
        leader: Option<LeaderInfo>,
    },
    /// Perhaps done: the node lost leadership, failed or was stopped while the command was on its
    /// way. Only a command that may be done twice may simply be sent again.
    #[error("the outcome is unknown: {reason}")]
    OutcomeUnknown {
        /// What happened.
        reason: Arc<str>,
    },
    /// As many requests are in flight as may be. Ask again later.
    #[error("too many requests are in flight")]
    Overloaded,
    /// The command is larger than a node accepts.
    #[error("the command has {bytes} bytes, more than the {limit} that are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest size, [`max_command_bytes`](crate::config::ConfigBuilder::max_command_bytes).
        limit: usize,
    },
    /// The node was stopped, or stopped itself because its storage failed.
    #[error("this node has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: Arc<str>,
    },
}

fn show_leader(leader: &Option<LeaderInfo>) -> String {
    match leader {
        Some(leader) => format!("; node {} is", leader.id),
        None => ", and knows of none".to_string(),
    }
}
