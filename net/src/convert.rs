//! Between the core's messages and those of the wire, and what makes one of the latter valid.
//!
//! Everything here may have been written by an enemy: whatever the core relies on is checked, and
//! what is not as it should be is a [`DecodeError`], never a panic.

mod log;
mod snapshot;
mod values;

use actix_raft_core::membership::MembershipError;
use actix_raft_core::message::{
    AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, Message, MessageBody,
    ReadIndexRequest, ReadIndexResponse, TimeoutNowRequest, VoteRequest, VoteResponse,
};
use actix_raft_core::types::{GroupId, Index, LogPosition, NodeId, Term};

use crate::convert::log::{entry_from_wire, entry_to_wire};
use crate::convert::snapshot::{
    install_request_from_wire, install_request_to_wire, install_response_from_wire,
    install_response_to_wire,
};
use crate::convert::values::{
    consistency_from_wire, consistency_to_wire, disk_from_wire, disk_to_wire, kind_from_wire,
    kind_to_wire, refusal_from_wire, refusal_to_wire,
};
use crate::wire;
use crate::wire::rpc;

/// Why bytes are no valid message.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// They are no protobuf message of the right shape.
    #[error("{0}")]
    Protobuf(#[from] prost::DecodeError),
    /// They are no protobuf message at all.
    #[error("malformed protobuf")]
    Malformed,
    /// They would take far more memory decoded than on the wire; see [`weight`](crate::weight).
    #[error("the parts of the batch weigh {overhead} bytes, over the limit of {limit}")]
    TooHeavy {
        /// What the parts weigh.
        overhead: usize,
        /// The limit.
        limit: usize,
    },
    /// A part is absent, or of a kind that this version doesn't know.
    #[error("{message} without a known {part}")]
    Missing {
        /// The message.
        message: &'static str,
        /// The part.
        part: &'static str,
    },
    /// A request of term 0, in which there is no leader or candidate.
    #[error("{message} of term 0")]
    ZeroTerm {
        /// The message.
        message: &'static str,
    },
    /// A position where only one of term and index is 0.
    #[error("position {position} is of term 0 or index 0, not both")]
    BadPosition {
        /// The position.
        position: LogPosition,
    },
    /// An entry is not at the index after the one before it.
    #[error("entry {found} follows position {after}")]
    NotContiguous {
        /// The entry's index.
        found: Index,
        /// The position before it.
        after: LogPosition,
    },
    /// An entry's term is lower than that of the entry before it, or higher than the leader's.
    #[error("entry {position} after term {after}, from a leader of term {leader}")]
    BadTerm {
        /// The entry.
        position: LogPosition,
        /// The term of the entry before it.
        after: Term,
        /// The leader's term.
        leader: Term,
    },
    /// The members of a configuration are no membership.
    #[error("the configuration of index {index}: {error}")]
    Membership {
        /// The configuration's index.
        index: Index,
        /// What is wrong.
        error: MembershipError,
    },
    /// A set names a node twice.
    #[error("the configuration of index {index} names node {id} twice")]
    Twice {
        /// The configuration's index.
        index: Index,
        /// The node.
        id: NodeId,
    },
    /// A snapshot that includes no entry.
    #[error("{message} of a snapshot without a last entry")]
    NothingIncluded {
        /// The message.
        message: &'static str,
    },
    /// A snapshot includes an entry of a later term than its leader's, or a configuration from
    /// behind its end.
    #[error("a snapshot up to {last_included} {but}")]
    BadSnapshot {
        /// The last entry that it includes.
        last_included: LogPosition,
        /// What does not fit.
        but: Misfit,
    },
    /// A piece reaches behind its snapshot's end, or is called its last and is not.
    #[error("a piece of {bytes} bytes from {offset} on in a snapshot of {size}, last: {done}")]
    BadChunk {
        /// Where it begins.
        offset: u64,
        /// How long it is.
        bytes: usize,
        /// How long the snapshot is.
        size: u64,
        /// Whether it is called the last.
        done: bool,
    },
}

/// What does not fit to a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Misfit {
    /// Its leader's term.
    #[error("from a leader of term {0}")]
    Leader(Term),
    /// The index of its configuration.
    #[error("with a configuration of index {0}")]
    Configuration(Index),
}

/// A message as it is sent. Payloads are shared, not copied.
#[must_use]
pub fn to_wire(message: &Message) -> wire::Message {
    let body = match &message.body {
        MessageBody::AppendEntriesRequest(m) => {
            wire::MessageBody::AppendEntriesRequest(rpc::AppendEntriesRequest {
                term: m.term.0,
                prev_log_term: m.prev_log.term.0,
                prev_log_index: m.prev_log.index.0,
                entries: m.entries.iter().map(entry_to_wire).collect(),
                leader_commit: m.leader_commit.0,
                round: m.round,
                disk: disk_to_wire(m.disk),
            })
        }
        MessageBody::AppendEntriesResponse(m) => {
            wire::MessageBody::AppendEntriesResponse(rpc::AppendEntriesResponse {
                term: m.term.0,
                round: m.round,
                outcome: Some(outcome_to_wire(m.outcome)),
                disk: disk_to_wire(m.disk),
                untrusted: !m.trusted,
                disk_is_full: m.disk_is_full,
            })
        }
        MessageBody::VoteRequest(m) => wire::MessageBody::VoteRequest(rpc::VoteRequest {
            term: m.term.0,
            last_log_term: m.last_log.term.0,
            last_log_index: m.last_log.index.0,
            kind: kind_to_wire(m.kind).into(),
            round: m.round,
            disk: disk_to_wire(m.disk),
        }),
        MessageBody::VoteResponse(m) => wire::MessageBody::VoteResponse(rpc::VoteResponse {
            term: m.term.0,
            kind: kind_to_wire(m.kind).into(),
            round: m.round,
            vote_granted: m.vote_granted,
            refusal: m.refusal.map(|refusal| refusal_to_wire(refusal).into()),
            disk: disk_to_wire(m.disk),
        }),
        MessageBody::InstallSnapshotRequest(m) => {
            wire::MessageBody::InstallSnapshotRequest(install_request_to_wire(m))
        }
        MessageBody::InstallSnapshotResponse(m) => {
            wire::MessageBody::InstallSnapshotResponse(install_response_to_wire(m))
        }
        MessageBody::TimeoutNowRequest(m) => {
            wire::MessageBody::TimeoutNowRequest(rpc::TimeoutNowRequest { term: m.term.0 })
        }
        MessageBody::ReadIndexRequest(m) => {
            wire::MessageBody::ReadIndexRequest(rpc::ReadIndexRequest {
                term: m.term.0,
                id: m.id,
                consistency: consistency_to_wire(m.consistency).into(),
            })
        }
        MessageBody::ReadIndexResponse(m) => {
            wire::MessageBody::ReadIndexResponse(rpc::ReadIndexResponse {
                term: m.term.0,
                id: m.id,
                read_index: m.read_index.map(|index| index.0),
            })
        }
    };
    wire::Message {
        group: message.group.0,
        from: message.from.0,
        to: message.to.0,
        body: Some(body),
    }
}

/// A message as it was received.
///
/// # Errors
/// If it is one that no correct node sends.
pub fn from_wire(message: wire::Message) -> Result<Message, DecodeError> {
    let Some(body) = message.body else {
        return Err(DecodeError::Missing { message: "Message", part: "body" });
    };
    let body = match body {
        wire::MessageBody::AppendEntriesRequest(m) => {
            MessageBody::AppendEntriesRequest(append_request_from_wire(m)?)
        }
        wire::MessageBody::AppendEntriesResponse(m) => {
            MessageBody::AppendEntriesResponse(append_response_from_wire(m)?)
        }
        wire::MessageBody::VoteRequest(m) => MessageBody::VoteRequest(VoteRequest {
            term: some_term("VoteRequest", m.term)?,
            last_log: position(m.last_log_term, m.last_log_index)?,
            kind: kind_from_wire("VoteRequest", m.kind)?,
            round: m.round,
            disk: disk_from_wire(m.disk),
        }),
        wire::MessageBody::VoteResponse(m) => MessageBody::VoteResponse(VoteResponse {
            term: Term(m.term),
            kind: kind_from_wire("VoteResponse", m.kind)?,
            round: m.round,
            vote_granted: m.vote_granted,
            // Who got the vote needs no reason.
            refusal: m.refusal.filter(|_| !m.vote_granted).and_then(refusal_from_wire),
            disk: disk_from_wire(m.disk),
        }),
        wire::MessageBody::InstallSnapshotRequest(m) => {
            MessageBody::InstallSnapshotRequest(install_request_from_wire(m)?)
        }
        wire::MessageBody::InstallSnapshotResponse(m) => {
            MessageBody::InstallSnapshotResponse(install_response_from_wire(m)?)
        }
        wire::MessageBody::TimeoutNowRequest(m) => {
            let term = some_term("TimeoutNowRequest", m.term)?;
            MessageBody::TimeoutNowRequest(TimeoutNowRequest { term })
        }
        wire::MessageBody::ReadIndexRequest(m) => {
            let term = some_term("ReadIndexRequest", m.term)?;
            let consistency = consistency_from_wire(m.consistency)?;
            MessageBody::ReadIndexRequest(ReadIndexRequest { term, id: m.id, consistency })
        }
        wire::MessageBody::ReadIndexResponse(m) => {
            let (term, read_index) = (Term(m.term), m.read_index.map(Index));
            MessageBody::ReadIndexResponse(ReadIndexResponse { term, id: m.id, read_index })
        }
    };
    let (group, from, to) = (GroupId(message.group), NodeId(message.from), NodeId(message.to));
    Ok(Message { group, from, to, body })
}

fn append_request_from_wire(
    m: rpc::AppendEntriesRequest,
) -> Result<AppendEntriesRequest, DecodeError> {
    let term = some_term("AppendEntriesRequest", m.term)?;
    let prev_log = position(m.prev_log_term, m.prev_log_index)?;
    if prev_log.term > term {
        return Err(DecodeError::BadTerm {
            position: prev_log,
            after: prev_log.term,
            leader: term,
        });
    }
    let mut last = prev_log;
    let mut entries = Vec::with_capacity(m.entries.len());
    for entry in m.entries {
        let entry = entry_from_wire(entry)?;
        let position = entry.position();
        if last.index.0.checked_add(1) != Some(position.index.0) {
            return Err(DecodeError::NotContiguous { found: position.index, after: last });
        }
        // A leader's log holds no term above its own, and terms never fall along a log (§5.3).
        if position.term == Term::ZERO || position.term < last.term || position.term > term {
            return Err(DecodeError::BadTerm { position, after: last.term, leader: term });
        }
        last = position;
        entries.push(entry);
    }
    Ok(AppendEntriesRequest {
        term,
        prev_log,
        entries: entries.into(),
        leader_commit: Index(m.leader_commit),
        round: m.round,
        disk: disk_from_wire(m.disk),
    })
}

fn append_response_from_wire(
    m: rpc::AppendEntriesResponse,
) -> Result<AppendEntriesResponse, DecodeError> {
    let outcome = match m.outcome {
        Some(rpc::AppendOutcome::Matched(found)) => {
            AppendOutcome::Matched { match_index: Index(found.match_index) }
        }
        Some(rpc::AppendOutcome::Conflict(found)) => AppendOutcome::Conflict {
            prev_log_index: Index(found.prev_log_index),
            hint: LogPosition::new(found.hint_term, found.hint_index),
        },
        None => {
            let (message, part) = ("AppendEntriesResponse", "outcome");
            return Err(DecodeError::Missing { message, part });
        }
    };
    Ok(AppendEntriesResponse {
        term: Term(m.term),
        round: m.round,
        disk: disk_from_wire(m.disk),
        trusted: !m.untrusted,
        disk_is_full: m.disk_is_full,
        outcome,
    })
}

fn outcome_to_wire(outcome: AppendOutcome) -> rpc::AppendOutcome {
    match outcome {
        AppendOutcome::Matched { match_index } => {
            rpc::AppendOutcome::Matched(rpc::Matched { match_index: match_index.0 })
        }
        AppendOutcome::Conflict { prev_log_index, hint } => {
            rpc::AppendOutcome::Conflict(rpc::Conflict {
                prev_log_index: prev_log_index.0,
                hint_term: hint.term.0,
                hint_index: hint.index.0,
            })
        }
    }
}

fn some_term(message: &'static str, term: u64) -> Result<Term, DecodeError> {
    match term {
        0 => Err(DecodeError::ZeroTerm { message }),
        term => Ok(Term(term)),
    }
}

/// The place before the first entry is of term 0 and index 0; every entry's are both above 0.
fn position(term: u64, index: u64) -> Result<LogPosition, DecodeError> {
    let position = LogPosition::new(term, index);
    if (term == 0) != (index == 0) {
        return Err(DecodeError::BadPosition { position });
    }
    Ok(position)
}
