//! What a server must refuse, brought to it now and then: messages that no correct server says, and
//! a cluster that is formed a second time.

use std::sync::Arc;

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::event::Event;
use actix_raft_core::membership::{Address, Membership};
use actix_raft_core::message::{
    AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, Message, MessageBody, VoteKind,
    VoteRequest,
};
use actix_raft_core::status::{RoleName, Status};
use actix_raft_core::types::{DiskId, GroupId, Index, LogPosition, NodeId, Term};

use super::World;
use crate::coverage::Situation;
use crate::image::Image;
use crate::laws::{Broken, Unmoved};
use crate::workload::Workload;

impl<W: Workload> World<W> {
    /// With a message there may come another one, of an enemy.
    pub(super) fn may_forge(&mut self, at: usize, genuine: &Message) -> Result<(), Broken> {
        if !self.odd_dice.happens(self.plan.forged) || self.servers[at].paused_until > self.now {
            return Ok(());
        }
        // What is due by now is done first.
        self.step(at, &[])?;
        let Some(status) = self.servers[at].status() else { return Ok(()) };
        // Answers from a new disk may be taken for those of the lost one, which are no news.
        let is_new = self.laws.was_wiped().contains(&genuine.from);
        let forgery = if is_new { 0 } else { self.odd_dice.below(8) };
        let forged = forge(forgery, genuine, &status, &self.shadows[at].live);
        match forged {
            Some(message) => self.brings_forged(at, message),
            None => Ok(()),
        }
    }

    /// It is handled in a step of its own, so that all that the step does is its doing.
    fn brings_forged(&mut self, at: usize, message: Message) -> Result<(), Broken> {
        self.coverage.note(Situation::ForgeryHeard);
        let shown = self.servers[at].clock.show(self.now);
        let Some(running) = self.servers[at].running() else { return Ok(()) };
        running.shown = running.shown.max(shown);
        let before = (running.raft.status(), running.raft.deadline());
        let event = Event::Receive(message.clone());
        let effects = running.raft.step(running.shown, [event]);
        let after = (running.raft.status(), running.raft.deadline());
        Unmoved { before, after, effects: &effects }.check(&message)
    }

    /// Someone forms the cluster on a server that has one, or that may not.
    pub(super) fn forms_again(&mut self, at: usize) -> Result<(), Broken> {
        let has_vote = at < self.plan.voters;
        let Some(running) = self.servers[at].running() else { return Ok(()) };
        if has_vote && running.raft.membership().is_none() {
            return Ok(());
        }
        self.coverage.note(Situation::FormedAgain);
        let membership = self.membership.clone();
        self.step(at, &[Event::Initialize { membership }])
    }
}

/// A message for the server of this status and log that no correct server says; `None` if this
/// forgery would not be seen through there.
fn forge(forgery: u64, genuine: &Message, status: &Status, log: &Image) -> Option<Message> {
    let message = |body| Message { body, ..genuine.clone() };
    let term = status.current_term;
    let request = |term: Term, prev_log, entries: Vec<Entry>| {
        message(MessageBody::AppendEntriesRequest(AppendEntriesRequest {
            term,
            prev_log,
            entries: entries.into(),
            leader_commit: Index::ZERO,
            round: 1,
            disk: DiskId::UNKNOWN,
        }))
    };
    let vote = |term: Term, last_log| {
        let kind = VoteKind::Vote;
        message(MessageBody::VoteRequest(VoteRequest {
            term,
            last_log,
            kind,
            round: 1,
            disk: DiskId::UNKNOWN,
        }))
    };
    match forgery {
        0 => Some(Message { to: NodeId(genuine.to.0 + 1), ..genuine.clone() }),
        1 => Some(Message { group: GroupId(genuine.group.0 + 1), ..genuine.clone() }),
        // More than any election could lead to, and a candidate with an entry of its own term.
        2 => Some(vote(Term(term.0 + (1 << 33)), status.last_log)),
        3 => Some(vote(
            term.next(),
            LogPosition { term: term.next(), index: status.last_log.index.next() },
        )),
        4 => {
            let gap = Entry { term: term.next(), index: Index(7), payload: EntryPayload::Blank };
            Some(request(term.next(), LogPosition::ZERO, vec![gap]))
        }
        // A leader that lacks what is committed.
        5 => {
            let committed = status.commit_index;
            let other = log.term_at(committed)?.next();
            let prev_log = LogPosition { term: other, index: committed };
            (committed > Index::ZERO).then(|| request(term.next().max(other), prev_log, Vec::new()))
        }
        6 => in_own_term(genuine, status, log, &request),
        _ => {
            let is_whole = log.purged() == Index::ZERO;
            let known = is_whole && (log.membership().is_some() || !log.entries().is_empty());
            let first = log.entries().first().map_or(term.next(), |first| first.term);
            let payload = EntryPayload::ConfigChange(Arc::new(strangers()));
            let entry = Entry { term: first, index: Index(1), payload };
            known.then(|| request(term.next(), LogPosition::ZERO, vec![entry]))
        }
    }
}

/// In the server's own term: an answer to what a leader never sent, or a second leader.
fn in_own_term(
    genuine: &Message,
    status: &Status,
    log: &Image,
    request: &impl Fn(Term, LogPosition, Vec<Entry>) -> Message,
) -> Option<Message> {
    let (term, last) = (status.current_term, status.last_log.index);
    // Such as the same server has just given, from the disk that it has.
    let answers = |round: Option<u64>, match_index| {
        let MessageBody::AppendEntriesResponse(answer) = &genuine.body else { return None };
        let outcome = AppendOutcome::Matched { match_index };
        let round = round.unwrap_or(answer.round);
        let body = AppendEntriesResponse { round, outcome, ..*answer };
        let body = MessageBody::AppendEntriesResponse(body);
        (answer.term == term).then(|| Message { body, ..genuine.clone() })
    };
    // Of one that was removed nothing is believed, and nothing reported.
    let members = log.membership();
    let is_member = members.is_some_and(|(_, members)| members.address(genuine.from).is_some());
    let odd = last.0 % 2 == 1;
    match status.role {
        RoleName::Leader if !is_member => None,
        RoleName::Leader if odd => answers(None, last.next()),
        RoleName::Leader if last.0 % 4 == 0 => answers(Some(u64::MAX), Index::ZERO),
        _ if status.leader.is_some_and(|leader| leader != genuine.from) => {
            Some(request(term, LogPosition::ZERO, Vec::new()))
        }
        _ => None,
    }
}

/// The members of some other cluster.
fn strangers() -> Membership {
    let id = NodeId(77);
    Membership::new([id], [(id, Address::new("stranger", "stranger"))])
        .expect("there is a voter, and it is a member")
}
