//! Everything a node wants done.
//!
//! A driver carries the effects of a step out in the order of the list, and need not wait for one
//! before it begins the next: the core itself withholds whatever must not be said before a save is
//! on disk, until the driver brings [`Saved`](crate::event::Event::Saved). So a leader's entries
//! are on the wire and on their way to its disk at once (diss. §10.2.1), while a vote or an
//! acknowledgement is not in any list before it is durable.

use std::sync::Arc;

use crate::admin::{
    ChangeError, Changed, ElectionError, PurgeError, RequestId, SnapshotError, TransferError,
};
use crate::entry::Entry;
use crate::event::{LogReader, ProposalId, ReadId};
use crate::message::Message;
use crate::snapshot::{Snapshot, SnapshotChunk};
use crate::stored::{Base, Save, SaveId};
use crate::types::{Index, LogPosition, NodeId};

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Store this durably, after all earlier saves, then bring
    /// [`Saved`](crate::event::Event::Saved). If that fails, stop the node: what its disk holds is
    /// no longer known.
    Save {
        /// Counts up by one.
        id: SaveId,
        /// What to store.
        save: Save,
    },
    /// Send this message. It may be lost.
    Send(Message),
    /// Read entries from storage, then bring [`LogRead`](crate::event::Event::LogRead). They are
    /// on disk, unless a later save overwrites or purges them before they are read.
    ReadLog {
        /// What for.
        reader: LogReader,
        /// The first index.
        first: Index,
        /// The last index.
        last: Index,
        /// Stop after the entry that reaches this weight; bring at least one.
        max_bytes: usize,
    },
    /// Apply these committed entries to the state machine, then bring
    /// [`Applied`](crate::event::Event::Applied). At most one is outstanding. The entries are on
    /// this server's disk.
    Apply {
        /// The entries after those applied last, contiguous.
        entries: Arc<[Entry]>,
    },
    /// Take a snapshot of the state machine as it is after the last [`Effect::Apply`] before this
    /// one, make it durable, then bring [`SnapshotBuilt`](crate::event::Event::SnapshotBuilt). More
    /// entries may be applied meanwhile. At most one is outstanding.
    BuildSnapshot {
        /// What it stands for: the last applied entry, and the configuration there.
        base: Base,
    },
    /// Read a piece of a snapshot, then bring [`SnapshotRead`](crate::event::Event::SnapshotRead).
    ReadSnapshot {
        /// For whom.
        to: NodeId,
        /// The snapshot, which was reported as built, installed, or found at the start.
        snapshot: Snapshot,
        /// The first byte.
        offset: u64,
        /// How many bytes at the most.
        max_bytes: usize,
    },
    /// Store a piece of a snapshot that comes from a leader, if it begins where the pieces so far
    /// end, then bring [`SnapshotChunkStored`](crate::event::Event::SnapshotChunkStored). Pieces of
    /// another snapshot that are held so far are thrown away. The state machine is not touched.
    StoreSnapshotChunk {
        /// The snapshot.
        snapshot: Snapshot,
        /// The piece.
        chunk: SnapshotChunk,
    },
    /// Put a snapshot of which all pieces are stored in the place of the state machine's state and
    /// of the latest snapshot, atomically and durably, then bring
    /// [`SnapshotInstalled`](crate::event::Event::SnapshotInstalled). No entry is applied meanwhile.
    InstallSnapshot {
        /// The snapshot.
        snapshot: Snapshot,
    },
    /// Answers [`ChangeMembers`](crate::event::Event::ChangeMembers).
    MembersChanged {
        /// The request.
        id: RequestId,
        /// What became of it.
        result: Result<Changed, ChangeError>,
    },
    /// Answers [`TransferLeadership`](crate::event::Event::TransferLeadership): another server leads
    /// now, and who.
    Transferred {
        /// The request.
        id: RequestId,
        /// The leader.
        result: Result<NodeId, TransferError>,
    },
    /// Answers [`TriggerElection`](crate::event::Event::TriggerElection): the server stands.
    ElectionTriggered {
        /// The request.
        id: RequestId,
        /// Why it doesn't.
        result: Result<(), ElectionError>,
    },
    /// Answers [`TriggerSnapshot`](crate::event::Event::TriggerSnapshot): the last position that the
    /// snapshot includes.
    SnapshotTaken {
        /// The request.
        id: RequestId,
        /// The position.
        result: Result<LogPosition, SnapshotError>,
    },
    /// Answers [`PurgeLog`](crate::event::Event::PurgeLog): the last position that is not in the log
    /// any more. The storage frees the room a little later.
    LogPurged {
        /// The request.
        id: RequestId,
        /// The position.
        result: Result<LogPosition, PurgeError>,
    },
    /// Answers [`Initialize`](crate::event::Event::Initialize); when it is `Ok`, the configuration
    /// is on disk.
    Initialized(Result<(), InitializeError>),
    /// Answers [`Propose`](crate::event::Event::Propose): the index of the first command's entry,
    /// or why none of the commands will ever be in the log.
    Proposed {
        /// The batch.
        id: ProposalId,
        /// The first index; the others follow it.
        result: Result<Index, ProposeError>,
    },
    /// Entries up to here are committed: they will be applied, here and everywhere (§5.4).
    Committed {
        /// The commit index.
        index: Index,
    },
    /// This node leads no longer. What becomes of the entries it proposed beyond the commit index
    /// is not known.
    LeadershipLost,
    /// Answers [`Read`](crate::event::Event::Read): the state machine now holds everything that
    /// was committed when the read arrived.
    ReadReady {
        /// The read.
        id: ReadId,
    },
    /// Answers [`Read`](crate::event::Event::Read): this node can't serve it.
    ReadRefused {
        /// The read.
        id: ReadId,
        /// Why.
        error: ReadError,
    },
    /// A peer said something that no correct server says. It was dropped and changed nothing.
    Violation {
        /// The peer.
        from: NodeId,
        /// What it said.
        what: &'static str,
    },
}

/// Why a cluster can't be formed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InitializeError {
    /// The node has a configuration or entries already.
    #[error("this node already belongs to a cluster")]
    AlreadyInitialized,
    /// The configuration does not have this node among its voters.
    #[error("this node is not a voter of the given configuration")]
    NotAVoter,
}

/// Why no command of a batch was accepted. All of these mean: surely not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ProposeError {
    /// Only the leader accepts proposals.
    #[error("this node is not the leader")]
    NotLeader {
        /// The leader, if one is known.
        leader: Option<NodeId>,
    },
    /// The leader has as many uncommitted bytes as it may have.
    #[error("too many bytes await commitment")]
    Overloaded,
    /// The leader is handing over to another server. Ask that one, or here again in a moment.
    #[error("leadership is being handed over to node {to}")]
    Transferring {
        /// The next leader.
        to: NodeId,
    },
    /// The leader's disk is nearly full, and no other server can lead.
    #[error("the leader's disk is nearly full")]
    DiskFull,
}

/// Why a node can't serve a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ReadError {
    /// It heard of no leader for two election timeouts, or lost its own leadership.
    #[error("no leader answers for this node")]
    NotLeader {
        /// The leader, if one is known.
        leader: Option<NodeId>,
    },
    /// Leases are not allowed by this node's configuration, or can't be: they need check-quorum.
    #[error("lease reads are not enabled")]
    LeaseDisabled,
}
