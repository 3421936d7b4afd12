//! Everything that can happen to a node.

use std::sync::Arc;

use bytes::Bytes;

use crate::entry::Entry;
use crate::membership::Membership;
use crate::message::Message;
use crate::stored::SaveId;
use crate::types::{Index, NodeId};

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
    /// A client wants to read the state machine, linearizably. Answered by
    /// [`Effect::ReadReady`](crate::effect::Effect::ReadReady) or
    /// [`Effect::ReadRefused`](crate::effect::Effect::ReadRefused).
    Read {
        /// Named again in the answer.
        id: ReadId,
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
        /// Contiguous, from the first index asked for on; none if they were overwritten since.
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
            Event::Read { id } => format!("Read id={}", id.0),
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
