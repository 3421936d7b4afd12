//! Requests of clients and their answers, as the bytes between their hosts.

use actix_raft::messages::NodeId;
use bytes::Bytes;

use crate::record::Request;
use crate::store::{Put, Replaced};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done(Replaced),
    Committed,
    Read(u64),
    NotLeader(Option<NodeId>),
    /// Surely not done, for another reason.
    Refused,
    Unknown,
}

pub fn encode_request(request: Request) -> Bytes {
    let words = match request {
        Request::Put(Put { key, value }) => format!("put {key} {value}"),
        Request::Commit(Put { key, value }) => format!("commit {key} {value}"),
        Request::Get(key) => format!("get {key}"),
    };
    words.into()
}

pub fn decode_request(bytes: &Bytes) -> Request {
    match words(bytes).as_slice() {
        ["put", key, value] => Request::Put(put(key, value)),
        ["commit", key, value] => Request::Commit(put(key, value)),
        ["get", key] => Request::Get(key.parse().unwrap()),
        other => panic!("no request: {other:?}"),
    }
}

pub fn encode_answer(answer: Answer) -> Bytes {
    let words = match answer {
        Answer::Done(Replaced { value, previous }) => format!("done {value} {previous}"),
        Answer::Committed => "committed".to_string(),
        Answer::Read(value) => format!("read {value}"),
        Answer::NotLeader(Some(id)) => format!("not-leader {id}"),
        Answer::NotLeader(None) => "not-leader".to_string(),
        Answer::Refused => "refused".to_string(),
        Answer::Unknown => "unknown".to_string(),
    };
    words.into()
}

pub fn decode_answer(bytes: &Bytes) -> Answer {
    let number = |word: &str| word.parse().unwrap();
    match words(bytes).as_slice() {
        ["done", value, previous] => {
            Answer::Done(Replaced { value: number(value), previous: number(previous) })
        }
        ["committed"] => Answer::Committed,
        ["read", value] => Answer::Read(number(value)),
        ["not-leader", id] => Answer::NotLeader(Some(NodeId(number(id)))),
        ["not-leader"] => Answer::NotLeader(None),
        ["refused"] => Answer::Refused,
        ["unknown"] => Answer::Unknown,
        other => panic!("no answer: {other:?}"),
    }
}

fn words(bytes: &Bytes) -> Vec<&str> {
    std::str::from_utf8(bytes).unwrap().split(' ').collect()
}

fn put(key: &str, value: &str) -> Put {
    Put { key: key.parse().unwrap(), value: value.parse().unwrap() }
}
