//! A cluster of nodes in one thread, on a virtual clock.

#![allow(dead_code)] // Each test file uses a part of it.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, Read};
use std::time::Duration;

use actix::Actor;
use actix_raft::application::{Application, DecodeError, Snapshotting, StateMachine};
use actix_raft::client::Client;
use actix_raft::config::Config;
use actix_raft::messages::{Address, Index, NodeId};
use actix_raft::metrics::RaftMetrics;
use actix_raft::raft::{Raft, RaftOptions};
use actix_raft::storage::Storage;
use actix_raft::testing::{MemoryStorage, Router};
use actix_raft::validation::Validator;
use bytes::{Buf, Bytes};

/// A state machine that keeps all it is given: the response is the number of commands before, and
/// the command.
#[derive(Default)]
pub struct Journal(Vec<Bytes>);

impl Application for Journal {
    type Command = Bytes;
    type Response = (usize, Bytes);
    type Rejection = Infallible;

    fn encode(command: Bytes) -> Bytes {
        command
    }

    fn decode(bytes: Bytes) -> Result<Bytes, DecodeError> {
        if bytes == "not a command" { Err("it says so".into()) } else { Ok(bytes) }
    }
}

impl StateMachine for Journal {
    fn apply(&mut self, _: Index, command: Bytes) -> (usize, Bytes) {
        self.0.push(command.clone());
        (self.0.len() - 1, command)
    }

    fn snapshot(&self) -> Option<Snapshotting> {
        let commands = self.0.clone();
        Some(Box::new(move |to| {
            commands.iter().try_for_each(|command| {
                to.write_all(&(command.len() as u32).to_le_bytes())?;
                to.write_all(command)
            })
        }))
    }

    fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        let mut bytes = Bytes::from(bytes);
        self.0.clear();
        while !bytes.is_empty() {
            let length = bytes.get_u32_le() as usize;
            self.0.push(bytes.split_to(length));
        }
        Ok(())
    }
}

/// Runs a test on a virtual clock: whenever everything waits, the clock moves to the next timer.
pub fn on_virtual_time(test: impl Future<Output = ()>) {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        // Without a thread that could be waited for, nothing but the virtual clock moves a test.
        builder.enable_all().start_paused(true).build().unwrap()
    };
    actix::System::with_tokio_rt(runtime).block_on(async {
        tokio::time::timeout(Duration::from_secs(600), test).await.expect("ten virtual minutes");
    });
}

/// Waits, in virtual time, until a condition holds.
pub async fn until<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    while !condition().await {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Nodes that talk through a router.
pub struct Cluster<A: Application = Journal> {
    pub router: Router,
    pub nodes: Vec<Client<A>>,
}

impl Cluster {
    /// Nodes 1 to `size`, not initialized.
    pub async fn start(size: u64, config: Config) -> Cluster {
        let mut cluster = Cluster { router: Router::new(), nodes: Vec::new() };
        for id in 1..=size {
            let storage = MemoryStorage::new(Journal::default()).start();
            cluster.add(id, storage, config.clone()).await;
        }
        cluster
    }

    /// A formed cluster with a leader.
    pub async fn formed(size: u64) -> Cluster {
        let cluster = Cluster::start(size, Config::default()).await;
        for node in &cluster.nodes {
            node.initialize(members(size)).await.unwrap();
        }
        cluster.leader().await;
        cluster
    }
}

impl<A: Application> Cluster<A> {
    pub fn empty() -> Cluster<A> {
        Cluster { router: Router::new(), nodes: Vec::new() }
    }

    /// Nodes 1 to `size`, initialized, and a leader.
    pub async fn formed_of(
        size: u64,
        config: Config,
        state_machine: impl Fn() -> A,
        validator: impl Fn() -> Option<Box<dyn Validator<A>>>,
    ) -> Cluster<A>
    where
        A: StateMachine + Unpin,
    {
        let mut cluster = Cluster::empty();
        for id in 1..=size {
            let storage = MemoryStorage::new(state_machine()).start();
            let mut options = RaftOptions::new(NodeId(id), storage, cluster.router.port().start());
            options.config = config.clone();
            options.validator = validator();
            cluster.add_with(options).await;
        }
        for node in &cluster.nodes {
            node.initialize(members(size)).await.unwrap();
        }
        cluster.leader().await;
        cluster
    }

    pub async fn add(&mut self, id: u64, storage: impl Into<Storage<A>>, config: Config) {
        let mut options = RaftOptions::new(NodeId(id), storage, self.router.port().start());
        options.config = config;
        self.add_with(options).await;
    }

    pub async fn add_with(&mut self, options: RaftOptions<A>) {
        let id = options.id;
        let node = Raft::start(options).await.unwrap();
        self.router.attach(id, &node);
        self.nodes.push(node);
    }

    /// Some voter that does not lead.
    pub async fn follower(&self) -> NodeId {
        let leader = self.leader().await;
        let membership = self.metrics(leader).await.membership.unwrap();
        membership.voters().iter().copied().find(|id| *id != leader).unwrap()
    }

    pub fn node(&self, id: NodeId) -> &Client<A> {
        &self.nodes[id.0 as usize - 1]
    }

    pub async fn metrics(&self, id: NodeId) -> RaftMetrics {
        self.node(id).metrics().await.unwrap()
    }

    /// Waits for a leader that has committed in its term, of the latest term if there are two.
    pub async fn leader(&self) -> NodeId {
        self.leader_after(0).await
    }

    /// The same, of a later term than this.
    pub async fn leader_after(&self, term: u64) -> NodeId {
        loop {
            for node in &self.nodes {
                let Some(metrics) = node.metrics().await else { continue };
                let ready = metrics.commit_index == metrics.last_log_index;
                if metrics.is_leader() && metrics.current_term.0 > term && ready {
                    return metrics.id;
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Handlers of an actor that takes no snapshots and looks at no disk.
#[macro_export]
macro_rules! without_snapshots {
    ($storage:ty) => {
        impl actix::Handler<actix_raft::storage::BuildSnapshot> for $storage {
            type Result = Result<Option<Snapshot>, StorageError>;

            fn handle(&mut self, _: BuildSnapshot, _: &mut Context<Self>) -> Self::Result {
                Ok(None)
            }
        }
        impl actix::Handler<ReadSnapshot> for $storage {
            type Result = Result<Option<SnapshotChunk>, StorageError>;

            fn handle(&mut self, _: ReadSnapshot, _: &mut Context<Self>) -> Self::Result {
                Ok(None)
            }
        }
        impl actix::Handler<StoreSnapshotChunk> for $storage {
            type Result = Result<u64, StorageError>;

            fn handle(&mut self, _: StoreSnapshotChunk, _: &mut Context<Self>) -> Self::Result {
                Ok(0)
            }
        }
        impl actix::Handler<InstallSnapshot> for $storage {
            type Result = Result<bool, StorageError>;

            fn handle(&mut self, _: InstallSnapshot, _: &mut Context<Self>) -> Self::Result {
                Ok(false)
            }
        }
        impl actix::Handler<WatchDiskSpace> for $storage {
            type Result = ();

            fn handle(&mut self, _: WatchDiskSpace, _: &mut Context<Self>) {}
        }
    };
}

pub fn members(size: u64) -> Vec<(NodeId, Address)> {
    let address = |id| Address::new(format!("rpc-{id}"), format!("http-{id}"));
    (1..=size).map(|id| (NodeId(id), address(id))).collect()
}
