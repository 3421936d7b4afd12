//! Commands that the application refuses before they are logged.
//!
//! ```text
//!   command --> leader: Validator --yes--> log --> committed --> applied
//!                  |        ^                |                      |
//!                  no       +-- pending -----+---- the state, as far as it is applied
//!                  v
//!           ClientError::Rejected
//! ```
//!
//! The leader asks about each command in the order in which they go to the log, and shows those that
//! are in front of it there and not applied yet. So a rule that depends on the state, such as that a
//! key is taken once, holds with any number of writes in flight.
//!
//! A new leader has entries of its predecessors that it has not applied. It asks nothing before it
//! has: commands wait until the first entry of its own term is applied.
//!
//! A rejection is this leader's view: what it relies on may be not committed yet, and may never be.
//! It says only that the command was not done.

use std::collections::VecDeque;

use crate::application::Application;
use crate::messages::{Index, Term};

/// Says which commands may go to the log. Given to a node in
/// [`RaftOptions`](crate::raft::RaftOptions), and called in the node's actor: so it must be quick.
/// Any `FnMut(&Command, Pending<Command>) -> Result<(), Rejection>` is one.
///
/// It reads the applied state from where the application publishes it, as
/// [`StateMachine::applied`](crate::application::StateMachine::applied) suggests. That state may
/// hold some of the pending commands already: an application to which that matters publishes the
/// index with the state, and skips what is not beyond it.
///
/// A command in a [session](crate::sessions) is asked about in every attempt. If it is refused, the
/// log is asked first whether an earlier attempt was applied.
pub trait Validator<A: Application>: 'static {
    /// Whether this command may be logged behind the pending ones.
    ///
    /// # Errors
    /// Why not.
    fn validate(
        &mut self,
        command: &A::Command,
        pending: Pending<'_, A::Command>,
    ) -> Result<(), A::Rejection>;
}

impl<A, F> Validator<A> for F
where
    A: Application,
    F: FnMut(&A::Command, Pending<'_, A::Command>) -> Result<(), A::Rejection> + 'static,
{
    fn validate(
        &mut self,
        command: &A::Command,
        pending: Pending<'_, A::Command>,
    ) -> Result<(), A::Rejection> {
        self(command, pending)
    }
}

/// The commands that will be applied before the one in question, unless leadership is lost.
pub struct Pending<'a, C> {
    logged: &'a VecDeque<(Index, C)>,
    accepted: &'a [Option<C>],
}

impl<C> Clone for Pending<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Pending<'_, C> {}

impl<'a, C> Pending<'a, C> {
    /// In the order in which they will be applied, with their indexes if they are in the log.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = (Option<Index>, &'a C)> {
        let logged = self.logged.iter().map(|(index, command)| (Some(*index), command));
        logged.chain(self.accepted.iter().flatten().map(|command| (None, command)))
    }
}

/// A leader's validator, and what it has to know.
pub(crate) struct Validation<A: Application> {
    validator: Box<dyn Validator<A>>,
    leading: Option<Leading>,
    logged: VecDeque<(Index, A::Command)>,
    /// The commands of the step that is under way, one for each proposal that has one.
    accepted: Vec<Option<A::Command>>,
}

#[derive(PartialEq)]
struct Leading {
    term: Term,
    /// An entry of that term: once it is applied, so is all that former leaders left.
    first: Index,
}

impl<A: Application> Validation<A> {
    pub(crate) fn new(validator: Box<dyn Validator<A>>) -> Validation<A> {
        Validation { validator, leading: None, logged: VecDeque::new(), accepted: Vec::new() }
    }

    /// Takes note of where the node is after a step: of the term that it leads, if it does.
    pub(crate) fn note(&mut self, leads: Option<Term>, last_log: Index, last_applied: Index) {
        if self.leading.as_ref().map(|leading| leading.term) != leads {
            // Nothing is proposed before this: the last entry is the one that the term began with.
            self.leading = leads.map(|term| Leading { term, first: last_log });
            self.logged.clear();
        }
        while self.logged.pop_front_if(|(index, _)| *index <= last_applied).is_some() {}
    }

    /// Whether commands can be asked about.
    pub(crate) fn is_ready(&self, last_applied: Index) -> bool {
        self.leading.as_ref().is_some_and(|leading| leading.first <= last_applied)
    }

    /// Asks about a command, which is proposed next if it is accepted.
    pub(crate) fn ask(&mut self, command: A::Command) -> Result<(), A::Rejection> {
        let pending = Pending { logged: &self.logged, accepted: &self.accepted };
        self.validator.validate(&command, pending)?;
        self.accepted.push(Some(command));
        Ok(())
    }

    /// What is proposed next is no command.
    pub(crate) fn pass(&mut self) {
        self.accepted.push(None);
    }

    /// What was accepted in this step is in the log from this index on, or nowhere.
    pub(crate) fn proposed(&mut self, first: Option<Index>) {
        let accepted = std::mem::take(&mut self.accepted);
        if let Some(first) = first {
            let places = (first.0..).map(Index).zip(accepted);
            self.logged.extend(places.filter_map(|(index, command)| Some((index, command?))));
        }
    }
}
