//! How a log is kept.

use actix_raft_core::types::DiskId;

use crate::error::Identity;
use crate::format::Owner;

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Whose log it is: fixed when the directory is first used.
    pub identity: Identity,
    /// The name of the disk, if its directory is used for the first time now; `None`, the default,
    /// draws one at random. A disk that comes in the place of one that was lost must not have the
    /// name of that one.
    pub new_disk: Option<DiskId>,
    /// The length of a segment, in bytes, written with zeros before it is used; a save that is
    /// larger gets a segment of its own. At least 1 KiB; default 16 MiB.
    pub segment_bytes: u64,
    /// How much may be saved at once, in bytes; a larger save is refused. Below 4 GiB; default
    /// 1 GiB.
    pub max_frame_bytes: usize,
    /// Whether snapshots are compressed (LZ4).
    pub compress_snapshots: bool,
    /// With less room than this on the disk, in bytes, the log is low on space; it is no longer with
    /// twice as much. Best more than a few segments; default 128 MiB.
    pub low_space_bytes: u64,
}

impl LogOptions {
    /// The defaults, for this server.
    #[must_use]
    pub fn new(identity: Identity) -> LogOptions {
        LogOptions {
            identity,
            new_disk: None,
            segment_bytes: 16 << 20,
            max_frame_bytes: 1 << 30,
            compress_snapshots: true,
            low_space_bytes: 128 << 20,
        }
    }

    /// What the segments on this disk say of whose they are.
    pub(crate) fn owner(&self, disk: DiskId) -> Owner {
        Owner { identity: self.identity.clone(), disk }
    }

    /// The same for a disk that is used for the first time.
    pub(crate) fn owner_of_new(&self) -> Owner {
        self.owner(self.new_disk.unwrap_or_else(|| DiskId(fastrand::u64(1..))))
    }
}
