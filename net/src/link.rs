//! An established connection to a peer: requests and messages out, answers in.
//!
//! For each request this keeps whether any byte of it was handed to the connection. That decides
//! how it ends if the link breaks: if none was, it is surely not done; otherwise perhaps.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use actix_raft_core::types::NodeId;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::codec::{
    Response, TooLarge, decode_response, encode_keep_alive, encode_messages, encode_request,
};
use crate::config::KEEP_ALIVE_EVERY;
use crate::connection::{CloseReason, FrameReader, KEEP_BYTES, write_all};
use crate::frame::FrameType;
use crate::lane::Lane;
use crate::pulse::Pulse;
use crate::queue::{Batch, Peer};
use crate::race::race;
use crate::request::{RequestError, Waiting};
use crate::shared::{Shared, WRITE_BATCH_BYTES};
use crate::wire::Unanswered;

/// Runs a link from the end of its handshake until it breaks, the peer's address changes, or it is
/// of no more use. The queue survives it; what was taken from the queue does not.
pub(crate) async fn run_link(
    shared: &Shared,
    peer: &Peer,
    address: &str,
    reader: &mut FrameReader<impl AsyncRead + Unpin>,
    writer: &mut (impl AsyncWrite + Unpin),
) -> CloseReason {
    let pulse = Pulse::new(Arc::clone(&peer.meter));
    reader.after_handshake(shared.config.max_frame_bytes, &pulse);
    let in_flight = InFlight::new(peer.id);
    let answers = read_answers(shared, reader, &in_flight);
    let queue = write_queue(shared, peer, address, writer, &in_flight);
    let limit = shared.config.link_timeout;
    let mut reason = tokio::select! {
        // Nothing more should go to the old address.
        biased;
        () = peer.moved_from(address) => CloseReason::Readdressed,
        reason = race(answers, queue) => reason,
        // Last, so that what arrived while this node stood still is read first.
        reason = pulse.silence(limit) => reason,
    };
    if matches!(reason, CloseReason::Idle) {
        reason = tokio::select! {
            biased;
            () = peer.moved_from(address) => CloseReason::Readdressed,
            reason = part(shared, reader, writer, &in_flight) => reason,
            reason = pulse.silence(limit) => reason,
        };
    }
    in_flight.fail(&reason.to_string());
    reason
}

/// Says that nothing more will come, and waits until the peer has read what was said before: if
/// that is still on its way when this end is closed, and the peer says something, it is lost.
async fn part(
    shared: &Shared,
    reader: &mut FrameReader<impl AsyncRead + Unpin>,
    writer: &mut (impl AsyncWrite + Unpin),
    in_flight: &InFlight,
) -> CloseReason {
    if let Err(error) = writer.shutdown().await {
        return CloseReason::Write(error);
    }
    match read_answers(shared, reader, in_flight).await {
        CloseReason::Ended => CloseReason::Idle,
        reason => reason,
    }
}

async fn read_answers(
    shared: &Shared,
    reader: &mut FrameReader<impl AsyncRead + Unpin>,
    in_flight: &InFlight,
) -> CloseReason {
    loop {
        let read = async {
            let frame = reader.next().await?;
            match frame.frame_type {
                FrameType::Response => {
                    let response = decode_response(frame.body)?;
                    if response.group != shared.config.group {
                        let (from, to) = (in_flight.peer, shared.config.node_id);
                        return Err(CloseReason::Misplaced { group: response.group, from, to });
                    }
                    in_flight.answer(response)
                }
                FrameType::KeepAlive => Ok(()),
                found @ (FrameType::Hello
                | FrameType::HelloReply
                | FrameType::Messages
                | FrameType::Request) => Err(CloseReason::Unexpected { found }),
            }
        };
        if let Err(reason) = read.await {
            return reason;
        }
    }
}

async fn write_queue(
    shared: &Shared,
    peer: &Peer,
    address: &str,
    writer: &mut (impl AsyncWrite + Unpin),
    in_flight: &InFlight,
) -> CloseReason {
    let mut buffer = BytesMut::new();
    let mut worked_at = Instant::now();
    loop {
        match timeout(KEEP_ALIVE_EVERY, peer.wait_for_work()).await {
            Ok(()) => {
                let Some(batch) = peer.take(address, WRITE_BATCH_BYTES) else {
                    return CloseReason::Readdressed;
                };
                encode(shared, address, batch, &mut buffer, in_flight);
                worked_at = Instant::now();
            }
            Err(_) => match peer.lane {
                Lane::Bulk if worked_at.elapsed() >= shared.config.link_timeout => {
                    return CloseReason::Idle;
                }
                Lane::Main | Lane::Bulk => encode_keep_alive(&mut buffer),
            },
        }
        let handed = |bytes| in_flight.handed(bytes);
        if let Err(reason) = write_all(writer, &buffer, shared.config.stall_timeout, handed).await {
            return reason;
        }
        peer.meter.sent(buffer.len());
        buffer.clear();
        if buffer.capacity() > 2 * KEEP_BYTES {
            buffer = BytesMut::new();
        }
    }
}

fn encode(
    shared: &Shared,
    address: &str,
    batch: Batch,
    buffer: &mut BytesMut,
    in_flight: &InFlight,
) {
    let limit = shared.config.max_frame_bytes;
    for error in encode_messages(&batch.messages, limit, buffer) {
        // It would be sent again and again, so someone has to be told.
        let what = format_args!("not sent to node {}: {error}", in_flight.peer);
        shared.complaints.warn("message too large", address, what);
    }
    for (body, waiting) in batch.requests {
        let start = buffer.len();
        let id = in_flight.add(start, waiting);
        if let Err(error) = encode_request(id, shared.config.group, body, limit, buffer) {
            in_flight.too_large(id, error);
        }
    }
}

/// The requests on one connection that have no answer yet.
struct InFlight {
    peer: NodeId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_id: u64,
    requests: HashMap<u64, Sent>,
    /// Where in the buffer the requests not yet handed over start, ascending.
    unwritten: VecDeque<(usize, u64)>,
}

struct Sent {
    waiting: Waiting,
    /// Whether any byte of it was handed to the connection.
    handed: bool,
}

impl InFlight {
    fn new(peer: NodeId) -> InFlight {
        InFlight { peer, state: Mutex::default() }
    }

    /// Takes in a request that will start at `start` in the buffer to be written next.
    fn add(&self, start: usize, waiting: Waiting) -> u64 {
        self.with(|state| {
            state.last_id += 1;
            let id = state.last_id;
            state.requests.insert(id, Sent { waiting, handed: false });
            state.unwritten.push_back((start, id));
            id
        })
    }

    /// The first `bytes` of the buffer were handed to the connection.
    fn handed(&self, bytes: usize) {
        self.with(|state| {
            while let Some((_, id)) = state.unwritten.pop_front_if(|(start, _)| *start < bytes) {
                if let Some(sent) = state.requests.get_mut(&id) {
                    sent.handed = true;
                }
            }
        });
    }

    fn too_large(&self, id: u64, error: TooLarge) {
        let removed = self.with(|state| {
            state.unwritten.pop_back();
            state.requests.remove(&id)
        });
        if let Some(sent) = removed {
            let TooLarge { bytes, limit } = error;
            sent.waiting.end(Err(RequestError::TooLarge { bytes, limit }));
        }
    }

    fn answer(&self, response: Response) -> Result<(), CloseReason> {
        let id = response.id;
        let removed = self.with(|state| match state.requests.get(&id) {
            Some(sent) if sent.handed => state.requests.remove(&id),
            Some(_) | None => None,
        });
        let sent = removed.ok_or(CloseReason::UnknownRequest { id })?;
        sent.waiting.end(self.result(response.result));
        Ok(())
    }

    fn result(&self, result: Result<Bytes, Unanswered>) -> Result<Bytes, RequestError> {
        let peer = self.peer;
        let unknown = |reason: &str| RequestError::Unknown { peer, reason: reason.to_owned() };
        result.map_err(|unanswered| match unanswered {
            Unanswered::Overloaded => RequestError::Overloaded { peer },
            Unanswered::Refused => RequestError::Refused { peer },
            Unanswered::Lost => unknown("its answer was too large to send"),
            Unanswered::Unspecified => unknown("it was not answered, for a reason unknown here"),
        })
    }

    /// The link broke: ends every request, each according to how far it got.
    fn fail(&self, reason: &str) {
        let peer = self.peer;
        let requests = self.with(|state| std::mem::take(&mut state.requests));
        let mut requests: Vec<(u64, Sent)> = requests.into_iter().collect();
        // In the order in which they were made.
        requests.sort_unstable_by_key(|(id, _)| *id);
        for (_, sent) in requests {
            if sent.handed {
                let reason = reason.to_owned();
                sent.waiting.end(Err(RequestError::Unknown { peer, reason }));
            } else {
                sent.waiting.not_sent(peer, reason);
            }
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // Does nothing if the link broke; otherwise its task was stopped.
        self.fail("the transport was shut down");
    }
}

#[cfg(test)]
mod tests {
    use actix_raft_core::types::GroupId;
    use tokio::io::{AsyncReadExt, duplex, split};

    use super::*;
    use crate::config::TransportConfig;
    use crate::frame::HEADER_BYTES;
    use crate::shared::testing::shared;

    /// Two requests of 1000 bytes each go into one buffer; the connection takes so many bytes of
    /// it and then no more.
    async fn ends(taken: usize) -> [Result<Bytes, RequestError>; 2] {
        let config = TransportConfig::new("test", NodeId(1), GroupId(7));
        let peer = Peer::new(NodeId(2), Lane::Main, "a", &config, Arc::default());
        let shared = shared(config);
        let body = || Bytes::from(vec![0; 1000]);
        let answers = [peer.request("a", body()).unwrap(), peer.request("a", body()).unwrap()];
        let (near, mut far) = duplex(1);
        let (reader, mut writer) = split(near);
        let mut reader = FrameReader::new(reader, 4096);
        let far = async move {
            let mut buffer = vec![0; taken];
            // One byte more is in the pipe than was read.
            far.read_exact(&mut buffer[1..]).await.unwrap();
            std::future::pending::<()>().await;
        };
        let reason = tokio::select! {
            reason = run_link(&shared, &peer, "a", &mut reader, &mut writer) => reason,
            () = far => unreachable!(),
        };
        assert!(matches!(reason, CloseReason::Silent(_)), "{reason:?}");
        let [first, second] = answers;
        [first.await.unwrap(), second.await.unwrap()]
    }

    fn unknown(end: &Result<Bytes, RequestError>) -> bool {
        match end {
            Err(RequestError::Unknown { .. }) => true,
            Err(RequestError::NotSent { .. }) => false,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn perhaps_done_from_the_first_byte_handed_over() {
        // A frame: the header, two bytes each of id and group, three of the body's key and length.
        let frame = HEADER_BYTES + 7 + 1000;
        for (taken, expected) in
            [(1, [true, false]), (frame, [true, false]), (frame + 1, [true, true])]
        {
            assert_eq!(ends(taken).await.each_ref().map(unknown), expected, "{taken} bytes");
        }
    }
}
