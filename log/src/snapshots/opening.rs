//! What there is of snapshots when a log is opened.

use std::sync::Arc;

use actix_raft_core::snapshot::Snapshot;
use actix_raft_core::stored::Base;
use actix_raft_core::types::LogPosition;
use tracing::warn;

use super::blocks::{Blocks, Broken};
use super::layout::{Kind, damaged_name, kind_of, position_of, snapshot_name};
use super::store::{SnapshotStore, Stored};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::VERSION;
use crate::wal::LogOptions;

/// What was found in a directory. Nothing was changed.
pub(crate) struct Found {
    /// The latest one that is whole.
    latest: Option<Stored>,
    /// Later ones, which are not.
    broken: Vec<(LogPosition, Broken)>,
    /// What is no longer needed.
    leftovers: Vec<String>,
}

/// Reads the latest snapshot to its end; if it is damaged, the one before it.
pub(crate) fn find(disk: &dyn Disk, cluster_id: &str) -> Result<Found, OpenError> {
    let mut names = disk.list().map_err(failed("list", disk.describe("")))?;
    // The latest first: a position is written in hexadecimal digits, the index before the term.
    names.sort_unstable_by(|a, b| b.cmp(a));
    let mut found = Found { latest: None, broken: Vec::new(), leftovers: Vec::new() };
    for name in &names {
        let Some(position) = position_of(name) else { continue };
        if found.latest.is_some() {
            found.leftovers.push(name.clone());
            continue;
        }
        match read(disk, name, position, cluster_id) {
            Ok(stored) => found.latest = Some(stored),
            Err(Broken::Io(error)) => return Err(failed("read", disk.describe(name))(error)),
            Err(broken) => found.broken.push((position, broken)),
        }
    }
    let latest = found.latest.as_ref().map(|latest| latest.snapshot.last_included().index);
    let mut resumable = true;
    for name in names {
        match kind_of(&name) {
            Some((Kind::Part, _)) => found.leftovers.push(name),
            Some((Kind::Incoming, position)) => {
                if !resumable || latest.is_some_and(|latest| position.index <= latest) {
                    found.leftovers.push(name);
                } else {
                    resumable = false;
                }
            }
            Some((Kind::Whole, _)) | None => {}
        }
    }
    Ok(found)
}

fn read(
    disk: &dyn Disk,
    name: &str,
    position: LogPosition,
    cluster_id: &str,
) -> Result<Stored, Broken> {
    let file = Arc::from(disk.open(name)?);
    let blocks = Blocks::open(Arc::clone(&file))?;
    if blocks.cluster_id() != cluster_id {
        return Err(Broken::Damaged { offset: 0, what: "it is another cluster's" });
    }
    let summary = blocks.finish()?;
    if summary.base.last_included != position {
        return Err(Broken::Damaged { offset: 0, what: "the file is that of another snapshot" });
    }
    let (size, checksum) = (summary.size, summary.checksum);
    let snapshot = Snapshot { base: summary.base, size, checksum };
    Ok(Stored { snapshot, file, pages: summary.pages })
}

impl Found {
    /// Whether there is no snapshot, whole or not.
    pub(crate) fn is_empty(&self) -> bool {
        self.latest.is_none() && self.broken.is_empty()
    }

    /// Whether the snapshots will do for a log that begins after this.
    pub(crate) fn check(&self, disk: &dyn Disk, base: &Base) -> Result<(), OpenError> {
        let base = base.last_included;
        let will_do = |position: LogPosition| {
            position.index > base.index || position == base || base.index.0 == 0
        };
        for (position, broken) in &self.broken {
            if let Broken::Version(found) = broken {
                let file = disk.describe(&snapshot_name(*position));
                return Err(OpenError::Version { file, found: *found, known: VERSION });
            }
        }
        let latest = self.latest.as_ref().map(|latest| latest.snapshot.last_included());
        if base.index.0 == 0 || latest.is_some_and(will_do) {
            return Ok(());
        }
        for (position, broken) in &self.broken {
            if let Broken::Damaged { offset, what } = broken
                && will_do(*position)
            {
                let file = disk.describe(&snapshot_name(*position));
                let what = (*what).to_string();
                return Err(OpenError::Damaged { file, offset: *offset, what });
            }
        }
        Err(OpenError::NoSnapshot { directory: disk.describe(""), base })
    }

    /// Cleans up, and opens the store.
    pub(crate) fn open(
        self,
        disk: Arc<dyn Disk>,
        options: &LogOptions,
    ) -> Result<SnapshotStore, OpenError> {
        for name in &self.leftovers {
            disk.remove(name).map_err(failed("remove", disk.describe(name)))?;
        }
        for (position, broken) in &self.broken {
            // The log has all that it includes, or there is another one.
            let name = snapshot_name(*position);
            let file = disk.describe(&name);
            warn!("{file}: is put aside, since it can't be read: {broken:?}");
            disk.rename(&name, &damaged_name(&name)).map_err(failed("rename", file))?;
        }
        let cluster_id = options.identity.cluster_id.clone();
        Ok(SnapshotStore::new(disk, cluster_id, options.compress_snapshots, self.latest))
    }
}

fn failed(operation: &'static str, file: String) -> impl FnOnce(std::io::Error) -> OpenError {
    move |source| OpenError::Io { operation, file, source }
}
