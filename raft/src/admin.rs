//! Control of a node from outside the protocol: forming a cluster, looking inside, stopping.

use actix::Message;
use actix_raft_core::effect::InitializeError;

use crate::messages::{Address, MembershipError, NodeId};
use crate::metrics::RaftMetrics;

/// Forms a new cluster. Every node of it may be given the same members, in parallel; it is enough
/// to give them to one. Answered when the configuration is on this node's disk; a leader is
/// elected soon after.
///
/// Never give two nodes different members: that makes two clusters, which nothing can join later.
#[derive(Clone, Debug)]
pub struct InitWithConfig {
    /// The voters and where they are, in any order. A node named twice counts once, with its last
    /// address. This node is added if it is not among them, without an address; alone it is a
    /// cluster of one.
    pub members: Vec<(NodeId, Address)>,
}

impl Message for InitWithConfig {
    type Result = Result<(), InitWithConfigError>;
}

/// Why a cluster was not formed. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitWithConfigError {
    /// The node has a configuration or entries: it was initialized before, or a leader has reached
    /// it already. If all nodes were given the same members, all is well.
    #[error("this node already belongs to a cluster")]
    AlreadyInitialized,
    /// The members are no cluster.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The node has stopped.
    #[error("this node has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

impl From<InitializeError> for InitWithConfigError {
    fn from(error: InitializeError) -> InitWithConfigError {
        match error {
            InitializeError::AlreadyInitialized => InitWithConfigError::AlreadyInitialized,
            InitializeError::NotAVoter => InitWithConfigError::Membership(MembershipError::NoVoter),
        }
    }
}

/// Asks for the node's metrics as they are now. Answered at once, also by a node that has stopped.
#[derive(Clone, Copy, Debug)]
pub struct GetMetrics;

impl Message for GetMetrics {
    type Result = RaftMetrics;
}

/// Stops the node. Writes in flight are answered with
/// [`OutcomeUnknown`](crate::messages::ClientError::OutcomeUnknown), everything later with
/// [`Stopped`](crate::messages::ClientError::Stopped). Answered when the node will do nothing
/// more; its storage and network are then the caller's to stop.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown;

impl Message for Shutdown {
    type Result = ();
}
