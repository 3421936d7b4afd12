//! How much room the disk has left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{AsyncContext, Context, Recipient};

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
    /// Whether a thread is looking: a disk that hangs is asked once.
    is_looking: Arc<AtomicBool>,
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
        self.tell_space();
        let is_looking = Arc::clone(&self.space.is_looking);
        if !is_looking.swap(true, Ordering::Relaxed) {
            self.pieces.run(move |pieces| {
                pieces.log.check_space();
                is_looking.store(false, Ordering::Relaxed);
            });
        }
        ctx.run_later(INTERVAL, |storage, ctx| storage.look_at_disk(ctx));
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
