//! What must hold whatever happens: the properties of Figure 3, and what a server owes its disk
//! and its clients.
//!
//! ```text
//!   one server, one step      step, became_durable: said after seeing only that server
//!   the world as it is now    leaders_are_complete, logs_match
//!   the world's history       History: leaders, commits and reads so far
//! ```
//!
//! The laws know nothing of how a core decides. What they have to remember is part of a world's
//! state, so that two worlds are taken for one only if the laws will judge them alike.

use actix_raft_core::effect::Effect;
use actix_raft_core::message::{AppendOutcome, Message, MessageBody, VoteKind};
use actix_raft_core::status::{RoleName, Status};
use actix_raft_core::types::{HardState, Index, LogPosition, NodeId, Term};

use crate::image::Image;

/// Fails with this law unless it holds.
macro_rules! law {
    ($holds:expr, $($law:tt)+) => {
        if !$holds {
            return Err(format!($($law)+));
        }
    };
}

/// "Persistent state" (Figure 2): a term never falls, and a vote is never taken back.
pub(super) fn became_durable(before: HardState, now: HardState) -> Result<(), String> {
    law!(now.current_term >= before.current_term, "the durable term fell");
    let stands = now.current_term > before.current_term
        || before.voted_for.is_none()
        || now.voted_for == before.voted_for;
    law!(stands, "one vote in a term, also on disk (§5.2)");
    Ok(())
}

/// What one step of one server must keep. The disk is as it was before the step's saves.
pub(super) fn step(
    before: Status,
    now: Status,
    durable: &Image,
    live: &Image,
    effects: &[Effect],
) -> Result<(), String> {
    law!(now.last_applied <= now.commit_index, "only committed entries are applied");
    law!(now.commit_index <= now.last_log.index, "only entries in the log are committed");
    law!(now.last_durable <= now.last_log.index, "only entries in the log are durable");
    law!(now.current_term >= before.current_term, "the term fell");
    law!(now.commit_index >= before.commit_index, "the commit index fell");
    law!(now.last_applied >= before.last_applied, "the applied index fell");
    if now.current_term == before.current_term && before.voted_for.is_some() {
        law!(now.voted_for == before.voted_for, "one vote in a term (§5.2)");
    }
    for effect in effects {
        match effect {
            Effect::Save { save, .. } => {
                let firsts = save.entries.iter().filter_map(|run| Some(run.first()?.index));
                let Some(first) = firsts.min() else { continue };
                law!(first > before.commit_index, "a committed entry was overwritten");
                let led = before.role == RoleName::Leader
                    && now.role == RoleName::Leader
                    && before.current_term == now.current_term;
                let appends = first > before.last_log.index;
                law!(appends || !led, "a leader overwrote its own log (Leader Append-Only)");
            }
            Effect::Send(message) => said(now, durable, live, message)?,
            Effect::Apply { entries } => {
                let follows = entries.first().map(|entry| entry.index.prev());
                law!(follows == Some(before.last_applied), "entries are applied in order, once");
                let held = entries.iter().all(|entry| durable.entry(entry.index) == Some(entry));
                law!(held, "an entry was applied that is not on the server's own disk");
            }
            Effect::ReadLog { .. }
            | Effect::Initialized(_)
            | Effect::BuildSnapshot { .. }
            | Effect::ReadSnapshot { .. }
            | Effect::StoreSnapshotChunk { .. }
            | Effect::InstallSnapshot { .. }
            | Effect::MembersChanged { .. }
            | Effect::Transferred { .. }
            | Effect::ElectionTriggered { .. }
            | Effect::SnapshotTaken { .. }
            | Effect::LogPurged { .. }
            | Effect::Proposed { .. }
            | Effect::Committed { .. }
            | Effect::LeadershipLost
            | Effect::ReadReady { .. }
            | Effect::ReadRefused { .. }
            | Effect::Violation { .. } => {}
        }
    }
    Ok(())
}

/// Nothing is said that a crash could make untrue ("before responding to RPCs", Figure 2).
fn said(now: Status, durable: &Image, live: &Image, message: &Message) -> Result<(), String> {
    let HardState { current_term, voted_for, trusted: _ } = durable.hard_state;
    let lasting = |term: Term| match current_term >= term {
        true => Ok(()),
        false => Err(format!("a message of term {term}, which a crash would undo")),
    };
    let voted = |term: Term, id: NodeId| (current_term, voted_for) == (term, Some(id));
    match &message.body {
        MessageBody::AppendEntriesRequest(request) => {
            let leads = now.role == RoleName::Leader && now.current_term == request.term;
            law!(leads, "a request of a leader by a server that does not lead");
            lasting(request.term)
        }
        MessageBody::AppendEntriesResponse(response) => {
            if let AppendOutcome::Matched { match_index } = response.outcome
                && match_index > Index::ZERO
            {
                let held = durable.entry(match_index);
                let same = held.is_some() && held == live.entry(match_index);
                law!(same, "entry {match_index} was acknowledged and is not on disk");
            }
            lasting(response.term)
        }
        MessageBody::VoteRequest(request) => match request.kind {
            VoteKind::PreVote => {
                law!(current_term.next() >= request.term, "a pre-vote about a term too far ahead");
                Ok(())
            }
            VoteKind::Vote | VoteKind::Transfer => {
                let stands = current_term > request.term || voted(request.term, message.from);
                law!(stands, "a candidate whose vote for itself is not on disk");
                Ok(())
            }
        },
        MessageBody::VoteResponse(response) => match response.kind {
            VoteKind::PreVote if response.vote_granted => Ok(()),
            VoteKind::Vote | VoteKind::Transfer if response.vote_granted => {
                law!(voted(response.term, message.to), "a vote that a crash would undo");
                Ok(())
            }
            VoteKind::PreVote | VoteKind::Vote | VoteKind::Transfer => lasting(response.term),
        },
        MessageBody::InstallSnapshotRequest(_)
        | MessageBody::InstallSnapshotResponse(_)
        | MessageBody::TimeoutNowRequest(_)
        | MessageBody::ReadIndexRequest(_)
        | MessageBody::ReadIndexResponse(_) => lasting(message.body.term()),
    }
}

/// An entry in a log: its term, and its number in the list of all entries that are not equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Logged {
    pub(super) term: Term,
    pub(super) entry: u32,
}

/// Log Matching (Figure 3): "if two logs contain an entry with the same index and term, then the
/// logs are identical in all entries up through the given index."
pub(super) fn logs_match(one: &[Logged], other: &[Logged]) -> Result<(), String> {
    let agree = one.iter().zip(other).rposition(|(a, b)| a.term == b.term);
    let upto = agree.map_or(0, |last| last + 1);
    match one.iter().zip(other).take(upto).position(|(a, b)| a != b) {
        None => Ok(()),
        Some(at) => {
            let last = LogPosition { term: one[upto - 1].term, index: Index(upto as u64) };
            Err(format!("two logs hold {last} and differ at index {} (Log Matching)", at + 1))
        }
    }
}

/// What the laws remember of the past, and how much of what is rationed was used up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct History {
    pub(super) proposals: u8,
    pub(super) reads: u8,
    pub(super) heartbeats: u8,
    pub(super) crashes: u8,
    /// Who led which term, in order of the terms.
    pub(super) leaders: Vec<(Term, NodeId)>,
    /// Every entry that anyone announced as committed, and the term of who did so first.
    pub(super) committed: Vec<(u32, Term)>,
    /// For each read that is not answered: its number, where it was asked, and how much was
    /// committed then.
    pub(super) unanswered: Vec<(u64, NodeId, Index)>,
}

impl History {
    /// Election Safety (Figure 3): "at most one leader can be elected in a given term."
    pub(super) fn leads(&mut self, term: Term, id: NodeId) -> Result<(), String> {
        match self.leaders.binary_search_by_key(&term, |(term, _)| *term) {
            Ok(at) => {
                let other = self.leaders[at].1;
                law!(other == id, "servers {other} and {id} lead term {term} (Election Safety)");
            }
            Err(at) => self.leaders.insert(at, (term, id)),
        }
        Ok(())
    }

    /// State Machine Safety (Figure 3) as of the announcement: a committed entry is never another,
    /// and is on the disks of a majority, those of crashed servers included.
    pub(super) fn commit(
        &mut self,
        log: &[Logged],
        index: Index,
        in_term: Term,
        copies: usize,
        servers: usize,
    ) -> Result<(), String> {
        law!(copies > servers / 2, "entry {index} was announced as committed on {copies} disks");
        for (at, logged) in log.iter().enumerate().take(index.0 as usize) {
            match self.committed.get(at) {
                Some((entry, _)) => {
                    law!(
                        *entry == logged.entry,
                        "another entry was committed at index {} (State Machine Safety)",
                        at + 1
                    );
                }
                None => self.committed.push((logged.entry, in_term)),
            }
        }
        Ok(())
    }

    /// State Machine Safety (Figure 3): "if a server has applied a log entry at a given index to
    /// its state machine, no other server will ever apply a different log entry for the same
    /// index."
    pub(super) fn apply(&self, index: Index, entry: u32) -> Result<(), String> {
        let committed = self.committed.get(index.prev().0 as usize);
        law!(
            committed.is_some_and(|(committed, _)| *committed == entry),
            "an entry was applied at index {index} that was not committed there"
        );
        Ok(())
    }

    /// Leader Completeness (Figure 3): "if a log entry is committed in a given term, then that
    /// entry will be present in the logs of the leaders for all higher-numbered terms."
    pub(super) fn is_complete(&self, term: Term, log: &[Logged]) -> Result<(), String> {
        for (at, (entry, in_term)) in self.committed.iter().enumerate() {
            let held = log.get(at).is_some_and(|logged| logged.entry == *entry);
            law!(
                held || *in_term >= term,
                "the leader of term {term} lacks entry {}, which was committed in term {in_term} \
                 (Leader Completeness)",
                at + 1
            );
        }
        Ok(())
    }

    pub(super) fn read_arrives(&mut self, at: NodeId) {
        self.reads += 1;
        self.unanswered.push((self.reads.into(), at, Index(self.committed.len() as u64)));
    }

    /// A read sees all that anyone announced as committed before it arrived (§8).
    pub(super) fn read_ready(&mut self, read: u64, applied: Index) -> Result<(), String> {
        let Some(at) = self.unanswered.iter().position(|(id, ..)| *id == read) else {
            return Err(format!("read {read} was answered twice"));
        };
        let (_, _, floor) = self.unanswered.remove(at);
        law!(applied >= floor, "a read that came after entry {floor} was committed misses it (§8)");
        Ok(())
    }

    pub(super) fn read_refused(&mut self, read: u64) -> Result<(), String> {
        let before = self.unanswered.len();
        self.unanswered.retain(|(id, ..)| *id != read);
        law!(self.unanswered.len() < before, "read {read} was answered twice");
        Ok(())
    }

    /// Nobody waits for an answer of a server that lost its memory.
    pub(super) fn crash(&mut self, id: NodeId) {
        self.crashes += 1;
        self.unanswered.retain(|(_, at, _)| *at != id);
    }
}
