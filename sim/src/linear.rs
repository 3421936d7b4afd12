//! Whether what the clients of the key-value workload saw can be explained by one map that changes
//! at a moment between each call and its return: linearizability, key by key.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_raft::application::Application;
use porcupine_rs::{self as porcupine, CheckResult, Model};

use crate::history::{Body, Operation, Outcome};
use crate::key_value::{Change, ChangeKind, Changed, KeyValue, Registers};

/// How long a single key's history may be searched. Keys are used so briefly that it takes
/// milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// One register.
#[derive(Clone, Debug)]
struct Register;

#[derive(Clone, Debug)]
enum Step {
    /// What it answered, if that is known.
    Change(ChangeKind, Option<Changed>),
    Get(Option<u64>),
}

impl Model for Register {
    type State = Option<u64>;
    type Op = Step;
    type Metadata = ();

    fn init() -> Option<u64> {
        None
    }

    fn step(state: &Option<u64>, step: &Step) -> (bool, Option<u64>) {
        match step {
            Step::Get(found) => (found == state, *state),
            Step::Change(kind, answer) => {
                let (done, after) = match kind {
                    ChangeKind::Put(value) => (true, Some(*value)),
                    ChangeKind::Delete(_) => (true, None),
                    ChangeKind::CompareAndSet { expected, value } if expected == state => {
                        (true, Some(*value))
                    }
                    ChangeKind::CompareAndSet { .. } => (false, *state),
                };
                let right = Changed { done, before: *state };
                (answer.is_none_or(|answer| answer == right), after)
            }
        }
    }
}

/// Checks a history.
///
/// # Errors
/// Names the first key whose history has no explanation.
pub(crate) fn check(history: &[Operation<KeyValue>]) -> Result<(), String> {
    let mut keys: BTreeMap<u64, Vec<porcupine::Operation<Register>>> = BTreeMap::new();
    for operation in history {
        let done = matches!(operation.outcome, Outcome::Done { .. });
        let (key, op) = match &operation.body {
            // What was surely not done explains nothing, and a read that was not answered neither.
            Body::Write { .. } if operation.outcome == Outcome::NotDone => continue,
            Body::Write { command, response } => {
                let Change { key, kind, .. } =
                    Registers::decode(command.clone()).map_err(|error| error.to_string())?;
                (key, Step::Change(kind, if done { *response } else { None }))
            }
            Body::Read { query, answer: Some(answer) } if done => (*query, Step::Get(*answer)),
            Body::Read { .. } => continue,
        };
        let at = |time: actix_raft_core::types::Time| i64::try_from(time.0).unwrap_or(i64::MAX);
        keys.entry(key).or_default().push(porcupine::Operation {
            client_id: Some(operation.client as u32),
            call_time: at(operation.called),
            // Perhaps it takes effect long after its client has given up.
            return_time: operation.returned.filter(|_| done).map_or(i64::MAX, at),
            op,
            metadata: None,
        });
    }
    for (key, operations) in keys {
        match porcupine::check_operations_timeout(&operations, PATIENCE) {
            CheckResult::Ok => {}
            CheckResult::Illegal => {
                return Err(format!("the history of key {key} is not linearizable"));
            }
            CheckResult::Unknown => {
                return Err(format!("the history of key {key} is too tangled to be checked"));
            }
        }
    }
    Ok(())
}
