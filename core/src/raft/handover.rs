//! Handing leadership over, and elections on demand (diss. §3.10).

use super::{Raft, Role};
use crate::admin::{ElectionError, RequestId, TransferError};
use crate::effect::Effect;
use crate::leader::Transfer;
use crate::message::{TimeoutNowRequest, VoteKind};
use crate::mutants::{Mutant, is_planted};
use crate::types::NodeId;

impl Raft {
    pub(super) fn on_transfer_leadership(&mut self, id: RequestId, to: Option<NodeId>) {
        match &mut self.role {
            Role::Leader(leader) => leader.transfer(&mut self.node, id, to),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                let result = Err(TransferError::NotLeader { leader: self.leader() });
                self.node.effect(Effect::Transferred { id, result });
            }
        }
    }

    /// This server leads no longer: those who asked for it are told once it hears who does. The
    /// election may take as long as any.
    pub(super) fn await_successor(&mut self, transfer: Option<Transfer>) {
        if let Some(mut transfer) = transfer {
            let until = self.node.now + self.node.config.election_timeout;
            transfer.deadline = transfer.deadline.max(until);
            if let Some(earlier) = self.handed_over.replace(transfer) {
                let error = TransferError::TimedOut(earlier.to);
                earlier.answer(&mut self.node, Err(error));
            }
        }
    }

    /// The step's end: tells those who asked for a transfer who leads now.
    pub(super) fn settle_handover(&mut self) {
        let (leader, now) = (self.leader(), self.node.now);
        let settled = |transfer: &mut Transfer| leader.is_some() || now >= transfer.deadline;
        if let Some(transfer) = self.handed_over.take_if(settled) {
            let result = match leader {
                Some(leader) if leader != self.node.id => Ok(leader),
                _ => Err(TransferError::TimedOut(transfer.to)),
            };
            transfer.answer(&mut self.node, result);
        }
    }

    /// An operator wants this server to stand now. Where servers stay with the leader they hear, it
    /// does too: to unseat one is what a transfer is for.
    pub(super) fn on_trigger_election(&mut self, id: RequestId) {
        let result = match &self.role {
            Role::Leader(_) => Err(ElectionError::AlreadyLeader),
            Role::PreCandidate(_) | Role::Candidate(_) => Ok(()),
            Role::Follower(_) if self.obstacle().is_some() => Err(ElectionError::NotAVoter),
            // Its own vote would be one that a lease relies on (diss. §6.4.1).
            Role::Follower(_) if self.hears_leader() || self.node.keeps_promise() => {
                Err(ElectionError::LeaderHeard { leader: self.leader() })
            }
            Role::Follower(_) => {
                self.campaign();
                Ok(())
            }
        };
        self.node.effect(Effect::ElectionTriggered { id, result });
    }

    /// "This causes the target server to start a new election immediately (increment its term and
    /// become a candidate)", with a flag by which others vote for it although they hear a leader
    /// (diss. §3.10, §4.2.3). Only this server's own leader can want that: anybody else would have
    /// to win the term first. So it gives a peer no power that a request for votes would not.
    pub(super) fn on_timeout_now(&mut self, from: NodeId, request: TimeoutNowRequest) {
        let follows = match &self.role {
            Role::Follower(follower) => follower.leader == Some(from),
            Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => false,
        };
        if request.term == self.node.current_term() && follows && self.obstacle().is_none() {
            match is_planted(Mutant::TransferAsksPreVote) {
                true => self.campaign(),
                false => self.become_candidate(VoteKind::Transfer),
            }
        }
    }
}
