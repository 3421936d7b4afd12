//! The seam to storage, from the side of the node.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, MessageResult, ResponseFuture};
use actix_raft::messages::{Entry, Term};
use actix_raft::storage::{
    Apply, BuildSnapshot, GetInitialState, InstallSnapshot, ReadLog, ReadSnapshot, Save, SaveLog,
    Snapshot, SnapshotChunk, Storage, StorageError, StoreSnapshotChunk, StoredState,
    WatchDiskSpace,
};
use actix_raft::testing::MemoryStorage;
use support::{Cluster, Journal, on_virtual_time, until};
use tokio::sync::watch;

/// A storage that notes in which order saves come, and does nothing else.
#[derive(Default)]
struct Notes(Arc<Mutex<Vec<Term>>>);

impl Actor for Notes {
    type Context = Context<Notes>;
}

impl Handler<GetInitialState> for Notes {
    type Result = Result<StoredState, StorageError>;

    fn handle(&mut self, _: GetInitialState, _: &mut Context<Self>) -> Self::Result {
        Ok(StoredState::default())
    }
}

impl Handler<SaveLog> for Notes {
    type Result = Result<(), StorageError>;

    fn handle(&mut self, SaveLog { save }: SaveLog, _: &mut Context<Self>) -> Self::Result {
        let hard_state = save.hard_state.unwrap_or_default();
        self.0.lock().unwrap().push(hard_state.current_term);
        Ok(())
    }
}

impl Handler<ReadLog> for Notes {
    type Result = Result<Vec<Entry>, StorageError>;

    fn handle(&mut self, _: ReadLog, _: &mut Context<Self>) -> Self::Result {
        Ok(Vec::new())
    }
}

without_snapshots!(Notes);

impl Handler<Apply<Journal>> for Notes {
    type Result = MessageResult<Apply<Journal>>;

    fn handle(&mut self, _: Apply<Journal>, _: &mut Context<Self>) -> Self::Result {
        MessageResult(Ok(Vec::new()))
    }
}

#[actix::test]
async fn saves_do_not_overtake_each_other_when_the_mailbox_is_full() {
    let notes = Notes::default();
    let found = Arc::clone(&notes.0);
    let storage: Storage<Journal> = notes.start().into();
    let vote = |term| {
        let mut save = Save::default();
        save.hard_state.get_or_insert_default().current_term = Term(term);
        save
    };
    // Far more than a mailbox holds; and whoever waits for the answers asks for the last one first,
    // as the context of an actor may.
    let sent: Vec<_> = (1..=100).map(|term| storage.save(vote(term))).collect();
    for answer in sent.into_iter().rev() {
        answer.await.unwrap().unwrap();
    }
    let expected: Vec<Term> = (1..=100).map(Term).collect();
    assert_eq!(*found.lock().unwrap(), expected);
}

/// A storage that keeps the answer to the first save after it is told to, and no other.
struct OneLate {
    storage: Addr<MemoryStorage<Journal>>,
    keep: Arc<Mutex<bool>>,
    release: watch::Receiver<bool>,
}

impl Actor for OneLate {
    type Context = Context<OneLate>;
}

impl Handler<SaveLog> for OneLate {
    type Result = ResponseFuture<Result<(), StorageError>>;

    fn handle(&mut self, save: SaveLog, _: &mut Context<Self>) -> Self::Result {
        let (saved, mut release) = (self.storage.send(save), self.release.clone());
        let late = std::mem::take(&mut *self.keep.lock().unwrap());
        Box::pin(async move {
            let saved = saved.await.unwrap();
            if late {
                release.wait_for(|released| *released).await.unwrap();
            }
            saved
        })
    }
}

impl Handler<GetInitialState> for OneLate {
    type Result = ResponseFuture<Result<StoredState, StorageError>>;

    fn handle(&mut self, get: GetInitialState, _: &mut Context<Self>) -> Self::Result {
        let answer = self.storage.send(get);
        Box::pin(async { answer.await.unwrap() })
    }
}

impl Handler<ReadLog> for OneLate {
    type Result = ResponseFuture<Result<Vec<Entry>, StorageError>>;

    fn handle(&mut self, read: ReadLog, _: &mut Context<Self>) -> Self::Result {
        let answer = self.storage.send(read);
        Box::pin(async { answer.await.unwrap() })
    }
}

without_snapshots!(OneLate);

impl Handler<Apply<Journal>> for OneLate {
    type Result = ResponseFuture<<Apply<Journal> as actix::Message>::Result>;

    fn handle(&mut self, apply: Apply<Journal>, _: &mut Context<Self>) -> Self::Result {
        let answer = self.storage.send(apply);
        Box::pin(async { answer.await.unwrap() })
    }
}

#[test]
fn a_save_counts_when_all_before_it_are_answered_too() {
    on_virtual_time(async {
        let (released, release) = watch::channel(false);
        let keep = Arc::new(Mutex::new(false));
        let storage = MemoryStorage::new(Journal::default()).start();
        let storage = OneLate { storage, keep: Arc::clone(&keep), release }.start();
        let mut cluster = Cluster::start(0, Default::default()).await;
        cluster.add(1, storage, Default::default()).await;
        let node = cluster.nodes[0].clone();
        node.initialize(vec![]).await.unwrap();
        cluster.leader().await;

        *keep.lock().unwrap() = true;
        let first = actix::spawn({
            let node = node.clone();
            async move { node.write("first".into()).await }
        });
        until(async || !*keep.lock().unwrap()).await;
        let second = actix::spawn(async move { node.write("second".into()).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!first.is_finished() && !second.is_finished(), "the first is not on disk");

        released.send_replace(true);
        assert_eq!(first.await.unwrap().unwrap(), (0, "first".into()));
        assert_eq!(second.await.unwrap().unwrap(), (1, "second".into()));
    });
}
