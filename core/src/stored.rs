//! What a server keeps on stable storage: what it writes there, and what it finds after a restart.

use std::sync::Arc;

use crate::entry::{Entry, EntryPayload};
use crate::membership::Membership;
use crate::snapshot::Snapshot;
use crate::types::{DiskId, HardState, Index, LogPosition, Term};

/// The name of a save, counted up by one from save to save.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SaveId(pub u64);

/// What is to be stored in one durable, atomic write. Saves are stored in the order they came; a
/// driver or a storage may join several in one write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Save {
    /// Term and vote, if they changed.
    pub hard_state: Option<HardState>,
    /// What stands in front of the log, if it changed: a new cluster's first configuration, or a
    /// snapshot. It takes its place before `entries` are stored: entries up to it are gone from the
    /// log; if the log does not have the last included entry, of the same term, all are.
    pub base: Option<Base>,
    /// Runs of contiguous entries, to be stored in this order. Each run replaces whatever the log
    /// holds from the run's first index on.
    pub entries: Vec<Arc<[Entry]>>,
}

/// What stands in front of the log's first entry: nothing at first, later a snapshot (§7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Base {
    /// The last position that is not in the log because it is included in what stands in front of
    /// it (`lastIncludedIndex`, `lastIncludedTerm`).
    pub last_included: LogPosition,
    /// The configuration there, and the index from which it holds (0 for a first one); `None` on a
    /// server that was never given one.
    pub membership: Option<(Index, Arc<Membership>)>,
}

/// What a server finds on its storage when it starts. It holds no entries: the core asks for those
/// it needs, so that a long log costs no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredState {
    /// Term and vote.
    pub hard_state: HardState,
    /// What stands in front of the log.
    pub base: Base,
    /// The last position in the log; `base.last_included` if the log is empty.
    pub last_log: LogPosition,
    /// The first position of every term that occurs in the log, in order.
    pub term_starts: Vec<LogPosition>,
    /// Every configuration in the log, in order.
    pub memberships: Vec<(Index, Arc<Membership>)>,
    /// The latest snapshot; its last included entry is not before `base.last_included`.
    pub snapshot: Option<Snapshot>,
    /// How far the state machine holds the log: the latest snapshot's last included index, or
    /// further, if it survives a restart by itself.
    pub last_applied: Index,
    /// The disk.
    pub disk: DiskId,
}

impl StoredState {
    /// Whether the server was never part of a cluster: it has no configuration and no entry. It may
    /// have voted already, for a server that was told of the cluster before it.
    #[must_use]
    pub fn is_pristine(&self) -> bool {
        self.base == Base::default() && self.last_log == LogPosition::ZERO
    }

    /// Takes note of an entry stored at the end of the log or over its end: what came after it
    /// before is gone. A storage calls this for each entry that it finds, in the order of writing.
    pub fn note_entry(&mut self, entry: &Entry) {
        if entry.index <= self.last_log.index {
            self.term_starts.retain(|start| start.index < entry.index);
            self.memberships.retain(|(index, _)| *index < entry.index);
        }
        if self.term_starts.last().is_none_or(|start| start.term != entry.term) {
            self.term_starts.push(entry.position());
        }
        if let EntryPayload::ConfigChange(membership) = &entry.payload {
            self.memberships.push((entry.index, Arc::clone(membership)));
        }
        self.last_log = entry.position();
    }

    /// The term of the entry here, if it is known: in the log, or at its base.
    #[must_use]
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.last_included.index {
            return Some(self.base.last_included.term);
        }
        if index < self.base.last_included.index || index > self.last_log.index {
            return None;
        }
        let after = self.term_starts.partition_point(|start| start.index <= index);
        after.checked_sub(1).map(|run| self.term_starts[run].term)
    }

    /// Takes note that the log now begins after `base`: with the entries after it, if the log has
    /// its last one, and empty otherwise (§7).
    pub fn note_base(&mut self, base: Base) {
        let has_last = self.term_at(base.last_included.index) == Some(base.last_included.term);
        let first = base.last_included.index.next();
        let covering = self.term_starts.iter().rposition(|start| start.index <= first);
        self.term_starts.drain(..covering.unwrap_or(0));
        if let Some(start) = self.term_starts.first_mut() {
            start.index = start.index.max(first);
        }
        self.memberships.retain(|(index, _)| *index >= first);
        if !has_last || self.last_log.index < first {
            self.last_log = base.last_included;
            self.term_starts.clear();
            self.memberships.clear();
        }
        self.last_applied = self.last_applied.max(base.last_included.index);
        self.base = base;
    }
}
