//! What a server's disk holds, kept as a plain list beside the real one.

use std::sync::Arc;

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::membership::Membership;
use actix_raft_core::snapshot::Snapshot;
use actix_raft_core::stored::{Base, Save, StoredState};
use actix_raft_core::types::{HardState, Index, LogPosition, Term};

/// Term, vote and log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Image {
    pub(crate) hard_state: HardState,
    base: Base,
    /// The entries after the base.
    entries: Vec<Entry>,
    /// The configurations among them.
    memberships: Vec<(Index, Arc<Membership>)>,
}

impl Image {
    pub(crate) fn new(hard_state: HardState, base: Base, entries: Vec<Entry>) -> Image {
        let mut image = Image { hard_state, base, ..Image::default() };
        image.append(&entries);
        image
    }

    pub(crate) fn base(&self) -> &Base {
        &self.base
    }

    /// The entries after the base.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The index of the last entry that is not in the log any more.
    pub(crate) fn purged(&self) -> Index {
        self.base.last_included.index
    }

    fn place(&self, index: Index) -> Option<usize> {
        let place = index.0.checked_sub(self.purged().0 + 1)? as usize;
        (place < self.entries.len()).then_some(place)
    }

    pub(crate) fn entry(&self, index: Index) -> Option<&Entry> {
        self.place(index).map(|place| &self.entries[place])
    }

    /// The entries after one index, up to another, as far as they are in the log.
    pub(crate) fn range(&self, after: Index, last: Index) -> &[Entry] {
        let place = |index: Index| {
            let place = index.0.saturating_sub(self.purged().0) as usize;
            place.min(self.entries.len())
        };
        self.entries.get(place(after)..place(last)).unwrap_or_default()
    }

    /// Whether it has this entry, in its log or in what stands in front of that.
    pub(crate) fn holds(&self, entry: &Entry) -> bool {
        entry.index <= self.purged() || self.entry(entry.index) == Some(entry)
    }

    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        match index == self.purged() {
            true => Some(self.base.last_included.term),
            false => self.entry(index).map(|entry| entry.term),
        }
    }

    pub(crate) fn last(&self) -> LogPosition {
        self.entries.last().map_or(self.base.last_included, Entry::position)
    }

    /// The configuration in force, and the index from which it holds.
    pub(crate) fn membership(&self) -> Option<&(Index, Arc<Membership>)> {
        self.memberships.last().or(self.base.membership.as_ref())
    }

    /// All configurations that may yet be in force: that of the base, and those in the log.
    pub(crate) fn memberships(&self) -> impl Iterator<Item = &(Index, Arc<Membership>)> {
        self.base.membership.iter().chain(&self.memberships)
    }

    pub(crate) fn write(&mut self, save: &Save) {
        self.hard_state = save.hard_state.unwrap_or(self.hard_state);
        if let Some(base) = &save.base {
            self.begin_after(base);
        }
        save.entries.iter().for_each(|run| self.append(run));
    }

    /// The log begins after this: with the entries that it has there, or empty if it does not have
    /// the last included one (§7).
    pub(crate) fn begin_after(&mut self, base: &Base) {
        let at = base.last_included;
        match self.term_at(at.index) == Some(at.term) {
            true => {
                self.entries.drain(..(at.index.0 - self.purged().0) as usize);
                self.memberships.retain(|(index, _)| *index > at.index);
            }
            false => {
                self.entries.clear();
                self.memberships.clear();
            }
        }
        self.base = base.clone();
    }

    /// As a restart finds it, if this is the latest snapshot: one that was installed, and of which
    /// the log did not know yet, stands in front of it.
    pub(crate) fn begin_after_installed(&mut self, latest: Option<&Snapshot>) {
        let Some(latest) = latest else { return };
        let at = latest.last_included();
        if at.index > self.purged() && self.term_at(at.index) != Some(at.term) {
            self.begin_after(&latest.base);
        }
    }

    /// Stores a run of entries that continues the log or overlaps its end.
    pub(crate) fn append(&mut self, run: &[Entry]) {
        let Some(first) = run.first() else { return };
        self.entries.truncate(first.index.prev().0.saturating_sub(self.purged().0) as usize);
        self.memberships.retain(|(index, _)| *index < first.index);
        self.entries.extend(run.iter().cloned());
        self.memberships.extend(run.iter().filter_map(|entry| match &entry.payload {
            EntryPayload::ConfigChange(membership) => Some((entry.index, Arc::clone(membership))),
            EntryPayload::Blank | EntryPayload::Normal(_) => None,
        }));
    }

    /// The last position at or below this one in both term and index; that of the base if there is
    /// none.
    pub(crate) fn floor(&self, at: LogPosition) -> LogPosition {
        let below = self.range(Index::ZERO, at.index).iter().rev();
        let found = below.map(Entry::position).find(|position| position.term <= at.term);
        found.unwrap_or(self.base.last_included)
    }

    /// What a storage that holds this says when it is opened.
    pub(crate) fn stored(&self) -> StoredState {
        let mut stored = StoredState { hard_state: self.hard_state, ..StoredState::default() };
        stored.note_base(self.base.clone());
        self.entries.iter().for_each(|entry| stored.note_entry(entry));
        stored
    }
}
