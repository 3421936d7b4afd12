//! An entry of the replicated log.

use std::sync::Arc;

use bytes::Bytes;

use crate::membership::Membership;
use crate::types::{Index, LogPosition, Term};

/// One entry: a command for the state machine and the term in which a leader received it (§5.3).
/// Cloning an entry shares its payload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The term of the leader that created the entry.
    pub term: Term,
    /// The entry's place in the log.
    pub index: Index,
    /// What the entry says.
    pub payload: EntryPayload,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EntryPayload {
    /// Nothing: a new leader's first entry, by which it commits those of earlier terms (§8).
    Blank,
    /// A command for the state machine, opaque to the protocol.
    Normal(Bytes),
    /// The cluster's members from this entry on, committed or not (§6).
    ConfigChange(Arc<Membership>),
}

impl Entry {
    /// What each entry is taken to weigh beside its command, in bytes.
    pub const OVERHEAD: usize = 64;

    /// The entry's term and index.
    #[must_use]
    pub fn position(&self) -> LogPosition {
        LogPosition { term: self.term, index: self.index }
    }

    /// What the entry weighs against the limits on messages and memory, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.payload.weight()
    }
}

impl EntryPayload {
    /// What an entry of this payload weighs against the limits on messages and memory, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        Entry::OVERHEAD
            + match self {
                EntryPayload::Blank => 0,
                EntryPayload::Normal(command) => command.len(),
                EntryPayload::ConfigChange(membership) => membership.weight(),
            }
    }
}
