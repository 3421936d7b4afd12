//! The Raft actor: one mailbox, one loop.
//!
//! ```text
//!   messages --> events, requests --Flush--> core.step --> effects --> storage, network, clients
//!                                                ^                         |
//!                                                +-- saved, read, applied -+
//! ```
//!
//! Handlers only note what arrived. The first to note something asks for one `Flush`, which runs
//! when the mailbox is drained: so everything that arrived together is one step, one save, one
//! message to each peer. A lone request is not kept waiting.

use std::sync::Arc;
use std::time::SystemTime;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, AsyncContext, Context, Recipient, SpawnHandle};
use actix_raft_core::event::Event;
use actix_raft_core::raft::Raft as Core;
use actix_raft_core::types::Time;
use tokio::time::Instant;
use tracing::error;

use crate::application::Application;
use crate::asked::Requests;
use crate::client::Client;
use crate::config::Config;
use crate::gate::Gate;
use crate::handlers::Flush;
use crate::messages::{ClientError, GroupId, Index, LeaderInfo, MembershipConfig, NodeId};
use crate::metrics::RaftMetrics;
use crate::network::{RaftNetwork, SendMessages};
use crate::proposals::Proposals;
use crate::reads::Reads;
use crate::reporting::Reporting;
use crate::saves::Saves;
use crate::shutdown::Stopping;
use crate::storage::{Storage, StorageError};
use crate::validation::{Validation, Validator};

/// Events after which a step is taken without waiting for the mailbox to be drained, so that a
/// flood cannot starve timers and replies.
const MAX_EVENTS: usize = 1024;
/// A larger mailbox than Actix's 16 keeps senders from parking.
const MAILBOX: usize = 4096;

/// A node: the actor that runs the protocol for one server.
pub struct Raft<A: Application> {
    pub(crate) state: State,
    pub(crate) storage: Storage<A>,
    pub(crate) network: Recipient<SendMessages>,
    pub(crate) config: Config,
    pub(crate) gate: Arc<Gate>,
    pub(crate) id: NodeId,
    epoch: Instant,
    /// The time of day at the epoch, in milliseconds since 1970.
    epoch_millis: u64,

    /// What arrived since the last step.
    events: Vec<Event>,
    flush_asked: bool,
    deadline: Option<(Time, SpawnHandle)>,

    /// What is not answered.
    pub(crate) proposals: Proposals<A>,
    pub(crate) reads: Reads,
    pub(crate) requests: Requests,
    pub(crate) saves: Saves,
    pub(crate) stopping: Option<Stopping>,
    /// The last commit index that the core announced.
    pub(crate) committed: Index,
    /// Why the last snapshot could not be built, if the core was not told of it yet.
    pub(crate) snapshot_failure: Option<Arc<str>>,
    /// When a peer was complained of last.
    pub(crate) complained: Option<Instant>,
    pub(crate) reporting: Reporting,
}

/// Nothing in it is ever pinned, whatever the application's types are.
impl<A: Application> Unpin for Raft<A> {}

/// Whether the node runs.
pub(crate) enum State {
    Running(Box<Core>),
    Stopped { reason: Arc<str>, last: Box<RaftMetrics> },
}

/// What a node is made of.
pub struct RaftOptions<A: Application> {
    /// The node's id; never changed and never reused.
    pub id: NodeId,
    /// Timeouts and limits.
    pub config: Config,
    /// Where its log and state machine are: from the address of any
    /// [`RaftStorage`](crate::storage::RaftStorage).
    pub storage: Storage<A>,
    /// Who carries its messages: from the address of any [`RaftNetwork`].
    pub network: Recipient<SendMessages>,
    /// Who is shown its metrics.
    pub metrics: Option<Recipient<RaftMetrics>>,
    /// Who says which commands may be logged, while this node leads. All nodes should have the same.
    pub validator: Option<Box<dyn Validator<A>>>,
}

impl<A: Application> RaftOptions<A> {
    /// A node with the default configuration that shows its metrics to nobody and refuses no
    /// command.
    pub fn new<N>(id: NodeId, storage: impl Into<Storage<A>>, network: Addr<N>) -> RaftOptions<A>
    where
        N: RaftNetwork,
        N::Context: ToEnvelope<N, SendMessages>,
    {
        RaftOptions {
            id,
            config: Config::default(),
            storage: storage.into(),
            network: network.recipient(),
            metrics: None,
            validator: None,
        }
    }
}

/// Why a node could not start.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartError {
    /// The storage could not say what it holds.
    #[error("the storage failed: {0}")]
    Storage(#[from] StorageError),
    /// The storage's actor is gone.
    #[error("the storage's actor has ended")]
    StorageGone,
}

impl<A: Application> Raft<A> {
    /// Starts a node on the current arbiter, with what its storage holds. Returns when it runs; a
    /// node that was never told of a cluster then waits for
    /// [`InitWithConfig`](crate::admin::InitWithConfig) or a leader.
    ///
    /// # Errors
    /// If the storage cannot say what it holds.
    pub async fn start(options: RaftOptions<A>) -> Result<Client<A>, StartError> {
        let RaftOptions { id, mut config, storage, network, metrics, validator } = options;
        let asked = storage.initial_state().await;
        let stored = asked.map_err(|_| StartError::StorageGone)??;
        config.protocol.seed = config.seed.unwrap_or_else(|| fastrand::u64(..));
        let protocol = config.protocol.clone();
        let core = Core::new(id, GroupId::default(), protocol, &stored, Time::default());
        let gate = Gate::new(config.max_in_flight_requests, config.max_in_flight_request_bytes);
        // A clock before 1970 only makes sessions last longer.
        let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let raft = Raft {
            state: State::Running(Box::new(core)),
            storage,
            network,
            config,
            gate: Arc::clone(&gate),
            id,
            epoch: Instant::now(),
            epoch_millis: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX / 2),
            events: Vec::new(),
            flush_asked: false,
            deadline: None,
            proposals: Proposals::new(validator.map(Validation::new)),
            reads: Reads::default(),
            requests: Requests::default(),
            saves: Saves::default(),
            stopping: None,
            committed: Index::ZERO,
            snapshot_failure: None,
            complained: None,
            reporting: Reporting::new(metrics),
        };
        Ok(Client::new(Actor::start(raft), gate))
    }

    /// Notes that something happened, to be handled with whatever else the mailbox holds.
    pub(crate) fn note(&mut self, event: Event, ctx: &mut Context<Self>) {
        self.events.push(event);
        if self.events.len() >= MAX_EVENTS {
            self.flush(ctx);
        } else {
            self.ask_flush(ctx);
        }
    }

    /// Notes a request whose reply address is filed after this: no step may be taken before.
    pub(crate) fn note_request(&mut self, event: Event, ctx: &mut Context<Self>) {
        self.events.push(event);
        self.ask_flush(ctx);
    }

    pub(crate) fn ask_flush(&mut self, ctx: &mut Context<Self>) {
        if !self.flush_asked {
            self.flush_asked = true;
            ctx.notify(Flush);
        }
    }

    /// The step that was asked for.
    pub(crate) fn on_flush(&mut self, ctx: &mut Context<Self>) {
        self.flush_asked = false;
        self.flush(ctx);
    }

    /// Takes one step with everything that has arrived.
    pub(crate) fn flush(&mut self, ctx: &mut Context<Self>) {
        let mut events = std::mem::take(&mut self.events);
        let now = self.now();
        let State::Running(core) = &mut self.state else {
            self.refuse_all();
            return self.go_on_stopping(ctx);
        };
        self.requests.step();
        let time = self.epoch_millis.saturating_add(now.0 / 1_000_000);
        events.extend(self.proposals.take(&core.status(), time, |id| leader_info(core, id)));
        events.extend(self.reads.take());
        let effects = core.step(now, events);
        self.carry_out(effects, ctx);
        if let State::Running(core) = &self.state
            && self.proposals.stepped(&core.status())
        {
            self.ask_flush(ctx);
        }
        self.arm_timer(ctx);
        self.report_metrics(ctx);
        self.go_on_stopping(ctx);
    }

    fn arm_timer(&mut self, ctx: &mut Context<Self>) {
        let State::Running(core) = &self.state else { return };
        let Some(deadline) = core.deadline() else { return };
        if let Some((armed, timer)) = self.deadline {
            // A timer that fires early finds the later deadline: cheaper than moving it each time.
            if armed <= deadline {
                return;
            }
            ctx.cancel_future(timer);
        }
        let timer = ctx.run_later(deadline.since(self.now()), |raft, ctx| {
            raft.deadline = None;
            raft.events.push(Event::Timeout);
            raft.flush(ctx);
        });
        self.deadline = Some((deadline, timer));
    }

    /// The time on the core's clock.
    pub(crate) fn now(&self) -> Time {
        Time(0) + self.epoch.elapsed()
    }

    /// Stops for good: the storage failed, or the application wants it.
    pub(crate) fn stop(&mut self, reason: impl Into<Arc<str>>) {
        if let State::Stopped { .. } = self.state {
            return;
        }
        let reason = reason.into();
        let last = Box::new(self.current_metrics().stopped(&reason));
        self.state = State::Stopped { reason: Arc::clone(&reason), last };
        self.proposals.abandon(Index::ZERO, &reason);
        self.refuse_all();
        self.report(self.current_metrics());
    }

    /// Answers everything that reached a stopped node.
    fn refuse_all(&mut self) {
        let State::Stopped { reason, .. } = &self.state else { return };
        let error = ClientError::Stopped { reason: Arc::clone(reason) };
        self.proposals.refuse_all(&error);
        self.reads.refuse_all(&error);
        self.requests.stop(reason);
    }

    pub(crate) fn fail(&mut self, what: &str, error: impl std::fmt::Display) {
        error!(node = self.id.0, "stopping: {what}: {error}");
        self.stop(format!("{what}: {error}"));
    }

    pub(crate) fn membership(&self) -> Option<&Arc<MembershipConfig>> {
        match &self.state {
            State::Running(core) => core.membership().map(|(_, membership)| membership),
            State::Stopped { last, .. } => last.membership.as_ref(),
        }
    }

    /// Where a node is.
    pub(crate) fn leader_info(&self, id: NodeId) -> LeaderInfo {
        let address = self.membership().and_then(|members| members.address(id)).cloned();
        LeaderInfo { id, address }
    }
}

fn leader_info(core: &Core, id: NodeId) -> LeaderInfo {
    let address = core.membership().and_then(|(_, members)| members.address(id)).cloned();
    LeaderInfo { id, address }
}

impl<A: Application> Actor for Raft<A> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.watch_disk_space(ctx);
        self.flush(ctx);
    }
}
