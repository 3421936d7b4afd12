//! Handing leadership over (diss. §3.10).
//!
//! ```text
//!   asked for: proposals are refused, no lease
//!      |   the target has all entries
//!      v
//!   TimeoutNow, again with each heartbeat --> the target's election deposes this leader
//!      |   an election timeout after it was asked for
//!      v
//!   given up: this leader goes on
//! ```

use super::Leader;
use crate::admin::{RequestId, TransferError};
use crate::effect::Effect;
use crate::message::{MessageBody, TimeoutNowRequest};
use crate::mutants::{Mutant, is_planted};
use crate::node::Node;
use crate::progress::Progress;
use crate::types::{NodeId, Time};

/// A transfer of leadership under way.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Transfer {
    pub(crate) to: NodeId,
    /// Whom to tell what became of it.
    requests: Vec<RequestId>,
    /// When it is given up.
    pub(crate) deadline: Time,
    /// Whether the target was told to stand since the last heartbeat.
    told: bool,
}

impl Transfer {
    pub(crate) fn answer(self, node: &mut Node, result: Result<NodeId, TransferError>) {
        for id in self.requests {
            node.effect(Effect::Transferred { id, result });
        }
    }
}

impl Leader {
    pub(crate) fn transfer(&mut self, node: &mut Node, id: RequestId, to: Option<NodeId>) {
        let running = self.transfer.as_ref().map(|transfer| transfer.to);
        let result = match to.or(running).or_else(|| self.heir(node, |_| true)) {
            None => Err(TransferError::NoTarget),
            Some(to) if to == node.id => Ok(to),
            Some(to) if !is_voter(node, to) => Err(TransferError::NotAVoter(to)),
            Some(to) => return self.begin_transfer(node, id, to),
        };
        node.effect(Effect::Transferred { id, result });
    }

    fn begin_transfer(&mut self, node: &mut Node, id: RequestId, to: NodeId) {
        if let Some(running) = self.transfer.as_mut().filter(|running| running.to == to) {
            return running.requests.push(id);
        }
        self.end_transfer(node, TransferError::Replaced(to));
        let deadline = node.now + node.config.election_timeout;
        self.transfer = Some(Transfer { to, requests: vec![id], deadline, told: false });
    }

    /// Hands over without being asked to.
    pub(super) fn begin_own_transfer(&mut self, node: &Node, to: NodeId) {
        let deadline = node.now + node.config.election_timeout;
        self.transfer = Some(Transfer { to, requests: Vec::new(), deadline, told: false });
    }

    /// The voter that would take over soonest, of those that are heard, may stand, and pass: one with
    /// room on its disk, and with most of the log.
    pub(super) fn heir(&self, node: &Node, passes: impl Fn(&Progress) -> bool) -> Option<NodeId> {
        let (_, members) = node.membership()?;
        // While joint, one of the new configuration: the others are about to go.
        let voters = members.voters().iter().copied().filter(|id| *id != node.id);
        let peers = voters.filter_map(|id| Some((id, self.progress.get(&id)?)));
        let fit = peers
            .filter(|(id, peer)| self.hears(node, *id) && peer.disk.is_trusted() && passes(peer));
        // Of equal ones the lowest id, for no other reason than that it must be one.
        fit.rev().max_by_key(|(_, peer)| (!peer.disk_is_full, peer.match_index)).map(|(id, _)| id)
    }

    /// Tells a voter to stand for election at once. From here on this leader's lease is worth
    /// nothing, however the election ends: the message can't be called back.
    pub(crate) fn tell_to_stand(&mut self, node: &mut Node, to: NodeId) {
        self.lease.end();
        let request = TimeoutNowRequest { term: node.current_term() };
        node.send(to, MessageBody::TimeoutNowRequest(request));
    }

    /// To whom leadership is being handed over.
    pub(crate) fn transferring_to(&self) -> Option<NodeId> {
        self.transfer.as_ref().map(|transfer| transfer.to)
    }

    pub(super) fn is_handing_over(&self) -> bool {
        self.transfer.is_some() && !is_planted(Mutant::LeaseDuringTransfer)
    }

    /// The step's end: goes on with the transfer, or gives it up.
    pub(super) fn advance_transfer(&mut self, node: &mut Node) {
        let last = node.log.last().index;
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        let to = transfer.to;
        if !is_voter(node, to) {
            return self.end_transfer(node, TransferError::NotAVoter(to));
        }
        if node.now >= transfer.deadline {
            return self.end_transfer(node, TransferError::TimedOut(to));
        }
        // "The prior leader updates the target server's log to match its own": a target that lacks
        // an entry would disturb the cluster and not be elected. The usual replication does it, and
        // no new entries come in between.
        let has_all = self.progress.get(&to).is_some_and(|target| target.match_index >= last);
        // So that its clients learn what became of their writes, it first commits them, unless that
        // takes half of the time there is.
        let is_late = node.now + node.config.election_timeout / 2 >= transfer.deadline;
        let ready = has_all && (node.commit_index >= last || is_late);
        if !transfer.told && (ready || is_planted(Mutant::TimeoutNowTooEarly)) {
            transfer.told = true;
            self.tell_to_stand(node, to);
        }
    }

    /// A heartbeat is due: the message to the target may be lost.
    pub(super) fn tell_again(&mut self) {
        if let Some(transfer) = &mut self.transfer {
            transfer.told = false;
        }
    }

    fn end_transfer(&mut self, node: &mut Node, error: TransferError) {
        if let Some(transfer) = self.transfer.take() {
            if is_planted(Mutant::TransferNeverCleared) {
                let (requests, deadline) = (Vec::new(), Time(u64::MAX));
                self.transfer = Some(Transfer { requests, deadline, ..transfer.clone() });
            }
            transfer.answer(node, Err(error));
        }
    }
}

fn is_voter(node: &Node, id: NodeId) -> bool {
    node.membership().is_some_and(|(_, members)| members.is_voter(id))
}
