//! The messages a node understands: RPCs from its peers and requests of its clients.
//!
//! ```text
//!   ClientPayload --> leader --> log, followers --> committed --> applied
//!                                                      |             |
//!                          ResponseMode::Committed  <--+             |
//!                          ResponseMode::Applied    <----------------+
//! ```
//!
//! Every request is answered with a definite word: [`ClientError`] tells *surely not done* from
//! *perhaps done*.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use actix::Message;
pub use actix_raft_core::entry::{Entry, EntryPayload};
pub use actix_raft_core::membership::{Address, Membership as MembershipConfig, MembershipError};
pub use actix_raft_core::message::{
    AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, InstallOutcome,
    InstallSnapshotRequest, InstallSnapshotResponse, Message as Rpc, MessageBody as RpcBody,
    ReadIndexRequest, ReadIndexResponse, TimeoutNowRequest, VoteKind, VoteRefusal, VoteRequest,
    VoteResponse,
};
pub use actix_raft_core::types::{GroupId, Index, LogPosition, NodeId, Term};

use crate::application::Application;
use crate::envelope::Draft;
use crate::gate::Permit;
use crate::sessions::{Serial, SessionError};

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
    pub(crate) draft: Draft,
    pub(crate) serial: Option<Serial>,
    pub(crate) response_mode: ResponseMode,
    pub(crate) permit: Option<Permit>,
    application: PhantomData<fn() -> A>,
}

impl<A: Application> ClientPayload<A> {
    /// A command, to be answered when `response_mode` says.
    #[must_use]
    pub fn new(command: A::Command, response_mode: ResponseMode) -> ClientPayload<A> {
        let payload = ClientPayload::of_bytes(None, &A::encode(command));
        ClientPayload { response_mode, ..payload }
    }

    /// A command that is applied once, however often it is sent with this serial; see
    /// [`sessions`](crate::sessions). It is answered when it is applied.
    #[must_use]
    pub fn in_session(command: A::Command, serial: Serial) -> ClientPayload<A> {
        ClientPayload::of_bytes(Some(serial), &A::encode(command))
    }

    pub(crate) fn of_bytes(serial: Option<Serial>, command: &[u8]) -> ClientPayload<A> {
        ClientPayload {
            draft: Draft::new(serial, command),
            serial,
            response_mode: ResponseMode::Applied,
            permit: None,
            application: PhantomData,
        }
    }
}

impl<A: Application> Message for ClientPayload<A> {
    type Result = Result<ClientResponse<A::Response>, ClientError<A::Rejection>>;
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

/// A read of this node's state machine: answered when a client that then reads it sees what the
/// consistency promises. Any node serves it: one that does not lead asks the leader.
#[derive(Debug, Default)]
pub struct ClientRead {
    /// What is promised.
    pub consistency: Consistency,
    pub(crate) permit: Option<Permit>,
}

impl ClientRead {
    /// A read with this consistency.
    #[must_use]
    pub fn new(consistency: Consistency) -> ClientRead {
        ClientRead { consistency, permit: None }
    }
}

impl Message for ClientRead {
    type Result = Result<(), ClientError>;
}

/// What a reader of a state machine sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// Every write that was acknowledged before the read was sent. A majority has confirmed, after
    /// the read arrived, that the leader still leads (ReadIndex, diss. §6.4).
    #[default]
    Linearizable,
    /// The same, as long as no clock runs faster than the configuration's
    /// [`lease`](crate::config::ConfigBuilder::lease) says: the leader need not ask anybody (diss.
    /// §6.4.1). Refused with [`ClientError::LeaseDisabled`] where there is no such configuration.
    Lease,
    /// What this node has applied, however old: answered at once, also without a leader. One node
    /// never goes back; two nodes may.
    Local,
}

/// The leader and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderInfo {
    /// The leader.
    pub id: NodeId,
    /// Where it is, if this node knows its configuration.
    pub address: Option<Address>,
}

/// Why a request of a client has no result. `E` is the application's reason to refuse a command.
///
/// *Perhaps done* are [`OutcomeUnknown`](ClientError::OutcomeUnknown) and, if it was sent before,
/// [`Session`](ClientError::Session); *done*, in an earlier attempt, is
/// [`AppliedBefore`](ClientError::AppliedBefore). All others mean that this attempt was surely not
/// done and never will be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError<E = Infallible> {
    /// This node does not lead, or, if it was asked to read, no leader answers it. Go to the leader,
    /// or ask again soon if there is none.
    #[error("this node is not the leader{}", show_leader(.leader))]
    NotLeader {
        /// Where to go.
        leader: Option<LeaderInfo>,
    },
    /// This node is handing leadership over. Go there, or ask here again in a moment.
    #[error("leadership is being handed over to node {}", to.id)]
    Transferring {
        /// The next leader.
        to: LeaderInfo,
    },
    /// Perhaps done: the node lost leadership, failed or was stopped while the command was on its
    /// way. Only a command that may be done twice, or is in a [session](crate::sessions), may simply
    /// be sent again.
    #[error("the outcome is unknown: {reason}")]
    OutcomeUnknown {
        /// What happened.
        reason: Arc<str>,
    },
    /// The application refused the command before it was logged; see
    /// [`Validator`](crate::validation::Validator).
    #[error("{0}")]
    Rejected(E),
    /// As many requests are in flight as may be. Ask again later.
    #[error("too many requests are in flight")]
    Overloaded,
    /// The leader's disk is nearly full, and no other node can lead. Reads are served.
    #[error("the leader's disk is nearly full")]
    DiskFull,
    /// The command is larger than a node accepts.
    #[error("the command has {bytes} bytes, more than the {limit} that are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest size, [`max_command_bytes`](crate::config::ConfigBuilder::max_command_bytes).
        limit: usize,
    },
    /// The write was not applied in its session now; an earlier attempt may have been.
    #[error(transparent)]
    Session(SessionError),
    /// The write was applied in an earlier attempt, whose response was not kept: see
    /// [`Application::encode_response`].
    #[error("the write was applied before; what was answered then is not known")]
    AppliedBefore,
    /// Lease reads are not enabled in the configuration of this node or of the leader.
    #[error("lease reads are not enabled")]
    LeaseDisabled,
    /// The node was stopped, or stopped itself because its storage failed.
    #[error("this node has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: Arc<str>,
    },
}

impl ClientError {
    /// The same error, where an application may refuse.
    #[must_use]
    pub fn for_write<E>(self) -> ClientError<E> {
        match self {
            ClientError::NotLeader { leader } => ClientError::NotLeader { leader },
            ClientError::Transferring { to } => ClientError::Transferring { to },
            ClientError::OutcomeUnknown { reason } => ClientError::OutcomeUnknown { reason },
            ClientError::Rejected(never) => match never {},
            ClientError::Overloaded => ClientError::Overloaded,
            ClientError::DiskFull => ClientError::DiskFull,
            ClientError::TooLarge { bytes, limit } => ClientError::TooLarge { bytes, limit },
            ClientError::Session(error) => ClientError::Session(error),
            ClientError::AppliedBefore => ClientError::AppliedBefore,
            ClientError::LeaseDisabled => ClientError::LeaseDisabled,
            ClientError::Stopped { reason } => ClientError::Stopped { reason },
        }
    }
}

fn show_leader(leader: &Option<LeaderInfo>) -> String {
    match leader {
        Some(leader) => format!("; node {} is", leader.id),
        None => ", and knows of none".to_string(),
    }
}
