//! A storage on the real log and a disk that loses what was not synced: slow, but without threads.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, ResponseFuture};
use actix_raft::application::Snapshotting;
use actix_raft::messages::{Entry, NodeId};
use actix_raft::replicated::Replicated;
use actix_raft::storage::{
    Apply, Base, BuildSnapshot, DiskId, GetInitialState, InstallSnapshot, Outcome, ReadLog,
    ReadSnapshot, Save, SaveLog, Snapshot, SnapshotChunk, StorageError, StoreSnapshotChunk,
    StoredState, WatchDiskSpace,
};
use actix_raft_log::crash::CrashDisk;
use actix_raft_log::error::{Identity, ReadError};
use actix_raft_log::snapshots::SnapshotStore;
use actix_raft_log::wal::{LogOptions, Wal};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::dice::Dice;
use crate::record::Record;
use crate::store::{Replaced, Store};

type Answer<T> = Result<T, StorageError>;

/// One node's log, snapshots and state machine. Dropped, the power is off: what was being written
/// is torn.
pub struct CrashStorage {
    node: NodeId,
    disk: CrashDisk,
    wal: Wal,
    snapshots: SnapshotStore,
    stored: StoredState,
    machine: Arc<Mutex<Replicated<Store>>>,
    /// What waits for the disk.
    saves: Vec<Save>,
    replies: Vec<oneshot::Sender<Answer<()>>>,
    building: Option<Building>,
    /// What waits for the state machine, in order.
    work: VecDeque<Work>,
    dice: Dice,
    record: Record,
}

/// A snapshot that is captured and not written yet.
struct Building {
    base: Base,
    write: Snapshotting,
    to: oneshot::Sender<Answer<Option<Snapshot>>>,
}

/// What is done with the state machine, and who waits for it.
enum Work {
    Apply(Arc<[Entry]>, oneshot::Sender<Answer<Vec<Outcome<Replaced>>>>),
    Build(Base, oneshot::Sender<Answer<Option<Snapshot>>>),
    Install(Snapshot, oneshot::Sender<Answer<bool>>),
}

fn answer<T: 'static>(done: oneshot::Receiver<Answer<T>>) -> ResponseFuture<Answer<T>> {
    Box::pin(async { done.await.map_err(StorageError::new)? })
}

impl CrashStorage {
    pub fn open(
        node: NodeId,
        disk: CrashDisk,
        machine: Arc<Mutex<Replicated<Store>>>,
        mut dice: Dice,
        record: Record,
    ) -> Result<CrashStorage, Box<dyn std::error::Error>> {
        let mut options = LogOptions::new(Identity { cluster_id: "shell".into(), node_id: node });
        // So small that a run fills several.
        options.segment_bytes = 16 << 10;
        options.new_disk = Some(DiskId(dice.any().max(1)));
        // In snapshots is what time it is outside of the simulation, so they would compress now
        // well, now less.
        options.compress_snapshots = false;
        let (wal, stored) = Wal::open(Arc::new(disk.clone()), options)?;
        let mut storage = CrashStorage {
            node,
            disk,
            snapshots: wal.snapshots(),
            wal,
            stored,
            machine,
            saves: Vec::new(),
            replies: Vec::new(),
            building: None,
            work: VecDeque::new(),
            dice,
            record,
        };
        storage.restore_latest()?;
        Ok(storage)
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

    /// Writes the snapshot that was captured.
    fn write_snapshot(&mut self) {
        let Some(Building { base, write, to }) = self.building.take() else { return };
        let build = || {
            let mut writer = self.snapshots.create(base).map_err(StorageError::new)?;
            write(&mut writer).map_err(StorageError::new)?;
            writer.finish().map(Some).map_err(StorageError::new)
        };
        let built = build();
        self.record.lock().counts.built += u64::from(built.is_ok());
        let _ = to.send(built);
    }

    fn do_later(&mut self, work: Work, ctx: &mut Context<Self>) {
        self.work.push_back(work);
        if self.work.len() == 1 {
            self.work_on(ctx);
        }
    }

    fn work_on(&mut self, ctx: &mut Context<Self>) {
        let delay = self.delay();
        ctx.run_later(delay, |storage, ctx| {
            match storage.work.pop_front() {
                Some(Work::Apply(entries, to)) => drop(to.send(storage.apply(&entries))),
                Some(Work::Build(base, to)) => storage.build(base, to, ctx),
                Some(Work::Install(snapshot, to)) => drop(to.send(storage.install(&snapshot))),
                None => {}
            }
            if !storage.work.is_empty() {
                storage.work_on(ctx);
            }
        });
    }

    fn apply(&mut self, entries: &[Entry]) -> Answer<Vec<Outcome<Replaced>>> {
        let mut machine = self.machine.lock().unwrap();
        let before = machine.state_machine().journal.len();
        let outcomes = machine.apply(entries)?;
        for (index, put) in &machine.state_machine().journal[before..] {
            self.record.applied(self.node, *index, *put);
        }
        Ok(outcomes)
    }

    /// Captures the state now; writes it while later entries are applied.
    fn build(
        &mut self,
        base: Base,
        to: oneshot::Sender<Answer<Option<Snapshot>>>,
        ctx: &mut Context<Self>,
    ) {
        let write = self.machine.lock().unwrap().snapshot().expect("the store takes snapshots");
        self.building = Some(Building { base, write, to });
        let delay = self.delay();
        ctx.run_later(delay, |storage, _| storage.write_snapshot());
    }

    fn install(&mut self, snapshot: &Snapshot) -> Answer<bool> {
        let installed = self.snapshots.install(snapshot).map_err(StorageError::new)?;
        if installed {
            self.restore_latest()?;
            self.record.lock().counts.installed += 1;
        }
        Ok(installed)
    }

    fn restore_latest(&mut self) -> Answer<()> {
        let Some(mut reader) = self.snapshots.open_latest().map_err(StorageError::new)? else {
            return Ok(());
        };
        let last_included = reader.snapshot().last_included().index;
        let mut machine = self.machine.lock().unwrap();
        machine.restore(last_included, &mut reader).map_err(StorageError::new)?;
        for (index, put) in &machine.state_machine().journal {
            self.record.applied(self.node, *index, *put);
        }
        Ok(())
    }
}

impl Drop for CrashStorage {
    fn drop(&mut self) {
        if self.saves.is_empty() && self.building.is_none() {
            return;
        }
        self.record.lock().counts.torn += 1;
        // Fails in a write or in a sync; what is found after it is up to the disk.
        let most = if self.building.is_some() { 6 } else { 2 };
        self.disk.power_off_at(self.disk.operations() + 1 + self.dice.below(most));
        self.write_snapshot();
        self.write();
    }
}

impl Actor for CrashStorage {
    type Context = Context<Self>;
}

impl Handler<GetInitialState> for CrashStorage {
    type Result = Answer<StoredState>;

    fn handle(&mut self, _: GetInitialState, _: &mut Context<Self>) -> Self::Result {
        Ok(self.stored.clone())
    }
}

impl Handler<SaveLog> for CrashStorage {
    type Result = ResponseFuture<Answer<()>>;

    fn handle(&mut self, SaveLog { save }: SaveLog, ctx: &mut Context<Self>) -> Self::Result {
        if self.saves.is_empty() {
            let delay = self.delay();
            ctx.run_later(delay, |storage, _| storage.write());
        }
        self.saves.push(save);
        let (reply, saved) = oneshot::channel();
        self.replies.push(reply);
        answer(saved)
    }
}

impl Handler<ReadLog> for CrashStorage {
    type Result = ResponseFuture<Answer<Vec<Entry>>>;

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
    type Result = ResponseFuture<Answer<Vec<Outcome<Replaced>>>>;

    fn handle(&mut self, apply: Apply<Store>, ctx: &mut Context<Self>) -> Self::Result {
        let (to, done) = oneshot::channel();
        self.do_later(Work::Apply(apply.entries, to), ctx);
        answer(done)
    }
}

impl Handler<BuildSnapshot> for CrashStorage {
    type Result = ResponseFuture<Answer<Option<Snapshot>>>;

    fn handle(&mut self, build: BuildSnapshot, ctx: &mut Context<Self>) -> Self::Result {
        let (to, done) = oneshot::channel();
        self.do_later(Work::Build(build.base, to), ctx);
        answer(done)
    }
}

impl Handler<InstallSnapshot> for CrashStorage {
    type Result = ResponseFuture<Answer<bool>>;

    fn handle(&mut self, install: InstallSnapshot, ctx: &mut Context<Self>) -> Self::Result {
        let (to, done) = oneshot::channel();
        self.do_later(Work::Install(install.snapshot, to), ctx);
        answer(done)
    }
}

impl Handler<ReadSnapshot> for CrashStorage {
    type Result = ResponseFuture<Answer<Option<SnapshotChunk>>>;

    fn handle(&mut self, read: ReadSnapshot, _: &mut Context<Self>) -> Self::Result {
        let ReadSnapshot { snapshot, offset, max_bytes } = read;
        let chunk = self.snapshots.read(&snapshot, offset, max_bytes).map_err(StorageError::new);
        let delay = self.delay();
        Box::pin(async move {
            sleep(delay).await;
            chunk
        })
    }
}

impl Handler<StoreSnapshotChunk> for CrashStorage {
    type Result = ResponseFuture<Answer<u64>>;

    fn handle(&mut self, store: StoreSnapshotChunk, _: &mut Context<Self>) -> Self::Result {
        let StoreSnapshotChunk { snapshot, chunk } = store;
        let received = self.snapshots.receive(&snapshot, &chunk).map_err(StorageError::new);
        let delay = self.delay();
        Box::pin(async move {
            sleep(delay).await;
            received
        })
    }
}

impl Handler<WatchDiskSpace> for CrashStorage {
    type Result = ();

    /// There is always room.
    fn handle(&mut self, _: WatchDiskSpace, _: &mut Context<Self>) {}
}
