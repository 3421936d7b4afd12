//! The other end of a connection, byte by byte: what a peer says that is no transport of ours.

use actix_raft_core::message::Message;
use actix_raft_net::codec::{decode_messages, encode_messages};
use actix_raft_net::frame::{Frame, FrameCodec, FrameType};
use actix_raft_net::stream::Stream;
use actix_raft_net::wire::{Accepted, Hello, HelloOutcome, HelloReply, Lane};
use bytes::{Bytes, BytesMut};
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{Decoder, Encoder};

use super::guarded;

pub const LIMIT: usize = 16 * 1024 * 1024;

/// The other end of a connection, without manners.
pub struct Raw {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
}

impl Raw {
    pub fn new(stream: impl Stream + 'static) -> Raw {
        Raw { stream: Box::new(stream), buffer: BytesMut::new() }
    }

    pub async fn dial(address: &str) -> Raw {
        Raw::new(TcpStream::connect(address).await.unwrap())
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        // Fails if it was closed already, which the test then sees by reading.
        let _ = guarded(self.stream.write_all(bytes)).await;
    }

    pub async fn write_frame(&mut self, frame_type: FrameType, message: &impl prost::Message) {
        let mut bytes = BytesMut::new();
        let body = Bytes::from(message.encode_to_vec());
        FrameCodec::new(LIMIT).encode(Frame { frame_type, body }, &mut bytes).unwrap();
        self.write(&bytes).await;
    }

    /// The next frame; none if the connection was closed.
    pub async fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = FrameCodec::new(LIMIT).decode(&mut self.buffer).unwrap() {
                return Some(frame);
            }
            match guarded(self.stream.read_buf(&mut self.buffer)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Takes a caller in as node 2, and says for which lane it came.
    pub async fn accept(listener: &TcpListener) -> (Raw, Lane) {
        let mut raw = Raw::new(guarded(listener.accept()).await.unwrap().0);
        let hello = Hello::decode(raw.read().await.expect("a greeting").body).unwrap();
        let outcome = Some(HelloOutcome::Accepted(Accepted { groups: vec![7] }));
        let reply = HelloReply { version: 2, cluster: "test".to_owned(), node: 2, outcome };
        raw.write_frame(FrameType::HelloReply, &reply).await;
        (raw, Lane::try_from(hello.lane).unwrap())
    }

    /// The next frame that is more than a sign of life, as messages; none if there is none.
    pub async fn read_messages(&mut self) -> Option<Vec<Message>> {
        loop {
            let frame = self.read().await?;
            match frame.frame_type {
                FrameType::KeepAlive => {}
                FrameType::Messages => return Some(decode_messages(frame.body, LIMIT).unwrap()),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Greets and is accepted.
    pub async fn greet_for(&mut self, lane: Lane) {
        let reply = self.greet(&Hello { lane: lane.into(), ..hello() }).await;
        assert!(matches!(reply.outcome, Some(HelloOutcome::Accepted(_))), "{reply:?}");
    }

    pub async fn greet(&mut self, hello: &Hello) -> HelloReply {
        self.write_frame(FrameType::Hello, hello).await;
        let frame = self.read().await.expect("a reply");
        assert_eq!(frame.frame_type, FrameType::HelloReply);
        HelloReply::decode(frame.body).unwrap()
    }
}

pub fn hello() -> Hello {
    Hello {
        version: 2,
        oldest_version: 2,
        cluster: "test".to_owned(),
        from: 1,
        to: 2,
        groups: vec![3, 7],
        address: None,
        lane: Lane::Main.into(),
    }
}

pub async fn greeted(address: &str, lane: Lane) -> Raw {
    let mut raw = Raw::dial(address).await;
    raw.greet_for(lane).await;
    raw
}

pub fn messages(messages: &[Message]) -> BytesMut {
    let mut bytes = BytesMut::new();
    assert_eq!(encode_messages(messages, LIMIT, &mut bytes), []);
    bytes
}
