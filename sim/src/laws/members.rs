//! Laws of changes of the members (§6): which configuration may follow which, and when.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::membership::Membership;
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{Index, NodeId};

use super::quorums::{is_quorum, voter_sets, voters};
use super::{Broken, Laws, Shadow, Step, law};
use crate::coverage::{Coverage, Situation};

const ORDER_LAW: &str = "one change of the members at a time (§6)";
const STEP_LAW: &str = "voters change through a joint configuration (§6)";

impl Laws {
    /// A leader appends a configuration to its log; the shadow has the log before that.
    pub(super) fn configures(
        &self,
        step: &Step<'_>,
        entry: &Entry,
        shadow: &Shadow,
        coverage: &mut Coverage,
    ) -> Result<(), Broken> {
        let EntryPayload::ConfigChange(new) = &entry.payload else { return Ok(()) };
        let Step { after, .. } = step;
        let is_own = after.role == RoleName::Leader && entry.term == after.current_term;
        let Some((since, old)) = shadow.live.membership().filter(|_| is_own) else {
            return Ok(());
        };
        if entry.index == Index(1) {
            // The first leader writes down what it was told, and by whom it was elected.
            let told = (**new).clone().founded_on(old.founders().clone()) == **old;
            law!(told, STEP_LAW, "{after} was told of {old:?}, and appends {new:?}");
            return Ok(());
        }
        law!(
            new.founders() == old.founders(),
            "who formed a cluster never changes",
            "{after} appends {new:?} after {old:?}"
        );
        law!(
            *since <= after.commit_index,
            ORDER_LAW,
            "{after} appends a configuration at {}, and that of {since} is not committed",
            entry.index
        );
        law!(
            self.committed_in_own_term(step, shadow),
            "no change of the members before an entry of the own term is committed (§6)",
            "{after} appends a configuration at {}",
            entry.index
        );
        follows(old, new).map_err(|what| Broken { law: STEP_LAW, what })?;
        law!(
            !are_disjoint(old, new),
            "no two disjoint majorities (§6)",
            "{old:?} and {new:?} can decide each without the other"
        );
        if old.goal().is_some() && new.goal().is_none() && old.voters_outgoing().is_none() {
            self.gives_up_rightly(step, old, new)?;
        }
        note(old, new, after.id, coverage);
        Ok(())
    }

    /// A change is given up only if a new voter is not heard, or if it is taken back.
    fn gives_up_rightly(
        &self,
        step: &Step<'_>,
        old: &Membership,
        new: &Membership,
    ) -> Result<(), Broken> {
        let reached = old.goal().is_some_and(|goal| **goal == *new);
        let goal = old.goal().map_or_else(BTreeSet::new, |goal| voters(goal));
        let lost = goal.difference(&voters(old)).any(|id| self.was_silent(step, *id));
        law!(
            reached || lost || self.is_asked_for(step, new),
            "a change is given up only for a new voter that is not heard",
            "{} gives {:?} up",
            step.after,
            old.goal()
        );
        Ok(())
    }

    fn committed_in_own_term(&self, step: &Step<'_>, shadow: &Shadow) -> bool {
        let Step { after, .. } = step;
        // What is committed in this step may have been purged in it.
        let committed = self.committed.get(after.commit_index.prev().0 as usize);
        let term = shadow.live.term_at(after.commit_index);
        term.or(committed.map(|entry| entry.term)) == Some(after.current_term)
    }

    /// A run of entries is about to be stored, of which some may be configurations.
    pub(super) fn joined(
        &self,
        step: &Step<'_>,
        run: &[Entry],
        shadows: &[Shadow],
    ) -> Result<(), Broken> {
        let leads = step.after.role == RoleName::Leader;
        let Some(old) = shadows[step.at].live.membership().filter(|_| leads) else {
            return Ok(());
        };
        run.iter().try_for_each(|entry| self.new_voters_caught_up(entry, old, shadows))
    }

    /// Each new voter of a joint configuration has caught up before (diss. §4.2.1): it has all that
    /// was committed when the change began.
    pub(super) fn new_voters_caught_up(
        &self,
        entry: &Entry,
        old: &(Index, Arc<Membership>),
        shadows: &[Shadow],
    ) -> Result<(), Broken> {
        let EntryPayload::ConfigChange(new) = &entry.payload else { return Ok(()) };
        let (since, old) = old;
        let had_vote = voters(old);
        for id in voters(new).difference(&had_vote) {
            let last = shadows.iter().find(|s| s.id == *id).map(|s| s.durable.last().index);
            law!(
                last >= Some(*since),
                "a new voter catches up before it votes (diss. §4.2.1)",
                "{id} gets a vote at {}, and has the log up to {last:?} only; its change began at \
                 {since}",
                entry.index
            );
        }
        Ok(())
    }

    /// Every configuration that was ever committed, with its index; the first is that of which the
    /// cluster was formed.
    pub(crate) fn memberships(&self) -> &[(Index, Arc<Membership>)] {
        &self.memberships
    }

    /// The configuration that was in force at this index of the agreed log.
    pub(crate) fn membership_at(&self, index: Index) -> Option<&(Index, Arc<Membership>)> {
        let after = self.memberships.partition_point(|(since, _)| *since <= index);
        self.memberships.get(after.checked_sub(1)?)
    }

    /// An entry is committed that no one had committed before.
    pub(super) fn note_membership(&mut self, entry: &Entry) {
        if let EntryPayload::ConfigChange(membership) = &entry.payload {
            self.memberships.push((entry.index, Arc::clone(membership)));
        }
    }
}

/// Whether a configuration may come after another.
fn follows(old: &Membership, new: &Membership) -> Result<(), String> {
    let what = |why: &str| Err(format!("{why}: {old:?}, then {new:?}"));
    match (old.voters_outgoing(), new.voters_outgoing()) {
        (None, None) if old.voters() != new.voters() => what("the voters change in one step"),
        (None, Some(outgoing)) if outgoing != old.voters() => what("C_old is another"),
        (None, Some(_)) if new.goal().is_none_or(|goal| goal.voters() != new.voters()) => {
            what("a joint configuration leads nowhere else than to its goal")
        }
        (Some(_), Some(_)) => what("a joint configuration follows another"),
        (Some(_), None) if old.goal().is_none_or(|goal| **goal != *new) => {
            what("the goal was another")
        }
        (None | Some(_), None) | (None, Some(_)) => Ok(()),
    }
}

/// Whether there is a majority in one configuration without anyone of a majority in the other.
fn are_disjoint(old: &Membership, new: &Membership) -> bool {
    let all: Vec<NodeId> = voters(old).union(&voters(new)).copied().collect();
    (0..1u32 << all.len()).any(|some| {
        let is_in = |id: NodeId| {
            all.iter().position(|known| *known == id).is_some_and(|place| some >> place & 1 == 1)
        };
        is_quorum(old, is_in) && is_quorum(new, |id| !is_in(id))
    })
}

fn note(old: &Membership, new: &Membership, leader: NodeId, coverage: &mut Coverage) {
    let (before, now) = (voters(old), voters(new));
    if new.voters_outgoing().is_some() {
        coverage.note(Situation::JointBegan);
        let changed = voter_sets(new).flat_map(|set| set.symmetric_difference(new.voters()));
        if changed.count() > 1 {
            coverage.note(Situation::SeveralVotersChanged);
        }
        if !new.voters().contains(&leader) {
            coverage.note(Situation::LeaderRemoved);
        }
        return;
    }
    if old.voters_outgoing().is_some() {
        coverage.note(Situation::JointLeft);
    } else if new.goal().is_some() {
        coverage.note(Situation::CatchUpBegan);
    } else if old.goal().is_some() && before == now {
        coverage.note(Situation::ChangeGivenUp);
    }
    if old.members().iter().any(|(id, at)| new.address(*id).is_some_and(|now| now != at)) {
        coverage.note(Situation::MemberMoved);
    }
}

#[cfg(test)]
mod tests {
    use actix_raft_core::membership::Address;

    use super::*;

    fn of(ids: &[u64]) -> Membership {
        let members = (1..=7).map(|id| (NodeId(id), Address::default()));
        Membership::new(ids.iter().copied().map(NodeId), members).unwrap()
    }

    fn joint(new: &[u64], old: &[u64]) -> Membership {
        let (new, old) = (of(new), of(old));
        let members = new.members().clone();
        let both =
            Membership::joint(new.voters().iter().copied(), Some(old.voters().clone()), members);
        both.unwrap().on_the_way_to(Arc::new(new)).unwrap()
    }

    #[test]
    fn voters_change_by_way_of_a_joint_configuration_only() {
        let (old, new) = (of(&[1, 2, 3]), of(&[3, 4, 5]));
        let both = joint(&[3, 4, 5], &[1, 2, 3]);
        assert!(follows(&old, &new).is_err());
        assert!(follows(&old, &both).is_ok());
        assert!(follows(&both, &new).is_ok());
        assert!(follows(&both, &old).is_err());
        assert!(follows(&of(&[1, 2]), &both).is_err());
        assert!(are_disjoint(&old, &of(&[4, 5, 6])));
        assert!(are_disjoint(&of(&[1, 2, 3]), &of(&[1, 2, 3, 4, 5])));
        assert!(!are_disjoint(&old, &both) && !are_disjoint(&both, &new));
    }
}
