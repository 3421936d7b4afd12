//! The contracts of a storage, each in a sentence, and what is said when one is broken.

use std::fmt;

macro_rules! contracts {
    ($($(#[$doc:meta])* $name:ident: $text:literal,)*) => {
        /// What a node relies on. [`fmt::Display`] says it in a sentence.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Contract {
            $($(#[$doc])* $name,)*
        }

        impl Contract {
            /// All of them, in the order in which they are checked.
            pub const ALL: &[Contract] = &[$(Contract::$name,)*];
        }

        impl fmt::Display for Contract {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Contract::$name => $text,)*
                })
            }
        }
    };
}

contracts! {
    /// A new storage answers `StoredState::default()`, but for the disk.
    StartsEmpty: "a new storage holds nothing",
    /// See [`DiskId`](actix_raft::storage::DiskId); one that tells none is not checked.
    DiskId: "a storage names its disk, and no other storage's disk alike",
    /// All from the first index to the last, none else, in order.
    ReadRange: "a read is answered with the entries of its range",
    /// See [`ReadLog::max_bytes`](actix_raft::storage::ReadLog::max_bytes).
    MaxBytes: "a read stops at its weight, but holds at least one entry",
    /// Commands of any bytes and length, blank entries, configurations with all their members, the
    /// goal of a change under way, and who formed the cluster.
    Payloads: "every entry is read back to the last byte",
    /// In one run or in several, in one save or in several.
    Append: "entries that are saved after the log's end are in the log",
    /// No less and no more, also within one save.
    Truncate: "a run of entries replaces everything from its first index on",
    /// See [`ReadLog`](actix_raft::storage::ReadLog).
    ReadGone: "a read of entries that are gone is answered with none of them, and no error",
    /// All of it is one record, and stays until it is replaced; also whether the disk is trusted.
    HardState: "term and vote are found as they were saved last",
    /// The first configuration, with all addresses.
    Base: "what stands in front of the log is found as it was saved",
    /// `last_log`, `term_starts` and `memberships`, as `StoredState::note_entry` notes them.
    StoredState: "where the log ends, its terms and its configurations are found exactly",
    /// Saves are sent without waiting for the answers to earlier ones.
    SaveOrder: "all saves that are outstanding are carried out and answered, in order",
    /// What was acknowledged can be read at any time.
    ReadDuringSaves: "a read while saves are outstanding sees the log between two of them",
    /// None for a blank entry or a configuration.
    Responses: "each command that is applied has one response, in order",
    /// After an orderly end, or with the process; the machine runs on.
    Restart: "what was acknowledged is found after a restart, and saves are whole",
    /// It is at most what was handed to the state machine.
    LastApplied: "after a restart, applying goes on after the entry that is said to be the last",
    /// They are no longer than asked for, and together all of its bytes. See
    /// [`ReadSnapshot`](actix_raft::storage::ReadSnapshot).
    SnapshotPieces: "a snapshot is read in pieces, and nothing else is read in its name",
    /// See [`StoreSnapshotChunk`](actix_raft::storage::StoreSnapshotChunk).
    ReceivedPieces: "of a snapshot that comes, whole pieces are stored in order, of one at a time",
    /// With all sessions of clients; and the snapshot can be read like one that was built.
    Install: "a snapshot that is installed is the state of the storage that built it",
    /// Pieces are missing, or the whole is not what its checksum says.
    RefusedSnapshot: "what is no such snapshot is not installed, is thrown away, and changes nothing",
    /// Not that before an [`Apply`](actix_raft::storage::Apply) that came first, and not that after
    /// one that came later.
    BuildSnapshot: "a snapshot is that of the state after all that was to be applied before it",
    /// See [`Save::base`](actix_raft::storage::Save::base).
    Purge: "a log begins after its base, empty if it did not have the base's last entry",
    /// And with it the state machine; what was received of another one is held or not.
    SnapshotRestart: "after a restart the latest snapshot is found, and applying goes on after it",
    /// A long random history, the same each time.
    History: "a storage does what a plain list does, whatever comes in which order",
    /// At every operation on the disk, whatever of the unsynced bytes survives.
    OpensAfterPowerFailure: "a storage opens after a power failure at any moment, and works",
    /// An answer to a save is a promise.
    PowerFailure: "a power failure loses nothing that was acknowledged",
    /// Also one of term, vote and several runs.
    AtomicSaves: "a power failure leaves each save whole or absent, and none without those before",
    /// What the disk holds after a failed write or sync is not known.
    FailStop: "after the disk failed, no save is acknowledged any more",
    /// Also between the installation of one and the save of the base.
    SnapshotPowerFailure: "a power failure leaves the latest snapshot, or the one before, as a whole",
}

/// A contract that is broken, and how it was seen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{contract}; but {step}: expected {expected}, found {found}")]
pub struct Failure {
    /// The contract.
    pub contract: Contract,
    /// What was being done.
    pub step: String,
    /// What a storage that keeps the contract shows here.
    pub expected: String,
    /// What this one showed.
    pub found: String,
}
