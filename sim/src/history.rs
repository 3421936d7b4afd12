//! What clients did and saw, and whether the agreed log explains it.
//!
//! The log is a witness: writes took effect in its order, and a read saw the state after the entry
//! at which it was answered. So a history is checked in one pass, whatever the state machine is:
//!
//! ```text
//!   log:      1    2    3    4    5          a write must come after everything that had
//!                  w1        w2              returned before it was called;
//!   reads:            r(2)        r(4)       a read must see it
//! ```

use std::collections::BTreeMap;

use actix_raft::application::{Application, StateMachine};
use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::types::{Index, Time};
use bytes::Bytes;

use crate::workload::{Response, Workload};

/// One operation of a client.
#[derive(Debug)]
pub struct Operation<W: Workload> {
    /// Whose.
    pub client: usize,
    /// When the client sent it.
    pub called: Time,
    /// When the client heard what became of it, or gave up.
    pub returned: Option<Time>,
    /// What it was, and what it was answered.
    pub body: Body<W>,
    /// What became of it.
    pub outcome: Outcome,
}

/// A write or a read.
pub enum Body<W: Workload> {
    /// A command.
    Write {
        /// The command, encoded.
        command: Bytes,
        /// The state machine's response, if it was done.
        response: Option<Response<W>>,
    },
    /// A linearizable read.
    Read {
        /// What was asked.
        query: W::Query,
        /// What was answered, if it was.
        answer: Option<W::Answer>,
    },
}

impl<W: Workload> std::fmt::Debug for Body<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Body::Write { command, response } => {
                write!(f, "Write({} bytes) -> {response:?}", command.len())
            }
            Body::Read { query, answer } => write!(f, "Read({query:?}) -> {answer:?}"),
        }
    }
}

/// What became of an operation, as its client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet.
    Open,
    /// Done: a write at this index of the log, a read after it.
    Done {
        /// The index.
        index: Index,
    },
    /// Surely not done, now or ever.
    NotDone,
    /// Perhaps done, perhaps not, perhaps later.
    Unknown,
}

/// Checks the outcomes and answers of a history against the log that was agreed upon, of which
/// `committed` is all, from index 1 on.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn check<W: Workload>(
    workload: &W,
    history: &[Operation<W>],
    committed: &[Entry],
) -> Result<(), String> {
    let places = places_of(history, committed)?;
    let places = |command: &Bytes| places.get(command).copied();
    outcomes(history, committed, &places)?;
    answers(workload, history, committed)?;
    real_time(history, &places)?;
    workload.check(history)
}

/// Where each command stands that was sent once; others can't be told apart.
fn places_of<W: Workload>(
    history: &[Operation<W>],
    committed: &[Entry],
) -> Result<BTreeMap<Bytes, Index>, String> {
    let mut sent: BTreeMap<&Bytes, u64> = BTreeMap::new();
    for operation in history {
        if let Body::Write { command, .. } = &operation.body {
            *sent.entry(command).or_default() += 1;
        }
    }
    let mut found: BTreeMap<&Bytes, u64> = BTreeMap::new();
    let mut places = BTreeMap::new();
    for entry in committed {
        let EntryPayload::Normal(command) = &entry.payload else { continue };
        let times = found.entry(command).or_default();
        *times += 1;
        match sent.get(command) {
            None => return Err(format!("no client sent the command at {}", entry.position())),
            Some(sent) if *times > *sent => {
                return Err(format!("a command stands twice in the log: at {}", entry.position()));
            }
            Some(1) => {
                places.insert(command.clone(), entry.index);
            }
            Some(_) => {}
        }
    }
    Ok(places)
}

/// "What was reported done is there once, what was reported surely-not-done is nowhere."
fn outcomes<W: Workload>(
    history: &[Operation<W>],
    committed: &[Entry],
    places: &impl Fn(&Bytes) -> Option<Index>,
) -> Result<(), String> {
    for operation in history {
        let Body::Write { command, .. } = &operation.body else { continue };
        let client = operation.client;
        match operation.outcome {
            Outcome::NotDone => {
                if let Some(index) = places(command) {
                    return Err(format!(
                        "a write of client {client} was reported surely not done, and is in the \
                         log at {index}"
                    ));
                }
            }
            Outcome::Done { index } => {
                let there = committed.get(index.prev().0 as usize).map(|entry| &entry.payload);
                if there != Some(&EntryPayload::Normal(command.clone())) {
                    return Err(format!(
                        "a write of client {client} was reported done at {index}, where the log \
                         holds something else"
                    ));
                }
            }
            Outcome::Open | Outcome::Unknown => {}
        }
    }
    Ok(())
}

/// Answers are those of a machine that applies the log from the first entry on.
fn answers<W: Workload>(
    workload: &W,
    history: &[Operation<W>],
    committed: &[Entry],
) -> Result<(), String> {
    let mut by_index: BTreeMap<Index, Vec<&Operation<W>>> = BTreeMap::new();
    for operation in history {
        if let Outcome::Done { index } = operation.outcome {
            by_index.entry(index).or_default().push(operation);
        }
    }
    let mut machine = workload.machine();
    let blank = [Index::ZERO].into_iter().map(|index| (index, None));
    let entries = committed.iter().map(|entry| (entry.index, Some(entry)));
    for (index, entry) in blank.chain(entries) {
        let mut right = None;
        if let Some(EntryPayload::Normal(command)) = entry.map(|entry| &entry.payload) {
            let command = W::Machine::decode(command.clone());
            let command = command.map_err(|error| format!("entry {index}: {error}"))?;
            right = Some(machine.apply(index, command));
        }
        for operation in by_index.remove(&index).unwrap_or_default() {
            let client = operation.client;
            match &operation.body {
                // Who was answered at the commit knows no response.
                Body::Write { response: response @ Some(_), .. } if *response != right => {
                    return Err(format!(
                        "client {client} was answered {response:?} to the write at {index}, and \
                         not {right:?}"
                    ));
                }
                Body::Read { query, answer } => {
                    let right = W::read(&machine, query);
                    if answer.as_ref() != Some(&right) {
                        return Err(format!(
                            "client {client} read {answer:?} for {query:?} after {index}, and not \
                             {right:?}"
                        ));
                    }
                }
                Body::Write { .. } => {}
            }
        }
    }
    match by_index.first_key_value() {
        Some((index, _)) => Err(format!("an operation was done at {index}, beyond the agreed log")),
        None => Ok(()),
    }
}

/// An operation takes effect after all that had returned before it was called.
fn real_time<W: Workload>(
    history: &[Operation<W>],
    places: &impl Fn(&Bytes) -> Option<Index>,
) -> Result<(), String> {
    let done = |operation: &Operation<W>| match operation.outcome {
        Outcome::Done { index } => operation.returned.map(|returned| (returned, index)),
        Outcome::Open | Outcome::NotDone | Outcome::Unknown => None,
    };
    let mut returns: Vec<(Time, Index)> = history.iter().filter_map(done).collect();
    returns.sort_unstable();
    let mut calls: Vec<&Operation<W>> = history.iter().collect();
    calls.sort_by_key(|operation| operation.called);
    let mut returns = returns.into_iter().peekable();
    let mut floor = Index::ZERO;
    for operation in calls {
        while let Some((_, index)) = returns.next_if(|(returned, _)| *returned < operation.called) {
            floor = floor.max(index);
        }
        let client = operation.client;
        match (&operation.body, operation.outcome) {
            (Body::Read { query, .. }, Outcome::Done { index }) if index < floor => {
                return Err(format!(
                    "a stale read: client {client} read {query:?} after {index}, though {floor} \
                     was known to be done when it asked"
                ));
            }
            (Body::Write { command, .. }, _) => {
                if let Some(index) = places(command).filter(|index| *index <= floor) {
                    return Err(format!(
                        "a write of client {client} took effect at {index}, before {floor}, which \
                         was known to be done when it was sent"
                    ));
                }
            }
            (Body::Read { .. }, _) => {}
        }
    }
    Ok(())
}
