//! The seam to storage, from the side of the node.

mod support;

use std::sync::{Arc, Mutex};

use actix::{Actor, Context, Handler, MessageResult};
use actix_raft::messages::{Entry, Term};
use actix_raft::storage::{
    Apply, GetInitialState, ReadLog, Save, SaveLog, Storage, StorageError, StoredState,
};
use support::Journal;

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
