//! Which servers vote and what a majority of them is, counted anew here: the laws believe no core
//! (§6).

use std::collections::BTreeSet;
use std::sync::Arc;

use actix_raft_core::membership::Membership;
use actix_raft_core::types::{Index, NodeId};

use super::{Laws, Shadow, Step};

/// How many of the configurations that were in force last are remembered.
const REMEMBERED: usize = 16;

/// The sets of voters of which a majority must agree: one, or two while joint.
pub(crate) fn voter_sets(membership: &Membership) -> impl Iterator<Item = &BTreeSet<NodeId>> {
    [Some(membership.voters()), membership.voters_outgoing()].into_iter().flatten()
}

/// Whether those for whom `holds` is true are a majority of each set of voters.
pub(crate) fn is_quorum(membership: &Membership, holds: impl Fn(NodeId) -> bool) -> bool {
    voter_sets(membership).all(|set| is_majority(set, &holds))
}

/// Whether those for whom `holds` is true are a majority of these.
pub(crate) fn is_majority(set: &BTreeSet<NodeId>, holds: impl Fn(NodeId) -> bool) -> bool {
    set.iter().filter(|id| holds(**id)).count() * 2 > set.len()
}

/// All who have a vote.
pub(crate) fn voters(membership: &Membership) -> BTreeSet<NodeId> {
    voter_sets(membership).flatten().copied().collect()
}

/// Whether a server may stand: if it has a vote in the last configuration that it knows to be
/// committed, or in a later one. "A server that is not part of its own latest configuration should
/// still start new elections, as it might still be needed until the C_new entry is committed"
/// (diss. §4.2.2).
pub(super) fn may_stand(shadow: &Shadow, commit_index: Index) -> bool {
    let all: Vec<_> = shadow.live.memberships().collect();
    let later = all.partition_point(|(since, _)| *since <= commit_index);
    let counts = all.get(later.saturating_sub(1)..).unwrap_or_default();
    counts.iter().any(|(_, membership)| voters(membership).contains(&shadow.id))
}

impl Laws {
    /// Takes note of the configuration in force at a server, as a step begins or in the course of
    /// it.
    pub(super) fn in_force(&mut self, step: &Step<'_>, shadow: &Shadow) {
        let Some((index, membership)) = shadow.live.membership() else { return };
        self.lives[step.at].indexes.insert(*index);
        let is_last = |known: Option<&Arc<Membership>>| known == Some(membership);
        if !is_last(self.in_force.last()) {
            self.in_force.push(Arc::clone(membership));
        }
        let life = &mut self.lives[step.at];
        if !is_last(life.recent.back().map(|(_, membership)| membership)) {
            // One that comes back is a new one.
            let before = life.recent.back();
            let is_new =
                |id: &NodeId| before.is_some_and(|(_, before)| before.address(*id).is_none());
            for id in membership.members().keys().filter(|id| is_new(id)) {
                life.matched.remove(id);
                life.asked.remove(id);
                life.spoken.insert(*id, step.now);
            }
            // New voters count as heard when they come.
            life.configured = step.now;
            life.recent.push_back((self.steps, Arc::clone(membership)));
            if life.recent.len() > REMEMBERED {
                life.recent.pop_front();
            }
        }
    }

    /// Whether these are a quorum of a configuration that was in force in this step.
    pub(super) fn is_quorum(&self, holds: impl Fn(NodeId) -> bool) -> bool {
        self.in_force.iter().any(|membership| is_quorum(membership, &holds))
    }

    /// The configurations that were in force at a server since a step.
    pub(super) fn in_force_since(&self, at: usize, step: u64) -> Vec<Arc<Membership>> {
        let recent = &self.lives[at].recent;
        let until = recent.iter().skip(1).map(|(since, _)| *since).chain([u64::MAX]);
        let known = recent.iter().zip(until).filter(|(_, until)| *until >= step);
        known.map(|((_, membership), _)| Arc::clone(membership)).collect()
    }

    /// Whether a server was a member all through this step.
    pub(super) fn is_member(&self, id: NodeId) -> bool {
        self.in_force.iter().all(|membership| membership.address(id).is_some())
    }

    /// Those who have a vote and for whom `holds` is true, as the step ends.
    pub(super) fn voters_who(&self, holds: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
        let Some(membership) = self.in_force.last() else { return Vec::new() };
        voters(membership).into_iter().filter(|id| holds(*id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use actix_raft_core::membership::Address;

    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn a_joint_quorum_is_a_majority_of_either_set() {
        let members = (1..=5).map(|id| (NodeId(id), Address::default()));
        let outgoing = Some(ids(&[1, 2, 3]));
        let joint = Membership::joint(ids(&[3, 4, 5]), outgoing, members).unwrap();
        let quorum = |these: &[u64]| is_quorum(&joint, |id| ids(these).contains(&id));
        assert!(quorum(&[1, 3, 4]));
        assert!(quorum(&[1, 2, 4, 5]));
        assert!(!quorum(&[3, 4, 5]));
        assert!(!quorum(&[1, 2, 4]));
    }
}
