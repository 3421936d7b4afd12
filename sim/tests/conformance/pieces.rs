//! The snapshots of a plain list.

use actix::{Context, Handler};
use actix_raft::storage::{
    BuildSnapshot, InstallSnapshot, ReadSnapshot, Snapshot, SnapshotChunk, StorageError,
    StoreSnapshotChunk, WatchDiskSpace,
};
use bytes::BytesMut;

use crate::broken::List;

impl Handler<BuildSnapshot> for List {
    type Result = Result<Option<Snapshot>, StorageError>;

    fn handle(&mut self, build: BuildSnapshot, _: &mut Context<Self>) -> Self::Result {
        let held = &mut *self.held.borrow_mut();
        let mut bytes = Vec::new();
        held.machine.snapshot().unwrap()(&mut bytes).unwrap();
        let (size, checksum) = (bytes.len() as u64, crc32fast::hash(&bytes));
        let snapshot = Snapshot { base: build.base, size, checksum };
        held.snapshot = bytes.into();
        held.stored.snapshot = Some(snapshot.clone());
        Ok(Some(snapshot))
    }
}

impl Handler<ReadSnapshot> for List {
    type Result = Result<Option<SnapshotChunk>, StorageError>;

    fn handle(&mut self, read: ReadSnapshot, _: &mut Context<Self>) -> Self::Result {
        let held = &mut *self.held.borrow_mut();
        let ReadSnapshot { snapshot, offset, max_bytes } = read;
        if held.stored.snapshot.as_ref() != Some(&snapshot) || offset > snapshot.size {
            return Ok(None);
        }
        let mut data = held.snapshot.slice(offset as usize..);
        data.truncate(max_bytes);
        let (checksum, end) = (crc32fast::hash(&data), offset + data.len() as u64);
        Ok(Some(SnapshotChunk { offset, data, checksum, done: end == snapshot.size }))
    }
}

impl Handler<StoreSnapshotChunk> for List {
    type Result = Result<u64, StorageError>;

    fn handle(&mut self, store: StoreSnapshotChunk, _: &mut Context<Self>) -> Self::Result {
        let held = &mut *self.held.borrow_mut();
        let StoreSnapshotChunk { snapshot, chunk } = store;
        let (_, bytes) = match &mut held.received {
            Some(received) if received.0 == snapshot => received,
            other => other.insert((snapshot, BytesMut::new())),
        };
        let is_next = chunk.offset == bytes.len() as u64;
        if is_next && chunk.checksum == crc32fast::hash(&chunk.data) {
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
        let bytes = bytes.freeze();
        if bytes.len() as u64 != snapshot.size || crc32fast::hash(&bytes) != snapshot.checksum {
            return Ok(false);
        }
        let at = snapshot.last_included().index;
        held.machine.restore(at, &mut bytes.as_ref()).unwrap();
        held.snapshot = bytes;
        held.stored.last_applied = at;
        held.stored.snapshot = Some(snapshot);
        Ok(true)
    }
}

impl Handler<WatchDiskSpace> for List {
    type Result = ();

    fn handle(&mut self, _: WatchDiskSpace, _: &mut Context<Self>) {}
}
