//! Snapshots: a state machine's whole state at one index, instead of the log up to there (§7).
//!
//! ```text
//!   log:        [ 1 2 3 4 5 6 | 7 8 9 ...          snapshot, last included 6:
//!                             ^                      membership at 6, and what the state machine
//!                             purged up to here      (and whatever the storage adds) wrote
//! ```
//!
//! The core never sees a snapshot's bytes but as pieces on their way from a leader's disk to a
//! follower's.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;

use crate::membership::Membership;
use crate::stored::Base;
use crate::types::{Index, LogPosition};

/// A snapshot that is on a disk as a whole, and what tells it from every other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// What it stands for: the last entry that it includes, and the configuration there.
    pub base: Base,
    /// Its length in bytes.
    pub size: u64,
    /// A checksum of its bytes. Two servers' snapshots of the same position with the same size and
    /// checksum are the same, so that a transfer that one leader began can be finished by another.
    pub checksum: u32,
}

impl Snapshot {
    /// The last entry that it includes (`lastIncludedIndex`, `lastIncludedTerm`).
    #[must_use]
    pub fn last_included(&self) -> LogPosition {
        self.base.last_included
    }

    /// The configuration there, and the index from which it holds.
    #[must_use]
    pub fn membership(&self) -> Option<&(Index, Arc<Membership>)> {
        self.base.membership.as_ref()
    }
}

/// A piece of a snapshot. Cloning it shares its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotChunk {
    /// Where the piece begins, in bytes.
    pub offset: u64,
    /// The bytes.
    pub data: Bytes,
    /// A checksum of the bytes, made and checked by the storage.
    pub checksum: u32,
    /// Whether it is the last piece.
    pub done: bool,
}

/// When a server takes a snapshot by itself: as soon as one of these is reached. With none, only
/// when it is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotPolicy {
    /// So many entries applied since the last one.
    pub entries: Option<u64>,
    /// So many bytes of entries applied since the last one.
    pub bytes: Option<u64>,
    /// So much time since the last one, if anything was applied since.
    pub interval: Option<Duration>,
}

impl Default for SnapshotPolicy {
    /// Every 64 MiB of entries or 500,000 entries, whichever comes first.
    fn default() -> SnapshotPolicy {
        SnapshotPolicy { entries: Some(500_000), bytes: Some(64 << 20), interval: None }
    }
}
