//! What a log is made of: entries, configurations, and the snapshots in front of it.

use bytes::Bytes;
use prost::{Message as ProstMessage, Oneof};

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
    /// What the change under way will end with; absent if there is none.
    #[prost(message, optional, tag = "4")]
    pub goal: Option<Goal>,
    /// The servers that formed the cluster, in its first configuration; ascending.
    #[prost(message, repeated, tag = "5")]
    pub founders: Vec<Founder>,
}

/// A server that formed the cluster.
#[derive(Clone, Copy, PartialEq, ProstMessage)]
pub struct Founder {
    /// Its id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its disk.
    #[prost(fixed64, tag = "2")]
    pub disk: u64,
}

/// The members with which a change will end.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Goal {
    /// The voters, ascending.
    #[prost(uint64, repeated, tag = "1")]
    pub voters: Vec<u64>,
    /// All members, voters or not, ascending.
    #[prost(message, repeated, tag = "2")]
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

/// A snapshot: what it stands for, and what tells it from every other.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Snapshot {
    /// The term of its last included entry, not 0.
    #[prost(uint64, tag = "1")]
    pub last_included_term: u64,
    /// The index of it, not 0.
    #[prost(uint64, tag = "2")]
    pub last_included_index: u64,
    /// The configuration there.
    #[prost(message, optional, tag = "3")]
    pub configuration: Option<Configuration>,
    /// Its length in bytes.
    #[prost(uint64, tag = "4")]
    pub size: u64,
    /// A checksum of its bytes.
    #[prost(fixed32, tag = "5")]
    pub checksum: u32,
}

/// A configuration and since when it holds.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct Configuration {
    /// The index of its entry; 0 for a cluster's first one.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// The members.
    #[prost(message, optional, tag = "2")]
    pub membership: Option<Membership>,
}

/// A piece of a snapshot.
#[derive(Clone, PartialEq, ProstMessage)]
pub struct SnapshotChunk {
    /// Where it begins, in bytes.
    #[prost(uint64, tag = "1")]
    pub offset: u64,
    /// The bytes; decoded, they share the memory of the frame. None asks how much is there already.
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
    /// A checksum of the bytes.
    #[prost(fixed32, tag = "3")]
    pub checksum: u32,
    /// Whether it is the last piece.
    #[prost(bool, tag = "4")]
    pub done: bool,
}
