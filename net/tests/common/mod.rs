//! What the tests share: an inbound side that records, and messages of every kind.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::membership::{Address, Membership};
use actix_raft_core::message::{
    AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, Message, MessageBody, VoteKind,
    VoteRequest, VoteResponse,
};
use actix_raft_core::types::{GroupId, Index, LogPosition, NodeId, Term};
use actix_raft_net::config::TransportConfig;
use actix_raft_net::inbound::{Inbound, Responder};
use actix_raft_net::transport::Transport;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// No test waits for this; it only keeps a broken one from hanging.
pub const GUARD: Duration = Duration::from_secs(30);

pub enum Arrived {
    Messages(Vec<Message>),
    Request(NodeId, Bytes, Responder),
    Unreachable(NodeId),
    Introduced(NodeId, String),
}

pub struct Recorder(Mutex<mpsc::UnboundedSender<Arrived>>);

impl Recorder {
    pub fn new() -> (Arc<Recorder>, Arrivals) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Arc::new(Recorder(Mutex::new(sender))), Arrivals(receiver))
    }

    fn record(&self, arrived: Arrived) {
        // Fails only after the test has ended.
        let _ = self.0.lock().unwrap().send(arrived);
    }
}

impl Inbound for Recorder {
    fn messages(&self, messages: Vec<Message>) {
        self.record(Arrived::Messages(messages));
    }

    fn request(&self, from: NodeId, body: Bytes, reply: Responder) {
        self.record(Arrived::Request(from, body, reply));
    }

    fn introduced(&self, peer: NodeId, rpc_addr: &str) {
        self.record(Arrived::Introduced(peer, rpc_addr.to_owned()));
    }

    fn unreachable(&self, peer: NodeId) {
        self.record(Arrived::Unreachable(peer));
    }
}

pub struct Arrivals(mpsc::UnboundedReceiver<Arrived>);

impl Arrivals {
    pub async fn next(&mut self) -> Arrived {
        guarded(self.0.recv()).await.expect("the recorder lives")
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub async fn message(&mut self) -> Vec<Message> {
        loop {
            match self.next().await {
                Arrived::Messages(messages) => return messages,
                Arrived::Unreachable(_) | Arrived::Introduced(..) => {}
                Arrived::Request(_, body, _) => panic!("a request: {body:?}"),
            }
        }
    }

    pub async fn request(&mut self) -> (NodeId, Bytes, Responder) {
        loop {
            match self.next().await {
                Arrived::Request(from, body, reply) => return (from, body, reply),
                Arrived::Unreachable(_) | Arrived::Introduced(..) => {}
                Arrived::Messages(messages) => panic!("messages: {messages:?}"),
            }
        }
    }

    pub async fn unreachable(&mut self) -> NodeId {
        loop {
            match self.next().await {
                Arrived::Unreachable(peer) => return peer,
                Arrived::Messages(_) | Arrived::Request(..) | Arrived::Introduced(..) => {}
            }
        }
    }
}

pub async fn guarded<T>(future: impl Future<Output = T>) -> T {
    timeout(GUARD, future).await.expect("in time")
}

pub fn config(node: u64) -> TransportConfig {
    TransportConfig::new("test", NodeId(node), GroupId(7))
}

pub async fn node(config: TransportConfig) -> (Transport, Arrivals, String) {
    node_at("127.0.0.1:0", config).await
}

pub async fn node_at(address: &str, config: TransportConfig) -> (Transport, Arrivals, String) {
    let (recorder, arrivals) = Recorder::new();
    let transport = Transport::bind(address, config, recorder).await.unwrap();
    let address = transport.local_addr().to_string();
    (transport, arrivals, address)
}

pub fn message(from: u64, to: u64, body: MessageBody) -> Message {
    Message { group: GroupId(7), from: NodeId(from), to: NodeId(to), body }
}

/// A small message that can be told from others by its round.
pub fn numbered(from: u64, to: u64, round: u64) -> Message {
    let last_log = LogPosition::new(2, 5);
    let vote = VoteRequest { term: Term(3), last_log, kind: VoteKind::Vote, round };
    message(from, to, MessageBody::VoteRequest(vote))
}

pub fn round_of(message: &Message) -> u64 {
    match &message.body {
        MessageBody::VoteRequest(vote) => vote.round,
        MessageBody::AppendEntriesRequest(request) => request.round,
        MessageBody::AppendEntriesResponse(response) => response.round,
        MessageBody::VoteResponse(vote) => vote.round,
    }
}

/// A leader's message with one command of so many bytes.
pub fn carrying(from: u64, to: u64, round: u64, bytes: usize) -> Message {
    let entry = Entry {
        term: Term(1),
        index: Index(1),
        payload: EntryPayload::Normal(Bytes::from(vec![b'x'; bytes])),
    };
    let request = AppendEntriesRequest {
        term: Term(1),
        prev_log: LogPosition::ZERO,
        entries: Arc::new([entry]),
        leader_commit: Index::ZERO,
        round,
    };
    message(from, to, MessageBody::AppendEntriesRequest(request))
}

/// A message of every kind, with every kind of part.
pub fn one_of_each() -> Vec<(&'static str, Message)> {
    let address = |n: u64| Address::new(format!("n{n}:1"), if n == 1 { "c" } else { "" });
    let members = [1, 2].map(|n| (NodeId(n), address(n)));
    let joint = Membership::joint([NodeId(1)], Some([NodeId(2)].into()), members).unwrap();
    let entry = |term, index, payload| Entry { term: Term(term), index: Index(index), payload };
    let append = AppendEntriesRequest {
        term: Term(3),
        prev_log: LogPosition::new(1, 4),
        entries: Arc::new([
            entry(2, 5, EntryPayload::Blank),
            entry(2, 6, EntryPayload::Normal(Bytes::from("set x"))),
            entry(3, 7, EntryPayload::ConfigChange(Arc::new(joint))),
        ]),
        leader_commit: Index(4),
        round: 300,
    };
    let matched = AppendOutcome::Matched { match_index: Index(7) };
    let hint = LogPosition::new(1, 3);
    let conflict = AppendOutcome::Conflict { prev_log_index: Index(4), hint };
    let response = |outcome| {
        let response = AppendEntriesResponse { term: Term(3), round: 300, outcome };
        MessageBody::AppendEntriesResponse(response)
    };
    let vote =
        VoteResponse { term: Term(3), kind: VoteKind::PreVote, round: 9, vote_granted: true };
    vec![
        ("append", message(1, 2, MessageBody::AppendEntriesRequest(append))),
        ("matched", message(2, 1, response(matched))),
        ("conflict", message(2, 1, response(conflict))),
        ("vote request", numbered(1, 2, 9)),
        ("vote response", message(2, 1, MessageBody::VoteResponse(vote))),
    ]
}
