//! The writes of a node: from their arrival to the core, and from the log to their answers.

use std::sync::Arc;

use actix_raft_core::event::{Event, ProposalId};
use actix_raft_core::status::{RoleName, Status};

use crate::application::Application;
use crate::envelope::Draft;
use crate::messages::{ClientError, Entry, Index, LeaderInfo, NodeId};
use crate::requests::{Arrival, Arrived, Write, Writes};
use crate::storage::Outcome;
use crate::validation::Validation;

/// A step has at most one batch of proposals, so one name serves all.
const PROPOSAL: ProposalId = ProposalId(0);

/// The writes that are not answered.
pub(crate) struct Proposals<A: Application> {
    pub(crate) arrived: Arrived<A>,
    validation: Option<Validation<A>>,
    /// Those that wait until they can be validated.
    waiting: Vec<Arrival<A>>,
    /// Those of the step that is under way.
    proposed: Vec<Write<A>>,
    logged: Writes<A>,
}

impl<A: Application> Proposals<A> {
    pub(crate) fn new(validation: Option<Validation<A>>) -> Proposals<A> {
        Proposals {
            arrived: Arrived::new(),
            validation,
            waiting: Vec::new(),
            proposed: Vec::new(),
            logged: Writes::new(),
        }
    }

    /// What is to be proposed in this step, at this time of the log.
    pub(crate) fn take(
        &mut self,
        status: &Status,
        time: u64,
        leader_info: impl Fn(NodeId) -> LeaderInfo,
    ) -> Option<Event> {
        let mut arrived = self.arrived.take();
        if let Some(validation) = &mut self.validation {
            arrived.splice(..0, self.waiting.drain(..));
            if status.role != RoleName::Leader {
                // The core might lead at the end of this step, and accept what nobody validated.
                let leader = status.leader.map(leader_info);
                let error = ClientError::NotLeader { leader };
                arrived.drain(..).for_each(|arrival| arrival.write.refuse(error.clone()));
            } else if !validation.is_ready(status.last_applied) {
                self.waiting = arrived;
                return None;
            }
        }
        let mut commands = Vec::with_capacity(arrived.len());
        for Arrival { draft, serial, mut write } in arrived {
            let (payload, command) = draft.stamp(time);
            let Some(validation) = &mut self.validation else {
                commands.push(payload);
                self.proposed.push(write);
                continue;
            };
            // What is no command stops all who apply it: no reason to ask about it.
            let command = if write.is_command() { A::decode(command).ok() } else { None };
            match (command.map(|command| validation.ask(command)), serial) {
                (None, _) => validation.pass(),
                (Some(Ok(())), _) => {}
                (Some(Err(rejection)), None) => {
                    write.reject(rejection);
                    continue;
                }
                (Some(Err(rejection)), Some(serial)) => {
                    // Perhaps it is refused for what it did itself, in an earlier attempt.
                    validation.pass();
                    write.rejection = Some(rejection);
                    commands.push(Draft::probe(serial).stamp(time).0);
                    self.proposed.push(write);
                    continue;
                }
            }
            commands.push(payload);
            self.proposed.push(write);
        }
        (!commands.is_empty()).then_some(Event::Propose { id: PROPOSAL, commands })
    }

    /// Takes note of the node after a step; returns whether writes waited for that.
    pub(crate) fn stepped(&mut self, status: &Status) -> bool {
        let Some(validation) = &mut self.validation else { return false };
        let leads = (status.role == RoleName::Leader).then_some(status.current_term);
        validation.note(leads, status.last_log.index, status.last_applied);
        !self.waiting.is_empty() && (leads.is_none() || validation.is_ready(status.last_applied))
    }

    /// What was proposed is in the log.
    pub(crate) fn accepted(&mut self, first: Index) {
        self.logged.logged(first, std::mem::take(&mut self.proposed));
        if let Some(validation) = &mut self.validation {
            validation.proposed(Some(first));
        }
    }

    /// What was proposed will never be in the log.
    pub(crate) fn refused(&mut self, error: &ClientError) {
        self.proposed.drain(..).for_each(|write| write.refuse(error.clone()));
        if let Some(validation) = &mut self.validation {
            validation.proposed(None);
        }
    }

    pub(crate) fn committed(&mut self, until: Index) {
        self.logged.committed(until);
    }

    pub(crate) fn applied(&mut self, entries: &[Entry], outcomes: Vec<Outcome<A::Response>>) {
        self.logged.applied(entries, outcomes);
    }

    /// Gives up what is in the log beyond this index: nobody here knows what becomes of it.
    pub(crate) fn passed_over(&mut self, until: Index) {
        self.logged.passed_over(until);
    }

    pub(crate) fn abandon(&mut self, beyond: Index, reason: &Arc<str>) {
        self.logged.abandon(beyond, reason);
    }

    /// Whether nothing in the log waits for its answer.
    pub(crate) fn are_answered(&self) -> bool {
        self.logged.is_empty()
    }

    /// Answers everything that is not in the log.
    pub(crate) fn refuse_all(&mut self, error: &ClientError) {
        self.refused(error);
        let arrived = self.arrived.take().into_iter();
        for arrival in self.waiting.drain(..).chain(arrived) {
            arrival.write.refuse(error.clone());
        }
    }
}
