//! One core with its disk and its state machine, and a check that it keeps the driver's contract.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use actix_raft_core::config::Config;
use actix_raft_core::effect::Effect;
use actix_raft_core::entry::Entry;
use actix_raft_core::event::{Event, LogReader};
use actix_raft_core::membership::Membership;
use actix_raft_core::message::Message;
use actix_raft_core::raft::Raft;
use actix_raft_core::snapshot::{Snapshot, SnapshotChunk};
use actix_raft_core::status::Status;
use actix_raft_core::types::{GroupId, Index, LogPosition, NodeId, Time};

use crate::support::disk::{Disk, Image};
use crate::support::files::File;

/// Which of a server's helpers answer at once. Those that don't wait for the test.
#[derive(Clone, Copy, Debug)]
pub struct Prompt {
    pub saves: bool,
    pub applies: bool,
    pub log_reads: bool,
    /// Building, reading, storing and installing snapshots.
    pub snapshots: bool,
}

/// What the core asked of whoever keeps snapshots, in order.
#[derive(Clone, Debug)]
pub enum Task {
    Build(File),
    Read { to: NodeId, snapshot: Snapshot, offset: u64, max_bytes: usize },
    Store(Snapshot, SnapshotChunk),
    Install(Snapshot),
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
    /// What is asked of the snapshots' keeper.
    pub tasks: VecDeque<Task>,
    /// Whether it takes snapshots.
    pub builds: bool,
    pub outbox: Vec<Message>,
    /// All other effects, in order.
    pub said: Vec<Effect>,
    raft: Option<Raft>,
    last_applied: Index,
}

impl Server {
    pub fn start(id: NodeId, config: Config, image: Image, now: Time) -> Server {
        let mut server = Server {
            id,
            config,
            prompt: Prompt { saves: true, applies: true, log_reads: true, snapshots: true },
            disk: Disk::new(image),
            applied: Vec::new(),
            applying: None,
            log_reads: BTreeMap::new(),
            log_reads_so_far: 0,
            tasks: VecDeque::new(),
            builds: true,
            outbox: Vec::new(),
            said: Vec::new(),
            raft: None,
            last_applied: Index::ZERO,
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
        self.tasks.clear();
        self.last_applied = Index::ZERO;
        self.outbox.clear();
    }

    /// Starts from what is durable, and from what the state machine still holds.
    pub fn restart(&mut self, now: Time) {
        let included = self.disk.durable.included().index.0 as usize;
        if let Some(file) = self.disk.durable.file.as_ref().filter(|file| file.is_whole())
            && self.applied.len() < included
        {
            self.applied = file.state();
        }
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
            if self.prompt.snapshots {
                let tasks = self.tasks.len();
                inbox.extend((0..tasks).filter_map(|_| self.do_task()));
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
        self.check();
        effects
    }

    /// What is purged is in a snapshot, and what is in a snapshot was applied.
    fn check(&mut self) {
        let status = self.status();
        assert!(status.last_applied >= self.last_applied, "last_applied only grows (Figure 2)");
        self.last_applied = status.last_applied;
        let (purged, included) = (status.purged.index, self.disk.live.included().index);
        assert!(purged <= included, "{purged} is purged, {included} in the snapshot");
        assert!(purged <= status.last_applied && status.last_applied <= status.commit_index);
        assert_eq!(status.last_log, self.disk.live.last(), "the core knows its log");
        assert_eq!(status.purged, self.disk.live.base.last_included, "and what it begins after");
    }

    fn is_installing(&self) -> bool {
        self.tasks.iter().any(|task| matches!(task, Task::Install(_)))
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
                assert!(held.entry(first).is_some(), "{first} is purged");
                assert!(held.entry(last).is_some(), "{first}..={last} is asked of a shorter log");
                assert_eq!(held.entry(last), live.entry(last), "what is asked for is on disk");
                self.log_reads_so_far += 1;
                self.log_reads.insert(reader, Asked { first, last, max_bytes });
            }
            Effect::Apply { entries } => {
                assert!(self.applying.is_none(), "one batch is applied at a time");
                assert!(!self.is_installing(), "nothing is applied while a snapshot is installed");
                let first = entries.first().expect("a batch holds entries").index;
                assert_eq!(first.0, self.applied.len() as u64 + 1, "none is skipped or repeated");
                for entry in entries.iter() {
                    assert_eq!(self.disk.durable.entry(entry.index), Some(entry), "on own disk");
                }
                self.applying = Some(entries);
            }
            Effect::BuildSnapshot { base } => {
                let building = |task: &Task| matches!(task, Task::Build(_));
                assert!(!self.tasks.iter().any(building), "one snapshot is built at a time");
                assert!(!self.is_installing(), "none is built while one is installed");
                let mut state = self.applied.clone();
                state.extend(self.applying.iter().flat_map(|entries| entries.iter().cloned()));
                let last = state.last().map_or(LogPosition::ZERO, Entry::position);
                assert_eq!(base.last_included, last, "it is of the state as it is");
                self.tasks.push_back(Task::Build(File::of(base, &state)));
            }
            Effect::ReadSnapshot { to, snapshot, offset, max_bytes } => {
                self.tasks.push_back(Task::Read { to, snapshot, offset, max_bytes });
            }
            Effect::StoreSnapshotChunk { snapshot, chunk } => {
                self.tasks.push_back(Task::Store(snapshot, chunk));
            }
            Effect::InstallSnapshot { snapshot } => {
                assert!(self.applying.is_none(), "none is installed while entries are applied");
                self.tasks.push_back(Task::Install(snapshot));
            }
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

    /// The snapshots' keeper does what it was asked first.
    pub fn do_task(&mut self) -> Option<Event> {
        Some(match self.tasks.pop_front()? {
            Task::Build(_) if !self.builds => Event::SnapshotBuilt { snapshot: None },
            Task::Build(file) => {
                let snapshot = Some(file.snapshot.clone());
                self.disk.put_file(file);
                Event::SnapshotBuilt { snapshot }
            }
            Task::Read { to, snapshot, offset, max_bytes } => {
                let file = self.disk.durable.file.as_ref();
                let file = file.filter(|file| file.snapshot == snapshot);
                let chunk = file.and_then(|file| file.chunk(offset, max_bytes));
                Event::SnapshotRead { to, last_included: snapshot.last_included(), chunk }
            }
            Task::Store(snapshot, chunk) => {
                let received = self.disk.store_chunk(&snapshot, &chunk);
                Event::SnapshotChunkStored { last_included: snapshot.last_included(), received }
            }
            Task::Install(snapshot) => {
                let installed = self.disk.install(&snapshot);
                if installed {
                    let file = self.disk.durable.file.as_ref().expect("it is there now");
                    self.applied = file.state();
                }
                Event::SnapshotInstalled { last_included: snapshot.last_included(), installed }
            }
        })
    }

    /// The disk reads what was asked for.
    pub fn read_log(&mut self, reader: LogReader) -> Option<Event> {
        let Asked { first, last, max_bytes } = self.log_reads.remove(&reader)?;
        let entries = self.disk.durable.read(first, last, max_bytes);
        Some(Event::LogRead { reader, entries })
    }
}
