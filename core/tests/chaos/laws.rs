//! What must hold after every step, whatever happened: Figure 3's properties and the promises to
//! disks and clients.
//!
//! The laws look at a cluster from above: at all disks at once, at every message as it leaves, at
//! every commit ever announced. They know nothing of how a core decides.

use std::collections::BTreeMap;
use std::iter::Sum;
use std::ops::AddAssign;

use actix_raft_core::effect::Effect;
use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::event::{ProposalId, ReadId};
use actix_raft_core::message::{AppendOutcome, Message, MessageBody, VoteKind};
use actix_raft_core::status::{RoleName, Status};
use actix_raft_core::types::{HardState, Index, LogPosition, NodeId, Term};
use bytes::Bytes;

use crate::support::server::Server;

/// An entry that was announced as committed.
struct Committed {
    entry: Entry,
    /// The term of the server that announced it first.
    in_term: Term,
}

/// How much of what could happen did happen, so that a quiet test is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub leaders: usize,
    pub commits: usize,
    pub truncations: usize,
    pub reads_ready: usize,
    pub reads_refused: usize,
    pub proposals: usize,
    pub overloaded: usize,
    pub log_reads: usize,
    pub crashes: usize,
    pub votes: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.leaders += other.leaders;
        self.commits += other.commits;
        self.truncations += other.truncations;
        self.reads_ready += other.reads_ready;
        self.reads_refused += other.reads_refused;
        self.proposals += other.proposals;
        self.overloaded += other.overloaded;
        self.log_reads += other.log_reads;
        self.crashes += other.crashes;
        self.votes += other.votes;
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Tally>>(tallies: I) -> Tally {
        tallies.fold(Tally::default(), |mut total, tally| {
            total += tally;
            total
        })
    }
}

impl Tally {
    /// Laws that are never put to the test always hold.
    pub fn assert_lively(&self, seeds: usize) {
        let Tally { leaders, commits, truncations, reads_ready, reads_refused, .. } = *self;
        let Tally { proposals, overloaded, log_reads, crashes, votes, .. } = *self;
        let often = [leaders, commits, reads_ready, proposals, log_reads, crashes, votes];
        assert!(often.iter().all(|count| *count > seeds), "{self:?}");
        let seldom = [truncations, reads_refused, overloaded];
        assert!(seldom.iter().all(|count| *count > seeds / 10), "{self:?}");
    }
}

#[derive(Default)]
pub struct Laws {
    leaders: BTreeMap<Term, NodeId>,
    /// Every entry that was ever in a log, by position, with the position before it.
    entries: BTreeMap<LogPosition, (Entry, LogPosition)>,
    committed: Vec<Committed>,
    /// What each server was after its last step; forgotten when it crashes.
    last: BTreeMap<NodeId, Status>,
    durable: BTreeMap<NodeId, HardState>,
    /// For each read, what was committed when it arrived.
    reads: BTreeMap<ReadId, Index>,
    proposals: BTreeMap<ProposalId, Vec<Bytes>>,
    /// The position at which each accepted command stands, if it is ever committed.
    accepted: BTreeMap<Bytes, LogPosition>,
    pub tally: Tally,
}

impl Laws {
    pub fn committed(&self) -> usize {
        self.committed.len()
    }

    /// A read must see all that anyone was told is committed.
    pub fn read_arrives(&mut self, id: ReadId) {
        self.reads.insert(id, Index(self.committed.len() as u64));
    }

    pub fn proposal_arrives(&mut self, id: ProposalId, commands: Vec<Bytes>) {
        self.proposals.insert(id, commands);
    }

    pub fn crashed(&mut self, id: NodeId) {
        self.last.remove(&id);
        self.tally.crashes += 1;
    }

    /// "Persistent state": a term never falls, and a vote is never taken back or given twice.
    pub fn became_durable(&mut self, server: &Server) {
        let now = server.disk.durable.hard_state;
        let before = self.durable.insert(server.id, now).unwrap_or_default();
        assert!(now.current_term >= before.current_term, "the durable term fell");
        if now.current_term == before.current_term && before.voted_for.is_some() {
            assert_eq!(now.voted_for, before.voted_for, "one vote in a term (§5.2)");
        }
    }

    pub fn after_step(&mut self, at: usize, servers: &[Server], effects: &[Effect]) {
        let server = &servers[at];
        let status = server.status();
        let before = self.last.insert(server.id, status);
        self.monotonic(before, status);
        self.leaders(before, status, server);
        for effect in effects {
            match effect {
                Effect::Save { save, .. } => {
                    let firsts = save.entries.iter().filter_map(|run| Some(run.first()?.index));
                    self.stored(before, status, firsts.min(), server);
                }
                Effect::Send(message) => self.sent(message, server),
                Effect::ReadLog { .. } => self.tally.log_reads += 1,
                Effect::Apply { entries } => self.applied(entries, status),
                Effect::Initialized(_) | Effect::LeadershipLost => {}
                Effect::Proposed { id, result } => self.proposed(*id, *result, server),
                Effect::Committed { index } => self.commit(*index, status, servers, at),
                Effect::ReadReady { id } => {
                    let floor = self.reads.remove(id).expect("a read is answered once");
                    assert!(server.applied.len() as u64 >= floor.0, "a stale read");
                    self.tally.reads_ready += 1;
                }
                Effect::ReadRefused { id, .. } => {
                    self.reads.remove(id).expect("a read is answered once");
                    self.tally.reads_refused += 1;
                }
                Effect::Violation { from, what } => panic!("{from} is wrongly accused: {what}"),
            }
        }
    }

    fn monotonic(&self, before: Option<Status>, now: Status) {
        assert!(now.last_applied <= now.commit_index && now.commit_index <= now.last_log.index);
        assert!(now.last_durable <= now.last_log.index);
        let Some(before) = before else { return };
        assert!(now.current_term >= before.current_term, "the term fell");
        assert!(now.commit_index >= before.commit_index, "the commit index fell");
        assert!(now.last_applied >= before.last_applied, "the applied index fell");
        if now.current_term == before.current_term && before.voted_for.is_some() {
            assert_eq!(now.voted_for, before.voted_for, "one vote in a term (§5.2)");
        }
    }

    /// Election Safety and Leader Completeness (Figure 3).
    fn leaders(&mut self, before: Option<Status>, now: Status, server: &Server) {
        let leads = |status: Status| status.role == RoleName::Leader;
        let is_new = !before.is_some_and(|b| leads(b) && b.current_term == now.current_term);
        if !leads(now) || !is_new {
            return;
        }
        let other = self.leaders.insert(now.current_term, server.id);
        assert_eq!(other, None, "term {} has a leader already", now.current_term);
        for committed in self.committed.iter().filter(|c| c.in_term < now.current_term) {
            let held = server.disk.live.entry(committed.entry.index);
            assert_eq!(held, Some(&committed.entry), "a leader lacks a committed entry");
        }
        self.tally.leaders += 1;
    }

    fn led_since(&self, before: Status, now: Status) -> bool {
        before.role == RoleName::Leader && before.current_term == now.current_term
    }

    /// Leader Append-Only and Log Matching (Figure 3), the latter step by step: each entry is the
    /// same wherever it stands, and so is the one before it.
    fn stored(&mut self, before: Option<Status>, now: Status, first: Option<Index>, of: &Server) {
        let Some(first) = first else { return };
        if let Some(before) = before {
            let truncates = first <= before.last_log.index;
            self.tally.truncations += usize::from(truncates);
            let leads = self.led_since(before, now) && now.role == RoleName::Leader;
            assert!(!(truncates && leads), "a leader overwrote its own log");
            assert!(first > before.commit_index, "a committed entry was overwritten");
        }
        for entry in &of.disk.live.entries[first.prev().0 as usize..] {
            let prev = of.disk.live.entry(entry.index.prev()).map(Entry::position);
            let this = (entry.clone(), prev.unwrap_or_default());
            let known = self.entries.entry(entry.position()).or_insert_with(|| this.clone());
            assert_eq!(*known, this, "two logs differ at {}", entry.position());
        }
    }

    /// Nothing is said that a crash could make untrue ("before responding to RPCs", Figure 2).
    fn sent(&mut self, message: &Message, server: &Server) {
        let disk = &server.disk;
        let HardState { current_term, voted_for } = disk.durable.hard_state;
        match &message.body {
            MessageBody::AppendEntriesRequest(request) => {
                // It may have come to office and left it within this very step.
                let leader = *self.leaders.entry(request.term).or_insert(server.id);
                assert_eq!(leader, server.id, "an impostor");
                assert!(current_term >= request.term, "a term that may be forgotten");
            }
            MessageBody::AppendEntriesResponse(response) => {
                assert!(current_term >= response.term, "a term that may be forgotten");
                if let AppendOutcome::Matched { match_index } = response.outcome
                    && match_index > Index::ZERO
                {
                    let held = disk.durable.entry(match_index).expect("an entry not on disk");
                    assert_eq!(Some(held), disk.live.entry(match_index), "another entry on disk");
                    let leader = self.leaders.get(&response.term);
                    assert_eq!(leader, Some(&message.to), "an answer to nobody's question");
                }
            }
            MessageBody::VoteRequest(request) => match request.kind {
                VoteKind::PreVote => assert!(current_term.next() >= request.term),
                VoteKind::Vote | VoteKind::Transfer => {
                    assert!(current_term >= request.term, "a term that may be forgotten");
                    let voted = (current_term, voted_for) == (request.term, Some(server.id));
                    assert!(voted || current_term > request.term, "a candidacy without a vote");
                }
            },
            MessageBody::VoteResponse(response) => match response.kind {
                VoteKind::PreVote if response.vote_granted => {}
                VoteKind::PreVote => assert!(current_term >= response.term),
                VoteKind::Vote | VoteKind::Transfer => {
                    assert!(current_term >= response.term, "a term that may be forgotten");
                    if response.vote_granted {
                        self.tally.votes += 1;
                        let voted = (current_term, voted_for) == (response.term, Some(message.to));
                        assert!(voted, "a vote that may be forgotten");
                    }
                }
            },
        }
    }

    /// A commit is on the disks of a majority when it is announced, crashed servers' disks
    /// included, and is never another entry than was announced before.
    fn commit(&mut self, index: Index, status: Status, servers: &[Server], at: usize) {
        let log = &servers[at].disk.live;
        let entry = log.entry(index).expect("an entry in the log");
        let holds = |server: &&Server| server.disk.durable.entry(index) == Some(entry);
        let count = servers.iter().filter(holds).count();
        assert!(count > servers.len() / 2, "{index} was announced with {count} copies");
        for known in self.committed.iter().take(index.0 as usize) {
            assert_eq!(log.entry(known.entry.index), Some(&known.entry), "another entry committed");
        }
        for index in self.committed.len() as u64 + 1..=index.0 {
            let entry = log.entry(Index(index)).expect("an entry in the log").clone();
            if let EntryPayload::Normal(command) = &entry.payload {
                let accepted = self.accepted.get(command);
                assert_eq!(accepted, Some(&entry.position()), "nobody proposed this here");
            }
            self.committed.push(Committed { entry, in_term: status.current_term });
            self.tally.commits += 1;
        }
    }

    /// State Machine Safety (Figure 3); that none is skipped or repeated is the driver's check.
    fn applied(&self, entries: &[Entry], status: Status) {
        for entry in entries {
            assert!(entry.index <= status.commit_index, "applied before it was committed");
            let committed = self.committed.get(entry.index.prev().0 as usize);
            assert_eq!(committed.map(|c| &c.entry), Some(entry), "another entry was committed");
        }
    }

    fn proposed<E: std::fmt::Debug>(
        &mut self,
        id: ProposalId,
        result: Result<Index, E>,
        server: &Server,
    ) {
        let commands = self.proposals.remove(&id).expect("a proposal is answered once");
        match result {
            Ok(first) => {
                for (index, command) in (first.0..).zip(commands) {
                    let entry = server.disk.live.entry(Index(index));
                    // A later event of the same step may have overwritten it already.
                    let term = self.last.get(&server.id).map(|status| status.current_term);
                    let position = entry.map(Entry::position);
                    if let Some(entry) = entry
                        && entry.payload == EntryPayload::Normal(command.clone())
                    {
                        assert!(term >= position.map(|p| p.term));
                        self.accepted.insert(command, entry.position());
                        self.tally.proposals += 1;
                    }
                }
            }
            Err(error) => {
                self.tally.overloaded += usize::from(format!("{error:?}") == "Overloaded")
            }
        }
    }
}
