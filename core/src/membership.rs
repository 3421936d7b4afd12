//! Who belongs to the cluster, who of them votes, and what a majority of them is (§6).
//!
//! ```text
//!   voters_outgoing = None          voters_outgoing = Some(C_old)
//!   a majority of `voters`          a majority of `voters` (C_new)  AND  one of C_old
//! ```

mod change;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::mutants::{Mutant, is_planted};
use crate::types::{DiskId, NodeId};

/// Where a server is reached. The protocol carries it and never looks inside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address {
    /// Where the other servers reach it, such as `10.0.0.1:7001`.
    pub rpc: String,
    /// Where clients reach it, for redirects; empty if that means nothing to the application.
    pub client: String,
}

impl Address {
    /// An address from its parts.
    pub fn new(rpc: impl Into<String>, client: impl Into<String>) -> Address {
        Address { rpc: rpc.into(), client: client.into() }
    }
}

/// The members of a cluster: voters, and non-voters, which receive the log but count in no
/// majority. While a change is under way (joint consensus, §6) there are two sets of voters, and
/// every decision needs a majority of each.
///
/// ```text
///   C_old            C_old, new members          C_old and C_new          C_new
///   no goal    -->   as non-voters        -->    joint              -->   no goal
///                    goal: C_new                 goal: C_new
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Membership {
    voters: BTreeSet<NodeId>,
    voters_outgoing: Option<BTreeSet<NodeId>>,
    addresses: BTreeMap<NodeId, Address>,
    goal: Option<Arc<Membership>>,
    founders: BTreeMap<NodeId, DiskId>,
}

/// Why a set of members is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MembershipError {
    /// There is no voter, so nothing could ever be decided.
    #[error("a membership needs at least one voter")]
    NoVoter,
    /// A voter is not among the members, so no one could reach it.
    #[error("voter {0} has no address among the members")]
    UnknownVoter(NodeId),
    /// The goal of a change under way is itself a membership under way.
    #[error("the goal of a change of members is not final")]
    GoalNotFinal,
}

impl Membership {
    /// A membership that is not joint. `members` are all servers with their addresses; those not
    /// in `voters` are non-voters.
    ///
    /// # Errors
    /// If there is no voter, or one that is not a member.
    pub fn new(
        voters: impl IntoIterator<Item = NodeId>,
        members: impl IntoIterator<Item = (NodeId, Address)>,
    ) -> Result<Membership, MembershipError> {
        Membership::joint(voters, None, members)
    }

    /// A membership as it was stored or sent; joint if there are outgoing voters (C_old).
    ///
    /// # Errors
    /// If either set of voters is empty, or one of them is not a member.
    pub fn joint(
        voters: impl IntoIterator<Item = NodeId>,
        voters_outgoing: Option<BTreeSet<NodeId>>,
        members: impl IntoIterator<Item = (NodeId, Address)>,
    ) -> Result<Membership, MembershipError> {
        let voters: BTreeSet<NodeId> = voters.into_iter().collect();
        let addresses: BTreeMap<NodeId, Address> = members.into_iter().collect();
        for set in [Some(&voters), voters_outgoing.as_ref()].into_iter().flatten() {
            if set.is_empty() {
                return Err(MembershipError::NoVoter);
            }
            if let Some(id) = set.iter().find(|id| !addresses.contains_key(id)) {
                return Err(MembershipError::UnknownVoter(*id));
            }
        }
        Ok(Membership { voters, voters_outgoing, addresses, goal: None, founders: BTreeMap::new() })
    }

    /// The same members on their way to others: a change under way, which whoever leads brings to
    /// its end. The goal has the same founders, whatever it says.
    ///
    /// # Errors
    /// If the goal is itself on the way, or joint.
    pub fn on_the_way_to(self, goal: Arc<Membership>) -> Result<Membership, MembershipError> {
        if goal.goal.is_some() || goal.voters_outgoing.is_some() {
            return Err(MembershipError::GoalNotFinal);
        }
        // The cluster was founded by the same.
        let goal = match goal.founders == self.founders {
            true => goal,
            false => Arc::new(Membership::clone(&goal).founded_on(self.founders.clone())),
        };
        Ok(Membership { goal: Some(goal), ..self })
    }

    /// The same members, of a cluster that was formed by servers with these disks (see
    /// [`trust`](crate::trust)).
    #[must_use]
    pub fn founded_on(self, founders: BTreeMap<NodeId, DiskId>) -> Membership {
        Membership { founders, ..self }
    }

    /// The disks of the servers that formed the cluster, as far as they were told apart. Later
    /// changes of the members keep them.
    #[must_use]
    pub fn founders(&self) -> &BTreeMap<NodeId, DiskId> {
        &self.founders
    }

    /// The members that the change under way will end with; `None` if there is none.
    #[must_use]
    pub fn goal(&self) -> Option<&Arc<Membership>> {
        self.goal.as_ref()
    }

    /// The voters; while joint, those of the new configuration.
    #[must_use]
    pub fn voters(&self) -> &BTreeSet<NodeId> {
        &self.voters
    }

    /// The voters of the old configuration, while joint.
    #[must_use]
    pub fn voters_outgoing(&self) -> Option<&BTreeSet<NodeId>> {
        self.voters_outgoing.as_ref()
    }

    /// All members, voters or not, and where they are.
    #[must_use]
    pub fn members(&self) -> &BTreeMap<NodeId, Address> {
        &self.addresses
    }

    /// Where this member is reached.
    #[must_use]
    pub fn address(&self, id: NodeId) -> Option<&Address> {
        self.addresses.get(&id)
    }

    /// Whether this server has a vote, in either configuration while joint.
    #[must_use]
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voter_sets().any(|set| set.contains(&id))
    }

    /// The members that have no vote.
    pub fn non_voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.addresses.keys().copied().filter(|id| !self.is_voter(*id))
    }

    /// Whether those for whom `holds` is true are a majority (of both configurations while joint).
    #[must_use]
    pub fn is_quorum(&self, holds: impl Fn(NodeId) -> bool) -> bool {
        !self.voters.is_empty()
            && self.voter_sets().all(|set| {
                let count = set.iter().filter(|id| holds(**id)).count();
                count > set.len() / 2
                    || (2 * count == set.len() && is_planted(Mutant::ElectedByHalf))
            })
    }

    /// Whether every majority has one among it for whom `holds` is true: while joint, every majority
    /// of the old configuration, and every one of the new, for servers that don't know of the joint
    /// one yet, or that know of the final one, decide by one of them alone.
    #[must_use]
    pub fn meets_every_majority(&self, holds: impl Fn(NodeId) -> bool) -> bool {
        !self.voters.is_empty()
            && self.voter_sets().all(|set| {
                let without = set.iter().filter(|id| !holds(**id)).count();
                without <= set.len() / 2
            })
    }

    /// The greatest value that a quorum has reached, where `of` gives each voter's: with
    /// `match_index` it is the index that a majority stores (§5.3). The default if there is no
    /// voter.
    #[must_use]
    pub fn reached_by_quorum<T: Ord + Copy + Default>(&self, of: impl Fn(NodeId) -> T) -> T {
        self.reached_by_more_than(|size| size / 2, of)
    }

    /// The same for one server less than a majority: a planted bug.
    pub(crate) fn reached_by_too_few<T: Ord + Copy + Default>(
        &self,
        of: impl Fn(NodeId) -> T,
    ) -> T {
        self.reached_by_more_than(|size| (size / 2).saturating_sub(1), of)
    }

    /// This membership with a vote for all: a planted bug.
    pub(crate) fn with_all_voting(&self) -> Membership {
        Membership { voters: self.addresses.keys().copied().collect(), ..self.clone() }
    }

    fn reached_by_more_than<T: Ord + Copy + Default>(
        &self,
        count: impl Fn(usize) -> usize,
        of: impl Fn(NodeId) -> T,
    ) -> T {
        let reached = |set: &BTreeSet<NodeId>| {
            let mut values: Vec<T> = set.iter().map(|id| of(*id)).collect();
            values.sort_unstable_by(|a, b| b.cmp(a));
            values.get(count(set.len())).copied().unwrap_or_default()
        };
        self.voter_sets().map(reached).min().unwrap_or_default()
    }

    /// What it weighs against the limits on messages and memory, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let addresses = self.addresses.values().map(|a| a.rpc.len() + a.client.len() + 32);
        let goal = self.goal.as_ref().map_or(0, |goal| goal.weight());
        let founders = 16 * self.founders.len();
        founders
            + addresses.sum::<usize>()
            + self.voter_sets().map(|set| 8 * set.len()).sum::<usize>()
            + goal
    }

    fn voter_sets(&self) -> impl Iterator<Item = &BTreeSet<NodeId>> {
        [Some(&self.voters), self.voters_outgoing.as_ref()].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(ids: &BTreeSet<u64>) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    /// The same by trying all values: the greatest that more than half of each set have reached.
    fn plainly(sets: &[&BTreeSet<u64>], stored: &[u64]) -> u64 {
        let reached = |set: &BTreeSet<u64>, value: u64| {
            2 * set.iter().filter(|id| stored[**id as usize] >= value).count() > set.len()
        };
        (0..10).rfind(|value| sets.iter().all(|set| reached(set, *value))).unwrap_or(0)
    }

    proptest! {
        /// B 47: any sizes, any values, both halves of a joint configuration; non-voters don't count.
        #[test]
        fn a_quorum_is_a_majority_of_each_set_of_voters(
            new in prop::collection::btree_set(0u64..8, 1..8),
            old in prop::option::of(prop::collection::btree_set(0u64..8, 1..8)),
            stored in prop::collection::vec(0u64..10, 8),
        ) {
            let all = (0..8).map(|id| (NodeId(id), Address::default()));
            let membership = Membership::joint(ids(&new), old.as_ref().map(ids), all).unwrap();
            let sets: Vec<&BTreeSet<u64>> = [&new].into_iter().chain(&old).collect();
            let value = membership.reached_by_quorum(|id| stored[id.0 as usize]);
            prop_assert_eq!(value, plainly(&sets, &stored));
            for value in 0..10 {
                let are_quorum = membership.is_quorum(|id| stored[id.0 as usize] >= value);
                prop_assert_eq!(are_quorum, value <= plainly(&sets, &stored));
                // No set can do without them.
                let outsiders = |set: &&BTreeSet<u64>| {
                    set.iter().filter(|id| stored[**id as usize] < value).count() * 2 > set.len()
                };
                let meet_all = membership.meets_every_majority(|id| stored[id.0 as usize] >= value);
                prop_assert_eq!(meet_all, !sets.iter().any(outsiders));
            }
        }
    }

    #[test]
    fn a_goal_has_the_founders_of_the_members_on_their_way() {
        let members = |id| Membership::new([NodeId(id)], [(NodeId(id), Address::default())]);
        let founders = BTreeMap::from([(NodeId(1), DiskId(7))]);
        let now = members(1).unwrap().founded_on(founders.clone());
        // As it was stored or sent: a goal's founders are not written down again.
        let now = now.on_the_way_to(Arc::new(members(2).unwrap())).unwrap();
        assert_eq!(now.goal().unwrap().founders(), &founders);
    }

    #[test]
    fn without_voters_nothing_is_decided() {
        let nobody = Membership::default();
        assert!(!nobody.is_quorum(|_| true));
        assert_eq!(nobody.reached_by_quorum(|_| 7), 0);
        assert_eq!(Membership::new([], []), Err(MembershipError::NoVoter));
        let stranger = Membership::new([NodeId(1)], []);
        assert_eq!(stranger, Err(MembershipError::UnknownVoter(NodeId(1))));
    }
}
