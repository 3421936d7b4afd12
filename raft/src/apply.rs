//! Applying committed entries to a state machine.

use crate::application::StateMachine;
use crate::messages::{Entry, EntryPayload};
use crate::storage::StorageError;

/// Applies entries to a state machine: what every storage does that holds one.
pub(crate) fn apply_all<M: StateMachine>(
    state_machine: &mut M,
    entries: &[Entry],
) -> Result<Vec<M::Response>, StorageError> {
    let mut responses = Vec::with_capacity(entries.len());
    for entry in entries {
        match &entry.payload {
            EntryPayload::Normal(bytes) => {
                let command = M::decode(bytes.clone()).map_err(|error| {
                    let index = entry.index;
                    StorageError::new(format!("the entry at index {index} is no command: {error}"))
                })?;
                responses.push(state_machine.apply(entry.index, command));
            }
            EntryPayload::Blank | EntryPayload::ConfigChange(_) => {}
        }
    }
    if let Some(last) = entries.last() {
        state_machine.applied(last.index);
    }
    Ok(responses)
}
