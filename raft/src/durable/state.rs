//! The state machine beside the snapshots that it is restored from: what the apply thread has.

use std::sync::Arc;
use std::thread;

use actix_raft_log::snapshots::SnapshotStore;

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
}

impl<M: StateMachine> State<M> {
    /// The state as of the latest snapshot, if there is one.
    pub(super) fn restore(machine: M, snapshots: SnapshotStore) -> Result<State<M>, StorageError> {
        let mut state = State { machine: Replicated::new(machine), snapshots };
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
        let snapshots = self.snapshots.clone();
        let build = move || {
            let built = build(&snapshots, base, write);
            reply(to, built.map(Some));
        };
        // Without a thread nobody answers, which the node takes for a failure, and tries again.
        let _ = thread::Builder::new().name("raft-snapshot".to_string()).spawn(build);
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

fn build(snapshots: &SnapshotStore, base: Base, write: Snapshotting) -> Answer<Snapshot> {
    let mut writer = snapshots.create(base).map_err(StorageError::new)?;
    write(&mut writer).map_err(StorageError::new)?;
    writer.finish().map_err(StorageError::new)
}
