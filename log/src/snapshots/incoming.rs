//! Receiving a snapshot from a leader, piece by piece, and putting it in place.

use std::sync::Arc;

use actix_raft_core::mutants::{Mutant, is_planted};
use actix_raft_core::snapshot::{Snapshot, SnapshotChunk};
use actix_raft_core::types::LogPosition;
use tracing::warn;

use super::blocks::{Blocks, Broken};
use super::layout::{Kind, incoming_name, kind_of};
use super::store::{SnapshotStore, Stored};
use super::writer::SYNC_BYTES;
use crate::disk::DiskFile;
use crate::error::SnapshotError;

/// How much is copied at once.
const COPY_BYTES: usize = 1 << 20;

/// A snapshot that is being received.
pub(crate) struct Incoming {
    snapshot: Snapshot,
    name: String,
    file: Arc<dyn DiskFile>,
    /// How much of it is here, and how much of that is synced.
    received: u64,
    synced: u64,
}

impl SnapshotStore {
    /// Stores a piece of a snapshot that comes from a leader, if the piece is whole and begins where
    /// those so far end. Returns how many of the snapshot's first bytes are here then; an empty
    /// piece just asks for that. They outlive a restart, but for a few of the last. Pieces of
    /// another snapshot are thrown away.
    ///
    /// # Errors
    /// If the disk refuses: then nothing of this snapshot is here any more.
    pub fn receive(
        &self,
        snapshot: &Snapshot,
        chunk: &SnapshotChunk,
    ) -> Result<u64, SnapshotError> {
        let mut slot = self.incoming();
        if self.latest().as_ref() == Some(snapshot) {
            return Ok(snapshot.size);
        }
        let mut incoming = self.resume(slot.take(), snapshot)?;
        let end = chunk.offset.saturating_add(chunk.data.len() as u64);
        if crc32fast::hash(&chunk.data) != chunk.checksum {
            let name = self.disk().describe(&incoming.name);
            warn!("{name}: a piece of {} bytes was damaged on its way", chunk.data.len());
        } else if chunk.offset == incoming.received
            && end <= snapshot.size
            && !chunk.data.is_empty()
            && let Err(error) = self.append(&mut incoming, &chunk.data)
        {
            self.throw_away(&incoming.name);
            return Err(error);
        }
        let received = incoming.received;
        *slot = Some(incoming);
        Ok(received)
    }

    /// Makes a snapshot that was received the latest one, durably, if all of it is here and is right.
    /// If not, what is here is thrown away, and `false` returned.
    ///
    /// # Errors
    /// If the disk refuses, or there is a later snapshot. Which of the two snapshots is the latest is
    /// known after a restart, if it was the directory that could not be synced.
    pub fn install(&self, snapshot: &Snapshot) -> Result<bool, SnapshotError> {
        let mut slot = self.incoming();
        if self.latest().as_ref() == Some(snapshot) {
            return Ok(true);
        }
        let incoming = self.resume(slot.take(), snapshot)?;
        let stored = match self.verify(&incoming, snapshot) {
            Ok(stored) => stored,
            Err(broken @ (Broken::Damaged { .. } | Broken::Version(_))) => {
                let error = self.broken("read", &incoming.name)(broken);
                warn!("a snapshot that was received is thrown away: {error}");
                self.throw_away(&incoming.name);
                return Ok(false);
            }
            Err(Broken::Io(error)) => {
                // What a failed sync was to write is not written by the next one either.
                self.throw_away(&incoming.name);
                return Err(self.io("sync and read", &incoming.name)(error));
            }
        };
        match self.publish(&incoming.name, stored) {
            Ok(_) => Ok(true),
            Err(error) => {
                if let SnapshotError::Superseded { .. } = &error {
                    self.throw_away(&incoming.name);
                }
                Err(error)
            }
        }
    }

    /// Syncs and reads all of what was received.
    fn verify(&self, incoming: &Incoming, snapshot: &Snapshot) -> Result<Stored, Broken> {
        incoming.file.sync()?;
        let file = Arc::clone(&incoming.file);
        let trusting = [Mutant::SnapshotNotVerified, Mutant::PartialSnapshotMixed];
        if trusting.into_iter().any(is_planted) {
            return Ok(Stored { snapshot: snapshot.clone(), file, pages: Vec::new() });
        }
        let damaged = |what| Broken::Damaged { offset: 0, what };
        if incoming.received != snapshot.size {
            return Err(damaged("not all of it was received"));
        }
        let blocks = Blocks::open(Arc::clone(&file))?;
        if blocks.cluster_id() != self.cluster_id() {
            return Err(damaged("it is another cluster's"));
        }
        let summary = blocks.finish()?;
        if summary.size != snapshot.size || summary.checksum != snapshot.checksum {
            return Err(damaged("its size or its checksum is another one"));
        }
        match summary.base == snapshot.base {
            true => Ok(Stored { snapshot: snapshot.clone(), file, pages: summary.pages }),
            false => Err(damaged("it stands for something else")),
        }
    }

    fn append(&self, incoming: &mut Incoming, data: &[u8]) -> Result<(), SnapshotError> {
        let written = incoming.file.write_at(data, incoming.received);
        written.map_err(self.io("write to", &incoming.name))?;
        incoming.received += data.len() as u64;
        if incoming.received - incoming.synced >= SYNC_BYTES {
            incoming.file.sync().map_err(self.io("sync", &incoming.name))?;
            incoming.synced = incoming.received;
        }
        Ok(())
    }

    /// What is here of this snapshot. What is here of others is removed.
    fn resume(
        &self,
        current: Option<Incoming>,
        snapshot: &Snapshot,
    ) -> Result<Incoming, SnapshotError> {
        if let Some(current) = current
            && (current.snapshot == *snapshot || is_planted(Mutant::PartialSnapshotMixed))
        {
            return Ok(current);
        }
        let name = incoming_name(snapshot);
        let names = self.disk().list().map_err(self.io("list", ""))?;
        for other in names.iter().filter(|other| **other != name) {
            if matches!(kind_of(other), Some((Kind::Incoming, _))) {
                self.disk().remove(other).map_err(self.io("remove", other))?;
            }
        }
        if names.contains(&name) {
            let file = self.disk().open(&name).map_err(self.io("open", &name))?;
            let (file, snapshot) = (Arc::from(file), snapshot.clone());
            let received = self.received(&file, &snapshot).map_err(self.broken("read", &name))?;
            if received > 0 {
                return Ok(Incoming { snapshot, name, file, received, synced: 0 });
            }
            self.disk().remove(&name).map_err(self.io("remove", &name))?;
        }
        let file = self.disk().create(&name).map_err(self.io("create", &name))?;
        let (file, snapshot) = (Arc::from(file), snapshot.clone());
        Ok(Incoming { snapshot, name, file, received: 0, synced: 0 })
    }

    /// How much of a file that an earlier life has left is right.
    fn received(&self, file: &Arc<dyn DiskFile>, snapshot: &Snapshot) -> Result<u64, Broken> {
        let mut blocks = match Blocks::open(Arc::clone(file)) {
            Ok(blocks) => blocks,
            Err(Broken::Damaged { .. } | Broken::Version(_)) => return Ok(0),
            Err(Broken::Io(error)) => return Err(Broken::Io(error)),
        };
        if blocks.cluster_id() != self.cluster_id() || *blocks.base() != snapshot.base {
            return Ok(0);
        }
        loop {
            match blocks.next() {
                Ok(Some(_)) => {}
                Ok(None) | Err(Broken::Damaged { .. } | Broken::Version(_)) => break,
                Err(Broken::Io(error)) => return Err(Broken::Io(error)),
            }
        }
        let received = blocks.position();
        if received > snapshot.size {
            return Ok(0);
        }
        // It may be in the system's memory only, also if a sync of it failed in that life: then it
        // would not be written again unless it is changed again.
        let mut buffer = vec![0; COPY_BYTES];
        let mut offset = 0;
        while offset < received {
            let count = COPY_BYTES.min(usize::try_from(received - offset).unwrap_or(COPY_BYTES));
            let read = file.read_at(&mut buffer[..count], offset)?;
            if read == 0 {
                return Ok(0);
            }
            file.write_at(&buffer[..read], offset)?;
            offset += read as u64;
        }
        Ok(received)
    }

    /// Throws away what is here of a snapshot that includes no more than one that was built.
    pub(crate) fn throw_away_until(&self, position: LogPosition) {
        let Some(mut slot) = self.idle_incoming() else { return };
        let old =
            |incoming: &mut Incoming| incoming.snapshot.last_included().index <= position.index;
        if let Some(incoming) = slot.take_if(old) {
            self.throw_away(&incoming.name);
        }
    }

    fn throw_away(&self, name: &str) {
        if let Err(error) = self.disk().remove(name) {
            // It is looked at again when the next snapshot is received, or the log opened.
            warn!("{}: can't be removed: {error}", self.disk().describe(name));
        }
    }
}
