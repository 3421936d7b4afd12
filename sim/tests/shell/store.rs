//! The replicated state: registers, and everything that was ever put into them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Read};

use actix_raft::application::{Application, DecodeError, Snapshotting, StateMachine};
use actix_raft::messages::Index;
use bytes::{Buf, BufMut, Bytes, BytesMut};

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
    type Rejection = Infallible;

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

    fn encode_response(response: &Replaced) -> Option<Bytes> {
        let mut bytes = BytesMut::with_capacity(16);
        bytes.put_u64(response.value);
        bytes.put_u64(response.previous);
        Some(bytes.freeze())
    }

    fn decode_response(mut bytes: Bytes) -> Result<Replaced, DecodeError> {
        match bytes.len() {
            16 => Ok(Replaced { value: bytes.get_u64(), previous: bytes.get_u64() }),
            _ => Err("no response".into()),
        }
    }
}

impl StateMachine for Store {
    fn apply(&mut self, index: Index, put: Put) -> Replaced {
        self.journal.push((index, put));
        let previous = self.registers.insert(put.key, put.value).unwrap_or(0);
        Replaced { value: put.value, previous }
    }

    fn snapshot(&self) -> Option<Snapshotting> {
        let journal = self.journal.clone();
        Some(Box::new(move |to| {
            journal.iter().try_for_each(|(index, put)| {
                to.write_all(&index.0.to_be_bytes())?;
                to.write_all(&Store::encode(*put))
            })
        }))
    }

    fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        *self = Store::default();
        let mut bytes = Bytes::from(bytes);
        while bytes.has_remaining() {
            let index = Index(bytes.get_u64());
            let put = Store::decode(bytes.split_to(9)).map_err(io::Error::other)?;
            self.apply(index, put);
        }
        Ok(())
    }
}
