//! Reads at a server that does not lead: it asks the leader what it must have applied (diss. §6.4).
//!
//! ```text
//!   arrived --step's end--> asked, once for all --the leader answers--> confirmed
//!                            |  ^                   --last_applied >= read_index--> ready
//!                            +--+ again with the heartbeats' rhythm, and to each new leader
//! ```
//!
//! An answer to a question is true for all reads that were there when it was first asked. So the
//! latest question stands for all earlier ones, and is the only one that is asked again.

use std::collections::VecDeque;

use crate::effect::{Effect, ReadError};
use crate::event::{Consistency, ReadId};
use crate::message::{MessageBody, ReadIndexRequest};
use crate::mutants::{Mutant, is_planted};
use crate::node::Node;
use crate::types::{Index, NodeId, Time};

/// How many questions of a kind are on their way at once. What arrives beyond that is asked for with
/// the next repetition; so a leader need not remember more.
const MAX_UNANSWERED: usize = 16;

/// The reads of a server that does not lead.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Questions {
    linearizable: Asked,
    lease: Asked,
    confirmed: Vec<Confirmed>,
    /// When a leader was heard last, while reads wait.
    heard: Time,
    /// The name of the latest question. The first one is drawn, so that it is not taken for one of
    /// before a restart.
    last_id: Option<u64>,
}

/// The questions of one kind, the oldest first.
#[derive(Clone, Debug, Default, Hash)]
struct Asked {
    arrived: Vec<ReadId>,
    questions: VecDeque<Waiting>,
    /// Of whom the latest one was asked.
    of: Option<NodeId>,
    /// When it is asked again.
    again_at: Time,
}

/// A question, and the reads that it was first asked for.
#[derive(Clone, Debug, Hash)]
struct Waiting {
    id: u64,
    reads: Vec<ReadId>,
    since: Time,
}

#[derive(Clone, Debug, Hash)]
struct Confirmed {
    read_index: Index,
    reads: Vec<ReadId>,
    since: Time,
}

impl Questions {
    pub(crate) fn arrived(&mut self, id: ReadId, consistency: Consistency) {
        match consistency {
            Consistency::Linearizable => self.linearizable.arrived.push(id),
            Consistency::Lease => self.lease.arrived.push(id),
        }
    }

    /// The server that was asked answers. Answers to what is not asked any more change nothing.
    pub(crate) fn on_answer(&mut self, from: NodeId, id: u64, read_index: Index) {
        for asked in [&mut self.linearizable, &mut self.lease] {
            if asked.of != Some(from) {
                continue;
            }
            let Some(place) = asked.questions.iter().position(|question| question.id == id) else {
                continue;
            };
            let answered = asked.questions.drain(..=place);
            self.confirmed.extend(answered.map(|question| Confirmed {
                read_index,
                reads: question.reads,
                since: question.since,
            }));
        }
    }

    /// All reads that no leader has answered.
    pub(crate) fn drain(&mut self) -> Vec<(ReadId, Consistency)> {
        let linearizable = self.linearizable.drain().map(|id| (id, Consistency::Linearizable));
        linearizable.chain(self.lease.drain().map(|id| (id, Consistency::Lease))).collect()
    }

    /// Ends a step: asks the leader, answers what can be answered, and gives up what has waited for
    /// a leader too long.
    pub(crate) fn finish_step(
        &mut self,
        node: &mut Node,
        leader: Option<NodeId>,
        heard: Option<Time>,
    ) {
        self.linearizable.number(node, &mut self.last_id);
        self.lease.number(node, &mut self.last_id);
        if self.is_idle() {
            return;
        }
        self.heard = self.heard.max(heard.unwrap_or_default());
        self.serve(node);
        self.give_up(node, leader);
        self.linearizable.ask(node, leader, Consistency::Linearizable);
        self.lease.ask(node, leader, Consistency::Lease);
        if self.is_idle() {
            *self = Questions { last_id: self.last_id, ..Questions::default() };
        }
    }

    fn is_idle(&self) -> bool {
        self.linearizable.questions.is_empty()
            && self.lease.questions.is_empty()
            && self.confirmed.is_empty()
    }

    fn serve(&mut self, node: &mut Node) {
        let is_ready = |confirmed: &mut Confirmed| {
            confirmed.read_index <= node.last_applied
                || is_planted(Mutant::AnswerServedBeforeApplied)
        };
        let ready: Vec<Confirmed> = self.confirmed.extract_if(.., is_ready).collect();
        for id in ready.into_iter().flat_map(|confirmed| confirmed.reads) {
            node.effect(Effect::ReadReady { id });
        }
    }

    /// Refuses the reads that have waited for two election timeouts, the longest that a follower
    /// waits before it stands itself, while no leader was heard.
    fn give_up(&mut self, node: &mut Node, leader: Option<NodeId>) {
        let patience = 2 * node.config.election_timeout;
        let lost = |since: Time| node.now.since(since.max(self.heard)) >= patience;
        let confirmed = self.confirmed.extract_if(.., |confirmed| lost(confirmed.since));
        let mut given_up: Vec<ReadId> = confirmed.flat_map(|confirmed| confirmed.reads).collect();
        for asked in [&mut self.linearizable, &mut self.lease] {
            while let Some(question) = asked.questions.pop_front_if(|q| lost(q.since)) {
                given_up.extend(question.reads);
            }
        }
        for id in given_up {
            let error = ReadError::NotLeader { leader };
            node.effect(Effect::ReadRefused { id, error });
        }
    }

    /// When to come back if nothing else happens.
    pub(crate) fn deadline(&self, node: &Node, leader: Option<NodeId>) -> Option<Time> {
        let all = [&self.linearizable, &self.lease];
        let again = all.iter().filter(|asked| leader.is_some() && !asked.questions.is_empty());
        let again = again.map(|asked| asked.again_at).min();
        let waiting = all.iter().filter_map(|asked| asked.questions.front());
        let since = waiting.map(|question| question.since);
        let oldest = since.chain(self.confirmed.iter().map(|confirmed| confirmed.since)).min();
        let lost = oldest.map(|at| at.max(self.heard) + 2 * node.config.election_timeout);
        again.into_iter().chain(lost).min()
    }
}

impl Asked {
    /// Makes one question of all reads that have arrived.
    fn number(&mut self, node: &mut Node, last_id: &mut Option<u64>) {
        if !self.arrived.is_empty() {
            let id = last_id.map_or_else(|| node.random.next_u64(), |id| id.wrapping_add(1));
            *last_id = Some(id);
            let reads = std::mem::take(&mut self.arrived);
            self.questions.push_back(Waiting { id, reads, since: node.now });
            if self.questions.len() <= MAX_UNANSWERED {
                self.of = None;
            }
        }
    }

    /// Asks the latest question, if it was not asked yet, or was asked of another, or long ago.
    fn ask(&mut self, node: &mut Node, leader: Option<NodeId>, consistency: Consistency) {
        let (Some(leader), Some(latest)) = (leader, self.questions.back()) else {
            return;
        };
        if self.of != Some(leader) || node.now >= self.again_at {
            self.of = Some(leader);
            self.again_at = node.now + node.config.heartbeat_interval;
            let (term, id) = (node.current_term(), latest.id);
            let request = ReadIndexRequest { term, id, consistency };
            node.send(leader, MessageBody::ReadIndexRequest(request));
        }
    }

    fn drain(&mut self) -> impl Iterator<Item = ReadId> + use<> {
        let questions = std::mem::take(&mut self.questions);
        let reads = questions.into_iter().flat_map(|question| question.reads);
        reads.chain(std::mem::take(&mut self.arrived))
    }
}
