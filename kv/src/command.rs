//! What a client can ask for and be told, and how that is written in the log and sent to the
//! leader.
//!
//! The encoding is Protocol Buffers, so that servers of different versions read each other's
//! commands. Field numbers are never reused.

use bytes::Bytes;
use prost::Message;

/// A change of the store, as it stands in the log.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Command {
    #[prost(oneof = "Change", tags = "1, 2")]
    pub(crate) change: Option<Change>,
}

/// What is changed.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Change {
    #[prost(message, tag = "1")]
    Put(Put),
    #[prost(message, tag = "2")]
    Delete(Delete),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Put {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
    #[prost(message, optional, tag = "3")]
    pub(crate) precondition: Option<Precondition>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Delete {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) precondition: Option<Precondition>,
}

/// What must hold of the key's present state.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Precondition {
    #[prost(oneof = "Expected", tags = "1, 2, 3")]
    pub(crate) expected: Option<Expected>,
}

/// The state that a change expects.
#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub(crate) enum Expected {
    /// The key has this version.
    #[prost(uint64, tag = "1")]
    Version(u64),
    /// The key is absent.
    #[prost(bool, tag = "2")]
    Absent(bool),
    /// The key is there, in whatever version.
    #[prost(bool, tag = "3")]
    Present(bool),
}

/// A request as a follower forwards it to the leader.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    #[prost(oneof = "Operation", tags = "1, 4, 5, 6")]
    pub(crate) operation: Option<Operation>,
}

/// What only the leader does. Reads are served by every server.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Operation {
    #[prost(message, tag = "1")]
    Write(Command),
    /// A write that is done once, however often it is sent.
    #[prost(message, tag = "4")]
    SessionWrite(SessionWrite),
    /// Begins a session.
    #[prost(bool, tag = "5")]
    Register(bool),
    /// An operator's command, in JSON.
    #[prost(string, tag = "6")]
    Administer(String),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SessionWrite {
    #[prost(message, optional, tag = "1")]
    pub(crate) command: Option<Command>,
    #[prost(uint64, tag = "2")]
    pub(crate) session: u64,
    /// The write's number in the session.
    #[prost(uint64, tag = "3")]
    pub(crate) number: u64,
    /// Writes with lower numbers will not be sent again.
    #[prost(uint64, tag = "4")]
    pub(crate) answered_below: u64,
}

/// Which keys to list.
#[derive(Clone, Debug)]
pub(crate) struct List {
    /// Only keys that begin with it.
    pub(crate) prefix: String,
    /// Only keys that are not before it.
    pub(crate) start: String,
    /// The most keys to return.
    pub(crate) limit: u32,
}

/// The leader's answer to a forwarded request.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Response {
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 7, 8, 9")]
    pub(crate) answer: Option<Answer>,
}

/// What a client is told of a write. The state machine answers with the first four.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Answer {
    /// The key was written; this is its version.
    #[prost(uint64, tag = "1")]
    Written(u64),
    /// The key was deleted.
    #[prost(bool, tag = "2")]
    Deleted(bool),
    /// There is no such key.
    #[prost(bool, tag = "3")]
    NotFound(bool),
    /// The precondition did not hold, so nothing changed.
    #[prost(bool, tag = "4")]
    PreconditionFailed(bool),
    /// The request has no result.
    #[prost(message, tag = "7")]
    Failed(Failed),
    /// The session that was begun.
    #[prost(uint64, tag = "8")]
    Registered(u64),
    /// The answer to an operator.
    #[prost(message, tag = "9")]
    Administered(Administered),
}

/// The answer to an operator, as HTTP says it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Administered {
    #[prost(uint32, tag = "1")]
    pub(crate) status: u32,
    /// JSON.
    #[prost(string, tag = "2")]
    pub(crate) body: String,
}

/// A key with its value.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Item {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
    /// The log index that wrote it.
    #[prost(uint64, tag = "3")]
    pub(crate) version: u64,
}

/// Keys in order.
#[derive(Default)]
pub(crate) struct Listed {
    pub(crate) items: Vec<Item>,
    /// Where to go on, if there are more.
    pub(crate) next: Option<String>,
}

/// Why a request has no result.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Failed {
    #[prost(enumeration = "Failure", tag = "1")]
    pub(crate) failure: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

/// What kind of failure it was. Unknown numbers, of a newer server, are read as the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
pub(crate) enum Failure {
    /// Perhaps done.
    OutcomeUnknown = 0,
    /// Surely not done: the server does not lead.
    NoLeader = 1,
    /// Surely not done: too much in flight.
    Overloaded = 2,
    /// Surely not done: the server is stopping.
    Stopping = 3,
    /// Surely not done: the request can't be read.
    BadRequest = 4,
    /// Surely not done: the leader's disk is nearly full.
    DiskFull = 5,
    /// Not done in this attempt: the session is over.
    SessionOver = 6,
    /// Surely not done: lease reads are not enabled.
    LeaseDisabled = 7,
}

impl Failed {
    pub(crate) fn new(failure: Failure, message: impl Into<String>) -> Failed {
        Failed { failure: failure.into(), message: message.into() }
    }
}

impl From<Failed> for Answer {
    fn from(failed: Failed) -> Answer {
        Answer::Failed(failed)
    }
}
