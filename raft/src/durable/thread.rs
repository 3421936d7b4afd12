//! A thread with a state of its own, which carries out and answers what it is sent, in order.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
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

/// A handle to the thread. When the last one is dropped, what is queued is done, the state is
/// dropped and the thread has ended: whatever it had open is free then.
pub(super) struct Thread<S> {
    // Before the end: the thread ends when there is no sender any more.
    tasks: mpsc::Sender<Task<S>>,
    end: Arc<End>,
}

/// The thread, waited for when the last handle is gone.
struct End(Mutex<Option<JoinHandle<()>>>);

impl<S> Clone for Thread<S> {
    fn clone(&self) -> Thread<S> {
        Thread { tasks: self.tasks.clone(), end: Arc::clone(&self.end) }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let thread = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // A panic there was told to those who asked it something.
            let _ = thread.join();
        }
    }
}

impl<S: Send + 'static> Thread<S> {
    pub(super) fn start(name: &str, mut state: S) -> io::Result<Thread<S>> {
        let (tasks, queue) = mpsc::channel::<Task<S>>();
        let work = move || queue.into_iter().for_each(|task| task(Some(&mut state)));
        let thread = thread::Builder::new().name(name.to_string()).spawn(work)?;
        Ok(Thread { tasks, end: Arc::new(End(Mutex::new(Some(thread)))) })
    }

    /// Has the thread do something that nobody waits for.
    pub(super) fn run(&self, work: impl FnOnce(&mut S) + Send + 'static) {
        // If it has ended, whoever waits for something is told.
        let _ = self.tasks.send(Box::new(|state| {
            if let Some(state) = state {
                work(state);
            }
        }));
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
        OnThread { thread: self.clone(), work: Box::new(work) }
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
        if let Err(mpsc::SendError(task)) = thread.tasks.send(task) {
            task(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tells that it was dropped.
    struct State(mpsc::Sender<&'static str>);

    impl Drop for State {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }

    #[test]
    fn when_the_handle_is_gone_all_is_done_and_the_state_is_dropped() {
        let (told, seen) = mpsc::channel();
        let thread = Thread::start("test", State(told)).unwrap();
        thread.run(|state| state.0.send("first").unwrap());
        thread.run(|state| state.0.send("second").unwrap());
        drop(thread);
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["first", "second", "dropped"]);
    }
}
