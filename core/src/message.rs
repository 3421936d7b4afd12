//! What servers say to each other: the RPCs of Figure 2, each request and each response a message
//! of its own.
//!
//! Every message may be lost, delayed, doubled or reordered on its way, so a response says all
//! that its reader needs in order to place it, whatever else it has seen meanwhile.

use core::fmt;
use std::sync::Arc;

use crate::entry::Entry;
use crate::event::Consistency;
use crate::mutants::{Mutant, is_planted};
use crate::snapshot::{Snapshot, SnapshotChunk};
use crate::types::{DiskId, GroupId, Index, LogPosition, NodeId, Term};

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
    /// From a leader: a piece of a snapshot, for a follower that lacks what is no longer in the
    /// log (§7).
    InstallSnapshotRequest(InstallSnapshotRequest),
    /// A follower's answer.
    InstallSnapshotResponse(InstallSnapshotResponse),
    /// From a leader: stand for election at once; not answered but by the election (diss. §3.10).
    TimeoutNowRequest(TimeoutNowRequest),
    /// From a server that was asked to read: what must I have applied? (diss. §6.4)
    ReadIndexRequest(ReadIndexRequest),
    /// The leader's answer.
    ReadIndexResponse(ReadIndexResponse),
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
    /// The follower's disk, if the leader vouches for it: all that the follower may have promised on
    /// another is in the leader's log (see [`trust`](crate::trust)).
    pub disk: DiskId,
}

/// A follower's answer to [`AppendEntriesRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AppendEntriesResponse {
    /// The follower's current term, for the leader to update itself.
    pub term: Term,
    /// The latest round of this leader that the follower has heard.
    pub round: u64,
    /// The follower's disk: if it is another than before, what was acknowledged before is gone.
    pub disk: DiskId,
    /// Whether the follower may vote; if not, it does not count either before the leader vouches
    /// for its disk.
    pub trusted: bool,
    /// Whether the follower's disk is short of room: it stores no commands until there is more.
    pub disk_is_full: bool,
    /// What the follower found.
    pub outcome: AppendOutcome,
}

impl AppendEntriesResponse {
    /// The index that the follower says something about.
    pub(crate) fn asked_about(&self) -> Index {
        match self.outcome {
            AppendOutcome::Matched { match_index } => match_index,
            AppendOutcome::Conflict { prev_log_index, .. } => prev_log_index,
        }
    }
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
    /// The voter's disk, if the asker's log says that the cluster was formed with it.
    pub disk: DiskId,
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
    /// The voter's disk.
    pub disk: DiskId,
    /// Whether the candidate received the vote.
    pub vote_granted: bool,
    /// Why not; `None` if it did.
    pub refusal: Option<VoteRefusal>,
}

/// Why a voter refuses its vote, for people who ask why there is no leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VoteRefusal {
    /// The candidate's term is over (§5.1).
    StaleTerm,
    /// The voter hears a leader (diss. §4.2.3).
    HearsLeader,
    /// It has voted for another in this term (§5.2).
    AlreadyVoted,
    /// The candidate's log lacks what the voter's has (§5.4.1).
    LogBehind,
    /// The voter's disk is new: it may have forgotten what it promised on one that it lost.
    Untrusted,
}

/// Invoked by the leader to send pieces of a snapshot to a follower (§7). The leader's id is the
/// message's sender.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InstallSnapshotRequest {
    /// The leader's term.
    pub term: Term,
    /// The leader's count of rounds, as in [`AppendEntriesRequest`].
    pub round: u64,
    /// Which snapshot this is a piece of.
    pub snapshot: Snapshot,
    /// The piece. One without bytes asks how much the follower has already.
    pub chunk: SnapshotChunk,
}

/// A follower's answer to [`InstallSnapshotRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InstallSnapshotResponse {
    /// The follower's current term, for the leader to update itself.
    pub term: Term,
    /// The latest round of this leader that the follower has heard.
    pub round: u64,
    /// The follower's disk.
    pub disk: DiskId,
    /// The snapshot's last included position.
    pub last_included: LogPosition,
    /// What the follower has of it.
    pub outcome: InstallOutcome,
}

/// How much of a snapshot a follower has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstallOutcome {
    /// Its first bytes, this many; the leader goes on there.
    Received {
        /// The offset of the first byte that is lacking.
        offset: u64,
    },
    /// All that it says, on disk: by installing it, or because the follower's commit index had
    /// passed it already.
    Installed,
}

/// Invoked by the leader to hand over its office (diss. §3.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeoutNowRequest {
    /// The leader's term.
    pub term: Term,
}

/// Invoked by a server that was asked for a linearizable read and does not lead (diss. §6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReadIndexRequest {
    /// The asker's term.
    pub term: Term,
    /// The asker's name for the question, never given twice while it runs.
    pub id: u64,
    /// What the answer may rely on.
    pub consistency: Consistency,
}

/// The leader's answer to [`ReadIndexRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReadIndexResponse {
    /// The answerer's term.
    pub term: Term,
    /// The question.
    pub id: u64,
    /// What must be applied before the read; `None` if the answerer can't say, since it does not
    /// lead.
    pub read_index: Option<Index>,
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
            MessageBody::InstallSnapshotRequest(body) => body.term,
            MessageBody::InstallSnapshotResponse(body) => body.term,
            MessageBody::TimeoutNowRequest(body) => body.term,
            MessageBody::ReadIndexRequest(body) => body.term,
            MessageBody::ReadIndexResponse(body) => body.term,
        }
    }

    /// What is wrong with the message, whoever hears it; `None` if a correct server may say it.
    pub(crate) fn flaw(&self) -> Option<&'static str> {
        // Who never entered a term may still refuse a pre-vote.
        let may_be_zero = matches!(
            self,
            MessageBody::VoteResponse(VoteResponse {
                kind: VoteKind::PreVote,
                vote_granted: false,
                ..
            })
        );
        if (self.term() == Term::ZERO && !may_be_zero) || self.term() > LAST_TERM {
            return Some("a term that no server is ever in");
        }
        let is_possible = match self {
            MessageBody::AppendEntriesRequest(request) => request.is_possible(),
            // A candidate has just entered its term: nothing in its log is of it.
            MessageBody::VoteRequest(request) => {
                is_possible(request.last_log) && request.last_log.term < request.term
            }
            MessageBody::InstallSnapshotRequest(request) => {
                let at = request.snapshot.last_included();
                let SnapshotChunk { offset, data, done, .. } = &request.chunk;
                let end = offset.saturating_add(data.len() as u64);
                let size = request.snapshot.size;
                let membership = request.snapshot.membership();
                // A leader's snapshot ends at an entry, of its own term at the most, and carries
                // the configuration there.
                is_possible(at)
                    && membership.is_some_and(|(from, _)| *from <= at.index)
                    && at.index > Index::ZERO
                    && at.term <= request.term
                    && end <= size
                    && (!done || end == size)
            }
            MessageBody::AppendEntriesResponse(_)
            | MessageBody::VoteResponse(_)
            | MessageBody::InstallSnapshotResponse(_)
            | MessageBody::TimeoutNowRequest(_)
            | MessageBody::ReadIndexRequest(_) => true,
            MessageBody::ReadIndexResponse(response) => {
                response.read_index.is_none_or(|index| index <= LAST_INDEX)
            }
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
        (is_possible(self.prev_log) || is_planted(Mutant::MadeUpPrevTerm)) && last.term <= self.term
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
            MessageBody::InstallSnapshotRequest(m) => write!(
                f,
                "InstallSnapshotRequest term={} snapshot={} offset={} bytes={} done={}",
                m.term,
                m.snapshot.last_included(),
                m.chunk.offset,
                m.chunk.data.len(),
                m.chunk.done
            ),
            MessageBody::InstallSnapshotResponse(m) => {
                let (term, at) = (m.term, m.last_included);
                write!(f, "InstallSnapshotResponse term={term} snapshot={at} ")?;
                match m.outcome {
                    InstallOutcome::Received { offset } => write!(f, "received={offset}"),
                    InstallOutcome::Installed => f.write_str("installed"),
                }
            }
            MessageBody::TimeoutNowRequest(m) => write!(f, "TimeoutNowRequest term={}", m.term),
            MessageBody::ReadIndexRequest(m) => {
                write!(f, "ReadIndexRequest term={} id={} {:?}", m.term, m.id, m.consistency)
            }
            MessageBody::ReadIndexResponse(m) => {
                write!(f, "ReadIndexResponse term={} id={} ", m.term, m.id)?;
                match m.read_index {
                    Some(index) => write!(f, "read_index={index}"),
                    None => f.write_str("refused"),
                }
            }
        }
    }
}
