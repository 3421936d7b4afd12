//! The storages that we bring, as the suite wants them.

use std::convert::Infallible;
use std::io::{self, Read};
use std::sync::{Arc, Weak};

use actix::Actor;
use actix_raft::application::{Application, DecodeError, Snapshotting, StateMachine};
use actix_raft::durable::{Disk, DurableStorage, Identity, LogOpenError, LogOptions, OpenError};
use actix_raft::messages::{Index, NodeId};
use actix_raft::storage::StorageError;
use actix_raft::testing::MemoryStorage;
use actix_raft_sim::conformance::{CrashDisk, Opened, Subject};
use bytes::Bytes;
use tempfile::TempDir;

/// A state machine whose responses tell all that was applied, and in which order.
#[derive(Default)]
pub struct Chain(u64);

impl Application for Chain {
    type Command = u64;
    type Response = u64;
    type Rejection = Infallible;

    fn encode(command: u64) -> Bytes {
        Bytes::copy_from_slice(&command.to_le_bytes())
    }

    fn decode(bytes: Bytes) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(bytes.as_ref().try_into()?))
    }

    fn encode_response(response: &u64) -> Option<Bytes> {
        Some(Chain::encode(*response))
    }

    fn decode_response(bytes: Bytes) -> Result<u64, DecodeError> {
        Chain::decode(bytes)
    }
}

impl StateMachine for Chain {
    fn apply(&mut self, index: Index, command: u64) -> u64 {
        self.0 = self.0.wrapping_mul(31).wrapping_add(command) ^ index.0;
        self.0
    }

    fn snapshot(&self) -> Option<Snapshotting> {
        let state = self.0;
        Some(Box::new(move |to| to.write_all(&state.to_le_bytes())))
    }

    fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let mut state = [0; 8];
        from.read_exact(&mut state)?;
        self.0 = u64::from_le_bytes(state);
        Ok(())
    }
}

pub struct InMemory;

impl Subject for InMemory {
    type Application = Chain;

    async fn open(&mut self) -> Opened<Chain> {
        Ok(MemoryStorage::new(Chain::default()).start().into())
    }

    fn command(&mut self, n: u64) -> u64 {
        n + 1
    }
}

/// Each storage in a directory of its own; the last one is that of the storage opened last.
#[derive(Default)]
pub struct OnRealDisk {
    directories: Vec<TempDir>,
}

impl Subject for OnRealDisk {
    type Application = Chain;

    async fn open(&mut self) -> Opened<Chain> {
        self.directories.push(tempfile::tempdir().map_err(StorageError::new)?);
        self.reopen().await.unwrap()
    }

    fn command(&mut self, n: u64) -> u64 {
        n + 1
    }

    async fn reopen(&mut self) -> Option<Opened<Chain>> {
        let path = self.directories.last()?.path();
        loop {
            match DurableStorage::open(path, "tests", NodeId(1), Chain::default()) {
                // The actor before has not ended yet.
                Err(OpenError::Log(LogOpenError::InUse { .. })) => tokio::task::yield_now().await,
                Err(error) => return Some(Err(StorageError::new(error))),
                Ok(storage) => return Some(Ok(storage.start().into())),
            }
        }
    }
}

#[derive(Default)]
pub struct OnCrashDisk {
    disk: CrashDisk,
    /// What the actor before holds, until it ends.
    held: Weak<CrashDisk>,
}

/// Segments so small that a few saves fill one.
pub fn open_on(disk: Arc<dyn Disk>) -> Opened<Chain> {
    let identity = Identity { cluster_id: "tests".to_string(), node_id: NodeId(1) };
    let options = LogOptions { segment_bytes: 4096, ..LogOptions::new(identity) };
    let opened = DurableStorage::open_on(disk, options, Chain::default());
    opened.map(|storage| storage.start().into()).map_err(StorageError::new)
}

impl Subject for OnCrashDisk {
    type Application = Chain;

    async fn open(&mut self) -> Opened<Chain> {
        self.disk = CrashDisk::new();
        self.held = Weak::new();
        self.reopen().await.unwrap()
    }

    fn command(&mut self, n: u64) -> u64 {
        n + 1
    }

    async fn reopen(&mut self) -> Option<Opened<Chain>> {
        while self.held.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
        let disk = Arc::new(self.disk.clone());
        self.held = Arc::downgrade(&disk);
        Some(open_on(disk))
    }

    async fn open_on(&mut self, disk: CrashDisk) -> Option<Opened<Chain>> {
        Some(open_on(Arc::new(disk)))
    }
}
