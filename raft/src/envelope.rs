//! How commands lie in the log: each with a header that says which session it belongs to, if any.
//!
//! ```text
//!   0 | command
//!   1 | time u64 | session u64 | number u64 | answered_below u64 | command
//!   2 | time u64 | timeout u64 | max_sessions u32
//!   3 | time u64 | session u64 | number u64 | answered_below u64
//! ```
//!
//! 0 is a command without a session, 1 one with (diss. §6.3), 2 begins a session, 3 asks whether a
//! write was applied. Numbers are little-endian; times are milliseconds, since 1970 or long.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::sessions::{Serial, SessionId};

const PLAIN: u8 = 0;
const WRITE: u8 = 1;
const REGISTER: u8 = 2;
const PROBE: u8 = 3;

const PLAIN_HEADER: usize = 1;
const WRITE_HEADER: usize = 33;
const REGISTER_LENGTH: usize = 21;
/// Where the time is.
const TIME: std::ops::Range<usize> = 1..9;

/// A command with its header, not in the log yet: whoever leads stamps it with the time.
pub(crate) struct Draft {
    bytes: BytesMut,
    header: usize,
}

/// What a leader fixes for a session when it begins, so that all servers end it alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// For how long it may be idle, in milliseconds.
    pub(crate) timeout: u64,
    /// How many sessions there may be, with this one.
    pub(crate) max_sessions: u32,
}

/// What the payload of an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Envelope {
    Plain { command: Bytes },
    Write { time: u64, serial: Serial, command: Bytes },
    Register { time: u64, terms: Terms },
    Probe { time: u64, serial: Serial },
}

impl Draft {
    pub(crate) fn new(serial: Option<Serial>, command: &[u8]) -> Draft {
        let header = if serial.is_some() { WRITE_HEADER } else { PLAIN_HEADER };
        let mut bytes = BytesMut::with_capacity(header + command.len());
        match serial {
            None => bytes.put_u8(PLAIN),
            Some(serial) => put_serial(&mut bytes, WRITE, serial),
        }
        bytes.put_slice(command);
        Draft { bytes, header }
    }

    pub(crate) fn register(terms: Terms) -> Draft {
        let mut bytes = BytesMut::with_capacity(REGISTER_LENGTH);
        bytes.put_u8(REGISTER);
        bytes.put_u64_le(0);
        bytes.put_u64_le(terms.timeout);
        bytes.put_u32_le(terms.max_sessions);
        Draft { header: bytes.len(), bytes }
    }

    /// Asks, in place of a command, whether it was applied in an earlier attempt.
    pub(crate) fn probe(serial: Serial) -> Draft {
        let mut bytes = BytesMut::with_capacity(WRITE_HEADER);
        put_serial(&mut bytes, PROBE, serial);
        Draft { header: bytes.len(), bytes }
    }

    /// How many bytes the command has.
    pub(crate) fn command_bytes(&self) -> usize {
        self.bytes.len() - self.header
    }

    /// The payload of an entry, and the command in it.
    pub(crate) fn stamp(self, time: u64) -> (Bytes, Bytes) {
        let Draft { mut bytes, header } = self;
        if bytes[0] != PLAIN {
            bytes[TIME].copy_from_slice(&time.to_le_bytes());
        }
        let payload = bytes.freeze();
        let command = payload.slice(header..);
        (payload, command)
    }
}

fn put_serial(bytes: &mut BytesMut, kind: u8, serial: Serial) {
    bytes.put_u8(kind);
    bytes.put_u64_le(0);
    bytes.put_u64_le(serial.session.0);
    bytes.put_u64_le(serial.number);
    bytes.put_u64_le(serial.answered_below);
}

impl Envelope {
    /// Reads the payload of an entry.
    pub(crate) fn open(mut payload: Bytes) -> Result<Envelope, &'static str> {
        let header = match payload.first() {
            Some(&PLAIN) => PLAIN_HEADER,
            Some(&(WRITE | PROBE)) => WRITE_HEADER,
            Some(&REGISTER) => REGISTER_LENGTH,
            Some(_) => return Err("it is of a kind that this version does not know"),
            None => return Err("it is empty"),
        };
        if payload.len() < header {
            return Err("it is cut short");
        }
        let kind = payload.get_u8();
        if kind == PLAIN {
            return Ok(Envelope::Plain { command: payload });
        }
        let time = payload.get_u64_le();
        if kind == REGISTER {
            let (timeout, max_sessions) = (payload.get_u64_le(), payload.get_u32_le());
            return Ok(Envelope::Register { time, terms: Terms { timeout, max_sessions } });
        }
        let serial = Serial {
            session: SessionId(payload.get_u64_le()),
            number: payload.get_u64_le(),
            answered_below: payload.get_u64_le(),
        };
        match kind {
            WRITE => Ok(Envelope::Write { time, serial, command: payload }),
            _ => Ok(Envelope::Probe { time, serial }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out_and_nothing_else_is_read() {
        let serial = Serial { session: SessionId(7), number: 3, answered_below: 2 };
        let terms = Terms { timeout: 60_000, max_sessions: 10 };
        let command = Bytes::from_static(b"do it");
        let opened = |draft: Draft| Envelope::open(draft.stamp(99).0).unwrap();
        assert_eq!(
            opened(Draft::new(None, &command)),
            Envelope::Plain { command: command.clone() }
        );
        assert_eq!(
            opened(Draft::new(Some(serial), &command)),
            Envelope::Write { time: 99, serial, command: command.clone() }
        );
        assert_eq!(opened(Draft::register(terms)), Envelope::Register { time: 99, terms });
        assert_eq!(opened(Draft::probe(serial)), Envelope::Probe { time: 99, serial });

        let draft = Draft::new(Some(serial), &command);
        assert_eq!(draft.command_bytes(), command.len());
        let (payload, inside) = draft.stamp(1);
        assert_eq!(inside, command);
        for length in 0..WRITE_HEADER {
            assert!(Envelope::open(payload.slice(..length)).is_err(), "{length} bytes");
        }
        assert!(Envelope::open(Bytes::from_static(&[4])).is_err());
    }
}
