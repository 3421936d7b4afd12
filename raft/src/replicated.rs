//! A state machine with what replication adds to it: sessions, and snapshots of both.

use std::io::{self, BufReader, Read, Write};

use bytes::Bytes;

use crate::application::{Application, DecodeError, Snapshotting, StateMachine};
use crate::envelope::{Draft, Envelope};
use crate::messages::{Entry, EntryPayload, Index};
use crate::session_table::{Known, SessionTable};
use crate::sessions::Serial;
use crate::storage::{Outcome, StorageError};

/// The payload of a command's entry in the log, as a leader writes one that belongs to no session.
#[must_use]
pub fn payload<A: Application>(command: A::Command) -> Bytes {
    Draft::new(None, &A::encode(command)).stamp(0).0
}

/// The command in the payload of an entry; `None` if it holds none, but something about a session.
///
/// # Errors
/// If it is of a kind that this version does not know, or the application can't read it.
pub fn command<A: Application>(payload: Bytes) -> Result<Option<A::Command>, DecodeError> {
    match Envelope::open(payload)? {
        Envelope::Plain { command } | Envelope::Write { command, .. } => {
            A::decode(command).map(Some)
        }
        Envelope::Register { .. } | Envelope::Probe { .. } => Ok(None),
    }
}

/// A state machine and its clients' sessions: what a storage applies entries to, takes snapshots of
/// and restores. A [`RaftStorage`](crate::storage::RaftStorage) of your own holds one of these.
///
/// Commands lie in the log with a header, which says which session they belong to; this reads it.
pub struct Replicated<M> {
    state_machine: M,
    sessions: SessionTable,
}

impl<M: StateMachine> Replicated<M> {
    /// A state machine that nothing was applied to.
    #[must_use]
    pub fn new(state_machine: M) -> Replicated<M> {
        Replicated { state_machine, sessions: SessionTable::default() }
    }

    /// The state machine.
    #[must_use]
    pub fn state_machine(&self) -> &M {
        &self.state_machine
    }

    /// How many sessions of clients there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Applies committed entries, which follow those applied last: what answers
    /// [`Apply`](crate::storage::Apply).
    ///
    /// # Errors
    /// If the application can't read a command.
    pub fn apply(&mut self, entries: &[Entry]) -> Result<Vec<Outcome<M::Response>>, StorageError> {
        let mut outcomes = Vec::with_capacity(entries.len());
        for entry in entries {
            match &entry.payload {
                EntryPayload::Normal(payload) => {
                    let envelope = Envelope::open(payload.clone())
                        .map_err(|error| unreadable(entry.index, error))?;
                    outcomes.push(self.apply_one(entry.index, envelope)?);
                }
                EntryPayload::Blank | EntryPayload::ConfigChange(_) => {}
            }
        }
        if let Some(last) = entries.last() {
            self.state_machine.applied(last.index);
        }
        Ok(outcomes)
    }

    fn apply_one(
        &mut self,
        index: Index,
        envelope: Envelope,
    ) -> Result<Outcome<M::Response>, StorageError> {
        Ok(match envelope {
            Envelope::Plain { command } => Outcome::Response(self.respond(index, command)?),
            Envelope::Register { time, terms } => {
                Outcome::Registered(self.sessions.register(index, time, terms))
            }
            Envelope::Write { time, serial, command } => {
                match self.sessions.look_up(index, time, serial) {
                    Ok(Known::New) => self.respond_in_session(index, serial, command)?,
                    Ok(Known::Applied(answer)) => known::<M>(answer),
                    Err(error) => Outcome::Refused(error),
                }
            }
            Envelope::Probe { time, serial } => match self.sessions.look_up(index, time, serial) {
                Ok(Known::New) => Outcome::NotApplied,
                Ok(Known::Applied(answer)) => known::<M>(answer),
                Err(error) => Outcome::Refused(error),
            },
        })
    }

    fn respond(&mut self, index: Index, command: Bytes) -> Result<M::Response, StorageError> {
        let command = M::decode(command).map_err(|error| unreadable(index, error))?;
        Ok(self.state_machine.apply(index, command))
    }

    fn respond_in_session(
        &mut self,
        index: Index,
        serial: Serial,
        command: Bytes,
    ) -> Result<Outcome<M::Response>, StorageError> {
        let response = self.respond(index, command)?;
        self.sessions.keep(serial, M::encode_response(&response));
        Ok(Outcome::Response(response))
    }

    /// The present state with its sessions, as [`StateMachine::snapshot`] says; `None` if the state
    /// machine takes no snapshots.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshotting> {
        let application = self.state_machine.snapshot()?;
        let sessions = self.sessions.clone();
        Some(Box::new(move |to: &mut dyn Write| {
            sessions.write(to)?;
            application(to)
        }))
    }

    /// Takes the state from a snapshot, which includes everything up to `last_included`.
    ///
    /// # Errors
    /// If the bytes can't be read or are no snapshot of this state machine. What state it holds is
    /// not known then.
    pub fn restore(&mut self, last_included: Index, from: &mut dyn Read) -> io::Result<()> {
        let mut from = BufReader::new(from);
        self.sessions = SessionTable::read(&mut from)?;
        self.state_machine.restore(&mut from)?;
        self.state_machine.applied(last_included);
        Ok(())
    }
}

fn known<M: StateMachine>(answer: Option<Bytes>) -> Outcome<M::Response> {
    // One that this version can't read is as good as none.
    match answer.and_then(|answer| M::decode_response(answer).ok()) {
        Some(response) => Outcome::Response(response),
        None => Outcome::AppliedBefore,
    }
}

fn unreadable(index: Index, error: impl std::fmt::Display) -> StorageError {
    StorageError::new(format!("the entry at index {index} is no command: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use actix_raft_core::random::Random;

    use super::*;
    use crate::envelope::Terms;
    use crate::messages::Term;
    use crate::sessions::SessionId;
    use crate::testing::Accumulator;

    fn snapshot(replica: &Replicated<Accumulator>) -> Vec<u8> {
        let mut bytes = Vec::new();
        replica.snapshot().unwrap()(&mut bytes).unwrap();
        bytes
    }

    /// What some clients might have had logged: sessions, writes in them that are sent once or more
    /// often, questions about them, and writes without a session; at times that go back and forth.
    fn some_log(random: &mut Random) -> Vec<Entry> {
        let below = |random: &mut Random, n: u64| random.next_u64() % n;
        let mut sessions = vec![SessionId(0)];
        let mut time = 1000;
        (1..=200)
            .map(|index| {
                time += below(random, 20);
                let stamp = time - below(random, 50);
                let session = sessions[below(random, sessions.len() as u64) as usize];
                let number = below(random, 8);
                let serial = Serial { session, number, answered_below: below(random, number + 1) };
                let command = Accumulator::encode(1 << below(random, 40));
                let draft = match below(random, 10) {
                    0 => {
                        sessions.push(SessionId(index));
                        Draft::register(Terms {
                            timeout: 100 + below(random, 400),
                            max_sessions: 5,
                        })
                    }
                    1 => Draft::new(None, &command),
                    2 => Draft::probe(serial),
                    _ => Draft::new(Some(serial), &command),
                };
                let payload = EntryPayload::Normal(draft.stamp(stamp).0);
                Entry { term: Term(1), index: Index(index), payload }
            })
            .collect()
    }

    #[test]
    fn all_replicas_agree_whatever_they_were_restored_from_and_apply_each_write_once() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let log = some_log(&mut random);
            let mut original = Replicated::new(Accumulator::default());
            let outcomes = original.apply(&log).unwrap();
            let end = snapshot(&original);

            // Another is restored in the middle, and is answered the same after that.
            let middle = (random.next_u64() % log.len() as u64) as usize;
            let mut first = Replicated::new(Accumulator::default());
            first.apply(&log[..middle]).unwrap();
            let mut second = Replicated::new(Accumulator::default());
            second.apply(&log[..middle / 2]).unwrap();
            let written = snapshot(&first);
            second.restore(Index(middle as u64), &mut written.as_slice()).unwrap();
            assert_eq!(snapshot(&second), written);
            assert_eq!(second.apply(&log[middle..]).unwrap(), outcomes[middle..]);
            assert_eq!(snapshot(&second), end, "seed {seed}");

            // The sum moves when a write is applied first, and only then.
            let mut answers: BTreeMap<(SessionId, u64), Outcome<u64>> = BTreeMap::new();
            for (entry, outcome) in log.iter().zip(outcomes) {
                let EntryPayload::Normal(payload) = &entry.payload else { continue };
                let Ok(Envelope::Write { serial, .. }) = Envelope::open(payload.clone()) else {
                    continue;
                };
                if let Outcome::Response(_) = outcome {
                    let key = (serial.session, serial.number);
                    let before = answers.entry(key).or_insert_with(|| outcome.clone());
                    assert_eq!(*before, outcome, "seed {seed}: {serial:?} is answered as before");
                }
            }
        }
    }
}
