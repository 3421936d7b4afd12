//! The change of members that a leader runs, one committed step after another (§6), and the servers
//! that it sees off.
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
use crate::leader::{Leader, send_append};
use crate::membership::Membership;
use crate::message::{MessageBody, TimeoutNowRequest};
use crate::mutants::{Mutant, is_planted};
use crate::node::Node;
use crate::progress::Progress;
use crate::types::{Index, NodeId, Time};

/// For how many election timeouts a server that was removed is still told so.
const FAREWELL: u32 = 10;

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
    /// Servers that were members.
    leaving: BTreeMap<NodeId, Leaving>,
}

#[derive(Clone, Debug, Hash)]
struct Waiting {
    id: RequestId,
    answer: ChangeAnswer,
    /// Why the change was given up.
    given_up: Option<ChangeError>,
}

/// A server that is no member any more. It is sent entries until it has the one that says so and
/// knows that it is committed, or this is over: one that knows disturbs nobody.
#[derive(Clone, Debug, Hash)]
struct Leaving {
    entry: Index,
    until: Time,
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
            // "The new configuration's rules" may commit what the old ones did not.
            self.commit(node);
        }
        // Before an entry of its own term is committed, a leader can't know that the
        // configuration in force is: two leaders might then change the same one, each in its own
        // way (raft-dev, 2015).
        if node.commit_index < self.term_start && !is_planted(Mutant::ChangeBeforeOwnCommit) {
            return;
        }
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

    /// "As soon as a server adds the new configuration entry to its log, it uses that
    /// configuration" (§6).
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
        let ChangeRequest { id, changes, expected, answer } = request;
        let Some((index, members)) = node.membership().cloned() else {
            return Err(ChangeError::Noop);
        };
        let waiting = Waiting { id, answer, given_up: None };
        let is_running = members.goal().is_some() || index > node.commit_index;
        let goal = members.goal().unwrap_or(&members);
        let wanted = goal.changed_by(&changes)?;
        let before = node.membership_before_change();
        let is_expected = |current| expected.is_none_or(|expected| expected == current);
        if is_running && !is_planted(Mutant::SecondChangeAccepted) {
            let meant = is_expected(index) || before.is_some_and(|(index, _)| is_expected(*index));
            let back = before.is_some_and(|(_, before)| wanted == before.without_goal());
            let is_catching_up = members.goal().is_some() && members.voters_outgoing().is_none();
            if wanted != **goal && back && is_catching_up && meant {
                self.give_up(&ChangeError::TakenBack);
                self.changes.waiting.push(waiting);
                self.adopt(node, wanted);
                return Ok(());
            }
            if wanted != **goal {
                return Err(ChangeError::AnotherChange);
            }
            if before.is_some_and(|(_, old)| old.changed_by(&changes).as_ref() == Ok(&**old)) {
                return Err(ChangeError::Noop);
            }
            if meant {
                self.changes.waiting.push(waiting);
                return Ok(());
            }
        }
        if let Some(expected) = expected.filter(|expected| *expected != index) {
            return Err(ChangeError::OtherConfiguration { current: index, expected });
        }
        if wanted == *members {
            return Err(ChangeError::Noop);
        }
        self.check_operable(node, &members, &wanted)?;
        self.changes.waiting.push(waiting);
        let goal = Arc::new(wanted);
        let first = if goal.voters() == members.voters() {
            Membership::clone(&goal)
        } else {
            match self.catch_up(node, &members, &goal) {
                CatchingUp::Done if is_planted(Mutant::JointSkipped) => Membership::clone(&goal),
                CatchingUp::Done => members.joint_with(&goal),
                CatchingUp::Underway | CatchingUp::Silent(_) => members.catching_up(&goal),
            }
        };
        self.adopt(node, first);
        Ok(())
    }

    /// With check-quorum, a leader that hears too few voters steps down, and nobody could take its
    /// place. Those that are new are heard before they vote.
    fn check_operable(
        &self,
        node: &Node,
        members: &Membership,
        wanted: &Membership,
    ) -> Result<(), ChangeError> {
        let hears = |id| !members.is_voter(id) || id == node.id || self.hears(node, id);
        if !node.config.check_quorum
            || wanted.voters() == members.voters()
            || wanted.is_quorum(hears)
        {
            return Ok(());
        }
        let heard = wanted.voters().iter().filter(|id| hears(**id)).count();
        let too_few = Inoperable::TooFewHeard { voters: wanted.voters().len(), heard };
        Err(ChangeError::InoperableConfig(too_few))
    }

    fn hears(&self, node: &Node, id: NodeId) -> bool {
        let recently = |at| node.now.since(at) < node.config.election_timeout;
        self.progress.get(&id).is_some_and(|progress| recently(progress.last_contact))
    }

    /// Whether those that get a vote have caught up: else they "would not be able to commit new
    /// entries" (§6), and would hold up all others.
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

    /// Takes up those that the configuration in force makes members, and begins to see off those
    /// that are none any more.
    pub(super) fn follow_members(&mut self, node: &Node) {
        let Some((index, members)) = node.membership() else {
            return;
        };
        for id in node.peers() {
            // One that comes back is a new one: what it knew before may be gone.
            let is_back = self.changes.leaving.remove(&id).is_some();
            if is_back || !self.progress.contains_key(&id) {
                self.progress.insert(id, Progress::new(*index, node.now));
            }
        }
        let until = node.now + FAREWELL * node.config.election_timeout;
        for id in self.progress.keys().filter(|id| members.address(**id).is_none()) {
            self.changes.leaving.entry(*id).or_insert(Leaving { entry: *index, until });
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
        let until = node.now + FAREWELL * node.config.election_timeout;
        for id in gone.filter(|id| members.address(**id).is_none() && **id != node.id) {
            self.progress.entry(*id).or_insert_with(|| Progress::new(*index, node.now));
            self.changes.leaving.insert(*id, Leaving { entry: *index, until });
        }
    }

    /// Forgets those that have left: they have the entry that says so, and are told with a last
    /// heartbeat that it is committed; or they don't answer.
    pub(super) fn see_off(&mut self, node: &mut Node) {
        for (id, Leaving { entry, until }) in std::mem::take(&mut self.changes.leaving) {
            let Some(progress) = self.progress.get(&id) else {
                continue;
            };
            let knows = progress.match_index.min(node.commit_index) >= entry;
            if knows {
                send_append(node, id, progress, Arc::new([]), self.round);
            }
            if knows || node.now >= until {
                self.progress.remove(&id);
            } else {
                self.changes.leaving.insert(id, Leaving { entry, until });
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
        let voters = node.other_voters().into_iter().filter(|id| self.hears(node, *id));
        let stored = |id: &NodeId| self.progress.get(id).map(|progress| progress.match_index);
        if let Some(heir) = voters.max_by_key(stored) {
            let request = TimeoutNowRequest { term: node.current_term() };
            node.send(heir, MessageBody::TimeoutNowRequest(request));
        }
        true
    }

    /// Whether a configuration is committed, and nothing under way, in which this leader has no vote.
    fn is_out(&self, node: &Node) -> bool {
        node.membership().is_some_and(|(index, members)| {
            let is_committed = node.commit_index >= self.term_start.max(*index);
            is_committed && members.goal().is_none() && !members.is_voter(node.id)
        })
    }
}

/// The members as they were before the change under way. If that is no longer in the log, the new
/// ones stay as non-voters.
fn before_change(node: &Node, members: &Membership) -> Membership {
    let before = node.membership_before_change().map(|(_, before)| &**before);
    before.unwrap_or(members).without_goal()
}
