//! What a server hears: which messages it believes, what their terms mean to it (§5.1), and whom it
//! gives its vote (§5.2, §5.4.1).

use super::{Raft, Role};
use crate::candidate::Vote;
use crate::follower;
use crate::message::{
    AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, Message, MessageBody, VoteKind,
    VoteRefusal, VoteRequest, VoteResponse,
};
use crate::mutants::{Mutant, is_planted};
use crate::receiving;
use crate::types::{LogPosition, NodeId};

/// How far another server's term may be ahead of one's own: a thousand elections a second would
/// take seven weeks.
const MAX_TERM_JUMP: u64 = 1 << 32;

impl Raft {
    pub(super) fn on_message(&mut self, message: Message) {
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
            && (self.hears_leader() || self.node.keeps_promise())
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
            _ => false,
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
            MessageBody::InstallSnapshotRequest(request) => {
                self.on_install_snapshot(from, &request);
            }
            MessageBody::InstallSnapshotResponse(response) => {
                self.on_install_snapshot_response(from, &response);
            }
            MessageBody::TimeoutNowRequest(request) => self.on_timeout_now(from, request),
            MessageBody::ReadIndexRequest(request) => self.on_read_index(from, request),
            MessageBody::ReadIndexResponse(response) => {
                self.on_read_index_response(from, response);
            }
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
            MessageBody::InstallSnapshotRequest(request)
                if request.term >= self.node.current_term() =>
            {
                receiving::contradiction(&self.node, &request.snapshot)
            }
            _ => None,
        }
    }

    fn enter_term_of(&mut self, from: NodeId, body: &MessageBody) {
        let leader = match body {
            MessageBody::AppendEntriesRequest(_)
            | MessageBody::InstallSnapshotRequest(_)
            | MessageBody::TimeoutNowRequest(_) => Some(from),
            _ => None,
        };
        self.node.enter_term(body.term());
        self.become_follower(leader);
    }

    /// "If a server receives a RequestVote request within the minimum election timeout of hearing
    /// from a current leader, it does not update its term or grant its vote" (diss. §4.2.3). A
    /// leader hears itself.
    pub(super) fn hears_leader(&self) -> bool {
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
            VoteKind::PreVote => self.answer_vote(from, request, Err(VoteRefusal::HearsLeader)),
            // The candidate will learn of the leader from the leader.
            VoteKind::Vote | VoteKind::Transfer => {}
        }
    }

    fn on_append_entries(&mut self, from: NodeId, request: &AppendEntriesRequest) {
        if request.term < self.node.current_term() {
            return self.refuse_stale_leader(from, request);
        }
        if !self.recognize_leader(from) {
            return;
        }
        if let Role::Follower(follower) = &mut self.role {
            follower.on_append_entries(&mut self.node, from, request);
        }
    }

    /// A request came from the leader of the current term. Returns whether this server follows.
    pub(super) fn recognize_leader(&mut self, from: NodeId) -> bool {
        match &mut self.role {
            Role::Follower(_) => true,
            Role::PreCandidate(_) | Role::Candidate(_)
                if is_planted(Mutant::CandidateIgnoresLeader) =>
            {
                false
            }
            // "If the leader's term is at least as large as the candidate's current term, then the
            // candidate recognizes the leader as legitimate and returns to follower state" (§5.2).
            Role::PreCandidate(_) | Role::Candidate(_) => {
                self.become_follower(Some(from));
                true
            }
            Role::Leader(_) => {
                self.node.violation(from, "a second leader in one term (§5.2)");
                false
            }
        }
    }

    /// "Reply false if term < currentTerm" (§5.1): so a leader of the past learns that it is one.
    fn refuse_stale_leader(&mut self, from: NodeId, request: &AppendEntriesRequest) {
        let prev_log_index = request.prev_log.index;
        let response = AppendEntriesResponse {
            term: self.node.current_term(),
            round: 0,
            disk: self.node.disk,
            trusted: self.node.is_trusted(),
            disk_is_full: self.node.disk_is_full,
            outcome: AppendOutcome::Conflict { prev_log_index, hint: LogPosition::ZERO },
        };
        self.node.promise(from, MessageBody::AppendEntriesResponse(response));
    }

    /// RequestVote RPC, receiver implementation (Figure 2).
    fn on_vote_request(&mut self, from: NodeId, request: &VoteRequest) {
        let vote = self.vote(from, request);
        if vote.is_ok() && request.kind != VoteKind::PreVote {
            self.node.vote_for(from);
            match &mut self.role {
                Role::Follower(follower) => {
                    // A granted vote is a reason to wait (Figure 2), for those who could stand.
                    follower.deadline = self.node.patience();
                }
                Role::PreCandidate(_) => self.become_follower(None),
                Role::Candidate(_) | Role::Leader(_) => {}
            }
        }
        self.answer_vote(from, request, vote);
    }

    /// Whether this server gives its vote, or would, and why not.
    fn vote(&self, from: NodeId, request: &VoteRequest) -> Vote {
        let current_term = self.node.current_term();
        let voted_for = self.node.voted_for();
        if request.term < current_term {
            return Err(VoteRefusal::StaleTerm);
        }
        if !self.node.may_vote(request.last_log, request.disk) {
            return Err(VoteRefusal::Untrusted);
        }
        let is_of_next_term = request.kind == VoteKind::PreVote && request.term > current_term;
        // "If votedFor is null or candidateId": first come, first served.
        if !is_of_next_term && voted_for != Some(from) {
            let twice = voted_for != Some(self.node.id) && is_planted(Mutant::TwoVotesInATerm);
            if voted_for.is_some() && !twice {
                return Err(VoteRefusal::AlreadyVoted);
            }
            if self.leader().is_some() && !twice {
                return Err(VoteRefusal::HearsLeader);
            }
        }
        // "And candidate's log is at least as up-to-date as receiver's log, grant vote" (§5.4.1).
        let last_log = self.node.log.last();
        let up_to_date = request.last_log >= last_log
            || is_planted(Mutant::VoteWithoutLogCheck)
            || (request.last_log.index >= last_log.index && is_planted(Mutant::VoteByIndexOnly));
        if up_to_date { Ok(()) } else { Err(VoteRefusal::LogBehind) }
    }

    fn answer_vote(&mut self, to: NodeId, request: &VoteRequest, vote: Vote) {
        let vote_granted = vote.is_ok();
        let term = match request.kind {
            VoteKind::PreVote if vote_granted => request.term,
            VoteKind::PreVote | VoteKind::Vote | VoteKind::Transfer => self.node.current_term(),
        };
        let VoteRequest { kind, round, .. } = *request;
        let (disk, refusal) = (self.node.disk, vote.err());
        let response = VoteResponse { term, kind, round, disk, vote_granted, refusal };
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
}
