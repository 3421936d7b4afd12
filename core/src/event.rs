//! Everything that can happen to a node.

use std::sync::Arc;

use bytes::Bytes;

use crate::admin::{ChangeAnswer, MemberChange, RequestId};
use crate::config::Config;
use crate::entry::Entry;
use crate::membership::Membership;
use crate::message::Message;
use crate::snapshot::{Snapshot, SnapshotChunk};
use crate::stored::SaveId;
use crate::types::{Index, LogPosition, NodeId};

/// The driver's name for a batch of proposals, given back with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalId(pub u64);

/// The driver's name for a read, or for many that arrived together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The application forms a new cluster of these members. Answered by
    /// [`Effect::Initialized`](crate::effect::Effect::Initialized).
    Initialize {
        /// The first configuration; this node is one of its members.
        membership: Membership,
    },
    /// A message arrived.
    Receive(Message),
    /// Clients propose commands, to become contiguous entries in this order. Answered as a whole
    /// by [`Effect::Proposed`](crate::effect::Effect::Proposed).
    Propose {
        /// Named again in the answer.
        id: ProposalId,
        /// The commands.
        commands: Vec<Bytes>,
    },
    /// A client wants to read the state machine, linearizably. A server that does not lead asks the
    /// leader (diss. §6.4), and waits for one for two election timeouts. Answered by
    /// [`Effect::ReadReady`](crate::effect::Effect::ReadReady) or
    /// [`Effect::ReadRefused`](crate::effect::Effect::ReadRefused).
    Read {
        /// Named again in the answer.
        id: ReadId,
        /// What the reader asks for.
        consistency: Consistency,
    },
    /// An operator changes the members (§6). Answered by
    /// [`Effect::MembersChanged`](crate::effect::Effect::MembersChanged).
    ChangeMembers {
        /// Named again in the answer.
        id: RequestId,
        /// The changes, done as one.
        changes: Vec<MemberChange>,
        /// The index of the configuration that this change was meant for, if the asker cares.
        expected: Option<Index>,
        /// When to answer.
        answer: ChangeAnswer,
    },
    /// An operator, or a server that is about to stop, hands leadership over (diss. §3.10). Proposals
    /// are refused meanwhile, for an election timeout at the most. Answered by
    /// [`Effect::Transferred`](crate::effect::Effect::Transferred).
    TransferLeadership {
        /// Named again in the answer.
        id: RequestId,
        /// The next leader; if nobody is named, of the voters that are heard the one that has most
        /// of the log. One that is named again joins the transfer under way, another one replaces it.
        to: Option<NodeId>,
    },
    /// An operator wants an election now, without waiting for the timeout; with a pre-vote, if these
    /// are configured. Not for unseating a leader that is heard: where
    /// [`check_quorum`](crate::config::Config::check_quorum) holds, nobody would vote. Answered by
    /// [`Effect::ElectionTriggered`](crate::effect::Effect::ElectionTriggered).
    TriggerElection {
        /// Named again in the answer.
        id: RequestId,
    },
    /// An operator wants a snapshot now. Answered by
    /// [`Effect::SnapshotTaken`](crate::effect::Effect::SnapshotTaken).
    TriggerSnapshot {
        /// Named again in the answer.
        id: RequestId,
    },
    /// An operator wants entries gone from the log. Answered by
    /// [`Effect::LogPurged`](crate::effect::Effect::LogPurged).
    PurgeLog {
        /// Named again in the answer.
        id: RequestId,
        /// The last entry to go; all that the latest snapshot includes, if none is named.
        until: Option<Index>,
    },
    /// An operator turns other numbers; they hold from now on. The configuration is valid.
    Configure(Config),
    /// The snapshot asked for by [`Effect::BuildSnapshot`](crate::effect::Effect::BuildSnapshot) is
    /// on disk; `None` if the storage takes none.
    SnapshotBuilt {
        /// The snapshot.
        snapshot: Option<Snapshot>,
    },
    /// A piece asked for by [`Effect::ReadSnapshot`](crate::effect::Effect::ReadSnapshot).
    SnapshotRead {
        /// For whom.
        to: NodeId,
        /// The snapshot's last included position.
        last_included: LogPosition,
        /// The piece; `None` if the snapshot is gone, or is damaged and was taken out of use.
        chunk: Option<SnapshotChunk>,
    },
    /// A piece was stored, as asked for by
    /// [`Effect::StoreSnapshotChunk`](crate::effect::Effect::StoreSnapshotChunk).
    SnapshotChunkStored {
        /// The snapshot's last included position.
        last_included: LogPosition,
        /// How many of the snapshot's first bytes the storage holds.
        received: u64,
    },
    /// The snapshot is installed, as asked for by
    /// [`Effect::InstallSnapshot`](crate::effect::Effect::InstallSnapshot): it is the storage's
    /// latest, and the state machine holds it.
    SnapshotInstalled {
        /// The snapshot's last included position.
        last_included: LogPosition,
        /// Whether it is; if not, what was received is damaged and was thrown away.
        installed: bool,
    },
    /// The disk has so little room left that no more entries should go there, or has room again.
    DiskSpace {
        /// Whether it is short of room.
        low: bool,
    },
    /// This save and all before it are on disk.
    Saved {
        /// The save.
        id: SaveId,
    },
    /// The entries asked for by [`Effect::ReadLog`](crate::effect::Effect::ReadLog).
    LogRead {
        /// What they were asked for.
        reader: LogReader,
        /// Contiguous, from the first index asked for on; none if they were overwritten or purged
        /// since.
        entries: Arc<[Entry]>,
    },
    /// The state machine applied everything up to here.
    Applied {
        /// The last applied index.
        index: Index,
    },
    /// Messages to this peer were lost, or the link to it broke.
    Unreachable {
        /// The peer.
        peer: NodeId,
    },
    /// The [`deadline`](crate::raft::Raft::deadline) passed. Too early or twice does no harm.
    Timeout,
}

/// What a linearizable read may rely on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// A majority confirms, after the read arrived, that the leader still leads (ReadIndex, diss.
    /// §6.4).
    #[default]
    Linearizable,
    /// The clocks: while no other server can have been elected, the leader answers by itself (diss.
    /// §6.4.1). Refused unless [`Config::lease`](crate::config::Config::lease) allows it; while
    /// there is no lease, served as [`Consistency::Linearizable`].
    Lease,
}

/// What old entries are read from storage for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogReader {
    /// To be sent to this follower.
    Follower(NodeId),
    /// To be applied.
    StateMachine,
}

impl Event {
    /// The event in a few words, for traces.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Event::Initialize { membership } => {
                format!("Initialize members={}", membership.members().len())
            }
            Event::Receive(message) => format!("Receive {} from={}", message.body, message.from),
            Event::Propose { commands, .. } => format!("Propose count={}", commands.len()),
            Event::Read { id, .. } => format!("Read id={}", id.0),
            Event::ChangeMembers { changes, .. } => {
                format!("ChangeMembers changes={}", changes.len())
            }
            Event::TransferLeadership { to: Some(to), .. } => format!("TransferLeadership to={to}"),
            Event::TransferLeadership { to: None, .. } => "TransferLeadership".to_string(),
            Event::TriggerElection { .. } => "TriggerElection".to_string(),
            Event::TriggerSnapshot { .. } => "TriggerSnapshot".to_string(),
            Event::PurgeLog { .. } => "PurgeLog".to_string(),
            Event::Configure(_) => "Configure".to_string(),
            Event::SnapshotBuilt { snapshot: Some(snapshot) } => {
                format!("SnapshotBuilt snapshot={}", snapshot.last_included())
            }
            Event::SnapshotBuilt { snapshot: None } => "SnapshotBuilt none".to_string(),
            Event::SnapshotRead { to, last_included, chunk } => {
                let bytes = chunk.as_ref().map_or(0, |chunk| chunk.data.len());
                format!("SnapshotRead for={to} snapshot={last_included} bytes={bytes}")
            }
            Event::SnapshotChunkStored { last_included, received } => {
                format!("SnapshotChunkStored snapshot={last_included} received={received}")
            }
            Event::SnapshotInstalled { last_included, installed } => {
                format!("SnapshotInstalled snapshot={last_included} installed={installed}")
            }
            Event::DiskSpace { low } => format!("DiskSpace low={low}"),
            Event::Saved { id } => format!("Saved id={}", id.0),
            Event::LogRead { reader, entries } => {
                format!("LogRead for={reader:?} count={}", entries.len())
            }
            Event::Applied { index } => format!("Applied index={index}"),
            Event::Unreachable { peer } => format!("Unreachable peer={peer}"),
            Event::Timeout => "Timeout".to_string(),
        }
    }
}
