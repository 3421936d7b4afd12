//! The state machine beside the snapshots that it is restored from: what the apply thread has.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use actix_raft_log::snapshots::{SnapshotStore, SnapshotWriter};

use super::thread::Answer;
use crate::application::{Snapshotting, StateMachine};
use crate::messages::Entry;
use crate::replicated::Replicated;
use crate::requests::{ReplyTo, reply};
use crate::storage::{Base, Outcome, Snapshot, StorageError};

/// A state machine in memory, and where its snapshots are. Public only since handlers name it.
pub struct State<M> {
    machine: Replicated<M>,
    snapshots: SnapshotStore,
    /// The snapshot that is being written, if any.
    building: Option<JoinHandle<()>>,
    /// Whether there is no use in writing on.
    is_over: Arc<AtomicBool>,
}

/// Whoever drops the state wants the disk free.
impl<M> Drop for State<M> {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.building.take() {
            // Nobody waits for the snapshot any more.
            let _ = thread.join();
        }
    }
}

impl<M: StateMachine> State<M> {
    /// The state as of the latest snapshot, if there is one.
    pub(super) fn restore(machine: M, snapshots: SnapshotStore) -> Result<State<M>, StorageError> {
        let machine = Replicated::new(machine);
        let mut state = State { machine, snapshots, building: None, is_over: Arc::default() };
        state.restore_latest()?;
        Ok(state)
    }

    fn restore_latest(&mut self) -> Result<(), StorageError> {
        let Some(mut reader) = self.snapshots.open_latest().map_err(StorageError::new)? else {
            return Ok(());
        };
        let at = reader.snapshot().last_included();
        let restored = self.machine.restore(at.index, &mut reader);
        restored.map_err(|error| {
            StorageError::new(format!("the snapshot of {at} can't be restored: {error}"))
        })
    }

    pub(super) fn apply(&mut self, entries: &Arc<[Entry]>) -> Answer<Vec<Outcome<M::Response>>> {
        self.machine.apply(entries)
    }

    /// Captures the state now, and has another thread write it.
    pub(super) fn build(&mut self, base: Base, to: ReplyTo<Answer<Option<Snapshot>>>) {
        let Some(write) = self.machine.snapshot() else { return reply(to, Ok(None)) };
        let (snapshots, is_over) = (self.snapshots.clone(), Arc::clone(&self.is_over));
        let build = move || {
            let built = build(&snapshots, base, write, &is_over);
            // The disk is in nobody's hands when the answer arrives.
            drop(snapshots);
            reply(to, built.map(Some));
        };
        // Without a thread nobody answers, which the node takes for a failure, and tries again. The
        // one before has answered: no two are asked for at a time.
        self.building = thread::Builder::new().name("raft-snapshot".to_string()).spawn(build).ok();
    }

    /// Puts a snapshot that was received in the place of the state.
    pub(super) fn install(&mut self, snapshot: &Snapshot) -> Answer<bool> {
        if !self.snapshots.install(snapshot).map_err(StorageError::new)? {
            return Ok(false);
        }
        self.restore_latest()?;
        Ok(true)
    }
}

fn build(
    snapshots: &SnapshotStore,
    base: Base,
    write: Snapshotting,
    is_over: &AtomicBool,
) -> Answer<Snapshot> {
    let mut writer = snapshots.create(base).map_err(StorageError::new)?;
    write(&mut UntilOver { to: &mut writer, is_over }).map_err(StorageError::new)?;
    writer.finish().map_err(StorageError::new)
}

/// Writes as long as that is of use.
struct UntilOver<'a> {
    to: &'a mut SnapshotWriter,
    is_over: &'a AtomicBool,
}

impl Write for UntilOver<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_over.load(Ordering::Relaxed) {
            return Err(io::Error::other("the storage was closed"));
        }
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
