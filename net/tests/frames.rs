//! Frames: whole ones come out however they arrive, and nothing else does.

use actix_raft_net::frame::{
    Frame, FrameCodec, FrameError, FrameType, HEADER_BYTES, begin_frame, finish_frame,
};
use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;
use tokio_util::codec::{Decoder, Encoder};

const LIMIT: usize = 4096;

fn frame(frame_type: FrameType, body: &[u8]) -> BytesMut {
    let mut buffer = BytesMut::new();
    let body = Bytes::copy_from_slice(body);
    FrameCodec::new(LIMIT).encode(Frame { frame_type, body }, &mut buffer).unwrap();
    buffer
}

fn decode(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    FrameCodec::new(LIMIT).decode(&mut BytesMut::from(bytes))
}

fn frame_type() -> impl Strategy<Value = FrameType> {
    prop::sample::select(vec![
        FrameType::Hello,
        FrameType::HelloReply,
        FrameType::Messages,
        FrameType::Request,
        FrameType::Response,
        FrameType::KeepAlive,
    ])
}

#[test]
fn golden_header() {
    let bytes = frame(FrameType::Request, b"hello");
    assert_eq!(bytes[..8], [b'a', b'R', 1, 4, 5, 0, 0, 0]);
    let crc = crc32fast::hash(b"aR\x01\x04\x05\x00\x00\x00hello");
    assert_eq!(bytes[8..12], crc.to_le_bytes());
    assert_eq!(bytes[12..], *b"hello");
    assert_eq!(crc, 0x7e91_eaa4);
}

#[test]
fn what_is_not_a_frame_is_refused_in_words() {
    let good = frame(FrameType::Hello, b"x");
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        decode(&bytes).unwrap_err().to_string()
    };
    let request = decode(b"GET / HTTP/1.1\r\n").unwrap_err();
    assert_eq!(request.to_string(), "not a frame: it starts with [47, 45]");
    assert_eq!(with(2, 2), "frame version 2, only 1 is known");
    assert_eq!(with(3, 0), "unknown frame type 0");
    assert_eq!(with(3, 7), "unknown frame type 7");
    assert_eq!(with(5, 0x10), "frame of 4097 bytes is over the limit of 4096");
    assert!(with(3, 2).contains("checksum"), "the type is under the checksum");
    assert!(with(12, 0).contains("checksum"));
}

#[test]
fn the_encoder_holds_to_the_limit_too() {
    let mut codec = FrameCodec::new(LIMIT);
    let mut buffer = BytesMut::new();
    let body = Bytes::from(vec![0; LIMIT]);
    codec.encode(Frame { frame_type: FrameType::Hello, body }, &mut buffer).unwrap();
    let body = Bytes::from(vec![0; LIMIT + 1]);
    let refused = codec.encode(Frame { frame_type: FrameType::Hello, body }, &mut buffer);
    assert!(matches!(refused, Err(FrameError::TooLarge { bytes: 4097, limit: LIMIT })));
    assert_eq!(buffer.len(), HEADER_BYTES + LIMIT);
    assert!(codec.decode(&mut buffer).unwrap().is_some());
}

#[test]
fn memory_is_reserved_for_what_arrived_not_for_what_is_claimed() {
    let codec = FrameCodec::new(16 * 1024 * 1024);
    let mut claim = BytesMut::new();
    let start = begin_frame(&mut claim, FrameType::Messages);
    finish_frame(&mut claim, start);
    claim[4..8].copy_from_slice(&(16 * 1024 * 1024u32).to_le_bytes());
    assert_eq!(codec.wanted(&claim), 16 * 1024);
    claim.put_bytes(0, 100_000);
    assert_eq!(codec.wanted(&claim), claim.len());
    claim.put_bytes(0, 15_000_000);
    assert_eq!(codec.wanted(&claim), 16 * 1024 * 1024 - 15_100_000);
    assert_eq!(FrameCodec::new(LIMIT).wanted(&[]), HEADER_BYTES + LIMIT);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_come_out_however_the_bytes_arrive(
        frames in prop::collection::vec((frame_type(), prop::collection::vec(any::<u8>(), 0..60)), 0..5),
        step in 1..40usize,
    ) {
        let mut bytes = BytesMut::new();
        for (frame_type, body) in &frames {
            bytes.extend(frame(*frame_type, body));
        }
        let mut codec = FrameCodec::new(LIMIT);
        let mut buffer = BytesMut::new();
        let mut out = Vec::new();
        for piece in bytes.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = codec.decode(&mut buffer).unwrap() {
                out.push((frame.frame_type, frame.body.to_vec()));
            }
        }
        prop_assert_eq!(out, frames);
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn one_changed_byte_is_noticed(
        body in prop::collection::vec(any::<u8>(), 0..60),
        at in any::<prop::sample::Index>(),
        change in 1..=255u8,
    ) {
        let mut bytes = frame(FrameType::Messages, &body);
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        // A longer length waits for more; whatever comes, it is no frame.
        let decoded = decode(&bytes);
        prop_assert!(!matches!(decoded, Ok(Some(_))), "{:?}", decoded);
    }

    #[test]
    fn garbage_gives_no_frame_and_reserves_nothing(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        with_magic in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if with_magic && bytes.len() >= 4 {
            bytes[..4].copy_from_slice(b"aR\x01\x03");
        }
        let mut codec = FrameCodec::new(LIMIT);
        let mut buffer = BytesMut::from(&bytes[..]);
        let capacity = buffer.capacity();
        prop_assert!(!matches!(codec.decode(&mut buffer), Ok(Some(_))));
        prop_assert!(buffer.capacity() <= capacity);
        prop_assert!(codec.wanted(&buffer) <= HEADER_BYTES + LIMIT);
    }
}
