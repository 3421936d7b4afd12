//! One simulated server: the shipped core and log, an application's state machine, and whoever
//! waits for an answer. It does what the actor shell does, on the world's clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use actix_raft_core::config::Config;
use actix_raft_core::entry::Entry;
use actix_raft_core::event::{Event, LogReader, ProposalId, ReadId};
use actix_raft_core::raft::Raft;
use actix_raft_core::status::{RoleName, Status};
use actix_raft_core::stored::{Base, Save, SaveId};
use actix_raft_core::types::{Index, NodeId, Time};
use actix_raft_log::wal::Wal;

use crate::clock::Clock;
use crate::disk::SimDisk;
use crate::workload::Workload;
use crate::world::{Job, Piece};

/// An operation of the history, by its place.
pub(crate) type OperationId = usize;

/// A server, up or down.
pub(crate) struct Server<W: Workload> {
    pub(crate) id: NodeId,
    pub(crate) disk: SimDisk,
    pub(crate) clock: Clock,
    /// Counts its starts, so that what was meant for an earlier life is told from what is not.
    pub(crate) life: u64,
    pub(crate) state: State<W>,
    /// Until when it stands still.
    pub(crate) paused_until: Time,
    /// Until when it applies nothing.
    pub(crate) apply_stalled_until: Time,
    /// The saves that were being written when it crashed: on disk as a whole, or not at all.
    pub(crate) in_doubt: Vec<Save>,
    /// What was about to become the latest snapshot when it crashed.
    pub(crate) snapshot_in_doubt: Option<Base>,
    /// A bit that is to flip in what it receives of a snapshot.
    pub(crate) flip_incoming: Option<u64>,
    /// A state machine that survived a crash, and the last entry that it has applied.
    pub(crate) kept: Option<(W::Machine, Index)>,
    /// Whether its disk is short of room.
    pub(crate) low: bool,
    /// Its settings.
    pub(crate) config: Config,
    /// A bit that is to flip, once there is a place for it.
    pub(crate) flip: Option<u64>,
}

/// Whether a server runs.
pub(crate) enum State<W: Workload> {
    Up(Box<Running<W>>),
    /// It starts again at some time.
    Down,
    /// It can't start again: its log is damaged.
    Lost,
}

/// A range of the log that the core asked for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) first: Index,
    pub(crate) last: Index,
    pub(crate) max_bytes: usize,
}

/// What a server has while it runs.
pub(crate) struct Running<W: Workload> {
    pub(crate) raft: Raft,
    pub(crate) wal: Wal,
    pub(crate) machine: W::Machine,
    /// The time of its last step, by its own clock.
    pub(crate) shown: Time,
    pub(crate) inbox: Vec<Event>,
    /// Operations that arrived since the last step.
    pub(crate) arrived: Vec<OperationId>,
    pub(crate) wakes: bool,
    /// When its timer fires, by the world's clock.
    pub(crate) timer: Option<Time>,
    pub(crate) saves: VecDeque<(SaveId, Save)>,
    pub(crate) saving: Vec<(SaveId, Save)>,
    pub(crate) applying: Option<Arc<[Entry]>>,
    pub(crate) wanted: BTreeMap<LogReader, Wanted>,
    /// What the disk has to do for snapshots, and whether it is at the first of it.
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) works: bool,
    /// Pieces of its snapshot that are being read.
    pub(crate) pieces: BTreeMap<NodeId, Piece>,
    pub(crate) proposed: BTreeMap<ProposalId, Vec<OperationId>>,
    /// Writes in the log, by index.
    pub(crate) writes: VecDeque<(Index, OperationId)>,
    pub(crate) reads: BTreeMap<ReadId, Vec<OperationId>>,
    /// The last commit index that was announced.
    pub(crate) committed: Index,
    pub(crate) names: u64,
}

impl<W: Workload> Server<W> {
    pub(crate) fn new(id: NodeId, disk: SimDisk, clock: Clock, config: Config) -> Server<W> {
        Server {
            id,
            disk,
            clock,
            life: 0,
            state: State::Down,
            paused_until: Time::default(),
            apply_stalled_until: Time::default(),
            in_doubt: Vec::new(),
            snapshot_in_doubt: None,
            flip_incoming: None,
            kept: None,
            config,
            low: false,
            flip: None,
        }
    }

    pub(crate) fn running(&mut self) -> Option<&mut Running<W>> {
        match &mut self.state {
            State::Up(running) => Some(running),
            State::Down | State::Lost => None,
        }
    }

    pub(crate) fn status(&self) -> Option<Status> {
        match &self.state {
            State::Up(running) => Some(running.raft.status()),
            State::Down | State::Lost => None,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    pub(crate) fn leads(&self) -> bool {
        self.status().is_some_and(|status| status.role == RoleName::Leader)
    }
}

impl<W: Workload> Running<W> {
    pub(crate) fn new(raft: Raft, wal: Wal, machine: W::Machine, shown: Time) -> Running<W> {
        Running {
            raft,
            wal,
            machine,
            shown,
            inbox: Vec::new(),
            arrived: Vec::new(),
            wakes: false,
            timer: None,
            saves: VecDeque::new(),
            saving: Vec::new(),
            applying: None,
            wanted: BTreeMap::new(),
            jobs: VecDeque::new(),
            works: false,
            pieces: BTreeMap::new(),
            proposed: BTreeMap::new(),
            writes: VecDeque::new(),
            reads: BTreeMap::new(),
            committed: Index::ZERO,
            names: 0,
        }
    }

    /// Everyone who waits for an answer.
    pub(crate) fn waiting(&mut self) -> Vec<OperationId> {
        let mut waiting = std::mem::take(&mut self.arrived);
        waiting.extend(std::mem::take(&mut self.proposed).into_values().flatten());
        waiting.extend(std::mem::take(&mut self.writes).into_iter().map(|(_, id)| id));
        waiting.extend(std::mem::take(&mut self.reads).into_values().flatten());
        waiting
    }
}
