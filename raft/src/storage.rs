//! The seam to storage: the messages by which a node reads and writes its log and its state
//! machine.
//!
//! A storage is any actor that handles them, asynchronous (`Context`) or blocking (`SyncContext`
//! with one thread). [`DurableStorage`](crate::durable::DurableStorage) is one that is ready to
//! use; [`MemoryStorage`](crate::testing::MemoryStorage) is one to learn from.

use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message, Recipient};
pub use actix_raft_core::stored::{Base, Save, StoredState};

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
/// crash it is there as a whole or not at all. Saves are durable in the order in which they came,
/// so a storage may join all that wait in one write.
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
    /// The answer may stop after the entry that reaches this weight in bytes
    /// ([`Entry::weight`]), but holds at least one that is there.
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
    pub(crate) application: std::marker::PhantomData<fn() -> A>,
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
pub struct Storage<A: Application> {
    pub(crate) initial_state: Recipient<GetInitialState>,
    pub(crate) save: Recipient<SaveLog>,
    pub(crate) read: Recipient<ReadLog>,
    pub(crate) apply: Recipient<Apply<A>>,
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
