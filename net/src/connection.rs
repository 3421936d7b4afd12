//! What both ends of a connection share: reading frames, writing with a limit on standstill, and
//! the reasons for which a connection is closed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_raft_core::types::{GroupId, NodeId};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::codec::Decoder;

use crate::convert::DecodeError;
use crate::frame::{Frame, FrameCodec, FrameError, FrameType};
use crate::lane::Lane;
use crate::pulse::Pulse;

/// A buffer that grew larger than this for one frame is not kept for the next.
pub(crate) const KEEP_BYTES: usize = 1024 * 1024;

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CloseReason {
    #[error("bad frame: {0}")]
    Frame(#[from] FrameError),
    #[error("bad message: {0}")]
    Decode(#[from] DecodeError),
    #[error("a frame of type {found:?} has no place here")]
    Unexpected { found: FrameType },
    #[error("a message of group {group} from node {from} to node {to} has no place here")]
    Misplaced { group: GroupId, from: NodeId, to: NodeId },
    #[error("a message that has no place on the {lane:?} lane")]
    WrongLane { lane: Lane },
    #[error("an answer to request {id}, which was not sent")]
    UnknownRequest { id: u64 },
    #[error("{queued} answers wait and the peer reads none")]
    AnswersUnread { queued: usize },
    #[error("the peer closed the connection")]
    Ended,
    #[error("the peer closed the connection within a frame, after {bytes} bytes of it")]
    EndedEarly { bytes: usize },
    #[error("reading: {0}")]
    Read(io::Error),
    #[error("writing: {0}")]
    Write(io::Error),
    #[error("the peer took no byte for {0:?}")]
    Stalled(Duration),
    #[error("nothing was heard from the peer for {0:?}")]
    Silent(Duration),
    #[error("there was nothing to send")]
    Idle,
    #[error("the peer opened a newer connection")]
    Replaced,
    #[error(
        "the peer opened a newer connection while this one is alive: do two nodes have its id?"
    )]
    Rivalled,
    #[error("the peer has a new address")]
    Readdressed,
}

impl CloseReason {
    /// The kind of thing a correct peer never does, or none if peers come and go like this.
    pub(crate) fn violation(&self) -> Option<&'static str> {
        match self {
            CloseReason::Frame(_) => Some("bad frame"),
            CloseReason::Decode(_) => Some("bad message"),
            CloseReason::Unexpected { .. } => Some("unexpected frame"),
            CloseReason::Misplaced { .. } => Some("misplaced message"),
            CloseReason::WrongLane { .. } => Some("message on the wrong lane"),
            CloseReason::UnknownRequest { .. } => Some("unknown request"),
            CloseReason::AnswersUnread { .. } => Some("answers unread"),
            CloseReason::Rivalled => Some("two nodes of one id"),
            CloseReason::Ended
            | CloseReason::EndedEarly { .. }
            | CloseReason::Read(_)
            | CloseReason::Write(_)
            | CloseReason::Stalled(_)
            | CloseReason::Silent(_)
            | CloseReason::Idle
            | CloseReason::Replaced
            | CloseReason::Readdressed => None,
        }
    }
}

/// Reads frames from a stream.
pub(crate) struct FrameReader<R> {
    reader: R,
    buffer: BytesMut,
    codec: FrameCodec,
    pulse: Option<Arc<Pulse>>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(reader: R, max_frame_bytes: usize) -> FrameReader<R> {
        let codec = FrameCodec::new(max_frame_bytes);
        FrameReader { reader, buffer: BytesMut::new(), codec, pulse: None }
    }

    /// Sets another limit, from the next frame on, and tells `pulse` of what is read. What was read
    /// already is kept.
    pub(crate) fn after_handshake(&mut self, max_frame_bytes: usize, pulse: &Arc<Pulse>) {
        self.codec = FrameCodec::new(max_frame_bytes);
        self.pulse = Some(Arc::clone(pulse));
    }

    /// The next frame. Given up half-way, nothing is lost: the next call goes on from there.
    pub(crate) async fn next(&mut self) -> Result<Frame, CloseReason> {
        loop {
            if let Some(frame) = self.codec.decode(&mut self.buffer)? {
                return Ok(frame);
            }
            if self.buffer.is_empty() && self.buffer.capacity() > KEEP_BYTES {
                self.buffer = BytesMut::new();
            }
            self.buffer.reserve(self.codec.wanted(&self.buffer));
            let read = self.reader.read_buf(&mut self.buffer).await.map_err(CloseReason::Read)?;
            if let Some(pulse) = &self.pulse
                && read > 0
            {
                pulse.hear(read);
            }
            match (read, self.buffer.len()) {
                (0, 0) => return Err(CloseReason::Ended),
                (0, bytes) => return Err(CloseReason::EndedEarly { bytes }),
                (_, _) => {}
            }
        }
    }
}

/// Writes all of `bytes`, unless the peer takes none of them for `stall`. Whenever some were
/// handed over, `handed` is told how many in all; after an error it is told all, since who knows
/// what a failed write left behind.
pub(crate) async fn write_all(
    writer: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    stall: Duration,
    mut handed: impl FnMut(usize),
) -> Result<(), CloseReason> {
    let mut written = 0;
    while written < bytes.len() {
        match timeout(stall, writer.write(&bytes[written..])).await {
            Ok(Ok(0)) => return Err(CloseReason::Write(io::ErrorKind::WriteZero.into())),
            Ok(Ok(more)) => {
                written += more;
                handed(written);
            }
            Ok(Err(error)) => {
                handed(bytes.len());
                return Err(CloseReason::Write(error));
            }
            Err(_) => return Err(CloseReason::Stalled(stall)),
        }
    }
    match timeout(stall, writer.flush()).await {
        Ok(flushed) => flushed.map_err(CloseReason::Write),
        Err(_) => Err(CloseReason::Stalled(stall)),
    }
}
