//! What is simulated on top of Raft: a state machine, and what its clients ask of it.

use std::fmt::Debug;

use actix_raft::application::{Application, StateMachine};

use crate::dice::Dice;
use crate::history::Operation;

/// An application under test: its state machine, and the operations of its clients.
///
/// Every write and every answer is checked against a machine that applies the agreed commands one
/// after another: so a state machine that is not deterministic is found, and so is a Raft that
/// loses, repeats or reorders something. What the application itself promises goes into
/// [`check`](Workload::check).
pub trait Workload: Sized {
    /// The state machine. Its responses are compared between replicas.
    type Machine: StateMachine<Response: Clone + PartialEq + Debug>;
    /// What a client may ask without changing anything.
    type Query: Clone + Debug;
    /// What it is answered.
    type Answer: Clone + PartialEq + Debug;

    /// A machine that nothing was applied to.
    fn machine(&self) -> Self::Machine;

    /// What this client does next. Commands should be told apart by their bytes as often as
    /// possible (a counter in them will do): an outcome can be checked only for those.
    fn next(&mut self, client: usize, dice: &mut Dice) -> Request<Self>;

    /// Answers a query from a machine's present state.
    fn read(machine: &Self::Machine, query: &Self::Query) -> Self::Answer;

    /// A number that is equal for equal states and, nearly always, for no others. Replicas are
    /// compared by it whenever they have applied equally much.
    fn fingerprint(machine: &Self::Machine) -> u64;

    /// What the application promises of all that its clients saw, in the order in which they asked.
    ///
    /// # Errors
    /// What is wrong, in words.
    fn check(&self, history: &[Operation<Self>]) -> Result<(), String> {
        let _ = history;
        Ok(())
    }
}

/// A command of a workload.
pub type Command<W> = <<W as Workload>::Machine as Application>::Command;
/// What the machine of a workload answers to a command.
pub type Response<W> = <<W as Workload>::Machine as Application>::Response;

/// What a client does.
pub enum Request<W: Workload> {
    /// Sends a command.
    Write(Command<W>),
    /// Asks, linearizably.
    Read(W::Query),
}
