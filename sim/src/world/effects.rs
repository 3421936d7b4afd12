//! Carrying out what a core wants, as the actor shell does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_raft::application::{Application, StateMachine};
use actix_raft_core::effect::Effect;
use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::event::{Event, LogReader};
use actix_raft_core::message::Message;
use actix_raft_core::types::Index;
use actix_raft_log::error::ReadError;

use super::clients::Reply;
use super::{Happening, Job, Piece, World};
use crate::coverage::Situation;
use crate::laws::{Broken, law};
use crate::server::Wanted;
use crate::workload::{Response, Workload};

impl<W: Workload> World<W> {
    pub(super) fn carry_out(&mut self, at: usize, effects: Vec<Effect>) -> Result<(), Broken> {
        let mut outbox: BTreeMap<usize, Vec<Message>> = BTreeMap::new();
        for effect in effects {
            let Some(running) = self.servers[at].running() else { return Ok(()) };
            match effect {
                Effect::Save { id, save } => running.saves.push_back((id, save)),
                Effect::Send(message) => {
                    outbox.entry(message.to.0 as usize - 1).or_default().push(message);
                }
                Effect::ReadLog { reader, first, last, max_bytes } => {
                    running.wanted.insert(reader, Wanted { first, last, max_bytes });
                    let situation = match reader {
                        LogReader::Follower(_) => Situation::FollowerReadFromDisk,
                        LogReader::StateMachine => Situation::AppliedFromDisk,
                    };
                    self.coverage.note(situation);
                    let wait = self.dice.duration(self.weather.read.0, self.weather.read.1);
                    self.after(wait, Happening::LogRead(at, self.servers[at].life, reader));
                }
                Effect::Apply { entries } => {
                    running.applying = Some(entries);
                    let wait = self.dice.duration(self.weather.apply.0, self.weather.apply.1);
                    self.after(wait, Happening::Applied(at, self.servers[at].life));
                }
                // The laws have seen it.
                Effect::Initialized(_) => {}
                Effect::Proposed { id, result } => self.proposed(at, id, result)?,
                Effect::Committed { index } => {
                    running.committed = index;
                    self.answer_committed(at);
                }
                Effect::LeadershipLost => self.leadership_lost(at),
                Effect::ReadReady { id } => self.read_ready(at, id),
                Effect::ReadRefused { id, error } => self.read_refused(at, id, error),
                Effect::BuildSnapshot { base } => self.build_snapshot(at, base),
                Effect::ReadSnapshot { to, snapshot, offset, max_bytes } => {
                    self.read_piece(at, to, Piece { snapshot, offset, max_bytes });
                }
                Effect::StoreSnapshotChunk { snapshot, chunk } => {
                    self.will_work(at, Job::Store(snapshot, chunk));
                }
                Effect::InstallSnapshot { snapshot } => {
                    self.will_work(at, Job::Install(snapshot));
                }
                Effect::MembersChanged { id, result } => self.members_changed(at, id, &result),
                Effect::Transferred { result, .. } => self.transferred(at, result),
                Effect::ElectionTriggered { result: Ok(()), .. } => {
                    self.coverage.note(Situation::ElectionTriggered);
                }
                // The laws have seen them.
                Effect::ElectionTriggered { result: Err(_), .. }
                | Effect::SnapshotTaken { .. }
                | Effect::LogPurged { .. } => {}
                // The laws have seen it.
                Effect::Violation { .. } => {}
            }
        }
        for (to, messages) in outbox {
            self.send(at, to, &messages);
        }
        self.start_save(at);
        Ok(())
    }

    fn send(&mut self, from: usize, to: usize, messages: &[Message]) {
        // In one frame, or each in its own.
        let size = if self.weather.batches { messages.len() } else { 1 };
        for messages in messages.chunks(size.max(1)) {
            let sent = self.network.send(self.now, (from, to), messages, &self.weather);
            for (time, packet) in sent.arrivals {
                self.queue.put(time, Happening::Arrives(packet));
            }
            if sent.lost && self.dice.happens(self.weather.noticed) {
                let wait = self.plan.config.heartbeat_interval;
                self.after(wait, Happening::LinkBroke(from, to));
            }
        }
    }

    /// The state machine is done with a batch.
    pub(super) fn applied(&mut self, at: usize) -> Result<(), Broken> {
        let server = &mut self.servers[at];
        if server.apply_stalled_until > self.now {
            let (life, until) = (server.life, server.apply_stalled_until);
            self.queue.put(until, Happening::Applied(at, life));
            return Ok(());
        }
        let Some(running) = server.running() else { return Ok(()) };
        let Some(entries) = running.applying.take() else { return Ok(()) };
        let mut answers = Vec::new();
        for entry in entries.iter() {
            if let EntryPayload::Normal(command) = &entry.payload {
                let command = W::Machine::decode(command.clone()).map_err(|error| Broken {
                    law: "commands are read back as they were written",
                    what: format!("at {}: {error}", entry.position()),
                })?;
                answers.push((entry, running.machine.apply(entry.index, command)));
            }
        }
        let last = entries.last().map_or(Index::ZERO, |entry| entry.index);
        running.machine.applied(last);
        let fingerprint = W::fingerprint(&running.machine);
        self.shadows[at].applied = last;
        self.same_everywhere(at, last, fingerprint, &answers)?;
        for (entry, response) in answers {
            self.answer_applied(at, entry, response)?;
        }
        if let Some(running) = self.servers[at].running() {
            let left = running.writes.front().filter(|(index, _)| *index <= last);
            law!(left.is_none(), "who waits for an index is answered", "{left:?} at {last}");
        }
        self.hears(at, Event::Applied { index: last });
        Ok(())
    }

    /// Replicas that have applied equally much are equal, and answer alike.
    fn same_everywhere(
        &mut self,
        at: usize,
        last: Index,
        fingerprint: u64,
        answers: &[(&Entry, Response<W>)],
    ) -> Result<(), Broken> {
        let law = "replicas that applied the same log are equal (§2)";
        let first = *self.fingerprints.entry(last).or_insert(fingerprint);
        law!(first == fingerprint, law, "the state of server {} differs at {last}", at + 1);
        for (entry, response) in answers {
            let place = entry.index.prev().0 as usize;
            if self.responses.len() <= place {
                self.responses.resize(place + 1, None);
            }
            match &self.responses[place] {
                None => self.responses[place] = Some(response.clone()),
                Some(known) => law!(
                    known == response,
                    law,
                    "server {} answers {response:?} at {}, another {known:?}",
                    at + 1,
                    entry.index
                ),
            }
        }
        Ok(())
    }

    /// The disk has read what was asked for.
    pub(super) fn log_read(&mut self, at: usize, reader: LogReader) -> Result<(), Broken> {
        let Some(running) = self.servers[at].running() else { return Ok(()) };
        let Some(Wanted { first, last, max_bytes }) = running.wanted.remove(&reader) else {
            return Ok(());
        };
        let entries = match running.wal.reader().read(first, last, max_bytes) {
            Ok(entries) => entries,
            // A new leader's entries have taken their place since they were asked for.
            Err(ReadError::Beyond { .. } | ReadError::Purged { .. }) => Vec::new(),
            Err(error) => {
                let known = self.servers[at].disk.flipped;
                law!(known, "what was stored can be read", "{error}");
                self.coverage.note(Situation::BitFlipFound);
                self.tell(|| format!("server {} stops: {error}", at + 1));
                self.fail_stop(at);
                return Ok(());
            }
        };
        for (entry, index) in entries.iter().zip(first.0..) {
            let stored = self.shadows[at].durable.entry(Index(index));
            law!(
                stored == Some(entry),
                "what is read is what was stored",
                "server {} reads {} for {index}",
                at + 1,
                entry.position()
            );
        }
        let entries: Arc<[Entry]> = entries.into();
        let chaos = self.shown.is_none() && self.cleared.is_none();
        if chaos && self.odd_dice.below(32) == 0 {
            // Whoever reads is a thread of its own: much may have happened when it is heard.
            self.coverage.note(Situation::ReadCameLate);
            let patience = self.plan.config.election_timeout;
            let wait = self.odd_dice.duration(Duration::ZERO, patience * 6);
            let life = self.servers[at].life;
            self.after(wait, Happening::ReadComes(at, life, reader, entries));
        } else {
            self.hears(at, Event::LogRead { reader, entries });
        }
        Ok(())
    }

    pub(super) fn refuse(&mut self, operations: Vec<usize>, reply: impl Fn() -> Reply<W>) {
        for operation in operations {
            self.answer(operation, reply());
        }
    }
}
