//! A storage in memory.

use actix::{Actor, Context, Handler, MessageResult};

use crate::application::StateMachine;
use crate::apply::apply_all;
use crate::messages::{Entry, Index};
use crate::storage::{Apply, GetInitialState, ReadLog, SaveLog, StorageError, StoredState};

/// A log and a state machine in memory. It is lost with the actor, so a node on it must never be
/// restarted under its id: it would forget its votes.
pub struct MemoryStorage<M> {
    stored: StoredState,
    log: Vec<Entry>,
    state_machine: M,
}

impl<M: StateMachine> MemoryStorage<M> {
    /// An empty log, and a state machine that nothing was applied to.
    #[must_use]
    pub fn new(state_machine: M) -> MemoryStorage<M> {
        MemoryStorage { stored: StoredState::default(), log: Vec::new(), state_machine }
    }

    /// The log from this place on; the first entry has index 1.
    fn place(index: Index) -> usize {
        index.prev().0 as usize
    }
}

impl<M: StateMachine + Unpin> Actor for MemoryStorage<M> {
    type Context = Context<Self>;
}

impl<M: StateMachine + Unpin> Handler<GetInitialState> for MemoryStorage<M> {
    type Result = Result<StoredState, StorageError>;

    fn handle(&mut self, _: GetInitialState, _: &mut Context<Self>) -> Self::Result {
        Ok(self.stored.clone())
    }
}

impl<M: StateMachine + Unpin> Handler<SaveLog> for MemoryStorage<M> {
    type Result = Result<(), StorageError>;

    fn handle(&mut self, SaveLog { save }: SaveLog, _: &mut Context<Self>) -> Self::Result {
        if let Some(hard_state) = save.hard_state {
            self.stored.hard_state = hard_state;
        }
        if let Some(base) = save.base {
            self.stored.note_base(base);
        }
        for run in save.entries {
            if let Some(first) = run.first() {
                self.log.truncate(Self::place(first.index));
            }
            run.iter().for_each(|entry| self.stored.note_entry(entry));
            self.log.extend(run.iter().cloned());
        }
        Ok(())
    }
}

impl<M: StateMachine + Unpin> Handler<ReadLog> for MemoryStorage<M> {
    type Result = Result<Vec<Entry>, StorageError>;

    fn handle(&mut self, read: ReadLog, _: &mut Context<Self>) -> Self::Result {
        let wanted = Self::place(read.first)..Self::place(read.last.next());
        let entries = self.log.get(wanted).unwrap_or_default();
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += entry.weight();
            first || bytes <= read.max_bytes
        };
        Ok(entries.iter().take_while(fits).cloned().collect())
    }
}

impl<M: StateMachine + Unpin> Handler<Apply<M>> for MemoryStorage<M> {
    type Result = MessageResult<Apply<M>>;

    fn handle(&mut self, apply: Apply<M>, _: &mut Context<Self>) -> Self::Result {
        MessageResult(apply_all(&mut self.state_machine, &apply.entries))
    }
}
