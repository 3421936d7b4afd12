//! Forming a cluster, looking inside, and what happens when storage fails.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Context, Handler, MessageResult};
use actix_raft::admin::InitWithConfigError;
use actix_raft::config::Config;
use actix_raft::messages::{Address, ClientError, EntryPayload, Index, NodeId, Term};
use actix_raft::metrics::{RaftMetrics, RaftState, RoleName};
use actix_raft::raft::{Raft, RaftOptions, StartError};
use actix_raft::storage::{
    Apply, BuildSnapshot, GetInitialState, InstallSnapshot, Outcome, ReadLog, ReadSnapshot,
    SaveLog, Snapshot, SnapshotChunk, StorageError, StoreSnapshotChunk, StoredState,
    WatchDiskSpace,
};
use actix_raft::testing::{MemoryStorage, Router};
use support::{Cluster, Journal, members, on_virtual_time, until};

#[test]
fn all_nodes_may_be_initialized_at_once_with_the_same_members() {
    on_virtual_time(async {
        let cluster = Cluster::start(3, Config::default()).await;
        let [a, b, c] = [0, 1, 2].map(|place| cluster.nodes[place].initialize(members(3)));
        let (a, b, c) = tokio::join!(a, b, c);
        assert_eq!((a, b, c), (Ok(()), Ok(()), Ok(())));
        let leader = cluster.leader().await;
        for node in &cluster.nodes {
            let metrics = async || node.metrics().await.unwrap();
            until(async || metrics().await.leader == Some(leader)).await;
            until(async || metrics().await.commit_index == Index(1)).await;
            let membership = metrics().await.membership.unwrap();
            assert_eq!(membership.voters().len(), 3);
            assert_eq!(membership.address(NodeId(2)).unwrap().rpc, "rpc-2");
        }
    });
}

#[test]
fn one_initialized_node_brings_in_the_others() {
    on_virtual_time(async {
        let cluster = Cluster::start(3, Config::default()).await;
        cluster.nodes[1].initialize(members(3)).await.unwrap();
        assert_eq!(cluster.leader().await, NodeId(2));
        for node in &cluster.nodes {
            until(async || node.metrics().await.unwrap().membership.is_some()).await;
            let refused = node.initialize(members(3)).await;
            assert_eq!(refused, Err(InitWithConfigError::AlreadyInitialized));
        }
    });
}

#[test]
fn the_node_itself_is_added_and_members_named_twice_count_once() {
    on_virtual_time(async {
        let cluster = Cluster::start(3, Config::default()).await;
        let other = |id, rpc: &str| (NodeId(id), Address::new(rpc, ""));
        let given = vec![other(2, "old"), other(3, "three"), other(2, "two")];
        cluster.nodes[0].initialize(given).await.unwrap();
        let membership = cluster.nodes[0].metrics().await.unwrap().membership.unwrap();
        assert_eq!(Vec::from_iter(membership.voters().iter().copied()), [1, 2, 3].map(NodeId));
        assert_eq!(membership.address(NodeId(2)).unwrap().rpc, "two");
        cluster.leader().await;
    });
}

/// Keeps all the metrics it is shown.
struct Watcher(Rc<RefCell<Vec<RaftMetrics>>>);

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<RaftMetrics> for Watcher {
    type Result = ();

    fn handle(&mut self, metrics: RaftMetrics, _: &mut Context<Self>) {
        self.0.borrow_mut().push(metrics);
    }
}

#[test]
fn metrics_are_shown_at_once_when_the_role_changes_and_at_their_rate_otherwise() {
    on_virtual_time(async {
        let shown: Rc<RefCell<Vec<RaftMetrics>>> = Rc::default();
        let storage = MemoryStorage::new(Journal::default()).start();
        let mut options = RaftOptions::new(NodeId(1), storage, Router::new().port().start());
        options.metrics = Some(Watcher(Rc::clone(&shown)).start().recipient());
        options.config = Config::builder().metrics_rate(Duration::from_secs(60)).build().unwrap();
        let node = Raft::start(options).await.unwrap();
        node.initialize(vec![]).await.unwrap();
        until(async || node.write("x".into()).await.is_ok()).await;
        let roles = |shown: &[RaftMetrics]| -> Vec<RaftState> {
            shown.iter().map(|metrics| metrics.state.clone()).collect()
        };
        let role = RaftState::Running;
        assert_eq!(roles(&shown.borrow())[0], role(RoleName::NonVoter));
        assert_eq!(roles(&shown.borrow()).last(), Some(&role(RoleName::Leader)));

        let before = shown.borrow().len();
        for _ in 0..100 {
            node.write("y".into()).await.unwrap();
        }
        assert_eq!(shown.borrow().len(), before, "more entries are no news");
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(shown.borrow().len(), before + 1);
        assert_eq!(shown.borrow()[before].last_applied, Index(102));

        node.shutdown().await;
        assert!(matches!(shown.borrow().last().unwrap().state, RaftState::Stopped { .. }));
    });
}

/// A storage of one's own, that may fail.
#[derive(Default)]
struct Failing {
    stored: StoredState,
    saves: usize,
    fails_from: usize,
    start_fails: bool,
}

impl Actor for Failing {
    type Context = Context<Self>;
}

impl Handler<GetInitialState> for Failing {
    type Result = Result<StoredState, StorageError>;

    fn handle(&mut self, _: GetInitialState, _: &mut Context<Self>) -> Self::Result {
        if self.start_fails {
            return Err(StorageError::new("no such disk"));
        }
        Ok(self.stored.clone())
    }
}

impl Handler<SaveLog> for Failing {
    type Result = Result<(), StorageError>;

    fn handle(&mut self, _: SaveLog, _: &mut Context<Self>) -> Self::Result {
        self.saves += 1;
        if self.saves >= self.fails_from {
            return Err(StorageError::new("fsync: input/output error"));
        }
        Ok(())
    }
}

impl Handler<ReadLog> for Failing {
    type Result = Result<Vec<actix_raft::messages::Entry>, StorageError>;

    fn handle(&mut self, _: ReadLog, _: &mut Context<Self>) -> Self::Result {
        Err(StorageError::new("nothing is kept"))
    }
}

without_snapshots!(Failing);

impl Handler<Apply<Journal>> for Failing {
    type Result = MessageResult<Apply<Journal>>;

    fn handle(&mut self, apply: Apply<Journal>, _: &mut Context<Self>) -> Self::Result {
        let commands = apply.entries.iter().filter_map(|entry| match &entry.payload {
            EntryPayload::Normal(command) => Some(Outcome::Response((0, command.clone()))),
            EntryPayload::Blank | EntryPayload::ConfigChange(_) => None,
        });
        MessageResult(Ok(commands.collect()))
    }
}

#[test]
fn a_node_whose_storage_fails_stops_says_why_and_acknowledges_nothing_more() {
    on_virtual_time(async {
        // The first save is the configuration, the second the vote, the third the first entry.
        let storage = Failing { fails_from: 4, ..Failing::default() }.start();
        let mut cluster = Cluster::empty();
        cluster.add(1, storage, Config::default()).await;
        let node = cluster.nodes[0].clone();
        node.initialize(vec![]).await.unwrap();
        cluster.leader().await;

        let write = node.write("x".into()).await;
        let Err(ClientError::OutcomeUnknown { reason }) = write else { panic!("{write:?}") };
        assert!(reason.contains("fsync: input/output error"), "{reason}");
        let metrics = node.metrics().await.unwrap();
        assert_eq!(metrics.state, RaftState::Stopped { reason });
        assert_eq!((metrics.commit_index, metrics.current_term), (Index(1), Term(1)));
        assert!(matches!(node.write("y".into()).await, Err(ClientError::Stopped { .. })));
        assert!(matches!(node.read().await, Err(ClientError::Stopped { .. })));
        let refused = node.initialize(vec![]).await;
        assert!(matches!(refused, Err(InitWithConfigError::Stopped { .. })));
    });
}

#[test]
fn a_follower_whose_storage_fails_stops_and_the_others_go_on() {
    on_virtual_time(async {
        let mut cluster = Cluster::start(2, Config::default()).await;
        let storage = Failing { fails_from: 6, ..Failing::default() }.start();
        cluster.add(3, storage, Config::default()).await;
        cluster.nodes[0].initialize(members(3)).await.unwrap();
        until(async || {
            for node in &cluster.nodes {
                let _ = node.write("x".into()).await;
            }
            matches!(cluster.metrics(NodeId(3)).await.state, RaftState::Stopped { .. })
        })
        .await;
        let id = cluster.leader().await;
        cluster.node(id).write("y".into()).await.unwrap();
    });
}

#[test]
fn a_node_does_not_start_on_a_storage_that_cannot_say_what_it_holds() {
    on_virtual_time(async {
        let storage = Failing { start_fails: true, ..Failing::default() }.start();
        let options: RaftOptions<Journal> =
            RaftOptions::new(NodeId(1), storage, Router::new().port().start());
        let refused = Raft::start(options).await.err();
        let Some(StartError::Storage(error)) = refused else { panic!("{refused:?}") };
        assert_eq!(error.to_string(), "no such disk");
    });
}
