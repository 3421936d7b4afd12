//! One node that keeps its data on disk: run it twice with the same directory, and it goes on
//! where it stopped.

use std::convert::Infallible;
use std::io::{self, Read};

use actix::Actor;
use actix_raft::application::{Application, DecodeError, Snapshotting, StateMachine};
use actix_raft::durable::DurableStorage;
use actix_raft::messages::{ClientError, Index, NodeId};
use actix_raft::raft::{Raft, RaftOptions};
use actix_raft::testing::Router;
use bytes::Bytes;

/// Counts the greetings it was given.
#[derive(Default)]
struct Greetings(u64);

impl Application for Greetings {
    type Command = String;
    type Response = u64;
    type Rejection = Infallible;

    fn encode(greeting: String) -> Bytes {
        greeting.into()
    }

    fn decode(bytes: Bytes) -> Result<String, DecodeError> {
        Ok(String::from_utf8(bytes.into())?)
    }
}

impl StateMachine for Greetings {
    fn apply(&mut self, _: Index, _greeting: String) -> u64 {
        self.0 += 1;
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

/// Starts the node in this directory, greets once, and stops it; returns the count of greetings.
pub async fn greet(directory: &str) -> Result<u64, Box<dyn std::error::Error>> {
    let id = NodeId(1);
    let storage = DurableStorage::open(directory, "greetings", id, Greetings::default())?;
    let pristine = storage.stored().is_pristine();
    // A cluster of one has nobody to talk to.
    let network = Router::new().port().start();
    let node = Raft::start(RaftOptions::new(id, storage.start(), network)).await?;
    if pristine {
        node.initialize(vec![]).await?;
    }
    let count = loop {
        match node.write("hello".to_string()).await {
            // It has not elected itself yet.
            Err(ClientError::NotLeader { .. }) => tokio::task::yield_now().await,
            result => break result?,
        }
    };
    node.shutdown().await;
    Ok(count)
}

/// Runs the example.
#[actix::main]
pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: single_node DIRECTORY")?;
    println!("this directory was greeted {} times", greet(&directory).await?);
    Ok(())
}
