//! The operator: changes the members, hands leadership over, has servers stand, take snapshots and
//! purge their logs, and turns their numbers.

use std::collections::VecDeque;
use std::time::Duration;

use actix_raft_core::admin::{ChangeError, Changed, RequestId, TransferError};
use actix_raft_core::config::{Config, MAX_PRIORITY};
use actix_raft_core::event::Event;
use actix_raft_core::membership::Membership;
use actix_raft_core::types::{Index, NodeId, Time};

use super::{Happening, World};
use crate::coverage::Situation;
use crate::dice::{Chance, Dice};
use crate::plan::Act;
use crate::workload::Workload;

/// How often the operator turns to any server rather than to the leader.
const ASTRAY: Chance = Chance::percent(10);

/// Who looks after the cluster.
pub(crate) struct Operator {
    pub(super) dice: Dice,
    /// Goes on until the faults end.
    pub(super) is_active: bool,
    /// The change of members that it waits for.
    pub(super) open: Option<Open>,
    /// The members that it asked for last: any of these may come about.
    pub(super) asked: VecDeque<Membership>,
    /// How often each member has moved.
    pub(super) moves: u64,
}

/// A request that is not answered yet.
pub(super) struct Open {
    pub(super) at: usize,
    pub(super) life: u64,
    pub(super) id: RequestId,
    pub(super) since: Time,
}

impl Operator {
    pub(super) fn new(seed: u64) -> Operator {
        Operator {
            dice: Dice::new(seed ^ 0x0b_5e27_a702),
            is_active: true,
            open: None,
            asked: VecDeque::new(),
            moves: 0,
        }
    }
}

impl<W: Workload> World<W> {
    pub(super) fn operator_goes_on(&mut self) {
        if !self.operator.is_active {
            return;
        }
        let wait = self.operator.dice.duration(Duration::ZERO, self.plan.pause * 2);
        self.after(wait + Duration::from_micros(10), Happening::Operator);
        let act = self.operator.dice.pick(&self.plan.acts);
        let astray = self.operator.dice.happens(ASTRAY);
        let any = self.operator.dice.place(self.servers.len());
        let leader = self.leader().filter(|_| !astray).unwrap_or(any);
        match act {
            Act::Change => self.changes_members(leader),
            Act::Transfer => {
                let to = NodeId(1 + self.operator.dice.below(self.servers.len() as u64));
                let to = Some(to).filter(|_| self.operator.dice.below(3) > 0);
                self.order(leader, |id| Event::TransferLeadership { id, to });
            }
            Act::Elect => _ = self.order(any, |id| Event::TriggerElection { id }),
            Act::Snapshot => _ = self.order(any, |id| Event::TriggerSnapshot { id }),
            Act::Purge => {
                let last = self.shadows[any].live.last().index.0;
                let until = Index(self.operator.dice.below(last + 1));
                let until = Some(until).filter(|_| self.operator.dice.below(2) == 0);
                self.order(any, |id| Event::PurgeLog { id, until });
            }
            Act::Configure => self.configures(any),
        }
    }

    /// Asks a server for something; the answer names the request again.
    pub(super) fn order(
        &mut self,
        at: usize,
        ask: impl FnOnce(RequestId) -> Event,
    ) -> Option<RequestId> {
        let running = self.servers[at].running()?;
        running.names += 1;
        let id = RequestId(running.names);
        self.hears(at, ask(id));
        Some(id)
    }

    /// Turns some numbers of a server. Timeouts stay: they must fit those of the others.
    fn configures(&mut self, at: usize) {
        let dice = &mut self.operator.dice;
        let config = Config {
            election_priority: dice.pick(&[0, 1, 5, 9, MAX_PRIORITY, MAX_PRIORITY]),
            elections: dice.below(8) > 0,
            entries_kept: dice.pick(&[0, 1, 10, 100]),
            snapshot_chunk_bytes: dice.pick(&[1, 100, 1000, 256 << 10]),
            max_append_bytes: dice.pick(&[1, 200, 700, 1 << 20]),
            recent_entries_bytes: dice.pick(&[0, 300, 3000, 16 << 20]),
            ..self.servers[at].config.clone()
        };
        self.configure(at, config);
    }

    pub(super) fn configure(&mut self, at: usize, config: Config) {
        if self.servers[at].is_up() {
            self.coverage.note(Situation::Configured);
            self.servers[at].config = config.clone();
            self.hears(at, Event::Configure(config));
        }
    }

    /// The operator rests, and all numbers are what they were.
    pub(super) fn operator_rests(&mut self) {
        self.operator.is_active = false;
        for at in 0..self.servers.len() {
            let known = &self.servers[at].config;
            let config = Config { seed: known.seed, ..self.plan.config.clone() };
            if *known != config {
                self.servers[at].config = config.clone();
                self.hears(at, Event::Configure(config));
            }
        }
    }

    pub(super) fn members_changed(
        &mut self,
        at: usize,
        id: RequestId,
        result: &Result<Changed, ChangeError>,
    ) {
        let is_open = |open: &Open| open.at == at && open.id == id;
        if self.operator.open.as_ref().is_some_and(is_open) {
            self.operator.open = None;
        }
        self.coverage.note(match result {
            Ok(Changed::Joint { .. } | Changed::Final { .. }) => Situation::MembersChanged,
            Err(ChangeError::OutcomeUnknown) => Situation::ChangeUnknown,
            Err(ChangeError::TakenBack) => Situation::ChangeTakenBack,
            Err(ChangeError::AnotherChange) => Situation::AnotherChangeRefused,
            Err(
                ChangeError::NotLeader { .. }
                | ChangeError::Noop
                | ChangeError::InoperableConfig(_)
                | ChangeError::OtherConfiguration { .. }
                | ChangeError::NotAMember(_)
                | ChangeError::Contradiction(_)
                | ChangeError::NotCaughtUp(_),
            ) => Situation::ChangeRefused,
        });
        self.tell(|| format!("server {} answers the operator: {result:?}", at + 1));
    }

    pub(super) fn transferred(&mut self, at: usize, result: Result<NodeId, TransferError>) {
        self.coverage.note(match result {
            Ok(_) => Situation::Transferred,
            Err(TransferError::TimedOut(_)) => Situation::TransferTimedOut,
            Err(
                TransferError::NotLeader { .. }
                | TransferError::NotAVoter(_)
                | TransferError::NoTarget
                | TransferError::Replaced(_),
            ) => Situation::TransferRefused,
        });
        self.tell(|| format!("server {} answers the operator: {result:?}", at + 1));
    }
}
