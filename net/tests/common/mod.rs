//! What the tests share: an inbound side that records, and messages of every kind.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod pipes;
pub mod raw;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::event::Consistency;
use actix_raft_core::membership::{Address, Membership};
use actix_raft_core::message::{
    AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, InstallOutcome,
    InstallSnapshotRequest, InstallSnapshotResponse, Message, MessageBody, ReadIndexRequest,
    ReadIndexResponse, TimeoutNowRequest, VoteKind, VoteRefusal, VoteRequest, VoteResponse,
};
use actix_raft_core::snapshot::{Snapshot, SnapshotChunk};
use actix_raft_core::stored::Base;
use actix_raft_core::types::{DiskId, GroupId, Index, LogPosition, NodeId, Term};
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
    let vote =
        VoteRequest { term: Term(3), last_log, kind: VoteKind::Vote, round, disk: DiskId::UNKNOWN };
    message(from, to, MessageBody::VoteRequest(vote))
}

pub fn round_of(message: &Message) -> u64 {
    match &message.body {
        MessageBody::VoteRequest(vote) => vote.round,
        MessageBody::AppendEntriesRequest(request) => request.round,
        MessageBody::AppendEntriesResponse(response) => response.round,
        MessageBody::VoteResponse(vote) => vote.round,
        MessageBody::InstallSnapshotRequest(request) => request.round,
        MessageBody::InstallSnapshotResponse(response) => response.round,
        MessageBody::TimeoutNowRequest(_)
        | MessageBody::ReadIndexRequest(_)
        | MessageBody::ReadIndexResponse(_) => panic!("no round in {message:?}"),
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
        disk: DiskId::UNKNOWN,
    };
    message(from, to, MessageBody::AppendEntriesRequest(request))
}

/// A piece of a snapshot, with so many bytes.
pub fn piece(from: u64, to: u64, round: u64, bytes: usize) -> Message {
    let last_included = LogPosition::new(2, 6);
    let size = bytes as u64 + 1000;
    let members = [(NodeId(1), Address::default())];
    let membership = Membership::new([NodeId(1)], members).unwrap();
    let base = Base { last_included, membership: Some((Index(1), Arc::new(membership))) };
    let snapshot = Snapshot { base, size, checksum: 9 };
    let data = Bytes::from(vec![b'x'; bytes]);
    let chunk = SnapshotChunk { offset: 1000, data, checksum: 7, done: true };
    let request = InstallSnapshotRequest { term: Term(3), round, snapshot, chunk };
    message(from, to, MessageBody::InstallSnapshotRequest(request))
}

/// A message of every kind, with every kind of part.
pub fn one_of_each() -> Vec<(&'static str, Message)> {
    let address = |n: u64| Address::new(format!("n{n}:1"), if n == 1 { "c" } else { "" });
    let members = [1, 2].map(|n| (NodeId(n), address(n)));
    let joint = Membership::joint([NodeId(1)], Some([NodeId(2)].into()), members.clone()).unwrap();
    let goal = Membership::new([NodeId(1)], [(NodeId(1), address(1))]).unwrap();
    let founded = joint.clone().founded_on([(NodeId(1), DiskId(0xd15c))].into());
    let moving = founded.on_the_way_to(Arc::new(goal)).unwrap();
    let (joint, moving) = (Arc::new(joint), Arc::new(moving));
    let entry = |term, index, payload| Entry { term: Term(term), index: Index(index), payload };
    let append = AppendEntriesRequest {
        term: Term(3),
        prev_log: LogPosition::new(1, 4),
        entries: Arc::new([
            entry(2, 5, EntryPayload::Blank),
            entry(2, 6, EntryPayload::Normal(Bytes::from("set x"))),
            entry(3, 7, EntryPayload::ConfigChange(Arc::clone(&joint))),
            entry(3, 8, EntryPayload::ConfigChange(Arc::clone(&moving))),
        ]),
        leader_commit: Index(4),
        round: 300,
        disk: DiskId(0xd15c),
    };
    let matched = AppendOutcome::Matched { match_index: Index(7) };
    let hint = LogPosition::new(1, 3);
    let conflict = AppendOutcome::Conflict { prev_log_index: Index(4), hint };
    let response = |disk, outcome| {
        let response = AppendEntriesResponse {
            term: Term(3),
            round: 300,
            disk,
            trusted: disk == DiskId::UNKNOWN,
            disk_is_full: disk != DiskId::UNKNOWN,
            outcome,
        };
        MessageBody::AppendEntriesResponse(response)
    };
    let to_founder = VoteRequest {
        term: Term(3),
        last_log: LogPosition::ZERO,
        kind: VoteKind::Transfer,
        round: 9,
        disk: DiskId(0xd15c),
    };
    let vote = |refusal: Option<VoteRefusal>| {
        MessageBody::VoteResponse(VoteResponse {
            term: Term(3),
            kind: VoteKind::PreVote,
            round: 9,
            vote_granted: refusal.is_none(),
            refusal,
            disk: if refusal.is_some() { DiskId(0xd15c) } else { DiskId::UNKNOWN },
        })
    };
    let last_included = LogPosition::new(2, 6);
    let base = Base { last_included, membership: Some((Index(6), moving)) };
    let data = Bytes::from("state");
    let install = InstallSnapshotRequest {
        term: Term(3),
        round: 300,
        snapshot: Snapshot { base, size: 305, checksum: 0xabcd },
        chunk: SnapshotChunk { offset: 300, data, checksum: 0xef, done: true },
    };
    let installed = |outcome| {
        let (term, disk) = (Term(3), DiskId(0xd15c));
        let response = InstallSnapshotResponse { term, round: 300, disk, last_included, outcome };
        MessageBody::InstallSnapshotResponse(response)
    };
    let read = |consistency| {
        MessageBody::ReadIndexRequest(ReadIndexRequest { term: Term(3), id: 300, consistency })
    };
    let answered = |read_index| {
        MessageBody::ReadIndexResponse(ReadIndexResponse { term: Term(3), id: 300, read_index })
    };
    let timeout_now = TimeoutNowRequest { term: Term(3) };
    vec![
        ("append", message(1, 2, MessageBody::AppendEntriesRequest(append))),
        ("matched", message(2, 1, response(DiskId(0xd15c), matched))),
        ("conflict", message(2, 1, response(DiskId::UNKNOWN, conflict))),
        ("vote request", numbered(1, 2, 9)),
        ("vote request to a founder", message(1, 2, MessageBody::VoteRequest(to_founder))),
        ("vote granted", message(2, 1, vote(None))),
        ("vote refused", message(2, 1, vote(Some(VoteRefusal::LogBehind)))),
        ("install", message(1, 2, MessageBody::InstallSnapshotRequest(install))),
        ("received", message(2, 1, installed(InstallOutcome::Received { offset: 300 }))),
        ("installed", message(2, 1, installed(InstallOutcome::Installed))),
        ("timeout now", message(1, 2, MessageBody::TimeoutNowRequest(timeout_now))),
        ("read", message(1, 2, read(Consistency::Linearizable))),
        ("read by lease", message(1, 2, read(Consistency::Lease))),
        ("read at", message(2, 1, answered(Some(Index(0))))),
        ("read nowhere", message(2, 1, answered(None))),
    ]
}
