//! Nodes on disks of their own.

#![cfg(feature = "durable")]

mod support;

use std::convert::Infallible;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use actix::Actor;
use actix_raft::admin::TriggerSnapshotError;
use actix_raft::application::{Application, DecodeError, Snapshotting, StateMachine};
use actix_raft::client::Client;
use actix_raft::config::Config;
use actix_raft::durable::{DurableStorage, Identity, LogOptions};
use actix_raft::messages::{ClientError, Index, NodeId};
use actix_raft::raft::{Raft, RaftOptions};
use actix_raft::testing::Router;
use actix_raft_log::crash::CrashDisk;
use bytes::Bytes;
use support::Journal;

async fn start(directory: &Path) -> Client<Journal> {
    let storage = DurableStorage::open(directory, "tests", NodeId(1), Journal::default()).unwrap();
    let pristine = storage.stored().is_pristine();
    let mut options = RaftOptions::new(NodeId(1), storage.start(), Router::new().port().start());
    // Of what is applied after a restart, most is not in memory any more.
    options.config =
        Config::builder().recent_entries_bytes(200).max_apply_bytes(500).build().unwrap();
    let node = Raft::start(options).await.unwrap();
    if pristine {
        node.initialize(vec![]).await.unwrap();
    }
    node
}

async fn write(node: &Client<Journal>, command: String) -> usize {
    loop {
        match node.write(command.clone().into()).await {
            Err(ClientError::NotLeader { .. }) => tokio::task::yield_now().await,
            result => return result.unwrap().0,
        }
    }
}

#[test]
fn a_restarted_node_applies_each_entry_again_once_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut written = 0;
    for _ in 0..3 {
        actix::System::new().block_on(async {
            let node = start(directory.path()).await;
            for _ in 0..100 {
                assert_eq!(write(&node, format!("command {written}")).await, written);
                written += 1;
            }
            node.shutdown().await;
        });
    }
}

#[test]
fn a_directory_is_not_opened_twice() {
    let directory = tempfile::tempdir().unwrap();
    let open = |id| DurableStorage::open(directory.path(), "tests", NodeId(id), Journal::default());
    let first = open(1).unwrap();
    let error = open(1).err().unwrap().to_string();
    assert!(error.contains("is in use by another process"), "{error}");
    drop(first);
    let error = open(2).err().unwrap().to_string();
    assert!(error.contains("belongs to node 1 of cluster 'tests'"), "{error}");
}

async fn start_with(directory: &Path, config: Config) -> Client<Journal> {
    let storage = DurableStorage::open(directory, "tests", NodeId(1), Journal::default()).unwrap();
    let pristine = storage.stored().is_pristine();
    let mut options = RaftOptions::new(NodeId(1), storage.start(), Router::new().port().start());
    options.config = config;
    let node = Raft::start(options).await.unwrap();
    if pristine {
        node.initialize(vec![]).await.unwrap();
    }
    node
}

#[test]
fn a_restarted_node_goes_on_from_its_snapshot_and_the_log_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut written = 0;
    let mut before = None;
    for _ in 0..3 {
        actix::System::new().block_on(async {
            let config = Config::builder().entries_kept(0).build().unwrap();
            let node = start_with(directory.path(), config).await;
            let metrics = node.metrics().await.unwrap();
            assert_eq!(before.unwrap_or_default(), metrics.snapshot);
            let session = loop {
                match node.session().await {
                    Err(ClientError::NotLeader { .. }) => tokio::task::yield_now().await,
                    session => break session.unwrap(),
                }
            };
            for _ in 0..50 {
                let answer = session.write(format!("command {written}").into()).await;
                assert_eq!(answer.unwrap().0, written);
                written += 1;
            }
            let taken = node.trigger_snapshot().await.unwrap();
            assert_eq!(node.purge_log(None).await.unwrap(), taken);
            before = Some(taken);
            for _ in 0..10 {
                assert_eq!(write(&node, format!("command {written}")).await, written);
                written += 1;
            }
            node.shutdown().await;
        });
    }
    let names = std::fs::read_dir(directory.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("snapshot-")).count(), 1);
}

#[test]
fn a_snapshot_goes_from_disk_to_disk() {
    let directory = tempfile::tempdir().unwrap();
    actix::System::new().block_on(async {
        let router = Router::new();
        let config = Config::builder().entries_kept(0).snapshot_chunk_bytes(100).build().unwrap();
        let mut nodes = Vec::new();
        for id in 1..=3 {
            let place = directory.path().join(format!("node{id}"));
            let storage = DurableStorage::open(place, "tests", NodeId(id), Journal::default());
            let port = router.port().start();
            let mut options = RaftOptions::new(NodeId(id), storage.unwrap().start(), port);
            options.config = config.clone();
            let node = Raft::start(options).await.unwrap();
            router.attach(NodeId(id), &node);
            nodes.push(node);
        }
        router.isolate(NodeId(3));
        nodes[0].initialize(support::members(3)).await.unwrap();
        let leader = loop {
            let lead = async |node: &Client<Journal>| node.metrics().await.unwrap().is_leader();
            if lead(&nodes[0]).await {
                break &nodes[0];
            }
            if lead(&nodes[1]).await {
                break &nodes[1];
            }
            tokio::task::yield_now().await;
        };
        for n in 0..100 {
            assert_eq!(write(leader, format!("command {n}")).await, n);
        }
        let taken = leader.trigger_snapshot().await.unwrap();
        leader.purge_log(None).await.unwrap();
        router.heal();
        while nodes[2].metrics().await.unwrap().snapshot != taken {
            tokio::task::yield_now().await;
        }
        leader.transfer_leadership(Some(NodeId(3))).await.unwrap();
        assert_eq!(write(&nodes[2], "command 100".to_string()).await, 100);
        for node in nodes {
            node.shutdown().await;
        }
    });
}

#[test]
fn a_snapshot_that_the_state_machine_does_not_take_is_reported_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    actix::System::new().block_on(async {
        let node = start_with(directory.path(), Config::default()).await;
        write(&node, "x".to_string()).await;
        node.trigger_snapshot().await.unwrap();
        node.shutdown().await;
    });
    let accumulator = actix_raft::testing::Accumulator::default();
    // The snapshot of a journal is no sum.
    let error = DurableStorage::open(directory.path(), "tests", NodeId(1), accumulator);
    let error = error.err().unwrap().to_string();
    assert!(error.contains("can't be restored"), "{error}");
}

/// A counter whose snapshots are written when they are let.
struct Gated {
    count: u64,
    gate: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Application for Gated {
    type Command = Bytes;
    type Response = u64;
    type Rejection = Infallible;

    fn encode(command: Bytes) -> Bytes {
        command
    }

    fn decode(bytes: Bytes) -> Result<Bytes, DecodeError> {
        Ok(bytes)
    }
}

impl StateMachine for Gated {
    fn apply(&mut self, _: Index, _: Bytes) -> u64 {
        self.count += 1;
        self.count
    }

    fn snapshot(&self) -> Option<Snapshotting> {
        let (count, gate) = (self.count, Arc::clone(&self.gate));
        Some(Box::new(move |to| {
            for byte in count.to_le_bytes() {
                // Whoever drops the other end lets all of it through.
                let _ = gate.lock().unwrap().recv();
                to.write_all(&[byte])?;
            }
            Ok(())
        }))
    }

    fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let mut count = [0; 8];
        from.read_exact(&mut count)?;
        self.count = u64::from_le_bytes(count);
        Ok(())
    }
}

fn open_gated(directory: &Path) -> (DurableStorage<Gated>, mpsc::Sender<()>) {
    let (sender, gate) = mpsc::channel();
    let machine = Gated { count: 0, gate: Arc::new(Mutex::new(gate)) };
    (DurableStorage::open(directory, "tests", NodeId(1), machine).unwrap(), sender)
}

async fn count(node: &Client<Gated>) -> u64 {
    loop {
        match node.write("x".into()).await {
            Err(ClientError::NotLeader { .. }) => tokio::task::yield_now().await,
            count => return count.unwrap(),
        }
    }
}

#[test]
fn a_snapshot_that_takes_long_delays_nothing_and_is_of_the_moment_it_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    actix::System::new().block_on(async {
        let (storage, gate) = open_gated(directory.path());
        let network = Router::new().port().start();
        let mut options = RaftOptions::new(NodeId(1), storage.start(), network);
        options.config = Config::builder().entries_kept(0).build().unwrap();
        let node = Raft::start(options).await.unwrap();
        node.initialize(vec![]).await.unwrap();
        assert_eq!(count(&node).await, 1);
        let taken = actix::spawn({
            let node = node.clone();
            async move { node.trigger_snapshot().await }
        });
        for n in 2..=100 {
            assert_eq!(count(&node).await, n);
        }
        assert!(!taken.is_finished());
        drop(gate);
        assert!(taken.await.unwrap().unwrap().index < Index(102));
        node.shutdown().await;
    });
    actix::System::new().block_on(async {
        let (storage, _gate) = open_gated(directory.path());
        let network = Router::new().port().start();
        let node =
            Raft::start(RaftOptions::new(NodeId(1), storage.start(), network)).await.unwrap();
        assert_eq!(count(&node).await, 101, "the snapshot, and the log after it");
        node.shutdown().await;
    });
}

#[test]
fn a_storage_that_ends_while_a_snapshot_is_written_leaves_its_directory_free() {
    let directory = tempfile::tempdir().unwrap();
    actix::System::new().block_on(async {
        let (storage, gate) = open_gated(directory.path());
        let network = Router::new().port().start();
        let node =
            Raft::start(RaftOptions::new(NodeId(1), storage.start(), network)).await.unwrap();
        node.initialize(vec![]).await.unwrap();
        assert_eq!(count(&node).await, 1);
        let taken = actix::spawn({
            let node = node.clone();
            async move { node.trigger_snapshot().await }
        });
        // It has begun.
        gate.send(()).unwrap();
        assert_eq!(count(&node).await, 2);
        node.shutdown().await;
        let taken = taken.await.unwrap();
        assert!(matches!(taken, Err(TriggerSnapshotError::Stopped { .. })), "{taken:?}");
        // The rest is let through, and is of no use.
        drop(gate);
    });
    let (storage, _gate) = open_gated(directory.path());
    assert_eq!(storage.stored().last_log.index, Index(3));
}

#[test]
fn a_node_whose_disk_is_nearly_full_takes_no_writes_until_it_has_room() {
    actix::System::new().block_on(async {
        let disk = CrashDisk::new();
        let identity = Identity { cluster_id: "tests".to_string(), node_id: NodeId(1) };
        let mut options = LogOptions::new(identity);
        (options.segment_bytes, options.low_space_bytes) = (1 << 16, 1 << 20);
        let on = Arc::new(disk.clone());
        let storage = DurableStorage::open_on(on, options, Journal::default()).unwrap();
        let network = Router::new().port().start();
        let node =
            Raft::start(RaftOptions::new(NodeId(1), storage.start(), network)).await.unwrap();
        node.initialize(vec![]).await.unwrap();
        write(&node, "x".to_string()).await;
        let is_full = async || node.metrics().await.unwrap().disk_is_full;

        disk.set_capacity(Some(disk.used_space() + (1 << 19)));
        support::until(is_full).await;
        assert_eq!(node.write("y".into()).await, Err(ClientError::DiskFull));
        node.read().await.unwrap();
        disk.set_capacity(Some(1 << 30));
        support::until(async || !is_full().await).await;
        assert_eq!(write(&node, "y".to_string()).await, 1);
        node.shutdown().await;
    });
}
