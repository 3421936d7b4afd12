//! Laws of a step with a single event: what that may change.

use actix_raft_core::effect::Effect;
use actix_raft_core::event::Event;
use actix_raft_core::message::{
    AppendEntriesRequest, AppendOutcome, InstallOutcome, Message, MessageBody, VoteKind,
    VoteRequest,
};
use actix_raft_core::status::{RoleName, Status};
use actix_raft_core::types::{Index, NodeId, Term};

use super::{Broken, Laws, Shadow, Step, law};
use crate::coverage::{Coverage, Situation};

impl Laws {
    /// Notes a message that a server has heard.
    pub(super) fn received(&mut self, step: &Step<'_>, message: &Message) {
        let life = &mut self.lives[step.at];
        match &message.body {
            MessageBody::AppendEntriesRequest(request) => {
                let told = life.told.entry(request.term).or_default();
                *told = (*told).max(end_of(request));
                if request.term >= step.before.current_term {
                    life.obeyed = Some(step.now);
                    self.followed.insert((step.after.id, request.term), self.steps);
                }
                if request.term == step.after.current_term {
                    life.heard = Some((request.term, message.from, step.now));
                }
            }
            MessageBody::AppendEntriesResponse(response) => {
                // An older answer may come later: once told so, it is believed for a while.
                if response.disk_is_full {
                    life.is_full.insert(message.from);
                }
                if !response.trusted {
                    life.untrusted_peers.insert(message.from);
                }
                let known = life.disks.insert(message.from, response.disk);
                if known.is_some_and(|known| known != response.disk) {
                    life.matched.remove(&message.from);
                    life.asked.remove(&message.from);
                }
                // What a lost disk has acknowledged counts for nothing.
                let at = message.from.0 as usize - 1;
                if self.disks.get(at) != Some(&response.disk) {
                    life.disks.remove(&message.from);
                    life.matched.remove(&message.from);
                    life.in_flight.remove(&message.from);
                    return;
                }
                if response.term == step.before.current_term {
                    if let AppendOutcome::Matched { match_index } = response.outcome {
                        let known = life.matched.entry(message.from).or_default();
                        *known = (*known).max(match_index);
                    }
                    life.contacts.insert(message.from, step.now);
                    life.in_flight.remove(&message.from);
                }
            }
            MessageBody::VoteResponse(response) => life.vote(message.from, response),
            MessageBody::InstallSnapshotRequest(request) => {
                let told = life.told.entry(request.term).or_default();
                *told = (*told).max(request.snapshot.last_included().index);
                if request.term >= step.before.current_term {
                    life.obeyed = Some(step.now);
                    self.followed.insert((step.after.id, request.term), self.steps);
                }
                if request.term == step.after.current_term {
                    life.heard = Some((request.term, message.from, step.now));
                }
            }
            MessageBody::InstallSnapshotResponse(response) => {
                if response.term == step.before.current_term {
                    life.contacts.insert(message.from, step.now);
                    match response.outcome {
                        InstallOutcome::Installed => {
                            let known = life.matched.entry(message.from).or_default();
                            *known = (*known).max(response.last_included.index);
                        }
                        InstallOutcome::Received { offset } => {
                            let known = (response.last_included, offset);
                            life.received.insert(message.from, known);
                        }
                    }
                    life.pieces.remove(&message.from);
                }
            }
            MessageBody::VoteRequest(_)
            | MessageBody::TimeoutNowRequest(_)
            | MessageBody::ReadIndexRequest(_)
            | MessageBody::ReadIndexResponse(_) => {}
        }
    }

    pub(super) fn single(
        &self,
        step: &Step<'_>,
        event: &Event,
        shadow: &Shadow,
        coverage: &mut Coverage,
    ) -> Result<(), Broken> {
        let Event::Receive(message) = event else { return Ok(()) };
        let Step { before, after, .. } = step;
        let term = message.body.term();
        if term < before.current_term {
            coverage.note(Situation::StaleTermHeard);
            // A pre-vote is answered without taking over the asker's term (diss. §9.6).
            let of_pre_vote = matches!(&message.body,
                MessageBody::VoteResponse(response) if response.kind == VoteKind::PreVote);
            law!(
                of_pre_vote || is_same(step, before, after),
                "a message of an earlier term changes nothing (§5.1)",
                "{before} became {after} by {}",
                message.body
            );
            return match &message.body {
                MessageBody::AppendEntriesRequest(_) => self.is_answered(step, message.from, 0),
                _ => Ok(()),
            };
        }
        match &message.body {
            // An answer of any term is true of reads that are older than the question.
            MessageBody::ReadIndexResponse(_) => Ok(()),
            MessageBody::AppendEntriesRequest(request) => {
                self.append_request_heard(step, message, request, shadow)
            }
            MessageBody::AppendEntriesResponse(_) => {
                law!(
                    after.current_term >= term,
                    "a later term is taken over (§5.1)",
                    "{after} heard {}",
                    message.body
                );
                Ok(())
            }
            MessageBody::VoteRequest(request) => self.vote_request_heard(step, message, request),
            MessageBody::InstallSnapshotRequest(_) => {
                law!(
                    after.leader == Some(message.from) && after.current_term == term,
                    "a server follows the leader of its term (§5.2)",
                    "{after} after {} of {}",
                    message.body,
                    message.from
                );
                Ok(())
            }
            MessageBody::TimeoutNowRequest(_) => self.told_to_stand(step, message.from, term),
            MessageBody::InstallSnapshotResponse(_) | MessageBody::ReadIndexRequest(_) => {
                law!(
                    after.current_term >= term,
                    "a later term is taken over (§5.1)",
                    "{after} heard {}",
                    message.body
                );
                Ok(())
            }
            MessageBody::VoteResponse(response) => {
                let speculative = response.kind == VoteKind::PreVote && response.vote_granted;
                law!(
                    speculative || after.current_term >= term,
                    "a later term is taken over (§5.1)",
                    "{after} heard {}",
                    message.body
                );
                Ok(())
            }
        }
    }

    fn append_request_heard(
        &self,
        step: &Step<'_>,
        message: &Message,
        request: &AppendEntriesRequest,
        shadow: &Shadow,
    ) -> Result<(), Broken> {
        let Step { before, after, .. } = step;
        let follows = matches!(after.role, RoleName::Follower | RoleName::NonVoter)
            && after.leader == Some(message.from)
            && after.current_term == request.term;
        law!(
            follows,
            "a server follows the leader of its term (§5.2)",
            "{after} after a request of {} in term {}",
            message.from,
            request.term
        );
        let prev = request.prev_log;
        let may_commit = request.leader_commit.min(end_of(request));
        law!(
            after.commit_index <= before.commit_index.max(may_commit),
            "a follower commits what the request shows to be the leader's (Figure 2)",
            "{after} after {}",
            message.body
        );
        // The step has not been noted yet: this is the log as the request found it.
        let matches = shadow.live.term_at(prev.index) == Some(prev.term);
        let stores = step.effects.iter().any(|effect| match effect {
            Effect::Save { save, .. } => !save.entries.is_empty(),
            _ => false,
        });
        if !matches {
            law!(
                prev.index <= before.commit_index
                    || (!stores && after.commit_index == before.commit_index),
                "a request that does not match changes nothing (§5.3)",
                "{before} became {after} by {}",
                message.body
            );
            if prev.index > before.commit_index {
                self.is_answered(step, message.from, request.round)?;
            }
            return Laws::hint(step, prev, shadow);
        }
        if !stores {
            self.is_answered(step, message.from, request.round)?;
        }
        let rejects = |effect: &Effect| match effect {
            Effect::Send(answer) => match &answer.body {
                MessageBody::AppendEntriesResponse(response) => matches!(response.outcome,
                    AppendOutcome::Conflict { prev_log_index, .. } if prev_log_index == prev.index),
                _ => false,
            },
            _ => false,
        };
        law!(
            !step.effects.iter().any(rejects),
            "a request that matches is taken (§5.3)",
            "{after} rejects {}",
            message.body
        );
        law!(
            after.commit_index >= before.commit_index.max(may_commit) || before.disk_is_full,
            "a follower commits what its leader has committed (Figure 2)",
            "{after} after {}",
            message.body
        );
        let last = end_of(request);
        law!(
            after.last_log.index >= last || before.disk_is_full,
            "a follower stores what matches (§5.3)",
            "{after} after {}",
            message.body
        );
        Ok(())
    }

    /// A request that leaves nothing to be stored is answered at once, in the server's own term and
    /// with the round that the leader asked about: by that it learns that it is followed, or that
    /// it is a leader of the past ("reply false if term < currentTerm", Figure 2).
    fn is_answered(&self, step: &Step<'_>, to: NodeId, round: u64) -> Result<(), Broken> {
        let saves = |effect: &Effect| matches!(effect, Effect::Save { .. });
        if self.lives[step.at].unsaved.is_some() || step.effects.iter().any(saves) {
            return Ok(());
        }
        let answers = |effect: &Effect| match effect {
            Effect::Send(answer) if answer.to == to => matches!(&answer.body,
                MessageBody::AppendEntriesResponse(response)
                    if response.term == step.after.current_term && response.round >= round),
            _ => false,
        };
        law!(
            step.effects.iter().any(answers),
            "a leader's request is answered (Figure 2)",
            "{} has nothing to store, and does not answer {to}",
            step.after
        );
        Ok(())
    }

    /// "This causes the target server to start a new election immediately" (diss. §3.10).
    fn told_to_stand(&self, step: &Step<'_>, from: NodeId, term: Term) -> Result<(), Broken> {
        let Step { before, after, .. } = step;
        let can = before.role == RoleName::Follower
            && before.leader == Some(from)
            && before.current_term == term
            && before.trusted
            && self.lives[step.at].installing.is_none()
            && !self.disk_hangs(step);
        let stands = matches!(after.role, RoleName::Candidate | RoleName::Leader)
            && after.current_term == term.next();
        law!(
            !can || stands,
            "who is handed leadership stands at once (diss. §3.10)",
            "{before} became {after} when {from} told it to stand"
        );
        Ok(())
    }

    fn vote_request_heard(
        &self,
        step: &Step<'_>,
        message: &Message,
        request: &VoteRequest,
    ) -> Result<(), Broken> {
        let Step { before, after, .. } = step;
        let from = message.from;
        let answers = step.effects.iter().filter_map(|effect| match effect {
            Effect::Send(answer) if answer.to == from => match &answer.body {
                MessageBody::VoteResponse(response) if response.round == request.round => {
                    Some(response)
                }
                _ => None,
            },
            _ => None,
        });
        let pre_vote = request.kind == VoteKind::PreVote;
        let granted = match pre_vote {
            true => answers.clone().any(|answer| answer.vote_granted),
            false => {
                after.voted_for == Some(from) && before.voted_for != Some(from)
                    || (after.voted_for == Some(from) && after.current_term > before.current_term)
            }
        };
        if pre_vote {
            let same_state = (before.current_term, before.voted_for, before.role)
                == (after.current_term, after.voted_for, after.role);
            law!(
                same_state,
                "a pre-vote changes nothing (diss. §9.6)",
                "{before} became {after} by {}",
                message.body
            );
        }
        law!(
            !granted || request.last_log >= before.last_log,
            "a vote goes to a log at least as up to date (§5.4.1)",
            "{before} votes for {from} with {}",
            request.last_log
        );
        let is_led = before.role == RoleName::Leader
            || (self.hears_leader(step, from)
                && before.leader.is_some()
                && before.role == RoleName::Follower);
        if self.config(step).check_quorum && is_led && request.kind != VoteKind::Transfer {
            law!(
                !granted && after.current_term == before.current_term,
                "who hears a leader does not vote (diss. §4.2.3)",
                "{before} became {after} by {}",
                message.body
            );
        }
        if self.keeps_promise(step) && request.kind != VoteKind::Transfer {
            let leader = before.leader;
            law!(
                !granted || leader == Some(from),
                "who may have promised a leader votes for nobody else (diss. §6.4.1)",
                "{before} became {after} by {} of {from}",
                message.body
            );
        }
        let free = before.current_term < request.term
            || before.voted_for.is_none()
            || before.voted_for == Some(from);
        law!(!granted || free, "at most one vote in a term (§5.2)", "{before} votes for {from}");
        self.vote_is_due(step, from, request)
    }
}

/// The last index that a request tells of the leader's log.
fn end_of(request: &AppendEntriesRequest) -> Index {
    Index(request.prev_log.index.0 + request.entries.len() as u64)
}

fn is_same(step: &Step<'_>, before: &Status, after: &Status) -> bool {
    // What is committed and on disk by now may be handed to the state machine in any step, and a
    // leader may find that it is time for the next step of a change of members.
    let what = |status: &Status| {
        let Status { role, leader, current_term, voted_for, commit_index, last_log, .. } = *status;
        let last_log = (!step.leads_on()).then_some(last_log);
        (role, leader, current_term, voted_for, commit_index, last_log)
    };
    what(before) == what(after)
}
