//! The accepting side: a loop that takes connections in, and a task for each of them.
//!
//! ```text
//!   accept --> handshake --> newest of its node and lane? older ones are closed first
//!                                 |
//!                 +---------------+----------------+
//!                 v                                v
//!        frames -> Inbound                answers -> frames
//! ```

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_raft_core::types::{GroupId, NodeId};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::codec::{Response, decode_messages, decode_request, encode_keep_alive, encode_response};
use crate::connection::{CloseReason, FrameReader, KEEP_BYTES, write_all};
use crate::frame::{Frame, FrameType};
use crate::handshake::{Agreed, HANDSHAKE_BYTES, answer};
use crate::inbound::{Admitted, Answers};
use crate::lane::Lane;
use crate::pulse::Pulse;
use crate::race::race;
use crate::shared::{Shared, WRITE_BATCH_BYTES};
use crate::stream::{Listener, Opening};
use crate::wire::Unanswered;

/// How long to wait after `accept` failed, which mostly means that file descriptors ran out.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// How much longer an acceptor waits for a sign of life than a dialer.
const ACCEPTED_PATIENCE: u32 = 4;

struct Server {
    shared: Arc<Shared>,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    sessions: Arc<Sessions>,
}

/// Accepts connections for ever.
pub(crate) async fn accept(listener: Box<dyn Listener>, shared: Arc<Shared>) {
    let server = Arc::new(Server::new(shared));
    loop {
        match listener.accept().await {
            Ok((opening, address)) => server.take_in(opening, address),
            Err(error) => {
                server.shared.complaints.warn("accept failed", "the listener", &error);
                sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

impl Server {
    fn new(shared: Arc<Shared>) -> Server {
        Server {
            connections: Arc::new(Semaphore::new(shared.config.max_connections)),
            handshakes: Arc::new(Semaphore::new(shared.config.max_handshakes)),
            sessions: Arc::default(),
            shared,
        }
    }

    fn take_in(self: &Arc<Server>, opening: Opening<'static>, address: SocketAddr) {
        let complaints = &self.shared.complaints;
        let Ok(connection) = Arc::clone(&self.connections).try_acquire_owned() else {
            complaints.warn("too many connections", address, "closed at once: too many are open");
            return;
        };
        let Ok(handshake) = Arc::clone(&self.handshakes).try_acquire_owned() else {
            complaints.warn("too many handshakes", address, "closed at once: too many greet");
            return;
        };
        let server = Arc::clone(self);
        self.shared.spawn(async move {
            let (shared, _connection) = (&server.shared, connection);
            let stream = match timeout(shared.config.handshake_timeout, opening).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return tracing::debug!(%address, "closed at once: {error}"),
                Err(late) => return tracing::debug!(%address, "closed before it opened: {late}"),
            };
            let (reader, mut writer) = split(stream);
            let mut reader = FrameReader::new(reader, HANDSHAKE_BYTES);
            let agreed = match answer(&shared.config, &mut reader, &mut writer).await {
                Ok(agreed) => agreed,
                Err(error) => return shared.complaints.warn(error.kind(), address, &error),
            };
            drop(handshake);
            let (peer, lane) = (agreed.peer, agreed.lane);
            if let Some(address) = &agreed.address {
                shared.inbound.introduced(peer, address);
            }
            let reason = server.serve(agreed, &mut reader, &mut writer).await;
            match reason.violation() {
                Some(kind) => {
                    let what = format!("closed the connection of node {peer}: {reason}");
                    shared.complaints.warn(kind, address, what);
                }
                None => tracing::info!(%peer, ?lane, %address, "connection closed: {reason}"),
            }
        });
    }

    async fn serve(
        &self,
        agreed: Agreed,
        reader: &mut FrameReader<impl AsyncRead + Unpin>,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> CloseReason {
        // The peer dials again when it takes its old connection for broken, which may look alive
        // from here for long. Nothing of the old one is delivered after the first of the new one.
        let session = Sessions::open(&self.sessions, (agreed.peer, agreed.lane)).await;
        let config = &self.shared.config;
        let pulse = Pulse::new(self.shared.meters.of(agreed.peer));
        reader.after_handshake(config.max_frame_bytes, &pulse);
        let answers = CloseOnDrop(Answers::new(config));
        let shared = &self.shared;
        let connection = Connection { shared, agreed, answers: &answers.0, pulse: &pulse };
        tokio::select! {
            // Nothing may be delivered after a newer connection's first.
            biased;
            () = session.stop.cancelled() => match pulse.is_alive() {
                true => CloseReason::Rivalled,
                false => CloseReason::Replaced,
            },
            reason = race(connection.read(reader), connection.write(writer)) => reason,
            // The dialer is sooner to see that a connection is gone; this one only cleans up.
            reason = pulse.silence(config.link_timeout * ACCEPTED_PATIENCE) => reason,
        }
    }
}

/// One accepted connection, after its handshake.
struct Connection<'a> {
    shared: &'a Shared,
    agreed: Agreed,
    answers: &'a Arc<Answers>,
    pulse: &'a Pulse,
}

impl Connection<'_> {
    async fn read(&self, reader: &mut FrameReader<impl AsyncRead + Unpin>) -> CloseReason {
        loop {
            let read = match reader.next().await {
                Ok(frame) => self.on_frame(frame),
                Err(reason) => return reason,
            };
            if let Err(reason) = read {
                return reason;
            }
        }
    }

    fn on_frame(&self, frame: Frame) -> Result<(), CloseReason> {
        match frame.frame_type {
            FrameType::Messages => self.on_messages(frame.body),
            FrameType::Request => self.on_request(frame.body),
            FrameType::KeepAlive => Ok(()),
            found @ (FrameType::Hello | FrameType::HelloReply | FrameType::Response) => {
                Err(CloseReason::Unexpected { found })
            }
        }
    }

    /// Delivers all of a frame or nothing.
    fn on_messages(&self, body: Bytes) -> Result<(), CloseReason> {
        let messages = decode_messages(body, self.shared.config.max_frame_bytes)?;
        for message in &messages {
            self.check(message.group, message.from, message.to)?;
            self.check_lane(Lane::of(&message.body))?;
        }
        if !messages.is_empty() {
            self.shared.inbound.messages(messages);
        }
        Ok(())
    }

    fn on_request(&self, body: Bytes) -> Result<(), CloseReason> {
        let request = decode_request(body)?;
        self.check_lane(Lane::Main)?;
        let peer = self.agreed.peer;
        self.check(GroupId(request.group), peer, self.shared.config.node_id)?;
        match self.answers.admit(request.id, request.body.len()) {
            Ok(Admitted::Yes(reply)) => self.shared.inbound.request(peer, request.body, reply),
            Ok(Admitted::Overloaded) => {
                tracing::debug!(%peer, id = request.id, "too many requests in progress");
            }
            Err(queued) => return Err(CloseReason::AnswersUnread { queued }),
        }
        Ok(())
    }

    /// Whether a message is what this connection is for.
    fn check(&self, group: GroupId, from: NodeId, to: NodeId) -> Result<(), CloseReason> {
        let is_ours = from == self.agreed.peer
            && to == self.shared.config.node_id
            && self.agreed.groups.contains(&group);
        if is_ours { Ok(()) } else { Err(CloseReason::Misplaced { group, from, to }) }
    }

    fn check_lane(&self, wanted: Lane) -> Result<(), CloseReason> {
        let lane = self.agreed.lane;
        if lane == wanted { Ok(()) } else { Err(CloseReason::WrongLane { lane }) }
    }

    async fn write(&self, writer: &mut (impl AsyncWrite + Unpin)) -> CloseReason {
        let config = &self.shared.config;
        let mut buffer = BytesMut::new();
        // The handshake's reply.
        let mut written_at = Instant::now();
        loop {
            let responses = tokio::select! {
                biased;
                responses = self.answers.take(WRITE_BATCH_BYTES) => responses,
                () = self.pulse.wants_sign(written_at) => {
                    encode_keep_alive(&mut buffer);
                    Vec::new()
                }
            };
            for response in responses {
                let Response { id, group, .. } = response;
                let limit = config.max_frame_bytes;
                if encode_response(response, limit, &mut buffer).is_err() {
                    let lost = Response { id, group, result: Err(Unanswered::Lost) };
                    let encoded = encode_response(lost, limit, &mut buffer);
                    // A few bytes, far below the least limit.
                    debug_assert!(encoded.is_ok());
                }
            }
            if let Err(reason) = write_all(writer, &buffer, config.stall_timeout, |_| ()).await {
                return reason;
            }
            written_at = Instant::now();
            self.pulse.meter().sent(buffer.len());
            buffer.clear();
            if buffer.capacity() > 2 * KEEP_BYTES {
                buffer = BytesMut::new();
            }
        }
    }
}

struct CloseOnDrop(Arc<Answers>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The one connection each peer may have on each lane.
#[derive(Default)]
struct Sessions {
    open: Mutex<HashMap<(NodeId, Lane), Open>>,
}

struct Open {
    serial: u64,
    stop: CancellationToken,
    ended: CancellationToken,
}

/// A place in [`Sessions`], given up when dropped.
struct Session {
    sessions: Arc<Sessions>,
    place: (NodeId, Lane),
    serial: u64,
    stop: CancellationToken,
    _ended: DropGuard,
}

impl Sessions {
    /// Takes the peer's place on a lane; if another connection has it, ends that one first.
    async fn open(sessions: &Arc<Sessions>, place: (NodeId, Lane)) -> Session {
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let (session, older) = {
            let mut open = sessions.lock();
            let serial = open.get(&place).map_or(0, |older| older.serial + 1);
            let entry = Open { serial, stop: stop.clone(), ended: ended.clone() };
            let older = open.insert(place, entry);
            let sessions = Arc::clone(sessions);
            let _ended = ended.drop_guard();
            (Session { sessions, place, serial, stop, _ended }, older)
        };
        if let Some(older) = older {
            older.stop.cancel();
            older.ended.cancelled().await;
        }
        session
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(NodeId, Lane), Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut open = self.sessions.lock();
        if open.get(&self.place).is_some_and(|newest| newest.serial == self.serial) {
            open.remove(&self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, ReadHalf, duplex};

    use super::*;
    use crate::config::{KEEP_ALIVE_EVERY, TransportConfig};
    use crate::shared::testing::shared;

    const PEER: NodeId = NodeId(1);

    fn server() -> Server {
        Server::new(Arc::new(shared(TransportConfig::new("test", NodeId(2), GroupId(7)))))
    }

    /// Serves a connection that is past its handshake, whose other end keeps the second half.
    async fn serve(server: &Server, near: DuplexStream) -> CloseReason {
        let agreed =
            Agreed { peer: PEER, lane: Lane::Main, groups: vec![GroupId(7)], address: None };
        let (reader, mut writer) = split(near);
        let mut reader: FrameReader<ReadHalf<_>> = FrameReader::new(reader, HANDSHAKE_BYTES);
        server.serve(agreed, &mut reader, &mut writer).await
    }

    /// How a connection ends when a second one comes so long after the first was heard.
    async fn ends(silent_for: Duration) -> CloseReason {
        let server = server();
        let (near, _far) = duplex(1024);
        let (second, _second_far) = duplex(1024);
        let later = async {
            sleep(silent_for).await;
            serve(&server, second).await
        };
        tokio::select! {
            biased;
            reason = serve(&server, near) => reason,
            reason = later => panic!("the second ended first: {reason}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_connection_beside_a_living_one_is_a_rival() {
        assert!(matches!(ends(KEEP_ALIVE_EVERY).await, CloseReason::Rivalled));
        assert!(matches!(ends(4 * KEEP_ALIVE_EVERY).await, CloseReason::Replaced));
    }
}
