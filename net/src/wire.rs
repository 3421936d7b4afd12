//! The structs behind `proto/raft.proto`, which is published beside this crate.
//!
//! They are written by hand and derived, so that building needs no `protoc`; a test holds them and
//! the `.proto` together. Here are shapes only: what makes a message valid stands in
//! [`codec`](crate::codec).

use bytes::Bytes;
use prost::{Enumeration, Message as ProstMessage, Oneof};

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
    #[prost(oneof = "MessageBody", tags = "4, 5, 6, 7")]
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
}

/// From a leader: replicate these entries.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct AppendEntriesRequest {
    /// The leader's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The term of the entry before the new ones; 0 exactly if its index is 0.
    #[prost(uint64, tag = "2")]
    pub prev_log_term: u64,
    /// The index of the entry before the new ones.
    #[prost(uint64, tag = "3")]
    pub prev_log_index: u64,
    /// Contiguous entries from `prev_log_index + 1` on.
    #[prost(message, repeated, tag = "4")]
    pub entries: Vec<Entry>,
    /// The leader's commit index.
    #[prost(uint64, tag = "5")]
    pub leader_commit: u64,
    /// The leader's count of rounds.
    #[prost(uint64, tag = "6")]
    pub round: u64,
}

/// A follower's answer to [`AppendEntriesRequest`].
#[derive(Clone, PartialEq, ProstMessage)]
pub struct AppendEntriesResponse {
    /// The follower's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The latest round it has heard.
    #[prost(uint64, tag = "2")]
    pub round: u64,
    /// What it found.
    #[prost(oneof = "AppendOutcome", tags = "3, 4")]
    pub outcome: Option<AppendOutcome>,
}

/// What a follower found.
#[derive(Clone, PartialEq, Oneof)]
pub enum AppendOutcome {
    /// The logs agree.
    #[prost(message, tag = "3")]
    Matched(Matched),
    /// They don't.
    #[prost(message, tag = "4")]
    Conflict(Conflict),
}

/// The logs agree up to an index.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Matched {
    /// That index.
    #[prost(uint64, tag = "1")]
    pub match_index: u64,
}

/// The logs disagree at an index.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Conflict {
    /// That index.
    #[prost(uint64, tag = "1")]
    pub prev_log_index: u64,
    /// The term of the position the leader should try next.
    #[prost(uint64, tag = "2")]
    pub hint_term: u64,
    /// The index of it.
    #[prost(uint64, tag = "3")]
    pub hint_index: u64,
}

/// From a candidate: give me your vote.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct VoteRequest {
    /// The candidate's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The term of its last entry; 0 exactly if the index is 0.
    #[prost(uint64, tag = "2")]
    pub last_log_term: u64,
    /// The index of its last entry.
    #[prost(uint64, tag = "3")]
    pub last_log_index: u64,
    /// What is asked for.
    #[prost(enumeration = "VoteKind", tag = "4")]
    pub kind: i32,
    /// The asker's count of ballots.
    #[prost(uint64, tag = "5")]
    pub round: u64,
}

/// A voter's answer to [`VoteRequest`].
#[derive(Clone, PartialEq, ProstMessage)]
pub struct VoteResponse {
    /// The voter's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The request's kind.
    #[prost(enumeration = "VoteKind", tag = "2")]
    pub kind: i32,
    /// The request's round.
    #[prost(uint64, tag = "3")]
    pub round: u64,
    /// Whether the vote was given.
    #[prost(bool, tag = "4")]
    pub vote_granted: bool,
}

/// What a candidate asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum VoteKind {
    /// Never sent; invalid.
    Unspecified = 0,
    /// "Would you vote for me?"
    PreVote = 1,
    /// A vote.
    Vote = 2,
    /// A vote in an election the leader asked for.
    Transfer = 3,
}

/// An entry of the log.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Entry {
    /// Its term, not 0.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Its index, not 0.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// What it says.
    #[prost(oneof = "EntryPayload", tags = "3, 4, 5")]
    pub payload: Option<EntryPayload>,
}

/// What an [`Entry`] says.
#[derive(Clone, PartialEq, Oneof)]
pub enum EntryPayload {
    /// Nothing.
    #[prost(message, tag = "3")]
    Blank(Blank),
    /// A command; decoded, it shares the memory of the frame.
    #[prost(bytes = "bytes", tag = "4")]
    Normal(Bytes),
    /// The members from this entry on.
    #[prost(message, tag = "5")]
    ConfigChange(Membership),
}

/// The payload of a blank entry.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Blank {}

/// The members of a cluster.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Membership {
    /// The voters, ascending; while joint, those of the new configuration.
    #[prost(uint64, repeated, tag = "1")]
    pub voters: Vec<u64>,
    /// The old configuration's voters; absent unless joint.
    #[prost(message, optional, tag = "2")]
    pub voters_outgoing: Option<Voters>,
    /// All members, voters or not, ascending.
    #[prost(message, repeated, tag = "3")]
    pub members: Vec<Member>,
}

/// A set of voters.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Voters {
    /// Their ids, ascending.
    #[prost(uint64, repeated, tag = "1")]
    pub ids: Vec<u64>,
}

/// A member and where it is reached.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Member {
    /// Its id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Where servers reach it.
    #[prost(string, tag = "2")]
    pub rpc: String,
    /// Where clients reach it.
    #[prost(string, tag = "3")]
    pub client: String,
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
