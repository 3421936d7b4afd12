//! The server: one door for events, and every change of role (Figure 4).
//!
//! ```text
//!             times out               would win                majority of votes
//!  Follower -----------> PreCandidate ---------> Candidate ----------------------> Leader
//!     ^                      |    ^                  |                                |
//!     |      outvoted,       |    |    times out     | outvoted, hears a leader or    |
//!     +----------------------+    +------------------+ a later term                   |
//!     +----------------------------------------------+                                |
//!     +---------------- hears a later term, or no majority any more ------------------+
//! ```

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::candidate::{Candidate, Tally};
use crate::config::Config;
use crate::effect::{Effect, InitializeError, ProposeError};
use crate::event::{Event, LogReader};
use crate::follower::{self, Follower};
use crate::leader::Leader;
use crate::membership::Membership;
use crate::message::{
    AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, Message, MessageBody, VoteKind,
    VoteRequest, VoteResponse,
};
use crate::mutants::{Mutant, is_planted};
use crate::node::Node;
use crate::random::Random;
use crate::status::{RoleName, Status, TraceHook, TraceLine};
use crate::stored::StoredState;
use crate::types::{GroupId, Index, LogPosition, NodeId, Time};

/// How far another server's term may be ahead of one's own: a thousand elections a second would
/// take seven weeks.
const MAX_TERM_JUMP: u64 = 1 << 32;

/// One server of one group.
pub struct Raft {
    node: Node,
    role: Role,
    trace: Option<TraceHook>,
}

#[derive(Clone, Hash)]
enum Role {
    Follower(Follower),
    PreCandidate(Candidate),
    Candidate(Candidate),
    Leader(Leader),
}

/// A twin that will do the same from here on; the trace hook stays with the original.
impl Clone for Raft {
    fn clone(&self) -> Raft {
        Raft { node: self.node.clone(), role: self.role.clone(), trace: None }
    }
}

/// All that decides what the server does next: two that hash alike behave alike.
impl Hash for Raft {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.node.hash(state);
        self.role.hash(state);
    }
}

impl Raft {
    /// A server as it starts or restarts, with what its storage holds: always a follower (§5.2).
    #[must_use]
    pub fn new(
        id: NodeId,
        group: GroupId,
        config: Config,
        stored: &StoredState,
        now: Time,
    ) -> Raft {
        let mut node = Node::new(id, group, config, stored, now);
        let deadline = node.is_voter().then(|| node.election_deadline());
        Raft { node, role: Role::Follower(Follower::new(None, deadline)), trace: None }
    }

    /// Calls `hook` with one line after each event.
    pub fn set_trace(&mut self, hook: TraceHook) {
        self.trace = Some(hook);
    }

    /// Draws election timeouts and ballot numbers from this seed from now on, which is not mixed
    /// with the node's id. A search over all runs brings servers together by it that differ only
    /// in how many numbers they drew.
    pub fn reseed(&mut self, seed: u64) {
        self.node.random = Random::new(seed);
    }

    /// Handles what happened up to `now`, in order, and says what is to be done about all of it.
    /// Events that happened together are best brought together: their entries, messages and
    /// acknowledgements are then joined.
    #[must_use]
    pub fn step(&mut self, now: Time, events: impl IntoIterator<Item = Event>) -> Vec<Effect> {
        self.node.now = self.node.now.max(now);
        for event in events {
            let summary = self.trace.is_some().then(|| event.summary());
            self.on_event(event);
            if let Some(event) = summary {
                let line = TraceLine { time: self.node.now, event, status: self.status() };
                self.trace.as_mut().into_iter().for_each(|hook| hook(line.clone()));
            }
        }
        match &mut self.role {
            Role::Follower(follower) => follower.acknowledge(&mut self.node),
            Role::PreCandidate(_) | Role::Candidate(_) => {}
            Role::Leader(leader) => leader.finish_step(&mut self.node),
        }
        self.node.finish_step()
    }

    /// When to bring [`Event::Timeout`] if nothing else happens; `None` if there is nothing to wait
    /// for. It may move after every step.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        match &self.role {
            Role::Follower(follower) => follower.deadline,
            Role::PreCandidate(candidate) | Role::Candidate(candidate) => Some(candidate.deadline),
            Role::Leader(leader) => Some(leader.deadline(&self.node)),
        }
    }

    /// What this server looks like now.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            id: self.node.id,
            role: match &self.role {
                Role::Follower(_) if !self.node.is_voter() => RoleName::NonVoter,
                Role::Follower(_) => RoleName::Follower,
                Role::PreCandidate(_) => RoleName::PreCandidate,
                Role::Candidate(_) => RoleName::Candidate,
                Role::Leader(_) => RoleName::Leader,
            },
            leader: self.leader(),
            current_term: self.node.current_term(),
            voted_for: self.node.voted_for(),
            commit_index: self.node.commit_index,
            last_applied: self.node.last_applied,
            last_log: self.node.log.last(),
            last_durable: self.node.log.durable(),
        }
    }

    /// The configuration in force here, and the index of the entry that brought it (0 for a first
    /// configuration given by [`Event::Initialize`]); `None` on a server that was never told of a
    /// cluster.
    #[must_use]
    pub fn membership(&self) -> Option<&(Index, Arc<Membership>)> {
        self.node.membership()
    }

    fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower(follower) => follower.leader,
            Role::PreCandidate(_) | Role::Candidate(_) => None,
            Role::Leader(_) => Some(self.node.id),
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Initialize { membership } => self.on_initialize(membership),
            Event::Receive(message) => self.on_message(message),
            Event::Propose { id, commands } => {
                let result = match &mut self.role {
                    Role::Leader(leader) => leader.propose(&mut self.node, commands),
                    _ => Err(ProposeError::NotLeader { leader: self.leader() }),
                };
                self.node.effect(Effect::Proposed { id, result });
            }
            Event::Read { id } => match &mut self.role {
                Role::Leader(leader) => leader.read(id),
                _ => {
                    let leader = self.leader();
                    self.node.effect(Effect::ReadRefused { id, leader });
                }
            },
            Event::Saved { id } => {
                self.node.on_saved(id);
                // The own vote counts from now on.
                self.count_votes();
            }
            Event::LogRead { reader, entries } => match (reader, &mut self.role) {
                (LogReader::StateMachine, _) => self.node.on_read_to_apply(entries),
                (LogReader::Follower(id), Role::Leader(leader)) => {
                    leader.on_read(&mut self.node, id, &entries);
                }
                (LogReader::Follower(_), _) => {}
            },
            Event::Applied { index } => self.node.on_applied(index),
            Event::Unreachable { peer } => {
                if let Role::Leader(leader) = &mut self.role {
                    leader.on_unreachable(peer);
                }
            }
            Event::Timeout => self.on_timeout(),
        }
    }

    fn on_initialize(&mut self, membership: Membership) {
        let pristine =
            self.node.membership().is_none() && self.node.log.last() == LogPosition::ZERO;
        let result = if !pristine {
            Err(InitializeError::AlreadyInitialized)
        } else if !membership.is_voter(self.node.id) {
            Err(InitializeError::NotAVoter)
        } else {
            let alone = membership.members().len() == 1;
            self.node.initialize(membership);
            if let Role::Follower(follower) = &mut self.role {
                let wait = self.node.election_deadline();
                // Nobody else could be the leader.
                follower.deadline = Some(if alone { self.node.now } else { wait });
            }
            Ok(())
        };
        self.node.promise_effect(Effect::Initialized(result));
    }

    fn on_timeout(&mut self) {
        if self.deadline().is_none_or(|deadline| self.node.now < deadline) {
            return;
        }
        match &mut self.role {
            // "If election timeout elapses without receiving AppendEntries RPC from current leader
            // or granting vote to candidate: convert to candidate" (Figure 2).
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => self.campaign(),
            Role::Leader(leader) => {
                if !leader.on_timeout(&mut self.node) {
                    self.become_follower(None);
                }
            }
        }
    }

    fn campaign(&mut self) {
        if !self.node.is_voter() {
            return self.become_follower(None);
        }
        if self.node.config.pre_vote {
            self.become_pre_candidate();
        } else {
            self.become_candidate();
        }
    }

    fn on_message(&mut self, message: Message) {
        let Message { group, from, to, body } = message;
        if group != self.node.group || to != self.node.id || from == self.node.id {
            return self.node.violation(from, "a message for another server");
        }
        // Before anything else: what is dropped changes nothing, not even the term.
        let ahead = body.term().0.saturating_sub(self.node.current_term().0);
        if ahead > MAX_TERM_JUMP {
            // Believed, one such message would use up the terms of the whole cluster for good.
            return self.node.violation(from, "a term that no election could have led to");
        }
        if let Some(what) = body.flaw().or_else(|| self.contradiction(&body)) {
            return self.node.violation(from, what);
        }
        if let MessageBody::VoteRequest(request) = &body
            && self.hears_leader()
            && self.leader() != Some(from)
            && request.kind != VoteKind::Transfer
        {
            return self.refuse_while_led(from, request);
        }
        // "If RPC request or response contains term T > currentTerm: set currentTerm = T, convert
        // to follower" (§5.1). A pre-vote is about a term that nobody has entered.
        let speculative = match &body {
            MessageBody::VoteRequest(request) => {
                request.kind == VoteKind::PreVote && !is_planted(Mutant::PreVoteRaisesTerm)
            }
            MessageBody::VoteResponse(response) => {
                response.kind == VoteKind::PreVote && response.vote_granted
            }
            MessageBody::AppendEntriesRequest(_) | MessageBody::AppendEntriesResponse(_) => false,
        };
        let overlooked = is_planted(Mutant::LeaderIgnoresHigherTerm)
            && matches!(self.role, Role::Leader(_))
            && matches!(body, MessageBody::AppendEntriesResponse(_));
        if body.term() > self.node.current_term() && !speculative && !overlooked {
            self.enter_term_of(from, &body);
        }
        match body {
            MessageBody::AppendEntriesRequest(request) => self.on_append_entries(from, &request),
            MessageBody::AppendEntriesResponse(response) => {
                if let Role::Leader(leader) = &mut self.role
                    && (response.term == self.node.current_term()
                        || (response.term < self.node.current_term()
                            && is_planted(Mutant::StaleAcksCount)))
                {
                    leader.on_append_entries_response(&mut self.node, from, &response);
                }
            }
            MessageBody::VoteRequest(request) => self.on_vote_request(from, &request),
            MessageBody::VoteResponse(response) => self.on_vote_response(from, &response),
        }
    }

    fn contradiction(&self, body: &MessageBody) -> Option<&'static str> {
        match body {
            // A leader of the past may contradict what was committed after it.
            MessageBody::AppendEntriesRequest(request)
                if request.term >= self.node.current_term() =>
            {
                follower::contradiction(&self.node, request)
            }
            MessageBody::AppendEntriesRequest(_)
            | MessageBody::AppendEntriesResponse(_)
            | MessageBody::VoteRequest(_)
            | MessageBody::VoteResponse(_) => None,
        }
    }

    fn enter_term_of(&mut self, from: NodeId, body: &MessageBody) {
        let leader = match body {
            MessageBody::AppendEntriesRequest(_) => Some(from),
            MessageBody::AppendEntriesResponse(_)
            | MessageBody::VoteRequest(_)
            | MessageBody::VoteResponse(_) => None,
        };
        self.node.enter_term(body.term());
        self.become_follower(leader);
    }

    /// "If a server receives a RequestVote request within the minimum election timeout of hearing
    /// from a current leader, it does not update its term or grant its vote" (diss. §4.2.3). A
    /// leader hears itself.
    fn hears_leader(&self) -> bool {
        self.node.config.check_quorum
            && !is_planted(Mutant::VoteWhileLed)
            && match &self.role {
                Role::Follower(follower) => follower.hears_leader(&self.node),
                Role::PreCandidate(_) | Role::Candidate(_) => false,
                Role::Leader(_) => true,
            }
    }

    fn refuse_while_led(&mut self, from: NodeId, request: &VoteRequest) {
        match request.kind {
            VoteKind::PreVote => self.answer_vote(from, request, false),
            // The candidate will learn of the leader from the leader.
            VoteKind::Vote | VoteKind::Transfer => {}
        }
    }

    fn on_append_entries(&mut self, from: NodeId, request: &AppendEntriesRequest) {
        if request.term < self.node.current_term() {
            return self.refuse_stale_leader(from, request);
        }
        match &mut self.role {
            Role::Follower(_) => {}
            Role::PreCandidate(_) | Role::Candidate(_)
                if is_planted(Mutant::CandidateIgnoresLeader) =>
            {
                return;
            }
            // "If the leader's term is at least as large as the candidate's current term, then the
            // candidate recognizes the leader as legitimate and returns to follower state" (§5.2).
            Role::PreCandidate(_) | Role::Candidate(_) => self.become_follower(Some(from)),
            Role::Leader(_) => {
                return self.node.violation(from, "a second leader in one term (§5.2)");
            }
        }
        if let Role::Follower(follower) = &mut self.role {
            follower.on_append_entries(&mut self.node, from, request);
        }
    }

    /// "Reply false if term < currentTerm" (§5.1): so a leader of the past learns that it is one.
    fn refuse_stale_leader(&mut self, from: NodeId, request: &AppendEntriesRequest) {
        let prev_log_index = request.prev_log.index;
        let response = AppendEntriesResponse {
            term: self.node.current_term(),
            round: 0,
            outcome: AppendOutcome::Conflict { prev_log_index, hint: LogPosition::ZERO },
        };
        self.node.promise(from, MessageBody::AppendEntriesResponse(response));
    }

    /// RequestVote RPC, receiver implementation (Figure 2).
    fn on_vote_request(&mut self, from: NodeId, request: &VoteRequest) {
        let current_term = self.node.current_term();
        let voted_for = self.node.voted_for();
        let free = match request.kind {
            VoteKind::PreVote if request.term > current_term => true,
            _ if request.term < current_term => false,
            // "If votedFor is null or candidateId": first come, first served.
            VoteKind::PreVote | VoteKind::Vote | VoteKind::Transfer => {
                voted_for == Some(from)
                    || (voted_for.is_none() && self.leader().is_none())
                    || (voted_for != Some(self.node.id) && is_planted(Mutant::TwoVotesInATerm))
            }
        };
        // "And candidate's log is at least as up-to-date as receiver's log, grant vote" (§5.4.1).
        let last_log = self.node.log.last();
        let up_to_date = request.last_log >= last_log
            || is_planted(Mutant::VoteWithoutLogCheck)
            || (request.last_log.index >= last_log.index && is_planted(Mutant::VoteByIndexOnly));
        let granted = free && up_to_date;
        if granted && request.kind != VoteKind::PreVote {
            self.node.vote_for(from);
            match &mut self.role {
                Role::Follower(follower) => {
                    // A granted vote is a reason to wait (Figure 2), for those who could stand.
                    follower.deadline = self.node.is_voter().then(|| self.node.election_deadline());
                }
                Role::PreCandidate(_) => self.become_follower(None),
                Role::Candidate(_) | Role::Leader(_) => {}
            }
        }
        self.answer_vote(from, request, granted);
    }

    fn answer_vote(&mut self, to: NodeId, request: &VoteRequest, vote_granted: bool) {
        let term = match request.kind {
            VoteKind::PreVote if vote_granted => request.term,
            VoteKind::PreVote | VoteKind::Vote | VoteKind::Transfer => self.node.current_term(),
        };
        let VoteRequest { kind, round, .. } = *request;
        let response = VoteResponse { term, kind, round, vote_granted };
        if is_planted(Mutant::VoteAnsweredBeforeSave) {
            return self.node.send(to, MessageBody::VoteResponse(response));
        }
        self.node.promise(to, MessageBody::VoteResponse(response));
    }

    fn on_vote_response(&mut self, from: NodeId, response: &VoteResponse) {
        match &mut self.role {
            Role::PreCandidate(candidate) => candidate.on_vote(from, response),
            Role::Candidate(candidate)
                if response.term == self.node.current_term()
                    || is_planted(Mutant::StaleVotesCount) =>
            {
                candidate.on_vote(from, response);
            }
            Role::Candidate(_) | Role::Follower(_) | Role::Leader(_) => return,
        }
        self.count_votes();
    }

    fn count_votes(&mut self) {
        let tally = match &mut self.role {
            Role::PreCandidate(candidate) | Role::Candidate(candidate) => {
                candidate.tally(&self.node)
            }
            Role::Follower(_) | Role::Leader(_) => return,
        };
        match (tally, &self.role) {
            (Tally::Open, _) => {}
            (Tally::Won, Role::PreCandidate(_)) => self.become_candidate(),
            (Tally::Won, _) => self.become_leader(),
            (Tally::Outvoted, _) => self.become_follower(None),
        }
    }

    fn become_follower(&mut self, leader: Option<NodeId>) {
        if let Role::Leader(old) = &mut self.role {
            old.step_down(&mut self.node, leader);
        }
        let deadline = match &self.role {
            // Another's candidacy is no reason to wait longer for a leader.
            Role::Follower(follower) => follower.deadline,
            _ => self.node.is_voter().then(|| self.node.election_deadline()),
        };
        let mut follower = Follower::new(leader, deadline);
        if is_planted(Mutant::AckOutlivesTerm)
            && let Role::Follower(old) = &self.role
        {
            follower.keep_verified(old);
        }
        if is_planted(Mutant::VoteForgottenOnStepDown) {
            self.node.forget_vote();
        }
        self.role = Role::Follower(follower);
    }

    fn become_pre_candidate(&mut self) {
        if is_planted(Mutant::VoteForgottenByPreCandidate) {
            self.node.forget_vote();
        }
        let candidate = Candidate::ask(&mut self.node, VoteKind::PreVote);
        self.role = Role::PreCandidate(candidate);
        // A single voter needs nobody's answer.
        self.count_votes();
    }

    /// "On conversion to candidate, start election: increment currentTerm, vote for self, reset
    /// election timer, send RequestVote RPCs to all other servers" (Figure 2).
    fn become_candidate(&mut self) {
        self.node.enter_term(self.node.current_term().next());
        self.node.vote_for(self.node.id);
        let candidate = Candidate::ask(&mut self.node, VoteKind::Vote);
        self.role = Role::Candidate(candidate);
    }

    fn become_leader(&mut self) {
        assert_eq!(self.node.voted_for(), Some(self.node.id), "a leader voted for itself (§5.2)");
        let leader = Leader::new(&mut self.node);
        self.role = Role::Leader(leader);
    }
}
