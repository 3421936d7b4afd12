//! Payloads of entries as leaders make them: to try a storage or a state machine with.
//!
//! Every entry with a command says which session it belongs to, if any; so bytes that an
//! application encoded are not yet a payload that [`Replicated`](crate::replicated::Replicated)
//! applies.
//!
//! ```
//! use actix_raft::messages::{Entry, Index, Term};
//! use actix_raft::replicated::Replicated;
//! use actix_raft::storage::Outcome;
//! use actix_raft::testing::{Accumulator, payloads};
//!
//! let mut machine = Replicated::new(Accumulator::default());
//! let payload = payloads::of_command::<Accumulator>(5);
//! let outcomes = machine.apply(&[Entry { term: Term(1), index: Index(1), payload }])?;
//! assert_eq!(outcomes, [Outcome::Response(5)]);
//! # Ok::<(), actix_raft::storage::StorageError>(())
//! ```

use std::time::Duration;

use crate::application::Application;
use crate::envelope::{Draft, Terms};
use crate::messages::EntryPayload;
use crate::sessions::Serial;

/// A command without a session.
#[must_use]
pub fn of_command<A: Application>(command: A::Command) -> EntryPayload {
    stamped(Draft::new(None, &A::encode(command)), Duration::ZERO)
}

/// A command of a session, from a leader on whose clock it is this late.
#[must_use]
pub fn of_write<A: Application>(
    command: A::Command,
    serial: Serial,
    time: Duration,
) -> EntryPayload {
    stamped(Draft::new(Some(serial), &A::encode(command)), time)
}

/// What begins a session that may be idle for so long, one of so many at the most.
#[must_use]
pub fn of_session(timeout: Duration, max_sessions: u32, time: Duration) -> EntryPayload {
    stamped(Draft::register(Terms { timeout: millis(timeout), max_sessions }), time)
}

fn stamped(draft: Draft, time: Duration) -> EntryPayload {
    EntryPayload::Normal(draft.stamp(millis(time)).0)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
