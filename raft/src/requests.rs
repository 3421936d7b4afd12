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

use crate::application::Application;
use crate::envelope::Draft;
use crate::gate::Permit;
use crate::messages::{ClientError, ClientResponse, Entry, EntryPayload, Index, ResponseMode};
use crate::sessions::{Serial, SessionId};
use crate::storage::Outcome;

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

pub type WriteResult<A> = Result<
    ClientResponse<<A as Application>::Response>,
    ClientError<<A as Application>::Rejection>,
>;

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

/// A write that arrived and is not proposed yet.
pub(crate) struct Arrival<A: Application> {
    pub(crate) draft: Draft,
    pub(crate) serial: Option<Serial>,
    pub(crate) write: Write<A>,
}

/// A write that is not answered.
pub(crate) struct Write<A: Application> {
    pub(crate) asker: Asker<A>,
    /// Why it is not done, unless it was done before: the log holds a question in its place.
    pub(crate) rejection: Option<A::Rejection>,
    /// Held until the answer.
    pub(crate) _permit: Permit,
}

/// Who waits for a write, and for what.
pub(crate) enum Asker<A: Application> {
    Command(ReplyTo<WriteResult<A>>, ResponseMode),
    Session(ReplyTo<Result<SessionId, ClientError>>),
}

impl<A: Application> Write<A> {
    /// Whether it is a command of the application.
    pub(crate) fn is_command(&self) -> bool {
        matches!(self.asker, Asker::Command(..))
    }

    /// It has no result.
    pub(crate) fn refuse(self, error: ClientError) {
        match self.asker {
            Asker::Command(to, _) => reply(to, Err(error.for_write())),
            Asker::Session(to) => reply(to, Err(error)),
        }
    }

    /// The application refuses it.
    pub(crate) fn reject(self, rejection: A::Rejection) {
        match self.asker {
            Asker::Command(to, _) => reply(to, Err(ClientError::Rejected(rejection))),
            // Nobody asks the application about a session.
            Asker::Session(_) => {}
        }
    }

    fn answer(self, index: Index, outcome: Outcome<A::Response>) {
        let (to, outcome) = match (self.asker, outcome) {
            (Asker::Session(to), Outcome::Registered(id)) => return reply(to, Ok(id)),
            (Asker::Session(to), _) => return reply(to, Err(contradiction())),
            (Asker::Command(to, _), outcome) => (to, outcome),
        };
        let answer = match outcome {
            Outcome::Response(response) => Ok(ClientResponse::Applied { index, response }),
            Outcome::AppliedBefore => Err(ClientError::AppliedBefore),
            Outcome::Refused(error) => Err(ClientError::Session(error)),
            Outcome::NotApplied => match self.rejection {
                Some(rejection) => Err(ClientError::Rejected(rejection)),
                None => Err(contradiction().for_write()),
            },
            Outcome::Registered(_) => Err(contradiction().for_write()),
        };
        reply(to, answer);
    }
}

/// The storage answered another question than it was asked.
fn contradiction() -> ClientError {
    ClientError::OutcomeUnknown { reason: "the storage's answer does not fit the write".into() }
}

/// Writes that are in the log, by index.
pub(crate) struct Writes<A: Application> {
    until_committed: VecDeque<(Index, Write<A>)>,
    until_applied: VecDeque<(Index, Write<A>)>,
}

impl<A: Application> Writes<A> {
    pub(crate) fn new() -> Writes<A> {
        Writes { until_committed: VecDeque::new(), until_applied: VecDeque::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.until_committed.is_empty() && self.until_applied.is_empty()
    }

    /// Files writes under the indexes from `first` on.
    pub(crate) fn logged(&mut self, first: Index, writes: Vec<Write<A>>) {
        for (index, write) in (first.0..).map(Index).zip(writes) {
            match write.asker {
                Asker::Command(_, ResponseMode::Committed) => {
                    self.until_committed.push_back((index, write));
                }
                Asker::Command(_, ResponseMode::Applied) | Asker::Session(_) => {
                    self.until_applied.push_back((index, write));
                }
            }
        }
    }

    /// Answers those that wait for commitment only.
    pub(crate) fn committed(&mut self, until: Index) {
        while let Some((index, write)) =
            self.until_committed.pop_front_if(|(index, _)| *index <= until)
        {
            if let Asker::Command(to, _) = write.asker {
                reply(to, Ok(ClientResponse::Committed { index }));
            }
        }
    }

    /// Answers with what came of the commands among these entries, which are as many.
    pub(crate) fn applied(&mut self, entries: &[Entry], outcomes: Vec<Outcome<A::Response>>) {
        let is_command = |entry: &&Entry| matches!(entry.payload, EntryPayload::Normal(_));
        for (entry, outcome) in entries.iter().filter(is_command).zip(outcomes) {
            let index = entry.index;
            if let Some((_, write)) = self.until_applied.pop_front_if(|(at, _)| *at == index) {
                write.answer(index, outcome);
            }
        }
    }

    /// The state machine's state came with a snapshot that includes everything up to here: the
    /// commands are part of it, their responses are not.
    pub(crate) fn passed_over(&mut self, until: Index) {
        let reason = Arc::from("it was applied as part of a snapshot, without its response");
        let passed = self.until_applied.partition_point(|(index, _)| *index <= until);
        for (_, write) in self.until_applied.drain(..passed) {
            write.refuse(ClientError::OutcomeUnknown { reason: Arc::clone(&reason) });
        }
    }

    /// Gives up those beyond this index: nobody here knows what becomes of them.
    pub(crate) fn abandon(&mut self, beyond: Index, reason: &Arc<str>) {
        for writes in [&mut self.until_committed, &mut self.until_applied] {
            let kept = writes.partition_point(|(index, _)| *index <= beyond);
            for (_, write) in writes.drain(kept..) {
                write.refuse(ClientError::OutcomeUnknown { reason: Arc::clone(reason) });
            }
        }
    }
}

/// Writes that arrived and are not proposed yet, and where to answer them: the commands' and the
/// sessions' addresses are filed apart, each in the order of arrival.
pub(crate) struct Arrived<A: Application> {
    pub(crate) writes: Vec<Arrival<A>>,
    pub(crate) bytes: usize,
    pub(crate) write_replies: Filed<WriteResult<A>>,
    pub(crate) session_replies: Filed<Result<SessionId, ClientError>>,
}

impl<A: Application> Arrived<A> {
    pub(crate) fn new() -> Arrived<A> {
        Arrived {
            writes: Vec::new(),
            bytes: 0,
            write_replies: Filed::default(),
            session_replies: Filed::default(),
        }
    }

    /// All of them, with their reply addresses.
    pub(crate) fn take(&mut self) -> Vec<Arrival<A>> {
        self.bytes = 0;
        let mut commands = self.write_replies.take().into_iter();
        let mut sessions = self.session_replies.take().into_iter();
        let mut writes = std::mem::take(&mut self.writes);
        for arrival in &mut writes {
            match &mut arrival.write.asker {
                Asker::Command(to, _) => *to = commands.next().flatten(),
                Asker::Session(to) => *to = sessions.next().flatten(),
            }
        }
        writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Gate;
    use crate::testing::Accumulator;

    /// A leader that was deposed may be sent a snapshot that includes what it was asked to write.
    #[actix::test]
    async fn a_write_whose_entry_came_with_a_snapshot_is_answered_and_later_ones_wait() {
        let gate = Gate::new(10, 10);
        let mut writes: Writes<Accumulator> = Writes::new();
        let (mut answers, mut asked) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (sender, answer) = tokio::sync::oneshot::channel();
            let permit = gate.enter(0).unwrap();
            let asker = Asker::Command(Some(sender), ResponseMode::Applied);
            asked.push(Write { asker, rejection: None, _permit: permit });
            answers.push(answer);
        }
        writes.logged(Index(4), asked);
        writes.passed_over(Index(5));
        for answer in answers.drain(..2) {
            assert!(matches!(answer.await.unwrap(), Err(ClientError::OutcomeUnknown { .. })));
        }
        assert!(answers[0].try_recv().is_err(), "index 6 is not in the snapshot");
    }
}
