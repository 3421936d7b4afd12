//! What can go wrong: one enum for each operation.

use std::fmt;
use std::io;
use std::sync::Arc;

use actix_raft_core::types::{Index, LogPosition, NodeId};

/// Why a log could not be opened. It was not changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory open.
    #[error("{directory} is in use by another process")]
    InUse {
        /// The directory.
        directory: String,
    },
    /// The disk refused.
    #[error("can't {operation} {file}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        file: String,
        /// The disk's word.
        source: io::Error,
    },
    /// The log is damaged, other than by a crash: something that was acknowledged can't be read.
    /// The other servers have it; this one needs a new id and an empty directory.
    #[error("{file} is damaged at offset {offset}: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A segment is missing that the others need. Nothing else will do, as with damage.
    #[error("{file} is missing, though other segments of the log are there")]
    Missing {
        /// The file.
        file: String,
    },
    /// There is no snapshot of what the log begins after. Nothing else will do, as with damage.
    #[error("the log in {directory} begins after {base}, and there is no snapshot up to there")]
    NoSnapshot {
        /// The directory.
        directory: String,
        /// What the log begins after.
        base: LogPosition,
    },
    /// The log or a snapshot was written by a version that this one does not know.
    #[error("{file} has format version {found}, this program knows only {known}")]
    Version {
        /// The file.
        file: String,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The directory belongs to another server.
    #[error(
        "{file} belongs to node {} of cluster '{}', not to node {} of cluster '{}'",
        found.node_id, found.cluster_id, expected.node_id, expected.cluster_id
    )]
    Identity {
        /// The file that says so.
        file: String,
        /// Whom the directory belongs to.
        found: Identity,
        /// Who wants to open it.
        expected: Identity,
    },
    /// The cluster's id can't be stored.
    #[error("a cluster id of {bytes} bytes, more than the {limit} that can be stored")]
    ClusterId {
        /// Its length.
        bytes: usize,
        /// The longest.
        limit: usize,
    },
}

/// Whose log it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster, at most 256 bytes.
    pub cluster_id: String,
    /// The server.
    pub node_id: NodeId,
}

/// Why a write failed. After [`WriteError::Io`] the log is poisoned: every later write fails with
/// that first error, since what the disk holds is not known. What was acknowledged before is safe.
/// A write that is refused for another reason changes nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk refused.
    #[error("can't {operation} {file}{}: {source}", At(*offset))]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        file: String,
        /// Where the bytes begin that were to be written, or written and synced.
        offset: Option<u64>,
        /// The disk's word.
        source: Arc<io::Error>,
    },
    /// The entries do not continue the log.
    #[error("entries from {first} on do not follow a log of {base} to {last}")]
    Gap {
        /// The first entry's index.
        first: Index,
        /// What the log begins after.
        base: Index,
        /// Its last index.
        last: Index,
    },
    /// The entries do not continue each other.
    #[error("entry {next} follows entry {index} in a run")]
    Broken {
        /// An entry's index.
        index: Index,
        /// The index of the entry after it.
        next: Index,
    },
    /// The log begins further on already.
    #[error("the log can't begin after {base}, it begins after {current}")]
    Backwards {
        /// What it was to begin after.
        base: Index,
        /// What it begins after.
        current: Index,
    },
    /// No snapshot includes what would be gone from the log.
    #[error("the log can't begin after {base}: the latest snapshot is up to {snapshot}")]
    NoSnapshot {
        /// What it was to begin after.
        base: Index,
        /// Up to where there is a snapshot.
        snapshot: Index,
    },
    /// Too much to be written at once.
    #[error("a write of {bytes} bytes, more than the {limit} allowed at once")]
    TooLarge {
        /// How much, in bytes.
        bytes: usize,
        /// How much is allowed.
        limit: usize,
    },
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl WriteError {
    /// Whether the write was refused before the disk was touched, so that the log goes on.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            WriteError::Gap { .. }
            | WriteError::Broken { .. }
            | WriteError::Backwards { .. }
            | WriteError::NoSnapshot { .. }
            | WriteError::TooLarge { .. } => true,
            WriteError::Io { .. } | WriteError::Closed => false,
        }
    }
}

/// An offset in a message, if there is one.
struct At(Option<u64>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |offset| write!(f, " at offset {offset}"))
    }
}

/// Why entries could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They were purged.
    #[error("entry {first} is purged; the log begins after {base}")]
    Purged {
        /// The first one asked for.
        first: Index,
        /// What the log begins after.
        base: Index,
    },
    /// They are not in the log, or not durable yet.
    #[error("entry {last} is beyond the log's durable end, {end}")]
    Beyond {
        /// The last one asked for.
        last: Index,
        /// The last durable one.
        end: Index,
    },
    /// They are damaged.
    #[error("{file} is damaged at offset {offset}: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The disk refused.
    #[error("can't read {file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// The disk's word.
        source: io::Error,
    },
}

/// Why something could not be done with a snapshot. The log does not suffer from it: it goes on, and
/// the latest snapshot is still there.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk refused.
    #[error("can't {operation} {file}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        file: String,
        /// The disk's word.
        source: io::Error,
    },
    /// The snapshot is damaged.
    #[error("{file} is damaged at offset {offset}: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The snapshot was written by a version that this one does not know.
    #[error("{file} has format version {found}, this program knows only {known}")]
    Version {
        /// The file.
        file: String,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// There is a later one already.
    #[error("the snapshot up to {position} is no longer wanted: there is one up to {latest}")]
    Superseded {
        /// The last position that it includes.
        position: LogPosition,
        /// The last position that the latest one includes.
        latest: LogPosition,
    },
    /// The membership is too large to be stored.
    #[error("a membership of {bytes} bytes, more than the {limit} that can be stored")]
    Membership {
        /// Its length.
        bytes: usize,
        /// The longest.
        limit: usize,
    },
}

impl From<SnapshotError> for io::Error {
    fn from(error: SnapshotError) -> io::Error {
        let kind = match &error {
            SnapshotError::Io { source, .. } => source.kind(),
            SnapshotError::Damaged { .. } | SnapshotError::Version { .. } => {
                io::ErrorKind::InvalidData
            }
            SnapshotError::Superseded { .. } | SnapshotError::Membership { .. } => {
                io::ErrorKind::InvalidInput
            }
        };
        io::Error::new(kind, error)
    }
}
