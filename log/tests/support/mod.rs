//! Small logs to be tortured, and the plain list that says what they must hold.

#![allow(dead_code)] // Each test file uses a part of it.

use std::io::{Read, Write};
use std::sync::Arc;

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::membership::{Address, Membership};
use actix_raft_core::random::Random;
use actix_raft_core::snapshot::{Snapshot, SnapshotChunk};
use actix_raft_core::stored::{Base, Save, StoredState};
use actix_raft_core::types::{DiskId, HardState, Index, LogPosition, NodeId, Term};
use actix_raft_log::crash::{CrashDisk, Survives};
use actix_raft_log::error::{Identity, OpenError, SnapshotError};
use actix_raft_log::snapshots::SnapshotStore;
use actix_raft_log::wal::{LogOptions, Wal};
use bytes::Bytes;

/// What a power failure may leave.
pub const SURVIVALS: [Survives; 10] = [
    Survives::Nothing,
    Survives::Everything,
    Survives::FirstHalf,
    Survives::SecondHalf,
    Survives::Some(1),
    Survives::Some(2),
    Survives::Some(3),
    Survives::Some(4),
    Survives::Some(5),
    Survives::Some(6),
];

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
    /// A snapshot is built that includes everything up to this index.
    Snapshot(u64),
    /// Everything up to this index is no longer needed.
    Purge(u64),
    /// A leader's snapshot is received and installed, and the log begins after it. The log lacks
    /// its last included entry.
    Install(Base),
    /// The queue is empty for a moment.
    Mark,
}

/// What a log must hold: a plain list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pub hard_state: HardState,
    pub base: Base,
    pub entries: Vec<Entry>,
    /// What the latest snapshot stands for.
    pub snapshot: Option<Base>,
}

impl Model {
    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::Save(saves) => saves.iter().for_each(|save| self.save(save)),
            Step::Snapshot(index) => self.snapshot = Some(self.base_at(*index)),
            Step::Purge(index) => {
                self.base = self.base_at(*index);
                self.entries.retain(|entry| entry.index.0 > *index);
            }
            Step::Install(base) => {
                self.snapshot = Some(base.clone());
                self.base = base.clone();
                self.entries.clear();
            }
            Step::Mark => {}
        }
    }

    /// What stands in front of a log that begins after this entry.
    fn base_at(&self, index: u64) -> Base {
        let entry = self.entries.iter().find(|entry| entry.index.0 == index);
        let last_included = entry.map_or(self.base.last_included, Entry::position);
        let earlier = self.entries.iter().take_while(|entry| entry.index.0 <= index);
        let change = earlier.filter_map(|entry| match &entry.payload {
            EntryPayload::ConfigChange(membership) => Some((entry.index, Arc::clone(membership))),
            EntryPayload::Blank | EntryPayload::Normal(_) => None,
        });
        let membership = change.last().or_else(|| self.base.membership.clone());
        Base { last_included, membership }
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
        let included = self.snapshot.as_ref().map(|base| base.last_included.index);
        state.last_applied = state.last_applied.max(included.unwrap_or_default());
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
        let (hard_state, base) = (state.hard_state, state.base.clone());
        let snapshot = read_latest(&wal.snapshots());
        let model = Model {
            hard_state,
            base,
            entries,
            snapshot: snapshot.as_ref().map(|s| s.base.clone()),
        };
        // The log looks for a new snapshot when it saves.
        let mut said = state.clone();
        said.last_applied = said.last_applied.max(model.state().last_applied);
        said.snapshot = None;
        assert_eq!(model.state(), said, "what opening says and what is there differ");
        model
    }
}

/// Does what the script says.
pub fn perform(wal: &mut Wal, model: &Model, step: &Step) -> bool {
    match step {
        Step::Save(saves) => wal.save(saves).is_ok(),
        Step::Snapshot(index) => build(&wal.snapshots(), model.base_at(*index)).is_ok(),
        Step::Purge(index) => wal.save(&[begin_after(model.base_at(*index))]).is_ok(),
        Step::Install(base) => {
            let (snapshot, file) = leaders(base);
            let store = wal.snapshots();
            let received = file.chunks(PIECE).enumerate().all(|(place, piece)| {
                let end = ((place * PIECE) + piece.len()) as u64;
                let piece = chunk((place * PIECE) as u64, piece, &snapshot);
                store.receive(&snapshot, &piece).is_ok_and(|received| received >= end)
            });
            received
                && store.install(&snapshot).is_ok_and(|installed| installed)
                && wal.save(&[begin_after(base.clone())]).is_ok()
        }
        Step::Mark => wal.mark().is_ok(),
    }
}

/// How much of a snapshot is received at once.
pub const PIECE: usize = 500;

/// A save that lets the log begin after this.
pub fn begin_after(base: Base) -> Save {
    Save { base: Some(base), ..Save::default() }
}

pub fn base(term: u64, index: u64) -> Base {
    let membership = Some((Index(index / 2), Arc::new(membership(index))));
    Base { last_included: LogPosition::new(term, index), membership }
}

/// What a state machine holds at a position: more than two blocks at some.
pub fn content(position: LogPosition) -> Vec<u8> {
    let LogPosition { term, index } = position;
    let length = if index.0 % 50 == 0 { 140_000 } else { 700 };
    // Half of it can be compressed.
    let mut random = Random::new(index.0 << 8 ^ term.0);
    let mut byte = |n: u64| if n % 128 < 64 { 7 } else { random.next_u64() as u8 };
    (0..length + index.0).map(&mut byte).collect()
}

/// Builds a snapshot of what the state machine holds there.
pub fn build(store: &SnapshotStore, base: Base) -> Result<Snapshot, SnapshotError> {
    let content = content(base.last_included);
    let mut writer = store.create(base)?;
    for piece in content.chunks(10_007) {
        // An error is told again at the end.
        let _ = writer.write_all(piece);
    }
    writer.finish()
}

/// Reads the latest snapshot to its end, and compares it with what the state machine held.
pub fn read_latest(store: &SnapshotStore) -> Option<Snapshot> {
    let mut reader = store.open_latest().unwrap()?;
    let mut found = Vec::new();
    reader.read_to_end(&mut found).unwrap();
    let snapshot = reader.snapshot().clone();
    assert!(found == content(snapshot.last_included()), "{snapshot:?}");
    assert_eq!(store.latest().as_ref(), Some(&snapshot));
    Some(snapshot)
}

/// A snapshot on a leader's disk, and its file.
pub fn leaders(base: &Base) -> (Snapshot, Vec<u8>) {
    let (wal, _) = open(&CrashDisk::new()).unwrap();
    let store = wal.snapshots();
    let snapshot = build(&store, base.clone()).unwrap();
    let chunk = store.read(&snapshot, 0, usize::MAX).unwrap().unwrap();
    assert_eq!((chunk.data.len() as u64, chunk.done), (snapshot.size, true));
    (snapshot, chunk.data.to_vec())
}

/// A piece as it is sent.
pub fn chunk(offset: u64, data: &[u8], snapshot: &Snapshot) -> SnapshotChunk {
    let done = offset.saturating_add(data.len() as u64) == snapshot.size;
    let checksum = crc32fast::hash(data);
    SnapshotChunk { offset, data: Bytes::copy_from_slice(data), checksum, done }
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
        Step::Snapshot(3),
        Step::Purge(3),
        Step::Save(vec![run(5, 22, 30)]),
        Step::Mark,
        Step::Save(vec![run(5, 31, 75)]),
        Step::Save(vec![vote(6, Some(3)), run(6, 70, 71)]),
        Step::Snapshot(60),
        Step::Purge(40),
        Step::Save(vec![run(6, 72, 72)]),
        Step::Snapshot(72),
        Step::Purge(72),
        Step::Save(vec![run(7, 73, 80)]),
        // The log has that entry in an earlier term.
        Step::Install(base(8, 78)),
        Step::Save(vec![run(8, 79, 86)]),
        Step::Mark,
        Step::Install(base(9, 204)),
        Step::Save(vec![run(9, 205, 212)]),
        Step::Mark,
    ]
}
