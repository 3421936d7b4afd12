//! The transport: one listener, and a link to each peer that is sent to.
//!
//! ```text
//!    node 1                                            node 2
//!   send, request --> [queue] ==== connection A ====> Inbound::messages, request
//!                 answers <====== of connection A ==== Responder
//!   Inbound       <============== connection B ======= [queue] <-- send, request
//! ```
//!
//! Each side dials a connection of its own for what it has to say, and another one for pieces of
//! snapshots, so that those delay nothing else; answers to requests come back on the connection of
//! the request. Messages arrive in the order in which they were sent or not at all, apart from
//! snapshots, which may come sooner or later than the rest. There is one task that accepts, one for
//! each peer (and one for its snapshots) and one for each accepted connection; none for a message or
//! request.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_raft_core::message::Message;
use actix_raft_core::types::NodeId;
use bytes::Bytes;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::codec::ENVELOPE_BYTES;
use crate::complaints::Complaints;
use crate::config::{ConfigError, MAX_ADDRESS_BYTES, TransportConfig};
use crate::inbound::Inbound;
use crate::lane::Lane;
use crate::meter::{Meters, PeerStats};
use crate::peer::start_peer;
use crate::queue::Peer;
use crate::request::RequestError;
use crate::server::accept;
use crate::shared::Shared;
use crate::stream::{Listener, Sockets, Tcp};

/// Carries messages and requests between this node and its peers over TCP. Cheap to clone; all
/// clones are the same transport, and it stops when the last is dropped.
#[derive(Clone)]
pub struct Transport {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    local_addr: SocketAddr,
    peers: Mutex<HashMap<(NodeId, Lane), Arc<Peer>>>,
    _stop_on_drop: DropGuard,
}

/// Why there is no transport.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A setting is out of its range.
    #[error("in the transport's settings: {0}")]
    Config(#[from] ConfigError),
    /// The address can't be listened on.
    #[error("listening: {0}")]
    Listen(#[from] io::Error),
}

impl Transport {
    /// Listens at an address; port 0 is any free one. Everything it does runs on the current
    /// tokio runtime, of either flavour, which needs I/O and time enabled.
    ///
    /// # Errors
    /// If a setting is out of its range or the address can't be listened on.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn bind(
        listen: impl ToSocketAddrs,
        config: TransportConfig,
        inbound: Arc<dyn Inbound>,
    ) -> Result<Transport, BindError> {
        config.check()?;
        let listener = Box::new(TcpListener::bind(listen).await?);
        Transport::start(Arc::new(Tcp), listener, config, inbound)
    }

    /// The same on other sockets than those of the operating system: a simulated network, or one
    /// that encrypts.
    ///
    /// # Errors
    /// If a setting is out of its range or the address can't be listened on.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn bind_on(
        sockets: Arc<dyn Sockets>,
        listen: &str,
        config: TransportConfig,
        inbound: Arc<dyn Inbound>,
    ) -> Result<Transport, BindError> {
        config.check()?;
        let listener = sockets.listen(listen).await?;
        Transport::start(sockets, listener, config, inbound)
    }

    fn start(
        sockets: Arc<dyn Sockets>,
        listener: Box<dyn Listener>,
        config: TransportConfig,
        inbound: Arc<dyn Inbound>,
    ) -> Result<Transport, BindError> {
        let local_addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            config,
            advertised: Mutex::default(),
            sockets,
            inbound,
            complaints: Complaints::default(),
            meters: Meters::default(),
            stop: stop.clone(),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
        });
        shared.spawn(accept(listener, Arc::clone(&shared)));
        let (peers, _stop_on_drop) = (Mutex::default(), stop.drop_guard());
        Ok(Transport { inner: Arc::new(Inner { shared, local_addr, peers, _stop_on_drop }) })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr
    }

    /// Tells the nodes that are called from now on that this one is reached here, whatever
    /// [`TransportConfig::advertise`] says: so a node that learns its own address from the
    /// cluster's members can be answered by one that does not know them yet. An address of more than
    /// [`MAX_ADDRESS_BYTES`] is not told.
    pub fn advertise(&self, address: &str) {
        if address.len() <= MAX_ADDRESS_BYTES {
            // A panic elsewhere leaves the address whole.
            let advertised = &self.inner.shared.advertised;
            *advertised.lock().unwrap_or_else(PoisonError::into_inner) = Some(address.to_owned());
        }
    }

    /// Sends messages to a peer at an address such as `10.0.0.1:7001`, after those sent before.
    /// Never blocks, and may be called from any thread. The link is made on first use, kept, and
    /// made again when it breaks or the address differs from that of the last call. Pieces of
    /// snapshots go over a link of their own, and may be overtaken by what is sent after them.
    ///
    /// Messages may be lost: if the link breaks or can't be made, or the peer's queue is full.
    /// Those that name another sender, receiver or group than this link's are not sent at all.
    pub fn send(&self, to: NodeId, rpc_addr: &str, mut messages: Vec<Message>) {
        let config = &self.inner.shared.config;
        let belongs = |message: &Message| {
            message.from == config.node_id && message.to == to && message.group == config.group
        };
        let all = messages.len();
        messages.retain(belongs);
        if messages.len() < all {
            // The peer would close the connection over them.
            tracing::error!(%to, count = all - messages.len(), "misaddressed messages not sent");
        }
        let (main, bulk): (Vec<Message>, Vec<Message>) =
            messages.into_iter().partition(|message| Lane::of(&message.body) == Lane::Main);
        for (lane, messages) in [(Lane::Main, main), (Lane::Bulk, bulk)] {
            if !messages.is_empty() {
                self.peer(to, lane, rpc_addr).send(rpc_addr, messages);
            }
        }
    }

    /// Asks a peer's application and waits for the answer: without a limit of its own, so bound it
    /// with a timeout. Given up while it waits, the request may still be carried out.
    ///
    /// # Errors
    /// The error says whether the peer may have seen the request.
    pub async fn request(
        &self,
        to: NodeId,
        rpc_addr: &str,
        body: Bytes,
    ) -> Result<Bytes, RequestError> {
        let limit = self.inner.shared.config.max_frame_bytes;
        let bytes = body.len() + ENVELOPE_BYTES;
        if bytes > limit {
            return Err(RequestError::TooLarge { bytes, limit });
        }
        let answer = self.peer(to, Lane::Main, rpc_addr).request(rpc_addr, body)?;
        answer.await.unwrap_or_else(|_| {
            // The peer's task was destroyed with its runtime; who knows how far it had come.
            let reason = "the transport's runtime is gone".to_owned();
            Err(RequestError::Unknown { peer: to, reason })
        })
    }

    /// What was exchanged with each peer, whoever called, and when it was last heard.
    #[must_use]
    pub fn stats(&self) -> BTreeMap<NodeId, PeerStats> {
        self.inner.shared.meters.all()
    }

    /// Closes the listener and all connections, and waits until every task has ended. What is
    /// queued is dropped; requests end as not sent, or as perhaps done if they were. Later sends
    /// do nothing, later requests are not sent.
    pub async fn shutdown(&self) {
        self.inner.shared.stop.cancel();
        self.inner.shared.tasks.close();
        self.inner.shared.tasks.wait().await;
    }

    /// The peer on a lane. Told of an address, both its lanes go there.
    fn peer(&self, to: NodeId, lane: Lane, rpc_addr: &str) -> Arc<Peer> {
        let shared = &self.inner.shared;
        let mut peers = self.peers();
        for lane in [Lane::Main, Lane::Bulk] {
            if let Some(peer) = peers.get(&(to, lane)) {
                peer.move_to(rpc_addr);
            }
        }
        let peer = peers.entry((to, lane)).or_insert_with(|| {
            let meter = shared.meters.of(to);
            let peer = Arc::new(Peer::new(to, lane, rpc_addr, &shared.config, meter));
            start_peer(shared, &peer);
            peer
        });
        Arc::clone(peer)
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<(NodeId, Lane), Arc<Peer>>> {
        self.inner.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let inner = &self.inner;
        f.debug_struct("Transport")
            .field("node", &inner.shared.config.node_id)
            .field("local_addr", &inner.local_addr)
            .finish_non_exhaustive()
    }
}
