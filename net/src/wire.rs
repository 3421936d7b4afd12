//! The structs behind `proto/raft.proto`, which is published beside this crate.
//!
//! They are written by hand and derived, so that building needs no `protoc`; a test holds them and
//! the `.proto` together. Here are shapes only: what makes a message valid stands in
//! [`codec`](crate::codec).

pub mod log;
pub mod rpc;

use bytes::Bytes;
use prost::{Enumeration, Message as ProstMessage, Oneof};

use crate::wire::rpc::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    ReadIndexRequest, ReadIndexResponse, TimeoutNowRequest, VoteRequest, VoteResponse,
};

/// The first frame on a connection, from the side that dialed.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Hello {
    /// The newest protocol version the dialer speaks.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// The oldest one.
    #[prost(uint32, tag = "2")]
    pub oldest_version: u32,
    /// The cluster's id.
    #[prost(string, tag = "3")]
    pub cluster: String,
    /// Who dials.
    #[prost(uint64, tag = "4")]
    pub from: u64,
    /// Whom it means to reach.
    #[prost(uint64, tag = "5")]
    pub to: u64,
    /// The consensus groups it will speak for.
    #[prost(uint64, repeated, tag = "6")]
    pub groups: Vec<u64>,
    /// Where the dialer listens, for a node that was not told.
    #[prost(string, optional, tag = "7")]
    pub address: Option<String>,
    /// What the connection is for.
    #[prost(enumeration = "Lane", tag = "8")]
    pub lane: i32,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Lane {
    /// Never sent; refused.
    Unspecified = 0,
    /// All messages but pieces of snapshots, and requests.
    Main = 1,
    /// Pieces of snapshots.
    Bulk = 2,
}

/// The answer to [`Hello`].
#[derive(Clone, PartialEq, ProstMessage)]
pub struct HelloReply {
    /// If accepted, the version both will speak; if refused, the acceptor's newest.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// The acceptor's cluster id.
    #[prost(string, tag = "2")]
    pub cluster: String,
    /// The acceptor's own id.
    #[prost(uint64, tag = "3")]
    pub node: u64,
    /// Whether the connection may be used.
    #[prost(oneof = "HelloOutcome", tags = "4, 5")]
    pub outcome: Option<HelloOutcome>,
}

/// The outcome of a [`HelloReply`].
#[derive(Clone, PartialEq, Oneof)]
pub enum HelloOutcome {
    /// The connection may be used.
    #[prost(message, tag = "4")]
    Accepted(Accepted),
    /// It is closed after this frame.
    #[prost(message, tag = "5")]
    Refused(Refused),
}

/// A connection accepted.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Accepted {
    /// The groups both sides speak for.
    #[prost(uint64, repeated, tag = "1")]
    pub groups: Vec<u64>,
}

/// A connection refused.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Refused {
    /// Why.
    #[prost(enumeration = "RefusedReason", tag = "1")]
    pub reason: i32,
    /// The same in words, for a person.
    #[prost(string, tag = "2")]
    pub detail: String,
}

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum RefusedReason {
    /// Never sent; a reason this version doesn't know reads as this one.
    Unspecified = 0,
    /// No protocol version in common.
    Version = 1,
    /// The two are of different clusters.
    Cluster = 2,
    /// The acceptor is not the node the dialer wants.
    NotMe = 3,
    /// The dialer claims the acceptor's own id.
    SameNode = 4,
    /// No consensus group in common.
    Group = 5,
    /// The acceptor knows no such lane.
    Lane = 6,
}

/// A batch of Raft messages, in the order in which they were sent.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Messages {
    /// The messages.
    #[prost(message, repeated, tag = "1")]
    pub messages: Vec<Message>,
}

/// One Raft message.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Message {
    /// The consensus group it belongs to.
    #[prost(uint64, tag = "1")]
    pub group: u64,
    /// The sender.
    #[prost(uint64, tag = "2")]
    pub from: u64,
    /// The receiver.
    #[prost(uint64, tag = "3")]
    pub to: u64,
    /// What it says.
    #[prost(oneof = "MessageBody", tags = "4, 5, 6, 7, 8, 9, 10, 11, 12")]
    pub body: Option<MessageBody>,
}

/// What a [`Message`] says.
#[derive(Clone, PartialEq, Oneof)]
pub enum MessageBody {
    /// See the core's message of this name.
    #[prost(message, tag = "4")]
    AppendEntriesRequest(AppendEntriesRequest),
    /// See the core's message of this name.
    #[prost(message, tag = "5")]
    AppendEntriesResponse(AppendEntriesResponse),
    /// See the core's message of this name.
    #[prost(message, tag = "6")]
    VoteRequest(VoteRequest),
    /// See the core's message of this name.
    #[prost(message, tag = "7")]
    VoteResponse(VoteResponse),
    /// See the core's message of this name.
    #[prost(message, tag = "8")]
    InstallSnapshotRequest(InstallSnapshotRequest),
    /// See the core's message of this name.
    #[prost(message, tag = "9")]
    InstallSnapshotResponse(InstallSnapshotResponse),
    /// See the core's message of this name.
    #[prost(message, tag = "10")]
    TimeoutNowRequest(TimeoutNowRequest),
    /// See the core's message of this name.
    #[prost(message, tag = "11")]
    ReadIndexRequest(ReadIndexRequest),
    /// See the core's message of this name.
    #[prost(message, tag = "12")]
    ReadIndexResponse(ReadIndexResponse),
}

/// Opaque bytes of the application, to be answered.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Request {
    /// Named again in the [`Response`]; chosen by the dialer, ascending on one connection.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// The consensus group it is for.
    #[prost(uint64, tag = "2")]
    pub group: u64,
    /// The application's bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub body: Bytes,
}

/// The answer to a [`Request`].
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Response {
    /// The request's id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// The request's group.
    #[prost(uint64, tag = "2")]
    pub group: u64,
    /// The answer, or why there is none.
    #[prost(oneof = "ResponseResult", tags = "3, 4")]
    pub result: Option<ResponseResult>,
}

/// The result of a [`Response`].
#[derive(Clone, PartialEq, Oneof)]
pub enum ResponseResult {
    /// The application's answer.
    #[prost(bytes = "bytes", tag = "3")]
    Body(Bytes),
    /// There is none.
    #[prost(enumeration = "Unanswered", tag = "4")]
    Unanswered(i32),
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Unanswered {
    /// Never sent; a reason this version doesn't know reads as this one.
    Unspecified = 0,
    /// Surely not handed to the application: too many are in progress.
    Overloaded = 1,
    /// The application got it and gave no answer.
    Refused = 2,
    /// There was an answer, but one too large to send.
    Lost = 3,
}
