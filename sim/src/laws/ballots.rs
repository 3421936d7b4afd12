//! Laws of standing for election: who may, whom he asks, and who must not be refused.

use std::collections::BTreeSet;

use actix_raft_core::effect::Effect;
use actix_raft_core::event::Event;
use actix_raft_core::membership::Membership;
use actix_raft_core::message::{
    Message, MessageBody, VoteKind, VoteRefusal, VoteRequest, VoteResponse,
};
use actix_raft_core::status::{RoleName, Status};
use actix_raft_core::types::{HardState, NodeId, Time};

use super::memory::Life;
use super::{Broken, Laws, Shadow, Step, law, quorums};

impl Life {
    /// Notes an answer to a ballot, of which the first counts. One to an earlier ballot is none.
    pub(super) fn vote(&mut self, from: NodeId, response: &VoteResponse) {
        let answered = self.granted.contains(&from) || self.refused.contains(&from);
        if self.ballot == Some(response.round) && !answered {
            let votes = if response.vote_granted { &mut self.granted } else { &mut self.refused };
            votes.insert(from);
            if response.refusal == Some(VoteRefusal::Untrusted) {
                self.untrusted.insert(from);
            }
        }
    }

    fn forget_ballot(&mut self) {
        self.ballot = None;
        self.granted.clear();
        self.refused.clear();
        self.untrusted.clear();
    }
}

impl Laws {
    /// Notes a server's vote for itself. What it says of that waits for the disk, and by then a leader
    /// may have taken its vote away.
    pub(super) fn votes_for_itself(&mut self, step: &Step<'_>, shadow: &Shadow) {
        let HardState { current_term, voted_for, .. } = shadow.live.hard_state;
        if voted_for == Some(shadow.id) && quorums::may_stand(shadow, step.before.commit_index) {
            self.lives[step.at].stood_in = Some(current_term);
        }
    }

    /// A server begins an election: not before its patience ends, and with pre-votes only if a
    /// majority would vote for it.
    pub(super) fn stands(&mut self, step: &Step<'_>) -> Result<(), Broken> {
        let fired = fired(step);
        let Step { before, after, .. } = step;
        let waits = |role| matches!(role, RoleName::Follower | RoleName::NonVoter);
        // Alone in its cluster, a server stands as soon as that is formed.
        let forms = step.events.iter().any(|event| matches!(event, Event::Initialize { .. }));
        let told = self.is_told_to_stand(step);
        let asked = step.events.iter().any(|event| matches!(event, Event::TriggerElection { .. }));
        law!(
            fired || forms || told || asked || !waits(before.role) || waits(after.role),
            "a follower stands when its patience ends, not before (§5.2)",
            "{before} became {after}"
        );
        let enters = matches!(after.role, RoleName::Candidate | RoleName::Leader)
            && after.current_term > before.current_term;
        // Whom its leader has told to stand asks nobody first (diss. §3.10).
        if self.config(step).pre_vote && enters && !told {
            let granted = &self.lives[step.at].granted;
            law!(
                self.is_quorum(|id| id == after.id || granted.contains(&id))
                    || self.is_won_without_untrusted(step, false),
                "who stands was told by a majority that it would win (diss. §9.6)",
                "{after} stands, and was told so by {granted:?}"
            );
        }
        let is = |status: &Status| (status.role, status.current_term);
        if is_candidate(after.role) && is(before) != is(after) {
            self.lives[step.at].forget_ballot();
        }
        self.gives_up(step)
    }

    /// A candidate gives up when it can't win any more, and not before.
    fn gives_up(&self, step: &Step<'_>) -> Result<(), Broken> {
        let Step { before, after, .. } = step;
        let [Event::Receive(Message { body: MessageBody::VoteResponse(_), .. })] = step.events
        else {
            return Ok(());
        };
        let refused = &self.lives[step.at].refused;
        let is_lost = !self.is_quorum(|id| !refused.contains(&id))
            && !self.is_won_without_untrusted(step, true);
        law!(
            !is_candidate(after.role) || !is_lost,
            "who is outvoted gives up (§5.2)",
            "{after} goes on, refused by {refused:?}"
        );
        let gave_up = is_candidate(before.role)
            && !is_candidate(after.role)
            && after.role != RoleName::Leader
            && before.current_term == after.current_term;
        law!(
            !gave_up || is_lost,
            "who may still win does not give up (§5.2)",
            "{before} became {after}, refused by {refused:?}"
        );
        Ok(())
    }

    /// Whether all say yes but those who have forgotten, if these are too few to decide anything
    /// among themselves. `silent` is for those who have not answered.
    fn is_won_without_untrusted(&self, step: &Step<'_>, silent: bool) -> bool {
        let Life { granted, refused, untrusted, .. } = &self.lives[step.at];
        let agrees = |id: &NodeId| {
            let answered = granted.contains(id) || refused.contains(id);
            *id == step.after.id
                || granted.contains(id)
                || untrusted.contains(id)
                || (silent && !answered)
        };
        self.in_force.iter().any(|membership| {
            let forgot = |id: NodeId| untrusted.contains(&id);
            quorums::voters(membership).iter().all(agrees)
                && !quorums::is_quorum(membership, forgot)
        })
    }

    /// "Send RequestVote RPCs to all other servers" (Figure 2), and each ballot under a number of
    /// its own, so that its answers are told from those to another.
    pub(super) fn asks(&mut self, step: &Step<'_>) -> Result<(), Broken> {
        let requests = step.effects.iter().filter_map(|effect| match effect {
            Effect::Send(Message { to, body: MessageBody::VoteRequest(request), .. }) => {
                Some((*to, request))
            }
            _ => None,
        });
        // In the order in which they were held: several may have waited for one save.
        let mut ballots: Vec<(&VoteRequest, BTreeSet<NodeId>)> = Vec::new();
        for (to, request) in requests {
            match ballots.iter_mut().find(|(known, _)| known.round == request.round) {
                Some((_, asked)) => _ = asked.insert(to),
                None => ballots.push((request, [to].into())),
            }
        }
        let others = |membership: &Membership| {
            let mut others = quorums::voters(membership);
            others.remove(&step.after.id);
            others
        };
        for (request, asked) in ballots {
            let mut recent = self.lives[step.at].recent.iter();
            law!(
                recent.any(|(_, membership)| asked == others(membership)),
                "a candidate asks all voters (Figure 2)",
                "{} asks {asked:?}, and its configurations were {:?}",
                step.after,
                self.lives[step.at].recent
            );
            let life = &mut self.lives[step.at];
            law!(
                life.ballots.insert(request.round),
                "each ballot has a number of its own (diss. §9.6)",
                "{} asks under {} again",
                step.after,
                request.round
            );
            life.forget_ballot();
            life.ballot = Some(request.round);
        }
        Ok(())
    }

    /// A vote that nothing speaks against is given: else elections take for ever.
    pub(super) fn vote_is_due(
        &self,
        step: &Step<'_>,
        from: NodeId,
        request: &VoteRequest,
    ) -> Result<(), Broken> {
        let Step { before, after, .. } = step;
        let first = request.kind != VoteKind::PreVote
            && request.term == before.current_term
            && before.voted_for.is_none()
            && before.leader.is_none();
        let is_free = request.term > before.current_term || first;
        let is_led = before.role == RoleName::Leader || self.hears_leader(step, from);
        let is_bound = (self.config(step).check_quorum && is_led) || self.may_keep_promise(step);
        let excused = is_bound && request.kind != VoteKind::Transfer;
        if !is_free || excused || !before.trusted || request.last_log < before.last_log {
            return Ok(());
        }
        let refused = |effect: &Effect| match effect {
            Effect::Send(Message { to, body: MessageBody::VoteResponse(response), .. }) => {
                *to == from && response.round == request.round && !response.vote_granted
            }
            _ => false,
        };
        let given = match request.kind {
            // Its answer may still wait for a save.
            VoteKind::PreVote => !step.effects.iter().any(refused),
            VoteKind::Vote | VoteKind::Transfer => {
                (after.current_term, after.voted_for) == (request.term, Some(from))
            }
        };
        law!(
            given,
            "a vote that nothing speaks against is given (Figure 2)",
            "{before} became {after} by {:?} of {from}",
            request
        );
        Ok(())
    }

    /// Whether the leader that a server follows tells it to stand.
    fn is_told_to_stand(&self, step: &Step<'_>) -> bool {
        let known = self.leaders.get(&step.before.current_term);
        step.events.iter().any(|event| match event {
            Event::Receive(Message {
                from, body: MessageBody::TimeoutNowRequest(request), ..
            }) => {
                // What is heard before it in the same step may have told of the term.
                request.term >= step.before.current_term
                    && (known == Some(from) || self.leaders.get(&request.term) == Some(from))
            }
            _ => false,
        })
    }

    /// Where leases are on, whether a leader may rely on it that this server votes for nobody else:
    /// it was heard within an election timeout, or may have been before a restart (diss. §6.4.1).
    pub(super) fn keeps_promise(&self, step: &Step<'_>) -> bool {
        let (life, config) = (&self.lives[step.at], self.config(step));
        let lately = |since: Time| step.now.since(since) < config.election_timeout;
        let heard = life.heard.is_some_and(|(_, _, at)| lately(at));
        config.lease.is_some() && (heard || life.since.is_some_and(lately))
    }

    /// Whether it may have: what is heard in one step may have come in another order.
    pub(super) fn may_keep_promise(&self, step: &Step<'_>) -> bool {
        let (life, config) = (&self.lives[step.at], self.config(step));
        let obeyed = |since: Time| step.now.since(since) < config.election_timeout;
        self.keeps_promise(step) || (config.lease.is_some() && life.obeyed.is_some_and(obeyed))
    }

    /// Whether a server has heard the leader of its term, and not the one who asks, within the
    /// shortest election timeout.
    pub(super) fn hears_leader(&self, step: &Step<'_>, asks: NodeId) -> bool {
        self.lives[step.at].heard.is_some_and(|(term, leader, at)| {
            term == step.before.current_term
                && leader != asks
                && step.now.since(at) < self.config(step).election_timeout
        })
    }
}

fn is_candidate(role: RoleName) -> bool {
    matches!(role, RoleName::PreCandidate | RoleName::Candidate)
}

/// Whether the server's timer fired in this step.
pub(super) fn fired(step: &Step<'_>) -> bool {
    step.events.iter().any(|event| matches!(event, Event::Timeout))
        && step.deadlines.0.is_some_and(|deadline| deadline <= step.now)
}
