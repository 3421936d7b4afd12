//! The commands of an operator.

use std::time::Duration;

use actix::Message;
use actix_raft_core::admin::{ChangeAnswer, Changed, MemberChange};
use actix_raft_core::config::Lease;
use actix_raft_core::snapshot::SnapshotPolicy;
use actix_raft_core::status::NotStanding;

use super::errors::{
    ConfigChangeError, InitWithConfigError, PurgeLogError, Stopped, TransferLeadershipError,
    TriggerElectionError, TriggerSnapshotError, UpdateConfigError,
};
use crate::messages::{Address, Index, LogPosition, NodeId, VoteRefusal};
use crate::metrics::{PeerMetrics, RaftMetrics};

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

/// Adds voters and removes members, as one change (§6): at no moment can two majorities decide apart
/// from each other, and the cluster serves its clients all the time. A new voter first receives the
/// log without a vote; its node need only be started, not initialized. Send it to the leader.
///
/// A removed leader leads until the change is committed, then hands over. The nodes that were
/// removed should be stopped after that.
///
/// The same change asked for again while it is under way is answered like the first; so whoever lost
/// the answer may ask again.
#[derive(Clone, Debug, Default)]
pub struct ProposeConfigChange {
    /// New voters, and where they are. One that is a member without a vote is given one; one that is
    /// a voter keeps it, at this address.
    pub add_members: Vec<(NodeId, Address)>,
    /// The members, with or without vote, that are none any more. One that is no member is ignored.
    pub remove_members: Vec<NodeId>,
    /// When to answer.
    pub answer: ChangeAnswer,
    /// The [`membership_index`](RaftMetrics::membership_index) of the configuration that the change
    /// is meant for: if another is in force, nothing is changed.
    pub expected: Option<Index>,
}

impl ProposeConfigChange {
    pub(crate) fn into_changes(self) -> ChangeMembers {
        let added = self.add_members.into_iter();
        let added = added.map(|(id, address)| MemberChange::AddVoter(id, address));
        let removed = self.remove_members.into_iter().map(MemberChange::Remove);
        ChangeMembers {
            changes: added.chain(removed).collect(),
            answer: self.answer,
            expected: self.expected,
        }
    }
}

impl Message for ProposeConfigChange {
    type Result = Result<Changed, ConfigChangeError>;
}

/// Adds a member that receives the log and has no vote, such as a read replica: it counts in no
/// majority. Send it to the leader.
#[derive(Clone, Debug)]
pub struct AddNonVoter {
    /// The node. If it is a voter, it keeps its vote.
    pub id: NodeId,
    /// Where it is.
    pub address: Address,
}

impl Message for AddNonVoter {
    type Result = Result<Changed, ConfigChangeError>;
}

/// Changes members in any way, as one change like [`ProposeConfigChange`]: adds, promotes, demotes,
/// moves, removes, and so replaces. Send it to the leader.
#[derive(Clone, Debug, Default)]
pub struct ChangeMembers {
    /// What is changed.
    pub changes: Vec<MemberChange>,
    /// When to answer.
    pub answer: ChangeAnswer,
    /// The [`membership_index`](RaftMetrics::membership_index) of the configuration that the change
    /// is meant for: if another is in force, nothing is changed.
    pub expected: Option<Index>,
}

impl Message for ChangeMembers {
    type Result = Result<Changed, ConfigChangeError>;
}

/// Hands leadership over to another voter, without an election timeout's wait (diss. §3.10). Answered
/// with the new leader, when there is one. Writes that come meanwhile are refused with
/// [`Transferring`](crate::messages::ClientError::Transferring). Send it to the leader.
#[derive(Clone, Copy, Debug, Default)]
pub struct TransferLeadership {
    /// The next leader; the voter with the longest log, if nobody is named.
    pub to: Option<NodeId>,
}

impl Message for TransferLeadership {
    type Result = Result<NodeId, TransferLeadershipError>;
}

/// Makes this node stand for election at once, without the wait for an election timeout. It is
/// elected only if its log is as long as a majority's. Where a leader is heard it is refused: ask
/// that one for [`TransferLeadership`]. Answered when it stands.
#[derive(Clone, Copy, Debug)]
pub struct TriggerElection;

impl Message for TriggerElection {
    type Result = Result<(), TriggerElectionError>;
}

/// Takes a snapshot of what this node has applied, now (§7). Answered with the last entry that it
/// includes, when it is on disk. On any node: each takes its own.
#[derive(Clone, Copy, Debug)]
pub struct TriggerSnapshot;

impl Message for TriggerSnapshot {
    type Result = Result<LogPosition, TriggerSnapshotError>;
}

/// Removes entries that the latest snapshot includes from this node's log. Answered with the last
/// position that is not in the log any more; the room on the disk becomes free a little later.
#[derive(Clone, Copy, Debug, Default)]
pub struct PurgeLog {
    /// The last entry to go; if none is named, all that the latest snapshot includes.
    pub until: Option<Index>,
}

impl Message for PurgeLog {
    type Result = Result<LogPosition, PurgeLogError>;
}

/// Changes this node's configuration while it runs; what is `None` stays as it is. The values mean
/// what they mean in [`ConfigBuilder`](crate::config::ConfigBuilder). All nodes of a cluster should
/// be given the same timeouts. A restarted node has what it is started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateConfig {
    /// The shortest election timeout.
    pub election_timeout: Option<Duration>,
    /// How often a leader is heard.
    pub heartbeat_interval: Option<Duration>,
    /// Whether a node asks for pre-votes.
    pub pre_vote: Option<bool>,
    /// Whether a leader that hears no majority steps down.
    pub check_quorum: Option<bool>,
    /// When snapshots are taken.
    pub snapshot_policy: Option<SnapshotPolicy>,
    /// How many entries that a snapshot includes stay in the log.
    pub entries_kept: Option<u64>,
    /// How many bytes of snapshots go to one follower in a second; `Some(None)` for any number.
    pub snapshot_bytes_per_second: Option<Option<u64>>,
    /// Whether lease reads are allowed; `Some(None)` if not.
    pub lease: Option<Option<Lease>>,
    /// How early this node stands for election.
    pub election_priority: Option<u8>,
    /// Whether it stands by itself.
    pub elections: Option<bool>,
    /// How long a new voter may be unheard of.
    pub catch_up_timeout: Option<Duration>,
    /// How many bytes may wait to be committed.
    pub max_uncommitted_bytes: Option<usize>,
    /// The largest command.
    pub max_command_bytes: Option<usize>,
    /// How often changed metrics are reported.
    pub metrics_rate: Option<Duration>,
    /// For how long a session that begins from now on may be idle.
    pub session_timeout: Option<Duration>,
    /// How many sessions there may be.
    pub max_sessions: Option<u32>,
}

impl Message for UpdateConfig {
    type Result = Result<(), UpdateConfigError>;
}

/// Asks why there is no leader, or why a write waits, as far as this node knows.
#[derive(Clone, Copy, Debug)]
pub struct Explain;

impl Message for Explain {
    type Result = Result<Explanation, Stopped>;
}

/// What a node knows of what others wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// If it hears no leader: what each other voter answered when it stood for election last.
    /// `None`: nothing. Empty, if it did not stand.
    pub votes: Vec<(NodeId, Option<Result<(), VoteRefusal>>)>,
    /// If it does not stand for election, and hears no leader: why.
    pub not_standing: Option<NotStanding>,
    /// If it leads: the other voters that have not stored its last entry, or don't count. A write
    /// waits for as many of them as a majority lacks.
    pub lagging: Vec<PeerMetrics>,
    /// How long its own disk has been busy with the oldest save.
    pub disk_busy_for: Duration,
}

/// Asks for the node's metrics as they are now. Answered at once, also by a node that has stopped.
#[derive(Clone, Copy, Debug)]
pub struct GetMetrics;

impl Message for GetMetrics {
    type Result = RaftMetrics;
}

/// Stops the node. If it leads, it hands over first, which takes an election timeout at the most,
/// and answers the writes that are committed: so a cluster whose nodes are restarted one after the
/// other always has a leader. Writes whose outcome is not known then are answered with
/// [`OutcomeUnknown`](crate::messages::ClientError::OutcomeUnknown), everything later with
/// [`Stopped`](crate::messages::ClientError::Stopped). Answered when the node will do nothing
/// more; its storage and network are then the caller's to stop.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown;

impl Message for Shutdown {
    type Result = ();
}
