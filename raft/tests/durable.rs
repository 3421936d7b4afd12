//! Nodes on disks of their own.

#![cfg(feature = "durable")]

mod support;

use std::path::Path;

use actix::Actor;
use actix_raft::client::Client;
use actix_raft::config::Config;
use actix_raft::durable::DurableStorage;
use actix_raft::messages::{ClientError, NodeId};
use actix_raft::raft::{Raft, RaftOptions};
use actix_raft::testing::Router;
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
