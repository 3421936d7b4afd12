//! The replicated state: registers, and everything that was ever put into them.

use std::collections::BTreeMap;

use actix_raft::application::{Application, DecodeError, StateMachine};
use actix_raft::messages::Index;
use bytes::{BufMut, Bytes, BytesMut};

/// Puts a value, which no other command does, into a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put {
    pub key: u8,
    pub value: u64,
}

/// The value that a command has put, to show whose answer this is, and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    pub value: u64,
    pub previous: u64,
}

/// Registers that hold 0 at first.
#[derive(Default)]
pub struct Store {
    registers: BTreeMap<u8, u64>,
    pub journal: Vec<(Index, Put)>,
}

impl Store {
    pub fn get(&self, key: u8) -> u64 {
        self.registers.get(&key).copied().unwrap_or(0)
    }
}

impl Application for Store {
    type Command = Put;
    type Response = Replaced;

    fn encode(put: Put) -> Bytes {
        let mut bytes = BytesMut::with_capacity(9);
        bytes.put_u8(put.key);
        bytes.put_u64(put.value);
        bytes.freeze()
    }

    fn decode(bytes: Bytes) -> Result<Put, DecodeError> {
        let (key, value) = bytes.split_first().ok_or("empty")?;
        Ok(Put { key: *key, value: u64::from_be_bytes(value.try_into()?) })
    }
}

impl StateMachine for Store {
    fn apply(&mut self, index: Index, put: Put) -> Replaced {
        self.journal.push((index, put));
        let previous = self.registers.insert(put.key, put.value).unwrap_or(0);
        Replaced { value: put.value, previous }
    }
}
