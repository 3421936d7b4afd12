//! The seam to storage: the messages by which a node reads and writes its log and its state
//! machine.
//!
//! A storage is any actor that handles them, asynchronous (`Context`) or blocking (`SyncContext`
//! with one thread). [`DurableStorage`](crate::durable::DurableStorage) is one that is ready to
//! use; [`MemoryStorage`](crate::testing::MemoryStorage) is one to learn from.

use std::marker::PhantomData;
use std::sync::Arc;

use actix::dev::{RecipientRequest, ToEnvelope};
use actix::{Actor, Addr, Handler, Message, Recipient};
pub use actix_raft_core::stored::{Base, Save, StoredState};
pub use actix_raft_core::types::HardState;

use crate::application::Application;
use crate::messages::{Entry, Index};

/// Why a storage failed, for people. The node stops whatever it is: what the disk holds after a
/// failed write is not known, and a retry may report success for data that is lost.
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
/// such message is outstanding at a time. Answered with one response for each entry that is
/// [`EntryPayload::Normal`](crate::messages::EntryPayload::Normal), in order.
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
    type Result = Result<Vec<A::Response>, StorageError>;
}

/// An actor that keeps a node's log and state machine. There is nothing to implement but the
/// handlers.
pub trait RaftStorage<A: Application>:
    Actor + Handler<GetInitialState> + Handler<SaveLog> + Handler<ReadLog> + Handler<Apply<A>>
{
}

impl<A: Application, S> RaftStorage<A> for S where
    S: Actor + Handler<GetInitialState> + Handler<SaveLog> + Handler<ReadLog> + Handler<Apply<A>>
{
}

/// A storage as a node sees it: made from the address of any actor that is a [`RaftStorage`].
///
/// Each request is in the actor's mailbox when its method returns, so that requests arrive in the
/// order of the calls. The future brings the answer; an error means that the actor ended.
pub struct Storage<A: Application> {
    initial_state: Recipient<GetInitialState>,
    save: Recipient<SaveLog>,
    read: Recipient<ReadLog>,
    apply: Recipient<Apply<A>>,
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

impl<A: Application, S: RaftStorage<A>> From<Addr<S>> for Storage<A>
where
    S::Context: ToEnvelope<S, GetInitialState>
        + ToEnvelope<S, SaveLog>
        + ToEnvelope<S, ReadLog>
        + ToEnvelope<S, Apply<A>>,
{
    fn from(address: Addr<S>) -> Storage<A> {
        Storage {
            initial_state: address.clone().recipient(),
            save: address.clone().recipient(),
            read: address.clone().recipient(),
            apply: address.recipient(),
        }
    }
}
