//! A network inside one process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::{Actor, Context, Handler, Recipient};

use crate::application::Application;
use crate::client::Client;
use crate::messages::{NodeId, Receive, Rpc};
use crate::network::SendMessages;

/// Connects the nodes of one process, on any of its threads. Links can be cut and mended.
#[derive(Clone, Default)]
pub struct Router {
    links: Arc<Mutex<Links>>,
}

#[derive(Default)]
struct Links {
    nodes: BTreeMap<NodeId, Recipient<Receive>>,
    /// From whom to whom nothing gets through.
    cut: BTreeSet<(NodeId, NodeId)>,
}

/// One node's [`RaftNetwork`](crate::network::RaftNetwork): hands messages to the other nodes of
/// its router.
pub struct RouterPort {
    router: Router,
}

impl Router {
    /// A router without nodes.
    #[must_use]
    pub fn new() -> Router {
        Router::default()
    }

    /// A network for one node, to be started as an actor.
    #[must_use]
    pub fn port(&self) -> RouterPort {
        RouterPort { router: self.clone() }
    }

    /// From now on messages to this node reach it. Messages to a node that is not attached are
    /// lost.
    pub fn attach<A: Application>(&self, id: NodeId, node: &Client<A>) {
        self.links().nodes.insert(id, node.address().clone().recipient());
    }

    /// Lets no message through from `from` to `to`; the other direction stays.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.links().cut.insert((from, to));
    }

    /// Cuts a node off from all others, in both directions.
    pub fn isolate(&self, id: NodeId) {
        let mut links = self.links();
        let others: Vec<NodeId> =
            links.nodes.keys().copied().filter(|other| *other != id).collect();
        for other in others {
            links.cut.extend([(id, other), (other, id)]);
        }
    }

    /// Mends all links.
    pub fn heal(&self) {
        self.links().cut.clear();
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        // A panic elsewhere leaves the maps whole.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, messages: Vec<Rpc>) {
        let mut batches: BTreeMap<NodeId, Vec<Rpc>> = BTreeMap::new();
        for message in messages {
            batches.entry(message.to).or_default().push(message);
        }
        let links = self.links();
        for (to, messages) in batches {
            let reached = messages.first().is_some_and(|m| !links.cut.contains(&(m.from, to)));
            if let (true, Some(node)) = (reached, links.nodes.get(&to)) {
                node.do_send(Receive { messages });
            }
        }
    }
}

impl Actor for RouterPort {
    type Context = Context<Self>;
}

impl Handler<SendMessages> for RouterPort {
    type Result = ();

    fn handle(&mut self, send: SendMessages, _: &mut Context<Self>) {
        self.router.deliver(send.messages);
    }
}
