//! The snapshots of one server: the latest, and those before it that are still being sent.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_raft_core::mutants::{Mutant, is_planted};
use actix_raft_core::snapshot::{Snapshot, SnapshotChunk};
use actix_raft_core::stored::Base;
use bytes::Bytes;
use tracing::warn;

use super::blocks::{Blocks, Broken};
use super::incoming::Incoming;
use super::layout::{part_name, snapshot_name};
use super::pages::PAGE_BYTES;
use super::reader::SnapshotReader;
use super::writer::SnapshotWriter;
use crate::disk::{Disk, DiskFile};
use crate::error::SnapshotError;
use crate::format::VERSION;

/// The snapshots on one disk. Clones are the same store; it is usable from any thread, and needs
/// none. While one is built or received, others can be read.
#[derive(Clone)]
pub struct SnapshotStore {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    cluster_id: String,
    compress: bool,
    /// How many were begun to be built.
    parts: AtomicU64,
    /// Those that can be read: the latest, and before it older ones that no longer have a name.
    kept: Mutex<Vec<Kept>>,
    /// Held by who puts another one in their place.
    publishing: Mutex<()>,
    incoming: Mutex<Option<Incoming>>,
}

struct Kept {
    stored: Arc<Stored>,
    /// Whether pieces of it were read since it or another one became the latest.
    is_served: bool,
}

/// A snapshot that is whole, and durable.
pub(crate) struct Stored {
    pub(crate) snapshot: Snapshot,
    pub(crate) file: Arc<dyn DiskFile>,
    /// The checksum of each page.
    pub(crate) pages: Vec<u32>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Changes under the locks don't panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SnapshotStore {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        cluster_id: String,
        compress: bool,
        latest: Option<Stored>,
    ) -> SnapshotStore {
        let kept = latest.into_iter().map(Kept::new).collect();
        let shared = Shared {
            disk,
            cluster_id,
            compress,
            parts: AtomicU64::new(0),
            kept: Mutex::new(kept),
            publishing: Mutex::new(()),
            incoming: Mutex::new(None),
        };
        SnapshotStore { shared: Arc::new(shared) }
    }

    /// The latest snapshot.
    #[must_use]
    pub fn latest(&self) -> Option<Snapshot> {
        lock(&self.shared.kept).last().map(|kept| kept.stored.snapshot.clone())
    }

    /// Begins to build a snapshot that stands for this.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn create(&self, base: Base) -> Result<SnapshotWriter, SnapshotError> {
        let n = self.shared.parts.fetch_add(1, Ordering::Relaxed);
        let name = part_name(base.last_included, n);
        let file = self.disk().create(&name).map_err(self.io("create", &name))?;
        SnapshotWriter::begin(self.clone(), name, Arc::from(file), base, self.shared.compress)
    }

    /// Reads the state machine's bytes of the latest snapshot; `None` if there is none.
    ///
    /// # Errors
    /// If the disk refuses, or the snapshot is damaged.
    pub fn open_latest(&self) -> Result<Option<SnapshotReader>, SnapshotError> {
        let latest = lock(&self.shared.kept).last().map(|kept| Arc::clone(&kept.stored));
        let Some(stored) = latest else { return Ok(None) };
        let name = snapshot_name(stored.snapshot.last_included());
        let blocks = Blocks::open(Arc::clone(&stored.file)).map_err(self.broken("read", &name))?;
        let file = self.disk().describe(&name);
        Ok(Some(SnapshotReader::new(stored.snapshot.clone(), file, blocks)))
    }

    /// Reads a piece of a snapshot's file, at most so long: to be sent to a follower. `None` if the
    /// snapshot is not here, or no longer, or does not reach so far.
    ///
    /// One that is no longer the latest can be read as long as that goes on.
    ///
    /// # Errors
    /// If the disk refuses, or the piece is damaged.
    pub fn read(
        &self,
        snapshot: &Snapshot,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Option<SnapshotChunk>, SnapshotError> {
        let Some(stored) = self.serve(snapshot) else { return Ok(None) };
        let size = stored.snapshot.size;
        if offset > size {
            return Ok(None);
        }
        let end = offset.saturating_add(max_bytes as u64).min(size);
        let name = snapshot_name(snapshot.last_included());
        let data = stored.read(offset, end).map_err(self.broken("read", &name))?;
        let checksum = crc32fast::hash(&data);
        Ok(Some(SnapshotChunk { offset, data, checksum, done: end == size }))
    }

    fn serve(&self, snapshot: &Snapshot) -> Option<Arc<Stored>> {
        let mut kept = lock(&self.shared.kept);
        let found = kept.iter_mut().find(|kept| kept.stored.snapshot == *snapshot)?;
        found.is_served = true;
        Some(Arc::clone(&found.stored))
    }

    /// Makes a file that is whole and synced the latest snapshot, durably, and removes older ones.
    pub(crate) fn publish(&self, name: &str, stored: Stored) -> Result<Snapshot, SnapshotError> {
        let snapshot = stored.snapshot.clone();
        let position = snapshot.last_included();
        let target = snapshot_name(position);
        // What is kept is not locked while the disk works: the log asks for the latest at each save.
        let publishing = lock(&self.shared.publishing);
        let latest = self.latest().map(|latest| latest.last_included());
        if let Some(latest) = latest.filter(|latest| latest.index > position.index) {
            return Err(SnapshotError::Superseded { position, latest });
        }
        self.disk().rename(name, &target).map_err(self.io("rename", name))?;
        if !is_planted(Mutant::SnapshotNameNotSynced) {
            self.disk().sync_dir().map_err(self.io("sync", ""))?;
        }
        // Who is in the middle of one reads on; it needs no name.
        let mut kept = lock(&self.shared.kept);
        kept.retain(|kept| kept.is_served);
        kept.iter_mut().for_each(|kept| kept.is_served = false);
        kept.push(Kept::new(stored));
        drop((kept, publishing));
        if let Some(older) = latest.filter(|latest| *latest != position) {
            let older = snapshot_name(older);
            if let Err(error) = self.disk().remove(&older) {
                // The next start removes it.
                warn!("{}: can't be removed: {error}", self.disk().describe(&older));
            }
        }
        Ok(snapshot)
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.shared.disk
    }

    pub(crate) fn cluster_id(&self) -> &str {
        &self.shared.cluster_id
    }

    pub(crate) fn incoming(&self) -> MutexGuard<'_, Option<Incoming>> {
        lock(&self.shared.incoming)
    }

    /// The same, if nobody is receiving or installing right now.
    pub(crate) fn idle_incoming(&self) -> Option<MutexGuard<'_, Option<Incoming>>> {
        self.shared.incoming.try_lock().ok()
    }

    /// What to call a disk's refusal.
    pub(crate) fn io(
        &self,
        operation: &'static str,
        name: &str,
    ) -> impl FnOnce(io::Error) -> SnapshotError + use<> {
        let file = self.disk().describe(name);
        move |source| SnapshotError::Io { operation, file, source }
    }

    /// What to call a file that can't be read.
    pub(crate) fn broken(
        &self,
        operation: &'static str,
        name: &str,
    ) -> impl FnOnce(Broken) -> SnapshotError + use<> {
        let file = self.disk().describe(name);
        move |broken| failed(operation, &file, broken)
    }
}

/// The error of a file that is broken.
pub(crate) fn failed(operation: &'static str, file: &str, broken: Broken) -> SnapshotError {
    let file = file.to_string();
    match broken {
        Broken::Io(source) => SnapshotError::Io { operation, file, source },
        Broken::Version(found) => SnapshotError::Version { file, found, known: VERSION },
        Broken::Damaged { offset, what } => {
            SnapshotError::Damaged { file, offset, what: what.to_string() }
        }
    }
}

impl Kept {
    fn new(stored: Stored) -> Kept {
        Kept { stored: Arc::new(stored), is_served: false }
    }
}

impl Stored {
    /// The bytes from one offset to another, which is not beyond the end.
    fn read(&self, from: u64, to: u64) -> Result<Bytes, Broken> {
        const PAGE: u64 = PAGE_BYTES as u64;
        let start = from / PAGE * PAGE;
        let end = to.next_multiple_of(PAGE).min(self.snapshot.size);
        // As much as was asked for, and up to two pages.
        let mut bytes = vec![0; (end - start) as usize];
        let read = self.file.read_at(&mut bytes, start)?;
        let pages = self.pages.iter().skip((start / PAGE) as usize);
        for ((place, page), checksum) in bytes.chunks(PAGE_BYTES).enumerate().zip(pages) {
            if crc32fast::hash(page) != *checksum {
                let offset = start + (place * PAGE_BYTES) as u64;
                return Err(Broken::Damaged { offset, what: "a page is not what was written" });
            }
        }
        if read < bytes.len() {
            return Err(Broken::Damaged {
                offset: start + read as u64,
                what: "the file ends early",
            });
        }
        Ok(Bytes::from(bytes).slice((from - start) as usize..(to - start) as usize))
    }
}
