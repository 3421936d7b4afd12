//! The follower: answers leaders and candidates, and waits (§5.2, §5.3).

use std::sync::Arc;

use crate::entry::Entry;
use crate::message::{AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, MessageBody};
use crate::mutants::{Mutant, is_planted};
use crate::node::Node;
use crate::types::{Index, LogPosition, NodeId, Term, Time};

/// What only a follower has.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Follower {
    /// The leader of the current term, once heard.
    pub(crate) leader: Option<NodeId>,
    /// When the leader was heard last.
    pub(crate) last_contact: Option<Time>,
    /// When to start an election; never, without a vote.
    pub(crate) deadline: Option<Time>,
    /// The log is the leader's up to here.
    verified: Index,
    /// The last index acknowledged to the leader.
    acknowledged: Index,
    /// The leader's latest round.
    round: u64,
    /// Whether the leader is owed an answer even if there is no more to acknowledge.
    answer_due: bool,
    /// If the leader vouches for this server's disk: up to where the log must be the leader's before
    /// this server is trusted.
    vouched_from: Option<Index>,
}

impl Follower {
    pub(crate) fn new(leader: Option<NodeId>, deadline: Option<Time>) -> Follower {
        Follower {
            leader,
            last_contact: None,
            deadline,
            verified: Index::ZERO,
            acknowledged: Index::ZERO,
            round: 0,
            answer_due: false,
            vouched_from: None,
        }
    }

    /// Takes over what was verified for the leader before: a planted bug.
    pub(crate) fn keep_verified(&mut self, old: &Follower) {
        self.verified = old.verified;
    }

    /// Takes note of a request of the current term's leader. Returns whether it can be one.
    pub(crate) fn hear(&mut self, node: &mut Node, from: NodeId, round: u64) -> bool {
        if self.leader.is_some_and(|leader| leader != from) {
            node.violation(from, "a second leader in one term (§5.2)");
            return false;
        }
        self.leader = Some(from);
        self.last_contact = Some(node.now);
        node.promise_to_leader();
        self.round = self.round.max(round);
        true
    }

    /// The leader's latest round.
    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    /// What is up to here is committed, and so the leader's.
    pub(crate) fn verify(&mut self, index: Index) {
        self.verified = self.verified.max(index);
    }

    /// AppendEntries RPC, receiver implementation 2 to 5 (Figure 2). The request is of the current
    /// term (1).
    pub(crate) fn on_append_entries(
        &mut self,
        node: &mut Node,
        from: NodeId,
        request: &AppendEntriesRequest,
    ) {
        if !self.hear(node, from, request.round) {
            return;
        }
        // A leader has every committed entry (§5.4), so up to the commit index there is nothing
        // to compare.
        let prev = request.prev_log;
        if prev.index > node.commit_index && !agrees(node, request) {
            self.reject(node, from, request);
        } else {
            let mut last = self.store(node, request);
            if is_planted(Mutant::HeartbeatSkipsCheck) {
                last = last.min(node.log.last().index);
            }
            if is_planted(Mutant::AckNamesLogEnd) {
                self.verified = node.log.last().index;
            }
            self.verified = self.verified.max(last);
            if is_planted(Mutant::CommitNotCapped) {
                last = node.log.last().index;
            }
            // "If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last
            // new entry)": what lies beyond this request may not be the leader's.
            node.commit(node.commit_index.max(request.leader_commit.min(last)));
        }
        if request.disk == node.disk && !node.is_trusted() {
            let from = request.leader_commit.max(Index::ZERO.next());
            self.vouched_from = Some(self.vouched_from.map_or(from, |until| until.min(from)));
        }
        // After the entries: among them may be the configuration that gives this server its vote.
        self.deadline = node.patience();
    }

    /// "If an existing entry conflicts with a new one (same index but different terms), delete the
    /// existing entry and all that follow it. Append any new entries not already in the log."
    /// Returns the last index of the request, or of what of it there is room for.
    fn store(&mut self, node: &mut Node, request: &AppendEntriesRequest) -> Index {
        let is_known = |entry: &&Entry| {
            entry.index <= node.commit_index
                || (node.log.matches(entry.position())
                    && !is_planted(Mutant::AppendDeletesMatching))
        };
        let known = request.entries.iter().take_while(is_known).count();
        let fit = known + node.count_that_fit(&request.entries[known..]);
        if fit == request.entries.len() && known < fit {
            // The answer leaves once the entries are on disk; see `acknowledge`.
            node.append(&request.entries, known);
        } else {
            node.append(&Arc::from(&request.entries[..fit]), known);
            self.answer_due = true;
        }
        let stored = match is_planted(Mutant::FullFollowerAcknowledges) {
            true => request.entries.len(),
            false => fit,
        };
        Index(request.prev_log.index.0 + stored as u64)
    }

    /// "Reply false if log doesn't contain an entry at prevLogIndex whose term matches
    /// prevLogTerm", and say where the logs may agree (§5.3, end).
    fn reject(&mut self, node: &mut Node, from: NodeId, request: &AppendEntriesRequest) {
        let hint = node.log.floor(request.prev_log);
        let prev_log_index = request.prev_log.index;
        let response = AppendEntriesResponse {
            term: node.current_term(),
            round: self.round,
            disk: node.disk,
            trusted: node.is_trusted(),
            disk_is_full: node.disk_is_full,
            outcome: AppendOutcome::Conflict { prev_log_index, hint },
        };
        node.promise(from, MessageBody::AppendEntriesResponse(response));
    }

    /// Tells the leader how much of its log is on this server's disk, at the end of each step in
    /// which that grew, or in which the leader asked.
    pub(crate) fn acknowledge(&mut self, node: &mut Node) {
        let Some(leader) = self.leader else { return };
        if self.vouched_from.is_some_and(|from| self.verified >= from) {
            node.become_trusted(leader);
        }
        let mut match_index = self.verified.min(node.log.durable());
        if is_planted(Mutant::AckBeforeSave) {
            match_index = self.verified;
        }
        if !self.answer_due && match_index <= self.acknowledged {
            return;
        }
        self.answer_due = false;
        self.acknowledged = self.acknowledged.max(match_index);
        let response = AppendEntriesResponse {
            term: node.current_term(),
            round: self.round,
            disk: node.disk,
            trusted: node.is_trusted(),
            disk_is_full: node.disk_is_full,
            outcome: AppendOutcome::Matched { match_index },
        };
        node.promise(leader, MessageBody::AppendEntriesResponse(response));
    }

    /// Whether a leader was heard within the shortest election timeout: then this server does not
    /// vote (diss. §4.2.3).
    pub(crate) fn hears_leader(&self, node: &Node) -> bool {
        let heard = |at: Time| node.now.since(at) < node.config.election_timeout;
        self.leader.is_some() && self.last_contact.is_some_and(heard)
    }
}

/// Whether the log has the entry before the request's, of the same term.
fn agrees(node: &Node, request: &AppendEntriesRequest) -> bool {
    let prev = request.prev_log;
    node.log.matches(prev)
        || (prev.term == Term::ZERO && is_planted(Mutant::MadeUpPrevTerm))
        || (request.entries.is_empty() && is_planted(Mutant::HeartbeatSkipsCheck))
        || (prev.index <= node.log.last().index && is_planted(Mutant::PrevTermNotChecked))
}

/// What of a request of the current or a later term contradicts this server's own log: no leader
/// that it could have sends that.
pub(crate) fn contradiction(node: &Node, request: &AppendEntriesRequest) -> Option<&'static str> {
    if node.is_other_cluster(&request.entries) {
        return Some("a cluster formed of other initial members");
    }
    let differs = |at: LogPosition| {
        at.index <= node.commit_index && node.log.term_at(at.index).is_some_and(|t| t != at.term)
    };
    let mut positions = request.entries.iter().map(Entry::position).chain([request.prev_log]);
    positions.any(differs).then_some("a leader that lacks a committed entry (§5.4)")
}
