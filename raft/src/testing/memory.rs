//! A storage in memory.

use actix::{Actor, Context, Handler, MessageResult};
use bytes::{Bytes, BytesMut};

use crate::application::StateMachine;
use crate::messages::{Entry, Index};
use crate::replicated::Replicated;
use crate::storage::{
    Apply, BuildSnapshot, DiskId, GetInitialState, InstallSnapshot, ReadLog, ReadSnapshot, SaveLog,
    Snapshot, SnapshotChunk, StorageError, StoreSnapshotChunk, StoredState, WatchDiskSpace,
};

/// A log, snapshots and a state machine in memory. It is lost with the actor, so a node on it must
/// never be restarted under its id: it would forget its votes.
pub struct MemoryStorage<M> {
    stored: StoredState,
    log: Vec<Entry>,
    /// The bytes of the latest snapshot, which is in the stored state.
    snapshot: Bytes,
    /// What came of a snapshot from a leader.
    received: Option<(Snapshot, BytesMut)>,
    state_machine: Replicated<M>,
}

impl<M: StateMachine> MemoryStorage<M> {
    /// An empty log, and a state machine that nothing was applied to.
    #[must_use]
    pub fn new(state_machine: M) -> MemoryStorage<M> {
        MemoryStorage {
            // What is in memory is not on any disk; but no node has lost it and goes on.
            stored: StoredState { disk: DiskId::UNKNOWN, ..StoredState::default() },
            log: Vec::new(),
            snapshot: Bytes::new(),
            received: None,
            state_machine: Replicated::new(state_machine),
        }
    }

    /// The log from this index on.
    fn place(&self, index: Index) -> usize {
        index.0.saturating_sub(self.stored.base.last_included.index.0 + 1) as usize
    }
}

impl<M: StateMachine + Unpin> Actor for MemoryStorage<M> {
    type Context = Context<Self>;
}

impl<M: StateMachine + Unpin> Handler<GetInitialState> for MemoryStorage<M> {
    type Result = Result<StoredState, StorageError>;

    fn handle(&mut self, _: GetInitialState, _: &mut Context<Self>) -> Self::Result {
        Ok(self.stored.clone())
    }
}

impl<M: StateMachine + Unpin> Handler<SaveLog> for MemoryStorage<M> {
    type Result = Result<(), StorageError>;

    fn handle(&mut self, SaveLog { save }: SaveLog, _: &mut Context<Self>) -> Self::Result {
        if let Some(hard_state) = save.hard_state {
            self.stored.hard_state = hard_state;
        }
        if let Some(base) = save.base {
            let included = self.place(base.last_included.index.next()).min(self.log.len());
            self.stored.note_base(base);
            self.log.drain(..included);
            if self.stored.last_log == self.stored.base.last_included {
                self.log.clear();
            }
        }
        for run in save.entries {
            if let Some(first) = run.first() {
                self.log.truncate(self.place(first.index));
            }
            run.iter().for_each(|entry| self.stored.note_entry(entry));
            self.log.extend(run.iter().cloned());
        }
        Ok(())
    }
}

impl<M: StateMachine + Unpin> Handler<ReadLog> for MemoryStorage<M> {
    type Result = Result<Vec<Entry>, StorageError>;

    fn handle(&mut self, read: ReadLog, _: &mut Context<Self>) -> Self::Result {
        if read.first <= self.stored.base.last_included.index {
            return Ok(Vec::new());
        }
        let wanted = self.place(read.first)..self.place(read.last.next());
        let entries = self.log.get(wanted).unwrap_or_default();
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += entry.weight();
            first || bytes <= read.max_bytes
        };
        Ok(entries.iter().take_while(fits).cloned().collect())
    }
}

impl<M: StateMachine + Unpin> Handler<Apply<M>> for MemoryStorage<M> {
    type Result = MessageResult<Apply<M>>;

    fn handle(&mut self, apply: Apply<M>, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.state_machine.apply(&apply.entries))
    }
}

impl<M: StateMachine + Unpin> Handler<BuildSnapshot> for MemoryStorage<M> {
    type Result = Result<Option<Snapshot>, StorageError>;

    fn handle(&mut self, build: BuildSnapshot, _: &mut Context<Self>) -> Self::Result {
        let Some(write) = self.state_machine.snapshot() else { return Ok(None) };
        let mut bytes = Vec::new();
        write(&mut bytes).map_err(StorageError::new)?;
        let (size, checksum) = (bytes.len() as u64, crc32fast::hash(&bytes));
        let snapshot = Snapshot { base: build.base, size, checksum };
        self.snapshot = bytes.into();
        self.stored.snapshot = Some(snapshot.clone());
        Ok(Some(snapshot))
    }
}

impl<M: StateMachine + Unpin> Handler<ReadSnapshot> for MemoryStorage<M> {
    type Result = Result<Option<SnapshotChunk>, StorageError>;

    fn handle(&mut self, read: ReadSnapshot, _: &mut Context<Self>) -> Self::Result {
        let ReadSnapshot { snapshot, offset, max_bytes } = read;
        if self.stored.snapshot.as_ref() != Some(&snapshot) || offset > snapshot.size {
            return Ok(None);
        }
        let mut data = self.snapshot.slice(offset as usize..);
        data.truncate(max_bytes);
        let (checksum, end) = (crc32fast::hash(&data), offset + data.len() as u64);
        Ok(Some(SnapshotChunk { offset, data, checksum, done: end == snapshot.size }))
    }
}

impl<M: StateMachine + Unpin> Handler<StoreSnapshotChunk> for MemoryStorage<M> {
    type Result = Result<u64, StorageError>;

    fn handle(&mut self, store: StoreSnapshotChunk, _: &mut Context<Self>) -> Self::Result {
        let StoreSnapshotChunk { snapshot, chunk } = store;
        let (_, bytes) = match &mut self.received {
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

impl<M: StateMachine + Unpin> Handler<InstallSnapshot> for MemoryStorage<M> {
    type Result = Result<bool, StorageError>;

    fn handle(&mut self, install: InstallSnapshot, _: &mut Context<Self>) -> Self::Result {
        let InstallSnapshot { snapshot } = install;
        let Some((_, bytes)) = self.received.take_if(|(received, _)| *received == snapshot) else {
            return Ok(false);
        };
        let bytes = bytes.freeze();
        if bytes.len() as u64 != snapshot.size || crc32fast::hash(&bytes) != snapshot.checksum {
            return Ok(false);
        }
        let restored =
            self.state_machine.restore(snapshot.last_included().index, &mut bytes.as_ref());
        restored.map_err(StorageError::new)?;
        self.snapshot = bytes;
        self.stored.snapshot = Some(snapshot);
        Ok(true)
    }
}

impl<M: StateMachine + Unpin> Handler<WatchDiskSpace> for MemoryStorage<M> {
    type Result = ();

    /// There is no disk.
    fn handle(&mut self, _: WatchDiskSpace, _: &mut Context<Self>) {}
}
