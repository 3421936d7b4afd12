//! What the laws remember of servers and leaders, beyond what is in their logs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix_raft_core::admin::RequestId;
use actix_raft_core::config::Config;
use actix_raft_core::effect::InitializeError;
use actix_raft_core::entry::Entry;
use actix_raft_core::event::{Consistency, LogReader, ReadId};
use actix_raft_core::membership::Membership;
use actix_raft_core::snapshot::Snapshot;
use actix_raft_core::stored::{Base, SaveId};
use actix_raft_core::types::{DiskId, Index, LogPosition, NodeId, Term, Time};

use super::requests::Request;

/// What the laws remember of a server until it crashes.
#[derive(Default)]
pub(super) struct Life {
    /// The leader it heard last, in which term, when by its own clock.
    pub(super) heard: Option<(Term, NodeId, Time)>,
    /// When it started, by its own clock, if it may have promised something before.
    pub(super) since: Option<Time>,
    /// Whether it told another server to stand, since it leads.
    pub(super) told_to_stand: bool,
    /// The indexes of all configurations that were in force since it started.
    pub(super) indexes: BTreeSet<Index>,
    /// When it last obeyed any leader, by its own clock.
    pub(super) obeyed: Option<Time>,
    /// How far requests of a term have told it the leader's log.
    pub(super) told: BTreeMap<Term, Index>,
    pub(super) reads: BTreeMap<ReadId, Asked>,
    /// Since when it leads, and when it heard each other server since.
    pub(super) leads_since: Time,
    pub(super) contacts: BTreeMap<NodeId, Time>,
    /// As a leader: when it last spoke to each other server, and how far that said to agree.
    pub(super) spoken: BTreeMap<NodeId, Time>,
    pub(super) matched: BTreeMap<NodeId, Index>,
    /// As a leader: who has ever said that it is not trusted.
    pub(super) untrusted_peers: BTreeSet<NodeId>,
    /// As a leader: who has said last that its disk is full.
    pub(super) is_full: BTreeSet<NodeId>,
    /// As a leader: on which disk each other server was heard last.
    pub(super) disks: BTreeMap<NodeId, DiskId>,
    /// What came before the last request to each, unless that is known to be lost.
    pub(super) asked: BTreeMap<NodeId, Index>,
    /// For whom entries are read from disk.
    pub(super) reading: BTreeSet<LogReader>,
    /// The last save with a term and vote, until it hears that it is on disk.
    pub(super) unsaved: Option<SaveId>,
    pub(super) in_flight: BTreeMap<NodeId, InFlight>,
    /// As a leader: how many bytes of pieces of snapshots were sent to each since it answered.
    pub(super) pieces: BTreeMap<NodeId, InFlight>,
    /// As a leader: how much of which snapshot each other server has said to have.
    pub(super) received: BTreeMap<NodeId, (LogPosition, u64)>,
    /// As a leader: since when how many bytes of snapshots went to each.
    pub(super) sent_bytes: BTreeMap<NodeId, (Time, u64)>,
    /// Saves that are not known to be on disk, and when they were asked for.
    pub(super) saves: VecDeque<(SaveId, Time)>,
    /// When it was given other settings last.
    pub(super) configured: Time,
    /// The time of its last step.
    pub(super) last_step: Time,
    /// Until when it may wait for who takes office after it.
    pub(super) hands_over_until: Time,
    /// Whether something beside its role lets it wake, before this step.
    pub(super) was_busy: bool,
    /// The longest that it may have been told to wait for a leader beyond the usual.
    pub(super) patience: Duration,
    /// What it builds and installs.
    pub(super) building: Option<Base>,
    pub(super) installing: Option<Snapshot>,
    /// The numbers of all ballots that it held, that of its present one, and who said yes and no.
    pub(super) ballots: BTreeSet<u64>,
    /// The last term in which it voted for itself as one who may stand.
    pub(super) stood_in: Option<Term>,
    pub(super) ballot: Option<u64>,
    pub(super) granted: BTreeSet<NodeId>,
    pub(super) refused: BTreeSet<NodeId>,
    /// Of those who said no, who did so because their disk is new.
    pub(super) untrusted: BTreeSet<NodeId>,
    /// What operators wait for.
    pub(super) requests: BTreeMap<RequestId, Request>,
    /// The configurations that were in force last, each with the step from which on.
    pub(super) recent: VecDeque<(u64, Arc<Membership>)>,
    /// What those who form a cluster on it must be answered.
    pub(super) forms: VecDeque<Result<(), InitializeError>>,
}

/// An entry that was in a log.
pub(super) struct Known {
    pub(super) entry: Entry,
    /// The term of the one before it.
    pub(super) prev: Term,
    /// The step in which it was first stored.
    pub(super) since: u64,
}

/// How much may be sent at once. What is on its way from the disk when other numbers are given was
/// asked for by the old ones.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) append_bytes: usize,
    pub(super) piece_bytes: usize,
}

impl Limits {
    pub(super) fn of(config: &Config) -> Limits {
        Limits { append_bytes: config.max_append_bytes, piece_bytes: config.snapshot_chunk_bytes }
    }

    pub(super) fn widen(&mut self, config: &Config) {
        self.append_bytes = self.append_bytes.max(config.max_append_bytes);
        self.piece_bytes = self.piece_bytes.max(config.snapshot_chunk_bytes);
    }
}

/// What was known when a read arrived.
pub(super) struct Asked {
    pub(super) committed: Index,
    pub(super) step: u64,
    pub(super) consistency: Consistency,
    /// Whether the server could not have been replaced when it arrived.
    pub(super) has_lease: bool,
    /// Whether the server led when it arrived.
    pub(super) of_leader: bool,
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
    /// What was not in it any more when the term began.
    pub(super) purged: Index,
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
