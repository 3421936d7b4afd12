//! The workload of the command line: a map of registers, written, read, compared-and-set and
//! deleted, whose history is checked for linearizability.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Read};

use actix_raft::application::{Application, DecodeError, Snapshotting, StateMachine};
use actix_raft::messages::Index;
use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::dice::{Chance, Dice};
use crate::history::Operation;
use crate::linear;
use crate::workload::{Request, Workload};

/// How many operations use a key before it is left for a fresh one, so that operations of unknown
/// outcome don't pile up on it.
const OPERATIONS_A_KEY: u64 = 40;
/// How many keys are in use at a time.
const KEYS: u64 = 3;

/// Clients that use a replicated map; every value they write is written once.
#[derive(Debug, Default)]
pub struct KeyValue {
    operations: u64,
}

/// A change of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of which key.
    pub key: u64,
    /// To what.
    pub kind: ChangeKind,
    /// How many bytes the command carries for nothing, so that commands differ in size.
    pub padding: u16,
}

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Gives the key this value.
    Put(u64),
    /// Gives the key this value if it has the expected one, or none if none is expected.
    CompareAndSet {
        /// What must be there.
        expected: Option<u64>,
        /// What is to be there.
        value: u64,
    },
    /// Takes the key out. The number makes the command one of its kind.
    Delete(u64),
}

/// What a change answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Whether it took place.
    pub done: bool,
    /// What was there before.
    pub before: Option<u64>,
}

/// The map.
#[derive(Debug, Default)]
pub struct Registers {
    values: BTreeMap<u64, u64>,
    fingerprint: u64,
}

impl Registers {
    fn set(&mut self, key: u64, value: Option<u64>) -> Option<u64> {
        let before = match value {
            Some(value) => self.values.insert(key, value),
            None => self.values.remove(&key),
        };
        for value in [before, value].into_iter().flatten() {
            self.fingerprint ^= mix(mix(key) ^ value);
        }
        before
    }
}

fn mix(number: u64) -> u64 {
    Dice::new(number).number()
}

impl Application for Registers {
    type Command = Change;
    type Response = Changed;
    type Rejection = Infallible;

    fn encode(change: Change) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u64_le(change.key);
        match change.kind {
            ChangeKind::Put(value) => {
                bytes.put_u8(0);
                bytes.put_u64_le(value);
            }
            ChangeKind::CompareAndSet { expected, value } => {
                bytes.put_u8(if expected.is_some() { 1 } else { 2 });
                bytes.put_u64_le(value);
                bytes.put_u64_le(expected.unwrap_or_default());
            }
            ChangeKind::Delete(number) => {
                bytes.put_u8(3);
                bytes.put_u64_le(number);
            }
        }
        bytes.put_u16_le(change.padding);
        bytes.put_bytes(b'.', change.padding.into());
        bytes.freeze()
    }

    fn decode(mut bytes: Bytes) -> Result<Change, DecodeError> {
        let key = bytes.try_get_u64_le()?;
        let kind = match bytes.try_get_u8()? {
            0 => ChangeKind::Put(bytes.try_get_u64_le()?),
            tag @ (1 | 2) => {
                let value = bytes.try_get_u64_le()?;
                let expected = bytes.try_get_u64_le()?;
                ChangeKind::CompareAndSet { expected: (tag == 1).then_some(expected), value }
            }
            3 => ChangeKind::Delete(bytes.try_get_u64_le()?),
            tag => return Err(format!("no change has the tag {tag}").into()),
        };
        Ok(Change { key, kind, padding: bytes.try_get_u16_le()? })
    }
}

impl StateMachine for Registers {
    fn apply(&mut self, _: Index, change: Change) -> Changed {
        let before = self.values.get(&change.key).copied();
        let value = match change.kind {
            ChangeKind::Put(value) => Some(value),
            ChangeKind::CompareAndSet { expected, value } if expected == before => Some(value),
            ChangeKind::CompareAndSet { .. } => return Changed { done: false, before },
            ChangeKind::Delete(_) => None,
        };
        self.set(change.key, value);
        Changed { done: true, before }
    }

    fn snapshot(&self) -> Option<Snapshotting> {
        let values = self.values.clone();
        Some(Box::new(move |to| {
            values
                .iter()
                .flat_map(|(key, value)| [key, value])
                .try_for_each(|number| to.write_all(&number.to_le_bytes()))
        }))
    }

    fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        *self = Registers::default();
        for pair in bytes.chunks(16) {
            let mut pair = pair;
            let (Ok(key), Ok(value)) = (pair.try_get_u64_le(), pair.try_get_u64_le()) else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            self.set(key, Some(value));
        }
        Ok(())
    }
}

impl Workload for KeyValue {
    type Machine = Registers;
    type Query = u64;
    type Answer = Option<u64>;

    fn machine(&self) -> Registers {
        Registers::default()
    }

    fn next(&mut self, _client: usize, dice: &mut Dice) -> Request<KeyValue> {
        self.operations += 1;
        let value = self.operations;
        let era = value / (OPERATIONS_A_KEY * KEYS);
        let key = era * KEYS + dice.below(KEYS);
        if dice.happens(Chance::percent(40)) {
            return Request::Read(key);
        }
        let kind = match dice.below(8) {
            0 => ChangeKind::Delete(value),
            1 => ChangeKind::CompareAndSet { expected: None, value },
            // Often what is there: values count up.
            2..4 => {
                let expected = Some(value.saturating_sub(1 + dice.below(4)));
                ChangeKind::CompareAndSet { expected, value }
            }
            _ => ChangeKind::Put(value),
        };
        let padding = if dice.below(4) == 0 { dice.below(400) as u16 } else { 0 };
        Request::Write(Change { key, kind, padding })
    }

    fn read(machine: &Registers, key: &u64) -> Option<u64> {
        machine.values.get(key).copied()
    }

    fn fingerprint(machine: &Registers) -> u64 {
        machine.fingerprint
    }

    fn check(&self, history: &[Operation<KeyValue>]) -> Result<(), String> {
        linear::check(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_change_is_read_back_as_it_was_written() {
        let kinds = [
            ChangeKind::Put(7),
            ChangeKind::CompareAndSet { expected: Some(3), value: 4 },
            ChangeKind::CompareAndSet { expected: None, value: 4 },
            ChangeKind::Delete(9),
        ];
        for kind in kinds {
            let change = Change { key: 5, kind, padding: 3 };
            let bytes = Registers::encode(change);
            assert_eq!(Registers::decode(bytes.clone()).unwrap(), change);
            assert!(Registers::decode(bytes.slice(..9)).is_err());
        }
    }

    #[test]
    fn equal_maps_have_equal_fingerprints_however_they_came_about() {
        let (mut one, mut other) = (Registers::default(), Registers::default());
        for (key, value) in [(1, 10), (2, 20), (1, 11)] {
            one.set(key, Some(value));
        }
        one.set(2, None);
        assert_ne!(one.fingerprint, other.fingerprint);
        other.set(1, Some(11));
        assert_eq!(one.fingerprint, other.fingerprint);
    }
}
