//! What the laws remember of servers and leaders, beyond what is in their logs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use actix_raft_core::effect::InitializeError;
use actix_raft_core::event::{LogReader, ReadId};
use actix_raft_core::membership::Membership;
use actix_raft_core::stored::SaveId;
use actix_raft_core::types::{Index, LogPosition, NodeId, Term, Time};

/// What the laws remember of a server until it crashes.
#[derive(Default)]
pub(super) struct Life {
    /// The leader it heard last, in which term, when by its own clock.
    pub(super) heard: Option<(Term, NodeId, Time)>,
    /// How far requests of a term have told it the leader's log.
    pub(super) told: BTreeMap<Term, Index>,
    pub(super) reads: BTreeMap<ReadId, Asked>,
    /// Since when it leads, and when it heard each other server since.
    pub(super) leads_since: Time,
    pub(super) contacts: BTreeMap<NodeId, Time>,
    /// As a leader: when it last spoke to each other server, and how far that said to agree.
    pub(super) spoken: BTreeMap<NodeId, Time>,
    pub(super) matched: BTreeMap<NodeId, Index>,
    /// What came before the last request to each, unless that is known to be lost.
    pub(super) asked: BTreeMap<NodeId, Index>,
    /// For whom entries are read from disk.
    pub(super) reading: BTreeSet<LogReader>,
    /// The last save with a term and vote, until it hears that it is on disk.
    pub(super) unsaved: Option<SaveId>,
    pub(super) in_flight: BTreeMap<NodeId, InFlight>,
    /// The numbers of all ballots that it held, that of its present one, and who said yes and no.
    pub(super) ballots: BTreeSet<u64>,
    pub(super) ballot: Option<u64>,
    pub(super) granted: BTreeSet<NodeId>,
    pub(super) refused: BTreeSet<NodeId>,
    /// The configurations that were in force last.
    pub(super) recent: VecDeque<Arc<Membership>>,
    /// What those who form a cluster on it must be answered.
    pub(super) forms: VecDeque<Result<(), InitializeError>>,
}

/// What was known when a read arrived.
pub(super) struct Asked {
    pub(super) committed: Index,
    pub(super) step: u64,
}

/// Requests with entries since a server was heard last.
#[derive(Default)]
pub(super) struct InFlight {
    pub(super) requests: usize,
    pub(super) bytes: usize,
    /// The most that a lone request may have weighed.
    pub(super) largest: usize,
    /// How often the window may have been opened anew.
    pub(super) chances: usize,
}

/// The log of a term's leader: it only grows.
pub(super) struct LeaderLog {
    pub(super) term_starts: Vec<LogPosition>,
    pub(super) last: Index,
}

impl LeaderLog {
    pub(super) fn term_at(&self, index: Index) -> Option<Term> {
        if index > self.last {
            return None;
        }
        let after = self.term_starts.partition_point(|start| start.index <= index);
        after.checked_sub(1).map(|run| self.term_starts[run].term)
    }
}
