//! The smallest state machine that shows whether a command was applied twice.

use std::convert::Infallible;
use std::io::{self, Read};

use bytes::Bytes;

use crate::application::{Application, DecodeError, Snapshotting, StateMachine};
use crate::messages::Index;

/// A sum: each command is added to it, and answered with what it is then.
#[derive(Default)]
pub struct Accumulator(u64);

impl Application for Accumulator {
    type Command = u64;
    type Response = u64;
    type Rejection = Infallible;

    fn encode(addend: u64) -> Bytes {
        Bytes::copy_from_slice(&addend.to_le_bytes())
    }

    fn decode(bytes: Bytes) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(bytes.as_ref().try_into()?))
    }

    fn encode_response(sum: &u64) -> Option<Bytes> {
        Some(Accumulator::encode(*sum))
    }

    fn decode_response(bytes: Bytes) -> Result<u64, DecodeError> {
        Accumulator::decode(bytes)
    }
}

impl StateMachine for Accumulator {
    fn apply(&mut self, _: Index, addend: u64) -> u64 {
        self.0 = self.0.wrapping_add(addend);
        self.0
    }

    fn snapshot(&self) -> Option<Snapshotting> {
        let sum = self.0;
        Some(Box::new(move |to| to.write_all(&sum.to_le_bytes())))
    }

    fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let mut sum = [0; 8];
        from.read_exact(&mut sum)?;
        self.0 = u64::from_le_bytes(sum);
        Ok(())
    }
}
