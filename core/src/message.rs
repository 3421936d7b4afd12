//! What servers say to each other: the RPCs of Figure 2, each request and each response a message
//! of its own.
//!
//! Every message may be lost, delayed, doubled or reordered on its way, so a response says all
//! that its reader needs in order to place it, whatever else it has seen meanwhile.

use core::fmt;
use std::sync::Arc;

use crate::entry::Entry;
use crate::types::{GroupId, Index, LogPosition, NodeId, Term};

/// A message between two servers of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// The consensus group it belongs to.
    pub group: GroupId,
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// What it says.
    pub body: MessageBody,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MessageBody {
    /// From a leader: replicate these entries; a heartbeat if there are none (§5.3).
    AppendEntriesRequest(AppendEntriesRequest),
    /// A follower's answer.
    AppendEntriesResponse(AppendEntriesResponse),
    /// From a candidate: give me your vote (§5.2).
    VoteRequest(VoteRequest),
    /// A voter's answer.
    VoteResponse(VoteResponse),
}

/// Invoked by the leader to replicate log entries and as a heartbeat (§5.2, §5.3). The leader's id
/// is the message's sender.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppendEntriesRequest {
    /// The leader's term.
    pub term: Term,
    /// The entry immediately before the new ones (`prevLogIndex`, `prevLogTerm`).
    pub prev_log: LogPosition,
    /// Entries to store, contiguous from `prev_log.index + 1` on; empty for a heartbeat.
    pub entries: Arc<[Entry]>,
    /// The leader's commit index.
    pub leader_commit: Index,
    /// The leader's count of rounds, named again in the response: by it a leader knows that a
    /// majority still followed it after a read arrived (diss. §6.4).
    pub round: u64,
}

/// A follower's answer to [`AppendEntriesRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AppendEntriesResponse {
    /// The follower's current term, for the leader to update itself.
    pub term: Term,
    /// The latest round of this leader that the follower has heard.
    pub round: u64,
    /// What the follower found.
    pub outcome: AppendOutcome,
}

/// What a follower found when it compared its log with a leader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppendOutcome {
    /// Up to here the follower's log is the leader's, and is on its disk.
    Matched {
        /// The last index of which both hold.
        match_index: Index,
    },
    /// The follower has no entry like `prev_log`.
    Conflict {
        /// The index that did not match, so that a late answer can be told from a fresh one.
        prev_log_index: Index,
        /// The follower's last position that is at or below `prev_log` in both term and index: the
        /// leader tries there next. So each round trip passes over a whole term (§5.3, end).
        hint: LogPosition,
    },
}

/// Invoked by candidates to gather votes (§5.2). The candidate's id is the message's sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VoteRequest {
    /// The candidate's term; in a pre-vote, the term it would enter.
    pub term: Term,
    /// The candidate's last entry, for the comparison of §5.4.1.
    pub last_log: LogPosition,
    /// What is asked for.
    pub kind: VoteKind,
    /// The asker's count of ballots, named again in the response.
    pub round: u64,
}

/// What a candidate asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VoteKind {
    /// "Would you vote for me?" Changes nothing on either side (diss. §9.6).
    PreVote,
    /// A vote.
    Vote,
    /// A vote, in an election that the leader itself asked for: servers that hear a leader grant
    /// it all the same (diss. §4.2.3).
    Transfer,
}

/// A voter's answer to [`VoteRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VoteResponse {
    /// The voter's current term, for the candidate to update itself; in a granted pre-vote, the
    /// term that was asked for.
    pub term: Term,
    /// The request's kind.
    pub kind: VoteKind,
    /// The request's round.
    pub round: u64,
    /// Whether the candidate received the vote.
    pub vote_granted: bool,
}

impl MessageBody {
    /// The term in the message.
    #[must_use]
    pub fn term(&self) -> Term {
        match self {
            MessageBody::AppendEntriesRequest(body) => body.term,
            MessageBody::AppendEntriesResponse(body) => body.term,
            MessageBody::VoteRequest(body) => body.term,
            MessageBody::VoteResponse(body) => body.term,
        }
    }

    /// What is wrong with the message, whoever hears it; `None` if a correct server may say it.
    pub(crate) fn flaw(&self) -> Option<&'static str> {
        if self.term() == Term::ZERO || self.term() > LAST_TERM {
            return Some("a term that no server is ever in");
        }
        let is_possible = match self {
            MessageBody::AppendEntriesRequest(request) => request.is_possible(),
            // A candidate has just entered its term: nothing in its log is of it.
            MessageBody::VoteRequest(request) => {
                is_possible(request.last_log) && request.last_log.term < request.term
            }
            MessageBody::AppendEntriesResponse(_) | MessageBody::VoteResponse(_) => true,
        };
        (!is_possible).then_some("a log that no server can have")
    }
}

/// The last term that is believed. No cluster reaches it, and what is counted up from it never
/// overflows.
const LAST_TERM: Term = Term(u64::MAX / 2);

/// The last index that is believed, likewise.
const LAST_INDEX: Index = Index(u64::MAX / 2);

fn is_possible(position: LogPosition) -> bool {
    position == LogPosition::ZERO
        || (position.term > Term::ZERO
            && position.index > Index::ZERO
            && position.index <= LAST_INDEX)
}

impl AppendEntriesRequest {
    /// Whether the entries follow each other and their terms can be: they never fall, and none is
    /// later than the leader's.
    fn is_possible(&self) -> bool {
        let mut last = self.prev_log;
        for entry in self.entries.iter() {
            let position = entry.position();
            let follows = position.index.prev() == last.index && position.term >= last.term;
            if !follows || position == LogPosition::ZERO || !is_possible(position) {
                return false;
            }
            last = position;
        }
        is_possible(self.prev_log) && last.term <= self.term
    }
}

impl fmt::Display for MessageBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MessageBody::AppendEntriesRequest(m) => write!(
                f,
                "AppendEntriesRequest term={} prev={} entries={} commit={} round={}",
                m.term,
                m.prev_log,
                m.entries.len(),
                m.leader_commit,
                m.round
            ),
            MessageBody::AppendEntriesResponse(m) => {
                write!(f, "AppendEntriesResponse term={} round={} ", m.term, m.round)?;
                match m.outcome {
                    AppendOutcome::Matched { match_index } => write!(f, "match={match_index}"),
                    AppendOutcome::Conflict { prev_log_index, hint } => {
                        write!(f, "conflict={prev_log_index} hint={hint}")
                    }
                }
            }
            MessageBody::VoteRequest(m) => {
                write!(f, "VoteRequest {:?} term={} last={}", m.kind, m.term, m.last_log)
            }
            MessageBody::VoteResponse(m) => {
                write!(f, "VoteResponse {:?} term={} granted={}", m.kind, m.term, m.vote_granted)
            }
        }
    }
}
