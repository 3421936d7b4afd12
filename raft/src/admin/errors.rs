//! Why a command of an operator was not carried out: one enum for each.

use std::sync::Arc;

use actix_raft_core::admin::{
    ChangeError, ElectionError, Inoperable, PurgeError, SnapshotError, TransferError,
};
use actix_raft_core::effect::InitializeError;

use crate::config::ConfigError;
use crate::messages::{Index, LeaderInfo, LogPosition, MembershipError, NodeId};

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

/// Why the members were not changed. All variants but [`ConfigChangeError::OutcomeUnknown`] mean
/// that the members are what they were.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigChangeError {
    /// Only the leader changes the members.
    #[error("this node is not the leader")]
    NotLeader {
        /// Where to go, if a leader is known.
        leader: Option<LeaderInfo>,
    },
    /// Nothing would change.
    #[error("nothing would change")]
    Noop,
    /// The cluster could decide nothing with these members.
    #[error("the cluster would be inoperable: {0}")]
    InoperableConfig(Inoperable),
    /// Another change is under way.
    #[error("another change is under way")]
    AnotherChange,
    /// The configuration in force is not the expected one.
    #[error("the configuration in force is that of index {current}, not {expected}")]
    OtherConfiguration {
        /// The one in force.
        current: Index,
        /// The one expected.
        expected: Index,
    },
    /// A node that is to be promoted, demoted or moved is no member.
    #[error("node {0} is not a member")]
    NotAMember(NodeId),
    /// One node is named in two changes that can't both be done.
    #[error("node {0} is named twice, with different changes")]
    Contradiction(NodeId),
    /// A new voter was not heard for the
    /// [`catch_up_timeout`](crate::config::ConfigBuilder::catch_up_timeout): the change was given
    /// up, and the members are what they were.
    #[error("node {0} is not heard and did not catch up")]
    NotCaughtUp(NodeId),
    /// A later request took the change back while a new voter was still catching up: the members are
    /// what they were.
    #[error("a later request took the change back")]
    TakenBack,
    /// Leadership was lost, or the node stopped, on the way. If an entry of the change was stored by
    /// enough nodes, the next leader will finish it; else nothing of it will remain. Ask it again,
    /// or look at the members.
    #[error("the outcome is unknown: {reason}")]
    OutcomeUnknown {
        /// What happened.
        reason: Arc<str>,
    },
    /// The node has stopped.
    #[error("this node has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: Arc<str>,
    },
}

impl ConfigChangeError {
    pub(crate) fn of(error: ChangeError, leader: impl Fn(NodeId) -> LeaderInfo) -> Self {
        match error {
            ChangeError::NotLeader { leader: id } => {
                ConfigChangeError::NotLeader { leader: id.map(leader) }
            }
            ChangeError::Noop => ConfigChangeError::Noop,
            ChangeError::InoperableConfig(why) => ConfigChangeError::InoperableConfig(why),
            ChangeError::AnotherChange => ConfigChangeError::AnotherChange,
            ChangeError::OtherConfiguration { current, expected } => {
                ConfigChangeError::OtherConfiguration { current, expected }
            }
            ChangeError::NotAMember(id) => ConfigChangeError::NotAMember(id),
            ChangeError::Contradiction(id) => ConfigChangeError::Contradiction(id),
            ChangeError::NotCaughtUp(id) => ConfigChangeError::NotCaughtUp(id),
            ChangeError::TakenBack => ConfigChangeError::TakenBack,
            ChangeError::OutcomeUnknown => ConfigChangeError::OutcomeUnknown {
                reason: "leadership was lost before the change was committed".into(),
            },
        }
    }
}

/// Why leadership was not handed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferLeadershipError {
    /// Only the leader hands over.
    #[error("this node is not the leader")]
    NotLeader {
        /// Where to go, if a leader is known.
        leader: Option<LeaderInfo>,
    },
    /// The target has no vote.
    #[error("node {0} has no vote")]
    NotAVoter(NodeId),
    /// There is no other voter that is heard.
    #[error("there is no other voter that could lead")]
    NoTarget,
    /// The target did not take over within an election timeout. This node goes on to lead, unless it
    /// lost its office meanwhile; a target that hears of it late may still be elected.
    #[error("node {0} did not take over in time")]
    TimedOut(NodeId),
    /// Another transfer, asked for later, took this one's place.
    #[error("a later transfer, to node {0}, took the place of this one")]
    Replaced(NodeId),
    /// The node has stopped.
    #[error("this node has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: Arc<str>,
    },
}

impl TransferLeadershipError {
    pub(crate) fn of(error: TransferError, leader: impl Fn(NodeId) -> LeaderInfo) -> Self {
        match error {
            TransferError::NotLeader { leader: id } => {
                TransferLeadershipError::NotLeader { leader: id.map(leader) }
            }
            TransferError::NotAVoter(id) => TransferLeadershipError::NotAVoter(id),
            TransferError::NoTarget => TransferLeadershipError::NoTarget,
            TransferError::TimedOut(id) => TransferLeadershipError::TimedOut(id),
            TransferError::Replaced(id) => TransferLeadershipError::Replaced(id),
        }
    }
}

/// Why no election was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TriggerElectionError {
    /// The node leads already.
    #[error("this node is the leader already")]
    AlreadyLeader,
    /// It has no vote, or could not be elected now.
    #[error("this node can't be a candidate now")]
    NotAVoter,
    /// It hears a leader, or may have just before it was started: [hand over](super::TransferLeadership)
    /// there instead.
    #[error("a leader is heard, or was just before the start; ask it to hand over")]
    LeaderHeard {
        /// The leader, if it is known.
        leader: Option<LeaderInfo>,
    },
    /// The node has stopped.
    #[error("this node has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: Arc<str>,
    },
}

impl TriggerElectionError {
    pub(crate) fn of(error: ElectionError, leader: impl Fn(NodeId) -> LeaderInfo) -> Self {
        match error {
            ElectionError::LeaderHeard { leader: id } => {
                TriggerElectionError::LeaderHeard { leader: id.map(leader) }
            }
            ElectionError::AlreadyLeader => TriggerElectionError::AlreadyLeader,
            ElectionError::NotAVoter => TriggerElectionError::NotAVoter,
        }
    }
}

/// Why no snapshot was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TriggerSnapshotError {
    /// Nothing was applied since the latest one, which includes everything up to here.
    #[error("the latest snapshot includes all that is applied, up to {0}")]
    NothingNew(LogPosition),
    /// A snapshot from the leader is being installed.
    #[error("a snapshot is being installed")]
    Installing,
    /// The state machine takes no snapshots.
    #[error("the state machine takes no snapshots")]
    Unsupported,
    /// It could not be written, such as for want of room on the disk. The node goes on.
    #[error("the snapshot could not be written: {reason}")]
    Failed {
        /// Why not.
        reason: Arc<str>,
    },
    /// The node has stopped.
    #[error("this node has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: Arc<str>,
    },
}

impl From<SnapshotError> for TriggerSnapshotError {
    fn from(error: SnapshotError) -> TriggerSnapshotError {
        match error {
            SnapshotError::NothingNew(position) => TriggerSnapshotError::NothingNew(position),
            SnapshotError::Installing => TriggerSnapshotError::Installing,
            SnapshotError::Unsupported => TriggerSnapshotError::Unsupported,
        }
    }
}

/// Why the log was not purged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PurgeLogError {
    /// Only entries that a snapshot includes may go.
    #[error("the latest snapshot includes only what is up to {0}")]
    NotInSnapshot(Index),
    /// The node has stopped.
    #[error("this node has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: Arc<str>,
    },
}

impl From<PurgeError> for PurgeLogError {
    fn from(error: PurgeError) -> PurgeLogError {
        match error {
            PurgeError::NotInSnapshot(index) => PurgeLogError::NotInSnapshot(index),
        }
    }
}

/// Why a configuration was not changed. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateConfigError {
    /// No node can work with it.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node has stopped.
    #[error("this node has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: Arc<str>,
    },
}

/// The node has stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this node has stopped: {reason}")]
pub struct Stopped {
    /// Why.
    pub reason: Arc<str>,
}
