//! Snapshots, and the log that they shorten.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::{Actor, Addr, Context, Handler, Message, MessageResult, ResponseFuture};
use actix_raft::admin::{PurgeLogError, SnapshotPolicy, TriggerSnapshotError};
use actix_raft::config::Config;
use actix_raft::messages::{Entry, Index, NodeId};
use actix_raft::metrics::{PaceName, RaftState, RoleName};
use actix_raft::storage::{
    Apply, BuildSnapshot, DiskSpace, GetInitialState, InstallSnapshot, ReadLog, ReadSnapshot,
    SaveLog, StorageError, StoreSnapshotChunk, StoredState, WatchDiskSpace,
};
use actix_raft::testing::MemoryStorage;
use support::{Cluster, Journal, members, on_virtual_time, until};

const NEVER: SnapshotPolicy = SnapshotPolicy { entries: None, bytes: None, interval: None };

async fn write(cluster: &Cluster, leader: NodeId, commands: std::ops::Range<usize>) {
    for n in commands {
        let answer = cluster.node(leader).write(format!("command {n}").into()).await.unwrap();
        assert_eq!(answer, (n, format!("command {n}").into()));
    }
}

#[test]
fn a_snapshot_on_demand_lets_the_log_be_purged() {
    on_virtual_time(async {
        let cluster = Cluster::formed(1).await;
        let node = &cluster.nodes[0];
        write(&cluster, NodeId(1), 0..10).await;
        let refused = node.purge_log(Some(Index(5))).await;
        assert_eq!(refused, Err(PurgeLogError::NotInSnapshot(Index(0))));

        let taken = node.trigger_snapshot().await.unwrap();
        let metrics = node.metrics().await.unwrap();
        assert_eq!((taken.index, metrics.snapshot), (Index(11), taken));
        assert_eq!(metrics.purged.index, Index(0), "entries are kept for slow followers");
        let nothing_new = node.trigger_snapshot().await;
        assert_eq!(nothing_new, Err(TriggerSnapshotError::NothingNew(taken)));

        assert_eq!(node.purge_log(Some(Index(5))).await.unwrap().index, Index(5));
        assert_eq!(node.purge_log(None).await.unwrap(), taken);
        assert_eq!(node.metrics().await.unwrap().purged, taken);
        let refused = node.purge_log(Some(Index(12))).await;
        assert_eq!(refused, Err(PurgeLogError::NotInSnapshot(Index(11))));
        write(&cluster, NodeId(1), 10..20).await;
    });
}

#[test]
fn a_follower_that_lacks_what_is_purged_receives_a_snapshot_in_pieces() {
    on_virtual_time(async {
        let policy = SnapshotPolicy { entries: Some(50), ..NEVER };
        let config = Config::builder().snapshot_policy(policy).entries_kept(5);
        let config = config.snapshot_chunk_bytes(64).build().unwrap();
        let cluster = Cluster::start(3, config).await;
        cluster.nodes[0].initialize(members(3)).await.unwrap();
        let (leader, follower) = (cluster.leader().await, cluster.follower().await);
        cluster.router.isolate(follower);
        write(&cluster, leader, 0..120).await;
        let metrics = cluster.metrics(leader).await;
        assert_eq!((metrics.snapshot.index, metrics.purged.index), (Index(100), Index(95)));

        cluster.router.heal();
        until(async || cluster.metrics(follower).await.last_applied == Index(121)).await;
        assert_eq!(cluster.metrics(follower).await.snapshot.index, Index(100));
        // Its state is the leader's: it answers as the leader would.
        cluster.node(leader).transfer_leadership(Some(follower)).await.unwrap();
        write(&cluster, follower, 120..130).await;
    });
}

#[test]
fn without_snapshots_nothing_is_purged_and_whoever_asks_is_told() {
    on_virtual_time(async {
        let mut cluster = Cluster::start(0, Config::default()).await;
        let storage = Troubled::new(Trouble::TakesNone).start();
        cluster.add(1, storage, Config::default()).await;
        cluster.nodes[0].initialize(vec![]).await.unwrap();
        cluster.leader().await;
        write(&cluster, NodeId(1), 0..3).await;
        let refused = cluster.nodes[0].trigger_snapshot().await;
        assert_eq!(refused, Err(TriggerSnapshotError::Unsupported));
    });
}

#[test]
fn a_snapshot_that_cannot_be_written_stops_nothing_and_is_tried_again() {
    on_virtual_time(async {
        let mut cluster = Cluster::start(0, Config::default()).await;
        let storage = Troubled::new(Trouble::DiskIsFull);
        let is_troubled = Arc::clone(&storage.is_troubled);
        cluster.add(1, storage.start(), Config::default()).await;
        cluster.nodes[0].initialize(vec![]).await.unwrap();
        cluster.leader().await;
        write(&cluster, NodeId(1), 0..3).await;
        let refused = cluster.nodes[0].trigger_snapshot().await;
        let Err(TriggerSnapshotError::Failed { reason }) = refused else { panic!("{refused:?}") };
        assert_eq!(&*reason, "no space left on device");
        write(&cluster, NodeId(1), 3..6).await;
        is_troubled.store(false, Ordering::Relaxed);
        assert_eq!(cluster.nodes[0].trigger_snapshot().await.unwrap().index, Index(7));
    });
}

#[test]
fn a_follower_whose_disk_is_full_asks_again_until_it_has_room() {
    on_virtual_time(async {
        let policy = SnapshotPolicy { entries: Some(10), ..NEVER };
        let config = Config::builder().snapshot_policy(policy).entries_kept(0).build().unwrap();
        let mut cluster = Cluster::start(2, config.clone()).await;
        let storage = Troubled::new(Trouble::DiskIsFull);
        let is_troubled = Arc::clone(&storage.is_troubled);
        cluster.add(3, storage.start(), config).await;
        cluster.router.isolate(NodeId(3));
        cluster.nodes[0].initialize(members(3)).await.unwrap();
        let leader = cluster.leader().await;
        write(&cluster, leader, 0..30).await;
        cluster.router.heal();
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        let metrics = cluster.metrics(NodeId(3)).await;
        assert_eq!(metrics.state, RaftState::Running(RoleName::NonVoter), "it knows no cluster");
        assert_eq!(metrics.last_applied, Index(0));
        is_troubled.store(false, Ordering::Relaxed);
        until(async || cluster.metrics(NodeId(3)).await.last_applied == Index(31)).await;
    });
}

#[test]
fn a_leader_whose_disk_is_nearly_full_lets_another_lead() {
    on_virtual_time(async {
        let mut cluster = Cluster::start(2, Config::default()).await;
        let storage = Troubled::new(Trouble::DiskIsFull);
        let watcher = Arc::clone(&storage.watcher);
        cluster.add(3, storage.start(), Config::default()).await;
        cluster.nodes[2].initialize(members(3)).await.unwrap();
        until(async || cluster.metrics(NodeId(3)).await.is_leader()).await;
        write(&cluster, NodeId(3), 0..1).await;
        let watcher = watcher.lock().unwrap().clone().unwrap();
        watcher.do_send(DiskSpace { low: true });
        until(async || {
            let metrics = cluster.metrics(NodeId(3)).await;
            metrics.disk_is_full && !metrics.is_leader()
        })
        .await;
        let leader = cluster.leader().await;
        assert_ne!(leader, NodeId(3));
        write(&cluster, leader, 1..2).await;
        watcher.do_send(DiskSpace { low: false });
        until(async || !cluster.metrics(NodeId(3)).await.disk_is_full).await;
    });
}

#[test]
fn metrics_tell_how_far_a_snapshot_is_on_its_way() {
    on_virtual_time(async {
        let policy = SnapshotPolicy { entries: Some(50), ..NEVER };
        let config = Config::builder().snapshot_policy(policy).entries_kept(0);
        let config = config.snapshot_chunk_bytes(16).snapshot_bytes_per_second(Some(1000));
        let cluster = Cluster::start(3, config.build().unwrap()).await;
        cluster.nodes[0].initialize(members(3)).await.unwrap();
        let (leader, follower) = (cluster.leader().await, cluster.follower().await);
        cluster.router.isolate(follower);
        write(&cluster, leader, 0..60).await;
        cluster.router.heal();
        let seen = std::cell::Cell::new(0);
        until(async || {
            let metrics = cluster.metrics(leader).await;
            let peer = metrics.peers.iter().find(|peer| peer.id == follower).unwrap();
            if let PaceName::Snapshot { received, size } = peer.pace
                && received > 0
            {
                assert!(received <= size, "{peer:?}");
                seen.set(seen.get() + 1);
            }
            cluster.metrics(follower).await.snapshot == metrics.snapshot
        })
        .await;
        assert!(seen.get() > 10, "seen {} times", seen.get());
    });
}

/// What is wrong with a storage.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    TakesNone,
    DiskIsFull,
}

/// A storage whose snapshots are in trouble, for as long as it is told so.
struct Troubled {
    storage: Addr<MemoryStorage<Journal>>,
    trouble: Trouble,
    is_troubled: Arc<AtomicBool>,
    watcher: Arc<std::sync::Mutex<Option<actix::Recipient<DiskSpace>>>>,
}

impl Troubled {
    fn new(trouble: Trouble) -> Troubled {
        Troubled {
            storage: MemoryStorage::new(Journal::default()).start(),
            trouble,
            is_troubled: Arc::new(AtomicBool::new(true)),
            watcher: Arc::default(),
        }
    }

    fn is_troubled(&self) -> bool {
        self.is_troubled.load(Ordering::Relaxed)
    }

    fn full<T>() -> Result<T, StorageError> {
        Err(StorageError::new("no space left on device"))
    }

    fn pass_on<M>(&self, message: M) -> ResponseFuture<M::Result>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        MemoryStorage<Journal>: Handler<M>,
    {
        let answer = self.storage.send(message);
        Box::pin(async { answer.await.unwrap() })
    }
}

impl Actor for Troubled {
    type Context = Context<Self>;
}

impl Handler<GetInitialState> for Troubled {
    type Result = ResponseFuture<Result<StoredState, StorageError>>;

    fn handle(&mut self, get: GetInitialState, _: &mut Context<Self>) -> Self::Result {
        self.pass_on(get)
    }
}

impl Handler<SaveLog> for Troubled {
    type Result = ResponseFuture<Result<(), StorageError>>;

    fn handle(&mut self, save: SaveLog, _: &mut Context<Self>) -> Self::Result {
        self.pass_on(save)
    }
}

impl Handler<ReadLog> for Troubled {
    type Result = ResponseFuture<Result<Vec<Entry>, StorageError>>;

    fn handle(&mut self, read: ReadLog, _: &mut Context<Self>) -> Self::Result {
        self.pass_on(read)
    }
}

impl Handler<Apply<Journal>> for Troubled {
    type Result = ResponseFuture<<Apply<Journal> as Message>::Result>;

    fn handle(&mut self, apply: Apply<Journal>, _: &mut Context<Self>) -> Self::Result {
        self.pass_on(apply)
    }
}

impl Handler<BuildSnapshot> for Troubled {
    type Result = ResponseFuture<<BuildSnapshot as Message>::Result>;

    fn handle(&mut self, build: BuildSnapshot, _: &mut Context<Self>) -> Self::Result {
        match self.trouble {
            Trouble::TakesNone => Box::pin(async { Ok(None) }),
            Trouble::DiskIsFull if self.is_troubled() => Box::pin(async { Troubled::full() }),
            Trouble::DiskIsFull => self.pass_on(build),
        }
    }
}

impl Handler<ReadSnapshot> for Troubled {
    type Result = ResponseFuture<<ReadSnapshot as Message>::Result>;

    fn handle(&mut self, read: ReadSnapshot, _: &mut Context<Self>) -> Self::Result {
        self.pass_on(read)
    }
}

impl Handler<StoreSnapshotChunk> for Troubled {
    type Result = ResponseFuture<<StoreSnapshotChunk as Message>::Result>;

    fn handle(&mut self, store: StoreSnapshotChunk, _: &mut Context<Self>) -> Self::Result {
        if self.is_troubled() {
            return Box::pin(async { Troubled::full() });
        }
        self.pass_on(store)
    }
}

impl Handler<InstallSnapshot> for Troubled {
    type Result = ResponseFuture<<InstallSnapshot as Message>::Result>;

    fn handle(&mut self, install: InstallSnapshot, _: &mut Context<Self>) -> Self::Result {
        self.pass_on(install)
    }
}

impl Handler<WatchDiskSpace> for Troubled {
    type Result = MessageResult<WatchDiskSpace>;

    fn handle(&mut self, watch: WatchDiskSpace, _: &mut Context<Self>) -> Self::Result {
        *self.watcher.lock().unwrap() = Some(watch.watcher);
        MessageResult(())
    }
}
