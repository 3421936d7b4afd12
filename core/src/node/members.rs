//! What a server knows of configurations before the one in force, and whether it may stand (§6).

use std::sync::Arc;

use crate::membership::Membership;
use crate::mutants::{Mutant, is_planted};
use crate::node::Node;
use crate::types::Index;

impl Node {
    /// The configuration that was in force before the one of this index, if it is still known.
    pub(crate) fn membership_before(&self, index: Index) -> Option<&(Index, Arc<Membership>)> {
        self.memberships.iter().rfind(|(before, _)| *before < index)
    }

    /// The configuration in force before the change that led, or leads, to the present one, if it
    /// is still known.
    pub(crate) fn membership_before_change(&self) -> Option<&(Index, Arc<Membership>)> {
        let before = self.memberships.iter().rev().skip(1);
        before.into_iter().find(|(_, members)| members.goal().is_none())
    }

    /// Whether this server may stand for election: if it is a voter of the last configuration that
    /// it knows to be committed, or of a later one. "A server that is not part of its own latest
    /// configuration should still start new elections, as it might still be needed until the C_new
    /// entry is committed" (diss. §4.2.2); it does not count itself.
    pub(crate) fn may_stand(&self) -> bool {
        if is_planted(Mutant::RemovedServerStands) {
            return self.memberships.iter().any(|(_, members)| members.is_voter(self.id));
        }
        for (index, members) in self.memberships.iter().rev() {
            if members.is_voter(self.id) || *index <= self.commit_index {
                return members.is_voter(self.id);
            }
        }
        false
    }
}
