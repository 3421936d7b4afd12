//! The bodies of frames: pure functions between bytes and messages.
//!
//! Encoding appends whole frames to a connection's buffer, in place. Decoding shares the frame's
//! memory: a command in a decoded entry is a slice of what was read, so keeping one small command
//! for long keeps its frame (copy it if that matters).

use actix_raft_core::message::Message;
use actix_raft_core::types::GroupId;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;

use crate::convert::{DecodeError, from_wire, to_wire};
use crate::frame::{FrameType, HEADER_BYTES, begin_frame, finish_frame};
use crate::weight::{encoded_overhead, overhead};
use crate::wire;

/// The key of `Messages.messages`: field 1, length-delimited.
const MESSAGES_KEY: u8 = 1 << 3 | 2;

/// A message fits no frame, even alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {bytes} bytes is over the frame limit of {limit}")]
pub struct TooLarge {
    /// What it takes in a frame, or what its parts weigh, if that is more.
    pub bytes: usize,
    /// The limit.
    pub limit: usize,
}

/// An answer to a request of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The request's id.
    pub id: u64,
    /// The request's group.
    pub group: GroupId,
    /// The application's answer, or why there is none.
    pub result: Result<Bytes, wire::Unanswered>,
}

/// Appends `messages` as frames, in order and as few as the limit allows. Those that fit no frame
/// are left out and returned as errors, in order.
#[must_use]
pub fn encode_messages(messages: &[Message], limit: usize, buffer: &mut BytesMut) -> Vec<TooLarge> {
    let mut left_out = Vec::new();
    let mut open: Option<usize> = None;
    let mut weight = 0;
    for message in messages {
        let overhead = overhead(message);
        let message = to_wire(message);
        let length = message.encoded_len();
        let bytes = 1 + prost::length_delimiter_len(length) + length;
        if bytes.max(overhead) > limit {
            left_out.push(TooLarge { bytes: bytes.max(overhead), limit });
            continue;
        }
        if let Some(start) = open {
            let body = buffer.len() - start - HEADER_BYTES;
            if body + bytes > limit || weight + overhead > limit {
                finish_frame(buffer, start);
                open = None;
            }
        }
        buffer.reserve(HEADER_BYTES + bytes);
        if open.is_none() {
            open = Some(begin_frame(buffer, FrameType::Messages));
            weight = 0;
        }
        weight += overhead;
        buffer.put_u8(MESSAGES_KEY);
        append_delimited(&message, buffer);
    }
    if let Some(start) = open {
        finish_frame(buffer, start);
    }
    left_out
}

/// Reads the body of a frame of messages: all of them, or none.
///
/// # Errors
/// If one of them is invalid, or they would take too much memory.
pub fn decode_messages(body: Bytes, limit: usize) -> Result<Vec<Message>, DecodeError> {
    let overhead = encoded_overhead(&body).map_err(|_| DecodeError::Malformed)?;
    if overhead > limit {
        return Err(DecodeError::TooHeavy { overhead, limit });
    }
    let batch = wire::Messages::decode(body)?;
    batch.messages.into_iter().map(from_wire).collect()
}

/// How much a request or response may take beside the application's bytes, in bytes.
pub const ENVELOPE_BYTES: usize = 64;

/// Appends a request as a frame.
///
/// # Errors
/// If it is over the limit; nothing is appended then.
pub fn encode_request(
    id: u64,
    group: GroupId,
    body: Bytes,
    limit: usize,
    buffer: &mut BytesMut,
) -> Result<(), TooLarge> {
    let request = wire::Request { id, group: group.0, body };
    encode_frame(FrameType::Request, &request, limit, buffer)
}

/// Reads the body of a request's frame.
///
/// # Errors
/// If it is no request.
pub fn decode_request(body: Bytes) -> Result<wire::Request, DecodeError> {
    Ok(wire::Request::decode(body)?)
}

/// Appends a response as a frame.
///
/// # Errors
/// If it is over the limit; nothing is appended then.
pub fn encode_response(
    response: Response,
    limit: usize,
    buffer: &mut BytesMut,
) -> Result<(), TooLarge> {
    let result = match response.result {
        Ok(body) => wire::ResponseResult::Body(body),
        Err(reason) => wire::ResponseResult::Unanswered(reason.into()),
    };
    let Response { id, group, .. } = response;
    let response = wire::Response { id, group: group.0, result: Some(result) };
    encode_frame(FrameType::Response, &response, limit, buffer)
}

/// Reads the body of a response's frame.
///
/// # Errors
/// If it is no response.
pub fn decode_response(body: Bytes) -> Result<Response, DecodeError> {
    let response = wire::Response::decode(body)?;
    let result = match response.result {
        Some(wire::ResponseResult::Body(body)) => Ok(body),
        Some(wire::ResponseResult::Unanswered(reason)) => {
            Err(wire::Unanswered::try_from(reason).unwrap_or(wire::Unanswered::Unspecified))
        }
        None => return Err(DecodeError::Missing { message: "Response", part: "result" }),
    };
    Ok(Response { id: response.id, group: GroupId(response.group), result })
}

/// Appends a sign of life, which is a frame without a body.
pub fn encode_keep_alive(buffer: &mut BytesMut) {
    let start = begin_frame(buffer, FrameType::KeepAlive);
    finish_frame(buffer, start);
}

/// Appends one protobuf message as a frame.
pub(crate) fn encode_frame(
    frame_type: FrameType,
    message: &impl prost::Message,
    limit: usize,
    buffer: &mut BytesMut,
) -> Result<(), TooLarge> {
    let bytes = message.encoded_len();
    if bytes > limit {
        return Err(TooLarge { bytes, limit });
    }
    buffer.reserve(HEADER_BYTES + bytes);
    let start = begin_frame(buffer, frame_type);
    append(message, buffer);
    finish_frame(buffer, start);
    Ok(())
}

fn append(message: &impl prost::Message, buffer: &mut BytesMut) {
    let appended = message.encode(buffer);
    // The one error is a full buffer, and this kind grows.
    debug_assert!(appended.is_ok());
}

fn append_delimited(message: &impl prost::Message, buffer: &mut BytesMut) {
    let appended = message.encode_length_delimited(buffer);
    debug_assert!(appended.is_ok());
}
