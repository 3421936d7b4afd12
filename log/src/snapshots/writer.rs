//! Building a snapshot: blocks of the state machine's bytes, aside until the whole is durable.

use std::io::{self, Write};
use std::sync::Arc;

use actix_raft_core::snapshot::Snapshot;
use actix_raft_core::stored::Base;
use tracing::warn;

use super::layout::{
    BLOCK_BYTES, HEAD_BYTES, MAX_BODY_BYTES, encode_block_head, encode_footer, encode_header,
};
use super::pages::Checksums;
use super::store::{SnapshotStore, Stored};
use crate::disk::DiskFile;
use crate::error::SnapshotError;

/// How much is written before it is synced, so that the log's syncs never wait for all of it.
pub(crate) const SYNC_BYTES: u64 = 16 << 20;

/// Takes what a state machine writes, as a snapshot. Only [`SnapshotWriter::finish`] makes it one:
/// dropped before that, it leaves nothing.
pub struct SnapshotWriter {
    store: SnapshotStore,
    base: Base,
    /// The name of the file; `None` when it has become the snapshot's.
    name: Option<String>,
    file: Arc<dyn DiskFile>,
    /// How much is written, and how much of it is synced.
    offset: u64,
    synced: u64,
    checksums: Checksums,
    /// What is not a whole block yet.
    block: Vec<u8>,
    /// How many blocks and bytes of the state machine are written.
    count: u64,
    bytes: u64,
    /// Where a block is compressed; `None` if it is not.
    compressed: Option<Vec<u8>>,
    /// How a write or sync has failed, so that what the file holds is not known.
    has_failed: Option<io::ErrorKind>,
}

impl SnapshotWriter {
    pub(crate) fn begin(
        store: SnapshotStore,
        name: String,
        file: Arc<dyn DiskFile>,
        base: Base,
        compress: bool,
    ) -> Result<SnapshotWriter, SnapshotError> {
        let most = lz4_flex::block::get_maximum_output_size(BLOCK_BYTES);
        let header = encode_header(store.cluster_id(), &base);
        let mut writer = SnapshotWriter {
            store,
            base,
            name: Some(name),
            file,
            offset: 0,
            synced: 0,
            checksums: Checksums::default(),
            block: Vec::with_capacity(BLOCK_BYTES),
            count: 0,
            bytes: 0,
            compressed: compress.then(|| vec![0; most]),
            has_failed: None,
        };
        let (bytes, limit) = (header.len() - HEAD_BYTES, MAX_BODY_BYTES);
        if bytes > limit {
            return Err(SnapshotError::Membership { bytes, limit });
        }
        writer.put(&header).map_err(|error| writer.failed("write to", error))?;
        Ok(writer)
    }

    /// Makes what was written the latest snapshot. Returns when it is durable and older ones are
    /// removed.
    ///
    /// # Errors
    /// If the disk refuses, now or before; or if a later snapshot was installed meanwhile. Nothing
    /// is left of this one then, and the latest is still there.
    pub fn finish(mut self) -> Result<Snapshot, SnapshotError> {
        let written = self.put_block().and_then(|()| self.put_end());
        let checksum = written.map_err(|error| self.failed("write to", error))?;
        self.sync().map_err(|error| self.failed("sync", error))?;
        let snapshot = Snapshot { base: self.base.clone(), size: self.offset, checksum };
        let pages = std::mem::take(&mut self.checksums).into_pages();
        let stored = Stored { snapshot, file: Arc::clone(&self.file), pages };
        let published = self.store.publish(self.name.as_deref().unwrap_or_default(), stored)?;
        self.name = None;
        self.store.throw_away_until(published.last_included());
        Ok(published)
    }

    fn put_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let block = std::mem::take(&mut self.block);
        let mut space = self.compressed.take();
        let stored = match &mut space {
            Some(space) => match lz4_flex::block::compress_into(&block, space) {
                Ok(length) if length < block.len() => &space[..length],
                Ok(_) | Err(_) => &block,
            },
            None => &block,
        };
        let head = encode_block_head(self.count, stored, block.len());
        self.put(&[&head, stored].concat())?;
        self.count += 1;
        self.bytes += block.len() as u64;
        self.block = block;
        self.block.clear();
        self.compressed = space;
        if self.offset - self.synced >= SYNC_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    /// Writes the footer; returns the checksum of all before it, which it ends with.
    fn put_end(&mut self) -> io::Result<u32> {
        let footer = encode_footer(self.bytes, self.count);
        self.put(&footer)?;
        let checksum = self.checksums.total();
        self.put(&checksum.to_le_bytes())?;
        Ok(checksum)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(kind) = self.has_failed {
            return Err(io::Error::new(kind, "an earlier write to it has failed"));
        }
        let written = self.file.write_at(bytes, self.offset);
        written.inspect_err(|error| self.has_failed = Some(error.kind()))?;
        self.checksums.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let synced = self.file.sync();
        synced.inspect_err(|error| self.has_failed = Some(error.kind()))?;
        self.synced = self.offset;
        Ok(())
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> SnapshotError {
        self.store.io(operation, self.name.as_deref().unwrap_or_default())(source)
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == BLOCK_BYTES {
            self.put_block()?;
        }
        Ok(count)
    }

    /// Does nothing: where blocks end depends on their length alone, so that the same state always
    /// makes the same snapshot.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        let Some(name) = &self.name else { return };
        if let Err(error) = self.store.disk().remove(name) {
            // The next start removes it; or it was renamed, and may be found then.
            warn!("{}: can't be removed: {error}", self.store.disk().describe(name));
        }
    }
}
