//! What a transport needs to know, and the bounds it keeps to.

use std::time::Duration;

use actix_raft_core::types::{GroupId, NodeId};

use crate::frame::MAX_FRAME_BYTES;

/// The least a frame's limit may be set to, in bytes: a handshake takes as much.
pub const MIN_FRAME_BYTES: usize = 4 * 1024;

/// The longest cluster id, in bytes.
pub const MAX_CLUSTER_ID_BYTES: usize = 256;

/// The longest address, in bytes.
pub const MAX_ADDRESS_BYTES: usize = 256;

/// How long a dialer writes nothing before it writes a keep-alive, and how often an acceptor that
/// hears something says so. Part of the protocol: each end counts on the other for it.
pub const KEEP_ALIVE_EVERY: Duration = Duration::from_millis(500);

/// The least time after which a peer may be taken for gone.
pub const MIN_LINK_TIMEOUT: Duration = Duration::from_secs(1);

/// The settings of a transport. All nodes of a cluster should have the same `max_frame_bytes`;
/// everything else is each node's own business.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// The cluster's id: nodes of different clusters refuse each other. Not empty, and at most
    /// [`MAX_CLUSTER_ID_BYTES`].
    pub cluster_id: String,
    /// This node.
    pub node_id: NodeId,
    /// The consensus group it speaks for.
    pub group: GroupId,
    /// Where other nodes reach this one: told to each node that is called, so that one which knows
    /// no addresses yet can answer. At most [`MAX_ADDRESS_BYTES`]; `None` by default, and then only
    /// nodes that were told otherwise can.
    pub advertise: Option<String>,
    /// The largest body of a frame, in bytes, sent or received; longer batches are split, and a
    /// single message over it is not sent at all, so it must have room for a leader's largest request
    /// and piece of a snapshot. From [`MIN_FRAME_BYTES`] to [`MAX_FRAME_BYTES`];
    /// 16 MiB by default.
    pub max_frame_bytes: usize,
    /// The most that may wait for one peer, in bytes: of messages, and as much again of requests.
    /// Also the most one peer may have in unanswered requests here, and in answers it has not
    /// read. 64 MiB by default.
    pub queue_bytes: usize,
    /// The most that may wait for one peer in pieces of snapshots, which wait apart, in bytes; 4 MiB
    /// by default. A leader has few on their way at a time.
    pub snapshot_queue_bytes: usize,
    /// The most messages that may wait for one peer; 4096 by default.
    pub queue_messages: usize,
    /// The most requests to one peer without an answer, and of one peer to this node; 1024 by
    /// default.
    pub max_requests: usize,
    /// The most connections accepted from others at one time; 1024 by default.
    pub max_connections: usize,
    /// The most of those that may be in their handshake; 128 by default.
    pub max_handshakes: usize,
    /// How long looking up an address and connecting to it may take; 2 s by default.
    pub connect_timeout: Duration,
    /// How long a handshake may take, and before it the making ready of an accepted connection, where
    /// its [sockets](crate::stream) need that; 5 s by default.
    pub handshake_timeout: Duration,
    /// A connection is closed if it takes no byte for so long while there is something to write;
    /// 5 s by default.
    pub stall_timeout: Duration,
    /// A connection to a peer of which nothing is heard for so long is closed, and dialed again:
    /// the network may have swallowed it. Peers show that they are there
    /// [twice a second](KEEP_ALIVE_EVERY), so at least [`MIN_LINK_TIMEOUT`]; 3 s by default.
    pub link_timeout: Duration,
    /// The wait after the first failure to connect; it doubles with each until `backoff_max`, and
    /// each is shortened by up to a half at random. 20 ms by default.
    pub backoff_min: Duration,
    /// The longest such wait; 250 ms by default: a node that came back should be heard before
    /// elections are held over it.
    pub backoff_max: Duration,
}

/// A setting is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The cluster id is empty or too long.
    #[error("a cluster id of {bytes} bytes, it takes 1 to {MAX_CLUSTER_ID_BYTES}")]
    ClusterId {
        /// Its length.
        bytes: usize,
    },
    /// The advertised address is too long.
    #[error("an advertised address of {bytes} bytes, it takes up to {MAX_ADDRESS_BYTES}")]
    Advertise {
        /// Its length.
        bytes: usize,
    },
    /// The frame limit is too low or too high.
    #[error("max_frame_bytes of {bytes}, it takes {MIN_FRAME_BYTES} to {MAX_FRAME_BYTES}")]
    MaxFrameBytes {
        /// The limit.
        bytes: usize,
    },
    /// A bound or time is 0, so nothing could ever happen.
    #[error("{setting} is 0")]
    Zero {
        /// The field's name.
        setting: &'static str,
    },
    /// Peers would be taken for gone that are not.
    #[error("link_timeout of {timeout:?}, it takes at least {MIN_LINK_TIMEOUT:?}")]
    LinkTimeout {
        /// The time.
        timeout: Duration,
    },
    /// The shortest wait is longer than the longest.
    #[error("backoff_min {min:?} is above backoff_max {max:?}")]
    Backoff {
        /// The shortest wait.
        min: Duration,
        /// The longest wait.
        max: Duration,
    },
}

impl TransportConfig {
    /// The defaults, for this node of this cluster and group.
    #[must_use]
    pub fn new(cluster_id: impl Into<String>, node_id: NodeId, group: GroupId) -> TransportConfig {
        TransportConfig {
            cluster_id: cluster_id.into(),
            node_id,
            group,
            advertise: None,
            max_frame_bytes: 16 * 1024 * 1024,
            queue_bytes: 64 * 1024 * 1024,
            snapshot_queue_bytes: 4 * 1024 * 1024,
            queue_messages: 4096,
            max_requests: 1024,
            max_connections: 1024,
            max_handshakes: 128,
            connect_timeout: Duration::from_secs(2),
            handshake_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(5),
            link_timeout: Duration::from_secs(3),
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_millis(250),
        }
    }

    /// Whether all settings are in their ranges.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bytes = self.cluster_id.len();
        if bytes == 0 || bytes > MAX_CLUSTER_ID_BYTES {
            return Err(ConfigError::ClusterId { bytes });
        }
        let bytes = self.advertise.as_ref().map_or(0, String::len);
        if bytes > MAX_ADDRESS_BYTES {
            return Err(ConfigError::Advertise { bytes });
        }
        if !(MIN_FRAME_BYTES..=MAX_FRAME_BYTES).contains(&self.max_frame_bytes) {
            return Err(ConfigError::MaxFrameBytes { bytes: self.max_frame_bytes });
        }
        let zeros = [
            ("queue_bytes", self.queue_bytes == 0),
            ("snapshot_queue_bytes", self.snapshot_queue_bytes == 0),
            ("queue_messages", self.queue_messages == 0),
            ("max_requests", self.max_requests == 0),
            ("max_connections", self.max_connections == 0),
            ("max_handshakes", self.max_handshakes == 0),
            ("connect_timeout", self.connect_timeout.is_zero()),
            ("handshake_timeout", self.handshake_timeout.is_zero()),
            ("stall_timeout", self.stall_timeout.is_zero()),
            ("backoff_min", self.backoff_min.is_zero()),
        ];
        if let Some((setting, _)) = zeros.iter().find(|(_, zero)| *zero) {
            return Err(ConfigError::Zero { setting });
        }
        if self.link_timeout < MIN_LINK_TIMEOUT {
            return Err(ConfigError::LinkTimeout { timeout: self.link_timeout });
        }
        if self.backoff_min > self.backoff_max {
            return Err(ConfigError::Backoff { min: self.backoff_min, max: self.backoff_max });
        }
        Ok(())
    }
}
