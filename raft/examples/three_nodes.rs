//! Three nodes in one process replicate a counter; one is cut off, and the others go on.

use std::convert::Infallible;
use std::io::{self, Read};
use std::time::Duration;

use actix::Actor;
use actix_raft::application::{Application, DecodeError, Snapshotting, StateMachine};
use actix_raft::client::Client;
use actix_raft::messages::{Address, ClientError, Index, NodeId};
use actix_raft::raft::{Raft, RaftOptions};
use actix_raft::testing::{MemoryStorage, Router};
use bytes::Bytes;

/// Counts what it is told to add.
#[derive(Default)]
struct Counter(u64);

impl Application for Counter {
    type Command = u64;
    type Response = u64;
    type Rejection = Infallible;

    fn encode(addend: u64) -> Bytes {
        Bytes::copy_from_slice(&addend.to_le_bytes())
    }

    fn decode(bytes: Bytes) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(bytes.as_ref().try_into()?))
    }
}

impl StateMachine for Counter {
    fn apply(&mut self, _: Index, addend: u64) -> u64 {
        self.0 += addend;
        self.0
    }

    fn snapshot(&self) -> Option<Snapshotting> {
        let count = self.0;
        Some(Box::new(move |to| to.write_all(&count.to_le_bytes())))
    }

    fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let mut count = [0; 8];
        from.read_exact(&mut count)?;
        self.0 = u64::from_le_bytes(count);
        Ok(())
    }
}

/// Writes through whichever node leads. Adding twice would be wrong, so only what was surely not
/// done is tried again.
async fn add(nodes: &[Client<Counter>], addend: u64) -> Result<u64, ClientError> {
    loop {
        for node in nodes {
            match node.write(addend).await {
                Err(ClientError::NotLeader { .. }) => {}
                result => return result,
            }
        }
        // There is no leader yet.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs the example.
#[actix::main]
pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let router = Router::new();
    let members: Vec<(NodeId, Address)> =
        (1..=3).map(|id| (NodeId(id), Address::default())).collect();
    let mut nodes = Vec::new();
    for (id, _) in &members {
        let storage = MemoryStorage::new(Counter::default()).start();
        let network = router.port().start();
        let node = Raft::start(RaftOptions::new(*id, storage, network)).await?;
        router.attach(*id, &node);
        nodes.push(node);
    }
    for node in &nodes {
        node.initialize(members.clone()).await?;
    }

    for _ in 0..10 {
        add(&nodes, 1).await?;
    }
    println!("counted to {}", add(&nodes, 0).await?);

    let mut leader = None;
    for (place, node) in nodes.iter().enumerate() {
        if node.metrics().await.is_some_and(|metrics| metrics.is_leader()) {
            leader = Some(place);
        }
    }
    let leader = leader.ok_or("there is no leader")?;
    router.isolate(members[leader].0);
    println!("node {} led and is cut off", members[leader].0);
    nodes.remove(leader);
    let count = add(&nodes, 1).await?;
    println!("the others counted to {count}");
    assert_eq!(count, 11);
    Ok(())
}
