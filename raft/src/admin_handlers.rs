//! What the node does with each command of an operator.

use std::collections::BTreeMap;

use actix::{Context, Handler};
use actix_raft_core::event::Event;

use crate::admin::{
    AddNonVoter, ChangeMembers, Changed, ConfigChangeError, Explain, Explanation, GetMetrics,
    InitWithConfig, InitWithConfigError, MemberChange, ProposeConfigChange, PurgeLog,
    PurgeLogError, Shutdown, Stopped, TransferLeadership, TransferLeadershipError, TriggerElection,
    TriggerElectionError, TriggerSnapshot, TriggerSnapshotError, UpdateConfig, UpdateConfigError,
};
use crate::application::Application;
use crate::asked::AnsweredById;
use crate::messages::{LogPosition, MembershipConfig, NodeId};
use crate::metrics::RaftMetrics;
use crate::raft::{Raft, State};
use crate::requests::Filed;

impl<A: Application> Handler<InitWithConfig> for Raft<A> {
    type Result = Filed<Result<(), InitWithConfigError>>;

    fn handle(&mut self, init: InitWithConfig, ctx: &mut Context<Self>) -> Self::Result {
        // The answer to an earlier one must not be taken for this one's.
        self.flush(ctx);
        let mut members = BTreeMap::from_iter(init.members);
        members.entry(self.id).or_default();
        let voters: Vec<NodeId> = members.keys().copied().collect();
        match MembershipConfig::new(voters, members) {
            Ok(membership) => self.note_request(Event::Initialize { membership }, ctx),
            // This node is always among them.
            Err(error) => self.fail("a membership with this node is none", error),
        }
        self.ask_flush(ctx);
        self.requests.filed_initializing.clone()
    }
}

impl<A: Application> Handler<ChangeMembers> for Raft<A> {
    type Result = AnsweredById<Result<Changed, ConfigChangeError>>;

    fn handle(&mut self, change: ChangeMembers, ctx: &mut Context<Self>) -> Self::Result {
        let id = self.requests.name();
        let ChangeMembers { changes, answer, expected } = change;
        self.note_request(Event::ChangeMembers { id, changes, expected, answer }, ctx);
        self.requests.changes.answer_later(id)
    }
}

impl<A: Application> Handler<ProposeConfigChange> for Raft<A> {
    type Result = AnsweredById<Result<Changed, ConfigChangeError>>;

    fn handle(&mut self, change: ProposeConfigChange, ctx: &mut Context<Self>) -> Self::Result {
        self.handle(change.into_changes(), ctx)
    }
}

impl<A: Application> Handler<AddNonVoter> for Raft<A> {
    type Result = AnsweredById<Result<Changed, ConfigChangeError>>;

    fn handle(&mut self, add: AddNonVoter, ctx: &mut Context<Self>) -> Self::Result {
        let changes = vec![MemberChange::AddNonVoter(add.id, add.address)];
        self.handle(ChangeMembers { changes, ..ChangeMembers::default() }, ctx)
    }
}

impl<A: Application> Handler<TransferLeadership> for Raft<A> {
    type Result = AnsweredById<Result<NodeId, TransferLeadershipError>>;

    fn handle(&mut self, transfer: TransferLeadership, ctx: &mut Context<Self>) -> Self::Result {
        let id = self.requests.name();
        self.note_request(Event::TransferLeadership { id, to: transfer.to }, ctx);
        self.requests.transfers.answer_later(id)
    }
}

impl<A: Application> Handler<TriggerElection> for Raft<A> {
    type Result = AnsweredById<Result<(), TriggerElectionError>>;

    fn handle(&mut self, _: TriggerElection, ctx: &mut Context<Self>) -> Self::Result {
        let id = self.requests.name();
        self.note_request(Event::TriggerElection { id }, ctx);
        self.requests.elections.answer_later(id)
    }
}

impl<A: Application> Handler<TriggerSnapshot> for Raft<A> {
    type Result = AnsweredById<Result<LogPosition, TriggerSnapshotError>>;

    fn handle(&mut self, _: TriggerSnapshot, ctx: &mut Context<Self>) -> Self::Result {
        let id = self.requests.name();
        self.note_request(Event::TriggerSnapshot { id }, ctx);
        self.requests.snapshots.answer_later(id)
    }
}

impl<A: Application> Handler<PurgeLog> for Raft<A> {
    type Result = AnsweredById<Result<LogPosition, PurgeLogError>>;

    fn handle(&mut self, purge: PurgeLog, ctx: &mut Context<Self>) -> Self::Result {
        let id = self.requests.name();
        self.note_request(Event::PurgeLog { id, until: purge.until }, ctx);
        self.requests.purges.answer_later(id)
    }
}

impl<A: Application> Handler<UpdateConfig> for Raft<A> {
    type Result = Result<(), UpdateConfigError>;

    fn handle(&mut self, update: UpdateConfig, ctx: &mut Context<Self>) -> Self::Result {
        if let State::Stopped { reason, .. } = &self.state {
            return Err(UpdateConfigError::Stopped { reason: reason.clone() });
        }
        self.config = self.config.updated(update)?;
        self.note(Event::Configure(self.config.protocol.clone()), ctx);
        Ok(())
    }
}

impl<A: Application> Handler<Explain> for Raft<A> {
    type Result = Result<Explanation, Stopped>;

    fn handle(&mut self, _: Explain, _: &mut Context<Self>) -> Self::Result {
        self.explain()
    }
}

impl<A: Application> Handler<GetMetrics> for Raft<A> {
    type Result = RaftMetrics;

    fn handle(&mut self, _: GetMetrics, _: &mut Context<Self>) -> RaftMetrics {
        self.current_metrics()
    }
}

impl<A: Application> Handler<Shutdown> for Raft<A> {
    type Result = Filed<()>;

    fn handle(&mut self, _: Shutdown, ctx: &mut Context<Self>) -> Self::Result {
        self.begin_to_stop(ctx)
    }
}
