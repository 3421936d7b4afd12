//! Frames: how a stream of bytes is cut into messages, and how damage is noticed.
//!
//! ```text
//!  0        2         3      4          8          12
//!  +--------+---------+------+----------+----------+----------------+
//!  | "aR"   | version | type | length   | crc32    | body ...       |
//!  +--------+---------+------+----------+----------+----------------+
//!                             length: bytes of body   crc32: of bytes 0..8 and the body
//!                             (little-endian, both)
//! ```
//!
//! The length is held against the limit as soon as the header is there. What is reserved for a
//! frame grows with the bytes that have arrived: a peer that claims much and sends little costs
//! little.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// The bytes before a frame's body.
pub const HEADER_BYTES: usize = 12;

/// The first two bytes of every frame.
pub const MAGIC: [u8; 2] = *b"aR";

/// The version of this header's layout; the protocol's own version is agreed on in the handshake.
pub const FRAME_VERSION: u8 = 1;

/// The most a frame's body may be set to hold, in bytes: 1 GiB.
pub const MAX_FRAME_BYTES: usize = 1 << 30;

/// What is reserved for reading at a time, at least, in bytes.
const READ_CHUNK: usize = 16 * 1024;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameType {
    /// The dialer's first frame.
    Hello = 1,
    /// The acceptor's first frame.
    HelloReply = 2,
    /// A batch of Raft messages.
    Messages = 3,
    /// A request of the application.
    Request = 4,
    /// The answer to a request.
    Response = 5,
    /// Nothing but a sign of life.
    KeepAlive = 6,
}

impl FrameType {
    fn from_byte(byte: u8) -> Option<FrameType> {
        match byte {
            1 => Some(FrameType::Hello),
            2 => Some(FrameType::HelloReply),
            3 => Some(FrameType::Messages),
            4 => Some(FrameType::Request),
            5 => Some(FrameType::Response),
            6 => Some(FrameType::KeepAlive),
            _ => None,
        }
    }
}

/// A frame whose checksum was right. Its body shares memory with what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub frame_type: FrameType,
    /// The encoded message.
    pub body: Bytes,
}

/// Why a stream of bytes can't be read on as frames. The connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// It doesn't start like a frame: some other protocol, or damage.
    #[error("not a frame: it starts with {found:02x?}")]
    BadMagic {
        /// The bytes in the magic's place.
        found: [u8; 2],
    },
    /// A header of another version.
    #[error("frame version {found}, only {FRAME_VERSION} is known")]
    UnknownVersion {
        /// The version in the header.
        found: u8,
    },
    /// A type this version doesn't know.
    #[error("unknown frame type {found}")]
    UnknownType {
        /// The type in the header.
        found: u8,
    },
    /// The body is over the limit. Nothing was reserved for it.
    #[error("frame of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// The length of the body.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The frame was damaged on its way.
    #[error("frame checksum {found:08x} does not match {expected:08x}, that of its bytes")]
    BadChecksum {
        /// What the bytes give.
        expected: u32,
        /// What the header says.
        found: u32,
    },
    /// The stream failed.
    #[error("input/output: {0}")]
    Io(#[from] io::Error),
}

/// Cuts bytes into frames and back. Pure: what it says depends on the bytes alone.
#[derive(Clone, Copy, Debug)]
pub struct FrameCodec {
    max_frame_bytes: usize,
}

impl FrameCodec {
    /// A codec for bodies of up to `max_frame_bytes` (at most [`MAX_FRAME_BYTES`]).
    #[must_use]
    pub fn new(max_frame_bytes: usize) -> FrameCodec {
        FrameCodec { max_frame_bytes: max_frame_bytes.min(MAX_FRAME_BYTES) }
    }

    /// How many bytes to reserve before the next read, so that what is reserved never exceeds
    /// about twice what has arrived, whatever length a header claims.
    #[must_use]
    pub fn wanted(&self, buffer: &[u8]) -> usize {
        let missing = match self.header(buffer) {
            Ok(Some(header)) => (HEADER_BYTES + header.length).saturating_sub(buffer.len()),
            Ok(None) | Err(_) => 0,
        };
        let chunk = READ_CHUNK.min(HEADER_BYTES + self.max_frame_bytes);
        missing.min(buffer.len()).max(chunk)
    }

    fn header(&self, buffer: &[u8]) -> Result<Option<Header>, FrameError> {
        let Some(mut bytes) = buffer.get(..HEADER_BYTES) else { return Ok(None) };
        let magic = [bytes.get_u8(), bytes.get_u8()];
        if magic != MAGIC {
            return Err(FrameError::BadMagic { found: magic });
        }
        let version = bytes.get_u8();
        if version != FRAME_VERSION {
            return Err(FrameError::UnknownVersion { found: version });
        }
        let found = bytes.get_u8();
        let frame_type = FrameType::from_byte(found).ok_or(FrameError::UnknownType { found })?;
        // No platform with less than 32 bits runs tokio's TCP; if one did, the limit would hold.
        let length = usize::try_from(bytes.get_u32_le()).unwrap_or(usize::MAX);
        self.check_length(length)?;
        Ok(Some(Header { frame_type, length, checksum: bytes.get_u32_le() }))
    }

    fn check_length(&self, bytes: usize) -> Result<(), FrameError> {
        if bytes > self.max_frame_bytes {
            return Err(FrameError::TooLarge { bytes, limit: self.max_frame_bytes });
        }
        Ok(())
    }
}

struct Header {
    frame_type: FrameType,
    length: usize,
    checksum: u32,
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(header) = self.header(buffer)? else { return Ok(None) };
        if buffer.len() < HEADER_BYTES + header.length {
            return Ok(None);
        }
        let mut frame = buffer.split_to(HEADER_BYTES + header.length).freeze();
        let expected = checksum(&frame[..8], &frame[HEADER_BYTES..]);
        if expected != header.checksum {
            return Err(FrameError::BadChecksum { expected, found: header.checksum });
        }
        frame.advance(HEADER_BYTES);
        Ok(Some(Frame { frame_type: header.frame_type, body: frame }))
    }
}

impl Encoder<Frame> for FrameCodec {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame, buffer: &mut BytesMut) -> Result<(), FrameError> {
        self.check_length(frame.body.len())?;
        buffer.reserve(HEADER_BYTES + frame.body.len());
        let start = begin_frame(buffer, frame.frame_type);
        buffer.put_slice(&frame.body);
        finish_frame(buffer, start);
        Ok(())
    }
}

/// Opens a frame at the end of `buffer`; its body is then appended there, and [`finish_frame`]
/// called with what this returns. So a body is encoded in place, with no buffer of its own.
#[must_use]
pub fn begin_frame(buffer: &mut BytesMut, frame_type: FrameType) -> usize {
    let start = buffer.len();
    buffer.put_slice(&MAGIC);
    buffer.put_u8(FRAME_VERSION);
    buffer.put_u8(frame_type as u8);
    buffer.put_bytes(0, 8);
    start
}

/// Closes the frame opened at `start`: writes its length and checksum into the header. The body
/// must be within [`MAX_FRAME_BYTES`].
pub fn finish_frame(buffer: &mut BytesMut, start: usize) {
    let length = buffer.len() - start - HEADER_BYTES;
    debug_assert!(length <= MAX_FRAME_BYTES, "a frame of {length} bytes");
    // Lossless under that limit, which the encoders hold to.
    buffer[start + 4..start + 8].copy_from_slice(&(length as u32).to_le_bytes());
    let crc = checksum(&buffer[start..start + 8], &buffer[start + HEADER_BYTES..]);
    buffer[start + 8..start + HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(body);
    hasher.finalize()
}
