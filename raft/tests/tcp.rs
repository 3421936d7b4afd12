//! Nodes that talk over real sockets.

#![cfg(feature = "tcp")]

mod support;

use actix::{Actor, Context, Handler};
use actix_raft::client::Client;
use actix_raft::messages::{Address, GroupId, NodeId};
use actix_raft::metrics::RaftMetrics;
use actix_raft::raft::{Raft, RaftOptions};
use actix_raft::tcp::{RequestError, Responder, TcpNetwork, TransportConfig};
use actix_raft::testing::MemoryStorage;
use support::Journal;
use tokio::sync::watch;

/// Shows a node's metrics to whoever waits for them to change.
struct Shown(watch::Sender<Option<RaftMetrics>>);

impl Actor for Shown {
    type Context = Context<Self>;
}

impl Handler<RaftMetrics> for Shown {
    type Result = ();

    fn handle(&mut self, metrics: RaftMetrics, _: &mut Context<Self>) {
        self.0.send_replace(Some(metrics));
    }
}

struct Node {
    client: Client<Journal>,
    address: Address,
    metrics: watch::Receiver<Option<RaftMetrics>>,
}

impl Node {
    async fn start(id: u64) -> Node {
        // The port must be known before the node can say where it is.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let rpc_addr = free.local_addr().unwrap().to_string();
        drop(free);
        let mut config = TransportConfig::new("tests", NodeId(id), GroupId::default());
        config.advertise = Some(rpc_addr.clone());
        let network =
            TcpNetwork::bind(&rpc_addr, config, Box::new(|_, body, reply| reply.reply(body)));
        let network = network.await.unwrap();
        let storage = MemoryStorage::new(Journal::default()).start();
        let (shown, metrics) = watch::channel(None);
        let mut options = RaftOptions::new(NodeId(id), storage, network.clone().start());
        options.metrics = Some(Shown(shown).start().recipient());
        let client = Raft::start(options).await.unwrap();
        network.attach(&client);
        Node { client, address: Address::new(rpc_addr, ""), metrics }
    }

    async fn until(&mut self, condition: impl Fn(&RaftMetrics) -> bool) -> RaftMetrics {
        let holds = |metrics: &Option<RaftMetrics>| metrics.as_ref().is_some_and(&condition);
        self.metrics.wait_for(holds).await.unwrap().clone().unwrap()
    }
}

#[actix::test]
async fn one_node_told_of_the_cluster_brings_in_others_that_know_nobody() {
    let mut nodes = [Node::start(1).await, Node::start(2).await, Node::start(3).await];
    let members = nodes.iter().zip(1..).map(|(node, id)| (NodeId(id), node.address.clone()));
    nodes[0].client.initialize(members.collect()).await.unwrap();
    nodes[0].until(RaftMetrics::is_leader).await;
    let (place, _) = nodes[0].client.write("over the wire".into()).await.unwrap();
    assert_eq!(place, 0);
    for node in &mut nodes {
        let metrics = node.until(|metrics| metrics.leader == Some(NodeId(1))).await;
        assert!(metrics.membership.is_none_or(|members| members.voters().len() == 3));
    }
    nodes[0].client.read().await.unwrap();
}

#[actix::test]
async fn a_node_that_has_called_can_be_asked_without_an_address() {
    let bind = async |id| {
        let mut config = TransportConfig::new("tests", NodeId(id), GroupId::default());
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let rpc_addr = free.local_addr().unwrap().to_string();
        drop(free);
        config.advertise = Some(rpc_addr.clone());
        let echo = Box::new(|_, body, reply: Responder| reply.reply(body));
        (TcpNetwork::bind(&rpc_addr, config, echo).await.unwrap(), rpc_addr)
    };
    let ((one, _), (two, two_addr)) = (bind(1).await, bind(2).await);
    let unknown = two.request(NodeId(1), "", "hello".into()).await;
    assert!(matches!(unknown, Err(RequestError::NotSent { .. })), "{unknown:?}");
    assert_eq!(one.request(NodeId(2), &two_addr, "hello".into()).await.unwrap(), "hello");
    assert_eq!(two.request(NodeId(1), "", "hello".into()).await.unwrap(), "hello");
}
