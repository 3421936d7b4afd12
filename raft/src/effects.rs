//! Carrying out what the core wants done.

use std::sync::Arc;

use actix::{ActorFutureExt, AsyncContext, Context, MailboxError, WrapFuture};
use actix_raft_core::effect::{Effect, ProposeError, ReadError};
use actix_raft_core::event::{Event, LogReader, ProposalId, ReadId};
use actix_raft_core::stored::{Save, SaveId};
use tokio::time::{Duration, Instant};
use tracing::warn;

use crate::application::Application;
use crate::messages::{ClientError, Entry, EntryPayload, Index, NodeId, Rpc};
use crate::network::SendMessages;
use crate::raft::Raft;
use crate::requests::reply;
use crate::storage::{ReadLog, StorageError};

/// A step has at most one batch of proposals, so one name serves all.
pub(crate) const PROPOSAL: ProposalId = ProposalId(0);

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
                Effect::Initialized(result) => {
                    if !self.initializing.is_empty() {
                        reply(self.initializing.remove(0), result.map_err(Into::into));
                    }
                }
                Effect::Proposed { result, .. } => self.on_proposed(result),
                Effect::Committed { index } => {
                    self.committed = index;
                    self.writes.committed(index);
                }
                Effect::LeadershipLost => self.on_leadership_lost(),
                Effect::ReadReady { id } => self.answer_reads(id, &Ok(())),
                Effect::ReadRefused { id, error } => {
                    let leader = match error {
                        ReadError::NotLeader { leader } => self.leader_info(leader),
                        ReadError::LeaseDisabled => None,
                    };
                    self.answer_reads(id, &Err(ClientError::NotLeader { leader }));
                }
                Effect::Violation { from, what } => {
                    self.complain(from, what);
                }
                _ => {}
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
            if let Some(()) = raft.check("the log could not be written", result) {
                raft.saved(id, ctx);
            }
        }));
    }

    /// A save is on disk with all before it once those are answered, too. Answers come in order, but
    /// are not looked at in order: one that failed must not be passed over.
    fn saved(&mut self, id: SaveId, ctx: &mut Context<Self>) {
        self.saved_ahead.insert(id);
        let before = self.saved;
        while self.saved_ahead.remove(&SaveId(self.saved.0 + 1)) {
            self.saved.0 += 1;
        }
        if self.saved > before {
            self.note(Event::Saved { id: self.saved }, ctx);
        }
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
            let Some(responses) = raft.check("the state machine failed", result) else { return };
            let is_command = |entry: &&Entry| matches!(entry.payload, EntryPayload::Normal(_));
            let commands = entries.iter().filter(is_command).count();
            if responses.len() != commands {
                let error = format!("{} responses to {commands} commands", responses.len());
                return raft.fail("the state machine failed", error);
            }
            raft.writes.applied(&entries, responses);
            if let Some(last) = entries.last() {
                raft.note(Event::Applied { index: last.index }, ctx);
            }
        }));
    }

    /// The storage's answer; stops the node if there is none (fail-stop).
    fn check<T>(
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
        let writes = std::mem::take(&mut self.proposed);
        let error = match result {
            Ok(first) => return self.writes.logged(first, writes),
            Err(ProposeError::NotLeader { leader }) => {
                ClientError::NotLeader { leader: self.leader_info(leader) }
            }
            Err(_) => ClientError::Overloaded,
        };
        writes.into_iter().for_each(|write| reply(write.reply_to, Err(error.clone())));
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
        self.writes.abandon(self.committed, &reason);
    }

    fn answer_reads(&mut self, id: ReadId, answer: &Result<(), ClientError>) {
        // Reads are answered nearly in order, so the one looked for is among the first.
        if let Some(place) = self.reads.iter().position(|reads| reads.id == id) {
            let reads = self.reads.remove(place);
            reads.replies.into_iter().for_each(|to| reply(to, answer.clone()));
        }
    }
}
