//! The thread of the state machine.

use std::sync::{Arc, mpsc};
use std::{io, thread};

use actix::dev::MessageResponse;
use actix::{Actor, Message};

use crate::application::StateMachine;
use crate::messages::Entry;
use crate::replicated::Replicated;
use crate::requests::{ReplyTo, reply};
use crate::storage::{Apply, Base, BuildSnapshot, InstallSnapshot, Snapshot, StorageError};

/// What the thread is to do, and whom it answers.
pub(super) enum Task<M: StateMachine> {
    Apply(Arc<[Entry]>, ReplyTo<<Apply<M> as Message>::Result>),
    Build(Base, ReplyTo<<BuildSnapshot as Message>::Result>),
    Install(Snapshot, ReplyTo<<InstallSnapshot as Message>::Result>),
}

/// The thread's queue. The thread ends when all of these are gone.
pub(super) struct ApplyThread<M: StateMachine>(mpsc::Sender<Task<M>>);

impl<M: StateMachine> Clone for ApplyThread<M> {
    fn clone(&self) -> ApplyThread<M> {
        ApplyThread(self.0.clone())
    }
}

impl<M: StateMachine> ApplyThread<M> {
    pub(super) fn start(state_machine: Replicated<M>) -> io::Result<ApplyThread<M>> {
        let (sender, tasks) = mpsc::channel();
        let mut worker = Worker { state_machine };
        thread::Builder::new()
            .name("raft-apply".to_string())
            .spawn(move || tasks.into_iter().for_each(|task| worker.carry_out(task)))?;
        Ok(ApplyThread(sender))
    }

    fn send(&self, task: Task<M>) {
        let Err(mpsc::SendError(refused)) = self.0.send(task) else { return };
        let error = StorageError::new("the state machine's thread ended by a panic");
        match refused {
            Task::Apply(_, to) => reply(to, Err(error)),
            Task::Build(_, to) => reply(to, Err(error)),
            Task::Install(_, to) => reply(to, Err(error)),
        }
    }

    /// The response of a handler whose message the thread answers.
    pub(super) fn answer<R>(
        &self,
        task: impl FnOnce(ReplyTo<R>) -> Task<M> + 'static,
    ) -> OnThread<M, R> {
        OnThread { thread: self.clone(), task: Box::new(task) }
    }
}

/// A message on its way to the thread, which answers it itself.
pub struct OnThread<M: StateMachine, R> {
    thread: ApplyThread<M>,
    task: Box<dyn FnOnce(ReplyTo<R>) -> Task<M>>,
}

impl<A: Actor, M: StateMachine, T: Message> MessageResponse<A, T> for OnThread<M, T::Result> {
    fn handle(self, _: &mut A::Context, tx: ReplyTo<T::Result>) {
        self.thread.send((self.task)(tx));
    }
}

struct Worker<M> {
    state_machine: Replicated<M>,
}

impl<M: StateMachine> Worker<M> {
    fn carry_out(&mut self, task: Task<M>) {
        match task {
            Task::Apply(entries, to) => reply(to, self.state_machine.apply(&entries)),
            Task::Build(_, to) => reply(to, Ok(None)),
            Task::Install(_, to) => reply(to, Ok(false)),
        }
    }
}
