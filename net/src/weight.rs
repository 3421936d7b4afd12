//! How much memory a frame of messages would take once decoded, found out before it is.
//!
//! Two bytes on the wire can become a struct of a hundred, so a limit on bytes alone would let a
//! hostile frame of 16 MiB grow into a gigabyte. Both sides therefore also count the structs, at
//! what the core takes them to weigh: 64 a message, 64 an entry, 32 a member, 16 a founder, 8 a
//! voter; a configuration that is on its way to another has the members and voters of both. That
//! sum, the overhead, is held to the same limit as a frame's bytes. A sender whose messages keep
//! under the limit by [`Entry::weight`] never meets it.

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::membership::Membership;
use actix_raft_core::message::{Message, MessageBody};
use actix_raft_core::snapshot::Snapshot;

const MESSAGE: usize = 64;
const MEMBER: usize = 32;
const VOTER: usize = 8;
const FOUNDER: usize = 16;

/// The bytes are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What a message weighs in a sender's queue, in bytes, its payloads included.
#[must_use]
pub fn weight(message: &Message) -> usize {
    MESSAGE
        + match &message.body {
            MessageBody::AppendEntriesRequest(request) => {
                request.entries.iter().map(Entry::weight).sum()
            }
            MessageBody::InstallSnapshotRequest(request) => {
                request.chunk.data.len() + of_snapshot(&request.snapshot, Membership::weight)
            }
            MessageBody::AppendEntriesResponse(_)
            | MessageBody::VoteRequest(_)
            | MessageBody::VoteResponse(_)
            | MessageBody::InstallSnapshotResponse(_)
            | MessageBody::TimeoutNowRequest(_)
            | MessageBody::ReadIndexRequest(_)
            | MessageBody::ReadIndexResponse(_) => 0,
        }
}

/// The overhead of a message about to be encoded, in bytes.
#[must_use]
pub fn overhead(message: &Message) -> usize {
    let of_entry = |entry: &Entry| {
        Entry::OVERHEAD
            + match &entry.payload {
                EntryPayload::Blank | EntryPayload::Normal(_) => 0,
                EntryPayload::ConfigChange(membership) => membership_overhead(membership),
            }
    };
    MESSAGE
        + match &message.body {
            MessageBody::AppendEntriesRequest(request) => {
                request.entries.iter().map(of_entry).sum()
            }
            MessageBody::InstallSnapshotRequest(request) => {
                of_snapshot(&request.snapshot, membership_overhead)
            }
            MessageBody::AppendEntriesResponse(_)
            | MessageBody::VoteRequest(_)
            | MessageBody::VoteResponse(_)
            | MessageBody::InstallSnapshotResponse(_)
            | MessageBody::TimeoutNowRequest(_)
            | MessageBody::ReadIndexRequest(_)
            | MessageBody::ReadIndexResponse(_) => 0,
        }
}

/// The overhead of an encoded batch of messages, in bytes, found without allocating.
///
/// # Errors
/// If a part that matters is no protobuf message.
pub fn encoded_overhead(batch: &[u8]) -> Result<usize, Malformed> {
    sum(batch, |tag, value| match (tag, value) {
        (1, Value::Bytes(message)) => Ok(MESSAGE + encoded_message(message)?),
        _ => Ok(0),
    })
}

fn of_snapshot(snapshot: &Snapshot, weight: impl Fn(&Membership) -> usize) -> usize {
    snapshot.membership().map_or(0, |(_, membership)| weight(membership))
}

fn membership_overhead(membership: &Membership) -> usize {
    // A goal's founders are those of the members on their way to it, and not sent again.
    members_overhead(membership)
        + membership.goal().map_or(0, |goal| members_overhead(goal))
        + FOUNDER * membership.founders().len()
}

fn members_overhead(members: &Membership) -> usize {
    let outgoing = members.voters_outgoing().map_or(0, |set| set.len());
    MEMBER * members.members().len() + VOTER * (members.voters().len() + outgoing)
}

// The field numbers below are those of the `.proto`.

fn encoded_message(message: &[u8]) -> Result<usize, Malformed> {
    sum(message, |tag, value| match (tag, value) {
        (4, Value::Bytes(request)) => encoded_append_request(request),
        (8, Value::Bytes(request)) => encoded_install_request(request),
        _ => Ok(0),
    })
}

fn encoded_append_request(request: &[u8]) -> Result<usize, Malformed> {
    sum(request, |tag, value| match (tag, value) {
        (4, Value::Bytes(entry)) => {
            let payload = sum(entry, |tag, value| match (tag, value) {
                (5, Value::Bytes(membership)) => encoded_membership(membership),
                _ => Ok(0),
            });
            Ok(Entry::OVERHEAD + payload?)
        }
        _ => Ok(0),
    })
}

fn encoded_install_request(request: &[u8]) -> Result<usize, Malformed> {
    sum(request, |tag, value| match (tag, value) {
        (3, Value::Bytes(snapshot)) => sum(snapshot, |tag, value| match (tag, value) {
            (3, Value::Bytes(configuration)) => {
                sum(configuration, |tag, value| match (tag, value) {
                    (2, Value::Bytes(membership)) => encoded_membership(membership),
                    _ => Ok(0),
                })
            }
            _ => Ok(0),
        }),
        _ => Ok(0),
    })
}

fn encoded_membership(membership: &[u8]) -> Result<usize, Malformed> {
    sum(membership, |tag, value| match (tag, value) {
        (1, voters) => Ok(VOTER * voters.count()),
        (2, Value::Bytes(outgoing)) => sum(outgoing, |tag, value| match tag {
            1 => Ok(VOTER * value.count()),
            _ => Ok(0),
        }),
        (3, Value::Bytes(_)) => Ok(MEMBER),
        (5, Value::Bytes(_)) => Ok(FOUNDER),
        (4, Value::Bytes(goal)) => sum(goal, |tag, value| match (tag, value) {
            (1, voters) => Ok(VOTER * voters.count()),
            (2, Value::Bytes(_)) => Ok(MEMBER),
            _ => Ok(0),
        }),
        _ => Ok(0),
    })
}

enum Value<'a> {
    Number,
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// How many numbers a `repeated uint64` holds here: packed or a single one. Each packed number
    /// ends in a byte without the high bit.
    fn count(&self) -> usize {
        match self {
            Value::Number => 1,
            Value::Bytes(packed) => packed.iter().filter(|byte| **byte < 0x80).count(),
        }
    }
}

/// Adds up what `of` finds in each field.
fn sum(
    mut buffer: &[u8],
    of: impl Fn(u64, Value<'_>) -> Result<usize, Malformed>,
) -> Result<usize, Malformed> {
    let mut total = 0usize;
    while !buffer.is_empty() {
        let key = varint(&mut buffer)?;
        let value = match key & 7 {
            0 => {
                varint(&mut buffer)?;
                Value::Number
            }
            1 => skip(&mut buffer, 8)?,
            2 => {
                let length = varint(&mut buffer)?;
                Value::Bytes(take(&mut buffer, length)?)
            }
            5 => skip(&mut buffer, 4)?,
            // Groups: proto3 has none.
            _ => return Err(Malformed),
        };
        total = total.saturating_add(of(key >> 3, value)?);
    }
    Ok(total)
}

fn skip<'a>(buffer: &mut &'a [u8], length: u64) -> Result<Value<'a>, Malformed> {
    take(buffer, length)?;
    Ok(Value::Number)
}

fn take<'a>(buffer: &mut &'a [u8], length: u64) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (taken, rest) = buffer.split_at_checked(length).ok_or(Malformed)?;
    *buffer = rest;
    Ok(taken)
}

fn varint(buffer: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = buffer.split_first().ok_or(Malformed)?;
        *buffer = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Malformed)
}
