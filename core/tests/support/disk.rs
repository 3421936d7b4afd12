//! A disk that keeps apart what was written and what would survive a crash.

use std::collections::VecDeque;
use std::sync::Arc;

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::membership::Membership;
use actix_raft_core::stored::{Base, Save, SaveId, StoredState};
use actix_raft_core::types::{DiskId, HardState, Index, LogPosition, NodeId, Term};

/// The content of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    pub disk: DiskId,
    pub hard_state: HardState,
    pub base: Base,
    pub entries: Vec<Entry>,
}

impl Image {
    /// A server of a cluster that was formed of these members and has a log of these terms.
    pub fn of(membership: &Membership, current_term: u64, terms: &[u64]) -> Image {
        let membership = Arc::new(membership.clone());
        let payload = |index: u64, term: u64| match index {
            1 => EntryPayload::ConfigChange(Arc::clone(&membership)),
            _ => EntryPayload::Normal(format!("{index}@{term}").into()),
        };
        let entry = |(index, term): (u64, &u64)| Entry {
            term: Term(*term),
            index: Index(index),
            payload: payload(index, *term),
        };
        Image {
            disk: DiskId::UNKNOWN,
            hard_state: HardState { current_term: Term(current_term), ..HardState::default() },
            entries: (1..).zip(terms).map(entry).collect(),
            base: Base { membership: Some((Index::ZERO, membership)), ..Base::default() },
        }
    }

    /// The log goes on with a change to these members, in this term.
    pub fn then(mut self, term: u64, members: &Membership) -> Image {
        let payload = EntryPayload::ConfigChange(Arc::new(members.clone()));
        let index = self.last().index.next();
        self.entries.push(Entry { term: Term(term), index, payload });
        self
    }

    pub fn voted_for(mut self, id: u64) -> Image {
        self.hard_state.voted_for = Some(NodeId(id));
        self
    }

    /// A disk that was never used.
    pub fn empty(disk: u64) -> Image {
        Image { disk: DiskId(disk), ..Image::default() }
    }

    /// The same on a disk with an id.
    pub fn on_disk(mut self, disk: u64, trusted: bool) -> Image {
        self.disk = DiskId(disk);
        self.hard_state.trusted = trusted;
        self
    }

    pub fn write(&mut self, save: &Save) {
        self.hard_state = save.hard_state.unwrap_or(self.hard_state);
        self.base = save.base.clone().unwrap_or_else(|| self.base.clone());
        for run in &save.entries {
            let first = run.first().expect("no run is empty").index;
            assert!(
                first > Index::ZERO && first <= self.last().index.next(),
                "a run from {first} on leaves a gap in a log that ends at {}",
                self.last()
            );
            self.entries.truncate(first.prev().0 as usize);
            for entry in run.iter() {
                assert_eq!(entry.index, self.last().index.next(), "runs are contiguous");
                self.entries.push(entry.clone());
            }
        }
    }

    pub fn entry(&self, index: Index) -> Option<&Entry> {
        self.entries.get(index.0.checked_sub(1)? as usize)
    }

    pub fn last(&self) -> LogPosition {
        self.entries.last().map_or(LogPosition::ZERO, Entry::position)
    }

    pub fn terms(&self) -> Vec<u64> {
        self.entries.iter().map(|entry| entry.term.0).collect()
    }

    /// What a server that starts from here is told.
    pub fn stored(&self, last_applied: Index) -> StoredState {
        let (hard_state, disk) = (self.hard_state, self.disk);
        let mut stored = StoredState { hard_state, disk, ..StoredState::default() };
        stored.note_base(self.base.clone());
        self.entries.iter().for_each(|entry| stored.note_entry(entry));
        StoredState { last_applied, ..stored }
    }

    /// What is left of these entries: a new leader may have cut them since they were asked for.
    pub fn read(&self, first: Index, last: Index, max_bytes: usize) -> Arc<[Entry]> {
        let last = last.min(self.last().index);
        let wanted = self.entries.get(first.prev().0 as usize..last.0 as usize).unwrap_or(&[]);
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let before = bytes;
            bytes += entry.weight();
            before < max_bytes || before == 0
        };
        wanted.iter().take_while(fits).cloned().collect()
    }
}

/// A disk with the saves that wait for it.
#[derive(Debug)]
pub struct Disk {
    /// What a crash would leave.
    pub durable: Image,
    /// What the server believes to be there.
    pub live: Image,
    queued: VecDeque<(SaveId, Save)>,
}

impl Disk {
    pub fn new(image: Image) -> Disk {
        Disk { durable: image.clone(), live: image, queued: VecDeque::new() }
    }

    pub fn submit(&mut self, id: SaveId, save: Save) {
        let in_order = self.queued.back().is_none_or(|(last, _)| last.0 + 1 == id.0);
        assert!(in_order, "saves are numbered without a gap");
        assert_ne!(save, Save::default(), "an empty save is a wasted sync");
        self.live.write(&save);
        self.queued.push_back((id, save));
    }

    pub fn is_idle(&self) -> bool {
        self.queued.is_empty()
    }

    /// Makes the oldest save durable; the server is not told.
    pub fn complete_one(&mut self) -> Option<SaveId> {
        let (id, save) = self.queued.pop_front()?;
        self.durable.write(&save);
        Some(id)
    }

    /// Makes all saves durable and names the last.
    pub fn complete_all(&mut self) -> Option<SaveId> {
        std::iter::from_fn(|| self.complete_one()).last()
    }

    /// The power fails.
    pub fn crash(&mut self) {
        self.queued.clear();
        self.live = self.durable.clone();
    }
}
