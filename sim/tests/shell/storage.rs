//! A storage on the real log and a disk that loses what was not synced: slow, but without threads.

use std::convert::Infallible;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture,
    ResponseFuture, WrapFuture,
};
use actix_raft::application::{Application, DecodeError, Snapshotting, StateMachine};
use actix_raft::messages::{Entry, Index, NodeId};
use actix_raft::replicated::Replicated;
use actix_raft::storage::{
    Apply, BuildSnapshot, GetInitialState, InstallSnapshot, ReadLog, ReadSnapshot, Save, SaveLog,
    Snapshot, SnapshotChunk, StorageError, StoreSnapshotChunk, StoredState, WatchDiskSpace,
};
use actix_raft_log::crash::CrashDisk;
use actix_raft_log::error::{Identity, OpenError, ReadError};
use actix_raft_log::wal::{LogOptions, Wal};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::dice::Dice;
use crate::record::Record;
use crate::store::{Put, Replaced, Store};

type Saved = Result<(), StorageError>;

/// One node's log and state machine. Dropped, the power is off: what was being written is torn.
pub struct CrashStorage {
    disk: CrashDisk,
    wal: Wal,
    stored: StoredState,
    state: Replicated<Watched>,
    /// What waits for the disk.
    saves: Vec<Save>,
    replies: Vec<oneshot::Sender<Saved>>,
    dice: Dice,
    record: Record,
}

impl CrashStorage {
    pub fn open(
        node: NodeId,
        disk: CrashDisk,
        store: Arc<Mutex<Store>>,
        dice: Dice,
        record: Record,
    ) -> Result<CrashStorage, OpenError> {
        let mut options = LogOptions::new(Identity { cluster_id: "shell".into(), node_id: node });
        // So small that a run fills several.
        options.segment_bytes = 16 << 10;
        let (wal, stored) = Wal::open(Arc::new(disk.clone()), options)?;
        let watched = Watched { node, store, record: record.clone() };
        let mut state = Replicated::new(watched);
        if let Some(mut latest) = wal.snapshots().open_latest().expect("a snapshot that was whole")
        {
            let index = latest.snapshot().last_included().index;
            state.restore(index, &mut latest).expect("a snapshot that was written by the same");
        }
        let (saves, replies) = (Vec::new(), Vec::new());
        Ok(CrashStorage { disk, wal, stored, state, saves, replies, dice, record })
    }

    /// How long the disk or the state machine takes, now and then for long.
    fn delay(&mut self) -> Duration {
        match self.record.lock().disks_are_slow || self.dice.percent(8) {
            true => self.dice.millis(20..150),
            false => self.dice.millis(0..6),
        }
    }

    /// One write and one sync for all that wait.
    fn write(&mut self) {
        let saved = self.wal.save(&std::mem::take(&mut self.saves)).map_err(StorageError::new);
        for reply in self.replies.drain(..) {
            // Whoever asked may be gone.
            let _ = reply.send(saved.clone());
        }
    }

    /// The answer, when the disk or the state machine has taken its time.
    fn delayed<T: 'static>(&mut self, answer: T) -> ResponseFuture<T> {
        let delay = self.delay();
        Box::pin(async move {
            sleep(delay).await;
            answer
        })
    }
}

/// The replicated state; tells what is applied.
struct Watched {
    node: NodeId,
    store: Arc<Mutex<Store>>,
    record: Record,
}

impl Application for Watched {
    type Command = Put;
    type Response = Replaced;
    type Rejection = Infallible;

    fn encode(put: Put) -> Bytes {
        Store::encode(put)
    }

    fn decode(bytes: Bytes) -> Result<Put, DecodeError> {
        Store::decode(bytes)
    }
}

impl StateMachine for Watched {
    fn apply(&mut self, index: Index, put: Put) -> Replaced {
        self.record.applied(self.node, index, put);
        self.store.lock().unwrap().apply(index, put)
    }

    fn snapshot(&self) -> Option<Snapshotting> {
        self.store.lock().unwrap().snapshot()
    }

    fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        self.store.lock().unwrap().restore(from)
    }
}

impl Drop for CrashStorage {
    fn drop(&mut self) {
        if !self.saves.is_empty() {
            self.record.lock().counts.torn += 1;
            // Fails in the write or in the sync; what is found after it is up to the disk.
            self.disk.power_off_at(self.disk.operations() + 1 + self.dice.below(2));
            self.write();
        }
    }
}

impl Actor for CrashStorage {
    type Context = Context<Self>;
}

impl Handler<GetInitialState> for CrashStorage {
    type Result = Result<StoredState, StorageError>;

    fn handle(&mut self, _: GetInitialState, _: &mut Context<Self>) -> Self::Result {
        Ok(self.stored.clone())
    }
}

impl Handler<SaveLog> for CrashStorage {
    type Result = ResponseFuture<Saved>;

    fn handle(&mut self, SaveLog { save }: SaveLog, ctx: &mut Context<Self>) -> Self::Result {
        if self.saves.is_empty() {
            let delay = self.delay();
            ctx.run_later(delay, |storage, _| storage.write());
        }
        self.saves.push(save);
        let (reply, saved) = oneshot::channel();
        self.replies.push(reply);
        Box::pin(async { saved.await.map_err(StorageError::new)? })
    }
}

impl Handler<ReadLog> for CrashStorage {
    type Result = ResponseFuture<Result<Vec<Entry>, StorageError>>;

    fn handle(&mut self, read: ReadLog, _: &mut Context<Self>) -> Self::Result {
        let entries = match self.wal.reader().read(read.first, read.last, read.max_bytes) {
            Err(ReadError::Beyond { .. } | ReadError::Purged { .. }) => Ok(Vec::new()),
            other => other.map_err(StorageError::new),
        };
        self.delayed(entries)
    }
}

impl Handler<Apply<Store>> for CrashStorage {
    type Result = ResponseActFuture<Self, <Apply<Store> as Message>::Result>;

    fn handle(&mut self, apply: Apply<Store>, _: &mut Context<Self>) -> Self::Result {
        let delayed = sleep(self.delay()).into_actor(self);
        Box::pin(delayed.map(move |(), storage, _| storage.state.apply(&apply.entries)))
    }
}

impl Handler<BuildSnapshot> for CrashStorage {
    type Result = ResponseActFuture<Self, Result<Option<Snapshot>, StorageError>>;

    fn handle(&mut self, build: BuildSnapshot, _: &mut Context<Self>) -> Self::Result {
        // Nothing is being applied now; more may be before it is written.
        let write = self.state.snapshot().expect("a store takes snapshots");
        let delayed = sleep(self.delay()).into_actor(self);
        Box::pin(delayed.map(move |(), storage, _| {
            storage.record.lock().counts.snapshots += 1;
            let mut writer =
                storage.wal.snapshots().create(build.base).map_err(StorageError::new)?;
            write(&mut writer).map_err(StorageError::new)?;
            writer.finish().map(Some).map_err(StorageError::new)
        }))
    }
}

impl Handler<ReadSnapshot> for CrashStorage {
    type Result = ResponseFuture<Result<Option<SnapshotChunk>, StorageError>>;

    fn handle(&mut self, read: ReadSnapshot, _: &mut Context<Self>) -> Self::Result {
        let ReadSnapshot { snapshot, offset, max_bytes } = read;
        let chunk = self.wal.snapshots().read(&snapshot, offset, max_bytes);
        self.delayed(chunk.map_err(StorageError::new))
    }
}

impl Handler<StoreSnapshotChunk> for CrashStorage {
    type Result = ResponseFuture<Result<u64, StorageError>>;

    fn handle(&mut self, store: StoreSnapshotChunk, _: &mut Context<Self>) -> Self::Result {
        let received = self.wal.snapshots().receive(&store.snapshot, &store.chunk);
        self.delayed(received.map_err(StorageError::new))
    }
}

impl Handler<InstallSnapshot> for CrashStorage {
    type Result = ResponseFuture<Result<bool, StorageError>>;

    fn handle(&mut self, install: InstallSnapshot, _: &mut Context<Self>) -> Self::Result {
        let snapshots = self.wal.snapshots();
        let installed = snapshots.install(&install.snapshot).map_err(StorageError::new);
        if let Ok(true) = installed {
            let mut latest = snapshots.open_latest().unwrap().expect("what was just installed");
            let index = install.snapshot.last_included().index;
            self.state.restore(index, &mut latest).expect("what another wrote");
            self.record.lock().counts.installed += 1;
        }
        self.delayed(installed)
    }
}

impl Handler<WatchDiskSpace> for CrashStorage {
    type Result = ();

    /// There is always room.
    fn handle(&mut self, _: WatchDiskSpace, _: &mut Context<Self>) {}
}
