//! Whether the disk has room for more, told before it has none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::warn;

use crate::disk::Disk;

/// The room on a disk. Segments are made whole before they are needed, so that what was accepted
/// when there was still room for a few of them will not fail.
pub(crate) struct Space {
    disk: Arc<dyn Disk>,
    /// Less is too little; after that, less than twice as much.
    low_bytes: u64,
    is_low: AtomicBool,
}

impl Space {
    pub(crate) fn new(disk: Arc<dyn Disk>, low_bytes: u64) -> Space {
        let space = Space { disk, low_bytes, is_low: AtomicBool::new(false) };
        space.check();
        space
    }

    /// Whether there was too little when it was checked last.
    pub(crate) fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed)
    }

    /// Asks the disk.
    pub(crate) fn check(&self) -> bool {
        let was_low = self.is_low();
        let free = match self.disk.free_space() {
            Ok(Some(free)) => free,
            Ok(None) => return was_low,
            Err(error) => {
                warn!("{}: free space can't be told: {error}", self.disk.describe(""));
                return was_low;
            }
        };
        let wanted = if was_low { self.low_bytes.saturating_mul(2) } else { self.low_bytes };
        let is_low = free < wanted;
        self.is_low.store(is_low, Ordering::Relaxed);
        if is_low != was_low {
            let disk = self.disk.describe("");
            match is_low {
                true => warn!("{disk}: {free} bytes left, which is less than {wanted}"),
                false => warn!("{disk}: there is room again, {free} bytes"),
            }
        }
        is_low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::CrashDisk;

    #[test]
    fn there_is_room_again_when_there_is_twice_as_much_as_was_too_little() {
        let disk = CrashDisk::new();
        let space = Space::new(Arc::new(disk.clone()), 100);
        assert!(!space.check(), "as much as it likes");
        for (free, is_low) in [(100, false), (99, true), (100, true), (199, true), (200, false)] {
            disk.set_capacity(Some(free));
            assert_eq!((space.check(), space.is_low()), (is_low, is_low), "{free} bytes free");
        }
        disk.set_capacity(None);
        assert!(!space.check());
    }
}
