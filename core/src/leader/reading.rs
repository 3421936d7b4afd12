//! Reads at the leader: a round for all that arrived together (diss. §6.4), or the lease
//! (diss. §6.4.1).

use std::sync::Arc;

use super::{Leader, send_append};
use crate::effect::{Effect, ReadError};
use crate::event::{Consistency, ReadId};
use crate::message::{MessageBody, ReadIndexRequest, ReadIndexResponse};
use crate::mutants::{Mutant, is_planted};
use crate::node::Node;
use crate::reads::{Question, Reader};
use crate::types::{Index, NodeId, Time};

impl Leader {
    pub(crate) fn read(&mut self, node: &Node, id: ReadId, consistency: Consistency) {
        match consistency {
            Consistency::Lease if self.has_lease(node) => {
                self.reads.confirmed(id, node.commit_index);
            }
            Consistency::Lease | Consistency::Linearizable => self.reads.arrived(id),
        }
    }

    /// A question of the current term, for reads at another server.
    pub(crate) fn on_read_index(
        &mut self,
        node: &mut Node,
        from: NodeId,
        request: ReadIndexRequest,
    ) {
        let question = Question { from, id: request.id };
        if !self.progress.contains_key(&from) {
            // It was removed and may not know it.
            return answer(node, question, None);
        }
        let at_once = match request.consistency {
            Consistency::Lease => self.has_lease(node),
            Consistency::Linearizable => false,
        };
        if at_once || is_planted(Mutant::QuestionWithoutRound) {
            return answer(node, question, Some(node.commit_index));
        }
        self.reads.asked(question);
    }

    /// Whether no other server can have been elected: a majority (of both configurations, while
    /// joint) heard this leader so lately that it votes for nobody else yet.
    fn has_lease(&self, node: &Node) -> bool {
        let Some(length) = node.lease_length() else {
            return false;
        };
        let followed_at = match is_planted(Mutant::LeaseFromReceipt) {
            true => Some(self.heard_by_quorum(node)),
            false => self.lease.followed_at(self.confirmed_round(node)),
        };
        // The time of this step, not of a timer: the process may have slept since.
        let now = match is_planted(Mutant::LeaseOutlivesPause) {
            true => self.lease.last_begun(),
            false => node.now,
        };
        let is_fresh = |at: Time| now.since(at) < length;
        // While it hands over, "it is possible that another server could be elected the new leader"
        // before its lease ends (diss. §6.4.1); and what is committed it knows only once an entry of
        // its own term is (§8).
        self.may_read(node)
            && !self.is_handing_over()
            && !self.lease.has_ended()
            && followed_at.is_some_and(is_fresh)
    }

    fn may_read(&self, node: &Node) -> bool {
        node.commit_index >= self.term_start || is_planted(Mutant::ReadBeforeOwnCommit)
    }

    /// Begins a round if reads have arrived and may be served.
    pub(super) fn begin_round_of_reads(&mut self, node: &mut Node) {
        let confirmed_by = self.round + u64::from(!is_planted(Mutant::ReadByEarlierRound));
        if self.may_read(node) && self.reads.begin_round(confirmed_by, node.commit_index) {
            self.round += 1;
            self.lease.begin(node, self.round);
            // Apart from entries, whose answers wait for the follower's disk.
            for to in node.other_voters() {
                if let Some(progress) = self.progress.get(&to) {
                    send_append(node, to, progress, Arc::new([]), self.round);
                }
            }
        }
    }

    /// The latest round that a majority has answered.
    fn confirmed_round(&self, node: &Node) -> u64 {
        let confirmed = |id| match self.progress.get(&id) {
            Some(progress) => progress.round,
            None if id == node.id => self.round,
            None => 0,
        };
        node.membership().map_or(0, |(_, members)| {
            if is_planted(Mutant::ReadWithoutRound) {
                self.round
            } else if is_planted(Mutant::ReadByTooFew) {
                members.reached_by_too_few(confirmed)
            } else {
                members.reached_by_quorum(confirmed)
            }
        })
    }

    pub(super) fn confirm_reads(&mut self, node: &mut Node) {
        for (question, read_index) in self.reads.confirm(self.confirmed_round(node)) {
            answer(node, question, Some(read_index));
        }
        for id in self.reads.ready(node.last_applied) {
            node.effect(Effect::ReadReady { id });
        }
    }

    /// Answers those whom this server can't serve any more.
    pub(super) fn refuse_reads(&mut self, node: &mut Node, leader: Option<NodeId>) {
        for reader in self.reads.drain() {
            match reader {
                Reader::Here(id) => {
                    let error = ReadError::NotLeader { leader };
                    node.effect(Effect::ReadRefused { id, error });
                }
                Reader::Peer(question) => answer(node, question, None),
            }
        }
    }
}

/// Answers another server's question; with `None` if this server can't say.
pub(crate) fn answer(node: &mut Node, question: Question, read_index: Option<Index>) {
    let response = ReadIndexResponse { term: node.current_term(), id: question.id, read_index };
    node.send(question.from, MessageBody::ReadIndexResponse(response));
}
