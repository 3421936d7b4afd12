//! The snapshots of a plain list, and what it does wrong with them.

use std::time::Duration;

use actix::{AsyncContext, Context, Handler, Message, ResponseFuture};
use actix_raft::application::StateMachine;
use actix_raft::replicated::Replicated;
use actix_raft::storage::{
    Base, BuildSnapshot, InstallSnapshot, ReadSnapshot, Snapshot, SnapshotChunk, StorageError,
    StoreSnapshotChunk, WatchDiskSpace,
};
use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use crate::broken::{Fault, Held, List};
use crate::subjects::Chain;

/// How long a storage that captures too late waits for something to apply.
const LATE: Duration = Duration::from_millis(300);

impl Held {
    pub fn capture(&self) -> Bytes {
        let mut bytes = Vec::new();
        self.machine.snapshot().unwrap()(&mut bytes).unwrap();
        bytes.into()
    }

    fn build(&mut self, base: Base, bytes: Bytes) -> Snapshot {
        let (size, checksum) = (bytes.len() as u64, crc32fast::hash(&bytes));
        let snapshot = Snapshot { base, size, checksum };
        self.snapshot = bytes;
        self.stored.snapshot = Some(snapshot.clone());
        snapshot
    }

    /// Builds what should have been built before.
    pub fn build_late(&mut self) {
        if let Some((base, done)) = self.uncaptured.take() {
            let bytes = self.capture();
            let _ = done.send(self.build(base, bytes));
        }
    }
}

/// What was to be applied has been applied for a while.
pub struct Settle;

impl Message for Settle {
    type Result = ();
}

impl Handler<Settle> for List {
    type Result = ();

    fn handle(&mut self, _: Settle, _: &mut Context<Self>) {
        self.held.borrow_mut().before_apply = None;
    }
}

impl Handler<BuildSnapshot> for List {
    type Result = ResponseFuture<Result<Option<Snapshot>, StorageError>>;

    fn handle(&mut self, build: BuildSnapshot, ctx: &mut Context<Self>) -> Self::Result {
        let held = &mut *self.held.borrow_mut();
        if self.is(Fault::CapturesLate) {
            let (to, done) = oneshot::channel();
            held.uncaptured = Some((build.base, to));
            ctx.run_later(LATE, |list, _| list.held.borrow_mut().build_late());
            return Box::pin(async { done.await.map(Some).map_err(StorageError::new) });
        }
        if self.is(Fault::PurgedByASnapshot) {
            self.save_base(held, build.base.clone());
        }
        let bytes = held.before_apply.take().unwrap_or_else(|| held.capture());
        let snapshot = held.build(build.base, bytes);
        Box::pin(async { Ok(Some(snapshot)) })
    }
}

impl Handler<ReadSnapshot> for List {
    type Result = Result<Option<SnapshotChunk>, StorageError>;

    fn handle(&mut self, read: ReadSnapshot, _: &mut Context<Self>) -> Self::Result {
        let held = &mut *self.held.borrow_mut();
        let ReadSnapshot { snapshot, offset, max_bytes } = read;
        let is_latest = held.stored.snapshot.as_ref() == Some(&snapshot);
        let size = held.snapshot.len() as u64;
        let is_there = is_latest && size == snapshot.size;
        if !(is_there || self.is(Fault::ReadsTheLatest)) || offset > size {
            return Ok(None);
        }
        let mut data = held.snapshot.slice(offset as usize..);
        if !self.is(Fault::PieceTooLong) {
            data.truncate(max_bytes);
        }
        let (checksum, end) = (crc32fast::hash(&data), offset + data.len() as u64);
        let done = end == size && !self.is(Fault::NoLastPiece);
        Ok(Some(SnapshotChunk { offset, data, checksum, done }))
    }
}

impl Handler<StoreSnapshotChunk> for List {
    type Result = Result<u64, StorageError>;

    fn handle(&mut self, store: StoreSnapshotChunk, _: &mut Context<Self>) -> Self::Result {
        let held = &mut *self.held.borrow_mut();
        let StoreSnapshotChunk { snapshot, chunk } = store;
        let mixes = self.is(Fault::MixesSnapshots);
        let (_, bytes) = match &mut held.received {
            Some(received) if received.0 == snapshot || mixes => received,
            other => other.insert((snapshot, BytesMut::new())),
        };
        let is_next = chunk.offset == bytes.len() as u64 || self.is(Fault::StoresAtAnyOffset);
        let is_whole = chunk.checksum == crc32fast::hash(&chunk.data);
        if is_next && (is_whole || self.is(Fault::StoresDamagedPieces)) {
            bytes.extend_from_slice(&chunk.data);
        }
        Ok(bytes.len() as u64)
    }
}

impl Handler<InstallSnapshot> for List {
    type Result = Result<bool, StorageError>;

    fn handle(&mut self, install: InstallSnapshot, _: &mut Context<Self>) -> Self::Result {
        let held = &mut *self.held.borrow_mut();
        let InstallSnapshot { snapshot } = install;
        let Some((_, bytes)) = held.received.take_if(|(received, _)| *received == snapshot) else {
            return Ok(false);
        };
        let is_all = bytes.len() as u64 == snapshot.size;
        let is_right = crc32fast::hash(&bytes) == snapshot.checksum;
        if !is_all && self.is(Fault::InstallsAPart) {
            return Ok(true);
        }
        if !is_all || !(is_right || self.is(Fault::InstallsAnyBytes)) {
            if self.is(Fault::KeepsRefusedPieces) {
                held.received = Some((snapshot, bytes));
            }
            if self.is(Fault::RefusesWithATrace) {
                held.machine = Replicated::new(Chain::default());
            }
            return Ok(false);
        }
        let (at, bytes) = (snapshot.last_included().index, bytes.freeze());
        match self.fault {
            Some(Fault::InstallsNothing) => {}
            Some(Fault::InstallsNoSessions) => {
                let mut chain = Chain::default();
                chain.restore(&mut &bytes[bytes.len() - 8..]).unwrap();
                held.machine = Replicated::new(chain);
            }
            _ => held.machine.restore(at, &mut bytes.as_ref()).unwrap(),
        }
        if !self.is(Fault::InstalledIsNotRead) {
            held.snapshot = bytes;
        }
        held.stored.last_applied = at;
        held.stored.snapshot = Some(snapshot);
        Ok(true)
    }
}

impl Handler<WatchDiskSpace> for List {
    type Result = ();

    fn handle(&mut self, _: WatchDiskSpace, _: &mut Context<Self>) {}
}
