//! Requests of clients and of the operator, and their answers, as the bytes between their hosts.

use actix_raft::messages::{Consistency, NodeId};
use actix_raft::sessions::{Serial, SessionId};
use bytes::Bytes;

use crate::record::Request;
use crate::store::{Put, Replaced};

/// What a node is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Client(Request),
    /// To begin a session.
    Begin,
    /// To make these, and no others, the members.
    Members(Vec<NodeId>),
    /// To hand leadership over.
    Transfer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done(Replaced),
    Committed,
    Read(u64),
    Begun(SessionId),
    /// The members are as asked, or another leads.
    Changed,
    NotLeader(Option<NodeId>),
    /// Surely not done, for another reason.
    Refused,
    /// Not done in this attempt, since the session is over.
    SessionOver,
    Unknown,
}

pub fn encode_ask(ask: &Ask) -> Bytes {
    let words = match ask {
        Ask::Client(Request::Put(Put { key, value })) => format!("put {key} {value}"),
        Ask::Client(Request::Commit(Put { key, value })) => format!("commit {key} {value}"),
        Ask::Client(Request::Write(Put { key, value }, serial)) => {
            let Serial { session, number, answered_below } = serial;
            format!("write {key} {value} {session} {number} {answered_below}")
        }
        Ask::Client(Request::Get(key, Consistency::Linearizable)) => format!("get {key}"),
        Ask::Client(Request::Get(key, Consistency::Lease)) => format!("lease-get {key}"),
        Ask::Client(Request::Get(key, Consistency::Local)) => format!("local-get {key}"),
        Ask::Begin => "begin".to_string(),
        Ask::Members(ids) => {
            ids.iter().fold("members".to_string(), |words, id| format!("{words} {id}"))
        }
        Ask::Transfer => "transfer".to_string(),
    };
    words.into()
}

pub fn decode_ask(bytes: &Bytes) -> Ask {
    let get = |key: &str, consistency| Request::Get(key.parse().unwrap(), consistency);
    Ask::Client(match words(bytes).as_slice() {
        ["put", key, value] => Request::Put(put(key, value)),
        ["commit", key, value] => Request::Commit(put(key, value)),
        ["write", key, value, session, count, answered_below] => {
            let (session, answered_below) = (SessionId(number(session)), number(answered_below));
            Request::Write(
                put(key, value),
                Serial { session, number: number(count), answered_below },
            )
        }
        ["get", key] => get(key, Consistency::Linearizable),
        ["lease-get", key] => get(key, Consistency::Lease),
        ["local-get", key] => get(key, Consistency::Local),
        ["begin"] => return Ask::Begin,
        ["members", ids @ ..] => {
            return Ask::Members(ids.iter().map(|id| NodeId(number(id))).collect());
        }
        ["transfer"] => return Ask::Transfer,
        other => panic!("no request: {other:?}"),
    })
}

pub fn encode_answer(answer: Answer) -> Bytes {
    let words = match answer {
        Answer::Done(Replaced { value, previous }) => format!("done {value} {previous}"),
        Answer::Committed => "committed".to_string(),
        Answer::Read(value) => format!("read {value}"),
        Answer::Begun(session) => format!("begun {session}"),
        Answer::Changed => "changed".to_string(),
        Answer::NotLeader(Some(id)) => format!("not-leader {id}"),
        Answer::NotLeader(None) => "not-leader".to_string(),
        Answer::Refused => "refused".to_string(),
        Answer::SessionOver => "session-over".to_string(),
        Answer::Unknown => "unknown".to_string(),
    };
    words.into()
}

pub fn decode_answer(bytes: &Bytes) -> Answer {
    match words(bytes).as_slice() {
        ["done", value, previous] => {
            Answer::Done(Replaced { value: number(value), previous: number(previous) })
        }
        ["committed"] => Answer::Committed,
        ["read", value] => Answer::Read(number(value)),
        ["begun", session] => Answer::Begun(SessionId(number(session))),
        ["changed"] => Answer::Changed,
        ["not-leader", id] => Answer::NotLeader(Some(NodeId(number(id)))),
        ["not-leader"] => Answer::NotLeader(None),
        ["refused"] => Answer::Refused,
        ["session-over"] => Answer::SessionOver,
        ["unknown"] => Answer::Unknown,
        other => panic!("no answer: {other:?}"),
    }
}

fn words(bytes: &Bytes) -> Vec<&str> {
    std::str::from_utf8(bytes).unwrap().split(' ').collect()
}

fn number(word: &str) -> u64 {
    word.parse().unwrap()
}

fn put(key: &str, value: &str) -> Put {
    Put { key: key.parse().unwrap(), value: number(value) }
}
