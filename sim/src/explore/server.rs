//! One server of a small world: the real core on a disk that takes its time, and all that one
//! thing that happens makes it do.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use actix_raft_core::config::Config;
use actix_raft_core::effect::Effect;
use actix_raft_core::entry::Entry;
use actix_raft_core::event::{Event, ReadId};
use actix_raft_core::message::Message;
use actix_raft_core::raft::Raft;
use actix_raft_core::status::{RoleName, Status};
use actix_raft_core::stored::{Save, SaveId};
use actix_raft_core::types::{GroupId, Index, NodeId, Term, Time};

use super::laws;
use crate::image::Image;
use crate::quiet::quietly;

/// It is always this time: with timeouts of zero every deadline has passed, so that whatever can
/// ever happen can happen now, and no time is part of a state.
const NOW: Time = Time(0);

/// Stores a save, which must continue the log.
fn store(image: &mut Image, save: &Save) -> Result<(), String> {
    let mut length = image.last().index.0;
    for run in &save.entries {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        if first.index == Index::ZERO || first.index.prev().0 > length {
            return Err(format!("the save of entry {} leaves a gap", first.position()));
        }
        length = last.index.0;
    }
    image.write(save);
    Ok(())
}

/// Entries of these indexes, up to a weight, at least one.
fn read(image: &Image, first: Index, last: Index, max_bytes: usize) -> Arc<[Entry]> {
    let wanted = image.range(first.prev(), last);
    let mut bytes = 0;
    let fits = |entry: &&Entry| {
        let before = bytes;
        bytes += entry.weight();
        before == 0 || bytes <= max_bytes
    };
    wanted.iter().take_while(fits).cloned().collect()
}

/// A server and its disk.
#[derive(Clone)]
pub(super) struct Server {
    raft: Raft,
    /// What a crash leaves.
    pub(super) durable: Image,
    /// What the server believes to be on its disk: `durable` and the saves that wait.
    pub(super) live: Image,
    queued: VecDeque<(SaveId, Save)>,
    /// The elections that it called in its current term, in all its lives.
    pub(super) campaigns: u64,
}

/// What happens to a server.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// Something that the core is told.
    Event(Event),
    /// The disk finishes the oldest save.
    SaveDone,
    /// The power fails and comes back.
    Crash,
}

/// When saves are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saves {
    /// Before anything else happens to the server.
    AtOnce,
    /// At any time later, one by one; a crash loses those that wait.
    Later,
}

/// What a server did about something that happened.
pub(super) struct Reaction {
    pub(super) server: Server,
    pub(super) sent: Vec<Message>,
    pub(super) said: Vec<Said>,
}

/// What a server says about the world, to be compared with what others said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Said {
    /// It leads this term.
    Leads(Term),
    /// Entries up to here are committed; whether the last was on its own disk when it said so.
    Committed { index: Index, in_term: Term, durable: bool },
    /// These entries go to the state machine.
    Applied(Arc<[Entry]>),
    /// The read may look at the state machine, which has applied this much.
    ReadReady { id: ReadId, applied: Index },
    /// The read will not be served.
    ReadRefused(ReadId),
}

impl Hash for Server {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Server { raft, durable, live, queued, campaigns } = self;
        (raft, durable, live, campaigns, queued.len()).hash(state);
        // The saves' names follow each other, and how many came before says nothing.
        queued.iter().for_each(|(_, save)| save.hash(state));
    }
}

impl Server {
    pub(super) fn start(id: NodeId, config: &Config, durable: Image) -> Server {
        let mut raft = Raft::new(id, GroupId(0), config.clone(), &durable.stored(), NOW);
        raft.reseed(0);
        Server { raft, live: durable.clone(), durable, queued: VecDeque::new(), campaigns: 0 }
    }

    pub(super) fn status(&self) -> Status {
        self.raft.status()
    }

    pub(super) fn leads(&self) -> bool {
        self.status().role == RoleName::Leader
    }

    pub(super) fn saves_wait(&self) -> bool {
        !self.queued.is_empty()
    }

    /// What becomes of the server, or the law that it breaks.
    pub(super) fn react(
        &self,
        config: &Config,
        saves: Saves,
        what: Happening,
    ) -> Result<Reaction, String> {
        let mut server = self.clone();
        let (mut sent, mut said) = (Vec::new(), Vec::new());
        let first = match what {
            Happening::Crash => {
                let id = self.status().id;
                let campaigns = self.campaigns;
                server = Server::start(id, config, self.durable.clone());
                server.campaigns = campaigns;
                None
            }
            Happening::SaveDone => server.finish_save()?,
            Happening::Event(event) => {
                server.campaigns += u64::from(matches!(event, Event::Timeout) && !self.leads());
                Some(event)
            }
        };
        let mut events: VecDeque<Event> = first.into_iter().collect();
        while let Some(event) = events.pop_front() {
            let effects = server.step(event)?;
            let Status { role, current_term, .. } = server.status();
            if role == RoleName::Leader && !said.contains(&Said::Leads(current_term)) {
                said.push(Said::Leads(current_term));
            }
            for effect in effects {
                let answer = server.carry_out(effect, &mut sent, &mut said)?;
                events.extend(answer);
            }
            if saves == Saves::AtOnce && events.is_empty() {
                events.extend(server.finish_save()?);
            }
        }
        Ok(Reaction { server, sent, said })
    }

    fn step(&mut self, event: Event) -> Result<Vec<Effect>, String> {
        let before = self.status();
        // A ballot's number says which election of this server it belongs to, and nothing else.
        self.raft.reseed(before.current_term.0 << 32 | self.campaigns);
        let step = quietly(|| self.raft.step(NOW, [event]));
        let effects = step.map_err(|said| format!("the core panicked: {said}"))?;
        self.raft.reseed(0);
        if self.status().current_term > before.current_term {
            self.campaigns = 0;
        }
        laws::step(before, self.status(), &self.durable, &self.live, &effects)?;
        Ok(effects)
    }

    /// Does what the core wants, and returns what it is told about it at once.
    fn carry_out(
        &mut self,
        effect: Effect,
        sent: &mut Vec<Message>,
        said: &mut Vec<Said>,
    ) -> Result<Option<Event>, String> {
        let status = self.status();
        match effect {
            Effect::Save { id, save } => {
                store(&mut self.live, &save)?;
                self.queued.push_back((id, save));
            }
            Effect::Send(message) => sent.push(message),
            Effect::ReadLog { reader, first, last, max_bytes } => {
                let entries = read(&self.live, first, last, max_bytes);
                return Ok(Some(Event::LogRead { reader, entries }));
            }
            Effect::Apply { entries } => {
                let index = entries.last().map_or(status.last_applied, |entry| entry.index);
                said.push(Said::Applied(entries));
                return Ok(Some(Event::Applied { index }));
            }
            Effect::Committed { index } => {
                let held = self.durable.entry(index);
                let durable = held.is_some() && held == self.live.entry(index);
                said.push(Said::Committed { index, in_term: status.current_term, durable });
            }
            Effect::ReadReady { id } => {
                said.push(Said::ReadReady { id, applied: status.last_applied });
            }
            Effect::ReadRefused { id, .. } => said.push(Said::ReadRefused(id)),
            Effect::Violation { from, what } => {
                return Err(format!("server {from} is wrongly accused: {what}"));
            }
            Effect::BuildSnapshot { .. }
            | Effect::ReadSnapshot { .. }
            | Effect::StoreSnapshotChunk { .. }
            | Effect::InstallSnapshot { .. } => {
                return Err("a snapshot, in a world without them".to_string());
            }
            Effect::Initialized(_)
            | Effect::Proposed { .. }
            | Effect::LeadershipLost
            | Effect::MembersChanged { .. }
            | Effect::Transferred { .. }
            | Effect::ElectionTriggered { .. }
            | Effect::SnapshotTaken { .. }
            | Effect::LogPurged { .. } => {}
        }
        Ok(None)
    }

    fn finish_save(&mut self) -> Result<Option<Event>, String> {
        let Some((id, save)) = self.queued.pop_front() else {
            return Ok(None);
        };
        let before = self.durable.hard_state;
        store(&mut self.durable, &save)?;
        laws::became_durable(before, self.durable.hard_state)?;
        Ok(Some(Event::Saved { id }))
    }
}
