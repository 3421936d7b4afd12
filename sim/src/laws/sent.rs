//! Laws of messages as they leave: nothing is said that a crash could make untrue ("before
//! responding to RPCs", Figure 2).

use actix_raft_core::entry::Entry;
use actix_raft_core::message::{
    AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, Message, MessageBody, VoteKind,
    VoteResponse,
};
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{HardState, Index, NodeId, Term};

use super::{Broken, Laws, Shadow, Step, law, quorums};
use crate::coverage::{Coverage, Situation};
use crate::image::Image;

const TERM_LAW: &str = "a term is on disk before it is spoken of (Figure 2)";
const VOTE_LAW: &str = "a vote is on disk before it is given (Figure 2)";

impl Laws {
    pub(super) fn sent(
        &mut self,
        step: &Step<'_>,
        message: &Message,
        shadow: &Shadow,
        coverage: &mut Coverage,
    ) -> Result<(), Broken> {
        law!(message.from == shadow.id, "a server speaks for itself", "{message:?}");
        let HardState { current_term, voted_for, trusted: _ } = shadow.durable.hard_state;
        let (from, to) = (message.from, message.to);
        match &message.body {
            MessageBody::AppendEntriesRequest(request) => {
                law!(current_term >= request.term, TERM_LAW, "{from}: {}", message.body);
                self.append_request(step, to, request, shadow)
            }
            MessageBody::AppendEntriesResponse(response) => {
                law!(current_term >= response.term, TERM_LAW, "{from}: {}", message.body);
                self.append_response(step, to, response, shadow, coverage)
            }
            MessageBody::VoteRequest(request) => match request.kind {
                VoteKind::PreVote => Ok(()),
                VoteKind::Vote | VoteKind::Transfer => {
                    let may = quorums::may_stand(shadow, step.before.commit_index)
                        || self.lives[step.at].stood_in == Some(request.term);
                    law!(may, "only voters stand (§6)", "{from} stands");
                    let voted = (current_term, voted_for) == (request.term, Some(from));
                    let later = current_term > request.term;
                    law!(voted || later, VOTE_LAW, "{from} asks for votes without its own");
                    Ok(())
                }
            },
            MessageBody::VoteResponse(response) => {
                self.forgets_no_vote(response, shadow)?;
                self.vote_response(step, (from, to), response, shadow, coverage)
            }
            MessageBody::TimeoutNowRequest(request) => {
                law!(current_term >= request.term, TERM_LAW, "{from}: {}", message.body);
                self.tells_to_stand(step, to, shadow)
            }
            MessageBody::ReadIndexRequest(_) | MessageBody::ReadIndexResponse(_) => Ok(()),
            MessageBody::InstallSnapshotRequest(request) => {
                law!(current_term >= request.term, TERM_LAW, "{from}: {}", message.body);
                self.install_request(step, to, request, shadow, coverage)
            }
            MessageBody::InstallSnapshotResponse(response) => {
                law!(current_term >= response.term, TERM_LAW, "{from}: {}", message.body);
                self.install_response(response, shadow, coverage)
            }
        }
    }

    fn vote_response(
        &mut self,
        step: &Step<'_>,
        (from, to): (NodeId, NodeId),
        response: &VoteResponse,
        shadow: &Shadow,
        coverage: &mut Coverage,
    ) -> Result<(), Broken> {
        let HardState { current_term, voted_for, trusted: _ } = shadow.durable.hard_state;
        match response.kind {
            VoteKind::PreVote => {
                if !response.vote_granted {
                    coverage.note(Situation::PreVoteRefused);
                    law!(current_term >= response.term, TERM_LAW, "{}: {response:?}", step.after);
                }
                Ok(())
            }
            VoteKind::Vote | VoteKind::Transfer => {
                law!(current_term >= response.term, TERM_LAW, "{}: {response:?}", step.after);
                if !response.vote_granted {
                    coverage.note(Situation::VoteRefused);
                    return Ok(());
                }
                let voted = (current_term, voted_for) == (response.term, Some(to));
                law!(voted, VOTE_LAW, "{from} votes for {to} in term {}", response.term);
                self.votes_for(from, response.term, to)
            }
        }
    }

    /// A leader tells a voter to stand that has all its log (diss. §3.10).
    fn tells_to_stand(
        &mut self,
        step: &Step<'_>,
        to: NodeId,
        shadow: &Shadow,
    ) -> Result<(), Broken> {
        let led = step.before.role == RoleName::Leader || step.after.role == RoleName::Leader;
        law!(led, "only leaders hand over (diss. §3.10)", "{} tells {to} to stand", shadow.id);
        self.lives[step.at].told_to_stand = true;
        let matched = self.lives[step.at].matched.get(&to).copied().unwrap_or_default();
        let asked = step.after.transferring_to == Some(to);
        law!(
            !asked || matched >= shadow.live.last().index,
            "who is told to stand has all of the log (diss. §3.10)",
            "{} tells {to} to stand, which is known to have the log up to {matched}",
            step.after
        );
        Ok(())
    }

    fn append_request(
        &mut self,
        step: &Step<'_>,
        to: NodeId,
        request: &AppendEntriesRequest,
        shadow: &Shadow,
    ) -> Result<(), Broken> {
        // It may have come to office and left it within this very step.
        let leader = *self.leaders.entry(request.term).or_insert(shadow.id);
        law!(
            leader == shadow.id,
            "Election Safety (Figure 3)",
            "{} speaks as the leader of term {}, and that is {leader}",
            shadow.id,
            request.term
        );
        self.lives[step.at].spoken.insert(to, step.now);
        let life = &self.lives[step.at];
        let matched = life.matched.get(&to).copied().unwrap_or_default();
        law!(
            request.entries.is_empty()
                || step.events.len() > 1
                || self.was_wiped().contains(&to)
                || !step.leads_on()
                || request.prev_log.index >= matched,
            "what was acknowledged is not sent again (§5.3)",
            "{} sends {to} what follows {}, and heard of {matched}",
            shadow.id,
            request.prev_log
        );
        let leads = step.after.role == RoleName::Leader && step.after.current_term == request.term;
        if !leads {
            return Ok(());
        }
        let log = &shadow.live;
        let law = "a leader sends its own log (§5.3)";
        law!(
            self.term_in(log, request.prev_log.index) == Some(request.prev_log.term),
            law,
            "{leader} has no {}",
            request.prev_log
        );
        let mut prev = request.prev_log.index;
        for entry in request.entries.iter() {
            let position = entry.position();
            law!(entry.index == prev.next(), law, "{position} is sent after {prev}");
            let own = log.entry(entry.index).or_else(|| self.purged_entry(log, entry.index));
            law!(own == Some(entry), law, "{leader} has no {position}");
            prev = entry.index;
        }
        law!(
            request.leader_commit <= step.after.commit_index,
            law,
            "{leader} claims commit {} and has {}",
            request.leader_commit,
            step.after.commit_index
        );
        self.flow(step, to, request)
    }

    /// An entry that is no longer in a log: it was committed.
    fn purged_entry(&self, log: &Image, index: Index) -> Option<&Entry> {
        let place = index.0.checked_sub(1).filter(|_| index <= log.purged())?;
        self.committed.get(place as usize)
    }

    fn term_in(&self, log: &Image, index: Index) -> Option<Term> {
        log.term_at(index).or_else(|| match index {
            Index::ZERO => Some(Term::ZERO),
            _ => self.purged_entry(log, index).map(|entry| entry.term),
        })
    }

    /// What is on its way to a follower is bounded. Between two answers a window may fill once, and
    /// once more for each time that unanswered requests are taken for lost.
    fn flow(
        &mut self,
        step: &Step<'_>,
        to: NodeId,
        request: &AppendEntriesRequest,
    ) -> Result<(), Broken> {
        if request.entries.is_empty() {
            return Ok(());
        }
        let config = &self.configs[step.at];
        let in_flight = self.lives[step.at].in_flight.entry(to).or_default();
        let weight: usize = request.entries.iter().map(|entry| entry.weight()).sum();
        in_flight.requests += 1;
        in_flight.bytes += weight;
        in_flight.largest = in_flight.largest.max(weight);
        let chances = 2 + in_flight.chances;
        let most = config.max_in_flight_appends + chances;
        let most_bytes = config.max_in_flight_bytes + chances * in_flight.largest;
        law!(
            in_flight.requests <= most && in_flight.bytes <= most_bytes,
            "what is in flight to a follower is bounded",
            "{} requests, {} bytes to {to}, unanswered",
            in_flight.requests,
            in_flight.bytes
        );
        let limit = self.limits[step.at].append_bytes;
        law!(
            weight <= limit || request.entries.len() == 1,
            "a request is bounded",
            "{} entries of {weight} bytes in one request, over {limit}",
            request.entries.len()
        );
        Ok(())
    }

    fn append_response(
        &mut self,
        step: &Step<'_>,
        to: NodeId,
        response: &AppendEntriesResponse,
        shadow: &Shadow,
        coverage: &mut Coverage,
    ) -> Result<(), Broken> {
        let id = shadow.id;
        let match_index = match response.outcome {
            AppendOutcome::Matched { match_index } => match_index,
            AppendOutcome::Conflict { .. } => {
                coverage.note(Situation::ConflictFound);
                return Ok(());
            }
        };
        let term = response.term;
        law!(
            self.leaders.get(&term) == Some(&to),
            "an acknowledgement answers a leader",
            "{id} acknowledges {match_index} of term {term} to {to}"
        );
        let told = self.lives[step.at].told.get(&term).copied().unwrap_or_default();
        law!(
            match_index <= told,
            "an acknowledgement names what was compared with the leader's log (§5.3)",
            "{id} acknowledges {match_index} of term {term}, and was told up to {told}"
        );
        if match_index == Index::ZERO {
            return Ok(());
        }
        let law = "what is acknowledged is on disk, and is the leader's (§5.3)";
        let held = shadow.durable.term_at(match_index);
        law!(
            (held.is_some() && held == shadow.live.term_at(match_index))
                || match_index <= shadow.durable.purged().max(shadow.live.purged()),
            law,
            "{id} acknowledges {match_index}, and has term {held:?} there on its disk"
        );
        if let Some(leader) = self.leader_logs.get(&term).filter(|log| match_index > log.purged)
            && held.is_some()
        {
            law!(
                leader.term_at(match_index) == held,
                law,
                "{id} acknowledges {match_index} of term {held:?}, and leader {to} of term {term} \
                 has {:?}",
                leader.term_at(match_index)
            );
        }
        Ok(())
    }
}
