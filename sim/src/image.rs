//! What a server's disk holds, kept as a plain list beside the real one.

use std::sync::Arc;

use actix_raft_core::entry::Entry;
use actix_raft_core::stored::{Base, Save, StoredState};
use actix_raft_core::types::{HardState, Index, LogPosition, Term};

/// Term, vote and log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Image {
    pub(crate) hard_state: HardState,
    pub(crate) base: Base,
    /// The entries from index 1 on.
    pub(crate) entries: Vec<Entry>,
}

impl Image {
    pub(crate) fn entry(&self, index: Index) -> Option<&Entry> {
        self.entries.get(index.0.checked_sub(1)? as usize)
    }

    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        match index {
            Index::ZERO => Some(Term::ZERO),
            _ => self.entry(index).map(|entry| entry.term),
        }
    }

    pub(crate) fn last(&self) -> LogPosition {
        self.entries.last().map_or(LogPosition::ZERO, Entry::position)
    }

    pub(crate) fn write(&mut self, save: &Save) {
        self.hard_state = save.hard_state.unwrap_or(self.hard_state);
        if let Some(base) = &save.base {
            self.base = base.clone();
        }
        save.entries.iter().for_each(|run| self.append(run));
    }

    pub(crate) fn append(&mut self, run: &Arc<[Entry]>) {
        if let Some(first) = run.first() {
            self.entries.truncate(first.index.prev().0 as usize);
            self.entries.extend(run.iter().cloned());
        }
    }

    /// What a storage that holds this says when it is opened.
    pub(crate) fn stored(&self) -> StoredState {
        let mut stored = StoredState { hard_state: self.hard_state, ..StoredState::default() };
        stored.note_base(self.base.clone());
        self.entries.iter().for_each(|entry| stored.note_entry(entry));
        stored
    }
}
