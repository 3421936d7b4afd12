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

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, AsyncContext, Context, Recipient, SpawnHandle};
use actix_raft_core::event::{Consistency, Event, ReadId};
use actix_raft_core::raft::Raft as Core;
use actix_raft_core::stored::SaveId;
use actix_raft_core::types::Time;
use tokio::time::Instant;
use tracing::{error, info};

use crate::admin::InitWithConfigError;
use crate::application::Application;
use crate::client::Client;
use crate::config::Config;
use crate::gate::{Gate, Permit};
use crate::handlers::Flush;
use crate::messages::{ClientError, GroupId, Index, LeaderInfo, MembershipConfig, NodeId};
use crate::metrics::{RaftMetrics, RaftState};
use crate::network::{RaftNetwork, SendMessages};
use crate::requests::{Arrived, Filed, ReplyTo, Write, WriteResult, Writes, reply};
use crate::storage::{Storage, StorageError};

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
    metrics: Option<Recipient<RaftMetrics>>,
    pub(crate) config: Config,
    pub(crate) gate: Arc<Gate>,
    pub(crate) id: NodeId,
    epoch: Instant,

    /// What arrived since the last step.
    events: Vec<Event>,
    pub(crate) arrived: Arrived<A::Response>,
    pub(crate) arrived_reads: Vec<Permit>,
    pub(crate) flush_asked: bool,
    pub(crate) write_replies: Filed<WriteResult<A::Response>>,
    pub(crate) read_replies: Filed<Result<(), ClientError>>,
    pub(crate) init_replies: Filed<Result<(), InitWithConfigError>>,

    /// What is not answered.
    pub(crate) proposed: Vec<Write<A::Response>>,
    pub(crate) writes: Writes<A::Response>,
    pub(crate) reads: Vec<Reads>,
    /// The last commit index that the core announced.
    pub(crate) committed: Index,
    /// The last save that is answered with all before it, and those answered after it.
    pub(crate) saved: SaveId,
    pub(crate) saved_ahead: BTreeSet<SaveId>,
    /// When a peer was complained of last.
    pub(crate) complained: Option<Instant>,
    pub(crate) initializing: Vec<ReplyTo<Result<(), InitWithConfigError>>>,
    next_read: u64,

    deadline: Option<(Time, SpawnHandle)>,
    reported: Option<RaftMetrics>,
    report_due: bool,
}

/// Whether the node runs.
pub(crate) enum State {
    Running(Box<Core>),
    Stopped { reason: Arc<str>, last: Box<RaftMetrics> },
}

/// Reads that arrived together.
pub(crate) struct Reads {
    pub(crate) id: ReadId,
    pub(crate) replies: Vec<ReplyTo<Result<(), ClientError>>>,
    _permits: Vec<Permit>,
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
}

impl<A: Application> RaftOptions<A> {
    /// A node with the default configuration that shows its metrics to nobody.
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
        let RaftOptions { id, config, storage, network, metrics } = options;
        let asked = storage.initial_state().await;
        let stored = asked.map_err(|_| StartError::StorageGone)??;
        let mut protocol = config.protocol.clone();
        protocol.seed = config.seed.unwrap_or_else(|| fastrand::u64(..));
        let core = Core::new(id, GroupId::default(), protocol, &stored, Time::default());
        let gate = Gate::new(config.max_in_flight_requests, config.max_in_flight_request_bytes);
        let raft = Raft {
            state: State::Running(Box::new(core)),
            storage,
            network,
            metrics,
            config,
            gate: Arc::clone(&gate),
            id,
            epoch: Instant::now(),
            events: Vec::new(),
            arrived: Arrived::new(),
            arrived_reads: Vec::new(),
            flush_asked: false,
            write_replies: Filed::default(),
            read_replies: Filed::default(),
            init_replies: Filed::default(),
            proposed: Vec::new(),
            writes: Writes::new(),
            reads: Vec::new(),
            committed: Index::ZERO,
            saved: SaveId::default(),
            saved_ahead: BTreeSet::new(),
            complained: None,
            initializing: Vec::new(),
            next_read: 0,
            deadline: None,
            reported: None,
            report_due: false,
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

    pub(crate) fn ask_flush(&mut self, ctx: &mut Context<Self>) {
        if !self.flush_asked {
            self.flush_asked = true;
            ctx.notify(Flush);
        }
    }

    /// Takes one step with everything that has arrived.
    pub(crate) fn flush(&mut self, ctx: &mut Context<Self>) {
        let mut events = std::mem::take(&mut self.events);
        events.extend(self.take_writes());
        events.extend(self.take_reads());
        self.initializing.extend(self.init_replies.take());
        let State::Running(core) = &mut self.state else {
            return self.refuse_all();
        };
        let now = Time(0) + self.epoch.elapsed();
        let effects = core.step(now, events);
        self.carry_out(effects, ctx);
        self.arm_timer(ctx);
        self.report_metrics(ctx);
    }

    fn take_writes(&mut self) -> Option<Event> {
        let mut arrived = std::mem::replace(&mut self.arrived, Arrived::new());
        for (write, reply_to) in arrived.writes.iter_mut().zip(self.write_replies.take()) {
            write.reply_to = reply_to;
        }
        if arrived.writes.is_empty() {
            return None;
        }
        self.proposed = arrived.writes;
        Some(Event::Propose { id: crate::effects::PROPOSAL, commands: arrived.commands })
    }

    fn take_reads(&mut self) -> Option<Event> {
        let replies = self.read_replies.take();
        if replies.is_empty() {
            return None;
        }
        self.next_read += 1;
        let id = ReadId(self.next_read);
        let permits = std::mem::take(&mut self.arrived_reads);
        self.reads.push(Reads { id, replies, _permits: permits });
        Some(Event::Read { id, consistency: Consistency::Linearizable })
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
        let now = Time(0) + self.epoch.elapsed();
        let timer = ctx.run_later(deadline.since(now), |raft, ctx| {
            raft.deadline = None;
            raft.events.push(Event::Timeout);
            raft.flush(ctx);
        });
        self.deadline = Some((deadline, timer));
    }

    /// Stops for good: the storage failed, or the application wants it.
    pub(crate) fn stop(&mut self, reason: impl Into<Arc<str>>) {
        if let State::Stopped { .. } = self.state {
            return;
        }
        let reason = reason.into();
        let mut last = self.current_metrics();
        last.state = RaftState::Stopped { reason: Arc::clone(&reason) };
        last.leader = None;
        self.state = State::Stopped { reason: Arc::clone(&reason), last: Box::new(last) };
        self.writes.abandon(Index::ZERO, &reason);
        self.refuse_all();
        self.report(self.current_metrics());
    }

    /// Answers everything that reached a stopped node.
    fn refuse_all(&mut self) {
        let State::Stopped { reason, .. } = &self.state else { return };
        let stopped = || ClientError::Stopped { reason: Arc::clone(reason) };
        for write in std::mem::take(&mut self.proposed) {
            reply(write.reply_to, Err(stopped()));
        }
        for reads in std::mem::take(&mut self.reads) {
            reads.replies.into_iter().for_each(|to| reply(to, Err(stopped())));
        }
        for to in std::mem::take(&mut self.initializing) {
            reply(to, Err(InitWithConfigError::Stopped { reason: reason.to_string() }));
        }
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

    /// Where clients should go instead.
    pub(crate) fn leader_info(&self, leader: Option<NodeId>) -> Option<LeaderInfo> {
        let id = leader?;
        let address = self.membership().and_then(|members| members.address(id)).cloned();
        Some(LeaderInfo { id, address })
    }

    pub(crate) fn current_metrics(&self) -> RaftMetrics {
        let core = match &self.state {
            State::Running(core) => core,
            State::Stopped { last, .. } => return (**last).clone(),
        };
        let status = core.status();
        let membership = core.membership();
        RaftMetrics {
            id: self.id,
            state: RaftState::Running(status.role),
            current_term: status.current_term,
            voted_for: status.voted_for,
            leader: status.leader,
            commit_index: status.commit_index,
            last_applied: status.last_applied,
            last_log_index: status.last_log.index,
            last_durable_index: status.last_durable,
            membership: membership.map(|(_, membership)| Arc::clone(membership)),
            membership_index: membership.map_or(Index::ZERO, |(index, _)| *index),
        }
    }

    fn report_metrics(&mut self, ctx: &mut Context<Self>) {
        if let State::Stopped { .. } = self.state {
            return;
        }
        let metrics = self.current_metrics();
        let news = self.reported.as_ref().is_none_or(|before| metrics.has_news(before));
        if news {
            self.report(metrics);
        } else if !self.report_due && self.reported.as_ref() != Some(&metrics) {
            self.report_due = true;
            ctx.run_later(self.config.metrics_rate, |raft, _| {
                raft.report_due = false;
                raft.report(raft.current_metrics());
            });
        }
    }

    fn report(&mut self, metrics: RaftMetrics) {
        let role = |metrics: &RaftMetrics| (metrics.state.clone(), metrics.leader);
        if self.reported.as_ref().map(role) != Some(role(&metrics)) {
            let RaftMetrics { id, state, current_term, leader, .. } = &metrics;
            let leader = leader.map_or("none".to_string(), |leader| leader.to_string());
            match state {
                RaftState::Running(role) => {
                    info!("node {id} is {role} in term {current_term}, leader: {leader}");
                }
                RaftState::Stopped { reason } => info!("node {id} has stopped: {reason}"),
            }
        }
        if let Some(recipient) = &self.metrics {
            recipient.do_send(metrics.clone());
        }
        self.reported = Some(metrics);
    }
}

impl<A: Application> Actor for Raft<A> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.flush(ctx);
    }
}
