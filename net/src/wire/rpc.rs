//! What the messages of Raft say, each shaped as the core's message of the same name.

use prost::{Enumeration, Message as ProstMessage, Oneof};

use crate::wire::log::{Entry, Snapshot, SnapshotChunk};

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
    /// The follower's disk as the leader knows it; absent if it doesn't.
    #[prost(fixed64, optional, tag = "7")]
    pub disk: Option<u64>,
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
    /// The follower's disk; absent if its storage doesn't tell.
    #[prost(fixed64, optional, tag = "5")]
    pub disk: Option<u64>,
    /// Whether the follower's disk is new, and not vouched for.
    #[prost(bool, tag = "6")]
    pub untrusted: bool,
    /// Whether the follower's disk is short of room.
    #[prost(bool, tag = "7")]
    pub disk_is_full: bool,
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
    /// The voter's disk, if the cluster was formed with it.
    #[prost(fixed64, optional, tag = "6")]
    pub disk: Option<u64>,
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
    /// Why not, for people; a reason this version doesn't know reads as none.
    #[prost(enumeration = "VoteRefusal", optional, tag = "5")]
    pub refusal: Option<i32>,
    /// The voter's disk; absent if its storage doesn't tell.
    #[prost(fixed64, optional, tag = "6")]
    pub disk: Option<u64>,
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

/// Why a voter refuses its vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum VoteRefusal {
    /// Never sent; a reason this version doesn't know reads as this one.
    Unspecified = 0,
    /// The candidate's term is over.
    StaleTerm = 1,
    /// The voter hears a leader.
    HearsLeader = 2,
    /// It has voted for another in this term.
    AlreadyVoted = 3,
    /// The candidate's log lacks what the voter's has.
    LogBehind = 4,
    /// The voter lost its disk.
    Untrusted = 5,
}

/// From a leader: a piece of a snapshot.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct InstallSnapshotRequest {
    /// The leader's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The leader's count of rounds.
    #[prost(uint64, tag = "2")]
    pub round: u64,
    /// Of which snapshot it is a piece.
    #[prost(message, optional, tag = "3")]
    pub snapshot: Option<Snapshot>,
    /// The piece.
    #[prost(message, optional, tag = "4")]
    pub chunk: Option<SnapshotChunk>,
}

/// A follower's answer to [`InstallSnapshotRequest`].
#[derive(Clone, PartialEq, ProstMessage)]
pub struct InstallSnapshotResponse {
    /// The follower's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The latest round it has heard.
    #[prost(uint64, tag = "2")]
    pub round: u64,
    /// The follower's disk; absent if its storage doesn't tell.
    #[prost(fixed64, optional, tag = "3")]
    pub disk: Option<u64>,
    /// The term of the snapshot's last included entry.
    #[prost(uint64, tag = "4")]
    pub last_included_term: u64,
    /// The index of it.
    #[prost(uint64, tag = "5")]
    pub last_included_index: u64,
    /// What the follower has of the snapshot.
    #[prost(oneof = "InstallOutcome", tags = "6, 7")]
    pub outcome: Option<InstallOutcome>,
}

/// How much of a snapshot a follower has.
#[derive(Clone, PartialEq, Oneof)]
pub enum InstallOutcome {
    /// A part.
    #[prost(message, tag = "6")]
    Received(Received),
    /// All that it says.
    #[prost(message, tag = "7")]
    Installed(Installed),
}

/// The first bytes of a snapshot have arrived.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Received {
    /// How many.
    #[prost(uint64, tag = "1")]
    pub offset: u64,
}

/// A snapshot is installed, or was not needed any more.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Installed {}

/// From a leader: stand for election at once.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct TimeoutNowRequest {
    /// The leader's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
}

/// From a server that was asked to read: what must be applied before?
#[derive(Clone, PartialEq, ProstMessage)]
pub struct ReadIndexRequest {
    /// The asker's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Named again in the answer.
    #[prost(uint64, tag = "2")]
    pub id: u64,
    /// What the answer may rely on.
    #[prost(enumeration = "Consistency", tag = "3")]
    pub consistency: i32,
}

/// What a linearizable read may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Consistency {
    /// Never sent; invalid.
    Unspecified = 0,
    /// A majority's answers.
    Linearizable = 1,
    /// The clocks.
    Lease = 2,
}

/// The answer to [`ReadIndexRequest`].
#[derive(Clone, PartialEq, ProstMessage)]
pub struct ReadIndexResponse {
    /// The answerer's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The question's id.
    #[prost(uint64, tag = "2")]
    pub id: u64,
    /// What must be applied before the read; absent if the answerer does not lead.
    #[prost(uint64, optional, tag = "3")]
    pub read_index: Option<u64>,
}
