//! A storage ready to use: a durable log on disk, and a thread for the state machine.
//!
//! ```text
//!              +-- SaveLog --> log thread ("raft-log"): one fsync for all that wait
//!   Raft ------+-- ReadLog --> a blocking task
//!              +-- Apply ----> apply thread ("raft-apply"): StateMachine
//! ```
//!
//! So a slow disk delays no heartbeat, and a slow state machine delays neither. The state machine
//! lives in memory: after a restart it is built again from the log.

use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;

use actix::dev::MessageResponse;
use actix::{Actor, Context, Handler, ResponseFuture};
pub use actix_raft_log::disk::{Disk, DiskFile};
use actix_raft_log::error::ReadError;
pub use actix_raft_log::error::{Identity, OpenError as LogOpenError};
use actix_raft_log::real::RealDisk;
pub use actix_raft_log::wal::LogOptions;
use actix_raft_log::writer::Log;

use crate::application::{Application, StateMachine};
use crate::apply::apply_all;
use crate::messages::{Entry, NodeId};
use crate::requests::{ReplyTo, reply};
use crate::storage::{Apply, GetInitialState, ReadLog, Save, SaveLog, StorageError, StoredState};

/// A log in a directory and a state machine on a thread of its own. Start it as an actor on the
/// arbiter of its node.
pub struct DurableStorage<A: Application> {
    stored: StoredState,
    log: Arc<Log>,
    apply: mpsc::Sender<ToApply<A>>,
}

struct ToApply<A: Application> {
    entries: Arc<[Entry]>,
    reply_to: ReplyTo<ApplyResult<A>>,
}

type ApplyResult<A> = Result<Vec<<A as Application>::Response>, StorageError>;

/// Why a storage could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log could not be opened: the text names the file, and the offset if it is damaged.
    #[error(transparent)]
    Log(#[from] LogOpenError),
    /// The apply thread could not be started.
    #[error("the apply thread could not be started: {0}")]
    Thread(io::Error),
}

impl<A: StateMachine> DurableStorage<A> {
    /// Opens the log in a directory, or makes a new one; the directory's parent must be there.
    /// `state_machine` is one that nothing was applied to. A directory belongs to one node of one
    /// cluster, and to one process at a time.
    ///
    /// # Errors
    /// If the directory can't be used, is in use, belongs to another node or cluster, or is
    /// damaged other than by a crash.
    pub fn open(
        directory: impl AsRef<Path>,
        cluster_id: &str,
        id: NodeId,
        state_machine: A,
    ) -> Result<DurableStorage<A>, OpenError> {
        let identity = Identity { cluster_id: cluster_id.to_string(), node_id: id };
        let disk = Arc::new(RealDisk::open(directory.as_ref())?);
        DurableStorage::open_on(disk, LogOptions::new(identity), state_machine)
    }

    /// Opens the log on any disk, such as one that fails when a test tells it to
    /// (`actix_raft_log::crash::CrashDisk`), or makes a new one. `state_machine` is one that
    /// nothing was applied to. Nobody but this may use the disk meanwhile.
    ///
    /// # Errors
    /// If the disk refuses, belongs to another node or cluster, or is damaged other than by a
    /// crash.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        state_machine: A,
    ) -> Result<DurableStorage<A>, OpenError> {
        let (log, stored) = Log::open(disk, options)?;
        let (apply, to_apply) = mpsc::channel();
        thread::Builder::new()
            .name("raft-apply".to_string())
            .spawn(move || apply_each(state_machine, &to_apply))
            .map_err(OpenError::Thread)?;
        Ok(DurableStorage { stored, log: Arc::new(log), apply })
    }

    /// What the log held when it was opened.
    #[must_use]
    pub fn stored(&self) -> &StoredState {
        &self.stored
    }
}

/// The apply thread: ends when the storage is gone.
fn apply_each<A: StateMachine>(mut state_machine: A, to_apply: &mpsc::Receiver<ToApply<A>>) {
    for ToApply { entries, reply_to } in to_apply {
        reply(reply_to, apply_all(&mut state_machine, &entries));
    }
}

impl<A: StateMachine> Actor for DurableStorage<A> {
    type Context = Context<Self>;
}

impl<A: StateMachine> Handler<GetInitialState> for DurableStorage<A> {
    type Result = Result<StoredState, StorageError>;

    fn handle(&mut self, _: GetInitialState, _: &mut Context<Self>) -> Self::Result {
        Ok(self.stored.clone())
    }
}

/// A save on its way to the log thread, which answers it itself.
pub struct SaveReply {
    log: Arc<Log>,
    save: Save,
}

impl<A: StateMachine> MessageResponse<DurableStorage<A>, SaveLog> for SaveReply {
    fn handle(self, _: &mut Context<DurableStorage<A>>, tx: ReplyTo<Result<(), StorageError>>) {
        self.log.save(self.save, move |saved| reply(tx, saved.map_err(StorageError::new)));
    }
}

impl<A: StateMachine> Handler<SaveLog> for DurableStorage<A> {
    type Result = SaveReply;

    fn handle(&mut self, SaveLog { save }: SaveLog, _: &mut Context<Self>) -> SaveReply {
        SaveReply { log: Arc::clone(&self.log), save }
    }
}

impl<A: StateMachine> Handler<ReadLog> for DurableStorage<A> {
    type Result = ResponseFuture<Result<Vec<Entry>, StorageError>>;

    fn handle(&mut self, read: ReadLog, _: &mut Context<Self>) -> Self::Result {
        let reader = self.log.reader();
        let ReadLog { first, last, max_bytes } = read;
        let task = tokio::task::spawn_blocking(move || reader.read(first, last, max_bytes));
        Box::pin(async {
            match task.await.map_err(StorageError::new)? {
                Ok(entries) => Ok(entries),
                // A new leader's entries have taken their place since they were asked for.
                Err(ReadError::Beyond { .. } | ReadError::Purged { .. }) => Ok(Vec::new()),
                Err(error) => Err(StorageError::new(error)),
            }
        })
    }
}

/// Entries on their way to the apply thread, which answers itself.
pub struct ApplyReply<A: Application> {
    apply: mpsc::Sender<ToApply<A>>,
    entries: Arc<[Entry]>,
}

impl<A: StateMachine> MessageResponse<DurableStorage<A>, Apply<A>> for ApplyReply<A> {
    fn handle(self, _: &mut Context<DurableStorage<A>>, reply_to: ReplyTo<ApplyResult<A>>) {
        let ToApply { reply_to, .. } =
            match self.apply.send(ToApply { entries: self.entries, reply_to }) {
                Ok(()) => return,
                Err(mpsc::SendError(refused)) => refused,
            };
        reply(reply_to, Err(StorageError::new("the state machine's thread ended by a panic")));
    }
}

impl<A: StateMachine> Handler<Apply<A>> for DurableStorage<A> {
    type Result = ApplyReply<A>;

    fn handle(&mut self, apply: Apply<A>, _: &mut Context<Self>) -> ApplyReply<A> {
        ApplyReply { apply: self.apply.clone(), entries: apply.entries }
    }
}
