//! Whether what the clients were told is true.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_raft::messages::Index;
use porcupine_rs::model::{CheckResult, Model};

use crate::record::{Operation, Outcome, Request};
use crate::store::Put;

/// What a client saw of one register.
#[derive(Clone, Debug)]
enum Seen {
    /// A put, and the value it replaced, if the client was told.
    Put {
        value: u64,
        previous: Option<u64>,
    },
    Get {
        value: u64,
    },
}

/// A register, as one that is on a single machine behaves.
#[derive(Clone)]
struct Register;

impl Model for Register {
    type State = u64;
    type Op = (u8, Seen);
    type Metadata = ();

    fn partition_operations(
        history: &[porcupine_rs::model::Operation<Register>],
    ) -> Vec<Vec<porcupine_rs::model::Operation<Register>>> {
        let mut registers: BTreeMap<u8, Vec<_>> = BTreeMap::new();
        for operation in history {
            registers.entry(operation.op.0).or_default().push(operation.clone());
        }
        registers.into_values().collect()
    }

    fn init() -> u64 {
        0
    }

    fn step(state: &u64, (_, seen): &(u8, Seen)) -> (bool, u64) {
        match seen {
            Seen::Put { value, previous } => {
                (previous.is_none_or(|previous| previous == *state), *value)
            }
            Seen::Get { value } => (value == state, *state),
        }
    }
}

/// Checks the clients' history against the journal on which all replicas agree in the end.
pub fn check(operations: &[Operation], journal: &[(Index, Put)]) -> Result<(), String> {
    let mut replaced = BTreeMap::new();
    let mut registers: BTreeMap<u8, u64> = BTreeMap::new();
    for (index, put) in journal {
        let previous = registers.insert(put.key, put.value).unwrap_or(0);
        if replaced.insert(put.value, previous).is_some() {
            return Err(format!("{put:?} was applied again at {index}"));
        }
    }
    for operation in operations {
        let Some(put) = operation.request.put() else { continue };
        let applied = replaced.get(&put.value);
        let is_true = match operation.outcome {
            Outcome::Done { previous } => applied == Some(&previous),
            Outcome::Committed => applied.is_some(),
            Outcome::Refused => applied.is_none(),
            Outcome::Read { .. } => false,
            Outcome::Unknown => true,
        };
        if !is_true {
            return Err(format!("untrue: {operation:?}, in the journal: {applied:?}"));
        }
    }
    let happened = |put: &Put| replaced.contains_key(&put.value);
    let seen = operations.iter().filter_map(|operation| seen(operation, happened)).collect();
    linearizable(seen)
}

/// What there is to see of an operation; nothing if it was not done. A put of unknown outcome that
/// no replica holds never happened, and never will.
fn seen(
    operation: &Operation,
    happened: impl Fn(&Put) -> bool,
) -> Option<porcupine_rs::model::Operation<Register>> {
    let op = match (&operation.request, operation.outcome) {
        (Request::Get(key, _), Outcome::Read { value }) => (*key, Seen::Get { value }),
        (request, outcome) => {
            let put = request.put().filter(|put| happened(put))?;
            let previous = match outcome {
                Outcome::Done { previous } => Some(previous),
                _ => None,
            };
            (put.key, Seen::Put { value: put.value, previous })
        }
    };
    Some(porcupine_rs::model::Operation {
        client_id: Some(operation.client),
        call_time: operation.called,
        return_time: operation.returned,
        op,
        metadata: None,
    })
}

fn linearizable(seen: Vec<porcupine_rs::model::Operation<Register>>) -> Result<(), String> {
    match porcupine_rs::check_operations_timeout(&seen, Duration::from_secs(60)) {
        CheckResult::Ok => Ok(()),
        other => Err(format!("the history is not linearizable: {other:?}")),
    }
}
