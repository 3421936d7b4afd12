//! The change of members that a leader runs, one committed step after another (§6).
//!
//! ```text
//!   asked for --> new voters catch up --> joint --> final     each an entry, and the next one
//!                        |                                    only when this one is committed
//!                        +--> given up: the members before
//! ```
//!
//! What step comes next is told by the configuration in force alone. So whoever is elected in the
//! middle of a change goes on with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::admin::{ChangeAnswer, ChangeError, Changed, Inoperable, MemberChange, RequestId};
use crate::effect::Effect;
use crate::entry::EntryPayload;
use crate::leader::Leader;
use crate::membership::Membership;
use crate::mutants::{Mutant, is_planted};
use crate::node::Node;
use crate::types::{Index, NodeId, Time};

/// A change that an operator asks for.
#[derive(Clone, Debug, Hash)]
pub(crate) struct ChangeRequest {
    pub(crate) id: RequestId,
    pub(crate) changes: Vec<MemberChange>,
    pub(crate) expected: Option<Index>,
    pub(crate) answer: ChangeAnswer,
}

/// What a leader keeps about changes of members.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Changes {
    /// Requests that nobody has looked at yet.
    arrived: Vec<ChangeRequest>,
    /// Who wants to know what becomes of the change under way.
    waiting: Vec<Waiting>,
    /// How new voters catch up.
    rounds: BTreeMap<NodeId, Round>,
}

#[derive(Clone, Debug, Hash)]
struct Waiting {
    id: RequestId,
    answer: ChangeAnswer,
    /// Why the change was given up.
    given_up: Option<ChangeError>,
}

/// How a new voter catches up: "the replication of entries to the new server is split into rounds.
/// Each round replicates all the log entries present in the leader's log at the start of the round"
/// (diss. §4.2.1).
#[derive(Clone, Debug, Hash)]
struct Round {
    until: Index,
    begun: Time,
    /// Whether the last round took less than an election timeout: then little is lacking, and to
    /// wait for this server will hold up nobody for longer than an election would.
    was_short: bool,
}

impl Round {
    fn note(&mut self, match_index: Index, last: Index, now: Time, timeout: Duration) {
        let took = now.since(self.begun);
        if match_index >= self.until {
            *self = Round { until: last, begun: now, was_short: took < timeout };
        } else if took >= timeout {
            self.was_short = false;
        }
    }
}

/// Whether the new voters have caught up.
enum CatchingUp {
    Done,
    Underway,
    /// Nothing was heard of this one for too long.
    Silent(NodeId),
}

impl Leader {
    pub(crate) fn change_members(&mut self, request: ChangeRequest) {
        self.changes.arrived.push(request);
    }

    /// Takes the change under way as far as it goes now, and begins what was asked for.
    pub(super) fn change(&mut self, node: &mut Node) {
        while self.take_step(node) {
            // Under the new configuration, what the old one did not commit may be committed.
            self.commit(node);
        }
        // Before an entry of its own term is committed, a leader can't know that the
        // configuration in force is: two leaders might then change the same one, each in its own
        // way (raft-dev, 2015).
        if node.commit_index < self.term_start && !is_planted(Mutant::ChangeBeforeOwnCommit) {
            return;
        }
        // One that is out begins no change; the next leader may.
        if self.is_out(node) {
            return;
        }
        for request in std::mem::take(&mut self.changes.arrived) {
            let id = request.id;
            if let Err(error) = self.decide(node, request) {
                node.effect(Effect::MembersChanged { id, result: Err(error) });
            }
        }
    }

    /// Appends the next configuration of the change under way, if the one in force is committed.
    /// Returns whether it did.
    fn take_step(&mut self, node: &mut Node) -> bool {
        let Some((index, members)) = node.membership().cloned() else {
            return false;
        };
        let found = index < self.term_start;
        let settled = node.commit_index >= self.term_start.max(index)
            || (found && is_planted(Mutant::ChangeBeforeOwnCommit));
        if !settled || (found && is_planted(Mutant::ChangeForgottenByNextLeader)) {
            return false;
        }
        let next = match (members.goal(), members.voters_outgoing()) {
            (None, None) => {
                self.answer(node, Changed::Final { index });
                return false;
            }
            // "Once C_old,new has been committed ... it is now safe for the leader to create a log
            // entry describing C_new" (§6).
            (goal, Some(_)) => {
                self.answer(node, Changed::Joint { index });
                goal.map_or_else(|| members.without_goal(), |goal| Membership::clone(goal))
            }
            (Some(goal), None) => match self.catch_up(node, &members, goal) {
                CatchingUp::Done if is_planted(Mutant::JointSkipped) => Membership::clone(goal),
                CatchingUp::Done => members.joint_with(goal),
                CatchingUp::Underway => return false,
                CatchingUp::Silent(id) => {
                    self.give_up(&ChangeError::NotCaughtUp(id));
                    before_change(node, &members)
                }
            },
        };
        self.adopt(node, next);
        true
    }

    /// "Once a given server adds the new configuration entry to its log, it uses that configuration
    /// for all future decisions" (§6).
    fn adopt(&mut self, node: &mut Node, next: Membership) {
        self.changes.rounds.clear();
        self.append(node, [EntryPayload::ConfigChange(Arc::new(next))]);
    }

    fn give_up(&mut self, why: &ChangeError) {
        for waiting in &mut self.changes.waiting {
            waiting.given_up.get_or_insert_with(|| why.clone());
        }
    }

    /// Begins a change, joins the one under way, or says why not.
    fn decide(&mut self, node: &mut Node, request: ChangeRequest) -> Result<(), ChangeError> {
        let Some((index, members)) = node.membership().cloned() else {
            // Nobody leads who knows of no members.
            return Err(ChangeError::NotLeader { leader: None });
        };
        let is_running = members.goal().is_some() || index > node.commit_index;
        if is_running && !is_planted(Mutant::SecondChangeAccepted) {
            self.join(node, index, &members, request)
        } else {
            self.begin(node, index, &members, request)
        }
    }

    fn begin(
        &mut self,
        node: &mut Node,
        index: Index,
        members: &Arc<Membership>,
        request: ChangeRequest,
    ) -> Result<(), ChangeError> {
        let ChangeRequest { id, changes, expected, answer } = request;
        if let Some(expected) = expected.filter(|expected| *expected != index) {
            return Err(ChangeError::OtherConfiguration { current: index, expected });
        }
        let goal = Arc::new(members.goal().unwrap_or(members).changed_by(&changes)?);
        if goal == *members {
            return Err(ChangeError::Noop);
        }
        self.check_operable(node, members, &goal)?;
        self.changes.waiting.push(Waiting { id, answer, given_up: None });
        let first = if goal.voters() == members.voters() {
            Membership::clone(&goal)
        } else {
            match self.catch_up(node, members, &goal) {
                CatchingUp::Done if is_planted(Mutant::JointSkipped) => Membership::clone(&goal),
                CatchingUp::Done => members.joint_with(&goal),
                CatchingUp::Underway | CatchingUp::Silent(_) => members.catching_up(&goal),
            }
        };
        self.adopt(node, first);
        Ok(())
    }

    /// While a change is under way, another is refused: unless it asks for nothing else, or takes
    /// back what is not joint yet.
    fn join(
        &mut self,
        node: &mut Node,
        index: Index,
        members: &Arc<Membership>,
        request: ChangeRequest,
    ) -> Result<(), ChangeError> {
        let ChangeRequest { id, changes, expected, answer } = request;
        let goal = members.goal().unwrap_or(members);
        let wanted = match goal.changed_by(&changes) {
            Err(error @ ChangeError::Contradiction(_)) => return Err(error),
            Err(_) => return Err(ChangeError::AnotherChange),
            Ok(wanted) => wanted,
        };
        let (begun_at, before) = match node.membership_before_change() {
            Some((index, before)) => (Some(*index), Some(before.without_goal())),
            None => (None, None),
        };
        let is_catching_up = members.goal().is_some() && members.voters_outgoing().is_none();
        let takes_back = is_catching_up && before.as_ref() == Some(&wanted);
        if wanted != **goal && !takes_back {
            return Err(ChangeError::AnotherChange);
        }
        let is_noop = |before: &Membership| before.changed_by(&changes).as_ref() == Ok(before);
        if !takes_back && before.as_ref().is_some_and(is_noop) {
            return Err(ChangeError::Noop);
        }
        // Who expects the configuration that the change began with asks for the same again.
        if let Some(expected) = expected.filter(|at| *at != index && Some(*at) != begun_at) {
            return Err(ChangeError::OtherConfiguration { current: index, expected });
        }
        if takes_back {
            self.give_up(&ChangeError::TakenBack);
            self.adopt(node, wanted);
        }
        self.changes.waiting.push(Waiting { id, answer, given_up: None });
        Ok(())
    }

    /// With check-quorum, a leader that hears too few voters steps down, and nobody could take its
    /// place. Those that are new are heard before they vote. One that lost its disk is as good as
    /// not heard: if too few others stay, nobody could vouch for it.
    fn check_operable(
        &self,
        node: &Node,
        members: &Membership,
        wanted: &Membership,
    ) -> Result<(), ChangeError> {
        let counts = |id| self.progress.get(&id).is_some_and(|progress| progress.disk.counts());
        let is_heard = |id| counts(id) && (self.hears(node, id) || !node.config.check_quorum);
        let hears = |id| !members.is_voter(id) || id == node.id || is_heard(id);
        if wanted.voters() == members.voters() || wanted.is_quorum(hears) {
            return Ok(());
        }
        let heard = wanted.voters().iter().filter(|id| hears(**id)).count();
        let too_few = Inoperable::TooFewHeard { voters: wanted.voters().len(), heard };
        Err(ChangeError::InoperableConfig(too_few))
    }

    pub(super) fn hears(&self, node: &Node, id: NodeId) -> bool {
        let recently = |at| node.now.since(at) < node.config.election_timeout;
        self.progress.get(&id).is_some_and(|progress| recently(progress.last_contact))
    }

    /// Whether those that get a vote have caught up: else "it could take quite a while for them to
    /// catch up, during which time it might not be possible to commit new log entries" (§6).
    fn catch_up(&mut self, node: &Node, members: &Membership, goal: &Membership) -> CatchingUp {
        let (last, now) = (node.log.last().index, node.now);
        let timeout = node.config.election_timeout;
        let mut found = CatchingUp::Done;
        if is_planted(Mutant::PromotedUnready) {
            return found;
        }
        for id in goal.voters_not_in(members) {
            let Some(progress) = self.progress.get(&id) else {
                // A leader without a vote, which is to get it back, has all that there is.
                if id != node.id {
                    found = CatchingUp::Underway;
                }
                continue;
            };
            let new = Round { until: last, begun: now, was_short: false };
            let round = self.changes.rounds.entry(id).or_insert(new);
            round.note(progress.match_index, last, now, timeout);
            // A vote for one that may not use it would hold up all others likewise.
            let is_ready = round.was_short && progress.disk.is_trusted();
            if now.since(progress.last_contact) >= node.config.catch_up_timeout {
                return CatchingUp::Silent(id);
            }
            if !is_ready || !self.hears(node, id) {
                found = CatchingUp::Underway;
            }
        }
        found
    }

    /// Tells those who waited for this.
    fn answer(&mut self, node: &mut Node, changed: Changed) {
        let is_final = matches!(changed, Changed::Final { .. });
        for waiting in std::mem::take(&mut self.changes.waiting) {
            if !is_final && waiting.answer == ChangeAnswer::Final {
                self.changes.waiting.push(waiting);
                continue;
            }
            let result = waiting.given_up.map_or(Ok(changed), Err);
            node.effect(Effect::MembersChanged { id: waiting.id, result });
        }
    }

    /// Nobody hears any more what becomes of the changes that were asked for.
    pub(super) fn abandon_changes(&mut self, node: &mut Node, leader: Option<NodeId>) {
        for request in self.changes.arrived.drain(..) {
            let result = Err(ChangeError::NotLeader { leader });
            node.effect(Effect::MembersChanged { id: request.id, result });
        }
        for waiting in self.changes.waiting.drain(..) {
            let result = Err(ChangeError::OutcomeUnknown);
            node.effect(Effect::MembersChanged { id: waiting.id, result });
        }
    }
}

/// The members as they were before the change under way. If that is no longer in the log, the new
/// ones stay as non-voters.
fn before_change(node: &Node, members: &Membership) -> Membership {
    let before = node.membership_before_change().map(|(_, before)| &**before);
    before.unwrap_or(members).without_goal()
}
