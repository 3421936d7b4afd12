//! The durable storage with a flaw that only shows when its disk fails.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use actix::{Actor, Context, Handler, ResponseFuture};
use actix_raft::durable::{Disk, DiskFile};
use actix_raft::messages::Entry;
use actix_raft::storage::{
    Apply, BuildSnapshot, GetInitialState, InstallSnapshot, Outcome, ReadLog, ReadSnapshot, Save,
    SaveLog, Snapshot, SnapshotChunk, Storage, StorageError, StoreSnapshotChunk, StoredState,
    WatchDiskSpace,
};
use actix_raft_sim::conformance::{CrashDisk, Opened, Subject};

use crate::subjects::{Chain, open_on};

/// What a wrapper around the durable storage does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flaw {
    AcknowledgesBeforeSync,
    SplitsSaves,
    GoesOnAfterAnError,
    FailsToOpen,
    SnapshotNotNamed,
}

/// The durable storage, perhaps with a flaw.
pub struct WithFlaw {
    flaw: Option<Flaw>,
}

impl WithFlaw {
    pub fn new(flaw: Option<Flaw>) -> WithFlaw {
        WithFlaw { flaw }
    }
}

impl Subject for WithFlaw {
    type Application = Chain;

    async fn open(&mut self) -> Opened<Chain> {
        open_on(Arc::new(CrashDisk::new()))
    }

    fn command(&mut self, n: u64) -> u64 {
        n + 1
    }

    async fn open_on(&mut self, disk: CrashDisk) -> Option<Opened<Chain>> {
        let was_used = disk.list().is_ok_and(|names| !names.is_empty());
        if self.flaw == Some(Flaw::FailsToOpen) && was_used {
            return Some(Err(StorageError::new("the lock file of a dead process is there")));
        }
        let wrapped = |inner| Wrapper { inner, flaw: self.flaw, failed: Rc::default() };
        let disk: Arc<dyn Disk> = match self.flaw {
            Some(Flaw::SnapshotNotNamed) => Arc::new(Forgetful { disk, renamed: Mutex::default() }),
            _ => Arc::new(disk),
        };
        Some(open_on(disk).map(|inner| wrapped(inner).start().into()))
    }
}

/// A disk that does not sync the name of a snapshot.
struct Forgetful {
    disk: CrashDisk,
    renamed: Mutex<bool>,
}

impl Disk for Forgetful {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        *self.renamed.lock().unwrap() = to.ends_with(".snap");
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        match std::mem::take(&mut *self.renamed.lock().unwrap()) {
            true => Ok(()),
            false => self.disk.sync_dir(),
        }
    }

    fn free_space(&self) -> io::Result<Option<u64>> {
        self.disk.free_space()
    }

    fn describe(&self, name: &str) -> String {
        self.disk.describe(name)
    }
}

struct Wrapper {
    inner: Storage<Chain>,
    flaw: Option<Flaw>,
    failed: Rc<RefCell<bool>>,
}

fn flat<T, E: std::fmt::Display>(
    result: Result<Result<T, StorageError>, E>,
) -> Result<T, StorageError> {
    result.map_err(StorageError::new)?
}

impl Actor for Wrapper {
    type Context = Context<Wrapper>;
}

impl Handler<GetInitialState> for Wrapper {
    type Result = ResponseFuture<Result<StoredState, StorageError>>;

    fn handle(&mut self, _: GetInitialState, _: &mut Context<Self>) -> Self::Result {
        let request = self.inner.initial_state();
        Box::pin(async { flat(request.await) })
    }
}

impl Handler<SaveLog> for Wrapper {
    type Result = ResponseFuture<Result<(), StorageError>>;

    fn handle(&mut self, SaveLog { save }: SaveLog, _: &mut Context<Self>) -> Self::Result {
        let failed = Rc::clone(&self.failed);
        match self.flaw {
            Some(Flaw::AcknowledgesBeforeSync) => {
                let request = self.inner.save(save);
                actix::spawn(async { drop(request.await) });
                Box::pin(async { Ok(()) })
            }
            Some(Flaw::SplitsSaves) => {
                let (hard_state, base) = (save.hard_state, save.base);
                let first = self.inner.save(Save { hard_state, base, entries: Vec::new() });
                let second = Save { entries: save.entries, ..Save::default() };
                let inner = self.inner.save(Save::default());
                let second = self.inner.save(second);
                Box::pin(async {
                    flat(first.await)?;
                    flat(inner.await)?;
                    flat(second.await)
                })
            }
            Some(Flaw::GoesOnAfterAnError) => {
                let request = self.inner.save(save);
                Box::pin(async move {
                    let result = flat(request.await);
                    match failed.replace(result.is_err()) {
                        true => Ok(()),
                        false => result,
                    }
                })
            }
            Some(Flaw::FailsToOpen | Flaw::SnapshotNotNamed) | None => {
                let request = self.inner.save(save);
                Box::pin(async { flat(request.await) })
            }
        }
    }
}

impl Handler<ReadLog> for Wrapper {
    type Result = ResponseFuture<Result<Vec<Entry>, StorageError>>;

    fn handle(&mut self, read: ReadLog, _: &mut Context<Self>) -> Self::Result {
        let request = self.inner.read(read);
        Box::pin(async { flat(request.await) })
    }
}

impl Handler<Apply<Chain>> for Wrapper {
    type Result = ResponseFuture<Result<Vec<Outcome<u64>>, StorageError>>;

    fn handle(&mut self, apply: Apply<Chain>, _: &mut Context<Self>) -> Self::Result {
        let request = self.inner.apply(apply.entries);
        Box::pin(async { flat(request.await) })
    }
}

impl Handler<BuildSnapshot> for Wrapper {
    type Result = ResponseFuture<Result<Option<Snapshot>, StorageError>>;

    fn handle(&mut self, build: BuildSnapshot, _: &mut Context<Self>) -> Self::Result {
        let request = self.inner.build_snapshot(build.base);
        Box::pin(async { flat(request.await) })
    }
}

impl Handler<ReadSnapshot> for Wrapper {
    type Result = ResponseFuture<Result<Option<SnapshotChunk>, StorageError>>;

    fn handle(&mut self, read: ReadSnapshot, _: &mut Context<Self>) -> Self::Result {
        let request = self.inner.read_snapshot(read);
        Box::pin(async { flat(request.await) })
    }
}

impl Handler<StoreSnapshotChunk> for Wrapper {
    type Result = ResponseFuture<Result<u64, StorageError>>;

    fn handle(&mut self, store: StoreSnapshotChunk, _: &mut Context<Self>) -> Self::Result {
        let request = self.inner.store_snapshot_chunk(store);
        Box::pin(async { flat(request.await) })
    }
}

impl Handler<InstallSnapshot> for Wrapper {
    type Result = ResponseFuture<Result<bool, StorageError>>;

    fn handle(&mut self, install: InstallSnapshot, _: &mut Context<Self>) -> Self::Result {
        let request = self.inner.install_snapshot(install.snapshot);
        Box::pin(async { flat(request.await) })
    }
}

impl Handler<WatchDiskSpace> for Wrapper {
    type Result = ();

    fn handle(&mut self, _: WatchDiskSpace, _: &mut Context<Self>) {}
}
