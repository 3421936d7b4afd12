//! Members that come and go: whom a leader takes up, whom it sees off, and how it goes itself (§6).

use std::sync::Arc;

use crate::leader::{Leader, send_append};
use crate::node::Node;
use crate::progress::{Pace, Progress};
use crate::types::{Index, Time};

/// For how many election timeouts a server that was removed is still told so.
const FAREWELL_TIMEOUTS: u32 = 10;

/// A server that is no member any more. It is sent entries until it has the one that says so and
/// knows that it is committed, or this is over: one that knows disturbs nobody.
#[derive(Clone, Debug, Hash)]
pub(super) struct Farewell {
    entry: Index,
    until: Time,
}

impl Leader {
    /// Takes up those that the configuration in force makes members, and begins to see off those
    /// that are none any more.
    pub(super) fn follow_members(&mut self, node: &Node) {
        let Some((index, members)) = node.membership() else {
            return;
        };
        for id in node.peers() {
            // One that comes back is a new one: what it knew before may be gone.
            let is_back = self.leaving.remove(&id).is_some();
            if is_back || !self.progress.contains_key(&id) {
                self.progress.insert(id, Progress::new(*index, node.now));
            }
        }
        let until = node.now + node.config.election_timeout.saturating_mul(FAREWELL_TIMEOUTS);
        for id in self.progress.keys().filter(|id| members.address(**id).is_none()) {
            self.leaving.entry(*id).or_insert(Farewell { entry: *index, until });
        }
    }

    /// A new leader sees off those whose removal it does not know to be committed: they may never
    /// have heard of it from the leader before.
    pub(super) fn see_off_found(&mut self, node: &Node) {
        let Some((index, members)) = node.membership().filter(|(i, _)| *i > node.commit_index)
        else {
            return;
        };
        let before = node.membership_before(*index).map(|(_, before)| before.members());
        let gone = before.into_iter().flat_map(|before| before.keys());
        let until = node.now + node.config.election_timeout.saturating_mul(FAREWELL_TIMEOUTS);
        for id in gone.filter(|id| members.address(**id).is_none() && **id != node.id) {
            self.progress.entry(*id).or_insert_with(|| Progress::new(*index, node.now));
            self.leaving.insert(*id, Farewell { entry: *index, until });
        }
    }

    /// Forgets those that have left: they have the entry that says so, and are told with a last
    /// heartbeat that it is committed; or they don't answer.
    pub(super) fn see_off(&mut self, node: &mut Node) {
        for (id, Farewell { entry, until }) in std::mem::take(&mut self.leaving) {
            let Some(progress) = self.progress.get(&id) else {
                continue;
            };
            let knows = progress.match_index.min(node.commit_index) >= entry;
            if knows {
                send_append(node, id, progress, Arc::new([]), self.round);
            }
            // To send it a snapshot would be too much of a courtesy.
            let lags = matches!(progress.pace, Pace::Snapshot(_));
            if knows || lags || node.now >= until {
                self.progress.remove(&id);
            } else {
                self.leaving.insert(id, Farewell { entry, until });
            }
        }
    }

    /// Whether this leader is one no longer: "the leader steps down (returns to follower state) once
    /// it has committed the C_new log entry" (§6), if it has no vote there. The others learn that
    /// it is committed, and the best of them need not wait for a timeout (diss. §3.10).
    pub(super) fn leaves_office(&mut self, node: &mut Node) -> bool {
        if !self.is_out(node) {
            return false;
        }
        for (to, progress) in &self.progress {
            send_append(node, *to, progress, Arc::new([]), self.round);
        }
        if let Some(heir) = self.heir(node, |_| true) {
            self.tell_to_stand(node, heir);
        }
        true
    }

    /// Whether a configuration is committed, and nothing under way, in which this leader has no vote.
    pub(super) fn is_out(&self, node: &Node) -> bool {
        node.membership().is_some_and(|(index, members)| {
            let is_committed = node.commit_index >= self.term_start.max(*index);
            is_committed && members.goal().is_none() && !members.is_voter(node.id)
        })
    }
}
