//! The first exchange on a connection: who are you, whom do you want, do we speak the same?
//!
//! ```text
//!   dialer                                              acceptor
//!     | -- Hello: versions, cluster, from, to, groups, lane -> |  judge()
//!     | <- HelloReply: accepted: version, groups ------------- |
//!     |    or refused: reason, words; then closed              |
//!     | -- Messages, Request ... --------------------------->  |
//!     | <- Response ... -------------------------------------  |
//! ```
//!
//! Until it is over a frame may have no more than [`HANDSHAKE_BYTES`], and it must be over soon.
//! Both sides log a refusal. What the other side calls itself is logged quoted, so that it can't
//! forge lines of the log.

use std::time::Duration;

use actix_raft_core::types::{GroupId, NodeId};
use bytes::BytesMut;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::codec::encode_frame;
use crate::config::{MAX_ADDRESS_BYTES, TransportConfig};
use crate::connection::{CloseReason, FrameReader, write_all};
use crate::convert::DecodeError;
use crate::frame::FrameType;
use crate::lane::Lane;
use crate::wire::{Accepted, Hello, HelloOutcome, HelloReply, Refused, RefusedReason};

/// The newest protocol version this crate speaks.
pub const PROTOCOL_VERSION: u32 = 2;

/// The oldest protocol version this crate still speaks.
pub const OLDEST_PROTOCOL_VERSION: u32 = 2;

/// The largest body of a frame before the handshake is over, in bytes.
pub const HANDSHAKE_BYTES: usize = 4 * 1024;

/// What the two sides of a connection agreed on, as the acceptor knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) peer: NodeId,
    pub(crate) lane: Lane,
    pub(crate) groups: Vec<GroupId>,
    /// Where the dialer says that it listens.
    pub(crate) address: Option<String>,
}

/// Why there is no connection after all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("this node refused the handshake ({reason:?}): {detail}")]
    Refusing { reason: RefusedReason, detail: String },
    #[error("the peer refused the handshake ({reason:?}): {detail:?}")]
    Refused { reason: RefusedReason, detail: String },
    #[error("the peer answered for another: {0}")]
    WrongReply(String),
    #[error("no handshake within {0:?}")]
    TimedOut(Duration),
    #[error("in the handshake: {0}")]
    Closed(#[from] CloseReason),
}

impl HandshakeError {
    /// Under what the log counts it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            HandshakeError::Refusing { .. } => "handshake refused here",
            HandshakeError::Refused { .. } => "handshake refused there",
            HandshakeError::WrongReply(_) => "handshake with another",
            HandshakeError::TimedOut(_) => "handshake timed out",
            HandshakeError::Closed(reason) => reason.violation().unwrap_or("handshake broken off"),
        }
    }
}

/// The dialer's part. A peer that says nothing for as long as a link may be silent is not waited
/// for.
pub(crate) async fn greet(
    config: &TransportConfig,
    to: NodeId,
    lane: Lane,
    reader: &mut FrameReader<impl AsyncRead + Unpin>,
    writer: &mut (impl AsyncWrite + Unpin),
) -> Result<(), HandshakeError> {
    within(config.handshake_timeout.min(config.link_timeout), async {
        let hello = Hello {
            version: PROTOCOL_VERSION,
            oldest_version: OLDEST_PROTOCOL_VERSION,
            cluster: config.cluster_id.clone(),
            from: config.node_id.0,
            to: to.0,
            groups: vec![config.group.0],
            address: config.advertise.clone(),
            lane: lane.to_wire().into(),
        };
        write_frame(config, FrameType::Hello, &hello, writer).await?;
        let frame = reader.next().await?;
        if frame.frame_type != FrameType::HelloReply {
            return Err(CloseReason::Unexpected { found: frame.frame_type }.into());
        }
        check(config, to, HelloReply::decode(frame.body).map_err(malformed)?)
    })
    .await
}

/// The acceptor's part.
pub(crate) async fn answer(
    config: &TransportConfig,
    reader: &mut FrameReader<impl AsyncRead + Unpin>,
    writer: &mut (impl AsyncWrite + Unpin),
) -> Result<Agreed, HandshakeError> {
    within(config.handshake_timeout, async {
        let frame = reader.next().await?;
        if frame.frame_type != FrameType::Hello {
            return Err(CloseReason::Unexpected { found: frame.frame_type }.into());
        }
        let hello = Hello::decode(frame.body).map_err(malformed)?;
        let judged = judge(config, &hello);
        let outcome = match &judged {
            Ok(agreed) => HelloOutcome::Accepted(Accepted {
                groups: agreed.groups.iter().map(|group| group.0).collect(),
            }),
            Err((reason, detail)) => {
                HelloOutcome::Refused(Refused { reason: (*reason).into(), detail: detail.clone() })
            }
        };
        let version = match &judged {
            Ok(_) => PROTOCOL_VERSION.min(hello.version),
            Err(_) => PROTOCOL_VERSION,
        };
        let reply = HelloReply {
            version,
            cluster: config.cluster_id.clone(),
            node: config.node_id.0,
            outcome: Some(outcome),
        };
        write_frame(config, FrameType::HelloReply, &reply, writer).await?;
        judged.map_err(|(reason, detail)| HandshakeError::Refusing { reason, detail })
    })
    .await
}

/// Whether this node takes a connection, and if not, why not.
fn judge(config: &TransportConfig, hello: &Hello) -> Result<Agreed, (RefusedReason, String)> {
    let refuse = |reason, detail| Err((reason, detail));
    // In words that are true on both sides, since both log them.
    let (them, me) = (NodeId(hello.from), config.node_id);
    let (newest, oldest) = (hello.version, hello.oldest_version);
    if newest < OLDEST_PROTOCOL_VERSION || oldest > PROTOCOL_VERSION || oldest > newest {
        let detail = format!(
            "node {them} speaks protocol versions {oldest} to {newest}, node {me} \
             {OLDEST_PROTOCOL_VERSION} to {PROTOCOL_VERSION}"
        );
        return refuse(RefusedReason::Version, detail);
    }
    if hello.cluster != config.cluster_id {
        // A long id is cut, so that the words always fit into a handshake's frame.
        let theirs: String = hello.cluster.chars().take(64).collect();
        let ours = &config.cluster_id;
        let detail = format!("node {them} is of cluster {theirs:?}, node {me} of cluster {ours:?}");
        return refuse(RefusedReason::Cluster, detail);
    }
    if NodeId(hello.to) != me {
        let wanted = hello.to;
        let detail = format!("node {them} looks for node {wanted} at an address of node {me}");
        return refuse(RefusedReason::NotMe, detail);
    }
    if them == me {
        let detail = format!("both call themselves node {me}");
        return refuse(RefusedReason::SameNode, detail);
    }
    if !hello.groups.contains(&config.group.0) {
        let group = config.group;
        let detail = format!("node {them} does not speak for group {group}, as node {me} does");
        return refuse(RefusedReason::Group, detail);
    }
    let Some(lane) = Lane::from_wire(hello.lane) else {
        let detail = format!("node {them} wants lane {}, which node {me} lacks", hello.lane);
        return refuse(RefusedReason::Lane, detail);
    };
    let address = hello.address.clone().filter(|address| address.len() <= MAX_ADDRESS_BYTES);
    Ok(Agreed { peer: them, lane, groups: vec![config.group], address })
}

/// Whether the reply is from the node that was meant, and says yes.
fn check(config: &TransportConfig, to: NodeId, reply: HelloReply) -> Result<(), HandshakeError> {
    let accepted = match reply.outcome {
        Some(HelloOutcome::Accepted(accepted)) => accepted,
        Some(HelloOutcome::Refused(refused)) => {
            let reason = RefusedReason::try_from(refused.reason);
            let reason = reason.unwrap_or(RefusedReason::Unspecified);
            return Err(HandshakeError::Refused { reason, detail: refused.detail });
        }
        None => {
            let missing = DecodeError::Missing { message: "HelloReply", part: "outcome" };
            return Err(CloseReason::Decode(missing).into());
        }
    };
    if reply.cluster != config.cluster_id || NodeId(reply.node) != to {
        let words = format!("node {} of cluster {:?}, not {to}", reply.node, reply.cluster);
        return Err(HandshakeError::WrongReply(words));
    }
    if !(OLDEST_PROTOCOL_VERSION..=PROTOCOL_VERSION).contains(&reply.version) {
        return Err(HandshakeError::WrongReply(format!("protocol version {}", reply.version)));
    }
    if !accepted.groups.contains(&config.group.0) {
        return Err(HandshakeError::WrongReply(format!("groups {:?}", accepted.groups)));
    }
    Ok(())
}

async fn within<T>(
    limit: Duration,
    exchange: impl Future<Output = Result<T, HandshakeError>>,
) -> Result<T, HandshakeError> {
    timeout(limit, exchange).await.unwrap_or(Err(HandshakeError::TimedOut(limit)))
}

async fn write_frame(
    config: &TransportConfig,
    frame_type: FrameType,
    message: &impl prost::Message,
    writer: &mut (impl AsyncWrite + Unpin),
) -> Result<(), HandshakeError> {
    let mut buffer = BytesMut::new();
    // Both messages are bounded by the longest cluster id, far below the limit.
    let encoded = encode_frame(frame_type, message, HANDSHAKE_BYTES, &mut buffer);
    debug_assert!(encoded.is_ok());
    Ok(write_all(writer, &buffer, config.stall_timeout, |_| ()).await?)
}

fn malformed(error: prost::DecodeError) -> CloseReason {
    CloseReason::Decode(DecodeError::Protobuf(error))
}
