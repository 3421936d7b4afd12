//! The requests of clients that a node has not answered yet.
//!
//! ```text
//!   arrived --flush--> proposed --Proposed--> by index --Committed / applied--> answered
//! ```

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, Message};
use bytes::Bytes;

use crate::gate::Permit;
use crate::messages::{ClientError, ClientResponse, Entry, EntryPayload, Index, ResponseMode};

/// Where the answer to a message goes; `None` if its sender does not wait for one.
pub type ReplyTo<R> = Option<OneshotSender<R>>;

/// Answers, to be sent later, without a future or a task for each: a handler that returns it has
/// its reply address filed, in the order in which messages were handled.
pub struct Filed<R>(Rc<RefCell<Vec<ReplyTo<R>>>>);

impl<R> Clone for Filed<R> {
    fn clone(&self) -> Filed<R> {
        Filed(Rc::clone(&self.0))
    }
}

impl<R> Default for Filed<R> {
    fn default() -> Filed<R> {
        Filed(Rc::default())
    }
}

impl<R> Filed<R> {
    /// The reply addresses filed since the last call.
    pub(crate) fn take(&self) -> Vec<ReplyTo<R>> {
        self.0.take()
    }
}

impl<A: Actor, M: Message> MessageResponse<A, M> for Filed<M::Result> {
    fn handle(self, _: &mut A::Context, tx: ReplyTo<M::Result>) {
        self.0.borrow_mut().push(tx);
    }
}

/// Answers, if anyone still waits.
pub(crate) fn reply<R>(to: ReplyTo<R>, answer: R) {
    if let Some(to) = to {
        // The asker may have gone.
        let _ = to.send(answer);
    }
}

pub type WriteResult<R> = Result<ClientResponse<R>, ClientError>;

/// The answer to a request: now, if it can't be taken, or later.
pub enum Answer<R> {
    Now(R),
    Later(Filed<R>),
}

impl<A: Actor, M: Message> MessageResponse<A, M> for Answer<M::Result> {
    fn handle(self, ctx: &mut A::Context, tx: ReplyTo<M::Result>) {
        match self {
            Answer::Now(answer) => reply(tx, answer),
            Answer::Later(filed) => MessageResponse::<A, M>::handle(filed, ctx, tx),
        }
    }
}

/// A write that is not answered.
pub(crate) struct Write<R> {
    pub(crate) reply_to: ReplyTo<WriteResult<R>>,
    pub(crate) response_mode: ResponseMode,
    /// Held until the answer.
    pub(crate) _permit: Permit,
}

/// Writes that are in the log, by index.
pub(crate) struct Writes<R> {
    until_committed: VecDeque<(Index, Write<R>)>,
    until_applied: VecDeque<(Index, Write<R>)>,
}

impl<R> Writes<R> {
    pub(crate) fn new() -> Writes<R> {
        Writes { until_committed: VecDeque::new(), until_applied: VecDeque::new() }
    }

    /// Files writes under the indexes from `first` on.
    pub(crate) fn logged(&mut self, first: Index, writes: Vec<Write<R>>) {
        for (index, write) in (first.0..).map(Index).zip(writes) {
            match write.response_mode {
                ResponseMode::Committed => self.until_committed.push_back((index, write)),
                ResponseMode::Applied => self.until_applied.push_back((index, write)),
            }
        }
    }

    /// Answers those that wait for commitment only.
    pub(crate) fn committed(&mut self, until: Index) {
        while self.until_committed.front().is_some_and(|(index, _)| *index <= until)
            && let Some((index, write)) = self.until_committed.pop_front()
        {
            reply(write.reply_to, Ok(ClientResponse::Committed { index }));
        }
    }

    /// Answers with the responses to the commands among these entries, which are as many.
    pub(crate) fn applied(&mut self, entries: &[Entry], responses: Vec<R>) {
        let is_command = |entry: &&Entry| matches!(entry.payload, EntryPayload::Normal(_));
        for (entry, response) in entries.iter().filter(is_command).zip(responses) {
            let index = entry.index;
            if self.until_applied.front().is_some_and(|(waiting, _)| *waiting == index)
                && let Some((_, write)) = self.until_applied.pop_front()
            {
                reply(write.reply_to, Ok(ClientResponse::Applied { index, response }));
            }
        }
    }

    /// Gives up those beyond this index: nobody here knows what becomes of them.
    pub(crate) fn abandon(&mut self, beyond: Index, reason: &Arc<str>) {
        for writes in [&mut self.until_committed, &mut self.until_applied] {
            let kept = writes.partition_point(|(index, _)| *index <= beyond);
            for (_, write) in writes.drain(kept..) {
                let reason = Arc::clone(reason);
                reply(write.reply_to, Err(ClientError::OutcomeUnknown { reason }));
            }
        }
    }
}

/// Writes that arrived and are not proposed yet: their commands, and whom to answer.
pub(crate) struct Arrived<R> {
    pub(crate) commands: Vec<Bytes>,
    pub(crate) writes: Vec<Write<R>>,
    pub(crate) bytes: usize,
}

impl<R> Arrived<R> {
    pub(crate) fn new() -> Arrived<R> {
        Arrived { commands: Vec::new(), writes: Vec::new(), bytes: 0 }
    }
}
