//! For people: how a server sees its peers, why there is no leader, why a write waits.

use std::collections::BTreeMap;

use super::{Raft, Role};
use crate::candidate::Vote;
use crate::mutants::{Mutant, is_planted};
use crate::status::{Explanation, NotStanding, PeerStatus};
use crate::types::NodeId;

impl Raft {
    /// The peers in this leader's eyes; none on a server that does not lead.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        match &self.role {
            Role::Leader(leader) => leader.peers(),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => Vec::new(),
        }
    }

    /// Why there is no leader, or why a write waits, as far as this server knows.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let mut explanation =
            Explanation { disk_busy_for: self.node.disk_busy_for(), ..Explanation::default() };
        match &self.role {
            Role::Leader(leader) => {
                let last = self.node.log.last().index;
                let voters = self.node.other_voters();
                let lags = |peer: &PeerStatus| {
                    voters.contains(&peer.id) && (peer.match_index < last || !peer.counts)
                };
                explanation.lagging = leader.peers().into_iter().filter(lags).collect();
            }
            Role::PreCandidate(candidate) | Role::Candidate(candidate) => {
                explanation.votes = self.votes(&candidate.answers());
            }
            Role::Follower(follower) if follower.hears_leader(&self.node) => {}
            Role::Follower(_) => {
                explanation.votes = self.last_ballot.as_ref().map_or(Vec::new(), |b| self.votes(b));
                let otherwise = match self.node.stands_by_itself() {
                    true => NotStanding::Waiting,
                    false => NotStanding::Disabled,
                };
                explanation.not_standing = Some(self.obstacle().unwrap_or(otherwise));
            }
        }
        explanation
    }

    fn votes(&self, answers: &BTreeMap<NodeId, Vote>) -> Vec<(NodeId, Option<Vote>)> {
        let voters = self.node.other_voters().into_iter();
        voters.map(|id| (id, answers.get(&id).copied())).collect()
    }

    /// Why this server could not stand for election now.
    pub(super) fn obstacle(&self) -> Option<NotStanding> {
        if self.node.membership().is_none() {
            return Some(NotStanding::NoCluster);
        }
        if !self.node.may_stand() {
            return Some(NotStanding::NonVoter);
        }
        if !self.node.may_be_elected() {
            return Some(NotStanding::Untrusted);
        }
        // It lacks committed entries, so nobody would elect it, and its state is about to change.
        if self.node.receiving.is_installing() && !is_planted(Mutant::CandidateWhileInstalling) {
            return Some(NotStanding::InstallingSnapshot);
        }
        self.node.disk_hangs().then_some(NotStanding::DiskBusy)
    }
}
