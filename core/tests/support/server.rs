//! One core with its disk and its state machine, and a check that it keeps the driver's contract.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_raft_core::config::Config;
use actix_raft_core::effect::Effect;
use actix_raft_core::entry::Entry;
use actix_raft_core::event::{Event, LogReader};
use actix_raft_core::membership::Membership;
use actix_raft_core::message::Message;
use actix_raft_core::raft::Raft;
use actix_raft_core::status::Status;
use actix_raft_core::types::{GroupId, Index, NodeId, Time};

use crate::support::disk::{Disk, Image};

/// Which of a server's helpers answer at once. Those that don't wait for the test.
#[derive(Clone, Copy, Debug)]
pub struct Prompt {
    pub saves: bool,
    pub applies: bool,
    pub log_reads: bool,
}

/// A range of the log that the core asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub first: Index,
    pub last: Index,
    pub max_bytes: usize,
}

pub struct Server {
    pub id: NodeId,
    pub config: Config,
    pub prompt: Prompt,
    pub disk: Disk,
    /// What the state machine applied, from the first entry on.
    pub applied: Vec<Entry>,
    pub applying: Option<Arc<[Entry]>>,
    pub log_reads: BTreeMap<LogReader, Asked>,
    /// How often entries had to be read from the disk.
    pub log_reads_so_far: usize,
    pub outbox: Vec<Message>,
    /// All other effects, in order.
    pub said: Vec<Effect>,
    raft: Option<Raft>,
}

impl Server {
    pub fn start(id: NodeId, config: Config, image: Image, now: Time) -> Server {
        let mut server = Server {
            id,
            config,
            prompt: Prompt { saves: true, applies: true, log_reads: true },
            disk: Disk::new(image),
            applied: Vec::new(),
            applying: None,
            log_reads: BTreeMap::new(),
            log_reads_so_far: 0,
            outbox: Vec::new(),
            said: Vec::new(),
            raft: None,
        };
        server.restart(now);
        server
    }

    pub fn is_up(&self) -> bool {
        self.raft.is_some()
    }

    pub fn raft(&mut self) -> &mut Raft {
        self.raft.as_mut().expect("the server is up")
    }

    pub fn status(&self) -> Status {
        self.raft.as_ref().expect("the server is up").status()
    }

    pub fn membership(&self) -> Option<(Index, Arc<Membership>)> {
        self.raft.as_ref().expect("the server is up").membership().cloned()
    }

    pub fn deadline(&self) -> Option<Time> {
        self.raft.as_ref().and_then(Raft::deadline)
    }

    /// Loses everything but what is durable. The state machine is in memory, too.
    pub fn crash(&mut self) {
        self.raft = None;
        self.disk.crash();
        self.applied.clear();
        self.applying = None;
        self.log_reads.clear();
        self.outbox.clear();
    }

    /// Starts from what is durable, and from what the state machine still holds.
    pub fn restart(&mut self, now: Time) {
        let stored = self.disk.durable.stored(Index(self.applied.len() as u64));
        let config = self.config.clone();
        self.raft = Some(Raft::new(self.id, GroupId(0), config, &stored, now));
    }

    /// Brings events, and the answers of those helpers that answer at once.
    pub fn step(&mut self, now: Time, events: Vec<Event>) {
        let mut inbox = events;
        loop {
            self.step_once(now, inbox);
            inbox = Vec::new();
            if self.prompt.saves {
                inbox.extend(self.saved());
            }
            if self.prompt.applies {
                inbox.extend(self.apply());
            }
            if self.prompt.log_reads {
                let readers: Vec<LogReader> = self.log_reads.keys().copied().collect();
                inbox.extend(readers.into_iter().filter_map(|reader| self.read_log(reader)));
            }
            if inbox.is_empty() {
                return;
            }
        }
    }

    /// Brings events and nothing else. Returns what the core wanted, which is under way.
    pub fn step_once(&mut self, now: Time, events: Vec<Event>) -> Vec<Effect> {
        let effects = self.raft().step(now, events);
        for effect in effects.clone() {
            self.carry_out(effect);
        }
        effects
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Save { id, save } => self.disk.submit(id, save),
            Effect::Send(message) => {
                assert_eq!(message.from, self.id);
                assert_ne!(message.to, self.id, "nobody talks to himself");
                self.outbox.push(message);
            }
            Effect::ReadLog { reader, first, last, max_bytes } => {
                let (held, live) = (&self.disk.durable, &self.disk.live);
                assert!(first <= last && first > Index::ZERO);
                assert!(held.entry(last).is_some(), "{first}..={last} is asked of a shorter log");
                assert_eq!(held.entry(last), live.entry(last), "what is asked for is on disk");
                self.log_reads_so_far += 1;
                self.log_reads.insert(reader, Asked { first, last, max_bytes });
            }
            Effect::Apply { entries } => {
                assert!(self.applying.is_none(), "one batch is applied at a time");
                let first = entries.first().expect("a batch holds entries").index;
                assert_eq!(first.0, self.applied.len() as u64 + 1, "none is skipped or repeated");
                for entry in entries.iter() {
                    assert_eq!(self.disk.durable.entry(entry.index), Some(entry), "on own disk");
                }
                self.applying = Some(entries);
            }
            // No script asks for these yet.
            Effect::BuildSnapshot { .. }
            | Effect::ReadSnapshot { .. }
            | Effect::StoreSnapshotChunk { .. }
            | Effect::InstallSnapshot { .. } => self.said.push(effect),
            Effect::MembersChanged { .. }
            | Effect::Transferred { .. }
            | Effect::ElectionTriggered { .. }
            | Effect::SnapshotTaken { .. }
            | Effect::LogPurged { .. }
            | Effect::Initialized(_)
            | Effect::Proposed { .. }
            | Effect::Committed { .. }
            | Effect::LeadershipLost
            | Effect::ReadReady { .. }
            | Effect::ReadRefused { .. }
            | Effect::Violation { .. } => self.said.push(effect),
        }
    }

    /// The disk finishes all it was given.
    pub fn saved(&mut self) -> Option<Event> {
        self.disk.complete_all().map(|id| Event::Saved { id })
    }

    /// The state machine finishes its batch.
    pub fn apply(&mut self) -> Option<Event> {
        let entries = self.applying.take()?;
        self.applied.extend(entries.iter().cloned());
        Some(Event::Applied { index: Index(self.applied.len() as u64) })
    }

    /// The disk reads what was asked for.
    pub fn read_log(&mut self, reader: LogReader) -> Option<Event> {
        let Asked { first, last, max_bytes } = self.log_reads.remove(&reader)?;
        let entries = self.disk.durable.read(first, last, max_bytes);
        Some(Event::LogRead { reader, entries })
    }
}
