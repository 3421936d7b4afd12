//! Building snapshots, and bringing them from one storage to another, as nodes do.

use actix_raft::application::Application;
use actix_raft::messages::{Entry, EntryPayload, Index};
use actix_raft::storage::{Base, ReadSnapshot, Snapshot, SnapshotChunk, StoreSnapshotChunk};
use bytes::Bytes;

use super::contract::Failure;
use super::probe::{Probe, answer};
use super::samples::membership;

impl<A: Application> Probe<A> {
    /// Takes a snapshot, if the state machine does.
    pub(super) async fn build(&self, base: Base) -> Result<Option<Snapshot>, Failure> {
        let at = base.last_included;
        let what = format!("the building of a snapshot of {at}");
        let built = self.ask(&what, self.storage().build_snapshot(base.clone())).await?;
        match &built {
            Some(snapshot) if snapshot.base != base => {
                let found = format!("{:?}", snapshot.base);
                Err(self.failure(format!("a snapshot of {base:?}"), found))
            }
            Some(_) | None => Ok(built),
        }
    }

    /// The same, where the state machine has taken one before.
    pub(super) async fn snapshot(&self, base: Base) -> Result<Snapshot, Failure> {
        let at = base.last_included;
        let built = self.build(base).await?;
        built.ok_or_else(|| self.failure(format!("a snapshot of {at}, as before"), "none"))
    }

    /// Reads a piece of a snapshot that is there.
    async fn piece(
        &self,
        snapshot: &Snapshot,
        offset: u64,
        max_bytes: usize,
    ) -> Result<SnapshotChunk, Failure> {
        let read = ReadSnapshot { snapshot: snapshot.clone(), offset, max_bytes };
        let what = format!("a read of a snapshot at byte {offset}");
        let chunk = self.ask(&what, self.storage().read_snapshot(read)).await?;
        let size = snapshot.size;
        let Some(chunk) = chunk else {
            return Err(self.failure(format!("a piece at byte {offset} of {size}"), "none"));
        };
        let length = chunk.data.len() as u64;
        let expected = length.clamp(u64::from(offset < size), max_bytes as u64).min(size - offset);
        let done = offset + expected == size;
        if (chunk.offset, length, chunk.done) != (offset, expected, done) {
            let show = |offset, length, done| {
                let last = if done { ", the last ones" } else { "" };
                format!("{length} bytes at byte {offset} of {size}{last}")
            };
            let found = show(chunk.offset, length, chunk.done);
            return Err(self.failure(show(offset, expected, done), found));
        }
        Ok(chunk)
    }

    /// Reads a whole snapshot in pieces that are no longer than this, from this byte on.
    pub(super) async fn pieces(
        &self,
        snapshot: &Snapshot,
        mut offset: u64,
        max_bytes: usize,
    ) -> Result<Vec<SnapshotChunk>, Failure> {
        let mut pieces = Vec::new();
        loop {
            let piece = self.piece(snapshot, offset, max_bytes).await?;
            let done = piece.done;
            offset += piece.data.len() as u64;
            pieces.push(piece);
            if done {
                return Ok(pieces);
            }
        }
    }

    /// The bytes of a snapshot.
    pub(super) async fn snapshot_bytes(&self, snapshot: &Snapshot) -> Result<Bytes, Failure> {
        Ok(joined(&self.pieces(snapshot, 0, 64 << 10).await?))
    }

    /// A piece of a snapshot that may be gone: it is none, or the right one.
    pub(super) async fn check_gone_piece(
        &self,
        snapshot: &Snapshot,
        bytes: &Bytes,
    ) -> Result<(), Failure> {
        let read = ReadSnapshot { snapshot: snapshot.clone(), offset: 0, max_bytes: 64 << 10 };
        // An error is not what we care for here.
        let Ok(Some(piece)) = answer(self.storage().read_snapshot(read)).await else {
            return Ok(());
        };
        match bytes.starts_with(&piece.data) {
            true => Ok(()),
            false => Err(self.failure("no piece, or one of that snapshot", "one of another")),
        }
    }

    /// Stores a piece; how many bytes are held then.
    pub(super) async fn store(
        &self,
        snapshot: &Snapshot,
        chunk: &SnapshotChunk,
    ) -> Result<u64, Failure> {
        let (snapshot, chunk) = (snapshot.clone(), chunk.clone());
        let what = format!("the storing of a piece at byte {}", chunk.offset);
        let store = StoreSnapshotChunk { snapshot, chunk };
        self.ask(&what, self.storage().store_snapshot_chunk(store)).await
    }

    /// How many bytes of this snapshot are held.
    pub(super) async fn held(&self, snapshot: &Snapshot) -> Result<u64, Failure> {
        let question = SnapshotChunk { offset: 0, data: Bytes::new(), checksum: 0, done: false };
        self.store(snapshot, &question).await
    }

    /// Stores pieces, all of which must be taken.
    pub(super) async fn store_all(
        &self,
        snapshot: &Snapshot,
        pieces: &[SnapshotChunk],
    ) -> Result<(), Failure> {
        for piece in pieces {
            let held = self.store(snapshot, piece).await?;
            let end = piece.offset + piece.data.len() as u64;
            if held != end {
                let expected = format!("{end} bytes held after the piece at byte {}", piece.offset);
                return Err(self.failure(expected, held));
            }
        }
        Ok(())
    }

    /// Puts a snapshot in place, which must be taken or not.
    pub(super) async fn install(&self, snapshot: &Snapshot, taken: bool) -> Result<(), Failure> {
        let at = snapshot.last_included();
        let what = format!("the installation of a snapshot of {at}");
        let installed = self.ask(&what, self.storage().install_snapshot(snapshot.clone())).await?;
        let told = |taken| if taken { "installed" } else { "refused" };
        match installed == taken {
            true => Ok(()),
            false => Err(self
                .failure(format!("the snapshot of {at} to be {}", told(taken)), told(installed))),
        }
    }

    /// Receives what lacks of a snapshot from where it was built, and installs it.
    pub(super) async fn fetch(
        &self,
        snapshot: &Snapshot,
        source: &Probe<A>,
    ) -> Result<(), Failure> {
        let held = self.held(snapshot).await?;
        if held < snapshot.size {
            let pieces = source.pieces(snapshot, held, piece_bytes(snapshot)).await?;
            self.store_all(snapshot, &pieces).await?;
        }
        self.install(snapshot, true).await
    }
}

/// How long pieces are of which a snapshot has a few.
pub(super) fn piece_bytes(snapshot: &Snapshot) -> usize {
    snapshot.size as usize / 4 + 1
}

pub(super) fn joined(pieces: &[SnapshotChunk]) -> Bytes {
    pieces.iter().flat_map(|piece| piece.data.iter().copied()).collect()
}

/// What a log's begin, up to the last of these entries, comes to: where that is, and which
/// configuration is in force there.
pub(super) fn base_of(entries: &[Entry]) -> Base {
    let configuration = |entry: &Entry| match &entry.payload {
        EntryPayload::ConfigChange(membership) => Some((entry.index, membership.clone())),
        EntryPayload::Normal(_) | EntryPayload::Blank => None,
    };
    let latest = entries.iter().rev().find_map(configuration);
    Base {
        last_included: entries.last().map_or_else(Default::default, Entry::position),
        membership: Some(latest.unwrap_or_else(|| (Index::ZERO, membership(1)))),
    }
}
