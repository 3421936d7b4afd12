//! A storage on the real log and a disk that loses what was not synced: slow, but without threads.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, ResponseActFuture, ResponseFuture,
    WrapFuture,
};
use actix_raft::application::{Application, StateMachine};
use actix_raft::messages::{Entry, EntryPayload, NodeId};
use actix_raft::storage::{
    Apply, GetInitialState, ReadLog, Save, SaveLog, StorageError, StoredState,
};
use actix_raft_log::crash::CrashDisk;
use actix_raft_log::error::{Identity, OpenError, ReadError};
use actix_raft_log::wal::{LogOptions, Wal};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::dice::Dice;
use crate::record::Record;
use crate::store::{Replaced, Store};

type Saved = Result<(), StorageError>;

/// One node's log and state machine. Dropped, the power is off: what was being written is torn.
pub struct CrashStorage {
    node: NodeId,
    disk: CrashDisk,
    wal: Wal,
    stored: StoredState,
    store: Arc<Mutex<Store>>,
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
        let (saves, replies) = (Vec::new(), Vec::new());
        Ok(CrashStorage { node, disk, wal, stored, store, saves, replies, dice, record })
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

    fn apply(&mut self, entries: &[Entry]) -> Result<Vec<Replaced>, StorageError> {
        let mut store = self.store.lock().unwrap();
        let mut responses = Vec::new();
        for entry in entries {
            if let EntryPayload::Normal(bytes) = &entry.payload {
                let put = Store::decode(bytes.clone()).map_err(StorageError::new)?;
                self.record.applied(self.node, entry.index, put);
                responses.push(store.apply(entry.index, put));
            }
        }
        Ok(responses)
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
        let delay = self.delay();
        Box::pin(async move {
            sleep(delay).await;
            entries
        })
    }
}

impl Handler<Apply<Store>> for CrashStorage {
    type Result = ResponseActFuture<Self, Result<Vec<Replaced>, StorageError>>;

    fn handle(&mut self, apply: Apply<Store>, _: &mut Context<Self>) -> Self::Result {
        let delayed = sleep(self.delay()).into_actor(self);
        Box::pin(delayed.map(move |(), storage, _| storage.apply(&apply.entries)))
    }
}
