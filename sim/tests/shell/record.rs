//! What happens in a run: a trace of it, every operation of every client, and what was applied.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use actix_raft::messages::{Consistency, Index, NodeId, Term};
use actix_raft::sessions::Serial;

use crate::store::Put;

/// One run's record, shared by all that is in it.
#[derive(Clone, Default)]
pub struct Record(Arc<Mutex<Recorded>>);

#[derive(Default)]
pub struct Recorded {
    /// A line for each thing that can be seen from outside, with its virtual time.
    pub trace: String,
    pub operations: Vec<Operation>,
    /// What the replicas have applied at each index, the first of them first.
    pub agreed: BTreeMap<Index, Put>,
    pub leaders: BTreeMap<Term, NodeId>,
    pub counts: Counts,
    /// What must not happen and did.
    pub wrong: Option<String>,
    pub phase: Phase,
    /// Whether all nodes are members, as they shall be in the end.
    pub all_are_members: bool,
    /// Every save takes its time, so that much is lost when the power fails.
    pub disks_are_slow: bool,
    moments: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    #[default]
    Disturbed,
    Healed,
    Over,
}

/// What a run must not be without.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub leaders: u64,
    pub partitions: u64,
    pub crashes: u64,
    /// Leaders that were stopped as planned.
    pub stops: u64,
    /// What was being written at a crash.
    pub torn: u64,
    pub connections: u64,
    /// Snapshots.
    pub built: u64,
    pub installed: u64,
    /// Changes of members that came to their end.
    pub changes: u64,
    /// Leaderships handed over because the operator wanted it.
    pub transfers: u64,
    pub done: u64,
    /// Of these, those that were sent again after an unknown outcome.
    pub again: u64,
    pub read: u64,
    /// Of these, those that another node than the leader served.
    pub elsewhere: u64,
    pub refused: u64,
    /// The node said that the outcome is unknown.
    pub unknown: u64,
    /// The link broke, or no answer came in time.
    pub unanswered: u64,
}

/// What a client asked for, and what it was told.
#[derive(Clone, Debug)]
pub struct Operation {
    pub client: u32,
    pub called: i64,
    /// `i64::MAX` while there is no answer.
    pub returned: i64,
    pub request: Request,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Put(Put),
    /// The same, to be answered when it is committed.
    Commit(Put),
    /// The same in a session, sent again and again.
    Write(Put, Serial),
    Get(u8, Consistency),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, and the key held this value before.
    Done {
        previous: u64,
    },
    Committed,
    Read {
        value: u64,
    },
    /// Surely not done.
    Refused,
    /// Perhaps done.
    Unknown,
}

impl Request {
    /// What it puts, if it does.
    pub fn put(&self) -> Option<&Put> {
        match self {
            Request::Put(put) | Request::Commit(put) | Request::Write(put, _) => Some(put),
            Request::Get(..) => None,
        }
    }
}

impl Record {
    pub fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap()
    }

    /// Adds a line to the trace, from inside a host.
    pub fn note(&self, what: impl Display) {
        let now = turmoil::sim_elapsed().expect("called on a host");
        self.note_at(now, what);
    }

    pub fn note_at(&self, now: Duration, what: impl Display) {
        writeln!(self.lock().trace, "{:>9.3} {what}", now.as_secs_f64()).unwrap();
    }

    pub fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// Fails the run. The first reason is the one that is reported.
    pub fn fail(&self, what: impl Display) {
        self.lock().wrong.get_or_insert_with(|| what.to_string());
    }

    /// An operation is about to be sent.
    pub fn call(&self, client: u32, request: Request) -> usize {
        let mut recorded = self.lock();
        let called = recorded.moment();
        let outcome = Outcome::Unknown;
        recorded.operations.push(Operation {
            client,
            called,
            returned: i64::MAX,
            request,
            outcome,
        });
        recorded.operations.len() - 1
    }

    pub fn returned(&self, operation: usize, outcome: Outcome) {
        let mut recorded = self.lock();
        let now = recorded.moment();
        recorded.operations[operation].outcome = outcome;
        // One whose outcome is unknown may still happen, at any time.
        if outcome != Outcome::Unknown {
            recorded.operations[operation].returned = now;
        }
    }

    /// A replica has applied this: all must apply the same at the same place (Figure 3, state
    /// machine safety).
    pub fn applied(&self, node: NodeId, index: Index, put: Put) {
        let first = *self.lock().agreed.entry(index).or_insert(put);
        if first != put {
            self.fail(format!("node {node} applied {put:?} at {index}, another {first:?}"));
        }
    }

    /// A node leads a term: at most one may (Figure 3, election safety).
    pub fn leads(&self, node: NodeId, term: Term) {
        let mut recorded = self.lock();
        let known = recorded.leaders.insert(term, node);
        recorded.counts.leaders += u64::from(known.is_none());
        drop(recorded);
        if known.is_some_and(|other| other != node) {
            self.fail(format!("nodes {known:?} and {node} both lead term {term}"));
        }
    }
}

impl Recorded {
    /// The order of calls and returns is all that linearizability asks for; moments are never
    /// equal, as times may be.
    fn moment(&mut self) -> i64 {
        self.moments += 1;
        self.moments
    }

    pub fn last_leader(&self) -> Option<NodeId> {
        self.leaders.last_key_value().map(|(_, node)| *node)
    }
}

impl Operation {
    pub fn was_served(&self) -> bool {
        match self.outcome {
            Outcome::Done { .. } | Outcome::Committed | Outcome::Read { .. } => true,
            Outcome::Refused | Outcome::Unknown => false,
        }
    }
}

impl Counts {
    pub fn each(&self) -> [(&'static str, u64); 17] {
        [
            ("leaders", self.leaders),
            ("partitions", self.partitions),
            ("crashes", self.crashes),
            ("planned stops", self.stops),
            ("torn writes", self.torn),
            ("connections", self.connections),
            ("snapshots", self.built),
            ("installed snapshots", self.installed),
            ("changes of members", self.changes),
            ("transfers", self.transfers),
            ("writes done", self.done),
            ("writes sent again", self.again),
            ("reads", self.read),
            ("reads elsewhere", self.elsewhere),
            ("refusals", self.refused),
            ("unknown outcomes", self.unknown),
            ("requests without an answer", self.unanswered),
        ]
    }

    pub fn plus(self, other: Counts) -> Counts {
        Counts {
            leaders: self.leaders + other.leaders,
            partitions: self.partitions + other.partitions,
            crashes: self.crashes + other.crashes,
            stops: self.stops + other.stops,
            torn: self.torn + other.torn,
            connections: self.connections + other.connections,
            built: self.built + other.built,
            installed: self.installed + other.installed,
            changes: self.changes + other.changes,
            transfers: self.transfers + other.transfers,
            done: self.done + other.done,
            again: self.again + other.again,
            read: self.read + other.read,
            elsewhere: self.elsewhere + other.elsewhere,
            refused: self.refused + other.refused,
            unknown: self.unknown + other.unknown,
            unanswered: self.unanswered + other.unanswered,
        }
    }
}
