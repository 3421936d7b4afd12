//! Short words for what tests say over and over: messages, entries, positions.

use std::sync::Arc;
use std::time::Duration;

use actix_raft_core::admin::MemberChange;
use actix_raft_core::entry::{Entry, EntryPayload};
use actix_raft_core::membership::{Address, Membership};
use actix_raft_core::message::{
    AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, InstallOutcome,
    InstallSnapshotRequest, MessageBody, VoteKind, VoteRefusal, VoteRequest, VoteResponse,
};
use actix_raft_core::snapshot::{Snapshot, SnapshotChunk};
use actix_raft_core::stored::Base;
use actix_raft_core::types::{DiskId, Index, LogPosition, NodeId, Term};
use bytes::Bytes;

use crate::support::disk::Image;
use crate::support::files::File;

/// The shortest election timeout of all tests.
pub const T: Duration = Duration::from_millis(100);
pub const HEARTBEAT: Duration = Duration::from_millis(20);

/// All of these members vote.
pub fn voters(ids: impl IntoIterator<Item = u64>) -> Membership {
    members(ids, [])
}

/// The first of these members vote, the others don't.
pub fn members(
    voters: impl IntoIterator<Item = u64>,
    non_voters: impl IntoIterator<Item = u64>,
) -> Membership {
    let voters: Vec<u64> = voters.into_iter().collect();
    let all = voters.iter().copied().chain(non_voters);
    let all = all.map(|id| (NodeId(id), home(id)));
    Membership::new(voters.iter().copied().map(NodeId), all).expect("there are voters")
}

/// On the way from some voters to others, when both decide.
pub fn joint(old: impl IntoIterator<Item = u64>, new: impl IntoIterator<Item = u64>) -> Membership {
    let (old, goal) = (voters(old), voters(new));
    let all = old.members().iter().chain(goal.members());
    let all: Vec<_> = all.map(|(id, address)| (*id, address.clone())).collect();
    let joint = Membership::joint(goal.voters().iter().copied(), Some(old.voters().clone()), all);
    joint.and_then(|joint| joint.on_the_way_to(Arc::new(goal))).expect("there are voters")
}

/// On the way from some voters to others, when the new ones catch up.
pub fn catching_up(
    old: impl IntoIterator<Item = u64>,
    new: impl IntoIterator<Item = u64>,
) -> Membership {
    let (old, goal) = (voters(old), voters(new));
    let all = old.members().iter().chain(goal.members());
    let all: Vec<_> = all.map(|(id, address)| (*id, address.clone())).collect();
    let members = Membership::new(old.voters().iter().copied(), all);
    members.and_then(|members| members.on_the_way_to(Arc::new(goal))).expect("there are voters")
}

/// Where a server is, unless a test says otherwise.
pub fn home(id: u64) -> Address {
    Address::new(format!("server-{id}"), "")
}

pub fn add_voter(id: u64) -> MemberChange {
    MemberChange::AddVoter(NodeId(id), home(id))
}

pub fn add_non_voter(id: u64) -> MemberChange {
    MemberChange::AddNonVoter(NodeId(id), home(id))
}

pub fn remove(id: u64) -> MemberChange {
    MemberChange::Remove(NodeId(id))
}

pub fn promote(id: u64) -> MemberChange {
    MemberChange::Promote(NodeId(id))
}

pub fn demote(id: u64) -> MemberChange {
    MemberChange::Demote(NodeId(id))
}

/// An index and a term, as in "5@2".
pub fn at(index: u64, term: u64) -> LogPosition {
    LogPosition::new(term, index)
}

/// Commands in a row, one for each term, the first after `prev`.
pub fn entries(prev: LogPosition, terms: &[u64]) -> Arc<[Entry]> {
    let command = |(index, term): (u64, &u64)| Entry {
        term: Term(*term),
        index: Index(index),
        payload: EntryPayload::Normal(format!("{index}@{term}").into()),
    };
    let indexes = (1..).map(|n: u64| prev.index.0.wrapping_add(n));
    indexes.zip(terms).map(command).collect()
}

/// An AppendEntries request with commands of these terms.
pub fn append(term: u64, prev: LogPosition, terms: &[u64], leader_commit: u64) -> MessageBody {
    append_round(term, prev, terms, leader_commit, 1)
}

pub fn append_round(
    term: u64,
    prev_log: LogPosition,
    terms: &[u64],
    leader_commit: u64,
    round: u64,
) -> MessageBody {
    append_entries(term, prev_log, entries(prev_log, terms), leader_commit, round)
}

pub fn append_entries(
    term: u64,
    prev_log: LogPosition,
    entries: Arc<[Entry]>,
    leader_commit: u64,
    round: u64,
) -> MessageBody {
    let (term, leader_commit) = (Term(term), Index(leader_commit));
    let disk = DiskId::UNKNOWN;
    let request = AppendEntriesRequest { term, prev_log, entries, leader_commit, round, disk };
    MessageBody::AppendEntriesRequest(request)
}

pub fn matched(term: u64, round: u64, match_index: u64) -> MessageBody {
    append_response(term, round, AppendOutcome::Matched { match_index: Index(match_index) })
}

pub fn conflict(term: u64, round: u64, prev_log_index: u64, hint: LogPosition) -> MessageBody {
    let outcome = AppendOutcome::Conflict { prev_log_index: Index(prev_log_index), hint };
    append_response(term, round, outcome)
}

fn append_response(term: u64, round: u64, outcome: AppendOutcome) -> MessageBody {
    MessageBody::AppendEntriesResponse(AppendEntriesResponse {
        term: Term(term),
        round,
        disk: DiskId::UNKNOWN,
        trusted: true,
        disk_is_full: false,
        outcome,
    })
}

pub fn ask(kind: VoteKind, term: u64, last_log: LogPosition) -> MessageBody {
    let (term, disk) = (Term(term), DiskId::UNKNOWN);
    MessageBody::VoteRequest(VoteRequest { term, last_log, kind, round: 77, disk })
}

pub fn ask_vote(term: u64, last_log: LogPosition) -> MessageBody {
    ask(VoteKind::Vote, term, last_log)
}

pub fn ask_pre_vote(term: u64, last_log: LogPosition) -> MessageBody {
    ask(VoteKind::PreVote, term, last_log)
}

/// A yes or no to a request.
pub fn answer(request: &VoteRequest, vote_granted: bool) -> MessageBody {
    let VoteRequest { term, kind, round, .. } = *request;
    let refusal = (!vote_granted).then_some(VoteRefusal::StaleTerm);
    let disk = DiskId::UNKNOWN;
    MessageBody::VoteResponse(VoteResponse { term, kind, round, disk, vote_granted, refusal })
}

/// Whether this is a granted vote.
pub fn is_yes(body: &MessageBody) -> bool {
    matches!(body, MessageBody::VoteResponse(VoteResponse { vote_granted: true, .. }))
}

pub fn is_no(body: &MessageBody) -> bool {
    matches!(body, MessageBody::VoteResponse(VoteResponse { vote_granted: false, .. }))
}

/// What an AppendEntries response acknowledges.
pub fn match_of(body: &MessageBody) -> Option<u64> {
    match body {
        MessageBody::AppendEntriesResponse(AppendEntriesResponse {
            outcome: AppendOutcome::Matched { match_index },
            ..
        }) => Some(match_index.0),
        _ => None,
    }
}

/// What an AppendEntries response found not to match, and where to look next.
pub fn conflict_of(body: &MessageBody) -> Option<(u64, LogPosition)> {
    match body {
        MessageBody::AppendEntriesResponse(AppendEntriesResponse {
            outcome: AppendOutcome::Conflict { prev_log_index, hint },
            ..
        }) => Some((prev_log_index.0, *hint)),
        _ => None,
    }
}

pub fn is_append(body: &MessageBody) -> bool {
    matches!(body, MessageBody::AppendEntriesRequest(_))
}

/// The AppendEntries request, if it is one.
pub fn append_of(body: &MessageBody) -> Option<&AppendEntriesRequest> {
    match body {
        MessageBody::AppendEntriesRequest(request) => Some(request),
        _ => None,
    }
}

/// The request for a vote, if it is one.
pub fn vote_request_of(body: &MessageBody) -> Option<VoteRequest> {
    match body {
        MessageBody::VoteRequest(request) => Some(*request),
        _ => None,
    }
}

/// The answer to a request for a vote, if it is one.
pub fn vote_response_of(body: &MessageBody) -> Option<VoteResponse> {
    match body {
        MessageBody::VoteResponse(response) => Some(*response),
        _ => None,
    }
}

/// A piece of a snapshot, from a leader.
pub fn piece(term: u64, file: &File, offset: u64, max_bytes: usize) -> MessageBody {
    let chunk = file.chunk(offset, max_bytes).expect("the file is whole");
    install(term, file.snapshot.clone(), chunk)
}

/// A leader asks how much of a snapshot there is already.
pub fn how_much(term: u64, snapshot: &Snapshot) -> MessageBody {
    let chunk = SnapshotChunk { offset: 0, data: Bytes::new(), checksum: 0, done: false };
    install(term, snapshot.clone(), chunk)
}

pub fn install(term: u64, snapshot: Snapshot, chunk: SnapshotChunk) -> MessageBody {
    let request = InstallSnapshotRequest { term: Term(term), round: 1, snapshot, chunk };
    MessageBody::InstallSnapshotRequest(request)
}

pub fn is_install(body: &MessageBody) -> bool {
    install_of(body).is_some()
}

/// The InstallSnapshot request, if it is one.
pub fn install_of(body: &MessageBody) -> Option<&InstallSnapshotRequest> {
    match body {
        MessageBody::InstallSnapshotRequest(request) => Some(request),
        _ => None,
    }
}

/// What a follower says about a snapshot.
pub fn outcome_of(body: &MessageBody) -> Option<InstallOutcome> {
    match body {
        MessageBody::InstallSnapshotResponse(response) => Some(response.outcome),
        _ => None,
    }
}

pub fn received(offset: u64) -> Option<InstallOutcome> {
    Some(InstallOutcome::Received { offset })
}

/// A snapshot of a state machine that applied commands of these terms, in a cluster of these
/// members, which began with them.
pub fn snapshot_of(members: &Membership, terms: &[u64]) -> File {
    let applied = Image::of(members, 0, terms).entries;
    let last_included = applied.last().map_or(LogPosition::ZERO, Entry::position);
    let membership = Some((Index(1), Arc::new(members.clone())));
    File::of(Base { last_included, membership }, &applied)
}
