//! Which changes of the members the operator asks for: any that leave a majority which can come
//! back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix_raft_core::admin::{ChangeAnswer, MemberChange};
use actix_raft_core::entry::Entry;
use actix_raft_core::event::Event;
use actix_raft_core::membership::{Address, Membership};
use actix_raft_core::types::{Index, NodeId};

use super::World;
use super::operator::Open;
use crate::laws::quorums::{is_majority, voter_sets, voters};
use crate::laws::{Broken, Shadow, law};
use crate::workload::Workload;

/// How many of the memberships that were asked for may still come about, at the most.
const REMEMBERED: usize = 8;

impl<W: Workload> World<W> {
    /// The operator asks a server for a change, unless it still waits for another.
    pub(super) fn changes_members(&mut self, at: usize) {
        let patience = self.plan.config.election_timeout;
        if let Some(open) = &self.operator.open {
            let lives = self.lives(open.at, open.life);
            let insists = self.operator.dice.below(8) == 0;
            if lives && self.now.since(open.since) < patience * 100 && !insists {
                return;
            }
        }
        let Some((since, members)) = self.membership_of(at) else { return };
        let end = members.goal().unwrap_or(&members);
        let changes = self.some_changes(end);
        if let Some(goal) = changed(end, &changes) {
            if !self.can_live(&goal) {
                return;
            }
            self.remember(goal);
        }
        let dice = &mut self.operator.dice;
        let expected = match dice.below(10) {
            0 => Some(since.prev()),
            1..4 => Some(since),
            _ => None,
        };
        self.ask_for(at, changes, expected);
    }

    fn ask_for(&mut self, at: usize, changes: Vec<MemberChange>, expected: Option<Index>) {
        let answer = match self.operator.dice.below(2) {
            0 => ChangeAnswer::Joint,
            _ => ChangeAnswer::Final,
        };
        self.tell(|| format!("the operator asks server {}: {changes:?}", at + 1));
        let id = self.order(at, |id| Event::ChangeMembers { id, changes, expected, answer });
        let (life, since) = (self.servers[at].life, self.now);
        self.operator.open = id.map(|id| Open { at, life, id, since });
    }

    fn membership_of(&mut self, at: usize) -> Option<(Index, Arc<Membership>)> {
        self.servers[at].running()?.raft.membership().cloned()
    }

    fn remember(&mut self, goal: Membership) {
        self.operator.asked.push_back(goal);
        if self.operator.asked.len() > REMEMBERED {
            self.operator.asked.pop_front();
        }
    }

    /// One to three changes at once, now and then such as can't be done.
    fn some_changes(&mut self, members: &Membership) -> Vec<MemberChange> {
        let mut ids: Vec<NodeId> = (1..=self.servers.len() as u64).map(NodeId).collect();
        let count = 1 + self.operator.dice.place(3);
        let mut changes = Vec::new();
        while changes.len() < count && !ids.is_empty() {
            let id = ids.remove(self.operator.dice.place(ids.len()));
            changes.push(self.some_change(members, id));
        }
        let odd = self.operator.dice.below(24);
        match odd {
            0 => changes.extend(
                changes
                    .first()
                    .map(|change| MemberChange::Remove(crate::laws::requests::subject(change))),
            ),
            1 => changes = members.members().keys().copied().map(MemberChange::Remove).collect(),
            2 => changes = vec![MemberChange::Promote(NodeId(99))],
            3 => {
                changes = members
                    .voters()
                    .first()
                    .copied()
                    .map(MemberChange::Promote)
                    .into_iter()
                    .collect()
            }
            _ => {}
        }
        changes
    }

    fn some_change(&mut self, members: &Membership, id: NodeId) -> MemberChange {
        let known = members.address(id).cloned();
        let has_vote = voters(members).contains(&id);
        let few = voters(members).len() < 3;
        self.operator.moves += 1;
        let moved = Address::new(format!("server-{id}-{}", self.operator.moves), "");
        let address = known.clone().unwrap_or_else(|| Address::new(format!("server-{id}"), ""));
        match (known.is_some(), has_vote, self.operator.dice.below(10)) {
            (true, true, 0..4) if !few => MemberChange::Remove(id),
            (true, true, 4..6) if !few => MemberChange::Demote(id),
            (true, true, 0..8) => MemberChange::Move(id, moved),
            (true, true, _) => MemberChange::AddVoter(id, address),
            (true, false, 0..4) => MemberChange::Promote(id),
            (true, false, 4..6) => MemberChange::AddVoter(id, address),
            (true, false, 6..8) => MemberChange::Remove(id),
            (true, false, _) => MemberChange::Move(id, moved),
            (false, _, 0..7) => MemberChange::AddVoter(id, address),
            (false, _, 7..9) => MemberChange::AddNonVoter(id, address),
            (false, _, _) => MemberChange::Remove(id),
        }
    }

    /// Every membership that may be in force somewhere, or come into force.
    pub(super) fn possible_memberships(&self) -> Vec<Arc<Membership>> {
        let (latest, _) = self.committed_membership();
        let logs = self
            .shadows
            .iter()
            .flat_map(|shadow| shadow.live.memberships().chain(shadow.durable.memberships()));
        let known = logs.filter(|(since, _)| *since >= *latest).map(|(_, m)| m);
        let asked = self.operator.asked.iter().cloned().map(Arc::new);
        let first = Arc::clone(&self.committed_membership().1);
        let mut all: Vec<Arc<Membership>> = known.cloned().chain(asked).chain([first]).collect();
        let goals: Vec<Arc<Membership>> = all.iter().filter_map(|m| m.goal()).cloned().collect();
        all.extend(goals);
        all
    }

    /// The latest configuration that is known to be committed; the first, if none is.
    pub(super) fn committed_membership(&self) -> &(Index, Arc<Membership>) {
        // There is always the first.
        &self.laws.memberships()[self.laws.memberships().len() - 1]
    }

    /// Whether a server has lost what it had on its disk, or is about to.
    pub(super) fn is_unsound(&self, id: NodeId) -> bool {
        let Some(server) = self.servers.get(id.0 as usize - 1) else { return true };
        server.is_lost() || server.disk.flipped || server.flip.is_some()
    }

    /// Whether a majority of each set of voters keeps what it has.
    pub(super) fn can_live(&self, members: &Membership) -> bool {
        voter_sets(members).all(|set| is_majority(set, |id| !self.is_unsound(id)))
    }

    /// Whether a server can take part in decisions, now or when its fault has ended.
    pub(super) fn is_sound(&self, id: NodeId) -> bool {
        // Not one that lost its disk, or never had a log, before others have vouched for it.
        let told_apart = self.plan.disks_are_told_apart;
        let remembers = |shadow: &Shadow| shadow.durable.hard_state.trusted || !told_apart;
        !self.is_unsound(id) && self.shadows.get(id.0 as usize - 1).is_some_and(remembers)
    }

    fn can_live_without(&self, members: &Membership, without: NodeId) -> bool {
        let is_sound = |id: NodeId| id != without && self.is_sound(id);
        voter_sets(members).all(|set| is_majority(set, is_sound))
    }

    /// Whether the cluster can go on, whoever its members will be, if a server loses its disk.
    pub(super) fn may_lose(&self, at: usize) -> bool {
        let id = self.servers[at].id;
        self.possible_memberships().iter().all(|members| self.can_live_without(members, id))
    }

    /// Whether a server may lose its disk: all other voters have theirs and are trusted, and enough
    /// of them have all that was committed that nobody decides anything without one who has.
    pub(super) fn may_wipe(&self, at: usize) -> bool {
        let id = self.servers[at].id;
        let committed = self.laws.committed();
        let is_whole = |other: NodeId| {
            let shadow = &self.shadows[other.0 as usize - 1];
            let lacks = |entry: &Entry| !shadow.durable.holds(entry);
            other != id && !committed.iter().rev().any(lacks)
        };
        let memberships = self.possible_memberships();
        let is_trusted = |other: &NodeId| {
            let shadow = &self.shadows[other.0 as usize - 1];
            shadow.durable.hard_state.trusted && !self.is_unsound(*other)
        };
        let all_trusted = memberships
            .iter()
            .flat_map(|members| voters(members))
            .all(|other| other == id || is_trusted(&other));
        let enough = memberships.iter().flat_map(|members| voter_sets(members)).all(|set| {
            let others = set.iter().filter(|other| **other != id);
            others.clone().count() > 0
                && (is_majority(set, is_whole) || others.clone().all(|other| is_whole(*other)))
        });
        let is_formed = !committed.is_empty() && self.servers[at].is_up();
        let told_apart = self.plan.disks_are_told_apart;
        told_apart && is_formed && self.is_member(at) && all_trusted && enough
    }

    /// The members that the cluster is to have in the end.
    fn last_goal(&mut self) -> Option<Membership> {
        let mut ids: Vec<NodeId> = (1..=self.servers.len() as u64).map(NodeId).collect();
        ids.retain(|id| !self.is_unsound(*id));
        let count = 1 + self.operator.dice.place(ids.len().min(5));
        let mut take = |count: usize| -> Vec<NodeId> {
            let count = count.min(ids.len());
            (0..count).map(|_| ids.remove(self.operator.dice.place(ids.len()))).collect()
        };
        let voters = take(count);
        let others = take(1);
        let address = |id: &NodeId| (*id, Address::new(format!("server-{id}"), ""));
        let members: BTreeMap<NodeId, Address> =
            voters.iter().chain(&others).map(address).collect();
        Membership::new(voters, members).ok()
    }

    /// Whether enough voters are left that remember what they promised: others can't agree on anything,
    /// not even on other members.
    pub(super) fn can_agree(&self) -> bool {
        let (_, members) = self.committed_membership();
        voter_sets(members).all(|set| is_majority(set, |id| self.is_sound(id)))
    }

    /// When all is well, the members become what is asked for, with patience.
    pub(super) fn reaches_goal(&mut self) -> Result<(), Broken> {
        if !self.plan.changes() {
            return Ok(());
        }
        let Some(goal) = self.last_goal() else { return Ok(()) };
        self.tell(|| format!("in the end the members are to be {goal:?}"));
        let patience = self.plan.config.election_timeout;
        let end = self.now + self.bound() + self.plan.config.catch_up_timeout * 3 + patience * 60;
        self.operator.open = None;
        while self.now < end {
            let (_, committed) = self.committed_membership();
            if (**committed).clone().founded_on(goal.founders().clone()) == goal {
                return Ok(());
            }
            let leader = self.leader();
            let waits = self.operator.open.as_ref().is_some_and(|open| {
                self.lives(open.at, open.life) && self.now.since(open.since) < patience * 60
            });
            if let Some(leader) = leader.filter(|_| !waits)
                && let Some((_, members)) = self.membership_of(leader)
            {
                let changes = difference(members.goal().unwrap_or(&members), &goal);
                if !changes.is_empty() {
                    self.ask_for(leader, changes, None);
                }
            }
            self.run_until(self.now + patience / 2)?;
        }
        let servers = self.status().join(" | ");
        let (since, members) = self.committed_membership();
        law!(
            !self.can_agree(),
            "a healthy cluster gets the members that are asked for (§6)",
            "{goal:?} is asked for, and since {since} there is {members:?}: {servers}"
        );
        Ok(())
    }

    /// Whether a server is one of the members that are known to be agreed upon.
    pub(super) fn is_member(&self, at: usize) -> bool {
        self.committed_membership().1.address(self.servers[at].id).is_some()
    }
}

/// What the members will be after these changes; `None` if they can't all be done.
fn changed(members: &Membership, changes: &[MemberChange]) -> Option<Membership> {
    let mut voters: BTreeSet<NodeId> = members.voters().clone();
    let mut addresses: BTreeMap<NodeId, Address> = members.members().clone();
    for change in changes {
        match change {
            MemberChange::AddVoter(id, address) => {
                voters.insert(*id);
                addresses.insert(*id, address.clone());
            }
            MemberChange::AddNonVoter(id, address) | MemberChange::Move(id, address) => {
                addresses.insert(*id, address.clone());
            }
            MemberChange::Promote(id) => _ = voters.insert(*id),
            MemberChange::Demote(id) => _ = voters.remove(id),
            MemberChange::Remove(id) => {
                voters.remove(id);
                addresses.remove(id);
            }
        }
    }
    Membership::new(voters, addresses).ok()
}

/// The changes that lead from some members to others.
fn difference(from: &Membership, to: &Membership) -> Vec<MemberChange> {
    let mut changes = Vec::new();
    for (id, address) in to.members() {
        let is_voter = to.voters().contains(id);
        let was_voter = from.voters().contains(id);
        match (is_voter, was_voter, from.address(*id)) {
            (true, false, _) => changes.push(MemberChange::AddVoter(*id, address.clone())),
            (false, true, Some(known)) if known == address => {
                changes.push(MemberChange::Demote(*id));
            }
            // Moved at the next attempt.
            (false, true, _) => changes.push(MemberChange::Demote(*id)),
            (false, false, None) => changes.push(MemberChange::AddNonVoter(*id, address.clone())),
            (true, true, Some(known)) | (false, false, Some(known)) if known != address => {
                changes.push(MemberChange::Move(*id, address.clone()));
            }
            _ => {}
        }
    }
    let gone = from.members().keys().filter(|id| to.address(**id).is_none());
    changes.extend(gone.copied().map(MemberChange::Remove));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(voters: &[u64], others: &[u64]) -> Membership {
        let all = voters.iter().chain(others);
        let address = |id: &u64| (NodeId(*id), Address::new(format!("server-{id}"), ""));
        Membership::new(voters.iter().copied().map(NodeId), all.map(address)).unwrap()
    }

    #[test]
    fn the_difference_leads_there() {
        let (from, to) = (members(&[1, 2, 3], &[4, 5]), members(&[3, 4, 6], &[1, 7]));
        let changes = difference(&from, &to);
        assert_eq!(changed(&from, &changes), Some(to.clone()));
        assert!(difference(&to, &to).is_empty());
    }
}
