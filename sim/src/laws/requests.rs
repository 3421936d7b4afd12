//! Laws of what an operator asks for, and of whether the answer is true.

use actix_raft_core::admin::{
    ChangeAnswer, ChangeError, Changed, ElectionError, Inoperable, MemberChange, PurgeError,
    RequestId, SnapshotError, TransferError,
};
use actix_raft_core::effect::Effect;
use actix_raft_core::entry::EntryPayload;
use actix_raft_core::event::Event;
use actix_raft_core::membership::Membership;
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{Index, LogPosition, NodeId, Term, Time};

use super::quorums::voters;
use super::{Broken, Laws, Shadow, Step, law};

const TRUE_LAW: &str = "what an operator is answered is true";

/// What an operator waits for.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Change { changes: Vec<MemberChange>, expected: Option<Index>, answer: ChangeAnswer },
    Transfer { to: Option<NodeId>, since: Time, term: Term },
    Election,
    Snapshot,
    Purge { until: Option<Index> },
}

/// The configurations that this step has appended.
fn appended<'a>(step: &Step<'a>) -> impl Iterator<Item = &'a Membership> {
    let saved = step.effects.iter().filter_map(|effect| match effect {
        Effect::Save { save, .. } => Some(save.entries.iter().flat_map(|run| run.iter())),
        _ => None,
    });
    saved.flatten().filter_map(|entry| match &entry.payload {
        EntryPayload::ConfigChange(membership) => Some(&**membership),
        EntryPayload::Blank | EntryPayload::Normal(_) => None,
    })
}

/// Whether the members are such that this change is done.
pub(crate) fn is_done(change: &MemberChange, membership: &Membership) -> bool {
    let has_vote = |id: &NodeId| voters(membership).contains(id);
    match change {
        MemberChange::AddVoter(id, address) => {
            has_vote(id) && membership.address(*id) == Some(address)
        }
        MemberChange::AddNonVoter(id, address) | MemberChange::Move(id, address) => {
            membership.address(*id) == Some(address)
        }
        MemberChange::Promote(id) => has_vote(id),
        MemberChange::Demote(id) => membership.address(*id).is_some() && !has_vote(id),
        MemberChange::Remove(id) => membership.address(*id).is_none(),
    }
}

/// Whom a change is about.
pub(crate) fn subject(change: &MemberChange) -> NodeId {
    match change {
        MemberChange::AddVoter(id, _)
        | MemberChange::AddNonVoter(id, _)
        | MemberChange::Move(id, _)
        | MemberChange::Promote(id)
        | MemberChange::Demote(id)
        | MemberChange::Remove(id) => *id,
    }
}

impl Laws {
    /// Notes what is asked for.
    pub(super) fn requested(&mut self, step: &Step<'_>, event: &Event) {
        let (id, request) = match event {
            Event::ChangeMembers { id, changes, expected, answer } => {
                let (changes, expected, answer) = (changes.clone(), *expected, *answer);
                (*id, Request::Change { changes, expected, answer })
            }
            Event::TransferLeadership { id, to } => {
                let (since, term) = (step.now, step.before.current_term);
                (*id, Request::Transfer { to: *to, since, term })
            }
            Event::TriggerElection { id } => (*id, Request::Election),
            Event::TriggerSnapshot { id } => (*id, Request::Snapshot),
            Event::PurgeLog { id, until } => (*id, Request::Purge { until: *until }),
            _ => return,
        };
        self.lives[step.at].requests.insert(id, request);
    }

    fn take_request(&mut self, step: &Step<'_>, id: RequestId) -> Result<Request, Broken> {
        self.lives[step.at].requests.remove(&id).ok_or_else(|| Broken {
            law: "an operator is answered once",
            what: format!("{} answers request {}", step.after, id.0),
        })
    }

    /// Nobody waits for an answer for ever.
    pub(crate) fn operators_are_answered(&self, at: usize) -> Result<(), Broken> {
        let requests = &self.lives[at].requests;
        let law = "an operator is answered once";
        law!(requests.is_empty(), law, "server {} owes answers to {requests:?}", at + 1);
        Ok(())
    }

    pub(super) fn members_changed(
        &mut self,
        step: &Step<'_>,
        id: RequestId,
        result: &Result<Changed, ChangeError>,
        shadow: &Shadow,
    ) -> Result<(), Broken> {
        let Request::Change { changes, expected, answer } = self.take_request(step, id)? else {
            return Err(wrong(step, "a change"));
        };
        let Step { before, after, .. } = step;
        let left = step.effects.contains(&Effect::LeadershipLost);
        let led = before.role == RoleName::Leader || after.role == RoleName::Leader;
        let now = shadow.live.membership().map(|(_, membership)| &**membership);
        let is_true = match result {
            Ok(Changed::Final { index }) => {
                let found = self.committed_membership(*index, after.commit_index);
                found.is_some_and(|m| {
                    m.goal().is_none()
                        && m.voters_outgoing().is_none()
                        && changes.iter().all(|change| is_done(change, m))
                })
            }
            Ok(Changed::Joint { index }) => {
                let found = self.committed_membership(*index, after.commit_index);
                let end = found.map(|m| m.goal().map_or(m, |goal| &**goal));
                answer == ChangeAnswer::Joint
                    && found.is_some_and(|m| m.voters_outgoing().is_some() || m.goal().is_none())
                    && end.is_some_and(|m| changes.iter().all(|change| is_done(change, m)))
            }
            Err(ChangeError::NotLeader { leader }) => {
                (before.role != RoleName::Leader || left) && *leader != Some(after.id)
            }
            Err(ChangeError::Noop) => {
                let done = |m: &Membership| changes.iter().all(|change| is_done(change, m));
                // Another change may have begun in the same step.
                led && (self.in_force.iter().any(|m| done(m)) || appended(step).any(done))
            }
            Err(ChangeError::InoperableConfig(why)) => {
                led && self.in_force.iter().any(|m| self.is_inoperable(step, *why, &changes, m))
            }
            Err(ChangeError::AnotherChange) => {
                let other = |m: &Membership| m.goal().is_some() || m.voters_outgoing().is_some();
                let since = shadow.live.membership().map_or(Index::ZERO, |(since, _)| *since);
                led && (now.is_some_and(other)
                    || self.in_force.iter().any(|membership| other(membership))
                    || since > before.commit_index
                    || !self.lives[step.at].requests.is_empty())
            }
            Err(ChangeError::OtherConfiguration { current, expected: asked }) => {
                led && Some(*asked) == expected && current != asked
            }
            Err(ChangeError::NotAMember(id)) => {
                let lacks = |m: &Membership| {
                    m.goal().map_or(m.address(*id), |goal| goal.address(*id)).is_none()
                };
                led && (now.is_some_and(lacks) || self.in_force.iter().any(|m| lacks(m)))
            }
            Err(ChangeError::Contradiction(id)) => {
                led && changes.iter().filter(|change| subject(change) == *id).count() > 1
            }
            Err(ChangeError::NotCaughtUp(id)) => {
                led && now.is_some_and(|m| !voters(m).contains(id))
            }
            Err(ChangeError::TakenBack) => led && now.is_some_and(|m| m.goal().is_none()),
            Err(ChangeError::OutcomeUnknown) => left,
        };
        if let (Ok(_), Some(expected)) = (result, expected) {
            let recent = &self.lives[step.at].indexes;
            law!(
                recent.contains(&expected),
                "a change is made to the configuration that it was meant for",
                "{after} answers {result:?}, {expected} was expected, and in force were {recent:?}"
            );
        }
        law!(
            is_true,
            TRUE_LAW,
            "{after} answers {result:?} to {changes:?}, with {now:?} in force since {:?}",
            shadow.live.membership().map(|(since, _)| since)
        );
        Ok(())
    }

    fn committed_membership(&self, index: Index, commit_index: Index) -> Option<&Membership> {
        let entry = self.committed.get(index.prev().0 as usize)?;
        match &entry.payload {
            EntryPayload::ConfigChange(membership) if index <= commit_index => Some(membership),
            _ => None,
        }
    }

    fn is_inoperable(
        &self,
        step: &Step<'_>,
        why: Inoperable,
        changes: &[MemberChange],
        now: &Membership,
    ) -> bool {
        let mut will_vote = voters(now.goal().map_or(now, |goal| goal));
        for change in changes {
            match change {
                MemberChange::AddVoter(id, _) | MemberChange::Promote(id) => {
                    will_vote.insert(*id);
                }
                MemberChange::Demote(id) | MemberChange::Remove(id) => {
                    will_vote.remove(id);
                }
                MemberChange::AddNonVoter(..) | MemberChange::Move(..) => {}
            }
        }
        match why {
            Inoperable::Membership(_) => will_vote.is_empty(),
            Inoperable::TooFewHeard { .. } => {
                let life = &self.lives[step.at];
                let lately = self.config(step).election_timeout / 2;
                let is_silent = |id: &&NodeId| {
                    let contact = life.contacts.get(id).copied();
                    // Without check-quorum nobody needs to be heard.
                    let heard = contact.is_some_and(|at| step.now.since(at) <= lately)
                        || !self.config(step).check_quorum;
                    // Answers from a new disk may be taken for those of the lost one.
                    let counts = heard && !life.untrusted_peers.contains(id);
                    **id != step.after.id && (!counts || self.was_wiped().contains(id))
                };
                let silent = will_vote.iter().filter(is_silent).count();
                silent * 2 >= will_vote.len()
            }
        }
    }

    /// Whether someone waits for these members.
    pub(super) fn is_asked_for(&self, step: &Step<'_>, members: &Membership) -> bool {
        let asks = |request: &Request| match request {
            Request::Change { changes, .. } => {
                changes.iter().all(|change| is_done(change, members))
            }
            _ => false,
        };
        self.lives[step.at].requests.values().any(asks)
    }

    /// Whether a leader has not heard a new voter for long.
    pub(super) fn was_silent(&self, step: &Step<'_>, id: NodeId) -> bool {
        let life = &self.lives[step.at];
        let contact = life.contacts.get(&id).copied().unwrap_or(life.leads_since);
        step.now.since(contact) >= self.config(step).catch_up_timeout / 2
    }

    pub(super) fn transferred(
        &mut self,
        step: &Step<'_>,
        id: RequestId,
        result: Result<NodeId, TransferError>,
    ) -> Result<(), Broken> {
        let Request::Transfer { to, term, .. } = self.take_request(step, id)? else {
            return Err(wrong(step, "a transfer"));
        };
        let Step { before, after, .. } = step;
        let led = before.role == RoleName::Leader || after.role == RoleName::Leader;
        let is_true = match result {
            Ok(leader) => {
                let later = |(other, id): (&Term, &NodeId)| *other >= term && *id == leader;
                // Another one may have been elected after all.
                self.leaders.iter().any(later)
            }
            Err(TransferError::NotLeader { leader }) => {
                (before.role != RoleName::Leader || after.role != RoleName::Leader)
                    && leader != Some(after.id)
            }
            // If nobody was named, the one that was chosen has lost its vote.
            Err(TransferError::NotAVoter(id)) => {
                led && to.is_none_or(|to| to == id) && !self.all_give_vote(id)
            }
            Err(TransferError::NoTarget) => led,
            // It may have joined one that was begun before.
            Err(TransferError::TimedOut(id)) => to.is_none_or(|to| to == id),
            Err(TransferError::Replaced(_)) => led,
        };
        law!(is_true, TRUE_LAW, "{after} answers {result:?} to a transfer to {to:?}");
        Ok(())
    }

    fn all_give_vote(&self, id: NodeId) -> bool {
        self.in_force.iter().all(|membership| voters(membership).contains(&id))
    }

    /// "If the leadership transfer does not complete after about an election timeout, the prior
    /// leader aborts the transfer" (diss. §3.10).
    pub(super) fn transfers_end(&self, step: &Step<'_>, fired: bool) -> Result<(), Broken> {
        let patience = self.config(step).election_timeout * 2;
        // One that stood still could not answer, and may wait once more then.
        let life = &self.lives[step.at];
        let last = life.last_step;
        let late = life.requests.values().find(|request| {
            matches!(request, Request::Transfer { since, .. } if last.since(*since) > patience)
        });
        law!(
            late.is_none() || !fired,
            "a transfer ends within an election timeout (diss. §3.10)",
            "{} still is at {late:?} at {}",
            step.after,
            step.now
        );
        Ok(())
    }

    pub(super) fn election_triggered(
        &mut self,
        step: &Step<'_>,
        id: RequestId,
        result: Result<(), ElectionError>,
    ) -> Result<(), Broken> {
        let Request::Election = self.take_request(step, id)? else {
            return Err(wrong(step, "an election"));
        };
        let (Step { before, after, .. }, [_]) = (step, step.events) else { return Ok(()) };
        let stands =
            matches!(after.role, RoleName::PreCandidate | RoleName::Candidate | RoleName::Leader);
        let is_true = match result {
            Ok(()) => stands && before.role != RoleName::Leader,
            Err(ElectionError::AlreadyLeader) => before.role == RoleName::Leader,
            Err(ElectionError::NotAVoter) => before.role != RoleName::Leader,
            Err(ElectionError::LeaderHeard { leader }) => {
                leader == before.leader
                    && (self.lives[step.at].heard.is_some() || self.may_keep_promise(step))
            }
        };
        law!(is_true, TRUE_LAW, "{before} became {after}, and answers {result:?}");
        Ok(())
    }

    pub(super) fn snapshot_taken(
        &mut self,
        step: &Step<'_>,
        id: RequestId,
        result: Result<LogPosition, SnapshotError>,
        shadow: &Shadow,
    ) -> Result<(), Broken> {
        let Request::Snapshot = self.take_request(step, id)? else {
            return Err(wrong(step, "a snapshot"));
        };
        let latest = shadow.snapshot.as_ref().map_or(LogPosition::ZERO, |s| s.last_included());
        let is_true = match result {
            Ok(at) => at == latest,
            Err(SnapshotError::NothingNew(at)) => {
                at == latest && at.index >= step.before.last_applied
            }
            Err(SnapshotError::Installing | SnapshotError::Unsupported) => true,
        };
        law!(is_true, TRUE_LAW, "{} answers {result:?}, and has {latest}", step.after);
        Ok(())
    }

    pub(super) fn log_purged(
        &mut self,
        step: &Step<'_>,
        id: RequestId,
        result: Result<LogPosition, PurgeError>,
        shadow: &Shadow,
    ) -> Result<(), Broken> {
        let Request::Purge { until } = self.take_request(step, id)? else {
            return Err(wrong(step, "a purge"));
        };
        let latest = shadow.snapshot.as_ref().map_or(LogPosition::ZERO, |s| s.last_included());
        let is_true = match result {
            Ok(at) => {
                at.index <= shadow.durable.purged() && until.is_none_or(|until| at.index >= until)
            }
            Err(PurgeError::NotInSnapshot(last)) => {
                last == latest.index && until.is_none_or(|until| until > last)
            }
        };
        law!(is_true, TRUE_LAW, "{} answers {result:?} to a purge of {until:?}", step.after);
        Ok(())
    }
}

fn wrong(step: &Step<'_>, what: &str) -> Broken {
    Broken { law: TRUE_LAW, what: format!("{} answers another request as {what}", step.after) }
}
