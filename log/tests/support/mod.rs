//! Small logs to be tortured, and the plain list that says what they must hold.

#![allow(dead_code)] // Each test file uses a part of it.

use std::sync::Arc;

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::membership::{Address, Membership};
use actix_raft_core::stored::{Base, Save, StoredState};
use actix_raft_core::types::{DiskId, HardState, Index, LogPosition, NodeId, Term};
use actix_raft_log::crash::CrashDisk;
use actix_raft_log::error::{Identity, OpenError};
use actix_raft_log::wal::{LogOptions, Wal};
use bytes::Bytes;

/// The disk.
pub const DISK: DiskId = DiskId(0x5eed);

pub fn identity() -> Identity {
    Identity { cluster_id: "tests".to_string(), node_id: NodeId(1) }
}

/// Segments so small that a few saves fill one.
pub fn options() -> LogOptions {
    LogOptions { segment_bytes: 2048, new_disk: Some(DISK), ..LogOptions::new(identity()) }
}

pub fn open(disk: &CrashDisk) -> Result<(Wal, StoredState), OpenError> {
    Wal::open(Arc::new(disk.clone()), options())
}

pub fn entry(term: u64, index: u64) -> Entry {
    let (term, position) = (Term(term), index);
    let payload = match index % 7 {
        3 => EntryPayload::Blank,
        5 => EntryPayload::ConfigChange(Arc::new(membership(index))),
        _ => {
            let length = (index * 37 % 150) as usize;
            EntryPayload::Normal(Bytes::from(vec![position as u8; length]))
        }
    };
    Entry { term, index: Index(index), payload }
}

pub fn membership(n: u64) -> Membership {
    let address = |id| (NodeId(id), Address::new(format!("host-{id}:{n}"), ""));
    let members = Membership::new([NodeId(1), NodeId(2)], (1..4).map(address)).unwrap();
    match n % 2 {
        0 => members,
        // A change is under way.
        _ => {
            let goal = Membership::new([NodeId(1)], [address(1)]).unwrap();
            members.on_the_way_to(Arc::new(goal)).unwrap()
        }
    }
}

/// A save of the entries of these indexes in this term.
pub fn run(term: u64, first: u64, last: u64) -> Save {
    let entries = (first..=last).map(|index| entry(term, index)).collect();
    Save { entries: vec![entries], ..Save::default() }
}

pub fn vote(term: u64, voted_for: Option<u64>) -> Save {
    let hard_state =
        HardState { current_term: Term(term), voted_for: voted_for.map(NodeId), trusted: term > 2 };
    Save { hard_state: Some(hard_state), ..Save::default() }
}

/// One step of a script.
#[derive(Clone, Debug)]
pub enum Step {
    /// Saves that are written together.
    Save(Vec<Save>),
    /// Everything up to this index is no longer needed.
    Purge(u64),
    /// The queue is empty for a moment.
    Mark,
}

/// What a log must hold: a plain list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pub hard_state: HardState,
    pub base: Base,
    pub entries: Vec<Entry>,
}

impl Model {
    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::Save(saves) => saves.iter().for_each(|save| self.save(save)),
            Step::Purge(index) => {
                let term = self.entries.iter().find(|entry| entry.index.0 == *index).unwrap().term;
                let last_included = LogPosition { term, index: Index(*index) };
                self.base = Base { last_included, membership: self.base.membership.clone() };
                self.entries.retain(|entry| entry.index.0 > *index);
            }
            Step::Mark => {}
        }
    }

    fn save(&mut self, save: &Save) {
        self.hard_state = save.hard_state.unwrap_or(self.hard_state);
        self.base = save.base.clone().unwrap_or(self.base.clone());
        for run in &save.entries {
            self.entries.retain(|entry| entry.index < run[0].index);
            self.entries.extend(run.iter().cloned());
        }
    }

    /// What opening the log must say.
    pub fn state(&self) -> StoredState {
        let mut state =
            StoredState { hard_state: self.hard_state, disk: DISK, ..StoredState::default() };
        state.note_base(self.base.clone());
        self.entries.iter().for_each(|entry| state.note_entry(entry));
        state
    }

    /// What an opened log holds, read back to the last byte.
    pub fn of(wal: &Wal) -> Model {
        let state = wal.state();
        let (first, last) = (state.base.last_included.index.next(), state.last_log.index);
        let mut entries = Vec::new();
        while first.0 + (entries.len() as u64) <= last.0 {
            let from = Index(first.0 + entries.len() as u64);
            entries.extend(wal.reader().read(from, last, 300).unwrap());
        }
        let model = Model { hard_state: state.hard_state, base: state.base.clone(), entries };
        assert_eq!(model.state(), *state, "what opening says and what is there differ");
        model
    }
}

/// Does what the script says.
pub fn perform(wal: &mut Wal, model: &Model, step: &Step) -> bool {
    match step {
        Step::Save(saves) => wal.save(saves).is_ok(),
        Step::Purge(index) => {
            let mut after = model.clone();
            after.apply(&Step::Purge(*index));
            wal.purge(after.base).is_ok()
        }
        Step::Mark => wal.mark().is_ok(),
    }
}

/// Everything a log goes through: a first configuration, votes, appends, truncations, group commits,
/// several segments, one that is larger than others, purges.
pub fn script() -> Vec<Step> {
    let first = Save {
        base: Some(Base {
            membership: Some((Index(0), Arc::new(membership(0)))),
            ..Base::default()
        }),
        ..Save::default()
    };
    vec![
        Step::Save(vec![first]),
        Step::Save(vec![vote(1, Some(1))]),
        Step::Mark,
        Step::Save(vec![run(1, 1, 1)]),
        Step::Save(vec![run(1, 2, 4), run(1, 5, 9)]),
        Step::Mark,
        Step::Save(vec![vote(2, None), run(2, 4, 6)]),
        Step::Save(vec![run(2, 7, 12)]),
        Step::Save(vec![run(2, 13, 13)]),
        Step::Save(vec![run(3, 14, 20), run(4, 10, 22), run(5, 21, 21)]),
        Step::Purge(3),
        Step::Save(vec![run(5, 22, 30)]),
        Step::Mark,
        Step::Save(vec![run(5, 31, 75)]),
        Step::Save(vec![vote(6, Some(3)), run(6, 70, 71)]),
        Step::Purge(40),
        Step::Save(vec![run(6, 72, 72)]),
        Step::Purge(72),
        Step::Save(vec![run(7, 73, 80)]),
        Step::Mark,
    ]
}
