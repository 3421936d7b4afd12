//! A thread with a state of its own, which carries out and answers what it is sent, in order.

use std::sync::mpsc;
use std::{io, thread};

use actix::dev::MessageResponse;
use actix::{Actor, Message};

use crate::requests::{ReplyTo, reply};
use crate::storage::StorageError;

/// What a message is answered.
pub(super) type Answer<T> = Result<T, StorageError>;

/// What the thread does with its state; `None` if it has ended.
type Task<S> = Box<dyn FnOnce(Option<&mut S>) + Send>;

type Work<S, T> = Box<dyn FnOnce(&mut S, ReplyTo<Answer<T>>) + Send>;

/// The thread's queue. It ends when all of these are gone.
pub(super) struct Thread<S>(mpsc::Sender<Task<S>>);

impl<S: Send + 'static> Thread<S> {
    pub(super) fn start(name: &str, mut state: S) -> io::Result<Thread<S>> {
        let (sender, tasks) = mpsc::channel::<Task<S>>();
        let work = move || tasks.into_iter().for_each(|task| task(Some(&mut state)));
        thread::Builder::new().name(name.to_string()).spawn(work)?;
        Ok(Thread(sender))
    }

    /// The response of a handler whose message is answered by this work on the thread.
    pub(super) fn answer<T>(
        &self,
        work: impl FnOnce(&mut S) -> Answer<T> + Send + 'static,
    ) -> OnThread<S, T>
    where
        T: Send + 'static,
    {
        self.answer_later(|state, to| reply(to, work(state)))
    }

    /// The same, where the work itself sees to the answer.
    pub(super) fn answer_later<T>(
        &self,
        work: impl FnOnce(&mut S, ReplyTo<Answer<T>>) + Send + 'static,
    ) -> OnThread<S, T> {
        OnThread { thread: Thread(self.0.clone()), work: Box::new(work) }
    }
}

/// A message on its way to the thread that answers it.
pub struct OnThread<S, T> {
    thread: Thread<S>,
    work: Work<S, T>,
}

impl<A, M, S, T> MessageResponse<A, M> for OnThread<S, T>
where
    A: Actor,
    M: Message<Result = Answer<T>>,
    S: Send + 'static,
    T: Send + 'static,
{
    fn handle(self, _: &mut A::Context, tx: ReplyTo<Answer<T>>) {
        let OnThread { thread, work } = self;
        let task: Task<S> = Box::new(move |state| match state {
            Some(state) => work(state, tx),
            None => reply(tx, Err(StorageError::new("a thread of the storage ended by a panic"))),
        });
        if let Err(mpsc::SendError(task)) = thread.0.send(task) {
            task(None);
        }
    }
}
