//! Between the core's messages and those of the wire, and what makes one of the latter valid.
//!
//! Everything here may have been written by an enemy: whatever the core relies on is checked, and
//! what is not as it should be is a [`DecodeError`], never a panic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::membership::{Address, Membership, MembershipError};
use actix_raft_core::message::{
    AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, Message, MessageBody, VoteKind,
    VoteRequest, VoteResponse,
};
use actix_raft_core::types::{GroupId, Index, LogPosition, NodeId, Term};

use crate::wire;

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
    #[error("entry {index}: {error}")]
    Membership {
        /// The entry.
        index: Index,
        /// What is wrong.
        error: MembershipError,
    },
    /// A set names a node twice.
    #[error("entry {index} names node {id} twice")]
    Twice {
        /// The entry.
        index: Index,
        /// The node.
        id: NodeId,
    },
}

/// A message as it is sent. Payloads are shared, not copied.
#[must_use]
pub fn to_wire(message: &Message) -> wire::Message {
    let body = match &message.body {
        MessageBody::AppendEntriesRequest(m) => {
            wire::MessageBody::AppendEntriesRequest(wire::AppendEntriesRequest {
                term: m.term.0,
                prev_log_term: m.prev_log.term.0,
                prev_log_index: m.prev_log.index.0,
                entries: m.entries.iter().map(entry_to_wire).collect(),
                leader_commit: m.leader_commit.0,
                round: m.round,
            })
        }
        MessageBody::AppendEntriesResponse(m) => {
            wire::MessageBody::AppendEntriesResponse(wire::AppendEntriesResponse {
                term: m.term.0,
                round: m.round,
                outcome: Some(outcome_to_wire(m.outcome)),
            })
        }
        MessageBody::VoteRequest(m) => wire::MessageBody::VoteRequest(wire::VoteRequest {
            term: m.term.0,
            last_log_term: m.last_log.term.0,
            last_log_index: m.last_log.index.0,
            kind: kind_to_wire(m.kind).into(),
            round: m.round,
        }),
        MessageBody::VoteResponse(m) => wire::MessageBody::VoteResponse(wire::VoteResponse {
            term: m.term.0,
            kind: kind_to_wire(m.kind).into(),
            round: m.round,
            vote_granted: m.vote_granted,
        }),
        _ => unimplemented!(),
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
    let body = match message.body {
        Some(wire::MessageBody::AppendEntriesRequest(m)) => {
            MessageBody::AppendEntriesRequest(append_request_from_wire(m)?)
        }
        Some(wire::MessageBody::AppendEntriesResponse(m)) => {
            MessageBody::AppendEntriesResponse(append_response_from_wire(m)?)
        }
        Some(wire::MessageBody::VoteRequest(m)) => MessageBody::VoteRequest(VoteRequest {
            term: some_term("VoteRequest", m.term)?,
            last_log: position(m.last_log_term, m.last_log_index)?,
            kind: kind_from_wire("VoteRequest", m.kind)?,
            round: m.round,
        }),
        Some(wire::MessageBody::VoteResponse(m)) => MessageBody::VoteResponse(VoteResponse {
            term: Term(m.term),
            kind: kind_from_wire("VoteResponse", m.kind)?,
            round: m.round,
            vote_granted: m.vote_granted,
            refusal: None,
        }),
        None => return Err(DecodeError::Missing { message: "Message", part: "body" }),
    };
    let (group, from, to) = (GroupId(message.group), NodeId(message.from), NodeId(message.to));
    Ok(Message { group, from, to, body })
}

fn append_request_from_wire(
    m: wire::AppendEntriesRequest,
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
        disk: actix_raft_core::types::DiskId::UNKNOWN,
    })
}

fn append_response_from_wire(
    m: wire::AppendEntriesResponse,
) -> Result<AppendEntriesResponse, DecodeError> {
    let outcome = match m.outcome {
        Some(wire::AppendOutcome::Matched(found)) => {
            AppendOutcome::Matched { match_index: Index(found.match_index) }
        }
        Some(wire::AppendOutcome::Conflict(found)) => AppendOutcome::Conflict {
            prev_log_index: Index(found.prev_log_index),
            hint: LogPosition::new(found.hint_term, found.hint_index),
        },
        None => {
            let (message, part) = ("AppendEntriesResponse", "outcome");
            return Err(DecodeError::Missing { message, part });
        }
    };
    let disk = actix_raft_core::types::DiskId::UNKNOWN;
    Ok(AppendEntriesResponse { term: Term(m.term), round: m.round, disk, outcome })
}

fn outcome_to_wire(outcome: AppendOutcome) -> wire::AppendOutcome {
    match outcome {
        AppendOutcome::Matched { match_index } => {
            wire::AppendOutcome::Matched(wire::Matched { match_index: match_index.0 })
        }
        AppendOutcome::Conflict { prev_log_index, hint } => {
            wire::AppendOutcome::Conflict(wire::Conflict {
                prev_log_index: prev_log_index.0,
                hint_term: hint.term.0,
                hint_index: hint.index.0,
            })
        }
    }
}

fn entry_to_wire(entry: &Entry) -> wire::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => wire::EntryPayload::Blank(wire::Blank {}),
        EntryPayload::Normal(command) => wire::EntryPayload::Normal(command.clone()),
        EntryPayload::ConfigChange(membership) => {
            wire::EntryPayload::ConfigChange(membership_to_wire(membership))
        }
    };
    wire::Entry { term: entry.term.0, index: entry.index.0, payload: Some(payload) }
}

fn entry_from_wire(entry: wire::Entry) -> Result<Entry, DecodeError> {
    let index = Index(entry.index);
    let payload = match entry.payload {
        Some(wire::EntryPayload::Blank(wire::Blank {})) => EntryPayload::Blank,
        Some(wire::EntryPayload::Normal(command)) => EntryPayload::Normal(command),
        Some(wire::EntryPayload::ConfigChange(membership)) => {
            EntryPayload::ConfigChange(Arc::new(membership_from_wire(index, membership)?))
        }
        None => return Err(DecodeError::Missing { message: "Entry", part: "payload" }),
    };
    Ok(Entry { term: Term(entry.term), index, payload })
}

fn membership_to_wire(membership: &Membership) -> wire::Membership {
    let ids = |set: &BTreeSet<NodeId>| set.iter().map(|id| id.0).collect();
    let member = |(id, address): (&NodeId, &Address)| wire::Member {
        id: id.0,
        rpc: address.rpc.clone(),
        client: address.client.clone(),
    };
    wire::Membership {
        voters: ids(membership.voters()),
        voters_outgoing: membership.voters_outgoing().map(|set| wire::Voters { ids: ids(set) }),
        members: membership.members().iter().map(member).collect(),
    }
}

fn membership_from_wire(
    index: Index,
    membership: wire::Membership,
) -> Result<Membership, DecodeError> {
    let voters = id_set(index, membership.voters)?;
    let outgoing = membership.voters_outgoing.map(|set| id_set(index, set.ids)).transpose()?;
    let mut members = BTreeMap::new();
    for member in membership.members {
        let id = NodeId(member.id);
        if members.insert(id, Address::new(member.rpc, member.client)).is_some() {
            return Err(DecodeError::Twice { index, id });
        }
    }
    Membership::joint(voters, outgoing, members)
        .map_err(|error| DecodeError::Membership { index, error })
}

fn id_set(index: Index, ids: Vec<u64>) -> Result<BTreeSet<NodeId>, DecodeError> {
    let mut set = BTreeSet::new();
    for id in ids.into_iter().map(NodeId) {
        if !set.insert(id) {
            return Err(DecodeError::Twice { index, id });
        }
    }
    Ok(set)
}

fn kind_to_wire(kind: VoteKind) -> wire::VoteKind {
    match kind {
        VoteKind::PreVote => wire::VoteKind::PreVote,
        VoteKind::Vote => wire::VoteKind::Vote,
        VoteKind::Transfer => wire::VoteKind::Transfer,
    }
}

fn kind_from_wire(message: &'static str, kind: i32) -> Result<VoteKind, DecodeError> {
    match wire::VoteKind::try_from(kind) {
        Ok(wire::VoteKind::PreVote) => Ok(VoteKind::PreVote),
        Ok(wire::VoteKind::Vote) => Ok(VoteKind::Vote),
        Ok(wire::VoteKind::Transfer) => Ok(VoteKind::Transfer),
        Ok(wire::VoteKind::Unspecified) | Err(_) => {
            Err(DecodeError::Missing { message, part: "kind" })
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
