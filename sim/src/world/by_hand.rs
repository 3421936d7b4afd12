//! A world that is driven by hand: messages wait until they are let go, timers fire when they are
//! told to, and nothing else happens by itself. The servers, disks and laws are those of any world.

use std::time::Duration;

use actix_raft_core::admin::RequestId;
use actix_raft_core::effect::Effect;
use actix_raft_core::entry::EntryPayload;
use actix_raft_core::event::Event;
use actix_raft_core::membership::Membership;
use actix_raft_core::message::Message;
use actix_raft_core::status::Status;
use actix_raft_core::stored::Save;
use actix_raft_core::types::Time;
use bytes::Bytes;

use super::clients::Reply;
use super::{Happening, World};
use crate::disk::Trap;
use crate::fault::Crash;
use crate::history::{self, Body, Operation};
use crate::laws::{Broken, Step};
use crate::network::{Packet, unpack};
use crate::script::words;
use crate::workload::{Request, Workload};

/// A moment that never comes.
const NEVER: Time = Time(u64::MAX);

impl<W: Workload> World<W> {
    /// From now on nothing happens by itself.
    pub(crate) fn take_by_hand(&mut self) {
        self.shown = Some(Vec::new());
        self.network.held = Some(Vec::new());
    }

    /// What was shown since this was asked last.
    pub(crate) fn take_shown(&mut self) -> Vec<String> {
        self.shown.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn members(&self) -> &Membership {
        &self.membership
    }

    /// Puts this on a server's disk before it starts.
    pub(crate) fn store(&mut self, at: usize, save: &Save) -> Result<(), String> {
        let mut wal = self.servers[at].disk.open().map_err(|error| error.to_string())?;
        wal.save(std::slice::from_ref(save)).map_err(|error| error.to_string())?;
        self.shadows[at].durable.write(save);
        for entry in save.entries.iter().flat_map(|run| run.iter()) {
            if let EntryPayload::Normal(command) = &entry.payload {
                self.note_writer(command);
            }
        }
        Ok(())
    }

    /// Some client has written this before the story begins, and does not know what became of it.
    fn note_writer(&mut self, command: &Bytes) {
        let is_known = |operation: &Operation<W>| {
            matches!(&operation.body,
            Body::Write { command: known, .. } if known == command)
        };
        if !self.history.iter().any(is_known) {
            self.history.push(Operation {
                client: self.history.len(),
                called: self.now,
                returned: None,
                body: Body::Write { command: command.clone(), response: None },
                outcome: history::Outcome::Unknown,
            });
        }
    }

    /// Lets everything happen that needs no time: disks, state machines, answers to clients.
    fn settle(&mut self) -> Result<(), Broken> {
        self.run_until(self.now)
    }

    pub(crate) fn advance(&mut self, by: Duration) -> Result<(), Broken> {
        self.run_until(self.now + by)
    }

    pub(crate) fn start_by_hand(&mut self, at: usize) -> Result<(), Broken> {
        self.restart(at)?;
        self.settle()
    }

    /// Tells a server which cluster it belongs to.
    pub(crate) fn form(&mut self, at: usize) -> Result<(), Broken> {
        self.initialize(at);
        self.settle()
    }

    /// A server's clock jumps to its core's deadline. Returns whether there was one.
    pub(crate) fn time_out(&mut self, at: usize) -> Result<bool, Broken> {
        let shown = self.servers[at].clock.show(self.now);
        let Some(running) = self.servers[at].running() else { return Ok(false) };
        let Some(deadline) = running.raft.deadline() else { return Ok(false) };
        self.jump(at, deadline.since(shown))?;
        Ok(true)
    }

    /// A server's clock jumps ahead.
    pub(crate) fn jump(&mut self, at: usize, by: Duration) -> Result<(), Broken> {
        self.servers[at].clock.jump(by, self.now);
        self.clock_changed(at);
        self.settle()
    }

    /// The messages under way, the oldest first.
    pub(crate) fn under_way(&self) -> Vec<Message> {
        let packets = self.network.held.iter().flatten();
        packets.flat_map(|packet| unpack(&packet.bytes).0).collect()
    }

    /// Takes a message off the network, or a copy of it.
    pub(crate) fn pick_up(&mut self, place: usize, copy: bool) -> Option<Packet> {
        let held = self.network.held.as_mut()?;
        match copy {
            true => held.get(place).map(|packet| Packet { again: true, ..packet.clone() }),
            false => (place < held.len()).then(|| held.remove(place)),
        }
    }

    pub(crate) fn deliver(&mut self, packet: Packet) -> Result<(), Broken> {
        if !self.servers[packet.to].is_up() {
            self.show_lost(&packet, "the server is down");
        }
        self.arrives(packet)?;
        self.settle()
    }

    pub(crate) fn show_lost(&mut self, packet: &Packet, why: &str) {
        for message in unpack(&packet.bytes).0 {
            self.tell(|| format!("  {} (lost: {why})", words::message(&message)));
        }
    }

    /// Links break, and what is on its way over them is lost.
    pub(crate) fn cut_by_hand(&mut self, links: &[(usize, usize)]) {
        self.cut(links);
        let held = self.network.held.take().unwrap_or_default();
        let (lost, kept) =
            held.into_iter().partition(|packet| links.contains(&(packet.from, packet.to)));
        self.network.held = Some(kept);
        let lost: Vec<Packet> = lost;
        lost.iter().for_each(|packet| self.show_lost(packet, "the link is cut"));
    }

    pub(crate) fn heal(&mut self) {
        self.network.mend_all();
    }

    pub(crate) fn pause(&mut self, at: usize) {
        self.servers[at].paused_until = NEVER;
    }

    pub(crate) fn go_on(&mut self, at: usize) -> Result<(), Broken> {
        self.servers[at].paused_until = self.now;
        self.resume(at);
        self.settle()
    }

    /// A server stops. Of a save under way the disk has done so many operations, or has not begun.
    pub(crate) fn crash_by_hand(
        &mut self,
        at: usize,
        crash: Crash,
        operations: Option<u64>,
    ) -> Result<(), Broken> {
        if operations.is_none()
            && let Some(running) = self.servers[at].running()
        {
            running.saving.clear();
        }
        self.crash_in_save(at, crash, operations)?;
        let disk = &mut self.servers[at].disk;
        disk.stalled_until = self.now;
        self.servers[at].apply_stalled_until = self.now;
        self.settle()
    }

    /// A server's disk finishes nothing until it is told to.
    pub(crate) fn hold_disk(&mut self, at: usize) {
        self.servers[at].disk.stalled_until = NEVER;
    }

    /// A held disk finishes the write that it is at.
    pub(crate) fn finish_write(&mut self, at: usize) -> Result<(), Broken> {
        self.servers[at].disk.stalled_until = self.now;
        self.saved(at)?;
        self.servers[at].disk.stalled_until = NEVER;
        self.settle()
    }

    /// A held disk goes on.
    pub(crate) fn release_disk(&mut self, at: usize) -> Result<(), Broken> {
        self.servers[at].disk.stalled_until = self.now;
        self.queue.put(self.now, Happening::Saved(at, self.servers[at].life));
        self.settle()
    }

    /// The next save of a server fails, after this many operations of its disk.
    pub(crate) fn fail_disk(&mut self, at: usize, operations: u64) {
        self.servers[at].disk.trap = Some(Trap::Error(operations));
    }

    /// The next start of a server fails, at this operation of its disk.
    pub(crate) fn fail_opening(&mut self, at: usize, operation: u64) {
        self.servers[at].disk.opening = Some(operation);
    }

    /// An operator asks a server for something.
    pub(crate) fn order_by_hand(
        &mut self,
        at: usize,
        ask: impl FnOnce(RequestId) -> Event,
    ) -> Result<(), Broken> {
        self.order(at, ask);
        self.settle()
    }

    /// A server stops, and its disk is gone.
    pub(crate) fn wipe_by_hand(&mut self, at: usize) -> Result<(), Broken> {
        self.wipe(at, Crash::Process)?;
        self.settle()
    }

    /// A server's disk says whether it has room.
    pub(crate) fn tell_of_space(&mut self, at: usize, low: bool) -> Result<(), Broken> {
        self.disk_space(at, low);
        self.settle()
    }

    pub(crate) fn fill_disk(&mut self, at: usize, full: bool) {
        self.servers[at].disk.set_full(full);
    }

    /// A bit flips in what was written before the next save but one.
    pub(crate) fn flip_by_hand(&mut self, at: usize, seed: u64) {
        self.servers[at].flip = Some(seed);
    }

    pub(crate) fn hold_machine(&mut self, at: usize) {
        self.servers[at].apply_stalled_until = NEVER;
    }

    pub(crate) fn release_machine(&mut self, at: usize) -> Result<(), Broken> {
        self.servers[at].apply_stalled_until = self.now;
        self.queue.put(self.now, Happening::Applied(at, self.servers[at].life));
        self.settle()
    }

    /// Clients, each another, send these to a server.
    pub(crate) fn ask(
        &mut self,
        at: usize,
        requests: impl IntoIterator<Item = Request<W>>,
    ) -> Result<(), Broken> {
        for request in requests {
            self.call(self.history.len(), request, Some(at));
        }
        self.settle()
    }

    /// What all clients saw must be explained by the agreed log.
    pub(crate) fn check_history(&self) -> Result<(), Broken> {
        history::check(&self.workload, &self.history, self.laws.committed())
            .map_err(|what| Broken { law: "clients see one state machine (§8)", what })
    }

    /// Shows a step and what it sends, unless it is of no interest: nothing visible came of what a
    /// disk or a state machine did.
    pub(super) fn show_step(&mut self, step: &Step<'_>) {
        if self.shown.is_none() {
            return;
        }
        let is_own = |event: &Event| {
            matches!(
                event,
                Event::Saved { .. }
                    | Event::Applied { .. }
                    | Event::LogRead { .. }
                    | Event::SnapshotRead { .. }
                    | Event::SnapshotChunkStored { .. }
            )
        };
        let what = |status: &Status| {
            let Status { role, current_term, voted_for, commit_index, trusted, .. } = *status;
            (role, current_term, voted_for, commit_index, trusted)
        };
        let sends = |effect: &Effect| matches!(effect, Effect::Send(_));
        let silent = step.events.iter().all(is_own)
            && what(&step.before) == what(&step.after)
            && !step.effects.iter().any(sends);
        if silent {
            return;
        }
        let events: Vec<String> = step.events.iter().map(words::event).collect();
        self.tell(|| format!("{} <- {}", words::status(&step.after), events.join("; ")));
        for effect in step.effects {
            if let Effect::Send(message) = effect {
                let to = message.to.0 as usize - 1;
                let lost =
                    if self.network.is_cut(step.at, to) { " (lost: the link is cut)" } else { "" };
                self.tell(|| format!("  {}{lost}", words::message(message)));
            }
        }
    }

    /// Shows what a client is answered.
    pub(super) fn show_answer(&mut self, operation: usize, reply: &Reply<W>) {
        if self.shown.is_none() {
            return;
        }
        let asked = match &self.history[operation].body {
            Body::Write { command, .. } => words::command(command),
            Body::Read { query, .. } => format!("{query:?}"),
        };
        let answer = match reply {
            Reply::Written(index, _) => format!("done at {index}"),
            Reply::Read(index, found) => format!("at {index} there is {found:?}"),
            Reply::Refused(Some(leader)) => format!("not done, server {leader} leads"),
            Reply::Refused(None) => "not done".to_string(),
            Reply::Unknown => "outcome unknown".to_string(),
        };
        self.tell(|| format!("  client: {asked}: {answer}"));
    }
}
