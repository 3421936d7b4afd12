//! A disk that keeps apart what was written and what would survive a crash.

use std::collections::VecDeque;
use std::sync::Arc;

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::membership::Membership;
use actix_raft_core::snapshot::{Snapshot, SnapshotChunk};
use actix_raft_core::stored::{Base, Save, SaveId, StoredState};
use actix_raft_core::types::{DiskId, HardState, Index, LogPosition, NodeId, Term};

use crate::support::files::{File, Partial, checksum};

/// The content of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    pub disk: DiskId,
    pub hard_state: HardState,
    pub base: Base,
    /// The log, from the entry after the base on.
    pub entries: Vec<Entry>,
    /// The latest snapshot.
    pub file: Option<File>,
    /// What a leader sent of one.
    pub partial: Option<Partial>,
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
            ..Image::default()
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
        save.base.iter().for_each(|base| self.begin_after(base.clone()));
        for run in &save.entries {
            let first = run.first().expect("no run is empty").index;
            assert!(
                first > self.base.last_included.index && first <= self.last().index.next(),
                "a run from {first} on leaves a gap in a log that ends at {}",
                self.last()
            );
            self.entries.truncate(self.place(first).expect("after the base"));
            for entry in run.iter() {
                assert_eq!(entry.index, self.last().index.next(), "runs are contiguous");
                self.entries.push(entry.clone());
            }
        }
    }

    /// Entries up to the base are gone from the log; if it does not have the base's own, all are.
    fn begin_after(&mut self, base: Base) {
        let at = base.last_included;
        assert!(at.index >= self.base.last_included.index, "the base moves on");
        let has_last =
            self.entry(at.index).map(Entry::position) == Some(at) || at == self.base.last_included;
        self.entries.retain(|entry| has_last && entry.index > at.index);
        self.base = base;
    }

    /// Where the entry is in `entries`.
    fn place(&self, index: Index) -> Option<usize> {
        index.0.checked_sub(self.base.last_included.index.0 + 1).map(|place| place as usize)
    }

    pub fn entry(&self, index: Index) -> Option<&Entry> {
        self.entries.get(self.place(index)?)
    }

    pub fn last(&self) -> LogPosition {
        self.entries.last().map_or(self.base.last_included, Entry::position)
    }

    /// What the latest snapshot includes.
    pub fn included(&self) -> LogPosition {
        self.file.as_ref().map_or(LogPosition::ZERO, |file| file.snapshot.last_included())
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
        // One that is damaged is not served.
        let whole = self.file.as_ref().filter(|file| file.is_whole());
        StoredState { last_applied, snapshot: whole.map(|file| file.snapshot.clone()), ..stored }
    }

    /// What is left of these entries: a new leader may have cut them since they were asked for.
    pub fn read(&self, first: Index, last: Index, max_bytes: usize) -> Arc<[Entry]> {
        let last = last.min(self.last().index);
        let range = self.place(first).zip(self.place(last.next()));
        let wanted = range.and_then(|(first, end)| self.entries.get(first..end)).unwrap_or(&[]);
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

    /// Snapshots have a file of their own, which is durable as soon as it is there.
    pub fn put_file(&mut self, file: File) {
        self.live.file = Some(file.clone());
        self.durable.file = Some(file);
    }

    /// Stores a piece, if it begins where the pieces so far end. Returns how many bytes there are.
    pub fn store_chunk(&mut self, snapshot: &Snapshot, chunk: &SnapshotChunk) -> u64 {
        let is_same = |partial: &&mut Partial| partial.snapshot == *snapshot;
        let mut bytes = match self.durable.partial.as_mut().filter(is_same) {
            Some(partial) => std::mem::take(&mut partial.bytes),
            None => Vec::new(),
        };
        if chunk.offset == bytes.len() as u64
            && (chunk.data.is_empty() || checksum(&chunk.data) == chunk.checksum)
        {
            bytes.extend_from_slice(&chunk.data);
        }
        let received = bytes.len() as u64;
        self.durable.partial = Some(Partial { snapshot: snapshot.clone(), bytes });
        self.live.partial = self.durable.partial.clone();
        received
    }

    /// Puts the received snapshot in the latest one's place, unless it is damaged.
    pub fn install(&mut self, snapshot: &Snapshot) -> bool {
        let partial = self.durable.partial.take();
        self.live.partial = None;
        let file = partial.map(|Partial { snapshot, bytes }| File { snapshot, bytes });
        let whole = file.filter(|file| file.snapshot == *snapshot && file.is_whole());
        let is_whole = whole.is_some();
        whole.into_iter().for_each(|file| self.put_file(file));
        is_whole
    }

    /// The power fails.
    pub fn crash(&mut self) {
        self.queued.clear();
        self.live = self.durable.clone();
    }
}
