//! Reading a snapshot's bytes back: the state machine's whole state, checked as it is read.

use std::io::{self, Read};

use actix_raft_core::snapshot::Snapshot;

use super::blocks::Blocks;
use super::store::failed;

/// Reads what a state machine wrote into a snapshot, a block at a time. Another snapshot may take
/// this one's place meanwhile.
///
/// What is damaged is not returned: the error is of the kind [`io::ErrorKind::InvalidData`], and
/// holds a [`SnapshotError`](crate::error::SnapshotError) that names the file and the offset. That
/// nothing is missing is known when the end was reached.
pub struct SnapshotReader {
    snapshot: Snapshot,
    file: String,
    blocks: Blocks,
    /// What is left of the last block.
    block: Vec<u8>,
    read: usize,
}

impl SnapshotReader {
    pub(crate) fn new(snapshot: Snapshot, file: String, blocks: Blocks) -> SnapshotReader {
        SnapshotReader { snapshot, file, blocks, block: Vec::new(), read: 0 }
    }

    /// The snapshot that is read.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.block.len() {
            self.block.clear();
            self.read = 0;
            match self.blocks.next() {
                Ok(Some(block)) => self.block.extend_from_slice(block),
                Ok(None) => return Ok(0),
                Err(broken) => return Err(failed("read", &self.file, broken).into()),
            }
        }
        let count = buffer.len().min(self.block.len() - self.read);
        buffer[..count].copy_from_slice(&self.block[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}
