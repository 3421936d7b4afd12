//! What operators asked a node for and is not answered yet.
//!
//! ```text
//!   handler --> filed --flush--> asked: the core knows of it --effect--> answered
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use actix::dev::MessageResponse;
use actix::{Actor, Message};
use actix_raft_core::admin::RequestId;

use crate::admin::{
    Changed, ConfigChangeError, InitWithConfigError, PurgeLogError, TransferLeadershipError,
    TriggerElectionError, TriggerSnapshotError,
};
use crate::messages::{LogPosition, NodeId};
use crate::requests::{Filed, ReplyTo, reply};

/// Requests of one kind, each under the id that the core gives back with its answer.
pub struct Asked<R> {
    waiting: Rc<RefCell<Waiting<R>>>,
}

struct Waiting<R> {
    /// Filed since the last step: the core does not know of them.
    filed: BTreeMap<RequestId, ReplyTo<R>>,
    asked: BTreeMap<RequestId, ReplyTo<R>>,
}

/// Files the reply address of a message under its id.
pub struct AnsweredById<R> {
    requests: Rc<RefCell<Waiting<R>>>,
    id: RequestId,
}

impl<A: Actor, M: Message> MessageResponse<A, M> for AnsweredById<M::Result> {
    fn handle(self, _: &mut A::Context, tx: ReplyTo<M::Result>) {
        self.requests.borrow_mut().filed.insert(self.id, tx);
    }
}

impl<R> Default for Asked<R> {
    fn default() -> Asked<R> {
        let waiting = Waiting { filed: BTreeMap::new(), asked: BTreeMap::new() };
        Asked { waiting: Rc::new(RefCell::new(waiting)) }
    }
}

impl<R> Asked<R> {
    /// The response of a handler whose message is answered under this id.
    pub(crate) fn answer_later(&self, id: RequestId) -> AnsweredById<R> {
        AnsweredById { requests: Rc::clone(&self.waiting), id }
    }

    /// The core is told of all that is filed.
    pub(crate) fn step(&self) {
        let mut waiting = self.waiting.borrow_mut();
        let filed = std::mem::take(&mut waiting.filed);
        waiting.asked.extend(filed);
    }

    pub(crate) fn answer(&self, id: RequestId, answer: R) {
        let to = self.waiting.borrow_mut().asked.remove(&id);
        reply(to.flatten(), answer);
    }

    /// Ends all of them: those that the core knows of, and those that it does not.
    pub(crate) fn end(&self, known: impl Fn() -> R, unknown: impl Fn() -> R) {
        let mut waiting = self.waiting.borrow_mut();
        let (filed, asked) =
            (std::mem::take(&mut waiting.filed), std::mem::take(&mut waiting.asked));
        drop(waiting);
        asked.into_values().for_each(|to| reply(to, known()));
        filed.into_values().for_each(|to| reply(to, unknown()));
    }
}

/// All that operators may wait for.
#[derive(Default)]
pub(crate) struct Requests {
    next: u64,
    pub(crate) initializing: Vec<ReplyTo<Result<(), InitWithConfigError>>>,
    pub(crate) filed_initializing: Filed<Result<(), InitWithConfigError>>,
    pub(crate) changes: Asked<Result<Changed, ConfigChangeError>>,
    pub(crate) transfers: Asked<Result<NodeId, TransferLeadershipError>>,
    pub(crate) elections: Asked<Result<(), TriggerElectionError>>,
    pub(crate) snapshots: Asked<Result<LogPosition, TriggerSnapshotError>>,
    pub(crate) purges: Asked<Result<LogPosition, PurgeLogError>>,
}

impl Requests {
    /// A name for a request, never given before.
    pub(crate) fn name(&mut self) -> RequestId {
        self.next += 1;
        RequestId(self.next)
    }

    /// The core is told of all that is filed.
    pub(crate) fn step(&mut self) {
        self.initializing.extend(self.filed_initializing.take());
        self.changes.step();
        self.transfers.step();
        self.elections.step();
        self.snapshots.step();
        self.purges.step();
    }

    /// Answers everything that reached a stopped node.
    pub(crate) fn stop(&mut self, reason: &Arc<str>) {
        let reason = || Arc::clone(reason);
        self.initializing.extend(self.filed_initializing.take());
        for to in std::mem::take(&mut self.initializing) {
            reply(to, Err(InitWithConfigError::Stopped { reason: reason().to_string() }));
        }
        self.changes.end(
            || Err(ConfigChangeError::OutcomeUnknown { reason: reason() }),
            || Err(ConfigChangeError::Stopped { reason: reason() }),
        );
        let transfers = || Err(TransferLeadershipError::Stopped { reason: reason() });
        self.transfers.end(transfers, transfers);
        let elections = || Err(TriggerElectionError::Stopped { reason: reason() });
        self.elections.end(elections, elections);
        let snapshots = || Err(TriggerSnapshotError::Stopped { reason: reason() });
        self.snapshots.end(snapshots, snapshots);
        let purges = || Err(PurgeLogError::Stopped { reason: reason() });
        self.purges.end(purges, purges);
    }
}
