//! What an operator asks of a server, and every way in which it may be refused.
//!
//! Each request is an [`Event`](crate::event::Event) with a [`RequestId`], answered by exactly one
//! [`Effect`](crate::effect::Effect) with the same id.

use crate::membership::{Address, MembershipError};
use crate::types::{Index, LogPosition, NodeId};

/// The driver's name for an operator's request, given back with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One change of the members. Several may be asked for at once, and become one change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MemberChange {
    /// A new member, which gets a vote once it has caught up with the log. A non-voter is promoted
    /// in the same way; the address is then its new one. A voter with this address stays what it is.
    AddVoter(NodeId, Address),
    /// A new member that receives the log and never votes, such as a read replica. A non-voter
    /// with this address stays what it is; a voter stays one: to take its vote is
    /// [`MemberChange::Demote`].
    AddNonVoter(NodeId, Address),
    /// Gives a non-voter a vote, once it has caught up with the log.
    Promote(NodeId),
    /// Takes a voter's vote; it goes on to receive the log.
    Demote(NodeId),
    /// A member is reached at another address.
    Move(NodeId, Address),
    /// A member, voter or not, is none any more. One that is none already stays none.
    Remove(NodeId),
}

/// When a change of members is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChangeAnswer {
    /// When the joint configuration is committed: from then on the change will come to its end
    /// whoever leads (§6). When the final one is, if there is no joint one.
    Joint,
    /// When the final configuration is committed.
    #[default]
    Final,
}

/// What became of a change of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Changed {
    /// The joint configuration is committed, with the entry at this index.
    Joint {
        /// The entry.
        index: Index,
    },
    /// The final configuration is committed, with the entry at this index.
    Final {
        /// The entry.
        index: Index,
    },
}

/// Why the members were not changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ChangeError {
    /// Only the leader changes the members. Surely not done.
    #[error("this node is not the leader")]
    NotLeader {
        /// The leader, if one is known.
        leader: Option<NodeId>,
    },
    /// Nothing would change.
    #[error("nothing would change")]
    Noop,
    /// The cluster could decide nothing with these members: none of them votes, or too few of the
    /// voters that remain are heard now.
    #[error("the cluster would be inoperable: {0}")]
    InoperableConfig(Inoperable),
    /// Another change is under way.
    #[error("another change is under way")]
    AnotherChange,
    /// The configuration is not the one that the change was meant for.
    #[error("the configuration in force is that of index {current}, not {expected}")]
    OtherConfiguration {
        /// The one in force.
        current: Index,
        /// The one expected.
        expected: Index,
    },
    /// A server that is to be promoted, demoted or moved is no member.
    #[error("node {0} is not a member")]
    NotAMember(NodeId),
    /// One server is named in two changes that can't both be done.
    #[error("node {0} is named twice, with different changes")]
    Contradiction(NodeId),
    /// A new voter did not catch up: nothing was heard of it for
    /// [`catch_up_timeout`](crate::config::Config::catch_up_timeout). The members are what they were
    /// before.
    #[error("node {0} is not heard and did not catch up")]
    NotCaughtUp(NodeId),
    /// A later request took the change back while a new voter was still catching up. The members are
    /// what they were before.
    #[error("a later request took the change back")]
    TakenBack,
    /// Leadership was lost on the way. If an entry of the change was stored by enough servers, the
    /// next leader will finish it; else nothing of it will remain. The members tell.
    #[error("leadership was lost before the change was committed")]
    OutcomeUnknown,
}

/// Why no cluster could work with a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Inoperable {
    /// Nobody would have a vote.
    #[error("{0}")]
    Membership(#[from] MembershipError),
    /// Fewer than a majority of its voters would be heard.
    #[error("of {voters} voters only {heard} are heard now")]
    TooFewHeard {
        /// How many would vote.
        voters: usize,
        /// How many of these are heard, or are new.
        heard: usize,
    },
}

/// Why leadership was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TransferError {
    /// Only the leader hands over. Surely not done.
    #[error("this node is not the leader")]
    NotLeader {
        /// The leader, if one is known.
        leader: Option<NodeId>,
    },
    /// The target is no voter.
    #[error("node {0} has no vote")]
    NotAVoter(NodeId),
    /// There is no other voter, or none that is heard.
    #[error("there is no other voter that could lead")]
    NoTarget,
    /// The target did not catch up or was not elected in time. This server goes on to lead, unless
    /// it lost its office meanwhile; a target that hears of the transfer late may still be elected.
    #[error("node {0} did not take over in time")]
    TimedOut(NodeId),
    /// Another transfer, asked for later, took this one's place.
    #[error("a later transfer, to node {0}, took the place of this one")]
    Replaced(NodeId),
}

/// Why no election was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ElectionError {
    /// The server leads already.
    #[error("this node is the leader already")]
    AlreadyLeader,
    /// It could not be elected, or has no vote.
    #[error("this node can't be a candidate now")]
    NotAVoter,
    /// It hears a leader, which may rely on that (diss. §6.4.1), and so would the others: ask that
    /// leader to hand over. Just after a restart it may have forgotten that it heard one.
    #[error("a leader is heard, or was just before the start; ask it to hand over")]
    LeaderHeard {
        /// The leader, if it is known.
        leader: Option<NodeId>,
    },
}

/// Why no snapshot was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SnapshotError {
    /// Nothing was applied since the last one, which includes everything up to here.
    #[error("the latest snapshot includes all that is applied, up to {0}")]
    NothingNew(LogPosition),
    /// A snapshot from the leader is being installed.
    #[error("a snapshot is being installed")]
    Installing,
    /// The state machine or the storage takes no snapshots.
    #[error("the storage takes no snapshots")]
    Unsupported,
}

/// Why the log was not purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PurgeError {
    /// Only entries that a snapshot includes may go.
    #[error("the latest snapshot includes only what is up to {0}")]
    NotInSnapshot(Index),
}
