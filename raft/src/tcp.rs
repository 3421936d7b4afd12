//! A network ready to use: Raft's messages over TCP, and the application's requests beside them.
//!
//! ```text
//!   Raft --SendMessages--> TcpNetwork --+                         +--> Raft (Receive)
//!                                       +--> connections to peers +
//!   application --request--> TcpNetwork +                         +--> on_request
//! ```

mod addresses;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use actix::{Actor, Context, Handler, Recipient};
pub use actix_raft_net::config::TransportConfig;
use actix_raft_net::inbound::Inbound;
pub use actix_raft_net::inbound::Responder;
pub use actix_raft_net::meter::PeerStats;
pub use actix_raft_net::request::RequestError;
pub use actix_raft_net::stream;
use actix_raft_net::stream::Sockets;
pub use actix_raft_net::transport::{BindError, Transport};
use bytes::Bytes;
use tokio::net::ToSocketAddrs;

use crate::application::Application;
use crate::client::Client;
use crate::messages::{NodeId, PeerUnreachable, Receive, Rpc};
use crate::network::SendMessages;
use crate::tcp::addresses::Addresses;

/// The TCP network of one node: cheap to clone, usable from any thread, and a
/// [`RaftNetwork`](crate::network::RaftNetwork) when started as an actor.
#[derive(Clone, Debug)]
pub struct TcpNetwork {
    transport: Transport,
    gateway: Arc<Gateway>,
}

/// Answers the requests that the applications of other nodes send with [`TcpNetwork::request`].
/// It must not block.
pub type OnRequest = Box<dyn Fn(NodeId, Bytes, Responder) + Send + Sync>;

impl TcpNetwork {
    /// Listens at an address. What arrives before a node is [attached](TcpNetwork::attach) is
    /// lost, as on any network.
    ///
    /// # Errors
    /// If the settings are out of range or the address can't be listened on.
    pub async fn bind(
        listen: impl ToSocketAddrs,
        config: TransportConfig,
        on_request: OnRequest,
    ) -> Result<TcpNetwork, BindError> {
        let gateway = Gateway::new(on_request);
        let inbound: Arc<dyn Inbound> = Arc::clone(&gateway) as Arc<dyn Inbound>;
        let transport = Transport::bind(listen, config, inbound).await?;
        Ok(TcpNetwork { transport, gateway })
    }

    /// The same on other [sockets](stream) than those of the operating system.
    ///
    /// # Errors
    /// If the settings are out of range or the address can't be listened on.
    pub async fn bind_on(
        sockets: Arc<dyn Sockets>,
        listen: &str,
        config: TransportConfig,
        on_request: OnRequest,
    ) -> Result<TcpNetwork, BindError> {
        let gateway = Gateway::new(on_request);
        let inbound: Arc<dyn Inbound> = Arc::clone(&gateway) as Arc<dyn Inbound>;
        let transport = Transport::bind_on(sockets, listen, config, inbound).await?;
        Ok(TcpNetwork { transport, gateway })
    }

    /// Brings what arrives to this node from now on. A network belongs to one node: later calls
    /// change nothing.
    pub fn attach<A: Application>(&self, node: &Client<A>) {
        let address = node.address();
        let node =
            Node { receive: address.clone().recipient(), unreachable: address.clone().recipient() };
        // The first one stays.
        let _ = self.gateway.node.set(node);
    }

    /// The transport below, for its address and its end.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Asks the application of another node, and waits for the answer for as long as the link
    /// holds; bound it with a timeout. If the address is empty, the node is asked where messages
    /// of Raft reached it last or it said that it listens.
    ///
    /// # Errors
    /// The error says whether the request may have reached the other application.
    pub async fn request(
        &self,
        to: NodeId,
        rpc_addr: &str,
        body: Bytes,
    ) -> Result<Bytes, RequestError> {
        if !rpc_addr.is_empty() {
            return self.transport.request(to, rpc_addr, body).await;
        }
        let known = self.gateway.addresses().of(to, None);
        let Some(known) = known else {
            let reason = "no address of it is known".to_owned();
            return Err(RequestError::NotSent { peer: to, reason });
        };
        self.transport.request(to, &known, body).await
    }
}

impl Actor for TcpNetwork {
    type Context = Context<Self>;
}

impl Handler<SendMessages> for TcpNetwork {
    type Result = ();

    fn handle(&mut self, send: SendMessages, _: &mut Context<Self>) {
        // Nodes that know no members yet, or older ones, can answer this one all the same.
        let own = send.messages.first().map(|message| message.from);
        let members = send.membership.as_ref();
        let moved = own.and_then(|own| self.gateway.addresses().news_of(own, members));
        if let Some(address) = moved {
            self.transport.advertise(&address);
        }
        let mut batches: BTreeMap<NodeId, Vec<Rpc>> = BTreeMap::new();
        for message in send.messages {
            batches.entry(message.to).or_default().push(message);
        }
        for (to, messages) in batches {
            let address = self.gateway.addresses().of(to, send.membership.as_ref());
            match address {
                Some(address) => self.transport.send(to, &address, messages),
                None => tracing::debug!(%to, "no address, {} messages lost", messages.len()),
            }
        }
    }
}

/// What arrives goes through here.
struct Gateway {
    node: OnceLock<Node>,
    addresses: Mutex<Addresses>,
    on_request: OnRequest,
}

struct Node {
    receive: Recipient<Receive>,
    unreachable: Recipient<PeerUnreachable>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

impl Gateway {
    fn new(on_request: OnRequest) -> Arc<Gateway> {
        let (node, addresses) = (OnceLock::new(), Mutex::default());
        Arc::new(Gateway { node, addresses, on_request })
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        // A panic elsewhere leaves the maps whole.
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbound for Gateway {
    fn messages(&self, messages: Vec<Rpc>) {
        if let Some(node) = self.node.get() {
            node.receive.do_send(Receive { messages });
        }
    }

    fn request(&self, from: NodeId, body: Bytes, reply: Responder) {
        (self.on_request)(from, body, reply);
    }

    fn introduced(&self, peer: NodeId, rpc_addr: &str) {
        self.addresses().introduce(peer, rpc_addr);
    }

    fn unreachable(&self, peer: NodeId) {
        if let Some(node) = self.node.get() {
            node.unreachable.do_send(PeerUnreachable { peer });
        }
    }
}
