//! The seam to storage: the messages by which a node reads and writes its log, its snapshots and its
//! state machine.
//!
//! ```text
//!   at the start      GetInitialState, WatchDiskSpace (answered over and over with DiskSpace)
//!   the log           SaveLog, ReadLog
//!   the state machine Apply
//!   snapshots (§7)    BuildSnapshot; ReadSnapshot on the leader, StoreSnapshotChunk and
//!                     InstallSnapshot on a follower that lacks what the leader's log has no more
//! ```
//!
//! A storage is any actor that handles them, asynchronous (`Context`) or blocking (`SyncContext`
//! with one thread). [`DurableStorage`](crate::durable::DurableStorage) is one that is ready to
//! use; [`MemoryStorage`](crate::testing::MemoryStorage) is one to learn from.

use std::marker::PhantomData;
use std::sync::Arc;

use actix::dev::{RecipientRequest, ToEnvelope};
use actix::{Actor, Addr, Handler, Message, Recipient};
pub use actix_raft_core::snapshot::{Snapshot, SnapshotChunk};
pub use actix_raft_core::stored::{Base, Save, StoredState};
pub use actix_raft_core::types::{DiskId, HardState};

use crate::application::Application;
use crate::messages::{Entry, Index};
use crate::sessions::{SessionError, SessionId};

/// Why a storage failed, for people. If it is the log or the state machine that failed, the node
/// stops whatever it is: what the disk holds after a failed write is not known, and a retry may
/// report success for data that is lost. A snapshot that can't be built, read or received stops
/// nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct StorageError {
    /// What failed, on what, and why.
    pub reason: Arc<str>,
}

impl StorageError {
    /// An error with the text of another.
    pub fn new(reason: impl std::fmt::Display) -> StorageError {
        StorageError { reason: reason.to_string().into() }
    }
}

/// Asks what the storage holds. The first message it receives.
#[derive(Clone, Copy, Debug)]
pub struct GetInitialState;

impl Message for GetInitialState {
    type Result = Result<StoredState, StorageError>;
}

/// Stores term, vote and entries; answered when they are durable. The save is atomic: after a
/// crash it is there as a whole or not at all. Saves are durable, and answered, in the order in
/// which they came, so a storage may join all that wait in one write. Many are outstanding at a
/// time. After the disk failed once, no save is answered with `Ok` any more.
#[derive(Clone, Debug)]
pub struct SaveLog {
    /// What to store.
    pub save: Save,
}

impl Message for SaveLog {
    type Result = Result<(), StorageError>;
}

/// Reads entries from the log, for a follower that is behind or for the state machine. They were
/// saved; if they were overwritten or removed since, the answer is empty, and no error.
#[derive(Clone, Copy, Debug)]
pub struct ReadLog {
    /// The first index.
    pub first: Index,
    /// The last index.
    pub last: Index,
    /// The answer stops after the entry that reaches this weight in bytes ([`Entry::weight`]), or
    /// before the one that would go beyond it; but it holds at least one that is there.
    pub max_bytes: usize,
}

impl Message for ReadLog {
    type Result = Result<Vec<Entry>, StorageError>;
}

/// Applies committed entries to the state machine: those that follow the ones applied last. One
/// such message is outstanding at a time. Answered with one [`Outcome`] for each entry that is
/// [`EntryPayload::Normal`](crate::messages::EntryPayload::Normal), in order:
/// [`Replicated`](crate::replicated::Replicated) makes them.
pub struct Apply<A: Application> {
    /// The entries, contiguous.
    pub entries: Arc<[Entry]>,
    application: PhantomData<fn() -> A>,
}

impl<A: Application> Apply<A> {
    /// Applies these entries, which are contiguous and follow those applied last.
    #[must_use]
    pub fn new(entries: Arc<[Entry]>) -> Apply<A> {
        Apply { entries, application: PhantomData }
    }
}

impl<A: Application> Message for Apply<A> {
    type Result = Result<Vec<Outcome<A::Response>>, StorageError>;
}

/// Takes a snapshot of the state machine as it is after the [`Apply`] that came before, and makes it
/// durable (§7). The state is captured before any later `Apply`, and written while those go on. One
/// such message is outstanding at a time. Answered with `None` if the state machine takes no
/// snapshots.
///
/// An error does not stop the node: a snapshot is tried again later. What was written of it is gone.
#[derive(Clone, Debug)]
pub struct BuildSnapshot {
    /// What the snapshot stands for; stored with it.
    pub base: Base,
}

impl Message for BuildSnapshot {
    type Result = Result<Option<Snapshot>, StorageError>;
}

/// Reads a piece of a snapshot that was built, installed, or found at the start. Answered with
/// `None` if it is there no more, or is damaged: then it must not be used again.
///
/// An error does not stop the node: the follower for which it was read gets its entries later.
#[derive(Clone, Debug)]
pub struct ReadSnapshot {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The first byte.
    pub offset: u64,
    /// How many bytes at the most.
    pub max_bytes: usize,
}

impl Message for ReadSnapshot {
    type Result = Result<Option<SnapshotChunk>, StorageError>;
}

/// Stores a piece of a snapshot that comes from a leader, if its checksum is right and it begins
/// where the pieces so far end; pieces of another snapshot are thrown away. Answered with how many
/// of the snapshot's first bytes are held now. The state machine is not touched.
///
/// An error does not stop the node: the leader is asked for the snapshot again, after a pause.
#[derive(Clone, Debug)]
pub struct StoreSnapshotChunk {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The piece; one without bytes asks how many are held.
    pub chunk: SnapshotChunk,
}

impl Message for StoreSnapshotChunk {
    type Result = Result<u64, StorageError>;
}

/// Puts a snapshot of which all pieces are stored in the place of the latest one, atomically and
/// durably, and its state in the place of the state machine's. It comes after all that was to be
/// applied before. Answered with `false`, and nothing changed, if the pieces are no such snapshot:
/// they are thrown away.
///
/// An error stops the node: which state the state machine holds is not known.
#[derive(Clone, Debug)]
pub struct InstallSnapshot {
    /// The snapshot.
    pub snapshot: Snapshot,
}

impl Message for InstallSnapshot {
    type Result = Result<bool, StorageError>;
}

/// Asks to be told when the disk is nearly full, and when it has room again. The last message at a
/// node's start. A storage that does not look at its disk ignores it.
#[derive(Clone)]
pub struct WatchDiskSpace {
    /// Whom to tell, whenever it changes.
    pub watcher: Recipient<DiskSpace>,
}

impl Message for WatchDiskSpace {
    type Result = ();
}

/// From a storage to its node: whether its disk has so little room left that the log should not
/// grow. A leader then hands over to a server whose disk has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Whether it has.
    pub low: bool,
}

impl Message for DiskSpace {
    type Result = ();
}

/// What an entry that is [`EntryPayload::Normal`](crate::messages::EntryPayload::Normal) came to
/// when it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<R> {
    /// The state machine applied its command, now or in an earlier attempt, and responded this.
    Response(R),
    /// The command was applied in an earlier attempt, but the response was not kept.
    AppliedBefore,
    /// It began a session.
    Registered(SessionId),
    /// Its command was not applied: the session is over, or has moved past it.
    Refused(SessionError),
    /// It asked whether a write of a session was applied, and none was.
    NotApplied,
}

macro_rules! seam {
    ($($message:ident => $method:ident,)*) => {
        /// An actor that keeps a node's log, snapshots and state machine. There is nothing to
        /// implement but the handlers.
        pub trait RaftStorage<A: Application>: Actor + Handler<Apply<A>> $(+ Handler<$message>)* {}

        impl<A: Application, S> RaftStorage<A> for S where
            S: Actor + Handler<Apply<A>> $(+ Handler<$message>)*
        {
        }

        /// A storage as a node sees it: made from the address of any actor that is a
        /// [`RaftStorage`].
        ///
        /// Each request is in the actor's mailbox when its method returns, so that requests arrive
        /// in the order of the calls. The future brings the answer; an error means that the actor
        /// ended.
        pub struct Storage<A: Application> {
            apply: Recipient<Apply<A>>,
            $($method: Recipient<$message>,)*
        }

        impl<A: Application, S: RaftStorage<A>> From<Addr<S>> for Storage<A>
        where
            S::Context: ToEnvelope<S, Apply<A>> $(+ ToEnvelope<S, $message>)*,
        {
            fn from(address: Addr<S>) -> Storage<A> {
                Storage {
                    $($method: address.clone().recipient(),)*
                    apply: address.recipient(),
                }
            }
        }
    };
}

seam! {
    GetInitialState => initial_state,
    SaveLog => save,
    ReadLog => read,
    BuildSnapshot => build_snapshot,
    ReadSnapshot => read_snapshot,
    StoreSnapshotChunk => store_snapshot_chunk,
    InstallSnapshot => install_snapshot,
    WatchDiskSpace => watch_disk_space,
}

impl<A: Application> Storage<A> {
    /// Asks what the storage holds.
    pub fn initial_state(&self) -> RecipientRequest<GetInitialState> {
        send(&self.initial_state, GetInitialState)
    }

    /// Stores term, vote and entries.
    pub fn save(&self, save: Save) -> RecipientRequest<SaveLog> {
        send(&self.save, SaveLog { save })
    }

    /// Reads entries from the log.
    pub fn read(&self, read: ReadLog) -> RecipientRequest<ReadLog> {
        send(&self.read, read)
    }

    /// Applies committed entries to the state machine.
    pub fn apply(&self, entries: Arc<[Entry]>) -> RecipientRequest<Apply<A>> {
        send(&self.apply, Apply::new(entries))
    }

    /// Takes a snapshot of the state machine as it is now.
    pub fn build_snapshot(&self, base: Base) -> RecipientRequest<BuildSnapshot> {
        send(&self.build_snapshot, BuildSnapshot { base })
    }

    /// Reads a piece of a snapshot.
    pub fn read_snapshot(&self, read: ReadSnapshot) -> RecipientRequest<ReadSnapshot> {
        send(&self.read_snapshot, read)
    }

    /// Stores a piece of a snapshot.
    pub fn store_snapshot_chunk(
        &self,
        store: StoreSnapshotChunk,
    ) -> RecipientRequest<StoreSnapshotChunk> {
        send(&self.store_snapshot_chunk, store)
    }

    /// Puts a snapshot in the place of the state machine's state.
    pub fn install_snapshot(&self, snapshot: Snapshot) -> RecipientRequest<InstallSnapshot> {
        send(&self.install_snapshot, InstallSnapshot { snapshot })
    }

    /// Asks to be told when the disk is nearly full.
    pub fn watch_disk_space(
        &self,
        watcher: Recipient<DiskSpace>,
    ) -> RecipientRequest<WatchDiskSpace> {
        send(&self.watch_disk_space, WatchDiskSpace { watcher })
    }
}

/// Puts a message into a mailbox, be it full or not. A sender that has met a full mailbox must
/// wait, and those that wait are let in in any order, but saves must not overtake each other; a
/// new sender has room for one message always.
fn send<M>(to: &Recipient<M>, message: M) -> RecipientRequest<M>
where
    M: Message + Send,
    M::Result: Send,
{
    to.clone().send(message)
}
