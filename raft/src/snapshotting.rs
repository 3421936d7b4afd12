//! Carrying out what the core wants done with snapshots, and looking at the disk's room.
//!
//! Nothing here but an install that fails stops the node: without a snapshot the log only grows, and
//! a follower only stays behind.

use std::sync::Arc;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, MailboxError, WrapFuture};
use actix_raft_core::event::Event;
use tracing::warn;

use crate::application::Application;
use crate::messages::NodeId;
use crate::raft::Raft;
use crate::storage::{
    Base, DiskSpace, ReadSnapshot, Snapshot, SnapshotChunk, StorageError, StoreSnapshotChunk,
};

impl<A: Application> Raft<A> {
    pub(crate) fn build_snapshot(&mut self, base: Base, ctx: &mut Context<Self>) {
        let at = base.last_included;
        let built = self.storage.build_snapshot(base.clone()).into_actor(self);
        ctx.spawn(built.map(move |result, raft, ctx| {
            if let Ok(Ok(Some(snapshot))) = &result
                && snapshot.base != base
            {
                let error = format!("the snapshot of {at} is one of {}", snapshot.last_included());
                return raft.fail("the storage failed", error);
            }
            let snapshot = raft.or_warn(&format!("the snapshot of {at} was not built"), result);
            raft.snapshot_failure = snapshot.as_ref().err().cloned();
            raft.note(Event::SnapshotBuilt { snapshot: snapshot.ok().flatten() }, ctx);
        }));
    }

    pub(crate) fn read_snapshot(
        &mut self,
        to: NodeId,
        snapshot: Snapshot,
        offset: u64,
        max_bytes: usize,
        ctx: &mut Context<Self>,
    ) {
        let last_included = snapshot.last_included();
        let read = self.storage.read_snapshot(ReadSnapshot { snapshot, offset, max_bytes });
        ctx.spawn(read.into_actor(self).map(move |result, raft, ctx| {
            let what = format!("the snapshot of {last_included} can't be read");
            let chunk = raft.or_warn(&what, result).ok().flatten();
            raft.note(Event::SnapshotRead { to, last_included, chunk }, ctx);
        }));
    }

    pub(crate) fn store_snapshot_chunk(
        &mut self,
        snapshot: Snapshot,
        chunk: SnapshotChunk,
        ctx: &mut Context<Self>,
    ) {
        let last_included = snapshot.last_included();
        let stored = self.storage.store_snapshot_chunk(StoreSnapshotChunk { snapshot, chunk });
        ctx.spawn(stored.into_actor(self).map(move |result, raft, ctx| {
            let what = format!("a piece of the snapshot of {last_included} was not stored");
            match raft.or_warn(&what, result) {
                Ok(received) => {
                    raft.note(Event::SnapshotChunkStored { last_included, received }, ctx);
                }
                Err(_) => {
                    // A leader that was told at once would send the same again at once.
                    let pause = raft.config.protocol.election_timeout;
                    ctx.run_later(pause, move |raft, ctx| {
                        let received = 0;
                        raft.note(Event::SnapshotChunkStored { last_included, received }, ctx);
                    });
                }
            }
        }));
    }

    pub(crate) fn install_snapshot(&mut self, snapshot: Snapshot, ctx: &mut Context<Self>) {
        let last_included = snapshot.last_included();
        let installed = self.storage.install_snapshot(snapshot).into_actor(self);
        ctx.spawn(installed.map(move |result, raft, ctx| {
            let what = "the snapshot could not be installed";
            if let Some(installed) = raft.check(what, result) {
                if installed {
                    raft.proposals.passed_over(last_included.index);
                }
                raft.note(Event::SnapshotInstalled { last_included, installed }, ctx);
            }
        }));
    }

    /// The storage's answer; warns if there is none.
    fn or_warn<T>(
        &self,
        what: &str,
        result: Result<Result<T, StorageError>, MailboxError>,
    ) -> Result<T, Arc<str>> {
        let reason = match result {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(StorageError { reason })) => reason,
            Err(error) => Arc::from(format!("the storage did not answer: {error}")),
        };
        warn!(node = self.id.0, "{what}: {reason}");
        Err(reason)
    }

    /// Has the storage tell of its disk's room.
    pub(crate) fn watch_disk_space(&mut self, ctx: &mut Context<Self>) {
        let watched = self.storage.watch_disk_space(ctx.address().recipient());
        // If the storage is gone, its other answers will tell.
        ctx.spawn(watched.into_actor(self).map(|_, _, _| {}));
    }
}

impl<A: Application> Handler<DiskSpace> for Raft<A> {
    type Result = ();

    fn handle(&mut self, DiskSpace { low }: DiskSpace, ctx: &mut Context<Self>) {
        if low {
            warn!(node = self.id.0, "the disk is nearly full");
        }
        self.note(Event::DiskSpace { low }, ctx);
    }
}
