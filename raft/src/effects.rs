//! Carrying out what the core wants done.

use std::sync::Arc;

use actix::{ActorFutureExt, AsyncContext, Context, MailboxError, WrapFuture};
use actix_raft_core::effect::{Effect, ProposeError, ReadError};
use actix_raft_core::event::{Event, LogReader, ReadId};
use actix_raft_core::stored::{Save, SaveId};
use tokio::time::{Duration, Instant};
use tracing::warn;

use crate::admin::{
    ConfigChangeError, TransferLeadershipError, TriggerElectionError, TriggerSnapshotError,
};
use crate::application::Application;
use crate::messages::{ClientError, Entry, EntryPayload, Index, NodeId, Rpc};
use crate::network::SendMessages;
use crate::raft::Raft;
use crate::requests::reply;
use crate::storage::{ReadLog, StorageError};

impl<A: Application> Raft<A> {
    /// Carries out the effects of a step, in order; messages to peers go out together, first.
    pub(crate) fn carry_out(&mut self, effects: Vec<Effect>, ctx: &mut Context<Self>) {
        self.send_all(&effects);
        for effect in effects {
            match effect {
                Effect::Send(_) => {}
                Effect::Save { id, save } => self.save(id, save, ctx),
                Effect::ReadLog { reader, first, last, max_bytes } => {
                    self.read(reader, ReadLog { first, last, max_bytes }, ctx);
                }
                Effect::Apply { entries } => self.apply(entries, ctx),
                Effect::BuildSnapshot { base } => self.build_snapshot(base, ctx),
                Effect::ReadSnapshot { to, snapshot, offset, max_bytes } => {
                    self.read_snapshot(to, snapshot, offset, max_bytes, ctx);
                }
                Effect::StoreSnapshotChunk { snapshot, chunk } => {
                    self.store_snapshot_chunk(snapshot, chunk, ctx);
                }
                Effect::InstallSnapshot { snapshot } => self.install_snapshot(snapshot, ctx),
                Effect::Initialized(result) => {
                    if !self.requests.initializing.is_empty() {
                        reply(self.requests.initializing.remove(0), result.map_err(Into::into));
                    }
                }
                Effect::MembersChanged { id, result } => {
                    let error = |error| ConfigChangeError::of(error, |id| self.leader_info(id));
                    self.requests.changes.answer(id, result.map_err(error));
                }
                Effect::Transferred { id, result } => {
                    if !self.on_handed_over(id) {
                        let error =
                            |error| TransferLeadershipError::of(error, |id| self.leader_info(id));
                        self.requests.transfers.answer(id, result.map_err(error));
                    }
                }
                Effect::ElectionTriggered { id, result } => {
                    let error = |error| TriggerElectionError::of(error, |id| self.leader_info(id));
                    self.requests.elections.answer(id, result.map_err(error));
                }
                Effect::SnapshotTaken { id, result } => {
                    let failure = self.snapshot_failure.clone();
                    let error = |error| match (TriggerSnapshotError::from(error), failure) {
                        (TriggerSnapshotError::Unsupported, Some(reason)) => {
                            TriggerSnapshotError::Failed { reason }
                        }
                        (error, _) => error,
                    };
                    self.requests.snapshots.answer(id, result.map_err(error));
                }
                Effect::LogPurged { id, result } => {
                    self.requests.purges.answer(id, result.map_err(Into::into));
                }
                Effect::Proposed { result, .. } => self.on_proposed(result),
                Effect::Committed { index } => {
                    self.committed = index;
                    self.proposals.committed(index);
                }
                Effect::LeadershipLost => self.on_leadership_lost(),
                Effect::ReadReady { id } => self.reads.answer(id, &Ok(())),
                Effect::ReadRefused { id, error } => self.on_read_refused(id, error),
                Effect::Violation { from, what } => self.complain(from, what),
            }
        }
    }

    fn send_all(&mut self, effects: &[Effect]) {
        let sent = |effect: &Effect| match effect {
            Effect::Send(message) => Some(message.clone()),
            _ => None,
        };
        let messages: Vec<Rpc> = effects.iter().filter_map(sent).collect();
        if !messages.is_empty() {
            let membership = self.membership().cloned();
            self.network.do_send(SendMessages { messages, membership });
        }
    }

    fn save(&mut self, id: SaveId, save: Save, ctx: &mut Context<Self>) {
        let saved = self.storage.save(save).into_actor(self);
        ctx.spawn(saved.map(move |result, raft, ctx| {
            if let Some(()) = raft.check("the log could not be written", result)
                && let Some(id) = raft.saves.saved(id)
            {
                raft.note(Event::Saved { id }, ctx);
            }
        }));
    }

    fn read(&mut self, reader: LogReader, read: ReadLog, ctx: &mut Context<Self>) {
        let entries = self.storage.read(read).into_actor(self);
        ctx.spawn(entries.map(move |result, raft, ctx| {
            if let Some(entries) = raft.check("the log could not be read", result) {
                raft.note(Event::LogRead { reader, entries: entries.into() }, ctx);
            }
        }));
    }

    fn apply(&mut self, entries: Arc<[Entry]>, ctx: &mut Context<Self>) {
        let applied = self.storage.apply(Arc::clone(&entries)).into_actor(self);
        ctx.spawn(applied.map(move |result, raft, ctx| {
            let Some(outcomes) = raft.check("the state machine failed", result) else { return };
            let is_command = |entry: &&Entry| matches!(entry.payload, EntryPayload::Normal(_));
            let commands = entries.iter().filter(is_command).count();
            if outcomes.len() != commands {
                let error = format!("{} answers to {commands} commands", outcomes.len());
                return raft.fail("the state machine failed", error);
            }
            raft.proposals.applied(&entries, outcomes);
            if let Some(last) = entries.last() {
                raft.note(Event::Applied { index: last.index }, ctx);
            }
        }));
    }

    /// The storage's answer; stops the node if there is none (fail-stop).
    pub(crate) fn check<T>(
        &mut self,
        what: &str,
        result: Result<Result<T, StorageError>, MailboxError>,
    ) -> Option<T> {
        match result {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => self.fail(what, error),
            Err(error) => self.fail(what, format!("the storage's actor ended: {error}")),
        }
        None
    }

    fn on_proposed(&mut self, result: Result<Index, ProposeError>) {
        let error = match result {
            Ok(first) => return self.proposals.accepted(first),
            Err(ProposeError::NotLeader { leader }) => {
                ClientError::NotLeader { leader: leader.map(|id| self.leader_info(id)) }
            }
            Err(ProposeError::Transferring { to }) => {
                ClientError::Transferring { to: self.leader_info(to) }
            }
            Err(ProposeError::Overloaded) => ClientError::Overloaded,
            Err(ProposeError::DiskFull) => ClientError::DiskFull,
        };
        self.proposals.refused(&error);
    }

    fn on_read_refused(&mut self, id: ReadId, error: ReadError) {
        let error = match error {
            ReadError::NotLeader { leader } => {
                ClientError::NotLeader { leader: leader.map(|id| self.leader_info(id)) }
            }
            ReadError::LeaseDisabled => ClientError::LeaseDisabled,
        };
        self.reads.answer(id, &Err(error));
    }

    /// Warns of a peer, at most once a second: one that floods this node must not fill its log.
    fn complain(&mut self, from: NodeId, what: &'static str) {
        let now = Instant::now();
        if self.complained.is_none_or(|last| now - last >= Duration::from_secs(1)) {
            self.complained = Some(now);
            warn!("node {from} sent something that no correct node sends: {what}");
        }
    }

    fn on_leadership_lost(&mut self) {
        let reason = Arc::from("the leader lost its leadership before the command was committed");
        // What was committed when this node still led will be applied here as everywhere. Effects
        // are in order: what a new leader committed since, perhaps in place of ours, is not in yet.
        self.proposals.abandon(self.committed, &reason);
    }
}
