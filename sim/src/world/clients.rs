//! Clients: each sends an operation to whom it takes for the leader, and waits until it hears what
//! became of it, or loses patience.

use std::time::Duration;

use actix_raft::application::Application;
use actix_raft_core::effect::{Effect, ProposeError, ReadError};
use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::event::{Consistency, Event, ProposalId, ReadId};
use actix_raft_core::status::RoleName;
use actix_raft_core::types::{Index, NodeId};
use bytes::Bytes;

use super::{Happening, World};
use crate::coverage::Situation;
use crate::dice::Chance;
use crate::history::{Body, Operation, Outcome};
use crate::laws::{Broken, Step, law};
use crate::server::OperationId;
use crate::workload::{Request, Response, Workload};

/// How often a client turns to any server rather than to the leader.
const ASTRAY: Chance = Chance::percent(4);
/// How often a reader does: other servers ask the leader for it.
const ELSEWHERE: Chance = Chance::percent(20);
/// How often a write is answered when it is committed, not when it is applied.
const COMMITTED_MODE: Chance = Chance::percent(10);

/// A client.
#[derive(Default)]
pub(crate) struct Client {
    leader: Option<usize>,
    /// Whom it asked last.
    asked: usize,
    /// What it waits for.
    open: Option<OperationId>,
}

/// What an operation is answered.
pub(crate) enum Reply<W: Workload> {
    Written(Index, Option<Response<W>>),
    Read(Index, W::Answer),
    /// Surely not done.
    Refused(Option<NodeId>),
    Unknown,
}

impl<W: Workload> World<W> {
    pub(super) fn client_goes_on(&mut self, client: usize) {
        if self.busy && self.clients[client].open.is_none() {
            let request = self.workload.next(client, &mut self.client_dice);
            let astray = self.client_dice.happens(match &request {
                Request::Write(_) => ASTRAY,
                Request::Read(_) => ELSEWHERE,
            });
            let known = self.clients[client].leader.filter(|_| !astray);
            self.call(client, request, known);
        }
    }

    /// A client sends a request to this server, or to any.
    pub(super) fn call(
        &mut self,
        client: usize,
        request: Request<W>,
        to: Option<usize>,
    ) -> OperationId {
        let body = match request {
            Request::Write(command) => {
                Body::Write { command: W::Machine::encode(command), response: None }
            }
            Request::Read(query) => Body::Read { query, answer: None },
        };
        let id = self.history.len();
        let outcome = Outcome::Open;
        self.history.push(Operation { client, called: self.now, returned: None, body, outcome });
        self.counts.operations += 1;
        let at = to.unwrap_or_else(|| self.client_dice.place(self.servers.len()));
        if let Some(client) = self.clients.get_mut(client) {
            client.open = Some(id);
            client.asked = at;
        }
        let wait = self.client_delay();
        self.after(wait, Happening::Reaches(at, id));
        self.after(self.plan.config.election_timeout * 8, Happening::GivesUp(id));
        id
    }

    /// Where reads rely on clocks, leaders that can't reach the others are asked again and again:
    /// their clients' writes hang, and a stale answer would be seen by nobody.
    pub(super) fn glances(&mut self) {
        if !self.busy {
            return;
        }
        self.after(self.plan.config.election_timeout / 8, Happening::Glance);
        for at in 0..self.servers.len() {
            let Some(status) = self.servers[at].status() else { continue };
            let latest = self.laws.latest_leader();
            let is_past = latest.is_some_and(|(term, _)| term > status.current_term);
            let is_cut = (0..self.servers.len())
                .any(|other| self.network.is_cut(at, other) || self.network.is_cut(other, at));
            if status.role == RoleName::Leader && (is_past || is_cut) {
                self.glance_at(at);
            }
        }
    }

    /// Reads at a server, as none of the clients.
    pub(super) fn glance_at(&mut self, at: usize) {
        let reader = self.clients.len() + 1;
        for _ in 0..8 {
            if let request @ Request::Read(_) = self.workload.next(0, &mut self.client_dice) {
                self.call(reader, request, Some(at));
                return;
            }
        }
    }

    fn client_delay(&mut self) -> Duration {
        if self.shown.is_some() {
            return Duration::ZERO;
        }
        self.client_dice.duration(Duration::from_micros(20), Duration::from_micros(500))
    }

    pub(super) fn reaches(&mut self, at: usize, operation: OperationId) {
        match self.servers[at].running() {
            Some(running) => {
                running.arrived.push(operation);
                self.will_turn(at);
            }
            // Nobody listens: surely not done.
            None => self.answer(operation, Reply::Refused(None)),
        }
    }

    /// What clients have sent to a server since it acted last: all commands in one batch, all reads
    /// in one.
    pub(super) fn take_operations(&mut self, at: usize) -> Vec<Event> {
        let Some(running) = self.servers[at].running() else { return Vec::new() };
        let arrived = std::mem::take(&mut running.arrived);
        let (mut writes, mut commands) = (Vec::new(), Vec::new());
        let (mut reads, mut lease_reads) = (Vec::new(), Vec::new());
        // Where leases are off, such a read is refused.
        let by_lease = match self.plan.config.lease {
            Some(_) => Chance::percent(50),
            None => Chance(1_000),
        };
        for operation in arrived {
            match &self.history[operation].body {
                Body::Write { command, .. } => {
                    writes.push(operation);
                    commands.push(command.clone());
                }
                Body::Read { .. } if self.shown.is_none() && self.client_dice.happens(by_lease) => {
                    lease_reads.push(operation);
                }
                Body::Read { .. } => reads.push(operation),
            }
        }
        let mut events = Vec::new();
        let Some(running) = self.servers[at].running() else { return events };
        if !writes.is_empty() {
            running.names += 1;
            let id = ProposalId(running.names);
            running.proposed.insert(id, writes);
            events.push(Event::Propose { id, commands });
        }
        for (reads, consistency) in
            [(reads, Consistency::Linearizable), (lease_reads, Consistency::Lease)]
        {
            if !reads.is_empty() {
                running.names += 1;
                let id = ReadId(running.names);
                running.reads.insert(id, reads);
                events.push(Event::Read { id, consistency });
            }
        }
        events
    }

    pub(super) fn proposed(
        &mut self,
        at: usize,
        id: ProposalId,
        result: Result<Index, ProposeError>,
    ) -> Result<(), Broken> {
        let Some(running) = self.servers[at].running() else { return Ok(()) };
        let operations = running.proposed.remove(&id);
        let operations = operations.ok_or_else(|| Broken {
            law: "a proposal is answered once",
            what: format!("server {}, proposal {}", at + 1, id.0),
        })?;
        match result {
            Ok(first) => {
                running.writes.extend((first.0..).map(Index).zip(operations));
            }
            Err(ProposeError::NotLeader { leader }) => {
                self.coverage.note(Situation::ProposalRefused);
                self.refuse(operations, || Reply::Refused(leader));
            }
            Err(ProposeError::Overloaded) => {
                self.coverage.note(Situation::Overloaded);
                let leader = Some(self.servers[at].id);
                self.refuse(operations, || Reply::Refused(leader));
            }
            Err(ProposeError::Transferring { to }) => {
                self.refuse(operations, || Reply::Refused(Some(to)));
            }
            Err(ProposeError::DiskFull) => self.refuse(operations, || Reply::Refused(None)),
        }
        Ok(())
    }

    /// Answers some of those whose write is committed.
    pub(super) fn answer_committed(&mut self, at: usize) {
        if self.shown.is_some() {
            return;
        }
        let Some(running) = self.servers[at].running() else { return };
        let committed = running.committed;
        let mut answers = Vec::new();
        let (dice, writes) = (&mut self.client_dice, &mut running.writes);
        writes.retain(|(index, operation)| {
            let now = *index <= committed && dice.happens(COMMITTED_MODE);
            if now {
                answers.push((*operation, *index));
            }
            !now
        });
        for (operation, index) in answers {
            self.answer(operation, Reply::Written(index, None));
        }
    }

    /// Writes that a snapshot includes are done; what they answered is not known here.
    pub(super) fn answer_included(&mut self, at: usize, included: Index) {
        let Some(running) = self.servers[at].running() else { return };
        let done = running.writes.partition_point(|(index, _)| *index <= included);
        for (index, operation) in running.writes.drain(..done).collect::<Vec<_>>() {
            self.answer(operation, Reply::Written(index, None));
        }
    }

    pub(super) fn answer_applied(
        &mut self,
        at: usize,
        entry: &Entry,
        response: Response<W>,
    ) -> Result<(), Broken> {
        let Some(running) = self.servers[at].running() else { return Ok(()) };
        let waits = running.writes.front().is_some_and(|(index, _)| *index == entry.index);
        if !waits {
            return Ok(());
        }
        let Some((index, operation)) = running.writes.pop_front() else { return Ok(()) };
        let sent = match &self.history[operation].body {
            Body::Write { command, .. } => command.clone(),
            Body::Read { .. } => Bytes::new(),
        };
        law!(
            entry.payload == EntryPayload::Normal(sent),
            "who waits for an index gets the answer to his own command",
            "server {}, index {index}",
            at + 1
        );
        self.answer(operation, Reply::Written(index, Some(response)));
        Ok(())
    }

    pub(super) fn leadership_lost(&mut self, at: usize) {
        let Some(running) = self.servers[at].running() else { return };
        // What was committed when it still led will be applied here as everywhere.
        let kept = running.writes.partition_point(|(index, _)| *index <= running.committed);
        let lost: Vec<OperationId> = running.writes.drain(kept..).map(|(_, id)| id).collect();
        for _ in &lost {
            self.coverage.note(Situation::OutcomeUnknown);
        }
        self.refuse(lost, || Reply::Unknown);
    }

    pub(super) fn read_ready(&mut self, at: usize, id: ReadId) {
        let index = self.shadows[at].applied;
        let Some(running) = self.servers[at].running() else { return };
        for operation in running.reads.remove(&id).unwrap_or_default() {
            let Some(running) = self.servers[at].running() else { return };
            if let Body::Read { query, .. } = &self.history[operation].body {
                let answer = W::read(&running.machine, query);
                self.coverage.note(Situation::ReadServed);
                self.answer(operation, Reply::Read(index, answer));
            }
        }
    }

    pub(super) fn read_refused(&mut self, at: usize, id: ReadId, error: ReadError) {
        let leader = match error {
            ReadError::NotLeader { leader } => leader,
            ReadError::LeaseDisabled => None,
        };
        let Some(running) = self.servers[at].running() else { return };
        let operations = running.reads.remove(&id).unwrap_or_default();
        self.coverage.note(Situation::ReadRefused);
        self.refuse(operations, || Reply::Refused(leader));
    }

    /// Sends an answer.
    pub(super) fn answer(&mut self, operation: OperationId, reply: Reply<W>) {
        let wait = self.client_delay();
        self.after(wait, Happening::Answer(operation, reply));
    }

    /// A client hears what became of its operation.
    pub(super) fn answered(&mut self, id: OperationId, reply: Reply<W>) {
        if self.history[id].outcome != Outcome::Open {
            // It lost patience before.
            return;
        }
        self.show_answer(id, &reply);
        let operation = &mut self.history[id];
        operation.returned = Some(self.now);
        let client = operation.client;
        let asked = self.clients.get(client).map(|client| client.asked);
        let mut leader = asked;
        operation.outcome = match reply {
            Reply::Written(index, answer) => {
                if let Body::Write { response, .. } = &mut operation.body {
                    *response = answer;
                }
                Outcome::Done { index }
            }
            Reply::Read(index, found) => {
                if let Body::Read { answer, .. } = &mut operation.body {
                    *answer = Some(found);
                }
                Outcome::Done { index }
            }
            Reply::Refused(hint) => {
                leader = hint.map(|id| id.0 as usize - 1);
                Outcome::NotDone
            }
            Reply::Unknown => {
                leader = None;
                Outcome::Unknown
            }
        };
        self.counts.done += u64::from(matches!(operation.outcome, Outcome::Done { .. }));
        let Some(known) = self.clients.get_mut(client).filter(|c| c.open == Some(id)) else {
            return;
        };
        known.open = None;
        known.leader = leader;
        let think = self.client_dice.duration(Duration::ZERO, self.plan.think);
        self.after(think + Duration::from_micros(10), Happening::Client(client));
    }

    /// Takes note of reads that come at an awkward moment.
    pub(super) fn note_reads(&mut self, at: usize, step: &Step<'_>) {
        let asks = step.events.iter().any(|event| matches!(event, Event::Read { .. }));
        if !asks || step.before.role != RoleName::Leader {
            return;
        }
        let (term, commit) = (step.before.current_term, step.before.commit_index);
        if self.shadows[at].live.term_at(commit) != Some(term) {
            self.coverage.note(Situation::ReadAfterElection);
        }
        if self.laws.latest_leader().is_some_and(|(latest, _)| latest > term) {
            self.coverage.note(Situation::ReadOfDeposed);
        }
        let lost = |effect: &Effect| matches!(effect, Effect::LeadershipLost);
        if step.effects.iter().any(lost) {
            self.coverage.note(Situation::ReadLostLeader);
        }
    }

    /// Takes note of what became of writes whose clients never knew.
    pub(super) fn note_unknown(&mut self) {
        let committed: std::collections::BTreeSet<&Bytes> = self
            .laws
            .committed()
            .iter()
            .filter_map(|entry| match &entry.payload {
                EntryPayload::Normal(command) => Some(command),
                EntryPayload::Blank | EntryPayload::ConfigChange(_) => None,
            })
            .collect();
        for operation in &self.history {
            if let (Outcome::Unknown, Body::Write { command, .. }) =
                (operation.outcome, &operation.body)
            {
                self.coverage.note(match committed.contains(command) {
                    true => Situation::UnknownButDone,
                    false => Situation::UnknownAndLost,
                });
            }
        }
    }
}
