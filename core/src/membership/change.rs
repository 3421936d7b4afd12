//! From one set of members to another: what a list of changes comes to, and the configurations on
//! the way there (§6).
//!
//! ```text
//!   C_old.changed_by(changes) = C_new, the goal
//!
//!   the voters stay the same:  C_old ---------------------------------------------> C_new
//!   they don't:                C_old --> catching_up --> joint (C_old and C_new) --> C_new
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::admin::{ChangeError, Inoperable, MemberChange};
use crate::membership::{Address, Membership, MembershipError};
use crate::types::NodeId;

/// What all changes together want of one server.
#[derive(Default)]
struct Wish {
    /// Whether it is to be a member, if that may change.
    stays: Option<bool>,
    /// Whether it is to vote, if that may change.
    votes: Option<bool>,
    address: Option<Address>,
}

impl Wish {
    fn of(change: &MemberChange) -> (NodeId, Wish) {
        let wish = |stays, votes, address: Option<&Address>| {
            let address = address.cloned();
            Wish { stays, votes, address }
        };
        match change {
            MemberChange::AddVoter(id, at) => (*id, wish(Some(true), Some(true), Some(at))),
            MemberChange::AddNonVoter(id, at) => (*id, wish(Some(true), None, Some(at))),
            MemberChange::Promote(id) => (*id, wish(None, Some(true), None)),
            MemberChange::Demote(id) => (*id, wish(None, Some(false), None)),
            MemberChange::Move(id, at) => (*id, wish(None, None, Some(at))),
            MemberChange::Remove(id) => (*id, wish(Some(false), None, None)),
        }
    }

    /// Both wishes at once; `None` if they contradict each other.
    fn and(self, other: Wish) -> Option<Wish> {
        let wish = Wish {
            stays: agree(self.stays, other.stays)?,
            votes: agree(self.votes, other.votes)?,
            address: agree(self.address, other.address)?,
        };
        let goes = wish.stays == Some(false);
        (!goes || (wish.votes.is_none() && wish.address.is_none())).then_some(wish)
    }
}

/// The one value that both want; `None` if they want two.
fn agree<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<Option<T>> {
    match (one, other) {
        (Some(one), Some(other)) => (one == other).then_some(Some(one)),
        (one, other) => Some(one.or(other)),
    }
}

impl Membership {
    /// The members after all of these changes, done as one; their order does not matter. What a
    /// change asks for and is so already stays as it is.
    ///
    /// # Errors
    /// If two of the changes contradict each other, one is about a server that is no member, or
    /// nobody would vote.
    pub fn changed_by(&self, changes: &[MemberChange]) -> Result<Membership, ChangeError> {
        let mut wishes: BTreeMap<NodeId, Wish> = BTreeMap::new();
        for change in changes {
            let (id, wish) = Wish::of(change);
            let so_far = wishes.remove(&id).unwrap_or_default();
            wishes.insert(id, so_far.and(wish).ok_or(ChangeError::Contradiction(id))?);
        }
        let mut changed = self.without_goal();
        for (id, Wish { stays, votes, address }) in wishes {
            if stays == Some(false) {
                changed.voters.remove(&id);
                changed.addresses.remove(&id);
                continue;
            }
            if stays.is_none() && !changed.addresses.contains_key(&id) {
                return Err(ChangeError::NotAMember(id));
            }
            match votes {
                Some(true) => drop(changed.voters.insert(id)),
                Some(false) => drop(changed.voters.remove(&id)),
                None => {}
            }
            changed.addresses.extend(address.map(|address| (id, address)));
        }
        if changed.voters.is_empty() {
            let nobody = Inoperable::Membership(MembershipError::NoVoter);
            return Err(ChangeError::InoperableConfig(nobody));
        }
        Ok(changed)
    }

    /// The servers that this membership lets vote and the other does not.
    pub(crate) fn voters_not_in<'a>(
        &'a self,
        other: &'a Membership,
    ) -> impl Iterator<Item = NodeId> + 'a {
        self.voters.difference(&other.voters).copied()
    }

    /// The first step to a goal: all its members receive the log, and the voters are as before.
    pub(crate) fn catching_up(&self, goal: &Arc<Membership>) -> Membership {
        Membership {
            voters: self.voters.clone(),
            voters_outgoing: None,
            addresses: self.addresses_with(goal),
            goal: Some(Arc::clone(goal)),
            founders: self.founders.clone(),
        }
    }

    /// The second step: decisions need a majority of the old voters and one of the goal's.
    pub(crate) fn joint_with(&self, goal: &Arc<Membership>) -> Membership {
        Membership {
            voters: goal.voters.clone(),
            voters_outgoing: Some(self.voters.clone()),
            addresses: self.addresses_with(goal),
            goal: Some(Arc::clone(goal)),
            founders: self.founders.clone(),
        }
    }

    /// The same members with nowhere to go: in a joint configuration, the new voters alone.
    pub(crate) fn without_goal(&self) -> Membership {
        Membership { voters_outgoing: None, goal: None, ..self.clone() }
    }

    fn addresses_with(&self, goal: &Membership) -> BTreeMap<NodeId, Address> {
        let mut addresses = self.addresses.clone();
        addresses.extend(goal.addresses.iter().map(|(id, address)| (*id, address.clone())));
        addresses
    }

    /// This membership with the voters of both configurations in one set: a planted bug.
    pub(crate) fn with_one_majority(&self) -> Membership {
        let voters: BTreeSet<NodeId> = self.voter_sets().flatten().copied().collect();
        Membership { voters, voters_outgoing: None, ..self.clone() }
    }

    /// This membership with a vote for this server: a planted bug.
    pub(crate) fn with_voter(&self, id: NodeId) -> Membership {
        let mut with = self.clone();
        with.voters.insert(id);
        with
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::admin::MemberChange::*;

    fn id(id: u64) -> NodeId {
        NodeId(id)
    }

    fn home(id: u64) -> Address {
        Address::new(format!("home-{id}"), "")
    }

    fn away(id: u64) -> Address {
        Address::new(format!("away-{id}"), "")
    }

    /// Voters 1, 2, 3 and the non-voter 4, all at home.
    fn members() -> Membership {
        Membership::new([1, 2, 3].map(id), [1, 2, 3, 4].map(|n| (id(n), home(n)))).unwrap()
    }

    fn changed(changes: &[MemberChange]) -> Result<Membership, ChangeError> {
        members().changed_by(changes)
    }

    fn of(voters: &[u64], homes: &[(u64, Address)]) -> Membership {
        let homes = homes.iter().map(|(n, address)| (id(*n), address.clone()));
        Membership::new(voters.iter().copied().map(id), homes).unwrap()
    }

    #[test]
    fn each_change_does_what_it_says() {
        let homes = |ids: &[u64]| ids.iter().map(|n| (*n, home(*n))).collect::<Vec<_>>();
        let all = homes(&[1, 2, 3, 4, 5]);
        for (change, voters, homes) in [
            (AddVoter(id(5), home(5)), &[1, 2, 3, 5][..], all.clone()),
            (AddVoter(id(4), home(4)), &[1, 2, 3, 4], homes(&[1, 2, 3, 4])),
            (AddNonVoter(id(5), home(5)), &[1, 2, 3], all),
            (Promote(id(4)), &[1, 2, 3, 4], homes(&[1, 2, 3, 4])),
            (Demote(id(3)), &[1, 2], homes(&[1, 2, 3, 4])),
            (Remove(id(3)), &[1, 2], homes(&[1, 2, 4])),
            (Remove(id(4)), &[1, 2, 3], homes(&[1, 2, 3])),
        ] {
            assert_eq!(
                changed(std::slice::from_ref(&change)),
                Ok(of(voters, &homes)),
                "{change:?}"
            );
        }
        for change in [Move(id(4), away(4)), AddNonVoter(id(4), away(4))] {
            let moved = changed(&[change]).unwrap();
            assert_eq!((moved.voters.len(), moved.address(id(4))), (3, Some(&away(4))));
        }
        // Asked to be a non-voter, a voter stays one, at its new address.
        for change in [AddNonVoter(id(3), away(3)), AddVoter(id(3), away(3))] {
            let moved = changed(&[change]).unwrap();
            assert_eq!((moved.voters.len(), moved.address(id(3))), (3, Some(&away(3))));
        }
    }

    #[test]
    fn what_is_so_already_changes_nothing() {
        for changes in [
            &[][..],
            &[AddVoter(id(3), home(3)), AddVoter(id(3), home(3)), Promote(id(1))],
            &[AddNonVoter(id(4), home(4)), Demote(id(4)), Move(id(4), home(4))],
            &[AddNonVoter(id(3), home(3))],
            &[Remove(id(9)), Remove(id(9))],
        ] {
            assert_eq!(changed(changes), Ok(members()), "{changes:?}");
        }
    }

    #[test]
    fn changes_of_one_server_are_joined_or_contradict_each_other() {
        let joined = changed(&[Move(id(4), away(4)), Promote(id(4))]).unwrap();
        assert_eq!((joined.is_voter(id(4)), joined.address(id(4))), (true, Some(&away(4))));
        let joined = changed(&[Promote(id(5)), AddNonVoter(id(5), home(5))]).unwrap();
        assert!(joined.is_voter(id(5)));
        for changes in [
            [AddVoter(id(5), home(5)), AddVoter(id(5), away(5))],
            [AddVoter(id(3), home(3)), Remove(id(3))],
            [Remove(id(3)), Demote(id(3))],
            [Move(id(3), away(3)), Remove(id(3))],
            [Promote(id(3)), Demote(id(3))],
        ] {
            let contradiction = Err(ChangeError::Contradiction(match changes[0] {
                AddVoter(id, _) | Remove(id) | Move(id, _) | Promote(id) => id,
                _ => unreachable!("no case begins so"),
            }));
            assert_eq!(changed(&changes), contradiction, "{changes:?}");
        }
    }

    #[test]
    fn strangers_are_not_changed_and_someone_must_vote() {
        for change in [Promote(id(9)), Demote(id(9)), Move(id(9), home(9))] {
            assert_eq!(changed(&[change]), Err(ChangeError::NotAMember(id(9))));
        }
        let nobody = Inoperable::Membership(MembershipError::NoVoter);
        let nobody = Err(ChangeError::InoperableConfig(nobody));
        assert_eq!(changed(&[Remove(id(1)), Demote(id(2)), Remove(id(3))]), nobody);
        assert!(changed(&[Remove(id(1)), Demote(id(2)), Remove(id(3)), Promote(id(4))]).is_ok());
    }

    proptest! {
        /// §6: any two majorities on the way share a server, however far the steps have come.
        #[test]
        fn the_steps_of_a_change_never_allow_two_disjoint_majorities(
            old in prop::collection::btree_set(1u64..7, 1..5),
            new in prop::collection::btree_set(1u64..7, 1..5),
            yes in prop::collection::btree_set(1u64..7, 0..7),
        ) {
            let of = |ids: &BTreeSet<u64>| {
                Membership::new(ids.iter().copied().map(id), ids.iter().map(|n| (id(*n), home(*n))))
            };
            let (old, goal) = (of(&old).unwrap(), Arc::new(of(&new).unwrap()));
            let catching_up = old.catching_up(&goal);
            let joint = catching_up.joint_with(&goal);
            let steps = [old, catching_up, joint, Arc::unwrap_or_clone(goal)];
            for (step, next) in steps.iter().zip(&steps[1..]) {
                let one = step.is_quorum(|id| yes.contains(&id.0));
                let other = next.is_quorum(|id| !yes.contains(&id.0));
                prop_assert!(!one || !other, "{step:?} {next:?} {yes:?}");
            }
        }
    }
}
