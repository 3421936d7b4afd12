//! The actor that plugs log and state machine into the seam to storage.

use std::io;
use std::path::Path;
use std::sync::Arc;

use actix::dev::MessageResponse;
use actix::{Actor, Context, Handler, ResponseFuture};
use actix_raft_log::disk::Disk;
use actix_raft_log::error::{Identity, OpenError as LogOpenError, ReadError};
use actix_raft_log::real::RealDisk;
use actix_raft_log::snapshots::SnapshotStore;
use actix_raft_log::wal::LogOptions;
use actix_raft_log::writer::Log;

use super::space::Space;
use super::state::State;
use super::thread::{OnThread, Thread};
use crate::application::StateMachine;
use crate::messages::{Entry, NodeId};
use crate::requests::{ReplyTo, reply};
use crate::storage::{
    Apply, BuildSnapshot, GetInitialState, InstallSnapshot, Outcome, ReadLog, ReadSnapshot, Save,
    SaveLog, Snapshot, SnapshotChunk, StorageError, StoreSnapshotChunk, StoredState,
    WatchDiskSpace,
};

/// A log and snapshots in a directory, and a state machine on a thread of its own. Start it as an
/// actor on the arbiter of its node.
pub struct DurableStorage<M: StateMachine> {
    stored: StoredState,
    pub(super) log: Log,
    apply: Thread<State<M>>,
    pub(super) pieces: Thread<Pieces>,
    pub(super) space: Space,
}

/// What the thread has that reads and stores pieces of snapshots.
pub struct Pieces {
    snapshots: SnapshotStore,
    pub(super) log: Log,
}

/// Why a storage could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log could not be opened: the text names the file, and the offset if it is damaged.
    #[error(transparent)]
    Log(#[from] LogOpenError),
    /// The state machine does not take the latest snapshot, or that is damaged.
    #[error(transparent)]
    Restore(StorageError),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(io::Error),
}

impl<M: StateMachine> DurableStorage<M> {
    /// Opens the log in a directory, or makes a new one; the directory's parent must be there.
    /// `state_machine` is one that nothing was applied to; it is restored from the latest snapshot.
    /// A directory belongs to one node of one
    /// cluster, and to one process at a time.
    ///
    /// # Errors
    /// If the directory can't be used, is in use, belongs to another node or cluster, or is
    /// damaged other than by a crash; or if the state machine refuses the snapshot.
    pub fn open(
        directory: impl AsRef<Path>,
        cluster_id: &str,
        id: NodeId,
        state_machine: M,
    ) -> Result<DurableStorage<M>, OpenError> {
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
        state_machine: M,
    ) -> Result<DurableStorage<M>, OpenError> {
        let (log, stored) = Log::open(disk, options)?;
        let snapshots = log.snapshots();
        let state = State::restore(state_machine, snapshots.clone()).map_err(OpenError::Restore)?;
        let apply = Thread::start("raft-apply", state).map_err(OpenError::Thread)?;
        let pieces = Pieces { snapshots, log: log.clone() };
        let pieces = Thread::start("raft-pieces", pieces).map_err(OpenError::Thread)?;
        Ok(DurableStorage { stored, log, apply, pieces, space: Space::default() })
    }

    /// What the log held when it was opened.
    #[must_use]
    pub fn stored(&self) -> &StoredState {
        &self.stored
    }
}

impl<M: StateMachine> Actor for DurableStorage<M> {
    type Context = Context<Self>;
}

impl<M: StateMachine> Handler<GetInitialState> for DurableStorage<M> {
    type Result = Result<StoredState, StorageError>;

    fn handle(&mut self, _: GetInitialState, _: &mut Context<Self>) -> Self::Result {
        Ok(self.stored.clone())
    }
}

/// A save on its way to the log thread, which answers it itself.
pub struct SaveReply {
    log: Log,
    save: Save,
}

impl<M: StateMachine> MessageResponse<DurableStorage<M>, SaveLog> for SaveReply {
    fn handle(self, _: &mut Context<DurableStorage<M>>, tx: ReplyTo<Result<(), StorageError>>) {
        self.log.save(self.save, move |saved| reply(tx, saved.map_err(StorageError::new)));
    }
}

impl<M: StateMachine> Handler<SaveLog> for DurableStorage<M> {
    type Result = SaveReply;

    fn handle(&mut self, SaveLog { save }: SaveLog, _: &mut Context<Self>) -> SaveReply {
        self.tell_space();
        SaveReply { log: self.log.clone(), save }
    }
}

impl<M: StateMachine> Handler<ReadLog> for DurableStorage<M> {
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

impl<M: StateMachine> Handler<Apply<M>> for DurableStorage<M> {
    type Result = OnThread<State<M>, Vec<Outcome<M::Response>>>;

    fn handle(&mut self, apply: Apply<M>, _: &mut Context<Self>) -> Self::Result {
        self.apply.answer(move |state| state.apply(&apply.entries))
    }
}

impl<M: StateMachine> Handler<BuildSnapshot> for DurableStorage<M> {
    type Result = OnThread<State<M>, Option<Snapshot>>;

    fn handle(&mut self, build: BuildSnapshot, _: &mut Context<Self>) -> Self::Result {
        self.apply.answer_later(move |state, to| state.build(build.base, to))
    }
}

impl<M: StateMachine> Handler<InstallSnapshot> for DurableStorage<M> {
    type Result = OnThread<State<M>, bool>;

    fn handle(&mut self, install: InstallSnapshot, _: &mut Context<Self>) -> Self::Result {
        self.apply.answer(move |state| state.install(&install.snapshot))
    }
}

impl<M: StateMachine> Handler<ReadSnapshot> for DurableStorage<M> {
    type Result = OnThread<Pieces, Option<SnapshotChunk>>;

    fn handle(&mut self, read: ReadSnapshot, _: &mut Context<Self>) -> Self::Result {
        let ReadSnapshot { snapshot, offset, max_bytes } = read;
        self.pieces.answer(move |pieces| {
            pieces.snapshots.read(&snapshot, offset, max_bytes).map_err(StorageError::new)
        })
    }
}

impl<M: StateMachine> Handler<StoreSnapshotChunk> for DurableStorage<M> {
    type Result = OnThread<Pieces, u64>;

    fn handle(&mut self, store: StoreSnapshotChunk, _: &mut Context<Self>) -> Self::Result {
        let StoreSnapshotChunk { snapshot, chunk } = store;
        self.pieces.answer(move |pieces| {
            pieces.snapshots.receive(&snapshot, &chunk).map_err(StorageError::new)
        })
    }
}

impl<M: StateMachine> Handler<WatchDiskSpace> for DurableStorage<M> {
    type Result = ();

    fn handle(&mut self, watch: WatchDiskSpace, ctx: &mut Context<Self>) {
        self.watch(watch.watcher, ctx);
    }
}
