//! Linearizable reads, on the leader and elsewhere (diss. §6.4).

use super::{Raft, Role};
use crate::effect::{Effect, ReadError};
use crate::event::{Consistency, ReadId};
use crate::leader::reading::answer;
use crate::message::{ReadIndexRequest, ReadIndexResponse};
use crate::mutants::{Mutant, is_planted};
use crate::reads::Question;
use crate::types::NodeId;

impl Raft {
    pub(super) fn on_read(&mut self, id: ReadId, consistency: Consistency) {
        let allowed = match consistency {
            Consistency::Linearizable => true,
            Consistency::Lease => self.node.lease_length().is_some(),
        };
        if !allowed {
            let error = ReadError::LeaseDisabled;
            return self.node.effect(Effect::ReadRefused { id, error });
        }
        match &mut self.role {
            Role::Leader(leader) => leader.read(&self.node, id, consistency),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                self.questions.arrived(id, consistency);
            }
        }
    }

    /// The step's end: asks the leader for what arrived here, and serves what it has answered.
    pub(super) fn ask_leader(&mut self) {
        let (leader, heard) = match &self.role {
            Role::Follower(follower) => (follower.leader, follower.last_contact),
            Role::PreCandidate(_) | Role::Candidate(_) => (None, None),
            Role::Leader(_) => (None, Some(self.node.now)),
        };
        self.questions.finish_step(&mut self.node, leader, heard);
    }

    /// This server leads now, and answers itself.
    pub(super) fn serve_own_questions(&mut self) {
        if let Role::Leader(leader) = &mut self.role {
            for (id, consistency) in self.questions.drain() {
                leader.read(&self.node, id, consistency);
            }
        }
    }

    /// A question that is answered by a leader of the asker's term only: one of an earlier term is
    /// asked again, once the asker has heard of the later one.
    pub(super) fn on_read_index(&mut self, from: NodeId, request: ReadIndexRequest) {
        let question = Question { from, id: request.id };
        match &mut self.role {
            Role::Leader(leader) if request.term == self.node.current_term() => {
                leader.on_read_index(&mut self.node, from, request);
            }
            _ if is_planted(Mutant::QuestionAnsweredByAnyone) => {
                let commit_index = self.node.commit_index;
                answer(&mut self.node, question, Some(commit_index));
            }
            _ => answer(&mut self.node, question, None),
        }
    }

    /// An answer of any term: what it says was true after the question was asked, and so it stays
    /// true of reads that are older than the question.
    pub(super) fn on_read_index_response(&mut self, from: NodeId, response: ReadIndexResponse) {
        if let Some(read_index) = response.read_index {
            self.questions.on_answer(from, response.id, read_index);
        }
    }
}
