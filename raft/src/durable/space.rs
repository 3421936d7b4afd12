//! How much room the disk has left.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Recipient, WrapFuture};

use super::storage::DurableStorage;
use crate::application::StateMachine;
use crate::storage::DiskSpace;

/// How often the disk is looked at: others write to it, too.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the node was told of its disk's room.
#[derive(Default)]
pub(super) struct Space {
    watcher: Option<Recipient<DiskSpace>>,
    is_low: bool,
}

impl<M: StateMachine> DurableStorage<M> {
    /// Tells this node of the disk's room, whenever that is news.
    pub(super) fn watch(&mut self, watcher: Recipient<DiskSpace>, ctx: &mut Context<Self>) {
        let is_first = self.space.watcher.replace(watcher).is_none();
        self.space.is_low = false;
        if is_first {
            self.look_at_disk(ctx);
        }
    }

    fn look_at_disk(&mut self, ctx: &mut Context<Self>) {
        let log = self.log.clone();
        let looked = tokio::task::spawn_blocking(move || log.check_space()).into_actor(self);
        ctx.spawn(looked.map(|looked, storage, ctx| {
            // Else the runtime ends.
            if looked.is_ok() {
                storage.tell_space();
                ctx.run_later(INTERVAL, |storage, ctx| storage.look_at_disk(ctx));
            }
        }));
    }

    /// Tells what the log knows of the disk's room, if that is news.
    pub(super) fn tell_space(&mut self) {
        let low = self.log.is_low_on_space();
        if low != self.space.is_low
            && let Some(watcher) = &self.space.watcher
        {
            self.space.is_low = low;
            watcher.do_send(DiskSpace { low });
        }
    }
}
