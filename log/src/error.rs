//! What can go wrong: one enum for each operation.

use std::io;
use std::sync::Arc;

use actix_raft_core::types::{Index, NodeId};

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
    /// The log was written by a version that this one does not know.
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

/// Why a write failed. After any but [`WriteError::Gap`] the log is poisoned: every later write
/// fails with the first error, since what the disk holds is not known. What was acknowledged
/// before is safe.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk refused.
    #[error("can't {operation} {file}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        file: String,
        /// The disk's word.
        source: Arc<io::Error>,
    },
    /// The entries do not continue the log; nothing was written.
    #[error("entries from {first} on do not follow a log of {base} to {last}")]
    Gap {
        /// The first entry's index.
        first: Index,
        /// What the log begins after.
        base: Index,
        /// Its last index.
        last: Index,
    },
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
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
