//! How much room the disk has left.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Recipient, WrapFuture};
use tracing::warn;

use super::storage::DurableStorage;
use crate::application::StateMachine;
use crate::storage::DiskSpace;

/// How often the disk is looked at.
const INTERVAL: Duration = Duration::from_secs(2);
/// With how much less room left than this a disk is short of it: four segments of the log, and what
/// it takes to hand over. A snapshot may fail before that, which stops nothing.
pub(super) const MIN_FREE_BYTES: u64 = 256 << 20;

/// What a storage knows of its disk's room.
pub(super) struct Space {
    /// `None` if it is not a directory that can be looked at.
    directory: Option<PathBuf>,
    pub(super) min_free_bytes: u64,
    is_low: bool,
    watcher: Option<Recipient<DiskSpace>>,
}

impl Space {
    pub(super) fn new(directory: Option<PathBuf>) -> Space {
        Space { directory, min_free_bytes: MIN_FREE_BYTES, is_low: false, watcher: None }
    }

    /// Whether the disk is short of room with so much of it left: one that is, is so until there is
    /// twice as much as it needs, so that leadership does not come and go.
    fn is_low_with(&self, free: u64) -> bool {
        free < self.min_free_bytes || (self.is_low && free / 2 < self.min_free_bytes)
    }
}

impl<M: StateMachine> DurableStorage<M> {
    /// Tells this node of the disk's room, whenever that is news.
    pub(super) fn watch(&mut self, watcher: Recipient<DiskSpace>, ctx: &mut Context<Self>) {
        let is_first = self.space.watcher.replace(watcher).is_none();
        self.space.is_low = false;
        if is_first && self.space.min_free_bytes > 0 {
            self.look_at_disk(ctx);
        }
    }

    fn look_at_disk(&mut self, ctx: &mut Context<Self>) {
        let Some(directory) = self.space.directory.clone() else { return };
        let look = tokio::task::spawn_blocking(move || free_bytes(&directory)).into_actor(self);
        ctx.spawn(look.map(|looked, storage, ctx| {
            match looked {
                Ok(Ok(free)) => storage.found(free),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Unsupported => return,
                Ok(Err(error)) => warn!("the disk's room can't be told: {error}"),
                // The runtime ends.
                Err(_) => return,
            }
            ctx.run_later(INTERVAL, |storage, ctx| storage.look_at_disk(ctx));
        }));
    }

    fn found(&mut self, free: u64) {
        let low = self.space.is_low_with(free);
        if low != self.space.is_low {
            self.space.is_low = low;
            if let Some(watcher) = &self.space.watcher {
                watcher.do_send(DiskSpace { low });
            }
        }
    }
}

/// How many bytes whoever runs this may still write.
#[cfg(unix)]
fn free_bytes(directory: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(directory)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_was_short_of_room_is_so_until_it_has_twice_as_much_as_it_needs() {
        let mut space = Space { min_free_bytes: 100, ..Space::new(None) };
        let mut low = |free| {
            space.is_low = space.is_low_with(free);
            space.is_low
        };
        let seen = [150, 100, 99, 100, 199, 200, 150].map(&mut low);
        assert_eq!(seen, [false, false, true, true, true, false, false]);
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_has_room() {
        let directory = tempfile::tempdir().unwrap();
        assert!(free_bytes(directory.path()).unwrap() > 0);
        assert!(free_bytes(&directory.path().join("gone")).is_err());
    }
}
